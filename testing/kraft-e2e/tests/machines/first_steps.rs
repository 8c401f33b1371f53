//! The pages that users start with, executed as they are: README's tour and the tutorial.
//!
//! What is replaced is what a test cannot share: the port 8080 of the host, and the name of the registry.
//! The base image of the Dockerfile is in the local store, as if it had been pulled.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kraft_e2e::dockerfiles::{base_tar, push_base};
use kraft_e2e::guest;
use kraft_e2e::harness::{Bench, Outcome, has_builtin_runtime, kraft_binary, repository, skip};
use kraft_e2e::registry::{Registry, free_port, installed};

/// A home whose store has the base image of web sites, and a registry; `None` (and said so) without one
/// of them.
fn prepare() -> Option<(Registry, Bench)> {
    if !has_builtin_runtime() {
        skip("the built-in runtime is not built: make runtime");
        return None;
    }
    if !installed("curl") {
        skip("curl is not installed: scripts/setup.sh demo");
        return None;
    }
    let registry = Registry::plain()?;
    let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
    let tar = base_tar(bench.path())?;
    let image = registry.name("busybox:1");
    push_base(&registry, &tar, &image);
    // A container image is pulled for a Dockerfile.
    let context = bench.path().join("base-image");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("Dockerfile"), format!("FROM {image}\n")).unwrap();
    bench.ok([
        "rootfs",
        "build",
        "base-image/Dockerfile",
        "-o",
        "base.cpio",
    ]);
    bench.ok(["tag", &image, "docker.io/library/busybox:1.37-musl"]);
    Some((registry, bench))
}

/// Returns the shell blocks of a page that follow a mark, or all.
fn blocks(page: &str, mark: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("```sh\n") {
        let (block, after) = after.split_once("```").unwrap();
        if mark.is_none_or(|mark| before.trim_end().ends_with(mark)) {
            found.push(block.to_owned());
        }
        rest = after;
    }
    found
}

/// Runs a script as a user would type it, in a directory.
fn typed(bench: &Bench, registry: &Registry, dir: &Path, script: &str) -> Outcome {
    let programs = bench.path().join("programs");
    if !programs.exists() {
        fs::create_dir(&programs).unwrap();
        symlink(kraft_binary(), programs.join("kraft")).unwrap();
    }
    let port = free_port();
    let script = script
        .replace("8080:8080", &format!("127.0.0.1:{port}:8080"))
        .replace("localhost:8080", &format!("127.0.0.1:{port}"))
        .replace("registry.example.com", &registry.address());
    let path = std::env::var("PATH").unwrap_or_default();
    let mut bash = bench.command_of(Path::new("bash"), ["-euxo", "pipefail", "-c", &script]);
    bash.current_dir(dir)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("no_proxy", "127.0.0.1");
    Outcome::of(&mut bash)
}

#[test]
fn the_tutorial_ends_with_a_deployed_application() {
    let Some((registry, bench)) = prepare() else {
        return;
    };
    let page = fs::read_to_string(repository().join("docs/tutorial.md")).unwrap();
    let script = blocks(&page, None).concat();
    let dir = bench.path().join("tutorial");
    fs::create_dir(&dir).unwrap();
    let outcome = typed(&bench, &registry, &dir, &script).success();
    let pages = outcome.stdout.matches("Hello from a unikernel!").count();
    assert!(pages >= 1, "{}", outcome.stdout);
    // From the changed files, the image and the Compose file.
    let changed = outcome.stdout.matches("<p>Hello again!</p>").count();
    assert_eq!(changed, 3, "{}\n{}", outcome.stdout, outcome.stderr);
    assert_eq!(
        bench.json(["ps", "--all", "-o", "json"]),
        serde_json::json!([])
    );
}

#[test]
fn the_tour_of_the_readme_works_as_it_is_written() {
    let Some((registry, bench)) = prepare() else {
        return;
    };
    guest::mini("x86_64");
    let page = fs::read_to_string(repository().join("README.md")).unwrap();
    let tours = blocks(&page, Some("<!-- tour -->"));
    let [application, kernels] = tours.as_slice() else {
        panic!("not two tours: {tours:?}");
    };
    let dir = bench.path().join("clone");
    fs::create_dir(&dir).unwrap();
    symlink(repository().join("guests"), dir.join("guests")).unwrap();
    let outcome = typed(&bench, &registry, &dir, application).success();
    assert!(
        outcome.stdout.contains("Hello from a unikernel!"),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stderr.contains("no errors"), "{}", outcome.stderr);
    let outcome = typed(&bench, &registry, &dir, kernels).success();
    assert!(
        outcome.stdout.contains("arg 2 \"two words\""),
        "{}",
        outcome.stdout
    );
    assert!(dir.join("initrd.cpio").is_file());
}
