//! QEMU, 4.2 and newer.
//!
//! ```text
//! events.in ─► QMP monitor ──► events.out      the handshake in, events out
//! control.sock ◄─► QMP monitor                commands: stop, cont, quit, query-status
//! console/pipe ◄── serial port ◄── console/input
//! ```

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use kraft_core::arch::Arch;
use kraft_core::host::{Kvm, Limits};
use kraft_core::kernel::BootProtocol;
use kraft_core::machine::{MachineSpec, MachineState};
use kraft_core::platform::Platform;
use kraft_sys::environment::Inherit;
use kraft_sys::fs;

use crate::driver::{
    Action, Capabilities, Conditions, ControlError, Driver, Exited, GuestTimes, Installed, Launch,
    Origin, ProgramError, Restored, SavedError, Vmm,
};
use crate::event_log::EventLog;
use crate::id::Id;
use crate::layout::MachineDir;
use crate::record::Ending;

mod argv;
mod control;
mod ending;
mod events;
mod firmware;
mod hypervisor;
mod microvm;
mod probe;
mod profile;
mod program;
mod qmp;
mod saved;
mod stream;

/// The driver for QEMU.
#[derive(Clone, Copy, Debug)]
pub struct Qemu;

impl Driver for Qemu {
    fn platform(&self) -> Platform {
        Platform::Qemu
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            boots: &[
                BootProtocol::Multiboot,
                BootProtocol::Arm64Image,
                BootProtocol::LinuxBzImage,
                BootProtocol::Pvh,
                // On its machine `microvm`, by a loader.
                BootProtocol::Linux64,
            ],
            pause: true,
            event_log: true,
            // The user-mode network forwards from IPv4 addresses only.
            ipv6_ports: false,
            survives_writes: true,
            opens_cards: false,
            limits: Limits::default(),
        }
    }

    fn program(&self, arch: Arch, configured: Option<&str>) -> Vec<String> {
        program::program(arch, configured)
    }

    fn origin(&self, arch: Arch) -> Origin {
        program::origin(arch)
    }

    fn find(&self, arch: Arch, configured: Option<&str>) -> Result<Installed, ProgramError> {
        program::find(arch, configured)
    }

    fn probe(&self, arch: Arch, configured: Option<&str>, runtime_dir: &Path) -> Kvm {
        probe::cached(program::program(arch, configured), arch, runtime_dir)
    }

    fn prepare(&self, dir: &MachineDir, spec: &MachineSpec) -> Result<(), fs::Error> {
        prepare(dir, spec, events::HANDSHAKE)
    }

    fn prepare_restore(&self, dir: &MachineDir, spec: &MachineSpec) -> Result<(), fs::Error> {
        prepare(dir, spec, events::HANDSHAKE_PAUSED)
    }

    fn save(&self, vmm: &Vmm<'_>, to: &Path, limit: Duration) -> Result<Conditions, SavedError> {
        saved::save(vmm, to, limit)
    }

    fn restore<'a>(
        &self,
        vmm: &Vmm<'a>,
        launch: &Launch<'_>,
        state: &[u8],
        limit: Duration,
    ) -> Result<Box<dyn Restored + 'a>, SavedError> {
        let restored = saved::restore(vmm, launch, state, limit)?;
        Ok(Box::new(restored))
    }

    fn command_line(&self, launch: &Launch<'_>) -> Vec<OsString> {
        let fast_firmware = program::has_fast_firmware(launch.spec, launch.program);
        // The files of a preview may not exist.
        let loader = microvm::loader(launch.spec, launch.kernel_line)
            .ok()
            .flatten();
        argv::argv(launch, fast_firmware, loader.as_ref())
    }

    fn is_vmm(&self, argv: &[Vec<u8>], id: Id) -> bool {
        argv::is_vmm(argv, id)
    }

    fn parse_event(&self, line: &[u8], log: &mut EventLog) {
        events::parse(line, log);
    }

    fn query_state(&self, vmm: &Vmm<'_>, limit: Duration) -> Option<MachineState> {
        control::query_state(vmm.dir, limit)
    }

    fn has_accepted(&self, vmm: &Vmm<'_>, port: u16, limit: Duration) -> Option<bool> {
        control::has_accepted(vmm.dir, port, limit)
    }

    fn control(&self, vmm: &Vmm<'_>, action: Action, limit: Duration) -> Result<(), ControlError> {
        control::control(vmm.dir, action, limit).map_err(|error| ControlError::Vmm(error.into()))
    }

    fn environment(&self) -> Inherit {
        Inherit::Only(&["QEMU_*", "G_*"])
    }

    fn can_be_sandboxed(&self, program: &[String]) -> bool {
        program::can_be_sandboxed(program)
    }

    fn refused_sandbox(&self, log: &str) -> bool {
        program::refused_sandbox(log)
    }

    fn refused_small_board(&self, log: &str) -> bool {
        argv::refused_small_board(log)
    }

    fn boot_times(&self, dir: &MachineDir, arch: Arch) -> GuestTimes {
        profile::boot_times(dir, arch)
    }

    fn ending(&self, exited: &Exited<'_>) -> Option<Ending> {
        ending::ending(exited)
    }

    fn guest_output(&self, arch: Arch, first: &[u8], complete: bool) -> Option<usize> {
        firmware::guest_output(arch, first, complete)
    }
}

/// Writes the files that QEMU reads.
fn prepare(dir: &MachineDir, spec: &MachineSpec, handshake: &[u8]) -> Result<(), fs::Error> {
    fs::remove_file(&dir.control())?;
    fs::remove_file(&profile::trace(dir))?;
    fs::overwrite(&dir.events_input(), handshake)?;
    // Links, so that neither QEMU nor the guest gets a path with commas or blanks.
    fs::replace_link(&dir.kernel(), &spec.kernel)?;
    if let Some(initrd) = &spec.initrd {
        fs::replace_link(&dir.initrd(), initrd)?;
    }
    microvm::prepare(dir, spec)
}
