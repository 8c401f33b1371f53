//! Boards and processors of machines that the host's hypervisor runs: KVM on Linux, the Hypervisor framework on macOS. The
//! trial guest uses the same.

/// An interrupt controller of another generation than the host's does not work under KVM.
#[cfg(target_os = "linux")]
mod names {
    pub(in super::super) const X86_BOARD: &str = "pc,accel=kvm";
    pub(in super::super) const X86_CPU: &str = "host,+x2apic,-pmu";
    pub(in super::super) const ARM_BOARD: &str = "virt,accel=kvm,gic-version=host";
    pub(in super::super) const MICROVM: &str = "microvm,accel=kvm,pit=on,pic=on,rtc=on,acpi=off";
}

#[cfg(not(target_os = "linux"))]
mod names {
    pub(in super::super) const X86_BOARD: &str = "pc,accel=hvf";
    pub(in super::super) const X86_CPU: &str = "host";
    pub(in super::super) const ARM_BOARD: &str = "virt,accel=hvf";
    pub(in super::super) const MICROVM: &str = "microvm,accel=hvf,pit=on,pic=on,rtc=on,acpi=off";
}

pub(super) use names::{ARM_BOARD, MICROVM, X86_BOARD, X86_CPU};

pub(super) const ARM_CPU: &str = "host";
