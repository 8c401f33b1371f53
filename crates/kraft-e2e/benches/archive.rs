//! What an archive costs against `cpio -o`, in time and memory, alternating in one run.
//!
//! One GiB in 10 000 files, which stay in the page cache. Nothing here fails because of a number.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::harness::Bench;

const FILES: usize = 10_000;
const BYTES: usize = 1 << 30;
const ROUNDS: usize = 3;

fn main() {
    let bench = Bench::new();
    let names = fill(&bench.path().join("tree"));
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
        let costs = (cost(ours(), &[]), cost(theirs(), &names));
        if round > 0 {
            kraft.push(costs.0);
            cpio.push(costs.1);
        }
    }
    let (kraft, cpio) = (median(kraft), median(cpio));
    println!(
        "{:<44} {:>10} {:>10} {:>8}",
        "1 GiB in 10 000 files", "kraft", "cpio -o", "ratio"
    );
    println!(
        "{:<44} {:>10.0} {:>10.0} {:>8.2}",
        "rootfs build, ms",
        kraft.0,
        cpio.0,
        kraft.0 / cpio.0
    );
    println!(
        "{:<44} {:>10.1} {:>10.1} {:>8.2}",
        "most resident memory, MiB",
        kraft.1,
        cpio.1,
        kraft.1 / cpio.1
    );
}

/// Runs a command; returns its milliseconds and the most MiB it had resident.
fn cost(mut command: Command, input: &[u8]) -> (f64, f64) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let mut resident = 0.0;
    // Its high-water mark only rises: the last look is the truth or just below.
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        resident = high_water(child.id()).unwrap_or(resident);
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(status.success(), "{command:?}: {status}");
    (start.elapsed().as_secs_f64() * 1e3, resident)
}

/// Returns `VmHWM` of a process that lives, in MiB.
fn high_water(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// The median of the times, and the most memory of any run.
fn median(mut costs: Vec<(f64, f64)>) -> (f64, f64) {
    costs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let memory = costs.iter().map(|cost| cost.1).fold(0.0, f64::max);
    (costs[costs.len() / 2].0, memory)
}

/// Writes the tree; returns its names, NUL after each, as `cpio -0` reads them.
fn fill(tree: &Path) -> Vec<u8> {
    let bytes: Vec<u8> = (0..=255).cycle().take(BYTES / FILES).collect();
    let mut names = Vec::new();
    for number in 0..FILES {
        let directory = format!("{:02}", number / 100);
        let name = format!("{directory}/{number:05}");
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
