//! Capabilities of this host, as a plain value: determined by `kraft-machine`, used by
//! [`crate::plan`].
//!
//! ```
//! use kraft_core::arch::Arch;
//! use kraft_core::host::{Host, Kvm, VmmSupport};
//! use kraft_core::kernel::BootProtocol;
//! use kraft_core::platform::Platform;
//!
//! let host = Host {
//!     arch: Some(Arch::X86_64),
//!     kvm: Kvm::Disabled,
//!     vmms: vec![VmmSupport {
//!         platform: Platform::Qemu,
//!         boots: vec![BootProtocol::Multiboot],
//!         ipv6_ports: false,
//!         limits: Default::default(),
//!     }],
//! };
//! let boots = |boot| host.vmms.iter().any(|vmm| vmm.boots.contains(&boot));
//! assert!(boots(BootProtocol::Multiboot));
//! assert!(!boots(BootProtocol::Arm64Image));
//! ```

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::kernel::BootProtocol;
use crate::platform::Platform;

/// What this host can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The architecture of this host, if it is known.
    pub arch: Option<Arch>,
    /// Whether guests run under KVM.
    pub kvm: Kvm,
    /// The VMMs with a driver, installed or not.
    pub vmms: Vec<VmmSupport>,
}

/// Capabilities of the VMM of a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmmSupport {
    /// The platform.
    pub platform: Platform,
    /// The kernels it can boot.
    pub boots: Vec<BootProtocol>,
    /// Whether it can publish ports on IPv6 addresses of the host.
    pub ipv6_ports: bool,
    /// What it cannot do.
    #[serde(default)]
    pub limits: Limits,
}

/// What a VMM cannot do and others can. The default has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Whether it runs guests under KVM only.
    pub needs_kvm: bool,
    /// Whether it publishes ports through a network only.
    pub ports_need_network: bool,
    /// Whether it shares no directories of the host.
    pub no_volumes: bool,
    /// The maximal number of networks of a machine.
    pub networks: Option<usize>,
    /// The maximal number of CPUs of a machine.
    pub cpus: Option<u32>,
    /// The maximal length of a kernel command line, in bytes.
    pub line: Option<usize>,
}

/// Whether guests can run under KVM on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Kvm {
    /// A guest was booted under KVM and answered.
    Works,
    /// KVM cannot be used.
    Unusable {
        /// The reason, as a lower-case fragment: `guests do not run: …`.
        reason: String,
        /// What the user can do about it, as a sentence.
        cure: Option<String>,
    },
    /// The configuration or a flag forbids it; no probe was made.
    Disabled,
}
