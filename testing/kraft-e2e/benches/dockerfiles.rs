//! Time and memory of a root filesystem from a Dockerfile, alternating in one run: kraft's own
//! builder against BuildKit, both against the bare export of the same files by the daemon (which
//! builds nothing and writes no file), and a build where nothing changed.
//!
//! 500 MB in 3 000 files. No result fails the benchmark.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use kraft_e2e::dockerfiles::context;
use kraft_e2e::engines::Docker;
use kraft_e2e::harness::Bench;
use kraft_e2e::measure::Cost;

const FILES: usize = 3_000;
const BYTES: usize = 500_000_000;
const ROUNDS: usize = 5;
const IMAGE: &str = "kraft-bench/large:1";

fn main() {
    let Some(docker) = Docker::start() else {
        return;
    };
    let host = format!("unix://{}", docker.socket().display());
    let bench = Bench::new().env("DOCKER_HOST", &host);
    docker.import(&large(&bench), IMAGE);
    let container = docker.create(IMAGE);
    let id = container["Id"].as_str().unwrap().to_owned();
    context(&bench, &[("Dockerfile", &format!("FROM {IMAGE}\n"))]);
    let build = |more: &[&str]| {
        let mut args = vec!["rootfs", "build", "context/Dockerfile", "-o", "root.cpio"];
        args.extend(["--builder", "docker"]);
        args.extend(more);
        bench.command(args)
    };
    // The same tree, copied: BuildKit builds and exports it as a tar, kraft itself makes the
    // archive. Neither uses a step of the round before.
    context(&bench, &[("copy.Dockerfile", "FROM scratch\nCOPY . /\n")]);
    let copy = |builder: &str| {
        let mut args = vec!["rootfs", "build", "context/copy.Dockerfile"];
        args.extend([
            "--context",
            "large",
            "-o",
            "copied.cpio",
            "--builder",
            builder,
        ]);
        args.extend(["--no-rootfs-cache", "--build-no-cache"]);
        Cost::of(bench.command(args), &[])
    };
    let (mut ours, mut theirs, mut cached) = (Vec::new(), Vec::new(), Vec::new());
    let (mut own, mut buildkit) = (Vec::new(), Vec::new());
    // The first round fills the caches and does not count.
    for round in 0..=ROUNDS {
        let cost = Cost::of(build(&["--no-rootfs-cache"]), &[]);
        let alone = export(docker.socket(), &id);
        let again = Cost::of(build(&[]), &[]);
        let copied = [copy("kraft"), copy("docker")];
        if round > 0 {
            own.push(copied[0]);
            buildkit.push(copied[1]);
            ours.push(cost);
            theirs.push(alone);
            cached.push(again);
        }
    }
    theirs.sort_by(f64::total_cmp);
    let (ours, cached) = (Cost::typical(ours), Cost::typical(cached));
    let alone = theirs[theirs.len() / 2];
    let (own, buildkit) = (Cost::typical(own), Cost::typical(buildkit));
    let row = |title: &str, ours: Cost, theirs: f64| {
        println!(
            "{title:<52} {:>8.0} {theirs:>8.0} {:>7.2} {:>9.1}",
            ours.millis,
            ours.millis / theirs,
            ours.mebibytes
        );
    };
    println!(
        "{:<52} {:>8} {:>8} {:>7} {:>9}",
        "500 MB in 3 000 files: measured | against", "ms", "ms", "ratio", "kraft MiB"
    );
    row(
        "kraft's own builder, COPY | BuildKit through kraft",
        own,
        buildkit.millis,
    );
    row(
        "kraft's own builder, COPY | bare export by the daemon",
        own,
        alone,
    );
    row(
        "BuildKit through kraft, FROM | bare export, no build",
        ours,
        alone,
    );
    row(
        "nothing changed | kraft's own builder, COPY",
        cached,
        own.millis,
    );
}

/// Makes a tar of the large root filesystem.
fn large(bench: &Bench) -> std::path::PathBuf {
    let root = bench.path().join("large");
    let mut seed: u32 = 1;
    let mut bytes = vec![0; BYTES / FILES];
    for number in 0..FILES {
        for byte in &mut bytes {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = seed.to_be_bytes()[0];
        }
        let dir = root.join(format!("d{:02}", number % 50));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{number:04}")), &bytes).unwrap();
    }
    let tar = bench.path().join("large.tar");
    let packed = Command::new("tar")
        .arg("-C")
        .args([root.as_path(), Path::new("-cf"), &tar])
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    tar
}

/// Lets the daemon export a container, as `docker export` does; returns how long that took, in
/// milliseconds.
fn export(socket: &Path, id: &str) -> f64 {
    let start = Instant::now();
    let mut daemon = UnixStream::connect(socket).unwrap();
    let request = format!("GET /containers/{id}/export HTTP/1.0\r\nHost: d\r\n\r\n");
    daemon.write_all(request.as_bytes()).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut all = 0;
    loop {
        match daemon.read(&mut buffer).unwrap() {
            0 => break,
            count => all += count,
        }
    }
    assert!(all > BYTES, "the daemon exported only {all} bytes");
    start.elapsed().as_secs_f64() * 1e3
}
