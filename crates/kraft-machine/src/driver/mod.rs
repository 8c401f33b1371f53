//! The seam between machines and the VMM that runs them.
//!
//! The rest of this crate knows records, locks and processes. Everything that differs between VMMs
//! is behind [`Driver`]: which program, its command line, its files, its event log, how it is
//! controlled and what its end means. Adding a VMM means a module below this one and an arm in
//! [`built_in`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_core::host::{Kvm, Limits, VmmSupport};
use kraft_core::kernel::BootProtocol;
use kraft_core::machine::{MachineSpec, MachineState};
use kraft_core::platform::Platform;
use kraft_core::port::PortMapping;
use kraft_sys::environment::Inherit;
use kraft_sys::fs;
use kraft_sys::process::Identity;

use crate::event_log::EventLog;
use crate::event_log::file::{self, Compaction};
use crate::id::Id;
use crate::layout::MachineDir;
use crate::record::Ending;

mod boot;
mod control;
pub mod firecracker;
mod program;
pub mod qemu;
mod saved;
mod socket;
mod trial;

pub use boot::BootError;
pub use control::{Action, ControlError};
pub use program::{Installed, Limitation, Origin, ProgramError};
pub use saved::{Conditions, Misfit, Restored, Saved, SavedError};

/// Returns the driver of this crate for a platform; `None` if there is none yet.
pub fn built_in(platform: Platform) -> Option<&'static dyn Driver> {
    match platform {
        Platform::Qemu => Some(&qemu::Qemu),
        Platform::Firecracker => Some(&firecracker::Firecracker),
        Platform::Xen => None,
    }
}

/// There is no driver for a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no driver for the platform `{0}`: machines run on qemu and fc only")]
pub struct NoDriver(pub Platform);

/// Runs machines on one kind of VMM.
///
/// A driver has no state: what it knows about a machine is in the machine's directory, which
/// `kraft` processes share. None of its methods may block without a limit.
///
/// ```
/// use kraft_core::arch::Arch;
/// use kraft_core::platform::Platform;
/// use kraft_machine::driver;
///
/// let qemu = driver::built_in(Platform::Qemu).unwrap();
/// assert_eq!(qemu.program(Arch::Arm64, None), ["qemu-system-aarch64"]);
/// assert!(qemu.capabilities().pause);
/// let id = kraft_machine::Id::new();
/// let argv = ["qemu-system-x86_64", "-name", &id.to_string()].map(|arg| arg.as_bytes().to_vec());
/// assert!(qemu.is_vmm(&argv, id));
/// ```
pub trait Driver: Debug + Sync {
    /// Returns the platform whose machines this driver runs.
    fn platform(&self) -> Platform;

    /// Returns what this VMM can do.
    fn capabilities(&self) -> Capabilities;

    /// Returns the VMM's program for an architecture with the arguments that come first.
    /// `configured` replaces it and may hold arguments after blanks.
    fn program(&self, arch: Arch, configured: Option<&str>) -> Vec<String>;

    /// Returns where the program comes from.
    fn origin(&self, arch: Arch) -> Origin;

    /// Finds the program on this host and checks its version.
    fn find(&self, arch: Arch, configured: Option<&str>) -> Result<Installed, ProgramError>;

    /// Boots a trial guest to find out whether guests run under KVM, or returns the remembered
    /// answer. `runtime_dir` is where an answer can be stored.
    fn probe(&self, arch: Arch, configured: Option<&str>, runtime_dir: &std::path::Path) -> Kvm;

    /// Writes the files that the VMM reads. The machine's directory holds those of the last run;
    /// console, event log and log have been emptied already.
    fn prepare(&self, dir: &MachineDir, spec: &MachineSpec) -> Result<(), fs::Error>;

    /// Returns the VMM's command line, program first. It must contain the machine's id, by which
    /// [`is_vmm`](Self::is_vmm) recognises the process. It runs in the machine's directory, and
    /// relative paths are relative to that. Its standard input and output are the guest's console.
    fn command_line(&self, launch: &Launch<'_>) -> Vec<OsString>;

    /// Configures a VMM that was started, and starts its guest, before `deadline`; for a VMM that
    /// takes the machine by other means than its command line. It is a child of this process.
    /// With [`Launch::saved`] the guest does not start: it is [restored](Self::restore) next.
    fn boot(&self, vmm: &Vmm<'_>, launch: &Launch<'_>, deadline: Instant) -> Result<(), BootError> {
        let _ = (vmm, launch, deadline);
        Ok(())
    }

    /// Returns whether the arguments of a process are those of the VMM of this machine.
    fn is_vmm(&self, argv: &[Vec<u8>], id: Id) -> bool;

    /// Parses a line of the VMM's event log and records what it means. Lines may be incomplete or
    /// invalid: these are skipped.
    fn parse_event(&self, line: &[u8], log: &mut EventLog);

    /// Asks a living VMM for the state of its guest; `None` if it does not answer in time.
    fn query_state(&self, vmm: &Vmm<'_>, limit: Duration) -> Option<MachineState>;

    /// Returns whether the guest has accepted a connection to a TCP port of it that the VMM carries,
    /// and that is still open; `None` if that is not known: the VMM accepts each connection itself.
    fn has_accepted(&self, vmm: &Vmm<'_>, port: u16, limit: Duration) -> Option<bool> {
        let _ = (vmm, port, limit);
        None
    }

    /// Has a VMM do something. Returns when it has accepted; for [`Action::Quit`], when it has
    /// received the request.
    fn control(&self, vmm: &Vmm<'_>, action: Action, limit: Duration) -> Result<(), ControlError>;

    /// Saves the memory and the devices of a guest as files in an empty directory, and returns what a
    /// VMM has to be like to restore them. The guest was [paused](Action::Pause) and stays so.
    ///
    /// `limit` is for one step, as long as the VMM makes progress.
    fn save(
        &self,
        vmm: &Vmm<'_>,
        to: &std::path::Path,
        limit: Duration,
    ) -> Result<Conditions, SavedError> {
        let _ = (vmm, to, limit);
        Err(SavedError::Unsupported)
    }

    /// Writes the files that a VMM reads which restores a guest: as [`prepare`](Self::prepare), but
    /// the guest must not run before [`Action::Resume`].
    fn prepare_restore(&self, dir: &MachineDir, spec: &MachineSpec) -> Result<(), fs::Error> {
        self.prepare(dir, spec)
    }

    /// Has a VMM that was launched with [`Launch::saved`] and is ready restore its guest. `state`
    /// is the content of the file [`Saved::STATE`]. Returns the guest when it can be resumed.
    fn restore<'a>(
        &self,
        vmm: &Vmm<'a>,
        launch: &Launch<'_>,
        state: &[u8],
        limit: Duration,
    ) -> Result<Box<dyn Restored + 'a>, SavedError> {
        let _ = (vmm, launch, state, limit);
        Err(SavedError::Unsupported)
    }

    /// Returns variables of the environment that the VMM gets beyond those that every VMM gets.
    fn environment(&self) -> Inherit {
        Inherit::Only(&[])
    }

    /// Returns whether the VMM may be confined (system calls and programs it does not need):
    /// false if the configured arguments prevent it.
    fn can_be_sandboxed(&self, program: &[String]) -> bool {
        let _ = program;
        false
    }

    /// Returns whether the log of a VMM that failed to start says that it cannot be confined here.
    /// It is then started once more without.
    fn refused_sandbox(&self, log: &str) -> bool {
        let _ = log;
        false
    }

    /// Returns whether the log of a VMM that failed to start says that it has no
    /// [small board](Extras::small_board). It is then started once more with the usual one.
    fn refused_small_board(&self, log: &str) -> bool {
        let _ = log;
        false
    }

    /// Reads the event log of a machine.
    fn events(&self, dir: &MachineDir) -> EventLog {
        file::read(dir, &|line, log| self.parse_event(line, log))
    }

    /// Returns when a guest reached the steps of its boot that the VMM knows, if it was launched with
    /// [`Launch::profile`].
    fn boot_times(&self, dir: &MachineDir, arch: Arch) -> GuestTimes {
        let _ = (dir, arch);
        GuestTimes::default()
    }

    /// Makes the event log of a running machine small.
    fn compact_events(&self, dir: &MachineDir) -> Result<Compaction, fs::Error> {
        file::compact(dir, &|line, log| self.parse_event(line, log))
    }

    /// Returns how a machine ended whose VMM has exited; `None` if the VMM reported nothing about
    /// it, and only the exit status counts.
    fn ending(&self, exited: &Exited<'_>) -> Option<Ending> {
        exited.events.ending()
    }

    /// Returns the offset at which the guest's output begins on a console that starts with these
    /// bytes: behind that of the firmware. `complete` means that there are no more bytes. `None` if
    /// more bytes are needed to decide, which must not happen from [`MAX_FIRMWARE`] bytes on.
    fn guest_output(&self, arch: Arch, first: &[u8], complete: bool) -> Option<usize> {
        let _ = (arch, first, complete);
        Some(0)
    }
}

/// The maximal length of what a firmware prints, in bytes.
pub const MAX_FIRMWARE: usize = 64 << 10;

/// What a VMM can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The kernels it can boot.
    pub boots: &'static [BootProtocol],
    /// Whether it can pause and resume its guest.
    pub pause: bool,
    /// Whether it writes an event log. If not, its state is queried.
    pub event_log: bool,
    /// Whether it can publish ports on IPv6 addresses of the host.
    pub ipv6_ports: bool,
    /// Whether a write continues with an error where no process reads the console (SIGPIPE), or a file
    /// is at its limit (SIGXFSZ). If not, it would end.
    pub survives_writes: bool,
    /// Whether it opens the card of a network by its name, in the namespace of the network, instead
    /// of inheriting it.
    pub opens_cards: bool,
    /// What it cannot do and others can.
    pub limits: Limits,
}

/// The card of a network on the side of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card<'a> {
    /// The number of the open file that the VMM inherits.
    pub file: i32,
    /// The name of its device in the namespace of the network.
    pub device: &'a str,
}

/// What a VMM is asked for although not every version of it has it. One that refuses it is started
/// once more without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// Whether the VMM confines itself.
    pub sandbox: bool,
    /// Whether the machine may have a smaller board than the usual one.
    pub small_board: bool,
}

/// Everything a command line is made from.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The machine's id.
    pub id: Id,
    /// The machine.
    pub spec: &'a MachineSpec,
    /// The kernel command line.
    pub kernel_line: &'a str,
    /// The name of the event log's files in the machine's directory, which are `NAME.in` and
    /// `NAME.out`: [`MachineDir::events`].
    pub events: &'a str,
    /// The ports to publish, all with a port number.
    pub ports: &'a [PortMapping],
    /// The cards of its networks, in the order of the specification; none in a preview.
    pub cards: &'a [Card<'a>],
    /// The VMM's program, and arguments that come first.
    pub program: &'a [String],
    /// What not every version of the VMM has.
    pub extras: Extras,
    /// What the guest is restored from; `None` to boot it.
    pub saved: Option<&'a Saved>,
    /// Whether the VMM records what [`Driver::boot_times`] returns.
    pub profile: bool,
}

/// When a guest reached the steps of its boot, by the clock of the host; `None` where that is not
/// known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestTimes {
    /// When its processors were started: the firmware begins.
    pub began: Option<Timestamp>,
    /// When the firmware started the kernel.
    pub kernel: Option<Timestamp>,
    /// When the kernel started the program.
    pub program: Option<Timestamp>,
}

/// A living VMM.
#[derive(Debug, Clone, Copy)]
pub struct Vmm<'a> {
    /// The machine's directory.
    pub dir: &'a MachineDir,
    /// The process.
    pub process: &'a Identity,
}

/// A VMM that has exited, with what is left of it.
#[derive(Debug, Clone, Copy)]
pub struct Exited<'a> {
    /// The machine's directory.
    pub dir: &'a MachineDir,
    /// Its events.
    pub events: &'a EventLog,
    /// Its exit status; `None` if it was not a child of this process.
    pub status: Option<ExitStatus>,
}

/// The drivers that machines are run with, and their configuration.
///
/// ```
/// use kraft_core::platform::Platform;
/// use kraft_machine::driver::Drivers;
///
/// let drivers = Drivers::default().with_program(Platform::Qemu, "/opt/qemu -L /opt/share");
/// assert!(drivers.get(Platform::Qemu).is_ok());
/// assert!(drivers.get(Platform::Xen).is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Drivers {
    registry: Registry,
    programs: BTreeMap<Platform, String>,
}

/// Returns the driver for a platform, if there is one.
pub type Registry = fn(Platform) -> Option<&'static dyn Driver>;

impl Default for Drivers {
    fn default() -> Self {
        Self::from_registry(built_in)
    }
}

impl Drivers {
    /// Uses other drivers than the [built-in](built_in) ones. The program that becomes the monitor
    /// has to use the same: see [`monitor::main_with`](crate::monitor::main_with).
    pub fn from_registry(registry: Registry) -> Self {
        Self {
            registry,
            programs: BTreeMap::new(),
        }
    }

    /// Replaces the usual program of a platform's VMM. The text may hold arguments after blanks.
    #[must_use]
    pub fn with_program(mut self, platform: Platform, program: impl Into<String>) -> Self {
        self.programs.insert(platform, program.into());
        self
    }

    /// Returns the driver for a platform.
    pub fn get(&self, platform: Platform) -> Result<&'static dyn Driver, NoDriver> {
        (self.registry)(platform).ok_or(NoDriver(platform))
    }

    /// Returns all drivers.
    pub fn all(&self) -> impl Iterator<Item = &'static dyn Driver> {
        let registry = self.registry;
        Platform::ALL.into_iter().filter_map(registry)
    }

    /// Returns the configured program of a platform's VMM.
    pub fn configured(&self, platform: Platform) -> Option<&str> {
        self.programs.get(&platform).map(String::as_str)
    }

    /// Returns all configured programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (Platform, &str)> {
        let programs = self.programs.iter();
        programs.map(|(platform, program)| (*platform, program.as_str()))
    }

    /// Returns what the VMMs can run.
    pub fn support(&self) -> Vec<VmmSupport> {
        let support = |driver: &'static dyn Driver| {
            let can = driver.capabilities();
            VmmSupport {
                platform: driver.platform(),
                boots: can.boots.to_vec(),
                ipv6_ports: can.ipv6_ports,
                limits: can.limits,
            }
        };
        self.all().map(support).collect()
    }

    /// Returns whether the arguments of a process are those of a VMM of this machine.
    pub(crate) fn is_vmm(&self, argv: &[Vec<u8>], id: Id) -> bool {
        self.all().any(|driver| driver.is_vmm(argv, id))
    }
}
