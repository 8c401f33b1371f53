//! A machine's specification → QEMU's command line. Pure.
//!
//! Lean on purpose: no default device, no user configuration, no network card unless a port leads
//! to it, no option ROMs. Every file is named relative to the machine's directory: the names are
//! short, free of commas and blanks, and the same for every machine.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use kraft_core::arch::Arch;
use kraft_core::machine::{Acceleration, MachineSpec};
use kraft_core::mount::{self, Volume};
use kraft_core::port::PortMapping;
use kraft_core::quantity::MIB;

use crate::driver::Launch;
use crate::driver::qemu::FAST_FIRMWARE;
use crate::id::Id;

/// Returns QEMU's command line, its program first.
pub fn argv(launch: &Launch<'_>) -> Vec<OsString> {
    let spec = launch.spec;
    let mut line = Line(launch.program.iter().map(OsString::from).collect());
    line.option("-name", launch.id.to_string());
    line.flag("-no-user-config");
    line.flag("-nodefaults");
    // A guest that resets itself ends: a crash is to be seen, not repeated for ever.
    line.flag("-no-reboot");
    line.option("-display", "none");
    processor(&mut line, spec);
    line.option("-m", format!("size={}M", spec.memory / MIB));
    line.option("-smp", format!("cpus={0},threads=1,sockets={0}", spec.cpus));
    line.option("-rtc", "base=utc");
    channels(&mut line);
    for (index, volume) in spec.volumes.iter().enumerate() {
        share(&mut line, &mount::tag(index), volume);
    }
    network(&mut line, launch.id, launch.ports);
    if launch.fast_firmware {
        line.option("-bios", FAST_FIRMWARE);
    }
    line.option("-kernel", "kernel");
    if spec.initrd.is_some() {
        line.option("-initrd", "initrd");
    }
    if !launch.line.is_empty() {
        line.option("-append", launch.line);
    }
    line.0
}

/// A command line that grows.
struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }
}

/// The board, the processor and how its instructions are executed.
fn processor(line: &mut Line, spec: &MachineSpec) {
    let accel = match spec.acceleration {
        Acceleration::Kvm => "kvm",
        Acceleration::Tcg => "tcg",
    };
    let board = match spec.arch {
        Arch::X86_64 => "pc",
        Arch::Arm64 | Arch::Arm => "virt",
    };
    let cpu = match (spec.arch, spec.acceleration) {
        (Arch::X86_64, Acceleration::Kvm) => KVM_X86_CPU,
        (Arch::Arm64 | Arch::Arm, Acceleration::Kvm) => "host",
        // All that the translator knows, RDRAND and (from QEMU 8) RDSEED among it, which
        // Unikraft wants; no version of QEMU warns about features it lacks.
        (_, Acceleration::Tcg) => "max",
    };
    line.option("-machine", format!("{board},accel={accel}"));
    line.option("-cpu", cpu);
    if spec.arch == Arch::X86_64 {
        // Lets the guest say that it panicked.
        line.option("-device", "pvpanic");
    }
}

/// The processor of a machine under KVM on `x86_64`; the probe uses the same.
pub(crate) const KVM_X86_CPU: &str = "host,+x2apic,-pmu";

/// The console, the diary and the ear.
fn channels(line: &mut Line) {
    // Appending lets a console be truncated while the guest writes to it.
    line.option("-chardev", "file,id=console,path=console.log,append=on");
    line.option("-serial", "chardev:console");
    line.option("-chardev", "pipe,id=diary,path=diary");
    line.option("-mon", "chardev=diary,mode=control");
    line.option(
        "-chardev",
        "socket,id=control,path=control.sock,server=on,wait=off",
    );
    line.option("-mon", "chardev=control,mode=control");
}

/// A directory of the host, which the guest knows by its tag.
fn share(line: &mut Line, tag: &str, volume: &Volume) {
    // `none` does what `passthrough` does, and lets a user who may not give files away use it.
    // Directories on other file systems inside it get distinct inode numbers by `remap`.
    let mut fsdev = OsString::from(format!("local,id={tag},path="));
    fsdev.push(escaped(&volume.source));
    fsdev.push(",security_model=none,multidevs=remap");
    if volume.read_only {
        fsdev.push(",readonly=on");
    }
    line.option("-fsdev", fsdev);
    line.option(
        "-device",
        format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    );
}

/// One card with all ports on it, or none.
fn network(line: &mut Line, id: Id, ports: &[PortMapping]) {
    if ports.is_empty() {
        return;
    }
    let mut netdev = "user,id=net0".to_owned();
    for port in ports {
        let PortMapping {
            host_ip,
            host_port,
            machine_port,
            protocol,
        } = port;
        let host = match host_ip {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            netdev,
            ",hostfwd={protocol}:{host}:{host_port}-:{machine_port}"
        );
    }
    line.option("-netdev", netdev);
    let [a, b, _] = id.salt();
    // KraftKit's prefix; an empty ROM file: nothing boots from this card.
    line.option(
        "-device",
        format!("virtio-net-pci,netdev=net0,mac=02:b0:b0:{a:02x}:{b:02x}:01,romfile="),
    );
}

/// Doubles the commas of a path, as QEMU's option parser wants it.
fn escaped(path: &Path) -> OsString {
    let mut bytes = Vec::with_capacity(path.as_os_str().len());
    for &byte in OsStr::as_bytes(path.as_os_str()) {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}
