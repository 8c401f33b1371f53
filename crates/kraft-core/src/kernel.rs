//! What a kernel file is, told from its bytes and never from its name.

use serde::{Deserialize, Serialize};

use crate::arch::Arch;

/// How a monitor hands control and the command line to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootProtocol {
    /// x86 Multiboot 1, QEMU's `-kernel`: QEMU prepends the kernel's path to the line.
    Multiboot,
    /// The arm64 `Image` header on QEMU's `virt`: nothing is prepended.
    Arm64Image,
    /// The x86 Linux `bzImage`: nothing is prepended, there is no program name.
    LinuxBzImage,
    /// A 64-bit ELF entered by the Linux 64-bit protocol (Firecracker): nothing is prepended.
    Linux64,
}

/// A kernel, recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KernelImage {
    /// The processor it is for.
    pub arch: Arch,
    /// How it is booted.
    pub boot: BootProtocol,
    /// Whether it carries the marks of a Unikraft kernel.
    pub unikraft: bool,
}
