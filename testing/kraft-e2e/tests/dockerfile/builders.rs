//! Which builder builds: the order, what happens when one fails for a reason of its own, and what
//! `kraft doctor` says about them.

use std::fs;

use kraft_e2e::dockerfiles::{base_tar, build, context, push_base, text};
use kraft_e2e::engines::Docker;
use kraft_e2e::harness::Bench;
use kraft_e2e::program;
use kraft_e2e::registry::Registry;

/// A directory that is the whole search path, with scripts in the place of programs.
fn with_programs(bench: Bench, programs: &[(&str, &str)]) -> Bench {
    let bin = bench.path().join("only");
    fs::create_dir_all(&bin).unwrap();
    for (name, script) in programs {
        program::script(
            &bin.join(name),
            &format!("export PATH=/usr/bin:/bin\n{script}"),
        );
    }
    let nowhere = format!("unix://{}", bench.path().join("nowhere").display());
    let search = bin.display().to_string();
    bench.env("PATH", &search).env("DOCKER_HOST", &nowhere)
}

#[test]
fn an_engine_without_a_network_is_skipped_for_the_next_builder() {
    let (Some(docker), Some(registry)) = (Docker::start(), Registry::plain()) else {
        return;
    };
    let host = format!("unix://{}", docker.socket().display());
    let bench = Bench::new().env("DOCKER_HOST", &host);
    let Some(base) = base_tar(bench.path()) else {
        return;
    };
    let name = registry.name("base:1");
    push_base(&registry, &base, &name);
    docker.import(&base, &name);
    let dockerfile = format!("FROM {name}\nRUN echo built > /made\n");
    context(&bench, &[("Dockerfile", &dockerfile)]);
    let outcome = build(&bench, &[]).success();
    assert_eq!(text(&bench, "made"), "built\n");
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.contains("network bridge not found"));
    let line = line.unwrap_or_else(|| panic!("{}", outcome.stderr));
    assert!(line.contains("trying the next builder"), "{line}");
    assert!(
        outcome.stderr.contains("with kraft itself"),
        "{}",
        outcome.stderr
    );
    // One that was named is not replaced, but the way out is shown.
    let outcome = build(&bench, &["--builder", "docker", "--no-rootfs-cache"]).exits(6);
    assert!(
        outcome.stderr.contains("network bridge not found"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("--builder kraft"),
        "{}",
        outcome.stderr
    );
    // A command that fails is no reason to try another.
    let dockerfile = format!("FROM {name}\nRUN echo cgroup >&2; exit 3\n");
    context(&bench, &[("Dockerfile", &dockerfile)]);
    let outcome = build(&bench, &["--build-network", "none"]).exits(6);
    assert!(
        !outcome.stderr.contains("trying the next"),
        "{}",
        outcome.stderr
    );
}

/// A program that works, and cannot start a container.
const REFUSING: &str = "case $1 in info) exit 0;; esac\n\
    while [ $# -gt 0 ]; do [ \"$1\" = --file ] && cp \"$2\" \"$(dirname \"$0\")/../given\"; shift; done\n\
    echo 'error running container: from /usr/bin/crun creating container for [/bin/sh -c x]: \
cgroups in hybrid mode not supported' >&2\n\
    echo 'Error: building at STEP \"RUN x\": while running runtime: exit status 1' >&2\n\
    exit 1\n";

#[test]
fn builders_are_tried_in_their_order() {
    let bench = with_programs(Bench::new(), &[("buildah", REFUSING), ("podman", REFUSING)]);
    context(
        &bench,
        &[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "x")],
    );
    let outcome = build(&bench, &[]).success();
    assert!(
        outcome.stderr.contains("with kraft itself"),
        "{}",
        outcome.stderr
    );
    // Only a builder with privileges could do this.
    let dockerfile = "ARG V=13\nFROM gcc:$V AS one\nFROM one\nRUN --security=insecure x\n";
    context(&bench, &[("Dockerfile", dockerfile)]);
    let outcome = build(&bench, &[]).exits(6);
    for program in ["`buildah`", "`podman`"] {
        let start = format!("{program} failed for a reason of its own");
        let line = outcome.stderr.lines().find(|line| line.contains(&start));
        let line = line.unwrap_or_else(|| panic!("{program}: {}", outcome.stderr));
        assert!(line.contains("hybrid mode not supported"), "{line}");
    }
    // The image was named as Docker means it.
    let given = fs::read_to_string(bench.path().join("given")).unwrap();
    assert!(
        given.contains("FROM docker.io/library/gcc:13 AS one\nFROM one\n"),
        "{given}"
    );
    let outcome = build(&bench, &["--builder", "buildah"]).exits(6);
    assert!(
        outcome.stderr.contains("--builder kraft"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_doctor_lists_builders_in_their_order_with_their_state() {
    let broken = "echo 'storage is locked' >&2; exit 1\n";
    let bench = with_programs(Bench::new(), &[("buildah", "exit 0\n"), ("podman", broken)]);
    let run = bench.kraft(["doctor", "-o", "json"]);
    let checks: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let details: Vec<String> = checks
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["name"] == "Dockerfile builder")
        .map(|check| check["detail"].as_str().unwrap().to_owned())
        .collect();
    let at = |part: &str| {
        let found = details.iter().position(|detail| detail.contains(part));
        found.unwrap_or_else(|| panic!("{part}: {details:#?}"))
    };
    let order = [
        at("buildkitd at unix:///run/buildkit/buildkitd.sock"),
        at("the Docker engine at "),
        at("kraft itself"),
        at("`buildah`"),
        at("`podman`: not usable: storage is locked"),
        at("a buildkitd in a container: not usable: it is not installed"),
    ];
    assert!(order.is_sorted(), "{details:#?}");
    assert!(
        details[at("`buildah`")].starts_with("`buildah`"),
        "{details:#?}"
    );
    assert!(
        !details[at("`buildah`")].contains("not usable"),
        "{details:#?}"
    );
}
