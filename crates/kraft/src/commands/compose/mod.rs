//! `kraft compose`: applications of several machines on this host.

mod list;
mod logs;
mod simple;
mod up;

use std::path::PathBuf;

use clap::Subcommand;
use kraft_engine::compose::definition::{self, Definition, OpenOptions};
use kraft_engine::compose::state::{self, Member};
use kraft_machine::Machines;

use crate::app::App;
use crate::commands::nested::Nested;
use crate::failure::Failure;

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
    project_name: Option<String>,

    /// Read variables from this file instead of .env
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    env_file: Vec<PathBuf>,

    /// Enable a profile; `*` enables all
    #[arg(long, global = true, value_name = "PROFILE")]
    profile: Vec<String>,

    /// Set the directory that paths are relative to (default: that of the first file)
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    project_directory: Option<PathBuf>,
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

#[derive(Debug, Subcommand)]
enum Command {
    Up(Box<up::Args>),
    Down(up::DownArgs),
    Create(Box<up::CreateArgs>),
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
    Config(list::ConfigArgs),
    Exec(simple::ExecArgs),
}

impl Command {
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
            Self::Rm(_) | Self::Ls(_) | Self::Logs(_) | Self::Exec(_) => &[],
        }
    }
}

pub(crate) fn exec(app: &App, args: Args) -> Result<(), Failure> {
    let mut options = OpenOptions {
        files: args.project.files,
        project: args.project.project_name,
        env_files: args.project.env_file,
        profiles: args.project.profile,
        dir: args.project.project_directory,
        ..OpenOptions::default()
    };
    let command = args.command.0;
    options.files.extend_from_slice(command.files());
    let open = || Ok::<_, Failure>(definition::open(app, &options)?);
    let project = || Project::open(app, &options);
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
        Command::Config(args) => list::config(app, &open()?, &args),
        Command::Exec(args) => simple::exec(app, &project()?, &args),
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
