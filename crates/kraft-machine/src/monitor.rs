//! The monitor: one small process per running machine that waits for its end and writes it down.
//!
//! It is this very program, started by a hidden word. It leaves the session of whoever started it,
//! so that closing a terminal ends neither it nor its VMM, and lives as long as the VMM does. If it
//! is killed, the VMM lives on, and the next `kraft` that looks starts another one to adopt it.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use kraft_core::machine::EndReason;
use kraft_sys::lock::Lock;
use kraft_sys::process::{self, Identity, Process};

use crate::console::{Copied, Drain};
use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::{Machines, Settings, Started, Truth, attend, now, report, truth};
use crate::machines::{read_diary, vmm_log, written_ending};
use crate::record::{Ending, Record};

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
    i32::from(task.run().is_err())
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
        // Fails only where a session is ours already.
        let _ = process::leave_session();
        let machines = Machines::open(self.settings)?;
        let dir = machines.machine_dir(self.id);
        std::env::set_current_dir(dir.path())?;
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

/// Nobody hears why a monitor could not work: the record and the VMM's log say what there is.
struct Failed;

impl<E: std::error::Error> From<E> for Failed {
    fn from(_: E) -> Self {
        Self
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
        }) => {
            report(ear, None);
            record(&vmm, Some(console))?;
            let status = wait(&mut child)?;
            Ok(Some((vmm, ending_of_child(dir, status))))
        }
        Err(error) => {
            report(ear, Some(error));
            Ok(None)
        }
    }
}

/// Records what a VMM prints until it has ended.
fn record(vmm: &Identity, mut console: Option<Drain>) -> std::io::Result<()> {
    let Some(process) = Process::open(vmm)? else {
        // What it printed last may still be in the pipe.
        console.as_mut().map(Drain::copy);
        return Ok(());
    };
    while let Some(open) = &mut console {
        let ready = process::wait_readable(&[process.as_fd(), open.as_fd()], None)?;
        let ended = ready.first() == Some(&true);
        match open.copy() {
            Copied::Something if ended => while open.copy() == Copied::Something {},
            // A guest prints byte by byte: a few more may come at once.
            Copied::Something => drop(process.wait(Some(GATHER))?),
            Copied::Nothing => {}
            Copied::Closed => console = None,
        }
        if ended {
            return Ok(());
        }
    }
    process.wait(None).map(drop)
}

fn wait(child: &mut Child) -> std::io::Result<ExitStatus> {
    loop {
        match child.wait() {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Works out how a machine ended whose VMM was our child.
fn ending_of_child(dir: &MachineDir, status: ExitStatus) -> Ending {
    // What the VMM wrote down is nearer to the guest than how its process ended.
    if let Some(ending) = written_ending(&read_diary(dir), dir) {
        return ending;
    }
    let said = || {
        let log = vmm_log(dir);
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or_default().to_owned()
    };
    let reason = match (status.code(), status.signal()) {
        // A VMM that ends itself by one of these has found a fault in itself.
        (_, Some(signal)) if [4, 6, 7, 8, 11].contains(&signal) => EndReason::MonitorFailed {
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
    self::record(&vmm, Drain::open(&dir.console(), limit).ok())?;
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
