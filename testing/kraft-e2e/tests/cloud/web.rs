//! A deployed server answers the world: under its name, with TLS, from a real machine.

use std::fs;

use kraft_e2e::cloud::Cloud;
use kraft_e2e::guest::package;
use kraft_e2e::harness::{Bench, Outcome, eventually, has_builtin_runtime, skip};
use kraft_e2e::registry::Registry;
use serde_json::{Value, json};

/// A bench with a project whose server is a script for busybox, a registry with the built-in runtime, and a cloud with
/// real machines; `None` (and said so) if something is missing here.
fn shop(script: &str) -> Option<(Registry, Bench, Cloud)> {
    let registry = Registry::plain()?;
    let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
    if !has_builtin_runtime() {
        skip("the built-in runtime is not built: make runtime");
        return None;
    }
    let dir = bench.path().join("shop");
    fs::create_dir(&dir).unwrap();
    if fs::copy("/bin/busybox", dir.join("busybox")).is_err() {
        skip("busybox-static is not installed");
        return None;
    }
    fs::write(
        dir.join("script"),
        format!("/bin/busybox --install -s /bin\n{script}\n"),
    )
    .unwrap();
    let dockerfile = "FROM scratch\nCOPY busybox /bin/\nCOPY script /\n\
        COPY <<PAGE /www/index.html\nopen all day\nPAGE\n";
    fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    let command = r#"["/bin/busybox", "sh", "/script"]"#;
    let kraftfile = format!("spec: v0.6\nrootfs: ./Dockerfile\ncmd: {command}\n");
    fs::write(dir.join("Kraftfile"), kraftfile).unwrap();
    // What the platform runs a project on that names no runtime.
    let base = registry.name("official/base:latest");
    bench.ok(["pkg", "tag", "builtin", &base]);
    bench.ok(["pkg", "push", &base]);
    let cloud = Cloud::real(&bench, &registry);
    Some((registry, bench, cloud))
}

#[test]
fn a_deployed_web_site_answers_under_its_name_once_deploy_returns() {
    let Some((_registry, bench, cloud)) = shop("httpd -f -p 8080 -h /www") else {
        return;
    };
    let words = [
        "cloud",
        "deploy",
        "-p",
        "443:8080",
        "-s",
        "shop",
        "-M",
        "256",
        "shop",
        "--scale-to-zero-cooldown",
        "5s",
    ];
    let outcome = Outcome::of(&mut cloud.visitor(&bench, &words)).success();
    for said in [
        "domain: https://shop.emu0.kraft.host",
        "state: running",
        "memory: 256 MiB",
    ] {
        assert!(
            outcome.stdout.contains(said),
            "no {said}: {}",
            outcome.stdout
        );
    }
    let page = cloud.curl(&bench, "https://shop.emu0.kraft.host/");
    assert_eq!(page, "open all day\n\n200 ");
    let plain = cloud.curl(&bench, "http://shop.emu0.kraft.host/x?y=1");
    assert_eq!(plain, "\n308 https://shop.emu0.kraft.host/x?y=1");
    // It is scaled to zero when idle, and started by a request.
    let state = || cloud.ok("GET /instances", &Value::Null)[0]["state"].clone();
    eventually("its sleep", || state() == "standby");
    let page = cloud.curl(&bench, "https://shop.emu0.kraft.host/");
    assert_eq!(page, "open all day\n\n200 ");
    assert_eq!(state(), "running");
    // An unknown name does not resolve.
    let other = cloud.curl(&bench, "https://other.emu0.kraft.host/");
    assert!(other.contains("502"), "{other}");
}

#[test]
fn a_machine_that_is_rolled_out_suspended_saved_and_restored_answers() {
    let Some((_registry, bench, cloud)) = shop("httpd -f -p 8080 -h /www") else {
        return;
    };
    let run = |line: &str| {
        let words: Vec<&str> = std::iter::once("cloud").chain(line.split(' ')).collect();
        Outcome::of(&mut cloud.visitor(&bench, &words))
            .success()
            .stdout
    };
    let answers = |what: &str| {
        eventually(what, || {
            cloud.curl(&bench, "https://shop.emu0.kraft.host/") == "open all day\n\n200 "
        });
    };
    run("service create -n front -s shop 443:8080");
    run("deploy -g front -M 256 -n one shop");
    answers("the deployed machine");
    // The same project again changes nothing, another configuration replaces the instance.
    run("deploy -g front -M 256 -n one shop");
    assert_eq!(cloud.ok("GET /instances", &Value::Null).len(), 1);
    run(
        "deploy -g front -M 256 -n two -e A=b --rollout remove --rollout-qualifier all --rollout-wait 120s shop",
    );
    answers("the machine that replaced it");
    let left = cloud.ok("GET /instances", &Value::Null);
    assert_eq!(
        (left.len(), &left[0]["name"]),
        (1, &json!("two")),
        "{left:?}"
    );
    run("instance suspend two");
    let state = || cloud.ok("GET /instances", &Value::Null)[0]["state"].clone();
    assert_eq!(state(), "standby");
    answers("the resumed machine");
    assert_eq!(state(), "running");
    run("instance checkpoint create -n saved two");
    run("instance remove two");
    run("instance create -n three --checkpoint saved -g front -S");
    answers("the restored machine");
    run("instance template create three");
    run("instance create -n four --template three -g front -S");
    answers("the clone");
}

#[test]
fn a_volume_is_mounted_in_the_machine_and_outlives_it() {
    let script = "cat /data/visits; echo visited >>/data/visits; echo written; sleep 600";
    let Some((_registry, bench, cloud)) = shop(script) else {
        return;
    };
    let visit = |name: &str| {
        let words = [
            "cloud",
            "deploy",
            "-n",
            name,
            "-M",
            "256",
            "-v",
            "data:/data:size=16",
            "shop",
        ];
        let _ = Outcome::of(&mut cloud.visitor(&bench, &words)).success();
        let logs = ["cloud", "instance", "logs", name];
        let mut said = String::new();
        eventually("its words", || {
            said = cloud.kraft(&bench, &logs).success().stdout;
            said.contains("written")
        });
        let _ = cloud
            .kraft(&bench, &["cloud", "instance", "remove", name])
            .success();
        said
    };
    let first = visit("first");
    assert!(!first.contains("visited"), "{first}");
    let second = visit("second");
    assert!(second.contains("visited"), "{second}");
}

#[test]
fn a_server_that_never_answers_fails_the_deployment_with_its_last_output() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let cloud = Cloud::real(&bench, &registry);
    let name = registry.name("tester/shop:v1");
    package(&bench, &name, &["--args", "@print:gone-fishing"]);
    bench.ok(["pkg", "push", &name]);
    let words = [
        "cloud",
        "deploy",
        "-p",
        "443:8080",
        "-n",
        "shop",
        "--timeout",
        "6s",
        "tester/shop:v1",
        "--",
        "@sleep:600",
    ];
    let outcome = Outcome::of(&mut cloud.visitor(&bench, &words)).exits(8);
    for said in [
        "`shop` runs, but https://",
        "does not answer after 6s",
        "gone-fishing",
    ] {
        assert!(
            outcome.stderr.contains(said),
            "no {said}: {}",
            outcome.stderr
        );
    }
    let there = cloud.ok("GET /instances", &Value::Null);
    assert_eq!(there[0]["state"], "running");
}
