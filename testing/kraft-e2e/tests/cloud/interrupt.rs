//! Ctrl-C at every stage of a deployment: it ends at once, with 130, and says what exists now.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use kraft_e2e::cloud::{Cloud, in_both};
use kraft_e2e::dockerfiles::{base_tar, push_base};
use kraft_e2e::guest::{mini, project_on, push_runtime};
use kraft_e2e::harness::{Bench, eventually};
use kraft_e2e::registry::Registry;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Runs a command until it says something, interrupts it, and returns everything it said.
fn interrupted(command: &mut Command, at: &str) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(at) {
        let read = reader.read_line(&mut said).unwrap();
        assert!(read > 0, "it ended before `{at}`: {said}");
    }
    kill_process(pid, Signal::INT).unwrap();
    reader.read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    said
}

fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "no `{word}`: {said}");
    }
}

/// A cloud that has an image, and forgets the requests so far.
fn with_image(image: &Value) -> Cloud {
    let cloud = Cloud::new();
    cloud.door("POST images", image);
    cloud.door("DELETE requests", &Value::Null);
    cloud
}

const DEPLOY: [&str; 5] = ["cloud", "deploy", "-n", "web", "tester/web"];

#[test]
fn while_the_root_filesystem_is_built() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
    let Some(base) = base_tar(bench.path()) else {
        return;
    };
    let base_name = registry.name("base:1");
    push_base(&registry, &base, &base_name);
    let dir = bench.path().join("shop");
    fs::create_dir(&dir).unwrap();
    let text = format!("FROM {base_name}\nRUN echo now; sleep 600\n");
    fs::write(dir.join("Dockerfile"), text).unwrap();
    let runtime = push_runtime(&registry, &bench, &mini("x86_64"));
    let cloud = Cloud::real(&bench, &registry);
    cloud.door("DELETE requests", &Value::Null);
    let words = ["cloud", "deploy", "--runtime", &runtime, "shop"];
    let said = interrupted(&mut cloud.command(&bench, &words), "RUN echo now");
    assert_says(
        &said,
        &["interrupted", "nothing was created on the platform"],
    );
    assert_eq!(cloud.journal(), Vec::<Value>::new());
}

#[test]
fn while_the_image_is_pushed() {
    in_both(|| {
        let Some(registry) = Registry::plain() else {
            return;
        };
        let bench = Bench::new();
        let runtime = push_runtime(&registry, &bench, &mini("x86_64"));
        project_on(&bench, &runtime, "shop");
        // A registry that takes connections and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let cloud = Cloud::new();
        let mut command = cloud.command(&bench, &["cloud", "deploy", "shop"]);
        command.env("UKC_REGISTRY", silent.local_addr().unwrap().to_string());
        let said = interrupted(&mut command, "pushing 127.0.0.1");
        assert_says(
            &said,
            &["interrupted", "nothing was created on the platform"],
        );
    });
}

#[test]
fn while_the_platform_does_not_know_the_image_yet() {
    in_both(|| {
        let Some(registry) = Registry::plain() else {
            return;
        };
        let bench = Bench::new();
        let runtime = push_runtime(&registry, &bench, &mini("x86_64"));
        project_on(&bench, &runtime, "shop");
        // It never learns of it: it has another registry.
        let cloud = Cloud::new();
        let mut command = cloud.command(&bench, &["cloud", "deploy", "shop"]);
        command.env("UKC_REGISTRY", registry.address());
        let said = interrupted(&mut command, "waiting for the platform to list");
        assert_says(
            &said,
            &[
                "there is now the image `tester/shop:latest`",
                "to continue: `kraft cloud deploy tester/shop:latest`",
                "to undo it: `kraft cloud image remove tester/shop:latest`",
            ],
        );
    });
}

#[test]
fn while_the_instance_is_created() {
    in_both(|| {
        let cloud = with_image(&json!({"name": "tester/web"}));
        let slow =
            json!({"kind": "latency", "ms": 1000, "method": "POST", "path": "/v1/instances"});
        cloud.door("POST faults", &slow);
        let said = interrupted(
            &mut cloud.command(&Bench::new(), &DEPLOY),
            "creating the instance web",
        );
        assert_says(
            &said,
            &[
                "there is now the instance `web`",
                "to undo it: `kraft cloud instance remove web`",
            ],
        );
        assert_eq!(cloud.ok("GET /instances", &Value::Null).len(), 1);
    });
}

#[test]
fn while_it_is_not_known_whether_the_instance_was_created() {
    in_both(|| {
        let cloud = with_image(&json!({"name": "tester/web"}));
        let slow =
            json!({"kind": "latency", "ms": 60_000, "method": "POST", "path": "/v1/instances"});
        cloud.door("POST faults", &slow);
        let said = interrupted(
            &mut cloud.command(&Bench::new(), &DEPLOY),
            "creating the instance web",
        );
        assert_says(&said, &["there is now perhaps the instance `web`"]);
    });
}

#[test]
fn while_the_instance_starts() {
    in_both(|| {
        let cloud = with_image(&json!({"name": "tester/web"}));
        cloud.door("PUT settings", &json!({"start_ms": 60_000}));
        let said = interrupted(
            &mut cloud.command(&Bench::new(), &DEPLOY),
            "waiting for web to run",
        );
        assert_says(
            &said,
            &[
                "there is now the instance `web`",
                "to continue: `kraft cloud instance get web`",
                "to undo it: `kraft cloud instance remove web`",
            ],
        );
    });
}

#[test]
fn while_the_instance_does_not_answer() {
    in_both(|| {
        let cloud = with_image(&json!({"name": "tester/web"}));
        let bench = Bench::new();
        let words = [
            "cloud",
            "deploy",
            "-n",
            "web",
            "-p",
            "443:8080",
            "tester/web",
        ];
        let said = interrupted(&mut cloud.visitor(&bench, &words), "to answer");
        assert_says(&said, &["there is now the instance `web`"]);
    });
}

#[test]
fn while_a_log_is_followed() {
    in_both(|| {
        let cloud = with_image(&json!({"name": "tester/web", "output": "hello\n"}));
        let bench = Bench::new();
        let _ = cloud.kraft(&bench, &DEPLOY).success();
        let mut command = cloud.command(&bench, &["cloud", "instance", "logs", "-f", "web"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let mut over = None;
        eventually("its end", || {
            over = child.try_wait().unwrap();
            over.is_some()
        });
        assert_eq!(over.unwrap().code(), Some(130));
    });
}
