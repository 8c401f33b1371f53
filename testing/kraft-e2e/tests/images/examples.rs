//! The example programs of kraft-engine, run as their comments say.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use kraft_e2e::dockerfiles::context;
use kraft_e2e::guest::{Report, mini};
use kraft_e2e::harness::{Bench, Outcome, has_builtin_runtime, repository};
use kraft_e2e::registry::Registry;

/// Returns an example, built on first use: not by `make test`, which has built all, and where other tests would wait
/// for cargo's lock. With any other selection of packages, half of the crates would be compiled again.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    // A test binary is in target/debug/deps, examples are in target/debug/examples.
    let test = std::env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples").join(name);
    BUILT.get_or_init(|| {
        if std::env::var_os("KRAFT_BIN").is_some() && example.exists() {
            return;
        }
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--workspace", "--examples"])
            .current_dir(repository());
        if has_builtin_runtime() {
            build.args(["--features", "kraft/builtin-runtime"]);
        }
        let status = build.status().unwrap();
        assert!(status.success(), "cannot build the examples");
    });
    example
}

fn run(bench: &Bench, name: &str, args: &[&str]) -> String {
    let mut command = bench.command_of(&example(name), args);
    Outcome::of(&mut command).success().stdout
}

#[test]
fn boot_prints_the_console_of_a_kernel() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let console = run(&bench, "boot", &[kernel.to_str().unwrap()]);
    assert_ne!(Report::parse(&console).line, "", "{console}");
    assert_eq!(bench.ok(["ps", "--all", "--quiet"]), "");
}

#[test]
fn package_pushes_an_image_and_list_platforms_pulls_it() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path().join("root/etc")).unwrap();
    let kernel = mini("x86_64");
    let name = registry.name("example:v1");
    let printed = run(
        &bench,
        "package",
        &[kernel.to_str().unwrap(), "root", &name],
    );
    assert!(printed.starts_with(&format!("{name}@sha256:")), "{printed}");
    let other = Bench::new();
    assert_eq!(run(&other, "list_platforms", &[&name]), "qemu/x86_64\n");
}

#[test]
fn build_dockerfile_writes_an_archive() {
    let bench = Bench::new();
    context(
        &bench,
        &[
            ("Dockerfile", "FROM scratch\nCOPY file /etc/motd\n"),
            ("file", "hello\n"),
        ],
    );
    let printed = run(
        &bench,
        "build_dockerfile",
        &["context/Dockerfile", "root.cpio"],
    );
    assert!(printed.starts_with("wrote root.cpio, "), "{printed}");
    assert_eq!(
        bench.ok(["rootfs", "cat", "root.cpio", "/etc/motd"]),
        "hello\n"
    );
}
