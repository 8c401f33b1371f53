//! Drivers: how each VMM is told what to run. One module each; what differs between them is one
//! `match` here.

use std::ffi::OsString;

use kraft_core::machine::MachineSpec;
use kraft_core::platform::Platform;
use kraft_core::port::PortMapping;

use crate::id::Id;

pub mod qemu;

/// Everything the line of a VMM is made of.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// The machine's identity; the VMM carries it among its words, so that its process is known.
    pub id: Id,
    /// The machine.
    pub spec: &'a MachineSpec,
    /// The boot line, as the kernel is to receive it.
    pub line: &'a str,
    /// The ports, none of them open any more.
    pub ports: &'a [PortMapping],
    /// The VMM's program, and arguments that go before all others.
    pub program: &'a [String],
    /// Whether the VMM has a firmware faster than its usual one.
    pub fast_firmware: bool,
    /// Whether the VMM gives up the system calls that it does not need.
    pub sandbox: bool,
}

/// No driver for this platform yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no driver for the platform `{0}`: machines run on qemu only")]
pub struct NoDriver(pub Platform);

/// Returns the VMM's program for a machine; `given` overrides it and may hold arguments.
pub fn program(spec: &MachineSpec, given: Option<&str>) -> Result<Vec<String>, NoDriver> {
    match spec.platform {
        Platform::Qemu => Ok(qemu::program(spec.arch, given)),
        platform @ (Platform::Firecracker | Platform::Xen) => Err(NoDriver(platform)),
    }
}

/// Returns the VMM's command line, its program first. Relative names in it mean files in the
/// machine's directory, where it is run.
pub fn argv(launch: &Launch<'_>) -> Result<Vec<OsString>, NoDriver> {
    match launch.spec.platform {
        Platform::Qemu => Ok(qemu::argv(launch)),
        platform @ (Platform::Firecracker | Platform::Xen) => Err(NoDriver(platform)),
    }
}

/// Returns whether a VMM can give up the system calls that it does not need, as far as its
/// arguments tell.
pub fn may_be_sandboxed(spec: &MachineSpec, program: &[String]) -> bool {
    match spec.platform {
        Platform::Qemu => qemu::may_be_sandboxed(program),
        Platform::Firecracker | Platform::Xen => false,
    }
}

/// Tells whether a VMM brings a firmware faster than its usual one that the machine can use.
pub fn has_fast_firmware(spec: &MachineSpec, program: &[String]) -> bool {
    match spec.platform {
        Platform::Qemu => qemu::has_fast_firmware(spec.boot, program),
        Platform::Firecracker | Platform::Xen => false,
    }
}
