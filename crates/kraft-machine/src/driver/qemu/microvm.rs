//! QEMU's machine `microvm`, for kernels that are built for Firecracker. (The built-in runtime has
//! its board, too, but needs nothing of this.)
//!
//! It has the same devices at other addresses, and loads kernels by PVH only: a
//! [loader](kraft_core::kernel::linux64) enters the kernel as Firecracker does.

use std::ffi::OsString;
use std::io::{self, Read};

use kraft_core::cmdline::CommandLine;
use kraft_core::kernel::BootProtocol;
use kraft_core::kernel::linux64::{self, Loader};
use kraft_core::machine::MachineSpec;
use kraft_sys::fs;

use crate::layout::MachineDir;

/// The board: with the devices of an old PC that a kernel for Firecracker knows, and without ACPI.
pub(super) const TCG_BOARD: &str = "microvm,accel=tcg,pit=on,pic=on,rtc=on,acpi=off";

/// The exit status of QEMU when the guest writes 0xfe, the reset, to port 0x64.
pub(super) const RESET: i32 = (0xfe << 1 | 1) & 0xff;

/// The last of the places for devices, which the first device gets.
const LAST_SLOT: usize = 7;

/// The loader's program and its tables.
const PROGRAM: &str = "loader";
const TABLES: &str = "tables";

/// Returns whether the machine in a directory is of this kind.
pub(super) fn is_one(dir: &MachineDir) -> bool {
    dir.path().join(PROGRAM).exists()
}

/// Writes the loader, if the machine needs one.
pub(super) fn prepare(dir: &MachineDir, spec: &MachineSpec) -> Result<(), fs::Error> {
    // Checked when the machine was planned.
    let line = CommandLine::of(spec).map(|line| line.render());
    let path = dir.path().join(PROGRAM);
    let loader = loader(spec, &line.unwrap_or_default());
    let Some(loader) = loader.map_err(fs::Error::on("make", &path))? else {
        return Ok(());
    };
    fs::replace_file(&path, &loader.program)?;
    fs::replace_file(&dir.path().join(TABLES), &loader.tables)
}

/// Adds the options that boot the kernel.
pub(super) fn boot(line: &mut Vec<OsString>, loader: Option<&Loader>) {
    let mut option = |name: &str, value: String| {
        line.push(name.into());
        line.push(value.into());
    };
    option("-global", "virtio-mmio.force-legacy=false".to_owned());
    option("-kernel", PROGRAM.to_owned());
    option("-device", "loader,file=kernel".to_owned());
    let Some(loader) = loader else {
        return;
    };
    let place = |file: &str, at: u64| format!("loader,file={file},addr={at:#x},force-raw=on");
    option("-device", place(TABLES, loader.at));
    if let Some(at) = loader.initrd {
        option("-device", place("initrd", at));
    }
}

/// Makes the loader of a machine; `None` if it needs none.
pub(super) fn loader(spec: &MachineSpec, kernel_line: &str) -> io::Result<Option<Loader>> {
    if spec.boot != BootProtocol::Linux64 {
        return Ok(None);
    }
    let mut head = Vec::new();
    let mut file = fs::open_file(&spec.kernel).map_err(io::Error::from)?;
    Read::by_ref(&mut file).take(64).read_to_end(&mut head)?;
    let not_elf = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel is not a 64-bit ELF file",
        )
    };
    let entry = linux64::entry(&head).ok_or_else(not_elf)?;
    let initrd = spec.initrd.as_ref().map(std::fs::metadata).transpose()?;
    let line = linux64::with_devices(kernel_line, devices(spec));
    let loader = Loader::new(entry, spec.memory, &line, initrd.map(|meta| meta.len()));
    loader.map(Some).map_err(io::Error::other)
}

/// Returns the devices as they are on the kernel command line: volumes, then cards, as on the command line.
fn devices(spec: &MachineSpec) -> impl Iterator<Item = String> {
    let cards = match spec.networks.len() {
        0 => usize::from(!spec.ports.is_empty()),
        networks => networks,
    };
    let count = (spec.volumes.len() + cards).min(LAST_SLOT + 1);
    (0..count).map(|index| {
        let slot = LAST_SLOT - index;
        format!("512@{:#x}:{}", 0xfeb0_0000 + slot * 512, 5 + slot)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kraft_core::arch::Arch;
    use kraft_core::kernel::Guest;
    use kraft_core::machine::Acceleration;
    use kraft_core::platform::Platform;

    use super::*;

    #[test]
    fn the_kernel_its_tables_and_its_archive_are_put_into_memory() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join("k");
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(64, 0);
        fs::replace_file(&kernel, &head).unwrap();
        fs::replace_file(&dir.path().join("i"), &[0; 5000]).unwrap();
        let spec = MachineSpec {
            name: None,
            arch: Arch::X86_64,
            platform: Platform::Qemu,
            origin: String::new(),
            kernel,
            boot: BootProtocol::Linux64,
            guest: Guest::Unikraft,
            initrd: Some(dir.path().join("i")),
            mounts_initrd: false,
            kernel_args: Vec::new(),
            args: vec!["a".to_owned()],
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            memory: 64 << 20,
            cpus: 1,
            ports: kraft_core::port::parse("8080:80").unwrap(),
            networks: Vec::new(),
            volumes: Vec::new(),
            acceleration: Acceleration::Tcg,
            remove_when_ended: false,
            lifecycle: kraft_core::lifecycle::Lifecycle::default(),
            stdin: false,
            tty: false,
        };
        let machine = MachineDir::new(dir.path().to_owned());
        assert!(!is_one(&machine));
        prepare(&machine, &spec).unwrap();
        assert!(is_one(&machine));
        let tables = std::fs::read(dir.path().join(TABLES)).unwrap();
        let device = b" virtio_mmio.device=512@0xfeb00e00:12 -- a";
        assert!(tables.windows(device.len()).any(|it| it == device));
        let mut line = Vec::new();
        let loader = loader(&spec, "k env.vars=[ ] -- a").unwrap();
        boot(&mut line, loader.as_ref());
        let words: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
        insta::assert_snapshot!(words.join(" "), @"-global virtio-mmio.force-legacy=false -kernel loader -device loader,file=kernel -device loader,file=tables,addr=0x3ff0000,force-raw=on -device loader,file=initrd,addr=0x3fee000,force-raw=on");
    }
}
