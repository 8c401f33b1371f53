//! Machines use KVM where it works: tested inside a guest whose processor, emulated by QEMU, has
//! AMD's virtualization, so that this host does not need it.

use std::path::Path;
use std::process::Command;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, Outcome, skip};
use kraft_e2e::limit;
use kraft_e2e::linux;

/// Loads KVM and runs kraft. Nested paging is off: emulated, it breaks Multiboot guests.
const SCRIPT: &str = "
for module in irqbypass ccp kvm; do insmod /kvm/$module.ko; done
insmod /kvm/kvm-amd.ko npt=0
export HOME=/tmp PATH=/bin:/usr/bin
/kraft doctor
/kraft run --rm /mini 'b c' 2>&1
echo exit code $?
/kraft run --dry-run /mini 2>/dev/null
";

/// What QEMU reads besides its program, wherever the distribution keeps it.
const FIRMWARE: [&str; 6] = [
    "/usr/share/qemu/qboot.rom",
    "/usr/share/qemu/multiboot.bin",
    "/usr/share/qemu/multiboot_dma.bin",
    "/usr/share/qemu/kvmvapic.bin",
    "/usr/share/qemu/bios-256k.bin",
    "/usr/share/seabios/bios-256k.bin",
];

#[test]
fn machines_run_with_kvm_where_it_works_without_a_warning() {
    let bench = Bench::new();
    let root = bench.path().join("root");
    let qemu = Path::new("/usr/bin/qemu-system-x86_64");
    let prepared = linux::kernel().and_then(|kernel| {
        linux::lay_out(&root, SCRIPT)?;
        linux::add_kvm(&root)?;
        if !qemu.is_file() {
            return Err("QEMU is not where Debian puts it");
        }
        Ok(kernel)
    });
    let kernel = match prepared {
        Ok(kernel) => kernel,
        Err(reason) => return skip(reason),
    };
    linux::add_host_program(&root, qemu);
    linux::add_kraft(&root);
    for file in FIRMWARE
        .map(Path::new)
        .into_iter()
        .filter(|file| file.is_file())
    {
        linux::add_file(&root, file);
    }
    std::fs::copy(mini("x86_64"), root.join("mini")).unwrap();
    bench.ok(["rootfs", "build", "root", "-o", "root.cpio"]);

    // Not by kraft: the processor that is wanted here is none for its users.
    // An emulated processor that emulates another is slow; only the limit of the test bounds it.
    let outcome = Outcome::within(
        limit::USUAL,
        Command::new(qemu)
            .args([
                "-machine",
                "q35,accel=tcg",
                "-cpu",
                "max,+svm",
                "-m",
                "1G",
                "-nodefaults",
            ])
            .args(["-display", "none", "-no-reboot", "-serial", "stdio"])
            // Its clock counts instructions, so that kraft's own time limits do not depend on how
            // fast the host is.
            .args(["-icount", "shift=0,sleep=off"])
            .args([
                "-append",
                "console=ttyS0 quiet panic=-1",
                "-initrd",
                "root.cpio",
                "-kernel",
            ])
            .arg(kernel)
            .current_dir(bench.path()),
    )
    .success();
    let console = outcome.stdout.replace('\r', "");
    assert!(console.contains("guests run with it"), "{console}");
    assert!(
        console.contains("arg 1 \"b c\"\nready\nbye\nexit code 0\n"),
        "{console}"
    );
    assert!(console.contains("accel=kvm"), "{console}");
    assert!(!console.contains("warning"), "{console}");
}
