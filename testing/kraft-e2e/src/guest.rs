//! The repository's own miniature kernel, and what it reports.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{Bench, repository};
use crate::registry::Registry;

/// Returns the guest kernel for an architecture, building all guests on first use.
pub fn mini(arch: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = Command::new("make")
            .args(["--quiet", "-C", "guests"])
            .current_dir(repository())
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
    });
    let kernel = repository().join(format!("guests/build/mini_qemu-{arch}"));
    assert!(
        kernel.is_file(),
        "no {}: is the cross compiler installed?",
        kernel.display()
    );
    kernel
}

/// What the guest said about itself before it did anything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The command line as it arrived.
    pub line: String,
    /// Parameters: name and value (lists as a JSON array).
    pub params: Vec<(String, String)>,
    /// Environment, `K=V`.
    pub env: Vec<String>,
    /// Mount entries.
    pub fstab: Vec<String>,
    /// Application arguments without the program's name.
    pub args: Vec<String>,
}

impl Report {
    /// Reads the report out of a console's text.
    pub fn parse(console: &str) -> Self {
        let mut report = Self::default();
        let text = |json: &str| serde_json::from_str::<String>(json.trim()).unwrap();
        for line in console.lines().map(|line| line.trim_end_matches('\r')) {
            let Some((word, rest)) = line.split_once(' ') else {
                continue;
            };
            match word {
                "line" => report.line = text(rest),
                "env" => report.env.push(text(rest)),
                "fstab" => report.fstab.push(text(rest)),
                "param" => {
                    let mut values = serde_json::Deserializer::from_str(rest).into_iter();
                    let name: serde_json::Value = values.next().unwrap().unwrap();
                    let value: serde_json::Value = values.next().unwrap().unwrap();
                    report
                        .params
                        .push((name.as_str().unwrap().to_owned(), value.to_string()));
                }
                "arg" => {
                    let (number, value) = rest.split_once(' ').unwrap();
                    if number != "0" {
                        report.args.push(text(value));
                    }
                }
                _ => {}
            }
        }
        report
    }
}

/// Packages the x86_64 guest in `bench` under `name`, with a root filesystem that holds
/// `/etc/motd` and the arguments that print it; returns the digest of the index.
///
/// # Panics
/// If `kraft pkg` fails, or does not say what it made.
pub fn package(bench: &Bench, name: &str, more: &[&str]) -> String {
    let root = bench.path().join("root/etc");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("motd"), MOTD).unwrap();
    let kernel = mini("x86_64");
    let mut args = vec!["pkg", "--name", name, "--kernel", kernel.to_str().unwrap()];
    args.extend(["--arch", "x86_64", "--plat", "qemu", "--rootfs", "root"]);
    args.extend(["-a", "@cat:/etc/motd", "-a", "packaged"]);
    args.extend(more);
    let said = bench.ok(args);
    let (_, digest) = said.trim().rsplit_once('@').unwrap();
    assert!(digest.starts_with("sha256:"), "{said}");
    digest.to_owned()
}

/// Pushes a kernel alone, as a runtime that projects are built on; returns its name.
///
/// # Panics
/// If `kraft pkg` fails.
pub fn push_runtime(registry: &Registry, bench: &Bench, kernel: &Path) -> String {
    let stem = kernel.file_stem().unwrap().to_str().unwrap();
    let name = registry.name(&format!("tester/{}:1", stem.to_lowercase()));
    let kernel = kernel.to_str().unwrap();
    let args = ["--arch", "x86_64", "--plat", "qemu", "--push"];
    bench.ok(["pkg", "--name", &name, "--kernel", kernel]
        .iter()
        .chain(&args));
    name
}

/// Writes a project below the bench that runs on a runtime and has an empty root filesystem.
///
/// # Panics
/// If it cannot be written.
pub fn project_on(bench: &Bench, runtime: &str, name: &str) {
    let dir = bench.path().join(name);
    std::fs::create_dir_all(dir.join("root")).unwrap();
    let kraftfile = format!("spec: v0.6\nruntime: {runtime}\nrootfs: ./root\n");
    std::fs::write(dir.join("Kraftfile"), kraftfile).unwrap();
}

/// What `/etc/motd` of a packaged guest holds.
pub const MOTD: &str = "carved in stone\n";
