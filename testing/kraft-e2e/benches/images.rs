//! What images cost: `push` and `pull` of 1 GiB against `skopeo copy`, also in processor time, `pkg` of 1 GiB against
//! `sha256sum` of the same bytes, `pkg ls` with 500 images; each pair alternating in one run.
//!
//! skopeo copies the same image between the same registry and an OCI layout, with `--all
//! --preserve-digests`: byte by byte what kraft does, without compressing. Every push goes into a
//! registry that has nothing yet, every pull into an empty directory. Nothing here fails because
//! of a number.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, skip};
use kraft_e2e::measure::Cost;
use kraft_e2e::registry::{Registry, installed};

const FILES: usize = 16;
const BYTES: usize = 1 << 30;
const ROUNDS: usize = 3;
const IMAGES: usize = 500;

fn main() {
    println!(
        "{:<40} {:>9} {:>9} {:>7} {:>10} {:>10}",
        "measured | against", "ms", "ms", "ratio", "kraft MiB", "other MiB"
    );
    let bench = Bench::new();
    fill(&bench.path().join("root"));
    pack(&bench);
    if installed("skopeo") {
        carry(&bench);
    } else {
        skip("skopeo is not installed: scripts/setup.sh test");
    }
    list();
}

/// `pkg` of a directory and of an archive against `sha256sum` of their bytes.
fn pack(bench: &Bench) {
    bench.ok(["rootfs", "build", "root", "-o", "root.cpio"]);
    let sum = |what: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("sha256sum {what}")]);
        command.current_dir(bench.path());
        command
    };
    for (title, rootfs, bytes) in [
        ("pkg of a directory | sha256sum", "root", "root/*/*"),
        ("pkg of an archive | sha256sum", "root.cpio", "root.cpio"),
    ] {
        compare(
            title,
            || empty_store(bench),
            || package(bench, "example.test/large:v1", rootfs),
            || {},
            || sum(bytes),
        );
    }
    let kernel = bench.path().join("large-kernel");
    fs::copy(mini("x86_64"), &kernel).unwrap();
    let mut file = File::options().append(true).open(&kernel).unwrap();
    std::io::copy(
        &mut File::open(bench.path().join("root.cpio")).unwrap(),
        &mut file,
    )
    .unwrap();
    compare(
        "pkg of a kernel file | sha256sum",
        || empty_store(bench),
        || {
            let name = "example.test/large:v1";
            let args = ["pkg", "--name", name, "-k", "large-kernel"];
            bench.command([&args[..], &["-m", "x86_64", "-p", "qemu"]].concat())
        },
        || {},
        || sum("large-kernel"),
    );
    fs::remove_file(kernel).unwrap();
}

/// `push` and `pull` against `skopeo copy`, of an image with all bytes in one layer, where a
/// registry takes and gives one stream, and of one with a quarter of them for each platform.
fn carry(bench: &Bench) {
    empty_store(bench);
    let whole = "example.test/whole:v1";
    let _ = Cost::of(package(bench, whole, "root"), &[]);
    let quarters = "example.test/quarters:v1";
    for (part, arch, plat) in [
        ("root/0", "x86_64", "qemu"),
        ("root/1", "x86_64", "fc"),
        ("root/2", "x86_64", "xen"),
        ("root/3", "arm64", "qemu"),
    ] {
        let kernel = mini(arch);
        let kernel = kernel.to_str().unwrap();
        let mut args = vec!["pkg", "--name", quarters, "-k", kernel, "--rootfs", part];
        args.extend(["-m", arch, "-p", plat, "--strategy", "merge"]);
        let _ = Cost::of(bench.command(args), &[]);
    }
    for (image, shape) in [(whole, "one layer"), (quarters, "four layers")] {
        push(bench, image, shape);
    }
    let Some(registry) = Registry::plain() else {
        return;
    };
    for image in [whole, quarters] {
        let remote = format!("docker://{}", there(&registry, image));
        let _ = Cost::of(copy(&here(bench, image), &remote), &[]);
    }
    for (image, shape) in [(whole, "one layer"), (quarters, "four layers")] {
        let name = there(&registry, image);
        let theirs = bench.path().join("theirs");
        compare(
            &format!("pkg pull, {shape} | skopeo copy"),
            || empty_store(bench),
            || bench.command(["pkg", "pull", "--all", &name]),
            || {
                let _ = fs::remove_dir_all(&theirs);
            },
            || {
                copy(
                    &format!("docker://{name}"),
                    &format!("oci:{}:v1", theirs.display()),
                )
            },
        );
    }
}

fn push(bench: &Bench, image: &str, shape: &str) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let Some(registry) = Registry::plain() else {
            return;
        };
        let name = there(&registry, image);
        bench.ok(["pkg", "tag", image, &name]);
        let mine = Cost::of(bench.command(["pkg", "push", &name]), &[]);
        bench.ok(["pkg", "rm", &name]);
        drop(registry);
        let Some(registry) = Registry::plain() else {
            return;
        };
        let name = format!("docker://{}", there(&registry, image));
        let other = Cost::of(copy(&here(bench, image), &name), &[]);
        if round > 0 {
            ours.push(mine);
            theirs.push(other);
        }
    }
    row(
        &format!("pkg push, {shape} | skopeo copy"),
        ours.clone(),
        theirs.clone(),
    );
    cpu_row(&format!("  its CPU, {shape} | skopeo copy"), ours, theirs);
}

/// Returns an image's name in a registry.
fn there(registry: &Registry, image: &str) -> String {
    registry.name(image.rsplit('/').next().unwrap())
}

/// Returns what skopeo calls an image of our store.
fn here(bench: &Bench, image: &str) -> String {
    format!("oci:{}:{image}", bench.runtime().join("images").display())
}

/// `pkg ls` of many different images.
fn list() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    for number in 0..IMAGES {
        let name = format!("example.test/apps/number{number}:v1");
        let label = format!("number={number}");
        let args = ["pkg", "--name", &name, "-k", kernel, "-l", &label];
        bench.ok([&args[..], &["-m", "x86_64", "-p", "qemu"]].concat());
    }
    let rows = bench.ok(["pkg", "ls", "--apps"]);
    assert_eq!(rows.matches("example.test/").count(), IMAGES);
    let title = format!("pkg ls of {IMAGES} images | true");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=20 {
        let mine = Cost::of(bench.command(["pkg", "ls", "--apps"]), &[]);
        let other = Cost::of(Command::new("true"), &[]);
        if round > 0 {
            ours.push(mine);
            theirs.push(other);
        }
    }
    row(&title, ours, theirs);
}

/// Prepares and runs both sides in turn; the first round fills the caches and does not count.
fn compare(
    title: &str,
    prepare_ours: impl Fn(),
    ours: impl Fn() -> Command,
    prepare_theirs: impl Fn(),
    theirs: impl Fn() -> Command,
) {
    let (mut kraft, mut other) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        prepare_ours();
        let mine = Cost::of(ours(), &[]);
        prepare_theirs();
        let its = Cost::of(theirs(), &[]);
        if round > 0 {
            kraft.push(mine);
            other.push(its);
        }
    }
    row(title, kraft, other);
}

fn row(title: &str, ours: Vec<Cost>, theirs: Vec<Cost>) {
    let (ours, theirs) = (Cost::typical(ours), Cost::typical(theirs));
    println!(
        "{title:<40} {:>9.1} {:>9.1} {:>7.2} {:>10.1} {:>10.1}",
        ours.millis,
        theirs.millis,
        ours.millis / theirs.millis,
        ours.mebibytes,
        theirs.mebibytes
    );
}

/// A row of processor time.
fn cpu_row(title: &str, ours: Vec<Cost>, theirs: Vec<Cost>) {
    let (ours, theirs) = (Cost::typical(ours), Cost::typical(theirs));
    println!(
        "{title:<40} {:>9.1} {:>9.1} {:>7.2}",
        ours.cpu_millis,
        theirs.cpu_millis,
        ours.cpu_millis / theirs.cpu_millis,
    );
}

fn package(bench: &Bench, name: &str, rootfs: &str) -> Command {
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    let args = ["pkg", "--name", name, "-k", kernel, "--rootfs", rootfs];
    bench.command([&args[..], &["-m", "x86_64", "-p", "qemu"]].concat())
}

fn copy(from: &str, to: &str) -> Command {
    let mut command = Command::new("skopeo");
    command
        .args(["--insecure-policy", "copy", "--quiet", "--all"])
        .args(["--preserve-digests", "--src-tls-verify=false"])
        .args(["--dest-tls-verify=false", from, to]);
    command
}

fn empty_store(bench: &Bench) {
    let _ = fs::remove_dir_all(bench.runtime().join("images"));
}

/// Writes files of bytes that do not repeat, into four directories.
fn fill(dir: &Path) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..FILES {
        let mut bytes = Vec::with_capacity(BYTES / FILES);
        while bytes.len() < BYTES / FILES {
            // Marsaglia's xorshift: enough for bytes that no file system can fold together.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        let quarter = dir.join((number * 4 / FILES).to_string());
        fs::create_dir_all(&quarter).unwrap();
        File::create(quarter.join(format!("{number:02}")))
            .and_then(|mut file| file.write_all(&bytes))
            .unwrap();
    }
}
