//! Machines that a command applies to: selected by arguments, listed, and processed one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::commands::tally::Tally;
use anstyle::AnsiColor;
use kraft_core::arch::Arch;
use kraft_core::lifecycle::Health;
use kraft_core::machine::{EndReason, MachineState};
use kraft_core::platform::Platform;
use kraft_core::port::PortMapping;
use kraft_core::readable;
use kraft_engine::machines::warn_of;
use kraft_machine::{Error, Listed, Machine, Machines, Unreadable};
use serde::Serialize;

use super::values::PlatformArg;
use crate::app::App;
use crate::failure::Failure;

/// The arguments that select machines.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Machines, by name, id or unique prefix of either
    #[arg(value_name = crate::completion::MACHINE)]
    pub(crate) machines: Vec<String>,

    /// Select all machines that the command applies to
    #[arg(long, conflicts_with = "machines")]
    pub(crate) all: bool,

    /// With --all, select only machines on this platform
    #[arg(short, long, value_name = "PLATFORM", default_value = "auto", hide_default_value = true,
          value_parser = super::values::platform())]
    pub(crate) plat: PlatformArg,
}

/// The result of an action on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The requested action.
    Something,
    /// Nothing: the machine was in that state already.
    Nothing,
}

/// Runs an action on each selected machine, and prints the names of the machines that changed.
///
/// A failure is logged and does not stop the others; the exit code is that of the first failure.
/// With `--all`, machines that are not `wanted` are skipped.
pub(crate) fn each(
    app: &App,
    machines: &Machines,
    selection: &Selection,
    wanted: impl Fn(&Machine) -> bool,
    mut act: impl FnMut(&Machine) -> Result<Done, Failure>,
) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for chosen in choose(app, machines, selection, wanted)? {
        let done = chosen.and_then(|machine| Ok((act(&machine)?, machine.name)));
        if let Some((Done::Something, name)) = tally.count(app, done) {
            app.ui.line(&name)?;
        }
    }
    tally.outcome()
}

/// Finds the selected machines; each argument that matches none is a separate failure.
pub(crate) fn choose(
    app: &App,
    machines: &Machines,
    selection: &Selection,
    wanted: impl Fn(&Machine) -> bool,
) -> Result<Vec<Result<Machine, Failure>>, Failure> {
    if selection.all {
        let listed = machines.list()?;
        return Ok(listed
            .into_iter()
            .filter_map(|listed| match listed {
                Listed::Machine(machine) => (wanted(&machine)
                    && selection.plat.means(machine.spec.platform))
                .then_some(Ok(*machine)),
                // A running machine that cannot be read is an error, not only a warning.
                Listed::Unreadable(Unreadable {
                    id,
                    error,
                    pid: Some(_),
                    ..
                }) => Some(Err(Failure::from(Error::Unreadable { id, source: error }))),
                Listed::Unreadable(unreadable) => {
                    warn_of(app, &unreadable);
                    None
                }
            })
            .collect());
    }
    if selection.machines.is_empty() {
        return Err(Failure::usage("no machine selected").hint("pass machines, or use `--all`"));
    }
    let find = |word: &String| machines.find(word).map_err(Failure::from);
    Ok(selection.machines.iter().map(find).collect())
}

/// One machine in `ps -o json`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Its id.
    pub(crate) id: String,
    /// Its name; `null` if it cannot be read.
    pub(crate) name: Option<String>,
    /// The name of its state.
    pub(crate) state: &'static str,
    /// The origin of its kernel.
    pub(crate) kernel: Option<String>,
    /// The arguments of its application.
    pub(crate) args: Vec<String>,
    /// Its architecture.
    pub(crate) arch: Option<Arch>,
    /// Its platform.
    pub(crate) platform: Option<Platform>,
    /// Its memory in bytes.
    pub(crate) memory: Option<u64>,
    /// Its virtual processors.
    pub(crate) cpus: Option<u32>,
    /// Its ports on the host, while it runs.
    pub(crate) ports: Vec<PortMapping>,
    /// When it was created.
    pub(crate) created_at: Option<jiff::Timestamp>,
    /// When it was last started.
    pub(crate) started_at: Option<jiff::Timestamp>,
    /// When it last ended.
    pub(crate) ended_at: Option<jiff::Timestamp>,
    /// The exit code of its last end.
    pub(crate) exit_code: Option<i32>,
    /// The PID of its VMM, while it runs.
    pub(crate) pid: Option<u32>,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The result of its health checks; `null` if it has none, or does not run.
    pub(crate) health: Option<Health>,
    /// How often its restart policy started it since the user did.
    pub(crate) restarts: u32,
    #[serde(skip)]
    pub(crate) moment: MachineState,
}

impl From<Machine> for Row {
    fn from(machine: Machine) -> Self {
        Self {
            id: machine.id.to_string(),
            name: Some(machine.name),
            state: machine.state.name(),
            kernel: Some(machine.spec.origin),
            args: machine.spec.args,
            arch: Some(machine.spec.arch),
            platform: Some(machine.spec.platform),
            memory: Some(machine.spec.memory),
            cpus: Some(machine.spec.cpus),
            ports: machine.ports,
            created_at: Some(machine.created_at),
            started_at: machine.started_at,
            ended_at: machine.ended_at,
            exit_code: machine.end.as_ref().map(EndReason::exit_code),
            pid: machine.pid,
            labels: machine.spec.labels,
            health: machine.health,
            restarts: machine.restarts,
            moment: machine.state,
        }
    }
}

impl From<&Unreadable> for Row {
    fn from(unreadable: &Unreadable) -> Self {
        Self {
            name: unreadable.name.clone(),
            pid: unreadable.pid,
            ..Self::unknown(unreadable.id.to_string(), MachineState::Unknown)
        }
    }
}

impl Row {
    /// Returns the row of a machine of which only the id and the state are known.
    pub(crate) fn unknown(id: String, state: MachineState) -> Self {
        Self {
            id,
            name: None,
            state: state.name(),
            kernel: None,
            args: Vec::new(),
            arch: None,
            platform: None,
            memory: None,
            cpus: None,
            ports: Vec::new(),
            created_at: None,
            started_at: None,
            ended_at: None,
            exit_code: None,
            pid: None,
            labels: BTreeMap::new(),
            health: None,
            restarts: 0,
            moment: state,
        }
    }

    /// Returns its state, with its health if that is checked.
    pub(crate) fn status(&self) -> String {
        match self.health {
            Some(health) => format!("{} ({})", self.state, health.name()),
            None => self.state.to_owned(),
        }
    }
}

/// Returns the colour of a state.
pub(crate) fn state_colour(state: MachineState) -> AnsiColor {
    match state {
        MachineState::Unknown | MachineState::Exited => AnsiColor::BrightBlack,
        MachineState::Created => AnsiColor::Blue,
        MachineState::Failed | MachineState::Errored => AnsiColor::Red,
        MachineState::Restarting
        | MachineState::Paused
        | MachineState::Suspended
        | MachineState::Asleep => AnsiColor::Yellow,
        MachineState::Running => AnsiColor::Green,
    }
}

/// Returns the age of a timestamp: `2 hours ago`.
pub(crate) fn ago(then: jiff::Timestamp, now: jiff::Timestamp) -> String {
    readable::ago(Duration::try_from(now.duration_since(then)).unwrap_or_default())
}
