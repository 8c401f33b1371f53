//! `kraft compose`: applications of several machines on this host.

mod config;
mod dry_run;
mod forward;
mod list;
mod logs;
mod run;
mod simple;
mod up;
mod watch;

use std::path::PathBuf;

use clap::Subcommand;
use kraft_engine::compose::definition::{self, Definition, OpenOptions};
use kraft_engine::compose::state::{self, Member};
use kraft_machine::Machines;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::{Failure, Kind};

/// Run applications of several machines that a Compose file describes
///
/// Each service of the file runs in machines of its own, which find each other by the names of their
/// services. docs/compose.md lists the keys of Compose files and their effect.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  kraft compose up --detach
  kraft compose ps
  kraft compose logs -f web
  kraft compose down --volumes"
)]
pub(crate) struct Args {
    #[command(flatten)]
    project: ProjectArgs,

    #[command(subcommand)]
    command: Nested<Command>,
}

/// The project.
#[derive(Debug, clap::Args)]
struct ProjectArgs {
    /// Use this Compose file; later ones change earlier ones
    #[arg(short, long = "file", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    files: Vec<PathBuf>,

    /// Set the name of the project (default: that of the file or its directory)
    #[arg(short, long, global = true, value_name = "NAME")]
    project_name: Vec<String>,

    /// Read variables from this file instead of .env
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    env_file: Vec<PathBuf>,

    /// Enable a profile; `*` enables all
    #[arg(long, global = true, value_name = "PROFILE")]
    profile: Vec<String>,

    /// Set the directory that paths are relative to (default: that of the first file)
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    project_directory: Option<PathBuf>,

    /// Print what `up`, `create`, `start`, `stop` and similar commands would do, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,

    /// Keep networks, volumes, configs and secrets that no service uses in the output of `config`
    #[arg(long, global = true)]
    all_resources: bool,
}

/// The services of a command.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
struct Services {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Use this Compose file, as before the command
    #[arg(short = 'f', long = "file", hide = true, value_name = "FILE",
          value_hint = clap::ValueHint::FilePath)]
    files: Vec<PathBuf>,
}

/// One machine of a service.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct OneService {
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,

    /// Select this machine of the service, by its number
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(Box<up::Args>),
    Down(up::DownArgs),
    Create(Box<up::CreateArgs>),
    Run(Box<run::Args>),
    Scale(up::ScaleArgs),
    Watch(watch::Args),
    Build(up::BuildArgs),
    Pull(up::PullArgs),
    Push(up::PushArgs),
    Start(simple::StartArgs),
    Stop(simple::StopArgs),
    Restart(simple::RestartArgs),
    Kill(simple::KillArgs),
    Pause(simple::PauseArgs),
    Unpause(simple::UnpauseArgs),
    #[command(visible_alias = "remove")]
    Rm(simple::RemoveArgs),
    Ps(list::PsArgs),
    #[command(visible_alias = "list")]
    Ls(list::LsArgs),
    #[command(visible_alias = "log")]
    Logs(logs::Args),
    Images(list::ImagesArgs),
    Volumes(list::VolumesArgs),
    #[command(visible_alias = "convert")]
    Config(config::Args),
    Port(forward::PortArgs),
    Top(forward::TopArgs),
    Stats(forward::StatsArgs),
    Events(forward::EventsArgs),
    Wait(forward::WaitArgs),
    Attach(forward::AttachArgs),
    Cp(forward::CopyArgs),
    Version(forward::VersionArgs),
    Exec(simple::ExecArgs),
    /// Fail, because the files of a machine are in its memory
    Export(forward::RefusedArgs),
    /// Fail, because the files of a machine are in its memory
    Commit(forward::RefusedArgs),
}

impl Command {
    /// Returns whether it changes machines, images or files.
    const fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Ps(_)
                | Self::Ls(_)
                | Self::Logs(_)
                | Self::Images(_)
                | Self::Volumes(_)
                | Self::Config(_)
                | Self::Port(_)
                | Self::Top(_)
                | Self::Stats(_)
                | Self::Events(_)
                | Self::Version(_)
                | Self::Exec(_)
                | Self::Export(_)
                | Self::Commit(_)
        )
    }

    /// Returns the Compose files that are named after the command.
    fn files(&self) -> &[PathBuf] {
        match self {
            Self::Up(args) => &args.services.files,
            Self::Down(args) => &args.services.files,
            Self::Create(args) => &args.services.files,
            Self::Build(args) => &args.services.files,
            Self::Pull(args) => &args.services.files,
            Self::Push(args) => &args.services.files,
            Self::Start(args) => &args.services.files,
            Self::Stop(args) => &args.services.files,
            Self::Restart(args) => &args.services.files,
            Self::Kill(args) => &args.services.files,
            Self::Pause(args) => &args.services.files,
            Self::Unpause(args) => &args.services.files,
            Self::Ps(args) => &args.services.files,
            Self::Config(args) => &args.services.files,
            Self::Run(args) => &args.files,
            Self::Logs(args) => &args.files,
            Self::Watch(args) => &args.services.files,
            Self::Images(args) => &args.services.files,
            Self::Volumes(args) => &args.services.files,
            Self::Top(args) => &args.services.files,
            Self::Stats(args) => &args.services.files,
            Self::Events(args) => &args.services.files,
            Self::Wait(args) => &args.services.files,
            Self::Rm(_)
            | Self::Ls(_)
            | Self::Scale(_)
            | Self::Port(_)
            | Self::Attach(_)
            | Self::Cp(_)
            | Self::Version(_)
            | Self::Exec(_)
            | Self::Export(_)
            | Self::Commit(_) => &[],
        }
    }
}

pub(crate) fn exec(app: &App, args: Args) -> Result<(), Failure> {
    run_command(app, args).map_err(Failure::of_compose)
}

fn run_command(app: &App, args: Args) -> Result<(), Failure> {
    let mut command = args.command.0;
    let mut names = args.project.project_name;
    if let Command::Run(run) = &mut command {
        // After `run`, `-p` publishes a port in Docker's Compose. No project has such a name.
        let is_port = |text: &mut String| {
            text.contains([':', '/']) || text.bytes().all(|digit| digit.is_ascii_digit())
        };
        run.publish.extend(names.extract_if(.., is_port));
    }
    let mut options = OpenOptions {
        files: args.project.files,
        project: names.pop(),
        env_files: args.project.env_file,
        profiles: args.project.profile,
        dir: args.project.project_directory,
        ..OpenOptions::default()
    };
    options.files.extend_from_slice(command.files());
    let all = args.project.all_resources;
    let open = || Ok::<_, Failure>(definition::open(app, &options)?);
    let project = || Project::open(app, &options);
    if args.project.dry_run && command.changes() {
        return dry_run::print(app, &project()?, &command);
    }
    match command {
        Command::Up(args) => up::up(app, open()?, &args),
        Command::Down(args) => up::down(app, &project()?, &args),
        Command::Create(args) => up::create(app, open()?, &args),
        Command::Build(args) => up::build(app, &open()?, &args),
        Command::Pull(args) => up::pull(app, &open()?, &args),
        Command::Push(args) => up::push(app, &open()?, &args),
        Command::Start(args) => simple::start(app, &project()?, &args),
        Command::Stop(args) => simple::stop(app, &project()?, &args),
        Command::Restart(args) => simple::restart(app, &project()?, &args),
        Command::Kill(args) => simple::kill(app, &project()?, &args),
        Command::Pause(args) => simple::pause(app, &project()?, &args),
        Command::Unpause(args) => simple::unpause(app, &project()?, &args),
        Command::Rm(args) => simple::remove(app, &project()?, &args),
        Command::Ps(args) => list::ps(app, &project()?, &args),
        Command::Ls(args) => list::ls(app, &args),
        Command::Logs(args) => logs::exec(app, &project()?, &args),
        Command::Run(args) => run::exec(app, &open()?, &args),
        Command::Scale(args) => up::scale_services(app, open()?, &args),
        Command::Watch(args) => watch::exec(app, &open()?, &args),
        Command::Images(args) => list::images(app, &project()?, &args),
        Command::Volumes(args) => list::volumes(app, &project()?, &args),
        Command::Config(args) => config::exec(app, &options, all, &args),
        Command::Port(args) => forward::port(app, &project()?, &args),
        Command::Top(args) => forward::top(app, &project()?, &args),
        Command::Stats(args) => forward::stats(app, &project()?, &args),
        Command::Events(args) => forward::events(app, &project()?, &args),
        Command::Wait(args) => forward::wait(app, &project()?, &args),
        Command::Attach(args) => forward::attach(app, &project()?, args),
        Command::Cp(args) => forward::copy(app, &project()?, &args),
        Command::Version(args) => forward::version(app, &args),
        Command::Exec(args) => simple::exec(app, &project()?, &args),
        Command::Export(args) | Command::Commit(args) => forward::refuse(app, &project()?, &args),
    }
}

/// A project that commands use which need no file: its machines are known by their labels.
struct Project {
    name: String,
    definition: Option<Definition>,
}

impl Project {
    /// Opens the project; without files, by its name alone.
    fn open(app: &App, options: &OpenOptions) -> Result<Self, Failure> {
        match definition::open(app, options) {
            Ok(definition) => Ok(Self {
                name: definition.project.clone(),
                definition: Some(definition),
            }),
            Err(error @ definition::Error::NoFile) => {
                let name = options.project.clone();
                let name = name.or_else(|| app.env.text("COMPOSE_PROJECT_NAME"));
                let name = name.ok_or(error)?;
                Ok(Self {
                    name: definition::normalise(&name),
                    definition: None,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the machines that `run` created, of services or of all.
    fn one_offs(&self, machines: &Machines, services: &[String]) -> Result<Vec<Member>, Failure> {
        let mut members = state::all_members(machines, &self.name)?;
        members.retain(Member::is_one_off);
        members.retain(|it| services.is_empty() || services.contains(&it.service));
        Ok(members)
    }

    /// Returns a machine of a service: the first one, or that with the number.
    fn member(&self, machines: &Machines, one: &OneService) -> Result<Member, Failure> {
        self.member_of(machines, &one.service, one.index)
    }

    /// Returns a machine of a service, as [`Self::member`] does.
    fn member_of(
        &self,
        machines: &Machines,
        service: &str,
        index: Option<u32>,
    ) -> Result<Member, Failure> {
        let members = self.members(machines, &[service.to_owned()])?;
        let mut members = members.into_iter();
        members
            .find(|member| index.is_none_or(|index| member.number == index))
            .ok_or_else(|| {
                let which = index.map_or_else(String::new, |index| format!(" number {index}"));
                let why = format!("the service `{service}` has no machine{which}");
                Failure::new(Kind::NotFound, why)
                    .hint(format!("create it: `kraft compose up --detach {service}`"))
            })
    }

    /// Returns the machines of services, or of all, those that others need first.
    fn members(&self, machines: &Machines, services: &[String]) -> Result<Vec<Member>, Failure> {
        if let Some(definition) = &self.definition {
            definition.only(services)?;
        }
        let mut members = state::members(machines, &self.name)?;
        if services.is_empty() {
            return Ok(members);
        }
        for name in services {
            let known = members.iter().any(|member| member.service == *name);
            if !known && self.definition.is_none() {
                let (name, nearest) = (name.clone(), None);
                return Err(definition::Error::NoService { name, nearest }.into());
            }
        }
        members.retain(|member| services.contains(&member.service));
        Ok(members)
    }
}
