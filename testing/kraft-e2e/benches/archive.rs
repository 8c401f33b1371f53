//! What an archive costs against `cpio -o`, in time and memory, alternating in one run.
//!
//! One GiB in 10 000 files, and 20 000 and 200 000 files of 200 bytes; all stay in the page cache.
//! Nothing here fails because of a number.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use kraft_e2e::harness::Bench;
use kraft_e2e::measure::Cost;

/// Numbers of files and their sizes in bytes.
const TREES: [(usize, usize); 3] = [(10_000, (1 << 30) / 10_000), (20_000, 200), (200_000, 200)];
const ROUNDS: usize = 3;

fn main() {
    for (files, bytes) in TREES {
        compare(files, bytes);
    }
}

fn compare(files: usize, bytes: usize) {
    let bench = Bench::new();
    let names = fill(&bench.path().join("tree"), files, bytes);
    let ours = || bench.command(["rootfs", "build", "tree", "-o", "ours.cpio"]);
    let theirs = || {
        let mut command = Command::new("cpio");
        command.args(["--quiet", "-o", "-0", "-H", "newc", "-D", "tree"]);
        command.args(["-F", "theirs.cpio"]);
        command.current_dir(bench.path());
        command
    };
    let (mut kraft, mut cpio) = (Vec::new(), Vec::new());
    // The first round fills the caches and does not count.
    for round in 0..=ROUNDS {
        let costs = (Cost::of(ours(), &[]), Cost::of(theirs(), &names));
        if round > 0 {
            kraft.push(costs.0);
            cpio.push(costs.1);
        }
    }
    let (kraft, cpio) = (Cost::typical(kraft), Cost::typical(cpio));
    println!(
        "{:<44} {:>10} {:>10} {:>8}",
        format!("{files} files of {bytes} bytes"),
        "kraft",
        "cpio -o",
        "ratio"
    );
    println!(
        "{:<44} {:>10.0} {:>10.0} {:>8.2}",
        "rootfs build, ms",
        kraft.millis,
        cpio.millis,
        kraft.millis / cpio.millis
    );
    println!(
        "{:<44} {:>10.1} {:>10.1} {:>8.2}",
        "most resident memory, MiB",
        kraft.mebibytes,
        cpio.mebibytes,
        kraft.mebibytes / cpio.mebibytes
    );
}

/// Writes the tree; returns its names, NUL after each, as `cpio -0` reads them.
fn fill(tree: &Path, files: usize, bytes: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..=255).cycle().take(bytes).collect();
    let mut names = Vec::new();
    for number in 0..files {
        let directory = format!("{:04}", number / 100);
        let name = format!("{directory}/{number:06}");
        if number % 100 == 0 {
            std::fs::create_dir_all(tree.join(&directory)).unwrap();
            names.extend_from_slice(format!("{directory}\0").as_bytes());
        }
        std::fs::File::create(tree.join(&name))
            .and_then(|mut file| file.write_all(&bytes))
            .unwrap();
        names.extend_from_slice(format!("{name}\0").as_bytes());
    }
    names
}
