//! A pushed image becomes a real machine behind the emulated cloud.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use kraft_e2e::cloud::{Cloud, in_both};
use kraft_e2e::guest::{MOTD, Report, mini, package, project_on, push_runtime};
use kraft_e2e::harness::{Bench, eventually};
use kraft_e2e::registry::Registry;
use kraft_e2e::source::{skipped, workshop};
use serde_json::{Value, json};

fn console(cloud: &Cloud, name: &str) -> String {
    let log = cloud.ok("GET /instances/log", &json!([{"name": name, "offset": 0}]));
    let text = log[0]["output"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    String::from_utf8_lossy(&bytes.unwrap()).into_owned()
}

fn state(cloud: &Cloud, name: &str) -> Value {
    cloud.ok("GET /instances", &json!([{"name": name}]))[0]["state"].clone()
}

#[test]
fn an_instance_of_a_pushed_image_is_a_real_machine() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("tester/motd:latest");
    let digest = package(&bench, &name, &[]);
    bench.ok(["pkg", "push", &name]);
    let cloud = Cloud::real(&bench, &registry);
    let wanted = json!([{"tag": "tester/motd:latest"}]);
    let listed = cloud.ok("GET /images/list", &wanted);
    assert_eq!(listed[0]["digest"], format!("tester/motd@{digest}"));

    let new = json!({
        "name": "motd", "image": format!("tester/motd@{digest}"), "autostart": true,
        "args": ["@cat:/etc/motd", "@sleep:600"], "wait_timeout_ms": 60000,
    });
    let made = cloud.ok("POST /instances", &new);
    assert_eq!(
        made[0]["state"],
        "running",
        "{made:#?}\n{}",
        console(&cloud, "motd")
    );
    eventually("its console", || console(&cloud, "motd").contains(MOTD));
    cloud.ok("PUT /instances/stop", &json!([{"name": "motd"}]));
    eventually("its end", || state(&cloud, "motd") == "stopped");
    cloud.ok("DELETE /instances", &json!([{"name": "motd"}]));
    assert_eq!(bench.json(["ps", "--all", "-o", "json"]), json!([]));
}

#[test]
fn a_machine_that_crashes_stops_its_instance_and_leaves_its_console() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("tester/motd:latest");
    package(&bench, &name, &[]);
    bench.ok(["pkg", "push", &name]);
    let cloud = Cloud::real(&bench, &registry);
    let new = json!({
        "name": "bang", "image": "tester/motd:latest", "autostart": true,
        "args": ["@print:going", "@crash:panic"],
    });
    cloud.ok("POST /instances", &new);
    eventually("its end", || state(&cloud, "bang") == "stopped");
    let told = cloud.ok("GET /instances", &json!([{"name": "bang"}]));
    assert_eq!(told[0]["stop_reason"], 1, "{told:#?}");
    assert!(console(&cloud, "bang").contains("going"));
    // One that is to be started again is booted again.
    let mut new = new;
    new["name"] = json!("again");
    new["restart_policy"] = json!("on-failure");
    cloud.ok("POST /instances", &new);
    eventually("its second life", || {
        state(&cloud, "again") == "stopped"
            && console(&cloud, "again").matches("\ngoing").count() >= 2
    });
}

#[test]
fn a_published_port_leads_to_the_instances_in_turn() {
    in_both(|| {
        let cloud = Cloud::new();
        cloud.door("POST images", &json!({"name": "tester/web"}));
        let mapping = json!({"port": 80, "destination_port": 8080, "handlers": ["http"]});
        cloud.ok(
            "POST /services",
            &json!({"name": "front", "services": [mapping]}),
        );
        for name in ["one", "two"] {
            let new = json!({
                "name": name, "image": "tester/web", "service_group": {"name": "front"},
                "autostart": true, "wait_timeout_ms": 60_000,
            });
            cloud.ok("POST /instances", &new);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    stream.unwrap().write_all(name.as_bytes()).unwrap();
                }
            });
            let backend = json!({"name": name, "port": 8080, "address": address});
            cloud.door("POST backends", &backend);
        }
        let mut seen: Vec<String> = (0..4)
            .map(|_| {
                let mut said = String::new();
                let mut stream = TcpStream::connect(cloud.published(80)).unwrap();
                stream.read_to_string(&mut said).unwrap();
                said
            })
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["one", "two"]);
    });
}

/// A bench, a registry and a cloud whose instances are machines of that bench; `None` (and said
/// so) if there is no registry here.
fn place() -> Option<(Registry, Bench, Cloud)> {
    let registry = Registry::plain()?;
    let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
    let cloud = Cloud::real(&bench, &registry);
    Some((registry, bench, cloud))
}

#[test]
fn a_project_with_a_dockerfile_ends_as_a_running_unikernel() {
    in_both(|| {
        let Some((registry, bench, cloud)) = place() else {
            return;
        };
        let runtime = push_runtime(&registry, &bench, &mini("x86_64"));
        let dir = bench.path().join("My Shop");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("motd"), "open all day\n").unwrap();
        let dockerfile =
            "FROM scratch\nCOPY motd /etc/motd\nENTRYPOINT [\"@cat:/etc/motd\", \"@sleep:600\"]\n";
        fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
        let kraftfile = format!("spec: v0.6\nruntime: {runtime}\nrootfs: ./Dockerfile\n");
        fs::write(dir.join("Kraftfile"), kraftfile).unwrap();

        let words = [
            "cloud",
            "deploy",
            "-p",
            "8443:8080/tls",
            "-e",
            "COLOUR=blue",
            "My Shop",
        ];
        let outcome = cloud.kraft(&bench, &words).success();
        assert!(
            outcome.stdout.starts_with("[●] Deployed successfully!\n"),
            "{}",
            outcome.stdout
        );
        let listed = cloud.ok("GET /instances", &Value::Null);
        assert_eq!(listed.len(), 1);
        let name = listed[0]["name"].as_str().unwrap();
        assert!(name.starts_with("myshop-"), "{name}");
        let image = listed[0]["image"].as_str().unwrap();
        assert!(image.starts_with("tester/myshop@sha256:"), "{image}");
        eventually("its greeting", || {
            console(&cloud, name).contains("open all day")
        });
        let report = Report::parse(&console(&cloud, name));
        assert!(
            report.env.contains(&"COLOUR=blue".to_owned()),
            "{:?}",
            report.env
        );
        let words = ["cloud", "instance", "remove", name];
        assert_eq!(cloud.kraft(&bench, &words).success().stdout.trim(), name);
        assert_eq!(bench.json(["ps", "--all", "-o", "json"]), json!([]));
    });
}

#[test]
fn an_image_without_the_clouds_platform_uses_any_that_the_cloud_runs() {
    in_both(|| {
        let Some((registry, bench, cloud)) = place() else {
            return;
        };
        let runtime = push_runtime(&registry, &bench, &mini("x86_64"));
        let kernel = mini("x86_64");
        let args = ["--arch", "x86_64", "--plat", "fc", "--strategy", "merge"];
        bench.ok([
            "pkg",
            "--name",
            &runtime,
            "--kernel",
            kernel.to_str().unwrap(),
            "--push",
        ]
        .iter()
        .chain(&args));
        project_on(&bench, &runtime, "shop");
        let platforms = |image: &str| -> Vec<String> {
            let listed = bench.packages(&[]);
            let named = registry.name(image);
            let rows = listed.as_array().unwrap().iter();
            rows.filter(|row| row["name"] == named.as_str())
                .map(|row| row["platform"].as_str().unwrap().to_owned())
                .collect()
        };
        let deploy = ["cloud", "deploy", "shop", "--no-start", "--name"];
        let words: Vec<&str> = deploy.iter().chain(&["both"]).copied().collect();
        let outcome = cloud.kraft(&bench, &words).success();
        assert!(
            outcome.stderr.contains("for fc/x86_64 and qemu/x86_64"),
            "{}",
            outcome.stderr
        );
        assert_eq!(platforms("tester/both"), ["fc", "qemu"]);
        let one = ["one", "--target", "qemu/x86_64"];
        let words: Vec<&str> = deploy.iter().chain(&one).copied().collect();
        let _ = cloud.kraft(&bench, &words).success();
        assert_eq!(platforms("tester/one"), ["qemu"]);
        let none = ["none", "--target", "xen/x86_64"];
        let words: Vec<&str> = deploy.iter().chain(&none).copied().collect();
        let outcome = cloud.kraft(&bench, &words).exits(2);
        assert!(
            outcome.stderr.contains("nothing for `xen/x86_64`"),
            "{}",
            outcome.stderr
        );
    });
}

#[test]
fn a_project_built_from_source_ends_as_a_running_unikernel() {
    in_both(|| {
        if skipped() {
            return;
        }
        let Some((_registry, bench, cloud)) = place() else {
            return;
        };
        let place = workshop(&bench);
        let app = place.join("apps/app-two-libs");
        let outcome = cloud.kraft(
            &bench,
            &["cloud", "deploy", app.to_str().unwrap(), "-o", "json"],
        );
        let outcome = outcome.success();
        let listed: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let name = listed[0]["name"].as_str().unwrap();
        eventually("its greeting", || {
            console(&cloud, name).contains("hello to two libraries!")
        });
    });
}

#[test]
fn an_image_of_the_platform_is_deployed_with_more_arguments() {
    in_both(|| {
        let Some((registry, bench, cloud)) = place() else {
            return;
        };
        let name = registry.name("tester/motd:v1");
        package(&bench, &name, &["--args", "@cat:/etc/motd"]);
        bench.ok(["pkg", "push", &name]);
        let words = [
            "cloud",
            "deploy",
            "-n",
            "web",
            "tester/motd:v1",
            "--",
            "@sleep:600",
        ];
        let outcome = cloud.kraft(&bench, &words).success();
        assert!(outcome.stdout.contains("name: web\n"), "{}", outcome.stdout);
        eventually("its console", || console(&cloud, "web").contains(MOTD));
        assert_eq!(state(&cloud, "web"), "running");
    });
}

#[test]
fn an_instance_on_standby_at_once_is_deployed_successfully() {
    in_both(|| {
        let (cloud, bench) = (Cloud::new(), Bench::new());
        cloud.door("POST images", &json!({"name": "tester/web"}));
        let words = [
            "cloud",
            "deploy",
            "-n",
            "web",
            "-p",
            "8443:80/tls",
            "--scale-to-zero",
            "on",
            "--scale-to-zero-cooldown",
            "1ms",
            "tester/web",
        ];
        let outcome = cloud.kraft(&bench, &words).success();
        let title = "[●] Deployed but instance is on standby!\n";
        assert!(outcome.stdout.starts_with(title), "{}", outcome.stdout);
        let words = [
            "cloud",
            "instance",
            "wait",
            "web",
            "--state",
            "standby",
            "--timeout",
            "2m",
        ];
        assert_eq!(cloud.kraft(&bench, &words).success().stdout, "web\n");
        let words = ["cloud", "instance", "stop", "web"];
        assert_eq!(cloud.kraft(&bench, &words).success().stdout, "web\n");
    });
}

#[test]
fn an_instance_that_crashes_at_boot_fails_the_deployment_with_its_last_output() {
    in_both(|| {
        let Some((registry, bench, cloud)) = place() else {
            return;
        };
        let name = registry.name("tester/motd:v1");
        package(&bench, &name, &[]);
        bench.ok(["pkg", "push", &name]);
        let words = [
            "cloud",
            "deploy",
            "-n",
            "bang",
            // What is to answer is watched until it does, however slowly it boots here.
            "-p",
            "443:8080",
            "tester/motd:v1",
            "--",
            "@print:going",
            "@crash:panic",
        ];
        let outcome = cloud.kraft(&bench, &words).exits(8);
        for said in [
            "going",
            "the instance `bang` has ended",
            "kraft cloud instance remove bang",
        ] {
            assert!(
                outcome.stderr.contains(said),
                "no {said}: {}",
                outcome.stderr
            );
        }
    });
}

#[test]
fn an_instance_that_restarts_all_the_time_fails_the_deployment_at_its_timeout() {
    in_both(|| {
        let (cloud, bench) = (Cloud::new(), Bench::new());
        let image = json!({"name": "tester/web", "crash": "no floor\n"});
        cloud.door("POST images", &image);
        let words = [
            "cloud",
            "deploy",
            "-n",
            "web",
            "--restart",
            "on-failure",
            "--timeout",
            "1s",
            "tester/web",
        ];
        let outcome = cloud.kraft(&bench, &words).exits(8);
        for said in ["no floor", "the instance `web` does not run after 1s"] {
            assert!(
                outcome.stderr.contains(said),
                "no {said}: {}",
                outcome.stderr
            );
        }
        let words = ["cloud", "instance", "get", "web", "-o", "json"];
        let told: Value =
            serde_json::from_str(&cloud.kraft(&bench, &words).success().stdout).unwrap();
        // More often where this comes late.
        assert!(told[0]["restart"]["attempt"].as_i64() >= Some(2), "{told}");
        assert!(told[0]["start_count"].as_i64() >= Some(2), "{told}");
    });
}
