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
    /// Whether the kernel must be told to unpack the archive over `/`; false if it does so by itself, or reads it
    /// in its own way.
    #[serde(default)]
    pub mounts_initrd: bool,
    /// Kernel parameters given by the user, each `lib.param=value`, in order.
    pub kernel_args: Vec<String>,
    /// Arguments of the application, in order.
    pub args: Vec<String>,
    /// Environment of the application.
    pub env: BTreeMap<String, String>,
    /// Labels of the image or project, which mean nothing to the machine.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
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

/// A name that no machine can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It has no characters.
    #[error("a machine's name cannot be empty")]
    Empty,
    /// It has more than [`NAME_LIMIT`] characters.
    #[error("a machine's name has at most {NAME_LIMIT} characters")]
    TooLong,
    /// It begins with a character that would make it look like a flag or a hidden file.
    #[error("a machine's name begins with a letter or a digit (A-Z, a-z, 0-9)")]
    Beginning,
    /// It has a character that shells, paths or listings trip over.
    #[error(
        "a machine's name is made of letters, digits, `_`, `.` and `-`, and `{0}` is none of these"
    )]
    Character(char),
    /// It could be the id of another machine.
    #[error("a machine's name cannot look like a machine's id")]
    LooksLikeId,
}

/// The most characters that a machine's name may have.
pub const NAME_LIMIT: usize = 63;

/// Tells whether a machine can be called so.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    match name.chars().next() {
        None => Err(BadName::Empty),
        _ if name.len() > NAME_LIMIT => Err(BadName::TooLong),
        _ if looks_like_id(name) => Err(BadName::LooksLikeId),
        Some(first) if !first.is_ascii_alphanumeric() => Err(BadName::Beginning),
        Some(_) => name
            .chars()
            .find(odd)
            .map_or(Ok(()), |c| Err(BadName::Character(c))),
    }
}

/// Tells whether this has the shape of a UUID: hexadecimal digits in groups of 8, 4, 4, 4 and 12.
fn looks_like_id(text: &str) -> bool {
    let groups = text.split('-').map(|group| {
        let hexadecimal = group.bytes().all(|b| b.is_ascii_hexdigit());
        hexadecimal.then_some(group.len())
    });
    groups.eq([8, 4, 4, 4, 12].map(Some))
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

impl MachineState {
    /// Returns the word for it, as KraftKit writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Created => "created",
            Self::Failed => "failed",
            Self::Restarting => "restarting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Exited => "exited",
            Self::Errored => "errored",
        }
    }
}

/// Why a machine came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EndReason {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest ended with an exit status that is not 0.
    Exited {
        /// The exit status, as far as the machine carries it (1 to 127).
        code: u8,
    },
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
    /// Returns the exit code that stands for this end: the guest's own, 0 for a clean power-off or
    /// a stop on request, 1 for a crash, 128 + signal for a kill.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::PoweredOff | Self::Stopped => 0,
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
    fn names_are_plain_words_that_are_neither_flags_nor_ids() {
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
            ("", BadName::Empty),
            ("-d", BadName::Beginning),
            (".hidden", BadName::Beginning),
            ("..", BadName::Beginning),
            ("a/b", BadName::Character('/')),
            ("a b", BadName::Character(' ')),
            ("ä", BadName::Beginning),
            ("aä", BadName::Character('ä')),
            ("a\n", BadName::Character('\n')),
            (&"x".repeat(NAME_LIMIT + 1), BadName::TooLong),
            ("123E4567-e89b-12d3-a456-426614174000", BadName::LooksLikeId),
        ] {
            assert_eq!(check_name(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn a_stop_on_request_is_no_failure_and_a_crash_is() {
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
