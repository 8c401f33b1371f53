//! A real Firecracker, 1.12 or newer, named by `KRAFT_FIRECRACKER=PATH` and linked statically, with its
//! jailer beside it: it runs in a guest whose emulated processor has KVM, so that this host does not need it.

use std::fs;
use std::path::Path;
use std::process::Command;

use kraft_e2e::harness::{Outcome, skip};
use kraft_e2e::limit;
use kraft_e2e::linux;
use kraft_e2e::networks::Place;

use crate::firecracker::{CRASHING_KERNEL, KERNEL, KEYBOARD_KERNEL, kernel, program};

const SCRIPT: &str = include_str!("../../fixtures/real-firecracker.sh");

/// What the script prints.
const EXPECTED: &[&str] = &[
    "printed [a] [b c] TEXT= kraft: exit status 7",
    "status 7",
    "input ready got one kraft: exit status 9",
    "attached kraft: exit status 9 9",
    "ended exited 9",
    "kernel app_fc-x86_64 env.vars=[] virtio_mmio.device -- a",
    "crash 8 errored",
    "why error: the machine `crash` crashed: guest reset itself",
    "keys wd 0",
    "served hello from web",
    "stats received",
    "paused paused",
    "resumed running hello from web",
    "adopted running hello from web",
    "suspended suspended null",
    "restored running hello from web",
    "snapshot hello from web hello from web",
    "stopped exited 0",
    "again hello from web",
    "killed exited 137",
    "woken hello from idle",
    "time right",
    "numbers whole",
    "forks ready-1 ready-2 ready-3",
    "names ready-1. ready-2. ready-3.",
    "random 3",
    "damaged suspended",
    "misfit suspended",
    "cold whole",
    "jailed 1234 1",
    "jailed terminated kraft: exit status 0",
    "removed []",
];

#[test]
fn a_real_firecracker_runs_machines_where_kvm_works() {
    let Some(firecracker) = std::env::var_os("KRAFT_FIRECRACKER") else {
        eprintln!("SKIPPED: KRAFT_FIRECRACKER names no Firecracker");
        return;
    };
    let Some(place) = Place::new(false) else {
        return;
    };
    let bench = &place.bench;
    let Some(app) = program(bench) else {
        return;
    };
    let jailer = Path::new(&firecracker).with_file_name("jailer");
    let root = bench.path().join("root");
    let prepared = linux::kernel().and_then(|kernel| {
        linux::lay_out(&root, SCRIPT)?;
        linux::add_kvm(&root)?;
        linux::add_networks(&root)?;
        Ok(kernel)
    });
    let linux = match prepared {
        Ok(kernel) => kernel,
        Err(reason) => return skip(reason),
    };
    linux::add_kraft(&root);
    for (from, to) in [
        (Path::new(&firecracker), "firecracker"),
        (Path::new(&app), "app"),
        (&bench.path().join("server"), "server"),
        // Beside it, as in its releases.
        (&jailer, "jailer"),
    ] {
        fs::copy(from, root.join(to)).unwrap();
    }
    for (text, to) in [
        (KERNEL, "print"),
        (CRASHING_KERNEL, "crash"),
        (KEYBOARD_KERNEL, "keys"),
    ] {
        let file = kernel(bench, text);
        fs::create_dir(root.join(to)).unwrap();
        fs::copy(&file, root.join(to).join(file.file_name().unwrap())).unwrap();
    }
    bench.ok(["rootfs", "build", "root", "-o", "root.cpio"]);
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35,accel=tcg", "-cpu", "max,+svm"])
        .args(["-m", "3G", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-initrd", "root.cpio"])
        .args(["-append", "console=ttyS0 quiet panic=-1", "-kernel"])
        .arg(linux)
        .current_dir(bench.path());
    let outcome = Outcome::within(limit::USUAL, &mut qemu).success();
    let console = outcome.stdout.replace('\r', "");
    for figure in console.lines().filter_map(|it| it.strip_prefix("figure ")) {
        println!("{figure} ms");
    }
    let checks: Vec<&str> = console
        .lines()
        .filter_map(|line| line.strip_prefix("check "))
        .collect();
    assert_eq!(checks, EXPECTED, "{console}");
}
