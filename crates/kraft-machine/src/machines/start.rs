//! Starting a machine: what the user's `kraft` does, and what the monitor does.
//!
//! ```text
//! kraft ──spawns──► monitor: lock ─► claim ports ─► record "starting" ─► VMM ─► record "runs"
//!   ▲                            └────────────── one line of JSON: done, or why not ◄──┘
//! ```
//!
//! The monitor does all of it, so that a `kraft` that is killed meanwhile leaves nothing half done.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kraft_core::cmdline::CommandLine;
use kraft_core::machine::{EndReason, MachineSpec};
use kraft_core::port::PortMapping;
use kraft_sys::environment::Inherit;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::{self, Identity};
use kraft_sys::tool;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::console::{self, Drain};
use crate::driver::{self, Launch, NoDriver, qemu};
use crate::host::{self, QemuError};
use crate::id::Id;
use crate::layout::MachineDir;
use crate::machines::truth::{read_diary, truth, vmm_log};
use crate::machines::{Error, Machines, StopOptions, now};
use crate::port::{self, PortError};
use crate::record::{Ending, Record, Run, Starting};
use crate::upkeep::Upkeep;
use crate::watch::Watch;

/// How often the caller is asked whether to go on waiting.
const GLANCE: Duration = Duration::from_millis(50);

/// How long a VMM may take until it serves. It loads the kernel and the root archive meanwhile.
const MOST_STARTING: Duration = Duration::from_mins(2);

/// How long a monitor may take to report: until it has the machine's lock, and the VMM serves.
const MOST_REPORTING: Duration = Duration::from_mins(4);

/// More than any report has, in bytes.
const MOST_REPORT: usize = 1 << 20;

/// What monitors and VMMs get of the user's environment. They live long and need little of it:
/// tokens and passwords in particular are none of their business.
const ENVIRONMENT: Inherit = Inherit::Only(&[
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
    "QEMU_*",
    "G_*",
    "LLVM_PROFILE_FILE",
]);

/// A machine did not come up. It travels from the monitor to whoever asked for the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", content = "is", rename_all = "snake_case")]
pub enum StartError {
    /// It is gone.
    #[error("it does not exist any more")]
    Gone,
    /// It runs already.
    #[error("it is {0} already")]
    Alive(String),
    /// A file it is made of is gone.
    #[error("its {what} `{path}` cannot be read: {why}", path = path.display())]
    Missing {
        /// `kernel`, `root archive` or `volume`.
        what: String,
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Its boot line cannot be written.
    #[error("{0}")]
    Line(String),
    /// No driver for its platform.
    #[error("no driver for the platform `{0}`")]
    Platform(String),
    /// The VMM's program is not installed.
    #[error("cannot find the program `{program}`: try `apt install {package}`")]
    NoProgram {
        /// Its name.
        program: String,
        /// The Debian package that has it.
        package: String,
    },
    /// The VMM ended before it served.
    #[error("{program} ended before the guest ran ({how}){}", colon(said))]
    Vmm {
        /// Its name.
        program: String,
        /// Exit code or signal.
        how: String,
        /// What it said.
        said: String,
    },
    /// The VMM's program is too old, or not the VMM at all.
    #[error("{why} (`{program}`)")]
    Unusable {
        /// Its name.
        program: String,
        /// What is wrong with it.
        why: String,
    },
    /// The VMM lives and does not serve.
    #[error("{program} did not come up within {} s", MOST_STARTING.as_secs())]
    Slow {
        /// Its name.
        program: String,
    },
    /// A file could not be written, or something like that.
    #[error("{0}")]
    System(String),
    /// The monitor could not work.
    #[error("its monitor failed: {0}")]
    Monitor(String),
    /// There is no `/proc`, by which processes are known.
    #[error("`/proc` is not mounted, and without it no process can be followed")]
    NoProc,
    /// The caller did not want to wait any longer.
    #[error("it was interrupted")]
    Interrupted,
}

fn colon(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    }
}

impl From<fs::Error> for StartError {
    fn from(error: fs::Error) -> Self {
        Self::System(format!("{error}: {}", error.source))
    }
}

impl From<NoDriver> for StartError {
    fn from(error: NoDriver) -> Self {
        Self::Platform(error.0.to_string())
    }
}

/// What the monitor tells whoever asked for the start, as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) error: Option<StartError>,
}

impl Machines {
    /// Starts a machine and returns a watch over this run of it, which knows the end even of a
    /// machine that removes itself.
    ///
    /// Returns when the VMM serves: the kernel is loaded and the ports are open.
    pub fn start(&self, id: &Id) -> Result<Watch, Error> {
        self.start_unless(id, || false)
    }

    /// Starts a machine as [`start`](Self::start) does, unless `stop` becomes true before the VMM
    /// serves: then the VMM is killed.
    pub fn start_unless(&self, id: &Id, stop: impl Fn() -> bool) -> Result<Watch, Error> {
        let machine = self.get(*id)?;
        let failed = |source| Error::Start {
            name: machine.name.clone(),
            source,
        };
        let watch = self.watch(id)?;
        if Identity::me().is_none() {
            return Err(failed(StartError::NoProc));
        }
        let mut child = self
            .spawn_monitor("start", *id, Stdio::piped())
            .map_err(|e| failed(StartError::Monitor(e.to_string())))?;
        let mut said = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            let hear = Error::on("read the report of the monitor");
            let heard = heard_out(&mut stdout, &mut said, &stop).map_err(hear)?;
            if heard != Heard::All {
                let options = StopOptions {
                    force: true,
                    ..StopOptions::default()
                };
                // It may just have failed by itself.
                let _ = self.stop(id, options);
                if heard == Heard::Interrupted {
                    let _ = child.wait();
                    return Err(failed(StartError::Interrupted));
                }
                // Whatever it does: it is not waited for.
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(StartError::Monitor(heard.why())));
            }
        }
        match serde_json::from_slice::<Report>(&said) {
            Ok(Report { error: None }) => Ok(watch),
            Ok(Report { error: Some(error) }) => {
                // It is about to leave: no zombie is to stay behind.
                let _ = child.wait();
                Err(failed(error))
            }
            Err(_) => {
                let how = child.wait().map_err(Error::on("wait for the monitor"))?;
                Err(failed(StartError::Monitor(how.to_string())))
            }
        }
    }

    /// Starts a monitor for a VMM that has lost its own.
    pub(crate) fn spawn_adopter(&self, id: Id) -> std::io::Result<()> {
        self.spawn_monitor("adopt", id, Stdio::null()).map(drop)
    }

    /// Starts this program again as a monitor.
    fn spawn_monitor(&self, task: &str, id: Id, stdout: Stdio) -> std::io::Result<Child> {
        let Some((program, words)) = self.settings.monitor.split_first() else {
            return Err(std::io::Error::other("no monitor is configured"));
        };
        process::keep_files_from_children()?;
        let mut command = tool::command(program);
        command
            // The path may be that of whichever program uses it.
            .arg0("kraft")
            .args(words)
            .arg(task)
            .arg(&self.settings.runtime_dir)
            .arg(id.to_string())
            .arg(self.settings.console_limit.to_string())
            .args(&self.settings.qemu)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null());
        ENVIRONMENT.apply(&mut command);
        command.spawn()
    }

    /// Returns the ports of all machines that run or are being started, but for one.
    fn ports_in_use(&self, but: Id) -> Result<Vec<(String, PortMapping)>, StartError> {
        let mut used = Vec::new();
        for id in self.ids().map_err(|e| StartError::System(e.to_string()))? {
            let dir = self.layout.machine(id);
            let Ok(record) = Record::load(&dir) else {
                continue;
            };
            if id == but {
                continue;
            }
            let starting = record.starting.iter();
            let starting = starting.filter(|starting| starting.monitor.is_alive());
            let run = record.run.iter().filter(|run| run.end.is_none());
            let run = run.filter(|run| run.vmm.as_ref().is_some_and(Identity::is_alive));
            let ports = starting
                .flat_map(|starting| &starting.ports)
                .chain(run.flat_map(|run| &run.ports));
            used.extend(ports.map(|port| (record.name.clone(), port.clone())));
        }
        Ok(used)
    }
}

/// A VMM that serves, and what its monitor has to do with.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its process.
    pub(crate) child: Child,
    /// That process's identity.
    pub(crate) vmm: Identity,
    /// What the guest prints.
    pub(crate) console: Drain,
    /// The files that the VMM writes.
    pub(crate) upkeep: Upkeep,
}

/// Brings a machine up. Run by the monitor, in the machine's directory; the report is up to the
/// caller.
pub(crate) fn attend(machines: &Machines, id: Id) -> Result<Started, StartError> {
    let dir = machines.layout.machine(id);
    let gone = |e: fs::Error| match e.kind() {
        std::io::ErrorKind::NotFound => StartError::Gone,
        _ => e.into(),
    };
    let _lock = Lock::exclusive(dir.path()).map_err(gone)?;
    let record = Record::load(&dir).map_err(|e| StartError::System(e.to_string()))?;
    let truth = truth(&record, &dir);
    let (record, _) = machines.settle(record, &truth, &dir);
    if truth.is_alive() {
        return Err(StartError::Alive(truth.state(&record).name().to_owned()));
    }
    let me = Identity::me().ok_or(StartError::NoProc)?;
    let mut start = Start {
        machines,
        dir: &dir,
        record,
        me,
    };
    let started = start.run();
    if let Err(error) = &started {
        start.give_up(error);
    }
    started
}

/// A start under way.
struct Start<'a> {
    machines: &'a Machines,
    dir: &'a MachineDir,
    record: Record,
    me: Identity,
}

impl Start<'_> {
    fn run(&mut self) -> Result<Started, StartError> {
        let spec = self.record.spec.get().clone();
        check_files(&spec)?;
        let line = boot_line(&spec)?;
        let program = driver::program(&spec, self.machines.settings.qemu.as_deref())?;
        let ports = self.claim_ports(&spec)?;
        let mut sandbox = driver::may_be_sandboxed(&spec, &program);
        loop {
            let console = self.prepare_files(&spec)?;
            let argv = driver::argv(&Launch {
                id: self.record.id,
                spec: &spec,
                line: &line,
                ports: &ports,
                program: &program,
                fast_firmware: driver::has_fast_firmware(&spec, &program),
                sandbox,
            })?;
            match self.launch(&spec, &argv, ports.clone()) {
                Ok((child, vmm, upkeep)) => {
                    return Ok(Started {
                        child,
                        vmm,
                        console,
                        upkeep,
                    });
                }
                Err(StartError::Vmm { .. })
                    if sandbox && qemu::refuses_sandbox(&vmm_log(self.dir)) =>
                {
                    sandbox = false;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts the VMM and waits until it serves.
    fn launch(
        &mut self,
        spec: &MachineSpec,
        argv: &[std::ffi::OsString],
        ports: Vec<PortMapping>,
    ) -> Result<(Child, Identity, Upkeep), StartError> {
        let mut child = self.spawn(spec, argv)?;
        let program = argv.first().map(|p| p.to_string_lossy().into_owned());
        let program = program.unwrap_or_default();
        let Some(vmm) = Identity::of(child.id()) else {
            return Err(self.gave_up(&mut child, program));
        };
        let upkeep = Upkeep::new(self.dir.clone(), vmm.clone(), spec);
        self.record.starting = None;
        self.record.run = Some(Run {
            started_at: now(),
            monitor: self.me.clone(),
            vmm: Some(vmm.clone()),
            ports,
            end: None,
            unknown: Map::new(),
        });
        // The VMM comes up meanwhile.
        let recorded = self
            .record
            .store(self.dir)
            .and_then(|()| self.record.reserve(self.dir));
        let served = recorded
            .map_err(StartError::from)
            .and_then(|()| self.wait_until_it_serves(&mut child, &vmm, program));
        if let Err(error) = served {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok((child, vmm, upkeep))
    }

    /// Takes the ports and says in the record that a start is under way.
    fn claim_ports(&mut self, spec: &MachineSpec) -> Result<Vec<PortMapping>, StartError> {
        // Ports are given out one at a time; a claim counts from the moment it is recorded.
        let lock = if spec.ports.is_empty() {
            None
        } else {
            Some(Lock::exclusive(&self.machines.layout.machines())?)
        };
        let ports = match lock {
            None => Vec::new(),
            Some(_) => port::claim(&spec.ports, &self.machines.ports_in_use(self.record.id)?)?,
        };
        self.record.starting = Some(Starting {
            monitor: self.me.clone(),
            ports: ports.clone(),
        });
        self.record.store(self.dir)?;
        Ok(ports)
    }

    /// Empties what the last run left and puts the kernel where the VMM looks for it.
    fn prepare_files(&self, spec: &MachineSpec) -> Result<Drain, StartError> {
        let dir = self.dir;
        fs::remove_file(&dir.control())?;
        fs::remove_file(&dir.diary_sum())?;
        console::prepare(&dir.console())?;
        for (file, reserved) in [
            // Room for the events of a life, so that a full disk does not swallow the last one.
            (dir.diary_out(), 16 << 10),
            (dir.vmm_log(), 4 << 10),
        ] {
            fs::truncate(&file, reserved)?;
        }
        fs::overwrite(&dir.diary_in(), qemu::HANDSHAKE)?;
        fs::replace_link(&dir.kernel(), &spec.kernel)?;
        if let Some(initrd) = &spec.initrd {
            fs::replace_link(&dir.initrd(), initrd)?;
        }
        // Open before the VMM is started, which would wait for a reader.
        let limit = self.machines.settings.console_limit;
        Ok(Drain::open(&dir.console(), limit)?)
    }

    fn spawn(&self, spec: &MachineSpec, argv: &[std::ffi::OsString]) -> Result<Child, StartError> {
        let Some((program, words)) = argv.split_first() else {
            return Err(StartError::System("an empty command line".to_owned()));
        };
        let log = || fs::append(&self.dir.vmm_log());
        let mut command = tool::command(program);
        command
            .args(words)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?);
        ENVIRONMENT.apply(&mut command);
        command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => StartError::NoProgram {
                program: program.to_string_lossy().into_owned(),
                package: qemu::package(spec.arch).to_owned(),
            },
            _ => StartError::System(format!("cannot start `{}`: {e}", program.to_string_lossy())),
        })
    }

    /// Waits until the diary says that the VMM serves.
    fn wait_until_it_serves(
        &self,
        child: &mut Child,
        vmm: &Identity,
        program: String,
    ) -> Result<(), StartError> {
        let system = |e: std::io::Error| StartError::System(e.to_string());
        let deadline = Instant::now() + MOST_STARTING;
        let Some(handle) = process::Process::open(vmm).map_err(system)? else {
            return self.ended_early(child, program);
        };
        let mut step = Duration::from_millis(2);
        loop {
            if read_diary(self.dir).ready {
                return Ok(());
            }
            if handle.wait(Some(step)).map_err(system)? {
                return self.ended_early(child, program);
            }
            if Instant::now() > deadline {
                return Err(StartError::Slow { program });
            }
            step = (step * 2).min(Duration::from_millis(8));
        }
    }

    /// Tells a VMM that could not serve from a guest that was quick.
    fn ended_early(&self, child: &mut Child, program: String) -> Result<(), StartError> {
        if read_diary(self.dir).ready {
            return Ok(());
        }
        Err(self.gave_up(child, program))
    }

    fn gave_up(&self, child: &mut Child, program: String) -> StartError {
        let how = child
            .wait()
            .map_or_else(|e| e.to_string(), |status| status.to_string());
        let said = vmm_log(self.dir).trim().to_owned();
        // What another program prints, or one that is too old, seldom tells that it is.
        let arch = self.record.spec.get().arch;
        match host::qemu(&self.machines.settings, arch) {
            Err(why @ (QemuError::Strange { .. } | QemuError::TooOld { .. })) => {
                let why = why.to_string();
                StartError::Unusable { program, why }
            }
            Ok(_) | Err(QemuError::NotFound { .. } | QemuError::Mute { .. }) => {
                StartError::Vmm { program, how, said }
            }
        }
    }

    /// Records that the start failed. The machine has the state it had, or `failed`.
    fn give_up(&mut self, error: &StartError) {
        self.record.starting = None;
        let vmm_failed = match error {
            StartError::Vmm { .. } | StartError::Unusable { .. } | StartError::Slow { .. } => true,
            StartError::Gone
            | StartError::Alive(_)
            | StartError::Missing { .. }
            | StartError::Port(_)
            | StartError::Line(_)
            | StartError::Platform(_)
            | StartError::NoProgram { .. }
            | StartError::System(_)
            | StartError::NoProc
            | StartError::Interrupted
            | StartError::Monitor(_) => false,
        };
        if vmm_failed
            || self
                .record
                .run
                .as_ref()
                .is_some_and(|run| run.end.is_none())
        {
            let at = now();
            self.record.run = Some(Run {
                started_at: at,
                monitor: self.me.clone(),
                vmm: None,
                ports: Vec::new(),
                end: Some(Ending {
                    at,
                    reason: EndReason::MonitorFailed {
                        code: None,
                        message: error.to_string(),
                    },
                }),
                unknown: Map::new(),
            });
        }
        // A record that still says "starting" is read as "did not start" once we are gone.
        let _ = self.record.store(self.dir);
        if self.record.spec.get().remove_when_ended {
            let _ = self.machines.bury(self.record.id);
        }
    }
}

/// How reading the monitor's report ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// The monitor has made it, or has died.
    All,
    /// The caller wanted to stop before that.
    Interrupted,
    /// It did not come in time.
    Late,
    /// It is longer than any report.
    Long,
}

impl Heard {
    fn why(self) -> String {
        match self {
            Self::Late => format!("no report within {} s", MOST_REPORTING.as_secs()),
            Self::Long => format!("a report of more than {MOST_REPORT} bytes"),
            Self::All | Self::Interrupted => String::new(),
        }
    }
}

/// Reads the monitor's report.
fn heard_out(
    from: &mut (impl Read + AsFd),
    said: &mut Vec<u8>,
    stop: &impl Fn() -> bool,
) -> std::io::Result<Heard> {
    let deadline = Instant::now() + MOST_REPORTING;
    let mut chunk = [0; 4096];
    loop {
        let ready = process::wait_readable(&[from.as_fd()], Some(Instant::now() + GLANCE))?;
        if ready.first() != Some(&true) {
            if stop() {
                return Ok(Heard::Interrupted);
            }
            if Instant::now() > deadline {
                return Ok(Heard::Late);
            }
            continue;
        }
        match from.read(&mut chunk)? {
            0 => return Ok(Heard::All),
            read => said.extend(chunk.iter().take(read)),
        }
        if said.len() > MOST_REPORT {
            return Ok(Heard::Long);
        }
    }
}

/// Makes sure that what the machine is made of is still there, to say so better than a VMM would.
fn check_files(spec: &MachineSpec) -> Result<(), StartError> {
    let missing = |what: &str, path: &std::path::Path| {
        let (what, path) = (what.to_owned(), path.to_owned());
        move |e: std::io::Error| StartError::Missing {
            what,
            path,
            why: e.to_string(),
        }
    };
    let open = |path: &std::path::Path| fs::open_file(path).map(drop).map_err(std::io::Error::from);
    open(&spec.kernel).map_err(missing("kernel", &spec.kernel))?;
    if let Some(initrd) = &spec.initrd {
        open(initrd).map_err(missing("root archive", initrd))?;
    }
    for volume in &spec.volumes {
        std::fs::read_dir(&volume.source).map_err(missing("volume", &volume.source))?;
    }
    Ok(())
}

fn boot_line(spec: &MachineSpec) -> Result<String, StartError> {
    CommandLine::of(spec)
        .map(|line| line.render())
        .map_err(|problems| {
            let messages: Vec<String> = problems.into_iter().map(|p| p.message).collect();
            StartError::Line(messages.join("; "))
        })
}

/// Tells whoever asked for the start how it went.
pub(crate) fn report(mut to: impl Write, error: Option<StartError>) {
    if let Ok(line) = serde_json::to_vec(&Report { error }) {
        // Whoever asked may be gone: then nobody wants to know.
        let _ = to.write_all(&line);
    }
}
