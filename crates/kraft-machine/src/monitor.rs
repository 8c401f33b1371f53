//! The monitor: one small process per running machine that waits for its end and writes it down.
//!
//! It is this very program, started by a hidden word. It leaves the session of whoever started it,
//! so that closing a terminal ends neither it nor its VMM, and lives as long as the VMM does. If it
//! is killed, the VMM lives on, and the next `kraft` that looks starts another one to adopt it.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use kraft_core::machine::EndReason;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::{self, Identity, Process};

use crate::console::{Copied, Drain};
use crate::id::Id;
use crate::layout::{Layout, MachineDir};
use crate::machines::{Machines, Settings, StartError, Started, Truth, attend, now, report, truth};
use crate::machines::{read_diary, vmm_log, written_ending};
use crate::record::{Ending, Record};
use crate::upkeep::Upkeep;

/// How often the files of a VMM are looked at where the system does not tell that they grow.
const LOOK: Duration = Duration::from_secs(1);

/// How long bytes of a guest are gathered before they are written.
const GATHER: Duration = Duration::from_millis(1);

/// How long we try to write an end down.
const PERSISTENCE: Duration = Duration::from_mins(10);

/// Runs as a monitor; `args` are the words after the hidden one:
/// `start|adopt RUNTIME_DIR ID CONSOLE_LIMIT [QEMU]`. Returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let Some(task) = Task::parse(args) else {
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
            // Where a report was made already, stdout leads nowhere.
            report(std::io::stdout(), Some(StartError::Monitor(why)));
            1
        }
    }
}

struct Task {
    adopt: bool,
    id: Id,
    settings: Settings,
}

impl Task {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let adopt = match args.next()?.to_str()? {
            "start" => false,
            "adopt" => true,
            _ => return None,
        };
        let runtime_dir = PathBuf::from(args.next()?);
        let id = args.next()?.to_str()?.parse().ok()?;
        let console_limit = args.next()?.to_str()?.parse().ok()?;
        let qemu = match args.next() {
            Some(qemu) => Some(qemu.into_string().ok()?),
            None => None,
        };
        Some(Self {
            adopt,
            id,
            settings: Settings {
                runtime_dir,
                monitor: Vec::new(),
                qemu,
                console_limit,
            },
        })
    }

    fn run(self) -> Result<(), Failed> {
        process::survive_polite_signals()?;
        // The VMM inherits it: what it cannot write beyond its limit is dropped.
        process::survive_file_size_limit()?;
        // Fails only where a session is ours already.
        let _ = process::leave_session();
        let machines = Machines::open(self.settings)?;
        let dir = machines.machine_dir(self.id);
        std::env::set_current_dir(dir.path()).map_err(fs::Error::on("enter", dir.path()))?;
        let ending = if self.adopt {
            adopt(&machines, &dir)?
        } else {
            start(&machines, self.id, &dir)?
        };
        if let Some((vmm, ending)) = ending {
            write_down(&machines, &dir, &vmm, &ending);
        }
        Ok(())
    }
}

/// Why a monitor cannot work.
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

type Ended = Option<(Identity, Ending)>;

/// Starts the machine, says how that went, and waits for its end.
fn start(machines: &Machines, id: Id, dir: &MachineDir) -> Result<Ended, Failed> {
    let ear = process::take_stdout()?;
    match attend(machines, id) {
        Ok(Started {
            mut child,
            vmm,
            console,
            upkeep,
        }) => {
            report(ear, None);
            attend_to(&vmm, Some(console), upkeep)?;
            let status = wait(&mut child)?;
            Ok(Some((vmm, ending_of_child(dir, status))))
        }
        Err(error) => {
            report(ear, Some(error));
            Ok(None)
        }
    }
}

/// Records what a VMM prints, and keeps its files small, until it has ended.
fn attend_to(
    vmm: &Identity,
    mut console: Option<Drain>,
    mut upkeep: Upkeep,
) -> std::io::Result<()> {
    let Some(process) = Process::open(vmm)? else {
        // What it printed last may still be in the pipe.
        console.as_mut().map(Drain::copy);
        return Ok(());
    };
    loop {
        let mut files = vec![process.as_fd()];
        files.extend(upkeep.grown());
        files.extend(console.as_ref().map(AsFd::as_fd));
        let unwatched = upkeep.grown().is_none().then(|| Instant::now() + LOOK);
        let ready = process::wait_readable(&files, unwatched)?;
        let ended = ready.first() == Some(&true);
        if upkeep.grown().is_none() || ready.get(1) == Some(&true) {
            upkeep.look();
        }
        match console.as_mut().map_or(Copied::Nothing, Drain::copy) {
            Copied::Closed => console = None,
            Copied::Nothing | Copied::Something => {}
        }
        if ended {
            while console.as_mut().map(Drain::copy) == Some(Copied::Something) {}
            return Ok(());
        }
        // A guest prints byte by byte: a few more may come at once.
        process.wait(Some(GATHER))?;
    }
}

fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    loop {
        match child.wait() {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Returns the exit status of a guest that ended QEMU by its device `isa-debug-exit`: the device
/// makes an odd number of it.
fn guests_status(code: i32) -> Option<u8> {
    (code & 1 == 1).then(|| u8::try_from(code >> 1).ok())?
}

/// Works out how a machine ended whose VMM was our child.
fn ending_of_child(dir: &MachineDir, status: ExitStatus) -> Ending {
    // What the VMM wrote down is nearer to the guest than how its process ended.
    let diary = read_diary(dir);
    let written = written_ending(&diary, dir);
    if let Some(code) = status.code().and_then(guests_status)
        && written.as_ref().map_or_else(
            // Before QEMU 8, such an end was not written down; one of QEMU's own is explained.
            || diary.ready && vmm_log(dir).trim().is_empty(),
            |ending| ending.reason == EndReason::PoweredOff,
        )
    {
        return Ending {
            at: written.map_or_else(now, |ending| ending.at),
            reason: match code {
                0 => EndReason::PoweredOff,
                code => EndReason::Exited { code },
            },
        };
    }
    if let Some(ending) = written {
        return ending;
    }
    let said = || {
        let log = vmm_log(dir);
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or_default().to_owned()
    };
    let reason = match (status.code(), status.signal()) {
        // A VMM that ends itself by one of these has found a fault in itself.
        (_, Some(signal)) if [4, 6, 7, 8, 11, 31].contains(&signal) => EndReason::MonitorFailed {
            code: Some(128 + signal),
            message: said(),
        },
        (_, Some(signal)) => EndReason::Killed {
            signal: Some(signal),
        },
        // It ended in order, and could not write down why: the disk was full.
        (Some(0), None) => EndReason::Vanished,
        (code, None) => EndReason::MonitorFailed {
            code,
            message: said(),
        },
    };
    Ending { at: now(), reason }
}

/// Takes over a VMM whose monitor is gone, and waits for its end.
fn adopt(machines: &Machines, dir: &MachineDir) -> Result<Ended, Failed> {
    let lock = Lock::exclusive(dir.path())?;
    let record = Record::load(dir)?;
    let found = truth(&record, dir);
    if found.is_settled() {
        // Somebody else was first, and knows more of the end than a late-comer could find out.
        return Ok(None);
    }
    let (mut record, removed) = machines.settle(record, &found, dir);
    if removed {
        return Ok(None);
    }
    let Truth::Orphaned { .. } = truth(&record, dir) else {
        // Somebody else was first, or there is nothing left to wait for.
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
    drop(lock);
    // A VMM that an older kraft started writes its console itself.
    let limit = machines.settings.console_limit;
    let console = Drain::open(&dir.console(), limit).ok();
    let upkeep = Upkeep::new(dir.clone(), vmm.clone(), record.spec.get());
    attend_to(&vmm, console, upkeep)?;
    let ending = written_ending(&read_diary(dir), dir).unwrap_or_else(|| Ending {
        at: now(),
        reason: EndReason::Killed { signal: None },
    });
    Ok(Some((vmm, ending)))
}

/// Records the end of this very run, if nobody else did meanwhile. On a full disk this is tried
/// again for a while; whoever looks before that finds the same end in the diary.
fn write_down(machines: &Machines, dir: &MachineDir, vmm: &Identity, ending: &Ending) {
    let deadline = Instant::now() + PERSISTENCE;
    while Instant::now() < deadline {
        let Ok(lock) = Lock::exclusive(dir.path()) else {
            // It was removed.
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
            // It was started again: another monitor's business.
            return;
        }
        let already = record.run.as_ref().and_then(|run| run.end.clone());
        let truth = Truth::Ended {
            ending: already.unwrap_or_else(|| ending.clone()),
            settled: false,
        };
        let (_, removed) = machines.settle(record, &truth, dir);
        let recorded =
            Record::load(dir).is_ok_and(|record| record.run.is_some_and(|run| run.end.is_some()));
        if removed || recorded {
            return;
        }
        drop(lock);
        std::thread::sleep(Duration::from_secs(1));
    }
}
