//! How long things take to start, each against its raw counterpart, alternating in one run.
//!
//! `cargo bench -p kraft-e2e` prints a table of medians and ratios. Nothing here fails because of
//! a number: ratios of one run are comparable, times of different machines are not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::guest::mini;
use kraft_e2e::harness::Bench;

fn main() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    // Fills the caches that live longer than one run: QEMU's version, the KVM probe.
    let _ = bench.kraft(["run", "--rm", kernel]).success();

    println!(
        "{:<44} {:>10} {:>10} {:>8}",
        "measured | against", "ms", "ms", "ratio"
    );
    compare(
        "kraft version | true",
        60,
        || bench.command(["version"]),
        || Command::new("true"),
    );
    compare(
        "kraft ps (no machine) | true",
        60,
        || bench.command(["ps"]),
        || Command::new("true"),
    );

    let raw = raw_qemu(&bench, kernel);
    compare(
        "kraft run | its own QEMU line, raw",
        15,
        || run(&bench, kernel),
        || shell(&raw, bench.path()),
    );
    let plain = plain_qemu(kernel);
    compare(
        "lean QEMU | plain -nographic QEMU",
        15,
        || shell(&raw, bench.path()),
        || shell(&plain, bench.path()),
    );
}

fn run(bench: &Bench, kernel: &str) -> Command {
    bench.command(["run", "--rm", kernel])
}

/// The command line `kraft run` would use, with its files where a shell can reach them.
fn raw_qemu(bench: &Bench, kernel: &str) -> String {
    let plan = bench.json(["run", "--dry-run", "-o", "json", kernel]);
    let words: Vec<String> = plan["argv"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| format!("'{}'", word.as_str().unwrap().replace('\'', r"'\''")))
        .collect();
    // The relative names in that line mean files of a machine's directory.
    format!(
        "ln -sf '{kernel}' kernel; echo '{{\"execute\":\"qmp_capabilities\"}}{{\"execute\":\"cont\"}}' > events.in; \
         : > events.out; rm -rf control.sock console; mkdir console; mkfifo console/pipe; \
         cat console/pipe > /dev/null & exec {} > console/pipe < /dev/null",
        words.join(" ")
    )
}

/// A command typed by hand, as in KraftKit: all default devices, the full firmware.
fn plain_qemu(kernel: &str) -> String {
    format!(
        "exec qemu-system-x86_64 -machine pc,accel=tcg -m 64M -nographic -monitor none -no-reboot \
         -serial file:plain.log -device pvpanic -kernel '{kernel}'"
    )
}

fn shell(line: &str, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(dir);
    command
}

fn compare(what: &str, rounds: usize, left: impl Fn() -> Command, right: impl Fn() -> Command) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(time(left()));
        theirs.push(time(right()));
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!(
        "{what:<44} {ours:>10.2} {theirs:>10.2} {:>8.2}",
        ours / theirs
    );
}

fn time(mut command: Command) -> Duration {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap();
    let taken = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    taken
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
