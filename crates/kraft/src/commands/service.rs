//! `kraft service`: machines that are started when the host boots.

use kraft_core::lifecycle::RestartPolicy;
use kraft_engine::machines;
use kraft_engine::service::{self, Scope, Status};
use kraft_machine::{Error, Listed, StopOptions};
use serde::Serialize;

use super::stop::is_up;
use crate::app::App;
use crate::commands::nested::Nested;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};

/// Start machines when the host boots
///
/// Install a systemd unit that starts the machines whose restart policy is not `no` when the host
/// boots, and stops them when it shuts down. Without a unit, machines stay as the shutdown left them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Enable(EnableArgs),
    Disable(DisableArgs),
    Status(StatusArgs),
    Start(StartArgs),
    Stop(StopArgs),
}

/// Whose machines are started.
#[derive(Debug, clap::Args)]
struct ScopeArgs {
    /// Use the systemd of the user (default: unless the user is root)
    #[arg(long, conflicts_with = "system")]
    user: bool,

    /// Use the systemd of the host (default: if the user is root)
    #[arg(long)]
    system: bool,
}

impl ScopeArgs {
    fn scope(&self) -> Scope {
        if self.user {
            Scope::User
        } else if self.system {
            Scope::System
        } else {
            Scope::of_this_user()
        }
    }
}

/// Start machines at every boot from now on
///
/// Write and enable a systemd unit: for root a unit of the host, for other users one of theirs.
/// A user's units are started at boot only if the user lingers: `loginctl enable-linger`.
#[derive(Debug, clap::Args)]
struct EnableArgs {
    #[command(flatten)]
    scope: ScopeArgs,
}

/// Start machines at boot no more
///
/// Remove the systemd unit. Machines that run continue.
#[derive(Debug, clap::Args)]
struct DisableArgs {
    #[command(flatten)]
    scope: ScopeArgs,
}

/// Show whether machines are started at boot
///
/// Show the systemd unit, and whether it is enabled.
#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    scope: ScopeArgs,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Start the machines of an earlier boot
///
/// Start the machines that ran when the host was shut down or crashed and whose restart policy is not
/// `no`, and with the policy `always` stopped ones, too. The systemd unit runs this; machines that
/// were started since the boot are left alone.
#[derive(Debug, clap::Args)]
struct StartArgs {}

/// Stop the machines that the next boot starts
///
/// Stop all running machines whose restart policy is not `no`; the next `kraft service start` after a
/// boot starts them again. The systemd unit runs this before the host shuts down.
#[derive(Debug, clap::Args)]
struct StopArgs {}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command.0 {
        Command::Enable(args) => enable(app, args.scope.scope()),
        Command::Disable(args) => disable(app, args.scope.scope()),
        Command::Status(args) => status(app, args),
        Command::Start(StartArgs {}) => start(app),
        Command::Stop(StopArgs {}) => stop(app),
    }
}

fn enable(app: &App, scope: Scope) -> Result<(), Failure> {
    let status = service::enable(app, scope)?;
    app.ui.line(&status.unit.display().to_string())?;
    if status.lingers == Some(false) {
        app.ui.warn(
            "the unit is started when you log in: `loginctl enable-linger` has it started at boot",
        );
    }
    Ok(())
}

fn disable(app: &App, scope: Scope) -> Result<(), Failure> {
    if !service::disable(app, scope)? {
        app.ui
            .info("there is no unit: machines are not started at boot");
    }
    Ok(())
}

/// The unit, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    unit: String,
    installed: bool,
    enabled: bool,
    lingers: Option<bool>,
}

impl From<Status> for Row {
    fn from(status: Status) -> Self {
        Self {
            unit: status.unit.display().to_string(),
            installed: status.installed,
            enabled: status.enabled,
            lingers: status.lingers,
        }
    }
}

const COLUMNS: &[Column<Row>] = &[
    Column::new("UNIT", |row| Cell::new(&row.unit)),
    Column::new("INSTALLED", |row| Cell::new(yes(row.installed))),
    Column::new("ENABLED", |row| Cell::new(yes(row.enabled))),
    Column::new("LINGERS", |row| Cell::new(row.lingers.map_or("-", yes))),
];

fn yes(it: bool) -> &'static str {
    if it { "yes" } else { "no" }
}

fn status(app: &App, args: &StatusArgs) -> Result<(), Failure> {
    let row = Row::from(service::status(app, args.scope.scope()));
    app.ui.listing(args.output, &[row], COLUMNS)
}

fn start(app: &App) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for machine in machines::existing(app).start_after_boot()? {
        if tally.count(app, machine.started).is_some() {
            app.ui.line(&machine.name)?;
        }
    }
    tally.outcome()
}

fn stop(app: &App) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut tally = Tally::default();
    let options = StopOptions {
        host_down: true,
        ..StopOptions::default()
    };
    let mut names = Vec::new();
    std::thread::scope(|scope| {
        let mut stops = Vec::new();
        for listed in machines.list()? {
            let Listed::Machine(machine) = listed else {
                continue;
            };
            if is_up(&machine) && machine.spec.lifecycle.restart != RestartPolicy::No {
                let machines = &machines;
                // At once: the host does not wait long.
                stops
                    .push(scope.spawn(move || (machines.stop(&machine.id, options), machine.name)));
            }
        }
        for stopped in stops {
            let Ok((outcome, name)) = stopped.join() else {
                continue;
            };
            match outcome {
                Ok(_) => names.push(name),
                Err(Error::NotRunning { .. } | Error::NotFound { .. }) => {}
                Err(error) => {
                    tally.count(app, Err::<(), _>(error));
                }
            }
        }
        Ok::<(), Failure>(())
    })?;
    names.iter().try_for_each(|name| app.ui.line(name))?;
    tally.outcome()
}
