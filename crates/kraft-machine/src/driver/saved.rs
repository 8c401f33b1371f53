//! The saved memory and devices of a guest, and when they can be restored.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use kraft_core::machine::Acceleration;
use serde::{Deserialize, Serialize};

use crate::driver::ControlError;

/// Saved memory and devices that a guest is restored from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The directory of its files, relative to that of the machine. They do not change: guests that
    /// are restored from the same files share their memory until they change it.
    pub dir: PathBuf,
    /// What the VMM has to be like.
    pub conditions: Conditions,
}

impl Saved {
    /// The file with the guest's memory, as large as that; pages of zeros are holes.
    pub const MEMORY: &'static str = "memory";
    /// The file with everything else.
    pub const STATE: &'static str = "state";
}

/// What a VMM has to be like to restore a guest: as the one that saved it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The VMM with its version: `QEMU 10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub vmm: String,
    /// The board with its version: `pc-i440fx-10.0`.
    pub board: String,
    /// The model of the processor, with that of the host if the guest sees it.
    pub cpu: String,
    /// How instructions are executed.
    pub acceleration: Acceleration,
    /// The devices, in order.
    pub devices: Vec<String>,
    /// The memory in bytes.
    pub memory: u64,
}

/// A guest that was restored and does not run yet.
pub trait Restored {
    /// Has the guest continue.
    fn resume(self: Box<Self>) -> Result<(), ControlError>;
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What differs: `VMM`.
    pub what: &'static str,
    /// What it was when the guest was saved.
    pub saved: String,
    /// What it is now.
    pub present: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            saved,
            present,
        } = self;
        write!(f, "its {what} was `{saved}` and is `{present}` now")
    }
}

impl Conditions {
    /// Returns the first condition that does not hold.
    ///
    /// ```
    /// use kraft_core::machine::Acceleration;
    /// use kraft_machine::driver::Conditions;
    ///
    /// let saved = Conditions {
    ///     vmm: "QEMU 10.0.2".to_owned(),
    ///     board: "pc-i440fx-10.0".to_owned(),
    ///     cpu: "max".to_owned(),
    ///     acceleration: Acceleration::Tcg,
    ///     devices: vec!["pvpanic".to_owned()],
    ///     memory: 64 << 20,
    /// };
    /// assert_eq!(saved.misfit(&saved), None);
    /// let present = Conditions { vmm: "QEMU 11.0.0".to_owned(), ..saved.clone() };
    /// assert_eq!(saved.misfit(&present).unwrap().what, "VMM");
    /// ```
    pub fn misfit(&self, present: &Self) -> Option<Misfit> {
        let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
        let acceleration = |acceleration| match acceleration {
            Acceleration::Kvm => "KVM".to_owned(),
            Acceleration::Tcg => "TCG".to_owned(),
        };
        [
            ("VMM", self.vmm.clone(), present.vmm.clone()),
            (
                "acceleration",
                acceleration(self.acceleration),
                acceleration(present.acceleration),
            ),
            ("processor", self.cpu.clone(), present.cpu.clone()),
            ("board", self.board.clone(), present.board.clone()),
            ("memory", mebibytes(self.memory), mebibytes(present.memory)),
            (
                "list of devices",
                self.devices.join(", "),
                present.devices.join(", "),
            ),
        ]
        .into_iter()
        .find(|(_, saved, present)| saved != present)
        .map(|(what, saved, present)| Misfit {
            what,
            saved,
            present,
        })
    }
}

/// A guest cannot be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// This kind of VMM, or this machine, cannot.
    #[error("its VMM does not support it")]
    Unsupported,
    /// It does not fit the present host or machine.
    #[error("{0}")]
    Misfit(Misfit),
    /// The VMM refused, or did not answer.
    #[error(transparent)]
    Vmm(Box<dyn std::error::Error + Send + Sync>),
    /// A file cannot be read or written.
    #[error("cannot write or read the saved memory")]
    File(#[source] std::io::Error),
}

/// Returns the model of the host's processor, which a guest sees under KVM.
pub(super) fn host_model() -> String {
    let mut text = String::new();
    if let Ok(file) = File::open("/proc/cpuinfo") {
        // The first processor is in the beginning. What cannot be read is empty everywhere.
        let _ = file.take(16 << 10).read_to_string(&mut text);
    }
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model.map_or_else(String::new, |(_, name)| name.trim().to_owned())
}
