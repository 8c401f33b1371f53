//! Machines: what one is made of (decided once, before anything happens) and how it ends.
//!
//! ```text
//!            start              pause
//! created ─────────► running ◄────────► paused
//!    ▲                  │      unpause     │
//!    │ start            ▼                  ▼
//!    └───────────── exited | errored | failed
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::kernel::BootProtocol;
use crate::mount::Volume;
use crate::platform::Platform;
use crate::port::PortMapping;

/// Everything that must be known to launch a machine; immutable once planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// The name the user chose; `None` asks for a generated one.
    pub name: Option<String>,
    /// Processor of the guest.
    pub arch: Arch,
    /// The monitor that runs it.
    pub platform: Platform,
    /// Where the kernel came from, as shown to people: `kernel://FILE`.
    pub origin: String,
    /// Absolute path of the kernel file.
    pub kernel: PathBuf,
    /// How that kernel takes over.
    pub boot: BootProtocol,
    /// Absolute path of the root archive, if any.
    pub initrd: Option<PathBuf>,
    /// Kernel parameters given by the user, each `lib.param=value`, in order.
    pub kernel_args: Vec<String>,
    /// Arguments of the application, in order.
    pub args: Vec<String>,
    /// Environment of the application.
    pub env: BTreeMap<String, String>,
    /// Memory in bytes.
    pub memory: u64,
    /// Number of virtual processors.
    pub cpus: u32,
    /// Host ports that lead to the machine.
    pub ports: Vec<PortMapping>,
    /// Host directories it sees.
    pub volumes: Vec<Volume>,
    /// How instructions are executed.
    pub acceleration: Acceleration,
    /// Whether the machine is removed once it ended.
    pub remove_when_ended: bool,
}

/// How the monitor executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acceleration {
    /// By the processor itself, through KVM.
    Kvm,
    /// By translation in software (QEMU's TCG).
    Tcg,
}

/// The state of a machine, in KraftKit's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineState {
    /// What it does cannot be told (its directory cannot be read, say).
    Unknown,
    /// It exists and has not been started.
    Created,
    /// Its monitor could not be started, or broke.
    Failed,
    /// It is being reset.
    Restarting,
    /// It runs.
    Running,
    /// It was paused by the user.
    Paused,
    /// It suspended itself.
    Suspended,
    /// It ended as it should, or was stopped or killed from outside.
    Exited,
    /// The guest crashed.
    Errored,
}

/// Why a machine came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EndReason {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest reported a panic or reset itself (a triple fault on x86).
    Crashed {
        /// What was seen: `guest panicked`, `guest reset itself`.
        what: String,
    },
    /// `kraft stop`, or Ctrl-C on a foreground run.
    Stopped,
    /// The monitor process was killed by a signal.
    Killed {
        /// The signal's number, if it is known.
        signal: Option<i32>,
    },
    /// The monitor could not be started or gave up.
    MonitorFailed {
        /// The exit code of the monitor process, if it is known.
        code: Option<i32>,
        /// What the monitor said last.
        message: String,
    },
    /// The computer went down while the machine ran.
    HostDown,
    /// The machine is gone, and nobody saw how.
    Vanished,
}

impl EndReason {
    /// Returns the exit code that stands for this end: 0 for a clean power-off or
    /// a stop on request, 1 for a crash, 128 + signal for a kill.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::PoweredOff | Self::Stopped => 0,
            Self::Crashed { .. } | Self::HostDown | Self::Vanished => 1,
            Self::Killed { signal } => 128 + signal.unwrap_or(9),
            Self::MonitorFailed { code, .. } => code.filter(|&c| c != 0).unwrap_or(1),
        }
    }
}
