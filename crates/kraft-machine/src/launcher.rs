//! Starting the process of a VMM, and waiting until it is ready.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use kraft_core::machine::MachineSpec;
use kraft_sys::fs;
use kraft_sys::process::{self, Identity, Process};
use kraft_sys::tool;

use crate::console;
use crate::driver::{BootError, Driver, Extras, Launch, ProgramError, Vmm};
use crate::file_watch::FileWatch;
use crate::layout::MachineDir;
use crate::machines::{ENVIRONMENT, READY_TIMEOUT, StartError};

/// The time between two checks whether a VMM is ready, where the event log cannot be watched.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The time between two checks where it can.
const WATCHED_INTERVAL: Duration = Duration::from_millis(100);

impl Extras {
    /// Gives up the one that a VMM refused when it exited with this error; `false` if it was neither.
    pub(crate) fn give_up(
        &mut self,
        driver: &dyn Driver,
        dir: &MachineDir,
        error: &StartError,
    ) -> bool {
        if !matches!(error, StartError::Vmm { .. }) {
            return false;
        }
        let log = dir.read_vmm_log();
        if self.sandbox && driver.refused_sandbox(&log) {
            self.sandbox = false;
        } else if self.small_board && driver.refused_small_board(&log) {
            self.small_board = false;
        } else {
            return false;
        }
        true
    }
}

/// Starts the VMM of one machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launcher<'a> {
    /// The machine's directory.
    pub(crate) dir: &'a MachineDir,
    /// The machine.
    pub(crate) spec: &'a MachineSpec,
    /// The driver of its VMM.
    pub(crate) driver: &'static dyn Driver,
    /// The configured program of the VMM.
    pub(crate) configured: Option<&'a str>,
}

impl Launcher<'_> {
    /// Starts a command line; `inside` are namespaces that the program enters first. `arrange` may
    /// change the command.
    pub(crate) fn spawn(
        &self,
        argv: &[OsString],
        inside: &[OwnedFd],
        arrange: impl FnOnce(&mut std::process::Command),
    ) -> Result<(Child, Identity), StartError> {
        let Some((program, rest)) = argv.split_first() else {
            return Err(StartError::System("an empty command line".to_owned()));
        };
        let pipe = self.dir.console_pipe();
        // With a reading end of its own it never finds that no process reads.
        let keep = !self.driver.capabilities().survives_writes;
        let stdout = OpenOptions::new().read(keep).write(true).open(&pipe);
        let stdout = stdout.map_err(fs::Error::on("open", &pipe))?;
        let stdin = console::open_for_vmm(&self.dir.console())?;
        let mut command = tool::command(program);
        command
            .args(rest)
            .current_dir(self.dir.path())
            .stdin(stdin)
            .stdout(stdout)
            .stderr(fs::append(&self.dir.vmm_log())?);
        ENVIRONMENT.apply(&mut command);
        self.driver.environment().apply(&mut command);
        if !inside.is_empty() {
            process::enter_before_start(&mut command, inside);
        }
        arrange(&mut command);
        let mut child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => StartError::NoProgram {
                program: program.to_string_lossy().into_owned(),
                install: self.driver.origin(self.spec.arch).hint(),
            },
            _ => StartError::System(format!("cannot start `{}`: {e}", program.to_string_lossy())),
        })?;
        // A guest may have ended already, and its VMM with it.
        let Some(vmm) = Identity::of_child(&child) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(StartError::NoProc);
        };
        Ok((child, vmm))
    }

    /// Has a VMM start the guest that is configured after its start.
    pub(crate) fn boot(
        &self,
        launch: &Launch<'_>,
        child: &mut Child,
        process: &Identity,
    ) -> Result<(), StartError> {
        let dir = self.dir;
        let vmm = Vmm { dir, process };
        let program = || launch.program.first().cloned().unwrap_or_default();
        let deadline = Instant::now() + READY_TIMEOUT;
        let booted = self.driver.boot(&vmm, launch, deadline);
        booted.map_err(|error| match error {
            BootError::Exited => self.exited(child, program()),
            BootError::Refused { why, cure } => StartError::Refused { why, cure },
            BootError::Slow => StartError::Slow { program: program() },
            BootError::System(error) => StartError::System(error.to_string()),
        })
    }

    /// Waits until the event log says that the VMM is ready.
    pub(crate) fn wait_until_ready(
        &self,
        child: &mut Child,
        vmm: &Identity,
        program: String,
    ) -> Result<(), StartError> {
        let system = |e: std::io::Error| StartError::System(e.to_string());
        let is_ready = || self.driver.events(self.dir).is_ready();
        let deadline = Instant::now() + READY_TIMEOUT;
        let handle = Process::open(vmm).map_err(system)?;
        let watch = FileWatch::new([self.dir.events()]);
        let interval = watch.as_ref().map_or(POLL_INTERVAL, |_| WATCHED_INTERVAL);
        while let Some(handle) = &handle {
            // First: what is written after the check is noticed.
            watch.as_ref().map(FileWatch::clear);
            if is_ready() {
                return Ok(());
            }
            let files = [Some(handle.as_fd()), watch.as_ref().map(AsFd::as_fd)];
            let files: Vec<BorrowedFd<'_>> = files.into_iter().flatten().collect();
            let until = Some(Instant::now() + interval);
            let changed = process::wait_readable(&files, until).map_err(system)?;
            if changed.first() == Some(&true) {
                break;
            }
            if Instant::now() > deadline {
                return Err(StartError::Slow { program });
            }
        }
        // A guest may have ended already.
        if is_ready() {
            return Ok(());
        }
        Err(self.exited(child, program))
    }

    /// Returns the error for a VMM that exited before it was ready.
    pub(crate) fn exited(&self, child: &mut Child, program: String) -> StartError {
        let how = child
            .wait()
            .map_or_else(|e| e.to_string(), |status| status.to_string());
        let said = self.dir.read_vmm_log().trim().to_owned();
        // Another program, or one that is too old, rarely prints that it is.
        match self.driver.find(self.spec.arch, self.configured) {
            Err(why @ (ProgramError::Unrecognized { .. } | ProgramError::TooOld { .. })) => {
                let why = why.to_string();
                StartError::Unusable { program, why }
            }
            Ok(_) | Err(ProgramError::NotFound { .. } | ProgramError::NoVersion { .. }) => {
                StartError::Vmm { program, how, said }
            }
        }
    }
}
