//! A machine's specification → QEMU's command line. Pure.
//!
//! Minimal on purpose: no default devices, no user configuration, no network card unless a port is
//! published, no option ROMs. Every file is relative to the machine's directory: the names are
//! short, free of commas and blanks, and the same for every machine.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use kraft_core::arch::Arch;
use kraft_core::kernel::linux64::Loader;
use kraft_core::kernel::{BootProtocol, Guest};
use kraft_core::machine::{Acceleration, MachineSpec};
use kraft_core::mount::{self, Volume};
use kraft_core::net::Interface;
use kraft_core::port::PortMapping;
use kraft_core::quantity::MIB;

use super::program::FAST_FIRMWARE;
use super::saved::block;
use super::{hypervisor, microvm, profile};
use crate::driver::{Launch, Saved};
use crate::id::Id;

/// Returns QEMU's command line, its program first. `loader` is for kernels that are built for
/// Firecracker; without one, its addresses are left out.
pub(super) fn argv(
    launch: &Launch<'_>,
    fast_firmware: bool,
    loader: Option<&Loader>,
) -> Vec<OsString> {
    let spec = launch.spec;
    let mut line = Line(launch.program.iter().map(OsString::from).collect());
    // Its threads get names of their own.
    line.option(NAME, format!("{},debug-threads=on", launch.id));
    line.flag("-no-user-config");
    line.flag("-nodefaults");
    // A reset ends the guest: a crash must be seen, not repeated for ever.
    line.flag("-no-reboot");
    // Paused until the handshake of the event log resumes it.
    line.flag("-S");
    if launch.profile {
        profile::options(|option, value| line.option(option, value));
    }
    line.option("-display", "none");
    if launch.extras.sandbox {
        line.option("-sandbox", SANDBOX);
    }
    let small = match launch.saved {
        Some(saved) => saved.conditions.board.starts_with("microvm"),
        None => has_small_board(launch, fast_firmware),
    };
    let bus = if small || spec.boot == BootProtocol::Linux64 {
        Bus::Memory
    } else {
        Bus::Pci
    };
    processor(&mut line, spec, bus, launch.saved);
    line.option("-m", format!("size={}M", spec.memory / MIB));
    if let Some(saved) = launch.saved {
        restored_memory(&mut line, spec, saved);
    }
    line.option("-smp", format!("cpus={0},threads=1,sockets={0}", spec.cpus));
    line.option("-rtc", "base=utc");
    channels(&mut line, launch.events);
    for (index, volume) in spec.volumes.iter().enumerate() {
        share(&mut line, bus, &mount::tag(index), volume);
    }
    if spec.networks.is_empty() {
        user_network(&mut line, bus, launch);
    }
    for (index, interface) in spec.networks.iter().enumerate() {
        // A preview has no open files; the first would have this number.
        let first = 3 + i32::try_from(index).unwrap_or_default();
        let tap = launch.cards.get(index).map_or(first, |card| card.file);
        card(&mut line, bus, index, interface, tap);
    }
    if spec.boot == BootProtocol::Linux64 {
        microvm::boot(&mut line.0, loader);
        return line.0;
    }
    if fast_firmware {
        line.option("-bios", FAST_FIRMWARE);
    }
    line.option("-kernel", "kernel");
    // A guest that is restored has read it.
    if spec.initrd.is_some() && launch.saved.is_none() {
        line.option("-initrd", "initrd");
    }
    if !launch.kernel_line.is_empty() {
        line.option("-append", launch.kernel_line);
    }
    line.0
}

/// The option by which a process is recognised.
const NAME: &str = "-name";

/// Returns whether the arguments of a process are those of QEMU for this machine: `… -name ID …`, with
/// or without more behind a comma.
pub(super) fn is_vmm(argv: &[Vec<u8>], id: Id) -> bool {
    let id = id.to_string();
    argv.windows(2).any(|window| match window {
        [option, value] => {
            let name = value.split(|byte| *byte == b',').next();
            option == NAME.as_bytes() && name == Some(id.as_bytes())
        }
        _ => false,
    })
}

/// A command line under construction.
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

/// What devices are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bus {
    Pci,
    /// None: the command line of the kernel has their addresses (`microvm`).
    Memory,
}

impl Bus {
    /// Returns the name of a virtio device for it.
    fn device(self, kind: &str) -> String {
        match self {
            Self::Pci => format!("virtio-{kind}-pci"),
            Self::Memory => format!("virtio-{kind}-device"),
        }
    }

    /// Returns an option of a card: no ROM file, because nothing boots from it.
    fn no_rom(self) -> &'static str {
        match self {
            Self::Pci => ",romfile=",
            Self::Memory => "",
        }
    }
}

/// Returns whether a machine has QEMU's smallest board, which starts faster: only one with the
/// built-in runtime, which finds its devices there, and where every instruction is translated.
fn has_small_board(launch: &Launch<'_>, fast_firmware: bool) -> bool {
    let spec = launch.spec;
    let devices = spec.networks.len().max(1) + spec.volumes.len();
    launch.extras.small_board
        && fast_firmware
        && spec.guest == Guest::Runtime
        && spec.boot == BootProtocol::Pvh
        && spec.acceleration == Acceleration::Tcg
        && devices <= PLACES
}

/// The number of devices that the small board has places for.
const PLACES: usize = 8;

/// Returns whether QEMU's log says that it has no small board.
pub(super) fn refused_small_board(log: &str) -> bool {
    log.contains("unsupported machine type") && log.contains("microvm")
}

/// The board, the processor and how instructions are executed.
fn processor(line: &mut Line, spec: &MachineSpec, bus: Bus, saved: Option<&Saved>) {
    let board = match (bus, spec.arch, spec.acceleration) {
        (Bus::Memory, Arch::X86_64, Acceleration::Kvm) => hypervisor::MICROVM,
        (Bus::Memory, Arch::X86_64, Acceleration::Tcg) => microvm::TCG_BOARD,
        (Bus::Pci, Arch::X86_64, Acceleration::Kvm) => hypervisor::X86_BOARD,
        (Bus::Pci, Arch::X86_64, Acceleration::Tcg) => "pc,accel=tcg",
        (_, Arch::Arm64 | Arch::Arm, Acceleration::Kvm) => hypervisor::ARM_BOARD,
        (_, Arch::Arm64 | Arch::Arm, Acceleration::Tcg) => "virt,accel=tcg",
    };
    let cpu = match (spec.arch, spec.acceleration) {
        (Arch::X86_64, Acceleration::Kvm) => hypervisor::X86_CPU,
        (Arch::Arm64 | Arch::Arm, Acceleration::Kvm) => hypervisor::ARM_CPU,
        // All that the translator knows, including RDRAND and (from QEMU 8) RDSEED, which
        // Unikraft needs; no version of QEMU warns about features it lacks.
        (_, Acceleration::Tcg) => "max",
    };
    // The built-in runtime reads no ACPI tables: neither QEMU nor the firmware has to make any.
    let is_runtime = spec.guest == Guest::Runtime && spec.arch == Arch::X86_64;
    let acpi = match bus {
        Bus::Pci if is_runtime => ",acpi=off",
        Bus::Pci | Bus::Memory => "",
    };
    let machine = format!("{board}{acpi}");
    line.option(
        "-machine",
        match saved {
            None => machine,
            Some(saved) => {
                // The same version of the board, which newer versions of QEMU have as well.
                let (_, options) = machine.split_once(',').unwrap_or_default();
                let version = &saved.conditions.board;
                format!("{version},{options},memory-backend={}", block(version))
            }
        },
    );
    line.option("-cpu", cpu);
    if spec.boot == BootProtocol::Linux64 {
        // A kernel for Firecracker powers off by the reset line of the keyboard controller.
        line.option("-device", "isa-debug-exit,iobase=0x64,iosize=1");
    } else if spec.arch == Arch::X86_64 {
        // Allows the guest to report a panic.
        line.option("-device", "pvpanic");
        // Allows it to end with an exit status. Not at QEMU's default port: Unikraft writes other
        // numbers there, also when it crashes.
        line.option("-device", "isa-debug-exit,iobase=0xf4,iosize=4");
    }
}

/// The memory of a guest that is restored: a file that is mapped privately, under the name that it
/// has without one.
fn restored_memory(line: &mut Line, spec: &MachineSpec, saved: &Saved) {
    let (id, size) = (block(&saved.conditions.board), spec.memory / MIB);
    let mut object = OsString::from(format!(
        "memory-backend-file,id={id},size={size}M,share=off,\
         x-use-canonical-path-for-ramblock-id=off,mem-path="
    ));
    object.push(escaped(&saved.dir.join(Saved::MEMORY)));
    line.option("-object", object);
    line.option("-incoming", "defer");
}

/// What QEMU's sandbox denies: obsolete system calls, other privileges, other programs, priorities.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The console, the event log and the control socket.
fn channels(line: &mut Line, events: &str) {
    // Named pipes: without a reader the guest's output is dropped.
    line.option("-chardev", "stdio,id=console,signal=off");
    line.option("-serial", "chardev:console");
    line.option("-chardev", format!("pipe,id=events,path={events}"));
    line.option("-mon", "chardev=events,mode=control");
    line.option(
        "-chardev",
        "socket,id=control,path=control.sock,server=on,wait=off",
    );
    line.option("-mon", "chardev=control,mode=control");
}

/// A shared directory of the host, which the guest mounts by its tag.
fn share(line: &mut Line, bus: Bus, tag: &str, volume: &Volume) {
    // `none` is `passthrough` without the right to change the owners of files.
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
        format!("{},fsdev={tag},mount_tag={tag}", bus.device("9p")),
    );
}

/// The card of a network: its packets are read from and written to an open file.
fn card(line: &mut Line, bus: Bus, index: usize, interface: &Interface, tap: i32) {
    line.option("-netdev", format!("tap,id=net{index},fd={tap}"));
    let mut device = format!("{},netdev=net{index}", bus.device("net"));
    if let Some(mac) = interface.mac {
        // Writing to a string cannot fail.
        let _ = write!(device, ",mac={mac}");
    }
    device.push_str(bus.no_rom());
    line.option("-device", device);
}

/// The name of user networking.
pub(super) const USER_NETWORK: &str = "net0";

/// Returns the rule by which user networking forwards a port.
pub(super) fn forwarded(port: &PortMapping) -> String {
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
    format!("{protocol}:{host}:{host_port}-:{machine_port}")
}

/// One network card with all ports, or none.
///
/// The ports of a guest that is restored are opened afterwards: a connection while it is restored
/// leaves QEMU's user networking without an answer for ever.
fn user_network(line: &mut Line, bus: Bus, launch: &Launch<'_>) {
    if launch.ports.is_empty() {
        return;
    }
    let mut netdev = format!("user,id={USER_NETWORK}");
    if launch.saved.is_none() {
        for port in launch.ports {
            netdev.push_str(",hostfwd=");
            netdev.push_str(&forwarded(port));
        }
    }
    line.option("-netdev", netdev);
    let (card, no_rom) = (bus.device("net"), bus.no_rom());
    line.option(
        "-device",
        format!(
            "{card},netdev={USER_NETWORK},mac={}{no_rom}",
            launch.id.card()
        ),
    );
}

/// A command line that QEMU was started with.
pub(super) struct Words(Vec<String>);

impl Words {
    /// Takes the arguments of a process.
    pub(super) fn of(argv: Vec<Vec<u8>>) -> Self {
        let text = |word: Vec<u8>| String::from_utf8_lossy(&word).into_owned();
        Self(argv.into_iter().map(text).collect())
    }

    /// Returns the values of an option.
    fn values<'a>(&'a self, option: &'static str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.windows(2);
        pairs.filter_map(move |pair| match pair {
            [name, value] => (name == option).then_some(value.as_str()),
            _ => None,
        })
    }

    /// Returns the last value of an option, which counts.
    pub(super) fn value(&self, option: &'static str) -> Option<&str> {
        self.values(option).last()
    }

    /// Returns the kinds of the devices and of what they are connected to, in order, and the
    /// firmware.
    pub(super) fn devices(&self) -> Vec<String> {
        let kind = |value: &str| value.split(',').next().unwrap_or_default().to_owned();
        let netdevs = self
            .values("-netdev")
            .map(|value| format!("netdev {}", kind(value)));
        let devices = self.values("-device").map(kind);
        let firmware = self
            .values("-bios")
            .map(|value| format!("firmware {value}"));
        netdevs.chain(devices).chain(firmware).collect()
    }
}

/// Doubles the commas of a path, as QEMU's option parser requires.
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

#[cfg(test)]
mod tests {
    use kraft_core::port::Protocol;

    use super::*;
    use crate::driver::{Conditions, Extras};

    fn spec(arch: Arch, boot: BootProtocol) -> MachineSpec {
        MachineSpec {
            arch,
            boot,
            ..crate::testing::spec()
        }
    }

    /// Returns the command line with one option per line.
    fn shown(spec: &MachineSpec, line: &str, fast_firmware: bool) -> String {
        let launch = Launch {
            id: "6fa459ea-ee8a-4ca4-894e-db77e160355e".parse().unwrap(),
            spec,
            kernel_line: line,
            events: "events",
            ports: &spec.ports,
            cards: &[],
            program: &["qemu".to_owned(), "-L".to_owned(), "/opt".to_owned()],
            extras: Extras {
                sandbox: spec.boot == BootProtocol::LinuxBzImage,
                small_board: spec.boot == BootProtocol::Pvh,
            },
            saved: None,
            profile: false,
        };
        let words = argv(&launch, fast_firmware, None);
        let mut text = String::new();
        for word in words {
            let word = word.to_string_lossy().into_owned();
            text.push_str(if word.starts_with('-') { "\n" } else { " " });
            text.push_str(&word);
        }
        text.trim().to_owned()
    }

    #[test]
    fn the_simplest_machine_has_only_what_it_needs() {
        let spec = spec(Arch::X86_64, BootProtocol::Multiboot);
        insta::assert_snapshot!(shown(&spec, "", false), @"
        qemu
        -L /opt
        -name 6fa459ea-ee8a-4ca4-894e-db77e160355e,debug-threads=on
        -no-user-config
        -nodefaults
        -no-reboot
        -S
        -display none
        -machine pc,accel=tcg
        -cpu max
        -device pvpanic
        -device isa-debug-exit,iobase=0xf4,iosize=4
        -m size=64M
        -smp cpus=1,threads=1,sockets=1
        -rtc base=utc
        -chardev stdio,id=console,signal=off
        -serial chardev:console
        -chardev pipe,id=events,path=events
        -mon chardev=events,mode=control
        -chardev socket,id=control,path=control.sock,server=on,wait=off
        -mon chardev=control,mode=control
        -kernel kernel
        ");
    }

    #[test]
    fn the_built_in_runtime_has_the_small_board_where_its_devices_fit() {
        let mut runtime = spec(Arch::X86_64, BootProtocol::Pvh);
        runtime.guest = Guest::Runtime;
        let volume = Volume {
            name: None,
            source: "/a".into(),
            destination: "/data".to_owned(),
            read_only: false,
        };
        runtime.volumes = vec![volume.clone(); 7];
        runtime.ports = kraft_core::port::parse("8080:80").unwrap();
        let devices = |line: &str| {
            let lines = line.lines();
            let shown =
                lines.filter(|line| line.starts_with("-machine") || line.contains("virtio"));
            let mut shown: Vec<String> = shown.map(str::to_owned).collect();
            shown.dedup_by_key(|line| line.replace(char::is_numeric, ""));
            shown.join("\n")
        };
        let small = devices(&shown(&runtime, "", true));
        let without_firmware = devices(&shown(&runtime, "", false));
        runtime.networks = vec![
            Interface::parse("a").unwrap(),
            Interface::parse("b").unwrap(),
        ];
        let too_many = devices(&shown(&runtime, "", true));
        runtime.volumes.pop();
        let two_cards = devices(&shown(&runtime, "", true));
        runtime.acceleration = Acceleration::Kvm;
        let kvm = devices(&shown(&runtime, "", true));
        let all = [small, without_firmware, too_many, two_cards, kvm];
        insta::assert_snapshot!(all.join("\n\n"), @"
        -machine microvm,accel=tcg,pit=on,pic=on,rtc=on,acpi=off
        -device virtio-9p-device,fsdev=fs1,mount_tag=fs1
        -device virtio-net-device,netdev=net0,mac=02:b0:b0:6f:a4:01

        -machine pc,accel=tcg,acpi=off
        -device virtio-9p-pci,fsdev=fs1,mount_tag=fs1
        -device virtio-net-pci,netdev=net0,mac=02:b0:b0:6f:a4:01,romfile=

        -machine pc,accel=tcg,acpi=off
        -device virtio-9p-pci,fsdev=fs1,mount_tag=fs1
        -device virtio-net-pci,netdev=net0,romfile=

        -machine microvm,accel=tcg,pit=on,pic=on,rtc=on,acpi=off
        -device virtio-9p-device,fsdev=fs1,mount_tag=fs1
        -device virtio-net-device,netdev=net0

        -machine pc,accel=kvm,acpi=off
        -device virtio-9p-pci,fsdev=fs1,mount_tag=fs1
        -device virtio-net-pci,netdev=net0,romfile=
        ");
    }

    #[test]
    fn a_qemu_without_the_small_board_is_recognised() {
        let log = "qemu-system-x86_64: unsupported machine type: \"microvm\"\nUse -machine help";
        assert!(refused_small_board(log));
        assert!(!refused_small_board(
            "qemu-system-x86_64: unsupported machine type \"pc\""
        ));
    }

    #[test]
    fn ports_share_one_card_and_volumes_keep_their_commas() {
        let mut spec = spec(Arch::X86_64, BootProtocol::Multiboot);
        let port = |ip: [u8; 4], host_port, machine_port, protocol| PortMapping {
            host_ip: ip.into(),
            host_port,
            machine_port,
            protocol,
        };
        spec.ports = vec![
            port([0, 0, 0, 0], 8080, 80, Protocol::Tcp),
            port([127, 0, 0, 2], 5353, 53, Protocol::Udp),
        ];
        let volume = |source: &str, read_only| Volume {
            name: None,
            source: source.into(),
            destination: "/data".to_owned(),
            read_only,
        };
        spec.volumes = vec![volume("/a", false), volume("/b,c d", true)];
        spec.initrd = Some("/root, archive.cpio".into());
        spec.memory = 100 * MIB + 1;
        insta::assert_snapshot!(shown(&spec, "vfs.fstab=[ ] -- a,b", false), @"
        qemu
        -L /opt
        -name 6fa459ea-ee8a-4ca4-894e-db77e160355e,debug-threads=on
        -no-user-config
        -nodefaults
        -no-reboot
        -S
        -display none
        -machine pc,accel=tcg
        -cpu max
        -device pvpanic
        -device isa-debug-exit,iobase=0xf4,iosize=4
        -m size=100M
        -smp cpus=1,threads=1,sockets=1
        -rtc base=utc
        -chardev stdio,id=console,signal=off
        -serial chardev:console
        -chardev pipe,id=events,path=events
        -mon chardev=events,mode=control
        -chardev socket,id=control,path=control.sock,server=on,wait=off
        -mon chardev=control,mode=control
        -fsdev local,id=fs1,path=/a,security_model=none,multidevs=remap
        -device virtio-9p-pci,fsdev=fs1,mount_tag=fs1
        -fsdev local,id=fs2,path=/b,,c d,security_model=none,multidevs=remap,readonly=on
        -device virtio-9p-pci,fsdev=fs2,mount_tag=fs2
        -netdev user,id=net0,hostfwd=tcp:0.0.0.0:8080-:80,hostfwd=udp:127.0.0.2:5353-:53
        -device virtio-net-pci,netdev=net0,mac=02:b0:b0:6f:a4:01,romfile=
        -kernel kernel
        -initrd initrd
        -append vfs.fstab=[ ] -- a,b
        ");
    }

    #[test]
    fn each_network_has_a_card_and_ports_need_none_then() {
        let mut spec = spec(Arch::X86_64, BootProtocol::Multiboot);
        spec.networks = ["a", "b"]
            .map(|network| Interface {
                mac: Some("02:b0:b0:00:00:05".parse().unwrap()),
                ..Interface::parse(network).unwrap()
            })
            .to_vec();
        spec.ports = kraft_core::port::parse("8080:80").unwrap();
        let line = shown(&spec, "", false);
        let network = line.lines().filter(|line| line.contains("net"));
        let network: Vec<&str> = network.collect();
        insta::assert_snapshot!(network.join("\n"), @"
        -netdev tap,id=net0,fd=3
        -device virtio-net-pci,netdev=net0,mac=02:b0:b0:00:00:05,romfile=
        -netdev tap,id=net1,fd=4
        -device virtio-net-pci,netdev=net1,mac=02:b0:b0:00:00:05,romfile=
        ");
    }

    #[test]
    fn a_restored_machine_has_its_memory_in_a_file_and_the_same_board() {
        let mut spec = spec(Arch::X86_64, BootProtocol::Pvh);
        spec.guest = Guest::Runtime;
        spec.initrd = Some("/root.cpio".into());
        let saved = Saved {
            dir: "saved".into(),
            conditions: Conditions {
                vmm: "QEMU 10.0.2".to_owned(),
                board: "pc-i440fx-10.0".to_owned(),
                cpu: "max".to_owned(),
                acceleration: Acceleration::Tcg,
                devices: Vec::new(),
                memory: spec.memory,
            },
        };
        let launch = Launch {
            id: Id::nil(),
            spec: &spec,
            kernel_line: "",
            events: "events",
            ports: &kraft_core::port::parse("8080:80").unwrap(),
            cards: &[],
            program: &["qemu".to_owned()],
            extras: Extras {
                sandbox: false,
                small_board: true,
            },
            saved: Some(&saved),
            profile: false,
        };
        let words = argv(&launch, true, None);
        let words = words.into_iter().map(OsString::into_encoded_bytes);
        let words = Words::of(words.collect());
        let shown: Vec<String> = ["-machine", "-object", "-incoming", "-initrd"]
            .map(|option| format!("{option} {:?}", words.value(option)))
            .to_vec();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        -machine Some("pc-i440fx-10.0,accel=tcg,acpi=off,memory-backend=pc.ram")
        -object Some("memory-backend-file,id=pc.ram,size=64M,share=off,x-use-canonical-path-for-ramblock-id=off,mem-path=saved/memory")
        -incoming Some("defer")
        -initrd None
        "#);
        assert_eq!(
            words.devices(),
            [
                "netdev user",
                "pvpanic",
                "isa-debug-exit",
                "virtio-net-pci",
                "firmware qboot.rom"
            ]
        );
        assert!(is_vmm(
            &words
                .0
                .iter()
                .map(|w| w.clone().into_bytes())
                .collect::<Vec<_>>(),
            Id::nil()
        ));
    }

    #[test]
    fn other_processors_and_kvm_have_other_boards() {
        let mut arm = spec(Arch::Arm64, BootProtocol::Arm64Image);
        let mut linux = spec(Arch::X86_64, BootProtocol::LinuxBzImage);
        let translated = [shown(&arm, "k a", false), shown(&linux, "", true)];
        arm.acceleration = Acceleration::Kvm;
        linux.acceleration = Acceleration::Kvm;
        let native = [shown(&arm, "k a", false), shown(&linux, "", true)];
        let differing: Vec<String> = translated
            .iter()
            .chain(&native)
            .map(|text| {
                let lines: Vec<&str> = text
                    .lines()
                    .filter(|line| {
                        [
                            "-sandbox", "-machine", "-cpu", "-bios", "-device", "-append",
                        ]
                        .iter()
                        .any(|option| line.starts_with(option))
                    })
                    .collect();
                lines.join(" ")
            })
            .collect();
        insta::assert_snapshot!(differing.join("\n"), @"
        -machine virt,accel=tcg -cpu max -append k a
        -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny -machine pc,accel=tcg -cpu max -device pvpanic -device isa-debug-exit,iobase=0xf4,iosize=4 -bios qboot.rom
        -machine virt,accel=kvm,gic-version=host -cpu host -append k a
        -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny -machine pc,accel=kvm -cpu host,+x2apic,-pmu -device pvpanic -device isa-debug-exit,iobase=0xf4,iosize=4 -bios qboot.rom
        ");
    }
}
