//! The monitor: one process per running machine that waits for its end and records it.
//!
//! It is this program, started with a hidden argument. It leaves the session of the process that
//! started it, so that closing a terminal ends neither it nor its VMM, and runs as long as the VMM
//! does. If it is killed, the VMM continues, and the next `kraft` that accesses the machine starts
//! another monitor to adopt it.
//!
//! When the machine has ended and its restart policy says so, the same monitor waits for a while and
//! starts it again. If it is killed meanwhile, the next `kraft` starts another monitor for that.
//!
//! Its stderr leads nowhere: if it fails, it writes why to the machine's `vmm.log`.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use kraft_core::machine::{EndReason, MachineSpec};
use kraft_core::platform::Platform;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::{self, Identity, Process};

use crate::compact::Compactor;
use crate::console::{Copied, Drain};
use crate::driver::{self, Drivers, Registry};
use crate::health::Checker;
use crate::id::Id;
use crate::layout::{Layout, MachineDir};
use crate::machines::{
    Machines, PROFILE, Purpose, Report, SAVED_AS, Settings, StartError, Status, now,
    reported_ending, take_over,
};
use crate::record::{Ending, Record};

mod ending;
mod identity;
mod publish;
mod restart;
mod restore;
mod sleep;
mod start;

pub(crate) use ending::of_child as ending_of_child;
use publish::Publisher;
pub(crate) use start::kernel_line;
use start::{Cause, Started};

/// The interval of polling the VMM's files where the system cannot report that they grow.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long bytes of a guest are collected before they are written.
const COLLECT: Duration = Duration::from_millis(1);

/// How long the monitor tries to record an end.
const RECORD_TIMEOUT: Duration = Duration::from_mins(10);

/// Runs as a monitor with the arguments that [`Machines`] adds to [`Settings::monitor`], and returns
/// the exit code: `start|adopt|restart|sleep|suspend|snapshot|fork RUNTIME_DIR ID CONSOLE_LIMIT [as=NAME]
/// [profile] [PLATFORM=PROGRAM]…`.
///
/// A program that starts machines calls this when it is started with its hidden argument:
///
/// ```no_run
/// let mut args = std::env::args_os().skip(1);
/// if args.next().is_some_and(|arg| arg == "__monitor") {
///     std::process::exit(kraft_machine::monitor::main(args));
/// }
/// ```
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    main_with(driver::built_in, args)
}

/// Runs as a monitor with other drivers than the built-in ones; see [`main`].
pub fn main_with(registry: Registry, args: impl IntoIterator<Item = OsString>) -> i32 {
    let Some(task) = Task::parse(registry, args) else {
        return 2;
    };
    let log = Layout::new(task.settings.runtime_dir.clone())
        .machine(task.id)
        .vmm_log();
    match task.run() {
        Ok(()) => 0,
        Err(Failed(why)) => {
            if let Ok(mut log) = fs::append(&log) {
                // The disk may be full.
                let _ = writeln!(log, "kraft: the monitor failed: {why}");
            }
            // If there was a report already, stdout leads nowhere.
            let report = Report {
                error: Some(StartError::Monitor(why)),
                ..Report::default()
            };
            report.send(std::io::stdout());
            1
        }
    }
}

/// What a monitor begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Begin {
    Start {
        /// Whether the VMM records when its guest reaches the steps of its boot.
        profile: bool,
    },
    Adopt,
    Restart,
    Sleep,
    /// Nothing: this process only saves the machine.
    Save(Purpose),
}

struct Task {
    begin: Begin,
    id: Id,
    settings: Settings,
}

impl Task {
    fn parse(registry: Registry, args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let mut begin = match args.next()?.to_str()? {
            "start" => Begin::Start { profile: false },
            "adopt" => Begin::Adopt,
            "restart" => Begin::Restart,
            "sleep" => Begin::Sleep,
            "suspend" => Begin::Save(Purpose::Suspend),
            "snapshot" => Begin::Save(Purpose::Snapshot(String::new())),
            "fork" => Begin::Save(Purpose::Fork(Id::nil())),
            _ => return None,
        };
        let runtime_dir = PathBuf::from(args.next()?);
        let id = args.next()?.to_str()?.parse().ok()?;
        let console_limit = args.next()?.to_str()?.parse().ok()?;
        let mut drivers = Drivers::from_registry(registry);
        for arg in args {
            if arg == PROFILE {
                begin = match begin {
                    Begin::Start { .. } => Begin::Start { profile: true },
                    Begin::Adopt | Begin::Restart | Begin::Sleep | Begin::Save(_) => return None,
                };
                continue;
            }
            if let Some(name) = arg.to_str()?.strip_prefix(SAVED_AS) {
                match &mut begin {
                    Begin::Save(Purpose::Snapshot(given)) => name.clone_into(given),
                    Begin::Save(Purpose::Fork(id)) => *id = name.parse().ok()?,
                    _ => return None,
                }
                continue;
            }
            let (platform, program) = arg.to_str()?.split_once('=')?;
            let platform: Platform = platform.parse().ok()?;
            drivers = drivers.with_program(platform, program);
        }
        Some(Self {
            begin,
            id,
            settings: Settings {
                runtime_dir,
                monitor: Vec::new(),
                drivers,
                console_limit,
            },
        })
    }

    fn run(self) -> Result<(), Failed> {
        process::survive_polite_signals()?;
        // Inherited by the VMM: what it cannot write beyond its limit is dropped.
        process::survive_file_size_limit()?;
        // Fails only if this process leads a session already.
        let _ = process::leave_session();
        let machines = Machines::open(self.settings)?;
        let dir = machines.machine_dir(self.id);
        std::env::set_current_dir(dir.path()).map_err(fs::Error::on("enter", dir.path()))?;
        let mut publisher = None;
        let ended = match self.begin {
            Begin::Save(purpose) => return save(&machines, self.id, &purpose),
            Begin::Start { profile } => start(&machines, self.id, &dir, profile, &mut publisher)?,
            Begin::Adopt => adopt(&machines, &dir, &mut publisher)?,
            Begin::Restart => {
                take_over(&dir).map_err(|error| Failed(error.to_string()))?;
                None
            }
            Begin::Sleep => {
                publisher = sleep::take_over(&machines, &dir)?;
                None
            }
        };
        if let Some((vmm, ending)) = ended {
            record_end(&machines, &dir, &vmm, &ending);
        }
        loop {
            let cause = if sleep::wait(&dir, publisher.as_mut())? {
                Cause::Connection
            } else if restart::wait(&dir)? {
                Cause::Policy
            } else {
                return Ok(());
            };
            let ended = start_again(&machines, self.id, &dir, cause, &mut publisher)?;
            if let Some((vmm, ending)) = ended {
                record_end(&machines, &dir, &vmm, &ending);
            }
        }
    }
}

/// Why a monitor failed: an error with its causes.
struct Failed(String);

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            why.push_str(": ");
            why.push_str(&error.to_string());
            cause = error.source();
        }
        Self(why)
    }
}

/// The VMM and how it ended; `None` if there was nothing to wait for.
type Ended = Option<(Identity, Ending)>;

/// Starts the machine, reports the result, and waits for the end.
fn start(
    machines: &Machines,
    id: Id,
    dir: &MachineDir,
    profile: bool,
    publisher: &mut Option<Publisher>,
) -> Result<Ended, Failed> {
    let stdout = process::take_stdout()?;
    let options = start::Options {
        cause: Cause::User,
        profile,
        publisher,
    };
    let (started, command_line) = start::start(machines, id, options);
    match started {
        Ok(started) => {
            let report = Report {
                error: None,
                command_line,
            };
            report.send(stdout);
            attend(machines, started, dir, publisher.as_ref())
        }
        Err(error) => {
            let report = Report {
                error: Some(error),
                command_line,
            };
            report.send(stdout);
            Ok(None)
        }
    }
}

/// Saves the machine and reports the result.
fn save(machines: &Machines, id: Id, purpose: &Purpose) -> Result<(), Failed> {
    let stdout = process::take_stdout()?;
    let saved = machines.save(id, purpose);
    let error = saved
        .err()
        .map(|error| StartError::System(Failed::from(error).0));
    let report = Report {
        error,
        ..Report::default()
    };
    report.send(stdout);
    Ok(())
}

/// Starts the machine by its restart policy or because of a connection, and waits for the end.
fn start_again(
    machines: &Machines,
    id: Id,
    dir: &MachineDir,
    cause: Cause,
    publisher: &mut Option<Publisher>,
) -> Result<Ended, Failed> {
    let options = start::Options {
        cause,
        profile: false,
        publisher: &mut *publisher,
    };
    match start::start(machines, id, options).0 {
        Ok(started) => attend(machines, started, dir, publisher.as_ref()),
        // It is recorded, and the policy or the next connection decides about the next attempt.
        Err(error) => {
            if let Ok(mut log) = fs::append(&dir.vmm_log()) {
                let _ = writeln!(log, "kraft: cannot start the machine again: {error}");
            }
            if let Some(publisher) = publisher {
                publisher.give_up();
            }
            Ok(None)
        }
    }
}

/// Checks that the files of a machine that is booted can be read.
pub(crate) fn check_files(spec: &MachineSpec) -> Result<(), StartError> {
    start::check_files(spec, false)
}

/// Waits for the end of a VMM that this process has started.
fn attend(
    machines: &Machines,
    started: Started,
    dir: &MachineDir,
    publisher: Option<&Publisher>,
) -> Result<Ended, Failed> {
    let Started {
        driver,
        mut child,
        vmm,
        console,
        compactor,
        restored,
    } = started;
    let _checker = Checker::start(dir, machines);
    let status = sleep::when_idle(machines, dir, publisher, restored, || {
        supervise(&vmm, Some(console), compactor)?;
        wait(&mut child)
    })?;
    Ok(Some((vmm, ending::of_child(driver, dir, status))))
}

/// Records the console of a VMM and compacts its files until it exits.
fn supervise(
    vmm: &Identity,
    mut console: Option<Drain>,
    mut compactor: Compactor,
) -> std::io::Result<()> {
    let Some(process) = Process::open(vmm)? else {
        // Its last output may still be in the pipe.
        console.as_mut().map(Drain::copy);
        return Ok(());
    };
    loop {
        let mut files = vec![process.as_fd()];
        files.extend(compactor.watch());
        files.extend(console.as_ref().map(AsFd::as_fd));
        let poll = compactor.watch().is_none();
        let deadline = poll.then(|| Instant::now() + POLL_INTERVAL);
        let ready = process::wait_readable(&files, deadline)?;
        let exited = ready.first() == Some(&true);
        if poll || ready.get(1) == Some(&true) {
            compactor.run();
        }
        match console.as_mut().map_or(Copied::Nothing, Drain::copy) {
            Copied::Closed => console = None,
            Copied::Nothing | Copied::Something => {}
        }
        if exited {
            while console.as_mut().map(Drain::copy) == Some(Copied::Something) {}
            return Ok(());
        }
        // A guest prints byte by byte: a few more may arrive at once.
        process.wait(Some(COLLECT))?;
    }
}

pub(crate) fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    loop {
        match child.wait() {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Adopts an orphaned VMM and waits for its end.
fn adopt(
    machines: &Machines,
    dir: &MachineDir,
    publisher: &mut Option<Publisher>,
) -> Result<Ended, Failed> {
    let lock = Lock::exclusive(dir.path())?;
    let mut record = Record::load(dir)?;
    machines.recover(&mut record, dir);
    let Some((mut record, Status::Orphaned { .. })) = machines.settle_lost(record, dir) else {
        // It has ended, or another process was first.
        return Ok(None);
    };
    let Some(driver) = machines.driver(&record) else {
        return Ok(None);
    };
    let (Some(run), Some(me)) = (&mut record.run, Identity::me()) else {
        return Ok(None);
    };
    run.monitor = me;
    let Some(vmm) = run.vmm.clone() else {
        return Ok(None);
    };
    record.store(dir)?;
    let _ = record.reserve(dir);
    // A monitor that was killed when it had restored the guest may have left this.
    let _ = fs::remove_tree(&dir.saved());
    drop(lock);
    // A VMM that an older kraft started writes its console itself.
    let limit = machines.settings.console_limit;
    let console = Drain::open(&dir.console(), limit).ok();
    let compactor = Compactor::new(driver, dir.clone(), vmm.clone(), record.spec.get());
    let _checker = Checker::start(dir, machines);
    let sleeps = record.spec.get().lifecycle.sleep_after_ms.is_some();
    if sleeps && let Some(run) = &record.run {
        // If another program has taken a port meanwhile, the machine continues without.
        *publisher = Publisher::open(run.ports.clone()).ok();
    }
    sleep::when_idle(machines, dir, publisher.as_ref(), false, || {
        supervise(&vmm, console, compactor)
    })?;
    let (_, reported) = reported_ending(driver, dir, None);
    let ending = reported.unwrap_or_else(|| Ending {
        at: now(),
        reason: EndReason::Killed { signal: None },
    });
    Ok(Some((vmm, ending)))
}

/// Records the end of this run, unless another process has. On a full disk this is tried for a
/// while; until then, other processes find the same end in the event log.
fn record_end(machines: &Machines, dir: &MachineDir, vmm: &Identity, ending: &Ending) {
    let deadline = Instant::now() + RECORD_TIMEOUT;
    while Instant::now() < deadline {
        let Ok(lock) = Lock::exclusive(dir.path()) else {
            // The machine was removed.
            return;
        };
        let Ok(record) = Record::load(dir) else {
            return;
        };
        let ours = record
            .run
            .as_ref()
            .is_some_and(|run| run.vmm.as_ref() == Some(vmm));
        if !ours {
            // The machine was started again, and has another monitor.
            return;
        }
        let already = record.run.as_ref().and_then(|run| run.end.clone());
        let status = Status::Ended {
            ending: already.unwrap_or_else(|| ending.clone()),
            handled: false,
        };
        let (_, removed) = machines.reconcile(record, &status, dir);
        let recorded =
            Record::load(dir).is_ok_and(|record| record.run.is_some_and(|run| run.end.is_some()));
        if removed || recorded {
            return;
        }
        drop(lock);
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_a_monitor_carry_the_programs_of_vmms() {
        let id = Id::new().to_string();
        let parse = |rest: &[&str]| {
            let args = ["adopt", "/run/a b", &id, "1048576"];
            let args = args.iter().chain(rest).map(OsString::from);
            Task::parse(driver::built_in, args)
        };
        let task = parse(&["qemu=/opt/qemu -L a=b"]).unwrap();
        let drivers = &task.settings.drivers;
        assert_eq!(drivers.configured(Platform::Qemu), Some("/opt/qemu -L a=b"));
        assert_eq!(drivers.configured(Platform::Xen), None);
        assert!(parse(&[]).is_some());
        for wrong in ["qemu", "vmware=x"] {
            assert!(parse(&[wrong]).is_none(), "{wrong}");
        }
    }
}
