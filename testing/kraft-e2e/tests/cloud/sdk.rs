//! The platform's official SDK for Python beside `kraft cloud`, against the emulated platform.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use kraft_cloud_emulator::Settings;
use kraft_e2e::cloud::{Cloud, TOKEN};
use kraft_e2e::harness::{Bench, repository, skip};
use kraft_e2e::python;
use serde_json::{Value, json};

/// The version that the tests are written for.
const SDK: &str = "unikraft-cloud==0.3.0";

/// Returns a Python that has the SDK; `None` (and said so) if it cannot be installed.
fn python() -> Option<PathBuf> {
    let found = python::with("unikraft-cloud-0.3.0", &[SDK]);
    if found.is_none() {
        skip("the SDK for Python: `python3 -m venv` and PyPI");
    }
    found
}

/// Runs a step of the script to its end; returns what it prints.
fn script(python: &PathBuf, cloud: &Cloud, step: &str) -> String {
    run(python, cloud, "sdk.py", &[step])
}

fn run(python: &PathBuf, cloud: &Cloud, file: &str, args: &[&str]) -> String {
    let base = cloud.metro();
    let base = base.trim_end_matches("/v1");
    let file = repository()
        .join("testing/kraft-e2e/tests/cloud")
        .join(file);
    let done = Command::new(python)
        .arg(&file)
        .args([base, TOKEN])
        .args(args)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{args:?}: {errors}{told}");
    told
}

fn cloud() -> Cloud {
    let cloud = Cloud::today(Settings::default());
    cloud.door(
        "POST images",
        &json!({"name": "tester/web", "output": "hello world\n"}),
    );
    cloud
}

#[test]
fn every_claimed_operation_works_with_the_official_sdk() {
    let Some(python) = python() else { return };
    let cloud = cloud();
    let done = script(&python, &cloud, "all");
    let done: BTreeSet<&str> = done.lines().collect();
    let apis = ["Metros", "Auth", "NodeService", "Builds"];
    let global = |name: &&&str| {
        apis.iter()
            .any(|api| name.starts_with(&format!("{api}Api.")))
    };
    let control = done.iter().filter(global).count();
    let platform = done.len() - control;
    // Two of the counted are called `list_images`, one of the platform's and one of the catalogue.
    assert!(
        platform >= 88,
        "{platform} operations of the platform: {done:#?}"
    );
    let reads = [
        "AuthApi.get_authorization",
        "ImagesApi.list_images",
        "MetrosApi.list_metros",
        "NodeServiceApi.get_node_by_uuid",
        "NodeServiceApi.list_machine_types",
        "NodeServiceApi.list_nodes",
        "NodeServiceApi.list_regions",
        "NodeServiceApi.wait_node_by_uuid",
        "NodeServiceApi.wait_nodes",
    ];
    let missed: Vec<&&str> = reads.iter().filter(|name| !done.contains(*name)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn edges_are_as_the_official_sdk_expects_them() {
    let Some(python) = python() else { return };
    let cloud = cloud();
    let bad = json!({"name": "tester/bad", "output": "boot\n", "crash": "oops\n"});
    cloud.door("POST images", &bad);
    run(&python, &cloud, "sdk_edges.py", &[]);
}

#[test]
fn commands_and_the_official_sdk_see_and_change_what_the_other_made() {
    let Some(python) = python() else { return };
    let (cloud, bench) = (cloud(), Bench::new());
    let run = |line: &str| {
        let words: Vec<&str> = std::iter::once("cloud").chain(line.split(' ')).collect();
        cloud.kraft(&bench, &words).success()
    };
    let json = |line: &str| -> Value {
        serde_json::from_str(&run(&format!("{line} -o json")).stdout).unwrap()
    };
    let pin = script(&python, &cloud, "make");
    // Commands see it, and change it.
    let got = json("instance get py");
    let got = [
        &got[0]["name"],
        &got[0]["tags"],
        &got[0]["schedules"][0]["when"],
    ];
    assert_eq!(got, [&json!("py"), &json!(["py"]), &json!("daily")]);
    for (kind, name) in [
        ("volume", "py-data"),
        ("volume template", "py-base"),
        ("service", "py-front"),
        ("certificate", "py-tls"),
        ("instance template", "py-template"),
        ("instance checkpoint", "py-check"),
        ("instance", "py"),
    ] {
        let listed = run(&format!("{kind} list")).stdout;
        assert!(listed.contains(name), "{listed}");
    }
    let scaled = json("scale get py-front");
    let scaled = [&scaled[0]["max_size"], &scaled[0]["template"]["name"]];
    assert_eq!(scaled, [&json!(3), &json!("py-template")]);
    let policy = json("scale get py-front -p busy");
    assert_eq!(policy[0]["steps"][0]["adjustment"], 50, "{policy}");
    for line in [
        "instance exec py true",
        "instance create -n from-template --template py-template",
        "instance create -n from-checkpoint --checkpoint py-check",
        "instance history from-checkpoint",
        "volume create -n from-base --template py-base",
        "instance edit py --tag seen --unset schedules",
        "instance stop --force py",
        "volume resize py-data -s 9",
        "service edit py-front --soft-limit 2",
        "scale add py-front -n more -s 800:/2",
        "scale remove py-front busy",
        "instance checkpoint remove py-check",
        "certificate remove py-tls",
    ] {
        let _ = run(line);
    }
    let _ = run(&format!("image unpin {}", pin.trim()));
    // The SDK sees what commands make.
    let pem = |label: &str| format!("-----BEGIN {label}-----\nMA==\n-----END {label}-----\n");
    std::fs::write(bench.path().join("chain.pem"), pem("CERTIFICATE")).unwrap();
    std::fs::write(bench.path().join("key.pem"), pem("PRIVATE KEY")).unwrap();
    for line in [
        "volume create -n rs-data -s 16",
        "volume create -n rs-base -s 16 --tag rs",
        "volume template create rs-base",
        "service create -n rs-front 443:8080",
        "certificate create -n rs-tls -c rs.example -C chain.pem -p key.pem",
        "instance create -n rs -M 64 --tag rs --schedule stop=daily -g rs-front -v rs-data:/data \
         -S tester/web",
        "instance create -n rs-template -M 48 tester/web",
        "instance template create rs-template",
        "instance checkpoint create -n rs-check --tag before rs",
        "scale init rs-front --template rs-template -M 5",
        "scale add rs-front -n cpu -s 800:/50 -a percent",
        "image pin tester/web",
    ] {
        let _ = run(line);
    }
    script(&python, &cloud, "see");
    // Commands see what the SDK changed.
    assert_eq!(json("scale get rs-front")[0]["policies"], json!([]));
    let checkpoint = json("instance checkpoint get rs-check");
    assert_eq!(checkpoint[0]["tags"], json!(["before", "py"]));
    assert_eq!(json("instance get rs-job")[0]["memory_mb"], 48);
    let history = json("instance history rs-back");
    assert_eq!(history[0]["name"], "rs-check");
    assert_eq!(json("volume get rs-copy")[0]["size_mb"], 16);
    let _ = cloud
        .kraft(&bench, &["cloud", "instance", "get", "rs"])
        .exits(3);
}
