//! A machine as a child of this process: no record, no monitor, and no console on disk.
//!
//! For a program that supervises one machine itself and keeps its own state, as a runtime for
//! containers does. Driver, command line, event log and control are those of every machine.
//!
//! ```no_run
//! use kraft_core::machine::MachineSpec;
//! use kraft_machine::Id;
//! use kraft_machine::direct::{Direct, DirectMachine};
//! use kraft_machine::driver::Drivers;
//!
//! # fn example(spec: &MachineSpec) -> Result<(), Box<dyn std::error::Error>> {
//! let drivers = Drivers::default();
//! let mut machine = DirectMachine {
//!     dir: "/run/example/machine".as_ref(),
//!     id: Id::new(),
//!     spec,
//!     drivers: &drivers,
//!     cards: &[],
//! }
//! .start()?;
//! while !machine.wait(None)? {}
//! println!("{:?}", machine.ending(b"")?.reason);
//! # Ok(()) }
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use kraft_core::kernel::Guest;
use kraft_core::machine::{EndReason, MachineSpec};
use kraft_sys::fs;
use kraft_sys::process::{self, Identity, Process};
use rustix::fs::OFlags;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::compact::Compactor;
use crate::console::{self, ConsoleInput};
use crate::driver::{Action, Card, ControlError, Driver, Drivers, Extras, Launch, Vmm};
use crate::id::Id;
use crate::launcher::Launcher;
use crate::layout::{EVENTS, MachineDir};
use crate::machines::{StartError, exit_status};
use crate::monitor;
use crate::record::Ending;

/// The card of a network on the side of the host, which the VMM inherits or opens by its name.
#[derive(Debug)]
pub struct DirectCard {
    /// The device, open.
    pub file: File,
    /// Its name in the network namespace of this process.
    pub device: String,
}

/// A machine that is about to start.
#[derive(Clone, Copy, Debug)]
pub struct DirectMachine<'a> {
    /// The directory for its files, which this process owns; it is created.
    pub dir: &'a Path,
    /// Its id, by which the VMM is recognised.
    pub id: Id,
    /// The machine.
    pub spec: &'a MachineSpec,
    /// The drivers, and the programs of their VMMs.
    pub drivers: &'a Drivers,
    /// The cards of its networks, in the order of the specification.
    pub cards: &'a [DirectCard],
}

impl DirectMachine<'_> {
    /// Starts the VMM in the namespaces of this process. Returns when the guest runs. The VMM is killed
    /// when the calling thread ends.
    ///
    /// # Errors
    ///
    /// If a file of the machine cannot be read, or the VMM cannot be started.
    pub fn start(self) -> Result<Direct, StartError> {
        let (spec, dir) = (self.spec, MachineDir::new(self.dir.to_owned()));
        monitor::check_files(spec)?;
        let kernel_line = monitor::kernel_line(spec)?;
        let driver = self.drivers.get(spec.platform)?;
        let configured = self.drivers.configured(spec.platform);
        let launcher = Launcher {
            dir: &dir,
            spec,
            driver,
            configured,
        };
        let program = driver.program(spec.arch, configured);
        let opens_cards = driver.capabilities().opens_cards;
        let cards: Vec<Card<'_>> = self.cards.iter().map(card).collect();
        for card in self.cards.iter().filter(|_| !opens_cards) {
            let inherited = fcntl_setfd(&card.file, FdFlags::empty());
            inherited.map_err(|e| StartError::System(e.to_string()))?;
        }
        let mut extras = Extras {
            sandbox: driver.can_be_sandboxed(&program),
            small_board: true,
        };
        loop {
            let output = prepare(driver, &dir, spec)?;
            let launch = Launch {
                id: self.id,
                spec,
                kernel_line: &kernel_line,
                events: EVENTS,
                ports: &[],
                cards: &cards,
                program: &program,
                extras,
                saved: None,
                profile: false,
            };
            match launch_vmm(&launcher, &launch) {
                Ok((child, vmm)) => {
                    let compactor = Compactor::new(driver, dir.clone(), vmm.clone(), spec);
                    return Ok(Direct {
                        driver,
                        spec: spec.clone(),
                        child,
                        vmm,
                        compactor,
                        output,
                        dir,
                    });
                }
                Err(error) if extras.give_up(driver, &dir, &error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn card(card: &DirectCard) -> Card<'_> {
    Card {
        file: card.file.as_raw_fd(),
        device: &card.device,
    }
}

/// Creates the files of the machine, and opens the reading end of its console.
fn prepare(driver: &dyn Driver, dir: &MachineDir, spec: &MachineSpec) -> Result<File, StartError> {
    fs::create_dir_all(dir.path(), 0o700)?;
    fs::remove_file(&dir.events_summary())?;
    console::prepare(&dir.console())?;
    for file in [dir.events_input(), dir.events(), dir.vmm_log()] {
        fs::truncate(&file, 0)?;
    }
    driver.prepare(dir, spec)?;
    let pipe = dir.console_pipe();
    let output = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&pipe);
    Ok(output.map_err(fs::Error::on("open", &pipe))?)
}

/// Starts the VMM and waits until it is ready.
fn launch_vmm(
    launcher: &Launcher<'_>,
    launch: &Launch<'_>,
) -> Result<(Child, Identity), StartError> {
    let argv = launcher.driver.command_line(launch);
    let (mut child, vmm) = launcher.spawn(&argv, &[], process::end_with_parent)?;
    let program = launch.program.first().cloned().unwrap_or_default();
    let ready = launcher
        .boot(launch, &mut child, &vmm)
        .and_then(|()| launcher.wait_until_ready(&mut child, &vmm, program));
    if let Err(error) = ready {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok((child, vmm))
}

/// A machine that runs as a child of this process. It ends when this value is dropped.
#[derive(Debug)]
pub struct Direct {
    driver: &'static dyn Driver,
    spec: MachineSpec,
    dir: MachineDir,
    child: Child,
    vmm: Identity,
    compactor: Compactor,
    output: File,
}

impl Direct {
    /// Returns what the guest prints: a pipe that is read without waiting.
    pub fn output(&self) -> &File {
        &self.output
    }

    /// Opens the input of its console.
    ///
    /// # Errors
    ///
    /// If the VMM has exited.
    pub fn input(&self) -> io::Result<ConsoleInput> {
        ConsoleInput::open(&self.dir.console(), &self.spec)
    }

    /// Returns the VMM.
    pub fn vmm(&self) -> &Identity {
        &self.vmm
    }

    /// Returns the driver of its VMM.
    pub fn driver(&self) -> &'static dyn Driver {
        self.driver
    }

    /// Keeps the files of the VMM small. A guest can make them grow: call it about once a second.
    pub fn compact(&mut self) {
        self.compactor.run();
    }

    /// Has the VMM do something.
    ///
    /// # Errors
    ///
    /// If the VMM does not answer or refuses.
    pub fn control(&self, action: Action, limit: Duration) -> Result<(), ControlError> {
        let vmm = Vmm {
            dir: &self.dir,
            process: &self.vmm,
        };
        self.driver.control(&vmm, action, limit)
    }

    /// Asks the guest to shut down, if its kernel can do that: the built-in runtime sends its program
    /// SIGTERM, Linux gets the power button. Returns false for others, which do not react.
    pub fn ask_to_shut_down(&self, limit: Duration) -> bool {
        match self.spec.guest {
            Guest::Runtime => self
                .input()
                .and_then(|mut input| input.terminate(limit))
                .unwrap_or(false),
            Guest::Other => self.control(Action::PowerButton, limit).is_ok(),
            Guest::Unikraft => false,
        }
    }

    /// Kills the VMM.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for the VMM to exit, for this time at most; returns whether it has.
    ///
    /// # Errors
    ///
    /// If the system does not allow to wait.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        match Process::open(&self.vmm)? {
            Some(process) => process.wait(limit),
            None => Ok(true),
        }
    }

    /// Returns a handle of the VMM that is readable when it has exited; `None` if it has.
    ///
    /// # Errors
    ///
    /// If the system has no such handle.
    pub fn process(&self) -> io::Result<Option<Process>> {
        Process::open(&self.vmm)
    }

    /// Waits for the VMM to exit, and returns how the machine ended. `tail` is the end of what the guest
    /// printed.
    ///
    /// # Errors
    ///
    /// If the system does not allow to wait.
    pub fn ending(&mut self, tail: &[u8]) -> io::Result<Ending> {
        let status = monitor::wait(&mut self.child)?;
        let mut ending = monitor::ending_of_child(self.driver, &self.dir, status);
        // Without a device that takes the status, the built-in runtime prints it.
        if self.spec.guest == Guest::Runtime
            && ending.reason == EndReason::PoweredOff
            && let Some(code) = exit_status(tail).filter(|code| *code != 0)
        {
            ending.reason = EndReason::Exited { code };
        }
        Ok(ending)
    }
}

impl AsFd for Direct {
    /// Returns the output of the guest.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
