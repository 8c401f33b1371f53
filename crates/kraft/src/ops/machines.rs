//! Machines as commands meet them: opened, chosen by words, shown, and done to one after another.

use std::ffi::OsString;

use anstyle::AnsiColor;
use kraft_core::arch::Arch;
use kraft_core::machine::{EndReason, MachineSpec, MachineState};
use kraft_core::platform::Platform;
use kraft_core::port::PortMapping;
use kraft_core::quantity;
use kraft_machine::driver::{self, Launch};
use kraft_machine::{
    DEFAULT_CONSOLE_LIMIT, Error, LEAST_CONSOLE_LIMIT, Listed, Machine, Machines, Settings,
    Unreadable,
};
use kraft_sys::process::OWN_PROGRAM;
use serde::Serialize;

use crate::app::App;
use crate::commands::values::PlatformArg;
use crate::failure::{Failure, Kind};

/// The hidden first word that makes this program the monitor of a machine.
pub(crate) const MONITOR: &str = "__monitor";

/// Returns what the room of machines has to know from the configuration.
pub(crate) fn settings(app: &App) -> Settings {
    Settings {
        runtime_dir: app.config.runtime_dir(),
        // This very program, also when the file it was started from has been replaced.
        monitor: vec![OsString::from(OWN_PROGRAM), OsString::from(MONITOR)],
        qemu: app.config.qemu().map(str::to_owned),
        console_limit: console_limit(app),
    }
}

/// Returns the most that a console takes on disk: the key `console_limit`, which was checked when
/// the configuration was read.
fn console_limit(app: &App) -> u64 {
    let limit = app.config.text("console_limit");
    limit
        .and_then(|text| quantity::parse(text).ok())
        .unwrap_or(DEFAULT_CONSOLE_LIMIT)
        .max(LEAST_CONSOLE_LIMIT)
}

/// Opens the machines to make one: their directory is made if it is missing.
pub(crate) fn open(app: &App) -> Result<Machines, Failure> {
    Ok(Machines::open(settings(app))?)
}

/// Opens the machines to end one: the directory it was made in may be gone, and is made again, for
/// the lock. Where that is not possible, there are the machines there are.
pub(crate) fn ending(app: &App) -> Machines {
    open(app).unwrap_or_else(|_| existing(app))
}

/// Opens the machines there are. Nothing is written: there may be no directory, nor a place where
/// one could be made.
pub(crate) fn existing(app: &App) -> Machines {
    Machines::existing(settings(app))
}

/// Returns the machines that can be read, and nothing where none can.
pub(crate) fn readable(app: &App) -> Vec<Machine> {
    existing(app)
        .list()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|listed| match listed {
            Listed::Machine(machine) => Some(*machine),
            Listed::Unreadable(_) => None,
        })
        .collect()
}

/// The machines that a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Machines, by name, id or the unique beginning of either
    #[arg(value_name = crate::completion::MACHINE)]
    pub(crate) machines: Vec<String>,

    /// Take every machine that it can be done to
    #[arg(long, conflicts_with = "machines")]
    pub(crate) all: bool,

    /// With --all, take only machines on this platform
    #[arg(short, long, value_name = "PLATFORM", default_value = "auto", hide_default_value = true,
          value_parser = crate::commands::values::platform())]
    pub(crate) plat: PlatformArg,
}

/// What an act did to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// What was asked.
    Something,
    /// Nothing: it was so already.
    Nothing,
}

/// Does something to each chosen machine, and prints the name of each it was done to.
///
/// A machine it cannot be done to does not keep the others from theirs; it is told, and the exit
/// code is that of the first such failure. With `--all`, machines that are not `wanted` are
/// passed over.
pub(crate) fn each(
    app: &App,
    machines: &Machines,
    selection: &Selection,
    wanted: impl Fn(&Machine) -> bool,
    mut act: impl FnMut(&Machine) -> Result<Done, Failure>,
) -> Result<(), Failure> {
    let mut tally = Tally::default();
    for chosen in choose(app, machines, selection, wanted)? {
        let done = chosen.and_then(|machine| match act(&machine)? {
            Done::Something => app.ui.line(&machine.name),
            Done::Nothing => Ok(()),
        });
        tally.count(app, done)?;
    }
    tally.outcome()
}

/// Finds the machines of a selection; each word that means none is a failure of its own.
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
                // What runs and cannot be read is not done with a warning.
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
        return Err(Failure::usage("no machine is named").hint("name machines, or use `--all`"));
    }
    let find = |word: &String| machines.find(word).map_err(Failure::from);
    Ok(selection.machines.iter().map(find).collect())
}

/// Says that the record of a machine cannot be read.
pub(crate) fn warn_of(app: &App, unreadable: &Unreadable) {
    let why = crate::failure::chain(&unreadable.error);
    if unreadable.error.is_foreign() {
        app.ui.warn(&format!("skipped: {why}; remove it yourself"));
        return;
    }
    app.ui.warn(&format!(
        "the state of the machine in `{}` cannot be told: {why}",
        unreadable.path.display(),
    ));
}

/// The id of no machine, so that the same question has the same answer.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Returns the command line of the VMM of a machine, without making one.
pub(crate) fn argv(app: &App, spec: &MachineSpec, line: &str) -> Result<Vec<OsString>, Failure> {
    let program = driver::program(spec, app.config.qemu())?;
    let launch = Launch {
        id: NOBODY.parse().unwrap_or_default(),
        spec,
        line,
        ports: &spec.ports,
        program: &program,
        fast_firmware: driver::has_fast_firmware(spec, &program),
        sandbox: driver::may_be_sandboxed(spec, &program),
    };
    Ok(driver::argv(&launch)?)
}

/// Counts what failed while the rest went on.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    first: Option<Kind>,
}

impl Tally {
    /// Takes the outcome for one machine; a failure is told, and that nobody reads our output
    /// is passed on.
    pub(crate) fn count(&mut self, app: &App, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Err(failure) if failure.kind == Kind::Unread => Err(failure),
            Err(failure) => {
                app.ui.failure(&failure);
                self.first.get_or_insert(failure.kind);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Returns the outcome for all.
    pub(crate) fn outcome(self) -> Result<(), Failure> {
        self.first.map_or(Ok(()), |kind| Err(Failure::told(kind)))
    }
}

/// One machine in `ps -o json`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Its id.
    pub(crate) id: String,
    /// Its name; none if it cannot be read.
    pub(crate) name: Option<String>,
    /// The word of its state.
    pub(crate) state: &'static str,
    /// Where its kernel came from.
    pub(crate) kernel: Option<String>,
    /// The arguments of its application.
    pub(crate) args: Vec<String>,
    /// Its processor.
    pub(crate) arch: Option<Arch>,
    /// What runs it.
    pub(crate) platform: Option<Platform>,
    /// Its memory in bytes.
    pub(crate) memory: Option<u64>,
    /// Its virtual processors.
    pub(crate) cpus: Option<u32>,
    /// Its ports on the host, while it runs.
    pub(crate) ports: Vec<PortMapping>,
    /// When it was made.
    pub(crate) created_at: Option<jiff::Timestamp>,
    /// When it was last started.
    pub(crate) started_at: Option<jiff::Timestamp>,
    /// When it last ended.
    pub(crate) ended_at: Option<jiff::Timestamp>,
    /// The exit code that stands for its last end.
    pub(crate) exit_code: Option<i32>,
    /// The process of its VMM, while that lives.
    pub(crate) pid: Option<u32>,
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
            moment: machine.state,
        }
    }
}

impl From<&Unreadable> for Row {
    fn from(unreadable: &Unreadable) -> Self {
        Self {
            id: unreadable.id.to_string(),
            name: unreadable.name.clone(),
            state: MachineState::Unknown.name(),
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
            pid: unreadable.pid,
            moment: MachineState::Unknown,
        }
    }
}

/// Returns the colour of a state.
pub(crate) fn state_colour(state: MachineState) -> AnsiColor {
    match state {
        MachineState::Unknown | MachineState::Exited => AnsiColor::BrightBlack,
        MachineState::Created => AnsiColor::Blue,
        MachineState::Failed | MachineState::Errored => AnsiColor::Red,
        MachineState::Restarting | MachineState::Paused | MachineState::Suspended => {
            AnsiColor::Yellow
        }
        MachineState::Running => AnsiColor::Green,
    }
}

/// Says in a few words how a machine ended.
pub(crate) fn how_it_ended(reason: &EndReason) -> String {
    match reason {
        EndReason::PoweredOff => "powered off".to_owned(),
        EndReason::Exited { code } => format!("exited with status {code}"),
        EndReason::Crashed { what } => format!("crashed: {what}"),
        EndReason::Stopped => "was stopped".to_owned(),
        EndReason::Killed { signal: Some(9) } => "was killed (SIGKILL)".to_owned(),
        EndReason::Killed {
            signal: Some(signal),
        } => format!("was killed by signal {signal}"),
        EndReason::Killed { signal: None } => "was killed".to_owned(),
        EndReason::MonitorFailed { message, .. } if message.is_empty() => {
            "ended because its VMM failed".to_owned()
        }
        EndReason::MonitorFailed { message, .. } => {
            format!("ended because its VMM failed: {message}")
        }
        EndReason::HostDown => "ended when the computer went down".to_owned(),
        EndReason::Vanished => "is gone, and nobody saw how".to_owned(),
    }
}

/// Returns how long ago something was: `2 hours ago`.
pub(crate) fn ago(then: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..1_209_600 => (seconds / 86_400, "day"),
        1_209_600..5_184_000 => (seconds / 604_800, "week"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_told_in_the_unit_that_fits() {
        let now = jiff::Timestamp::from_second(1_000_000_000).unwrap();
        let told = |seconds: i64| {
            ago(
                jiff::Timestamp::from_second(1_000_000_000 - seconds).unwrap(),
                now,
            )
        };
        assert_eq!(told(0), "0 seconds ago");
        assert_eq!(told(1), "1 second ago");
        assert_eq!(told(7200), "2 hours ago");
        assert_eq!(told(86_400), "1 day ago");
        assert_eq!(told(1_300_000), "2 weeks ago");
        assert_eq!(told(40_000_000), "15 months ago");
        assert_eq!(told(-100), "0 seconds ago");
    }
}
