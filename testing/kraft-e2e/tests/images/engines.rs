//! Do other engines take our images? Real dockerd, real containerd, podman; each pulls the
//! `linux/amd64` side that every index carries beside the unikernels.

use std::process::{Command, Output, Stdio};

use kraft_e2e::engines::{Containerd, Docker};
use kraft_e2e::guest::package;
use kraft_e2e::harness::{Bench, skip};
use kraft_e2e::registry::{Registry, installed};

/// Pushes two images: one that engines should take, and one without the side that is for them.
fn push_both(registry: &Registry) -> (String, String) {
    let bench = Bench::new();
    let (with, without) = (registry.name("apps/motd:v1"), registry.name("apps/bare:v1"));
    package(&bench, &with, &["-e", "COLOUR=green", "--push"]);
    package(&bench, &without, &["--no-linux", "--push"]);
    (with, without)
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn docker_uses_the_linux_manifest() {
    let (Some(registry), Some(docker)) = (Registry::plain(), Docker::start()) else {
        return;
    };
    let (with, without) = push_both(&registry);
    docker.pull(&with, "linux/amd64").unwrap();
    let config = &docker.create(&with)["Config"];
    let cmd = serde_json::json!(["@cat:/etc/motd", "packaged"]);
    assert_eq!(config["Cmd"], cmd, "{config:#}");
    let env = config["Env"].as_array().unwrap();
    assert!(env.contains(&"COLOUR=green".into()), "{config:#}");
    // So that the test proves something: what is not for docker, docker refuses.
    let refusal = docker.pull(&without, "linux/amd64").unwrap_err();
    assert!(refusal.contains("no matching manifest"), "{refusal}");
}

#[test]
fn containerd_uses_the_linux_manifest() {
    let (Some(registry), Some(containerd)) = (Registry::plain(), Containerd::start()) else {
        return;
    };
    let (with, without) = push_both(&registry);
    let pull = |name: &str| {
        containerd.ctr(&[
            "images",
            "pull",
            "--plain-http",
            "--platform",
            "linux/amd64",
            name,
        ])
    };
    let pulled = pull(&with);
    assert!(pulled.status.success(), "{}", told(&pulled));
    let checked = containerd.ctr(&["images", "check", &format!("name=={with}")]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(text.contains("complete"), "{text}{}", told(&checked));
    let refused = pull(&without);
    assert!(
        !refused.status.success(),
        "containerd took what is not for it"
    );
}

#[test]
fn podman_uses_the_linux_manifest() {
    if !installed("podman") {
        // It is needed for nothing else, so it is optional.
        eprintln!("SKIPPED: podman is not installed");
        return;
    }
    let Some(registry) = Registry::plain() else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let podman = |words: &[&str]| {
        Command::new("podman")
            .arg("--root")
            .arg(home.path().join("root"))
            .arg("--runroot")
            .arg(home.path().join("run"))
            .args(["--storage-driver", "vfs"])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let working = podman(&["info"]);
    if !working.status.success() {
        return skip(&format!("podman does not work here: {}", told(&working)));
    }
    let (with, without) = push_both(&registry);
    let pull = |name| {
        podman(&[
            "pull",
            "--tls-verify=false",
            "--platform",
            "linux/amd64",
            name,
        ])
    };
    let pulled = pull(&with);
    assert!(pulled.status.success(), "{}", told(&pulled));
    let shown = podman(&[
        "image",
        "inspect",
        "--format",
        "{{json .Config.Cmd}}",
        &with,
    ]);
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout).trim(),
        "[\"@cat:/etc/motd\",\"packaged\"]"
    );
    assert!(
        !pull(&without).status.success(),
        "podman took what is not for it"
    );
}
