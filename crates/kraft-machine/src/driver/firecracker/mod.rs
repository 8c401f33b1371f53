//! Firecracker, 1.4 and newer.
//!
//! ```text
//! control.sock ◄── the API: PUT /boot-source, … /actions; PATCH /vm     from the monitor, pause, stop
//! console/pipe ◄── serial port ◄── console/input
//! vmm.log      ◄── its log
//! events.out   ◄── written by kraft: Firecracker reports no events
//! ```
//!
//! It is started without a machine, configured by one request per resource, and starts the guest when
//! asked. Its end follows from its exit status and its log.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use kraft_core::arch::Arch;
use kraft_core::host::{Kvm, Limits};
use kraft_core::kernel::BootProtocol;
use kraft_core::machine::{MachineSpec, MachineState};
use kraft_core::platform::Platform;
use kraft_sys::fs;

use crate::driver::{
    Action, BootError, Capabilities, Conditions, ControlError, Driver, Exited, Installed, Launch,
    Origin, ProgramError, Restored, SavedError, Vmm,
};
use crate::event_log::EventLog;
use crate::id::Id;
use crate::layout::MachineDir;
use crate::record::Ending;

mod api;
mod argv;
mod boot;
mod control;
mod ending;
mod events;
mod faults;
mod jail;
mod memory;
mod probe;
mod program;
mod request;
mod saved;

/// The driver for Firecracker.
#[derive(Clone, Copy, Debug)]
pub struct Firecracker;

impl Driver for Firecracker {
    fn platform(&self) -> Platform {
        Platform::Firecracker
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // It enters any ELF file at its 64-bit entry, unless that has a PVH note.
            boots: &[BootProtocol::Linux64, BootProtocol::Pvh],
            pause: true,
            event_log: false,
            ipv6_ports: true,
            // It has handlers for these signals that end it.
            survives_writes: false,
            opens_cards: true,
            limits: Limits {
                needs_kvm: true,
                ports_need_network: true,
                no_volumes: true,
                // It opens all its cards in the one namespace that it runs in.
                networks: Some(1),
                cpus: Some(boot::MOST_CPUS),
                line: Some(boot::LONGEST_LINE),
            },
        }
    }

    fn program(&self, _: Arch, configured: Option<&str>) -> Vec<String> {
        program::program(configured)
    }

    fn origin(&self, _: Arch) -> Origin {
        program::ORIGIN
    }

    fn find(&self, _: Arch, configured: Option<&str>) -> Result<Installed, ProgramError> {
        program::find(configured)
    }

    fn probe(&self, arch: Arch, configured: Option<&str>, runtime_dir: &Path) -> Kvm {
        probe::cached(program::program(configured), arch, runtime_dir)
    }

    fn prepare(&self, dir: &MachineDir, spec: &MachineSpec) -> Result<(), fs::Error> {
        // It leaves its socket behind, and refuses one that exists.
        fs::remove_file(&dir.control())?;
        jail::empty(dir)?;
        fs::replace_link(&dir.kernel(), &spec.kernel)?;
        if let Some(initrd) = &spec.initrd {
            fs::replace_link(&dir.initrd(), initrd)?;
        }
        Ok(())
    }

    fn command_line(&self, launch: &Launch<'_>) -> Vec<OsString> {
        argv::argv(launch)
    }

    fn boot(&self, vmm: &Vmm<'_>, launch: &Launch<'_>, deadline: Instant) -> Result<(), BootError> {
        boot::boot(vmm, launch, deadline)
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

    fn control(&self, vmm: &Vmm<'_>, action: Action, limit: Duration) -> Result<(), ControlError> {
        control::control(vmm.dir, action, limit)
    }

    fn save(&self, vmm: &Vmm<'_>, to: &Path, limit: Duration) -> Result<Conditions, SavedError> {
        saved::save(vmm, to, limit)
    }

    fn restore<'a>(
        &self,
        vmm: &Vmm<'a>,
        launch: &Launch<'_>,
        _: &[u8],
        limit: Duration,
    ) -> Result<Box<dyn Restored + 'a>, SavedError> {
        let restored = saved::restore(vmm, launch, limit)?;
        Ok(Box::new(restored))
    }

    fn ending(&self, exited: &Exited<'_>) -> Option<Ending> {
        ending::ending(exited)
    }
}
