//! The commands, one file each.
//!
//! A command's file has `Args`, whose doc comments are its manual, and `exec(&App, Args) ->
//! Result<(), Failure>`. A new command needs its file, a `mod` line, a variant and an arm in this
//! file, and an entry in [`GROUPS`].

mod attach;
mod bench;
mod build;
mod check;
mod choices;
mod clean;
mod cloud;
mod completion;
mod compose;
mod config;
mod cp;
mod dockerfile;
mod doctor;
mod events;
mod exec;
mod export;
mod fetch;
mod foreground;
mod fork;
mod images;
mod init;
mod inspect;
mod json_rpc;
mod kconfig;
mod kill;
pub(crate) mod kraftkit;
mod lib;
mod lifecycle;
mod login;
mod logout;
mod logs;
mod lsp;
mod machines;
mod mcp;
mod menu;
pub(crate) mod nested;
mod net;
mod pause;
mod pkg;
mod port;
mod profile;
mod project;
mod ps;
mod remove;
mod rename;
mod restart;
mod resume;
mod rootfs;
pub(crate) mod run;
mod runu;
mod schema;
mod service;
mod set;
mod size;
mod snapshot;
mod start;
mod stats;
mod stop;
mod store;
mod suspend;
mod tally;
mod top;
mod unpause;
mod update;
pub(crate) mod values;
mod version;
mod vol;
mod wait;
mod x;

use std::fmt::Write as _;

use clap::Subcommand;

use crate::app::App;
use crate::failure::Failure;

/// All commands, in the order of the manual.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Build(Box<build::Args>),
    Menu(menu::Args),
    Kconfig(Box<kconfig::Args>),
    Set(set::SetArgs),
    Unset(set::UnsetArgs),
    #[command(visible_alias = "library")]
    Lib(lib::Args),
    Update(update::Args),
    Fetch(fetch::Args),
    Clean(clean::Args),
    Size(size::Args),
    X(x::Args),
    Check(check::Args),
    Rootfs(rootfs::Args),
    #[command(visible_alias = "package")]
    Pkg(Box<pkg::Args>),
    Images(images::Args),
    Pull(Box<pkg::pull::Args>),
    Push(pkg::push::Args),
    Tag(pkg::tag::Args),
    Store(store::Args),
    Login(login::Args),
    Logout(logout::Args),
    Schema(schema::Args),
    Lsp(lsp::Args),
    Mcp(mcp::Args),
    Run(Box<run::Args>),
    Bench(Box<bench::Args>),
    Ps(ps::Args),
    #[command(visible_alias = "log")]
    Logs(logs::Args),
    Stats(stats::Args),
    Top(top::Args),
    Start(start::Args),
    Stop(stop::Args),
    Attach(attach::Args),
    Restart(restart::Args),
    Kill(kill::Args),
    Pause(pause::Args),
    Unpause(unpause::Args),
    Suspend(suspend::Args),
    Resume(resume::Args),
    Snapshot(snapshot::Args),
    Fork(fork::Args),
    Wait(wait::Args),
    Inspect(inspect::Args),
    Port(port::Args),
    Rename(rename::Args),
    Cp(cp::Args),
    Exec(exec::Args),
    Service(service::Args),
    Runu(runu::Args),
    Export(Box<export::Args>),
    #[command(visible_alias = "network")]
    Net(net::Args),
    #[command(visible_aliases = ["volume", "vols", "volumes"])]
    Vol(vol::Args),
    #[command(visible_alias = "event")]
    Events(events::Args),
    #[command(visible_alias = "rm")]
    Remove(remove::Args),
    #[command(visible_alias = "comp")]
    Compose(Box<compose::Args>),
    #[command(visible_alias = "cl")]
    Cloud(Box<cloud::Args>),
    Doctor(doctor::Args),
    Config(config::Args),
    Completion(completion::Args),
    #[command(visible_alias = "v")]
    Version(version::Args),
    #[command(name = "__complete", hide = true)]
    Complete(completion::CompleteArgs),
}

/// The headings of `kraft --help`, with the commands below each.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Project commands",
        &[
            "init", "build", "menu", "kconfig", "set", "unset", "lib", "update", "fetch", "clean",
            "size", "x", "check", "rootfs", "schema",
        ],
    ),
    (
        "Packaging commands",
        &[
            "pkg", "images", "pull", "push", "tag", "store", "login", "logout",
        ],
    ),
    (
        "Local runtime commands",
        &[
            "run", "bench", "ps", "logs", "stats", "top", "attach", "start", "stop", "restart",
            "kill", "pause", "unpause", "suspend", "resume", "snapshot", "fork", "wait", "inspect",
            "port", "rename", "cp", "exec", "events", "remove", "service", "runu", "export", "net",
            "vol",
        ],
    ),
    ("Compose commands", &["compose"]),
    ("Unikraft Cloud commands", &["cloud"]),
    (
        "Miscellaneous commands",
        &["doctor", "config", "lsp", "mcp", "completion", "version"],
    ),
];

/// How a command reads the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It fails if the configuration is invalid.
    Strict,
    /// It falls back to the defaults, and gets the error.
    Lenient,
    /// It does not read the file.
    None,
}

impl Command {
    /// Returns how the command reads the configuration.
    pub(crate) fn reading(&self) -> Reading {
        match self {
            Self::Schema(_)
            | Self::Mcp(_)
            | Self::Version(_)
            | Self::Completion(_)
            | Self::Runu(_) => Reading::None,
            Self::Doctor(_) | Self::Complete(_) | Self::Lsp(_) => Reading::Lenient,
            Self::Config(args) => args.reading(),
            Self::Init(_)
            | Self::Build(_)
            | Self::Menu(_)
            | Self::Kconfig(_)
            | Self::Set(_)
            | Self::Unset(_)
            | Self::Lib(_)
            | Self::Update(_)
            | Self::Fetch(_)
            | Self::Clean(_)
            | Self::Size(_)
            | Self::X(_)
            | Self::Check(_)
            | Self::Rootfs(_)
            | Self::Pkg(_)
            | Self::Images(_)
            | Self::Pull(_)
            | Self::Push(_)
            | Self::Tag(_)
            | Self::Store(_)
            | Self::Login(_)
            | Self::Logout(_)
            | Self::Run(_)
            | Self::Bench(_)
            | Self::Ps(_)
            | Self::Logs(_)
            | Self::Stats(_)
            | Self::Top(_)
            | Self::Start(_)
            | Self::Stop(_)
            | Self::Attach(_)
            | Self::Restart(_)
            | Self::Kill(_)
            | Self::Port(_)
            | Self::Rename(_)
            | Self::Cp(_)
            | Self::Exec(_)
            | Self::Service(_)
            | Self::Export(_)
            | Self::Pause(_)
            | Self::Unpause(_)
            | Self::Suspend(_)
            | Self::Resume(_)
            | Self::Snapshot(_)
            | Self::Fork(_)
            | Self::Wait(_)
            | Self::Inspect(_)
            | Self::Net(_)
            | Self::Vol(_)
            | Self::Events(_)
            | Self::Remove(_)
            | Self::Compose(_)
            | Self::Cloud(_) => Reading::Strict,
        }
    }
}

/// Runs a command.
pub(crate) fn exec(app: &App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::exec(app, *args),
        Command::Bench(args) => bench::exec(app, *args),
        Command::Ps(args) => ps::exec(app, &args),
        Command::Logs(args) => logs::exec(app, &args),
        Command::Stats(args) => stats::exec(app, &args),
        Command::Top(args) => top::exec(app, &args),
        Command::Start(args) => start::exec(app, &args),
        Command::Stop(args) => stop::exec(app, &args),
        Command::Attach(args) => attach::exec(app, args),
        Command::Restart(args) => restart::exec(app, &args),
        Command::Kill(args) => kill::exec(app, &args),
        Command::Port(args) => port::exec(app, &args),
        Command::Rename(args) => rename::exec(app, &args),
        Command::Cp(args) => cp::exec(app, &args),
        Command::Exec(args) => exec::exec(app, &args),
        Command::Service(args) => service::exec(app, &args),
        Command::Runu(args) => runu::exec(app, &args),
        Command::Export(args) => export::exec(app, &args),
        Command::Pause(args) => pause::exec(app, &args),
        Command::Unpause(args) => unpause::exec(app, &args),
        Command::Suspend(args) => suspend::exec(app, &args),
        Command::Resume(args) => resume::exec(app, &args),
        Command::Snapshot(args) => snapshot::exec(app, &args),
        Command::Fork(args) => fork::exec(app, &args),
        Command::Wait(args) => wait::exec(app, &args),
        Command::Inspect(args) => inspect::exec(app, &args),
        Command::Net(args) => net::exec(app, &args),
        Command::Vol(args) => vol::exec(app, &args),
        Command::Events(args) => events::exec(app, &args),
        Command::Remove(args) => remove::exec(app, &args),
        Command::Init(args) => init::exec(app, &args),
        Command::Build(args) => build::exec(app, &args),
        Command::Kconfig(args) => kconfig::exec(app, &args),
        Command::Set(args) => set::set(app, &args),
        Command::Unset(args) => set::unset(app, &args),
        Command::Lib(args) => lib::exec(app, &args),
        Command::Update(args) => update::exec(app, &args),
        Command::Menu(args) => menu::exec(app, &args),
        Command::Fetch(args) => fetch::exec(app, &args),
        Command::Size(args) => size::exec(app, &args),
        Command::X(args) => x::exec(app, &args),
        Command::Clean(args) => clean::exec(app, &args),
        Command::Check(args) => check::exec(app, &args),
        Command::Rootfs(args) => rootfs::exec(app, &args),
        Command::Pkg(args) => pkg::exec(app, *args),
        Command::Images(args) => images::exec(app, &args),
        Command::Pull(args) => pkg::pull::exec(app, &args),
        Command::Push(args) => pkg::push::exec(app, &args),
        Command::Tag(args) => pkg::tag::exec(app, &args),
        Command::Store(args) => store::exec(app, &args),
        Command::Login(args) => login::exec(app, &args),
        Command::Logout(args) => logout::exec(app, &args),
        Command::Schema(args) => schema::exec(app, &args),
        Command::Lsp(args) => lsp::exec(app, &args),
        Command::Mcp(args) => mcp::exec(app, &args),
        Command::Compose(args) => compose::exec(app, *args),
        Command::Cloud(args) => cloud::exec(app, &args),
        Command::Doctor(args) => doctor::exec(app, &args),
        Command::Config(args) => config::exec(app, args),
        Command::Completion(args) => completion::exec(app, &args),
        Command::Version(args) => version::exec(app, &args),
        Command::Complete(args) => completion::answer(app, args),
    }
}

/// Sets the help of the root command: the commands by groups.
pub(crate) fn grouped(root: clap::Command) -> clap::Command {
    let bold = anstyle::Style::new().bold();
    let mut text = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(text, "{bold}{title}:{bold:#}");
        for name in *names {
            let about = root
                .find_subcommand(name)
                .and_then(clap::Command::get_about)
                .map(ToString::to_string)
                .unwrap_or_default();
            let _ = writeln!(text, "  {bold}{name:<12}{bold:#} {about}");
        }
        text.push('\n');
    }
    root.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}\
         {bold}Options:{bold:#}\n{{options}}{{after-help}}\n"
    ))
    .after_help(
        "Run `kraft help COMMAND` for the help of a command, `kraft --help` for global options.",
    )
}

/// Sets the help template of a command and its subcommands: description, usage, aliases, arguments.
pub(crate) fn with_template(command: clap::Command) -> clap::Command {
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    let aliases = if aliases.is_empty() {
        String::new()
    } else {
        let bold = anstyle::Style::new().bold();
        format!("{bold}Aliases:{bold:#} {}\n\n", aliases.join(", "))
    };
    command
        .help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{aliases}{{all-args}}{{after-help}}\n"
        ))
        .mut_subcommands(with_template)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_is_under_one_heading() {
        let root = crate::command();
        let mut visible: Vec<&str> = root
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(clap::Command::get_name)
            .collect();
        let mut grouped: Vec<&str> = super::GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        visible.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(visible, grouped);
    }
}
