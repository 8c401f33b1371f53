//! Facts about this computer, as a plain value: found by `kraft-machine`, used by [`crate::plan`].

use serde::{Deserialize, Serialize};

use crate::arch::Arch;

/// What this computer can run, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The processor of this computer, if it is one we know.
    pub arch: Option<Arch>,
    /// Whether guests really run under KVM.
    pub kvm: Kvm,
}

/// The answer to "can guests run under KVM here?".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Kvm {
    /// A guest was booted under KVM and answered.
    Works,
    /// It cannot be used.
    Unusable {
        /// Why not, one lower-case fragment: `guests do not run: …`.
        reason: String,
        /// What the user can do about it, one sentence, if anything.
        cure: Option<String>,
    },
    /// The configuration or a flag forbids it; no probe was made.
    Disabled,
}
