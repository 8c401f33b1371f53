//! Starting a machine, as far as the process that asks for it is concerned.
//!
//! ```text
//! kraft ──starts──► monitor: lock ─► claim ports ─► record "starting" ─► VMM ─► record "running"
//!   ▲                            └────────────── one line of JSON: ready, or an error ◄──┘
//! ```
//!
//! The monitor does everything, so that a `kraft` that is killed meanwhile leaves nothing
//! incomplete.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kraft_core::port::PortMapping;
use kraft_sys::environment::Inherit;
use kraft_sys::fs;
use kraft_sys::process::{self, Identity};
use kraft_sys::tool;
use serde::{Deserialize, Serialize};

use crate::driver::NoDriver;
use crate::id::Id;
use crate::machines::{Error, Machines, StopOptions};
use crate::port::PortError;
use crate::record::Record;
use crate::watch::Watch;

/// The interval at which the caller can interrupt a start.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(50);

/// How long a VMM may take to become ready. It loads the kernel and the root archive meanwhile.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a monitor may take to report: to get the machine's lock and to start the VMM.
const REPORT_TIMEOUT: Duration = Duration::from_mins(4);

/// The maximal size of a report in bytes.
const MAX_REPORT: usize = 1 << 20;

/// The variables of the environment that monitors and VMMs get. They run for long and need few:
/// above all no tokens or passwords.
pub(crate) const ENVIRONMENT: Inherit = Inherit::Only(&[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_DIRS",
    "LD_*",
    "GLIBC_TUNABLES",
    "MALLOC_*",
    "LLVM_PROFILE_FILE",
]);

/// The beginning of a monitor's argument with the name of what it saves.
pub(crate) const SAVED_AS: &str = "as=";

/// The argument of a monitor whose VMM records when its guest reaches the steps of its boot.
pub(crate) const PROFILE: &str = "profile";

/// Options of [`Machines::start_with`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Whether the VMM records what [`Driver::boot_times`](crate::driver::Driver::boot_times) returns, which costs some time.
    pub profile: bool,
}

/// Why a machine could not be started. The monitor reports it to the process that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", content = "is", rename_all = "snake_case")]
pub enum StartError {
    /// The machine was removed.
    #[error("it does not exist any more")]
    Gone,
    /// The machine runs already; contains its state.
    #[error("it is already {0}")]
    Alive(String),
    /// A file of its specification cannot be read.
    #[error("its {what} `{path}` cannot be read: {why}", path = path.display())]
    Missing {
        /// `kernel`, `root archive` or `volume`.
        what: String,
        /// Its path.
        path: PathBuf,
        /// The error of the system.
        why: String,
    },
    /// A port cannot be published.
    #[error(transparent)]
    Port(#[from] PortError),
    /// It cannot be connected to a network.
    #[error("{why}")]
    Network {
        /// The reason.
        why: String,
        /// What to do about it.
        cure: Option<String>,
    },
    /// This host, or this user, makes no networks.
    #[error("{why}")]
    NoNetwork {
        /// The reason.
        why: String,
        /// What to do about it.
        cure: Option<String>,
    },
    /// It is suspended, and what was saved of it cannot be restored.
    #[error("what was saved of it cannot be restored: {why}")]
    Saved {
        /// The reason.
        why: String,
    },
    /// Its kernel command line is not valid.
    #[error("{0}")]
    Line(String),
    /// There is no driver for its platform.
    #[error("no driver for the platform `{0}`")]
    Platform(String),
    /// The VMM's program is not installed.
    #[error("cannot find the program `{program}`: {install}")]
    NoProgram {
        /// Its name.
        program: String,
        /// How to get it.
        install: String,
    },
    /// The VMM exited before the guest ran.
    #[error("{program} exited before the guest ran ({how}){}", after_colon(said))]
    Vmm {
        /// Its name.
        program: String,
        /// Its exit status.
        how: String,
        /// What it printed.
        said: String,
    },
    /// The VMM's program is too old, or another program.
    #[error("{why} (`{program}`)")]
    Unusable {
        /// Its name.
        program: String,
        /// The reason.
        why: String,
    },
    /// The VMM refused something that the machine needs.
    #[error("{why}")]
    Refused {
        /// The reason.
        why: String,
        /// What to do about it.
        cure: Option<String>,
    },
    /// The VMM did not become ready in time.
    #[error("{program} did not become ready within {} s", READY_TIMEOUT.as_secs())]
    Slow {
        /// Its name.
        program: String,
    },
    /// Another operation of the system failed.
    #[error("{0}")]
    System(String),
    /// The monitor failed.
    #[error("its monitor failed: {0}")]
    Monitor(String),
    /// `/proc` is not mounted.
    #[error("`/proc` is not mounted, and without it processes cannot be identified")]
    NoProc,
    /// The caller interrupted the start.
    #[error("it was interrupted")]
    Interrupted,
}

fn after_colon(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(": {output}")
    }
}

impl From<fs::Error> for StartError {
    fn from(error: fs::Error) -> Self {
        Self::System(format!("{error}: {}", error.source))
    }
}

impl From<kraft_net::Error> for StartError {
    fn from(error: kraft_net::Error) -> Self {
        use kraft_net::Error;

        if let Error::Host { cure, .. } = &error {
            let (why, cure) = (error.to_string(), cure.clone());
            return Self::NoNetwork { why, cure };
        }
        let cure = match &error {
            Error::NotFound { name } => Some(format!("kraft net create {name}")),
            Error::Down { name } => Some(format!("kraft net up {name}")),
            _ => None,
        };
        Self::Network {
            why: kraft_core::error::chain(&error),
            cure,
        }
    }
}

impl From<NoDriver> for StartError {
    fn from(error: NoDriver) -> Self {
        Self::Platform(error.0.to_string())
    }
}

/// The monitor's report to the process that asked for the start, as one line of JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Why the machine could not be started; `None` if its VMM is ready.
    pub(crate) error: Option<StartError>,
    /// The command line of the VMM for logs, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command_line: Option<String>,
}

impl Report {
    /// Writes the report.
    pub(crate) fn send(&self, mut to: impl Write) {
        if let Ok(line) = serde_json::to_vec(self) {
            // The process that asked may be gone.
            let _ = to.write_all(&line);
        }
    }
}

impl Machines {
    /// Starts a machine and returns a watch over this run, which gets the end even of a machine
    /// that is removed then.
    ///
    /// Returns when the VMM is ready: the kernel is loaded and the ports are open.
    pub fn start(&self, id: &Id) -> Result<Watch, Error> {
        self.start_unless(id, || false)
    }

    /// Starts a machine as [`start`](Self::start) does, unless `stop` becomes true before the VMM
    /// is ready: then the VMM is killed.
    pub fn start_unless(&self, id: &Id, stop: impl Fn() -> bool) -> Result<Watch, Error> {
        self.start_with(id, StartOptions::default(), stop)
    }

    /// Starts a machine as [`start_unless`](Self::start_unless) does, with options.
    pub fn start_with(
        &self,
        id: &Id,
        options: StartOptions,
        stop: impl Fn() -> bool,
    ) -> Result<Watch, Error> {
        let machine = self.get(*id)?;
        let failed = |source: StartError| Error::Start {
            name: machine.name.clone(),
            log: self.log_after(*id, &source),
            source,
        };
        let watch = self.watch(id)?;
        if Identity::me().is_none() {
            return Err(failed(StartError::NoProc));
        }
        let mut child = self
            .spawn_monitor(
                "start",
                *id,
                options.profile.then_some(PROFILE),
                Stdio::piped(),
            )
            .map_err(|e| failed(StartError::Monitor(e.to_string())))?;
        tracing::debug!(machine = %id, pid = child.id(), "started the monitor");
        let mut text = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            let read = read_report(&mut stdout, &mut text, &stop)
                .map_err(Error::on("read the report of the monitor"))?;
            if read != ReportRead::Complete {
                let options = StopOptions {
                    force: true,
                    ..StopOptions::default()
                };
                // The start may have failed meanwhile.
                let _ = self.stop(id, options);
                if read == ReportRead::Interrupted {
                    let _ = child.wait();
                    return Err(failed(StartError::Interrupted));
                }
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(StartError::Monitor(read.reason())));
            }
        }
        let Ok(report) = serde_json::from_slice::<Report>(&text) else {
            let status = child.wait().map_err(Error::on("wait for the monitor"))?;
            return Err(failed(StartError::Monitor(status.to_string())));
        };
        if let Some(command_line) = &report.command_line {
            tracing::debug!(machine = %id, command_line, "the monitor started the VMM");
        }
        let Some(error) = report.error else {
            return Ok(watch);
        };
        // The monitor is about to exit: it must not become a zombie.
        let _ = child.wait();
        Err(failed(error))
    }

    /// Returns the log to look at after a failed start, unless the error contains all of it.
    fn log_after(&self, id: Id, error: &StartError) -> Option<Box<Path>> {
        let logged = match error {
            StartError::Slow { .. } | StartError::Monitor(_) => true,
            StartError::Gone
            | StartError::Alive(_)
            | StartError::Missing { .. }
            | StartError::Saved { .. }
            | StartError::Port(_)
            | StartError::Network { .. }
            | StartError::NoNetwork { .. }
            | StartError::Line(_)
            | StartError::Platform(_)
            | StartError::NoProgram { .. }
            | StartError::Vmm { .. }
            | StartError::Unusable { .. }
            | StartError::Refused { .. }
            | StartError::System(_)
            | StartError::NoProc
            | StartError::Interrupted => false,
        };
        let log = self.layout.machine(id).vmm_log();
        let has_content = |log: &Path| std::fs::metadata(log).is_ok_and(|meta| meta.len() > 0);
        (logged && has_content(&log)).then(|| log.into_boxed_path())
    }

    /// Starts a monitor for what a dead one has left: an orphaned VMM (`adopt`), or a restart that
    /// is due (`restart`).
    pub(crate) fn spawn_keeper(&self, task: &str, id: Id) -> std::io::Result<()> {
        self.spawn_monitor(task, id, None, Stdio::null()).map(drop)
    }

    /// Starts this program again as a monitor; `more` is another argument of it.
    pub(super) fn spawn_monitor(
        &self,
        task: &str,
        id: Id,
        more: Option<&str>,
        stdout: Stdio,
    ) -> std::io::Result<Child> {
        let Some((program, args)) = self.settings.monitor.split_first() else {
            return Err(std::io::Error::other("no monitor is configured"));
        };
        process::keep_files_from_children()?;
        let mut command = tool::command(program);
        command
            // The path may be that of any program that uses this crate.
            .arg0("kraft")
            .args(args)
            .arg(task)
            .arg(&self.settings.runtime_dir)
            .arg(id.to_string())
            .arg(self.settings.console_limit.to_string())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null());
        command.args(more);
        for (platform, program) in self.settings.drivers.programs() {
            command.arg(format!("{platform}={program}"));
        }
        ENVIRONMENT.apply(&mut command);
        for driver in self.settings.drivers.all() {
            driver.environment().apply(&mut command);
        }
        command.spawn()
    }

    /// Returns the ports of all other machines that run or are being started.
    pub(crate) fn ports_in_use(
        &self,
        except: Id,
    ) -> Result<Vec<(String, PortMapping)>, StartError> {
        let mut used = Vec::new();
        for id in self.ids().map_err(|e| StartError::System(e.to_string()))? {
            let dir = self.layout.machine(id);
            let Ok(record) = Record::load(&dir) else {
                continue;
            };
            if id == except {
                continue;
            }
            let starting = record.starting.iter();
            let starting = starting.filter(|starting| starting.monitor.is_alive());
            let run = record.run.iter().filter(|run| run.end.is_none());
            let run = run.filter(|run| run.vmm.as_ref().is_some_and(Identity::is_alive));
            let asleep = record.run.iter().filter(|_| record.is_asleep());
            let ports = starting
                .flat_map(|starting| &starting.ports)
                .chain(run.chain(asleep).flat_map(|run| &run.ports));
            used.extend(ports.map(|port| (record.name.clone(), port.clone())));
        }
        Ok(used)
    }
}

/// How reading the monitor's report ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReportRead {
    /// The monitor closed its stdout.
    Complete,
    /// The caller interrupted it.
    Interrupted,
    /// It took too long.
    TimedOut,
    /// It is too large.
    TooLarge,
}

impl ReportRead {
    fn reason(self) -> String {
        match self {
            Self::TimedOut => format!("no report within {} s", REPORT_TIMEOUT.as_secs()),
            Self::TooLarge => format!("a report of more than {MAX_REPORT} bytes"),
            Self::Complete | Self::Interrupted => String::new(),
        }
    }
}

/// Reads the monitor's report.
fn read_report(
    from: &mut (impl Read + AsFd),
    text: &mut Vec<u8>,
    stop: &impl Fn() -> bool,
) -> std::io::Result<ReportRead> {
    let deadline = Instant::now() + REPORT_TIMEOUT;
    let mut chunk = [0; 4096];
    loop {
        let until = Instant::now() + INTERRUPT_INTERVAL;
        let ready = process::wait_readable(&[from.as_fd()], Some(until))?;
        if ready.first() != Some(&true) {
            if stop() {
                return Ok(ReportRead::Interrupted);
            }
            if Instant::now() > deadline {
                return Ok(ReportRead::TimedOut);
            }
            continue;
        }
        match from.read(&mut chunk)? {
            0 => return Ok(ReportRead::Complete),
            read => text.extend(chunk.iter().take(read)),
        }
        if text.len() > MAX_REPORT {
            return Ok(ReportRead::TooLarge);
        }
    }
}
