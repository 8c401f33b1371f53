//! What several tests need.

use std::collections::BTreeMap;

use kraft_core::arch::Arch;
use kraft_core::kernel::{BootProtocol, Guest};
use kraft_core::machine::{Acceleration, MachineSpec};
use kraft_core::platform::Platform;

/// Returns the specification of a machine for QEMU without anything that it does not need.
pub(crate) fn spec() -> MachineSpec {
    MachineSpec {
        name: None,
        arch: Arch::X86_64,
        platform: Platform::Qemu,
        origin: "kernel://k".to_owned(),
        kernel: "/somewhere/k, k".into(),
        boot: BootProtocol::Multiboot,
        guest: Guest::default(),
        initrd: None,
        mounts_initrd: false,
        kernel_args: Vec::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        memory: 64 << 20,
        cpus: 1,
        ports: Vec::new(),
        networks: Vec::new(),
        volumes: Vec::new(),
        acceleration: Acceleration::Tcg,
        remove_when_ended: false,
        lifecycle: kraft_core::lifecycle::Lifecycle::default(),
        stdin: false,
        tty: false,
    }
}
