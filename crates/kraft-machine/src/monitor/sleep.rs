//! Machines that sleep while they are idle.
//!
//! ```text
//! awake ── idle for --sleep-after: saved, VMM ends ──► asleep
//!   ▲                                                    │
//!   └────────── a connection: restored ◄─────────────────┘
//! ```
//!
//! The same monitor saves the machine, keeps its ports open, and restores it. If it is killed while the
//! machine sleeps, the next access of the machine starts another one for the ports.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use kraft_core::error::chain;
use kraft_core::port::Protocol;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::{Identity, wait_readable};

use super::Failed;
use super::publish::{Publisher, Route};
use crate::driver::Vmm;
use crate::file_watch::FileWatch;
use crate::health::{SETTLE, check_open};
use crate::layout::MachineDir;
use crate::machines::{Machines, Purpose};
use crate::record::Record;

/// The interval of reading the record where changes cannot be watched.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The time between two looks whether a program listens.
const READY_INTERVAL: Duration = Duration::from_millis(500);

/// How long a program may take to accept a connection.
const ACCEPT_TIMEOUT: Duration = Duration::from_millis(500);

/// The time between two questions whether a connection was accepted.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(20);

/// Publishes the ports of a machine that is awake while `run` waits for its end, and saves the machine
/// when it is idle. Unless `is_ready`, it does not sleep before its program listens on all TCP ports: the
/// connection that wakes it would be refused. One that is ready is [published](publish_awake) already.
pub(super) fn when_idle<T>(
    machines: &Machines,
    dir: &MachineDir,
    publisher: Option<&Publisher>,
    is_ready: bool,
    run: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let Some(publisher) = publisher else {
        return run();
    };
    let plan = Record::load(dir).ok().and_then(|record| {
        let limit = record.spec.get().lifecycle.sleep_after_ms?;
        Some((route(machines, &record)?, Duration::from_millis(limit)))
    });
    let Some((route, limit)) = plan else {
        return run();
    };
    if !is_ready {
        publisher.awake(route.clone());
    }
    let (stop, stopped) = mpsc::channel();
    let run_of_machine = AwakeRun {
        machines,
        dir,
        publisher,
        route,
        limit,
        stopped,
    };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if is_ready || run_of_machine.wait_until_ready() {
                run_of_machine.save_when_idle();
            }
        });
        let ended = run();
        publisher.hold();
        drop(stop);
        ended
    })
}

/// Publishes the ports of a machine that was resumed. The connection that woke it waits for this: what else
/// a start has to record comes later.
pub(super) fn publish_awake(machines: &Machines, record: &Record, publisher: Option<&Publisher>) {
    let sleeps = record.spec.get().lifecycle.sleep_after_ms.is_some();
    if let (true, Some(publisher)) = (sleeps, publisher)
        && let Some(route) = route(machines, record)
    {
        publisher.awake(route);
    }
}

/// The time in which a machine that sleeps when it is idle is awake.
struct AwakeRun<'a> {
    machines: &'a Machines,
    dir: &'a MachineDir,
    publisher: &'a Publisher,
    route: Route,
    /// How long the machine is idle before it sleeps.
    limit: Duration,
    /// Its other end is dropped when the VMM has exited.
    stopped: mpsc::Receiver<()>,
}

impl AwakeRun<'_> {
    /// Waits for a time; `false` if the VMM exits before.
    fn lasts(&self, time: Duration) -> bool {
        self.stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }

    /// Waits until the program of the machine listens on all TCP ports; `false` if the VMM exits before.
    fn wait_until_ready(&self) -> bool {
        while self.lasts(self.limit.min(READY_INTERVAL)) {
            let ports = self.publisher.ports.iter();
            let mut tcp = ports.filter(|port| port.protocol == Protocol::Tcp);
            if tcp.all(|port| self.is_open(port.machine_port)) {
                // The guest has to see the end of these connections: their other ends are not saved.
                return self.lasts(SETTLE);
            }
        }
        false
    }

    /// Returns whether a program listens on a port of the machine.
    fn is_open(&self, port: u16) -> bool {
        let Ok(mut stream) = self.route.connect(port) else {
            return false;
        };
        let Route::Vmm(_) = self.route else {
            // The machine itself has accepted it.
            return true;
        };
        let dir = self.dir;
        let record = Record::load(dir).ok();
        let driver = record.as_ref().and_then(|it| self.machines.driver(it));
        let process = record.as_ref().and_then(|it| it.run.as_ref()?.vmm.as_ref());
        let (Some(driver), Some(process)) = (driver, process) else {
            return false;
        };
        let deadline = Instant::now() + ACCEPT_TIMEOUT;
        while Instant::now() < deadline {
            match driver.has_accepted(&Vmm { dir, process }, port, ACCEPT_TIMEOUT) {
                Some(true) => return true,
                Some(false) => std::thread::sleep(ACCEPT_INTERVAL),
                None => return check_open(&mut stream, ACCEPT_TIMEOUT).is_ok(),
            }
        }
        false
    }

    /// Saves the machine once it was idle for its limit.
    fn save_when_idle(&self) {
        let mut pause = self.limit;
        while self.lasts(pause) {
            if let Err(left) = self.publisher.hold_if_idle(self.limit) {
                pause = left;
                continue;
            }
            let saved = match Record::load(self.dir) {
                Ok(record) => self.machines.save(record.id, &Purpose::Sleep),
                // It was removed.
                Err(_) => return,
            };
            let Err(error) = saved else {
                return;
            };
            // It continues: one that the user has paused, for example.
            self.publisher.awake(self.route.clone());
            pause = self.limit.max(POLL_INTERVAL);
            if let Ok(mut log) = fs::append(&self.dir.vmm_log()) {
                let _ = writeln!(log, "kraft: the machine does not sleep: {}", chain(&error));
            }
        }
    }
}

/// Returns the way to a machine that runs.
fn route(machines: &Machines, record: &Record) -> Option<Route> {
    Some(match record.spec.get().networks.first() {
        Some(interface) => Route::Network {
            networks: machines.networks(),
            network: interface.network.clone(),
            machine: record.id.to_string(),
        },
        None => Route::Vmm(record.run.as_ref()?.hidden_ports.clone()),
    })
}

/// Waits until a connection wakes the machine whose ports this process keeps open; `false` if it does
/// not sleep (any more), or another process keeps them.
pub(super) fn wait(dir: &MachineDir, publisher: Option<&mut Publisher>) -> io::Result<bool> {
    let Some(publisher) = publisher else {
        return Ok(false);
    };
    let watch = FileWatch::empty().filter(|watch| watch.add_dir(dir.path()));
    loop {
        if let Some(watch) = &watch {
            watch.clear();
        }
        if !is_ours(dir) {
            return Ok(false);
        }
        if publisher.is_wanted() {
            publisher.clear();
            return Ok(true);
        }
        let mut files = vec![publisher.as_fd()];
        files.extend(watch.as_ref().map(AsFd::as_fd));
        let poll = watch.is_none();
        let ready = wait_readable(&files, poll.then(|| Instant::now() + POLL_INTERVAL))?;
        if ready.first() == Some(&true) {
            // It may be left from a connection that has ended.
            publisher.clear();
        }
    }
}

/// Returns whether the machine sleeps and this process keeps its ports open.
fn is_ours(dir: &MachineDir) -> bool {
    let record = Record::load(dir);
    record.is_ok_and(|record| record.is_asleep() && record.asleep == Identity::me())
}

/// Keeps the ports of a machine open whose monitor was killed while it slept; `None` if it does not
/// sleep any more, or another monitor was first. If a port cannot be had, the machine stays suspended.
pub(super) fn take_over(
    machines: &Machines,
    dir: &MachineDir,
) -> Result<Option<Publisher>, Failed> {
    let _lock = Lock::exclusive(dir.path())?;
    let mut record = Record::load(dir)?;
    machines.recover(&mut record, dir);
    let others = record.asleep.as_ref().is_some_and(Identity::is_alive);
    if !record.is_asleep() || others {
        return Ok(None);
    }
    let ports = record.run.as_ref().map(|run| run.ports.clone());
    let opened = Publisher::open(ports.unwrap_or_default());
    record.asleep = Identity::me().filter(|_| opened.is_ok());
    record.store(dir)?;
    Ok(Some(opened?))
}
