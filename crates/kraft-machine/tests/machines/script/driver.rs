//! A driver for a VMM that is a shell script.
//!
//! It shows all that a driver needs, and has nothing in common with QEMU's: the console is stdout,
//! commands go through a named pipe, events are words.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_core::host::{Kvm, Limits};
use kraft_core::kernel::BootProtocol;
use kraft_core::machine::{EndReason, MachineSpec, MachineState};
use kraft_core::platform::Platform;
use kraft_machine::driver::{
    self, Action, Capabilities, ControlError, Driver, Installed, Launch, Origin, ProgramError, Vmm,
};
use kraft_machine::{EventLog, Id, MachineDir, StateChange, VmmEvent};
use kraft_sys::fs;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

/// The built-in drivers, and scripts for the platforms that have none: one that can be paused, and
/// one that cannot.
pub(crate) fn registry(platform: Platform) -> Option<&'static dyn Driver> {
    match platform {
        Platform::Qemu => driver::built_in(platform),
        Platform::Firecracker => Some(&Script { pause: false }),
        Platform::Xen => Some(&Script { pause: true }),
    }
}

#[derive(Debug)]
struct Script {
    pause: bool,
}

impl Driver for Script {
    fn platform(&self) -> Platform {
        if self.pause {
            Platform::Xen
        } else {
            Platform::Firecracker
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            boots: &[BootProtocol::Linux64],
            pause: self.pause,
            event_log: true,
            ipv6_ports: true,
            survives_writes: true,
            opens_cards: false,
            limits: Limits::default(),
        }
    }

    fn program(&self, _: Arch, configured: Option<&str>) -> Vec<String> {
        let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/machines/script/vmm.sh");
        vec![configured.unwrap_or(usual).to_owned()]
    }

    fn origin(&self, _: Arch) -> Origin {
        Origin::Package("script")
    }

    fn find(&self, arch: Arch, configured: Option<&str>) -> Result<Installed, ProgramError> {
        let program = self.program(arch, configured).concat();
        if !Path::new(&program).is_file() {
            return Err(ProgramError::NotFound {
                program,
                origin: self.origin(arch),
            });
        }
        Ok(Installed {
            program: program.into(),
            version: "1".to_owned(),
            limitation: None,
        })
    }

    fn probe(&self, _: Arch, _: Option<&str>, _: &Path) -> Kvm {
        Kvm::Unusable {
            reason: "a script needs no KVM".to_owned(),
            cure: None,
        }
    }

    fn prepare(&self, dir: &MachineDir, _: &MachineSpec) -> Result<(), fs::Error> {
        let pipe = dir.path().join("commands");
        fs::remove_file(&pipe)?;
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .map_err(|e| fs::Error::on("create", &pipe)(e.into()))
    }

    fn command_line(&self, launch: &Launch<'_>) -> Vec<OsString> {
        let mut line: Vec<OsString> = launch.program.iter().map(OsString::from).collect();
        line.push("--machine".into());
        line.push(launch.id.to_string().into());
        line.extend(launch.spec.args.iter().map(OsString::from));
        line
    }

    fn is_vmm(&self, argv: &[Vec<u8>], id: Id) -> bool {
        let id = id.to_string();
        argv.windows(2)
            .any(|pair| pair == [b"--machine".to_vec(), id.clone().into_bytes()])
    }

    fn parse_event(&self, line: &[u8], log: &mut EventLog) {
        let Some((at, event)) = std::str::from_utf8(line)
            .ok()
            .filter(|line| line.ends_with('\n'))
            .and_then(|line| line.trim_end().split_once(' '))
        else {
            return;
        };
        let Some(at) = at.parse().ok().and_then(|s| Timestamp::from_second(s).ok()) else {
            return;
        };
        let event = match event.split_once(' ').unwrap_or((event, "")) {
            ("ready", _) => return log.set_ready(),
            ("paused", _) => VmmEvent::Change(StateChange::Paused),
            ("resumed", _) => VmmEvent::Change(StateChange::Resumed),
            ("panic", _) => VmmEvent::Panicked,
            ("stopped", _) => VmmEvent::Ended(EndReason::Stopped),
            ("off", "0") => VmmEvent::Ended(EndReason::PoweredOff),
            ("off", status) => match status.parse() {
                Ok(code) => VmmEvent::Ended(EndReason::Exited { code }),
                Err(_) => return,
            },
            _ => return,
        };
        log.record(at, event);
    }

    fn query_state(&self, _: &Vmm<'_>, _: Duration) -> Option<MachineState> {
        None
    }

    fn control(&self, vmm: &Vmm<'_>, action: Action, _: Duration) -> Result<(), ControlError> {
        let send = || {
            let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
            OpenOptions::new()
                .write(true)
                .custom_flags(nonblocking)
                .open(vmm.dir.path().join("commands"))?
                .write_all(format!("{action}\n").as_bytes())
        };
        send().map_err(|error| ControlError::Vmm(error.into()))
    }
}
