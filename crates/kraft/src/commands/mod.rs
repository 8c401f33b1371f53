//! The commands, one file each.
//!
//! A command's file has `Args`, whose comments are the manual, and
//! `exec(&App, Args) -> Result<(), Failure>`. To add one: its file, a `mod` line, a variant and
//! an arm here, and its place in [`GROUPS`].

mod check;
mod config;
mod rootfs;
mod schema;
mod version;

use clap::Subcommand;
use std::fmt::Write as _;

use crate::app::App;
use crate::failure::Failure;

/// Every command, in the order of the manual.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Config(config::Args),
    Rootfs(rootfs::Args),
    Schema(schema::Args),
    #[command(visible_alias = "v")]
    Version(version::Args),
}

/// The headings of `kraft --help`, with the commands below each.
const GROUPS: &[(&str, &[&str])] = &[
    ("Project commands", &["check", "rootfs", "schema"]),
    ("Miscellaneous commands", &["config", "version"]),
];

impl Command {
    /// Returns whether it minds a configuration file that makes no sense.
    pub(crate) fn needs_config(&self) -> bool {
        match self {
            Self::Check(_) | Self::Rootfs(_) => true,
            Self::Schema(_) | Self::Version(_) => false,
            Self::Config(args) => args.needs_config(),
        }
    }
}

/// Does a command.
pub(crate) fn exec(app: &App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(args) => check::exec(app, &args),
        Command::Config(args) => config::exec(app, args),
        Command::Rootfs(args) => rootfs::exec(app, &args),
        Command::Schema(args) => schema::exec(app, &args),
        Command::Version(args) => version::exec(app, &args),
    }
}

/// Gives the root its help: the commands by groups.
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
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}{{options}}{{after-help}}\n"
    ))
    .after_help("Type `kraft help COMMAND` for one command, `kraft --help` for the flags of all.")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_stands_under_one_heading() {
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
