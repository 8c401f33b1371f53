//! Machines: their specification (decided once, before anything happens), state and end.
//!
//! ```text
//!            start              pause
//! created ─────────► running ◄────────► paused
//!    ▲                  │      unpause     │
//!    │ start            ▼                  ▼
//!    └───────────── exited | errored | failed
//!
//! running | paused ◄──────────────► suspended
//!                   suspend, resume
//! ```
//!
//! ```
//! use kraft_core::machine::{EndReason, MachineState, check_name};
//!
//! assert!(check_name("web-1").is_ok());
//! assert!(check_name("web 1").is_err());
//! assert_eq!(MachineState::Running.name(), "running");
//! assert_eq!(EndReason::Exited { code: 3 }.exit_code(), 3);
//! assert_eq!(EndReason::PoweredOff.exit_code(), 0);
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::kernel::{BootProtocol, Guest};
use crate::lifecycle::Lifecycle;
use crate::mount::Volume;
use crate::net::Interface;
use crate::platform::Platform;
use crate::port::PortMapping;

/// Everything needed to launch a machine; immutable once planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// The name the user chose; `None` to generate one.
    pub name: Option<String>,
    /// Architecture of the guest.
    pub arch: Arch,
    /// The platform, which selects the VMM.
    pub platform: Platform,
    /// Source of the kernel, for display: `kernel://FILE`.
    pub origin: String,
    /// Absolute path of the kernel file.
    pub kernel: PathBuf,
    /// Boot protocol of the kernel.
    pub boot: BootProtocol,
    /// What the kernel is.
    #[serde(default)]
    pub guest: Guest,
    /// Absolute path of the initramfs, if any.
    pub initrd: Option<PathBuf>,
    /// Whether the kernel needs a parameter to unpack the initramfs over `/`; false if it does so
    /// by itself, or reads it in another way.
    #[serde(default)]
    pub mounts_initrd: bool,
    /// Kernel parameters given by the user, each `lib.param=value`, in order.
    pub kernel_args: Vec<String>,
    /// Arguments of the application, in order.
    pub args: Vec<String>,
    /// Environment of the application.
    pub env: BTreeMap<String, String>,
    /// Labels of the image, the project and the user; they do not affect the machine.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Memory in bytes.
    pub memory: u64,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Networks, in the order of the cards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Interface>,
    /// Mounted host directories.
    pub volumes: Vec<Volume>,
    /// How instructions are executed.
    pub acceleration: Acceleration,
    /// Whether the machine is removed when it ends.
    pub remove_when_ended: bool,
    /// How it is kept running and how it is stopped.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Whether its console is for input as well.
    #[serde(default)]
    pub stdin: bool,
    /// Whether its console is a terminal.
    #[serde(default)]
    pub tty: bool,
}

/// Why a machine name is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MachineNameError {
    /// It has no characters.
    #[error("a machine's name cannot be empty")]
    Empty,
    /// It has more than [`NAME_LIMIT`] characters.
    #[error("a machine's name has at most {NAME_LIMIT} characters")]
    TooLong,
    /// It begins with a character other than a letter or digit, as a flag or a hidden file would.
    #[error("a machine's name begins with a letter or a digit (A-Z, a-z, 0-9)")]
    Beginning,
    /// It contains a character that is not allowed.
    #[error(
        "a machine's name is made of letters, digits, `_`, `.` and `-`, and `{0}` is none of these"
    )]
    Character(char),
    /// It has the form of a machine id.
    #[error("a machine's name cannot look like a machine's id")]
    LooksLikeId,
}

/// Maximum length of a machine name, in characters.
pub const NAME_LIMIT: usize = 63;

/// Checks that a text is a valid machine name.
pub fn check_name(name: &str) -> Result<(), MachineNameError> {
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    match name.chars().next() {
        None => Err(MachineNameError::Empty),
        _ if name.len() > NAME_LIMIT => Err(MachineNameError::TooLong),
        _ if looks_like_id(name) => Err(MachineNameError::LooksLikeId),
        Some(first) if !first.is_ascii_alphanumeric() => Err(MachineNameError::Beginning),
        Some(_) => name
            .chars()
            .find(odd)
            .map_or(Ok(()), |c| Err(MachineNameError::Character(c))),
    }
}

/// Returns whether a text has the form of a UUID: hexadecimal digits in groups of 8, 4, 4, 4 and
/// 12.
pub(crate) fn looks_like_id(text: &str) -> bool {
    let groups = text.split('-').map(|group| {
        let hexadecimal = group.bytes().all(|b| b.is_ascii_hexdigit());
        hexadecimal.then_some(group.len())
    });
    groups.eq([8, 4, 4, 4, 12].map(Some))
}

/// How the guest's instructions are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acceleration {
    /// Natively, through KVM.
    Kvm,
    /// By binary translation (QEMU's TCG).
    Tcg,
}

/// The state of a machine, named as in KraftKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineState {
    /// Its state cannot be determined, for example because its directory is unreadable.
    Unknown,
    /// It has not been started yet.
    Created,
    /// Its VMM could not be started or failed.
    Failed,
    /// It has ended and is about to be started again by its restart policy.
    Restarting,
    /// It runs.
    Running,
    /// It was paused by the user.
    Paused,
    /// Its memory is saved on disk, and it continues from there; or it suspended itself.
    Suspended,
    /// It is suspended because it was idle, and its ports are open: a connection wakes it.
    Asleep,
    /// It ended normally, or was stopped or killed from outside.
    Exited,
    /// The guest crashed.
    Errored,
}

impl MachineState {
    /// Returns whether there is something to stop: a guest, or a restart that is due.
    pub const fn is_up(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Suspended | Self::Asleep | Self::Restarting => {
                true
            }
            Self::Unknown | Self::Created | Self::Failed | Self::Exited | Self::Errored => false,
        }
    }

    /// Returns the name that KraftKit uses for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Created => "created",
            Self::Failed => "failed",
            Self::Restarting => "restarting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Asleep => "asleep",
            Self::Exited => "exited",
            Self::Errored => "errored",
        }
    }
}

/// Why a machine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EndReason {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest exited with a status other than 0.
    Exited {
        /// The exit status, as far as the VMM can report it (1 to 127).
        code: u8,
    },
    /// The guest reported a panic or reset itself (a `triple fault` on x86).
    Crashed {
        /// A description: `guest panicked`, `guest reset itself`.
        what: String,
    },
    /// `kraft stop`, or Ctrl-C on a foreground run.
    Stopped,
    /// `kraft suspend`: its memory is saved, and it continues from there.
    Suspended,
    /// The VMM process was killed by a signal.
    Killed {
        /// The signal number, if known.
        signal: Option<i32>,
    },
    /// The VMM could not be started or failed.
    MonitorFailed {
        /// The exit code of the VMM process, if known.
        code: Option<i32>,
        /// The last output of the VMM.
        message: String,
    },
    /// The host shut down while the machine was running.
    HostDown,
    /// The machine ended, and no process recorded how.
    Vanished,
}

impl EndReason {
    /// Returns the exit code for this end: the guest's own, 0 for a clean power-off or a requested
    /// stop, 1 for a crash, 128 + signal for a kill.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::PoweredOff | Self::Stopped | Self::Suspended => 0,
            Self::Exited { code } => i32::from(*code),
            Self::Crashed { .. } | Self::HostDown | Self::Vanished => 1,
            Self::Killed { signal } => 128 + signal.unwrap_or(9),
            Self::MonitorFailed { code, .. } => code.filter(|&c| c != 0).unwrap_or(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_like_flags_or_ids_are_rejected() {
        for good in [
            "a",
            "0",
            "web-1",
            "My_app.v2",
            "deadbeef",
            &"x".repeat(NAME_LIMIT),
        ] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for (bad, error) in [
            ("", MachineNameError::Empty),
            ("-d", MachineNameError::Beginning),
            (".hidden", MachineNameError::Beginning),
            ("..", MachineNameError::Beginning),
            ("a/b", MachineNameError::Character('/')),
            ("a b", MachineNameError::Character(' ')),
            ("ä", MachineNameError::Beginning),
            ("aä", MachineNameError::Character('ä')),
            ("a\n", MachineNameError::Character('\n')),
            (&"x".repeat(NAME_LIMIT + 1), MachineNameError::TooLong),
            (
                "123E4567-e89b-12d3-a456-426614174000",
                MachineNameError::LooksLikeId,
            ),
        ] {
            assert_eq!(check_name(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn exit_codes_tell_stops_from_crashes() {
        let crashed = EndReason::Crashed {
            what: "guest panicked".into(),
        };
        let failed = |code| EndReason::MonitorFailed {
            code,
            message: String::new(),
        };
        assert_eq!(EndReason::PoweredOff.exit_code(), 0);
        assert_eq!(EndReason::Stopped.exit_code(), 0);
        assert_eq!(EndReason::Exited { code: 7 }.exit_code(), 7);
        assert_eq!(crashed.exit_code(), 1);
        assert_eq!(EndReason::Killed { signal: Some(15) }.exit_code(), 143);
        assert_eq!(EndReason::Killed { signal: None }.exit_code(), 137);
        assert_eq!(
            failed(Some(0)).exit_code(),
            1,
            "giving up is never a success"
        );
        assert_eq!(failed(Some(3)).exit_code(), 3);
    }
}
