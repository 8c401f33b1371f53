//! The commands that do one thing to each machine of services.

use std::ffi::OsString;
use std::time::Duration;

use kraft_core::machine::MachineState;
use kraft_engine::compose::state::Member;
use kraft_engine::compose::up as flow;
use kraft_engine::machines;
use kraft_machine::{Error, KillSignal, Machines};

use super::{Project, Services};
use crate::app::App;
use crate::commands::machines::Done;
use crate::commands::tally::Tally;
use crate::commands::values;
use crate::failure::{Failure, Kind};

/// Start the machines of services, and print their names
///
/// Each is started after those that it needs are as it wants them.
#[derive(Debug, clap::Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Wait until the machines run, and are healthy if that is checked
    #[arg(long)]
    wait: bool,

    /// Set how long --wait waits
    #[arg(long, value_name = "TIME", value_parser = values::duration, requires = "wait")]
    wait_timeout: Option<Duration>,
}

/// Stop the machines of services, and print their names
#[derive(Debug, clap::Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Set how long each machine may take to shut down
    #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,
}

/// Restart the machines of services, and print their names
#[derive(Debug, clap::Args)]
pub(super) struct RestartArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Set how long each machine may take to shut down
    #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,

    /// Do not restart services that depend on these with `restart`
    #[arg(long)]
    no_deps: bool,
}

/// Kill the machines of services, and print their names
#[derive(Debug, clap::Args)]
pub(super) struct KillArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Send this signal: KILL, TERM or INT
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: KillSignal,
}

/// Pause the machines of services, and print their names
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    pub(super) services: Services,
}

/// Resume the paused machines of services, and print their names
#[derive(Debug, clap::Args)]
pub(super) struct UnpauseArgs {
    #[command(flatten)]
    pub(super) services: Services,
}

/// Remove the machines of services that do not run, and print their names
#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(super) services: Vec<String>,

    /// Stop the machines that run before
    #[arg(short, long)]
    pub(super) stop: bool,

    /// Remove the anonymous volumes of the machines, too
    #[arg(short, long)]
    volumes: bool,

    /// Accepted for compatibility with Docker: nothing is asked
    #[arg(short, long)]
    force: bool,
}

/// Fail, because a machine runs one program
///
/// See `kraft exec`.
#[derive(Debug, clap::Args)]
pub(super) struct ExecArgs {
    /// Accepted for compatibility with Docker
    #[arg(short, long, hide = true)]
    interactive: bool,

    /// Accepted for compatibility with Docker
    #[arg(short, long, hide = true)]
    tty: bool,

    /// Accepted for compatibility with Docker
    #[arg(short = 'T', long, hide = true)]
    no_tty: bool,

    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,

    /// The program and its arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

/// Does something to each machine of services, and prints the names of those that changed. `last`
/// begins with those that others do not need.
fn each(
    app: &App,
    project: &Project,
    services: &[String],
    last: bool,
    mut act: impl FnMut(&Machines, &Member) -> Result<Done, Failure>,
) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let _held = flow::hold(app, &project.name)?;
    let mut members = project.members(&machines, services)?;
    if last {
        members.reverse();
    }
    let mut tally = Tally::default();
    for member in &members {
        if tally.count(app, act(&machines, member)) == Some(Done::Something) {
            app.ui.line(&member.machine.name)?;
        }
    }
    tally.outcome()
}

pub(super) fn start(app: &App, project: &Project, args: &StartArgs) -> Result<(), Failure> {
    let names = &args.services.services;
    if let Some(definition) = &project.definition {
        let _ = app.interrupt.listen();
        let machines = machines::existing(app);
        let members = project.members(&machines, &[])?;
        let services = definition.only(names)?;
        for name in flow::start(app, &services, &members)? {
            app.ui.line(&name)?;
        }
    } else {
        each(app, project, names, false, |machines, member| {
            flow::start_one(app, machines, member)?;
            Ok(Done::Something)
        })?;
    }
    if args.wait {
        let members = project.members(&machines::existing(app), names)?;
        flow::wait(app, &members, args.wait_timeout)?;
    }
    Ok(())
}

pub(super) fn stop(app: &App, project: &Project, args: &StopArgs) -> Result<(), Failure> {
    let names = &args.services.services;
    each(app, project, names, true, |machines, member| {
        Ok(done(flow::stop(machines, &member.machine, args.timeout)?))
    })
}

fn done(something: bool) -> Done {
    if something {
        Done::Something
    } else {
        Done::Nothing
    }
}

pub(super) fn restart(app: &App, project: &Project, args: &RestartArgs) -> Result<(), Failure> {
    let names = &args.services.services;
    let dependents = match &project.definition {
        Some(definition) if !names.is_empty() && !args.no_deps => definition.dependents(names),
        _ => Vec::new(),
    };
    let all = [names.as_slice(), &dependents].concat();
    each(app, project, &all, false, |machines, member| {
        if dependents.contains(&member.service) && !member.machine.state.is_up() {
            return Ok(Done::Nothing);
        }
        flow::stop(machines, &member.machine, args.timeout)?;
        flow::start_one(app, machines, member)?;
        Ok(Done::Something)
    })
}

pub(super) fn kill(app: &App, project: &Project, args: &KillArgs) -> Result<(), Failure> {
    let names = &args.services.services;
    each(app, project, names, true, |machines, member| match machines
        .kill(&member.machine.id, args.signal)
    {
        Ok(_) => Ok(Done::Something),
        Err(Error::NotRunning { .. } | Error::NotFound { .. }) => Ok(Done::Nothing),
        Err(error) => Err(error.into()),
    })
}

pub(super) fn pause(app: &App, project: &Project, args: &PauseArgs) -> Result<(), Failure> {
    let names = &args.services.services;
    each(app, project, names, true, |machines, member| {
        if member.machine.state != MachineState::Running {
            return Ok(Done::Nothing);
        }
        machines.pause(&member.machine.id)?;
        Ok(Done::Something)
    })
}

pub(super) fn unpause(app: &App, project: &Project, args: &UnpauseArgs) -> Result<(), Failure> {
    let names = &args.services.services;
    each(app, project, names, false, |machines, member| {
        if member.machine.state != MachineState::Paused {
            return Ok(Done::Nothing);
        }
        machines.unpause(&member.machine.id)?;
        Ok(Done::Something)
    })
}

pub(super) fn remove(app: &App, project: &Project, args: &RemoveArgs) -> Result<(), Failure> {
    each(app, project, &args.services, true, |machines, member| {
        if member.machine.state.is_up() && !args.stop {
            return Ok(Done::Nothing);
        }
        flow::remove(machines, &member.machine, None)?;
        if args.volumes {
            machines.remove_anonymous_volumes(&member.machine.spec.volumes, None)?;
        }
        Ok(Done::Something)
    })
}

pub(super) fn exec(app: &App, project: &Project, args: &ExecArgs) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let services = std::slice::from_ref(&args.service);
    let members = project.members(&machines, services)?;
    let name = members
        .first()
        .map_or(args.service.as_str(), |member| &member.machine.name);
    Err(Failure::new(
        Kind::Host,
        format!(
            "cannot start a program in the service `{}`: a machine runs one program, and nothing in it \
             takes requests for another",
            args.service
        ),
    )
    .hint(format!("`kraft attach {name}` connects to its console"))
    .hint("start a shell as its program: `kraft run -it IMAGE /bin/sh`"))
}
