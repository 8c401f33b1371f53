//! Two descriptions of the API, and long lists.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use kraft_cloud_emulator::{Hard, Settings};
use kraft_e2e::cloud::{Cloud, TOKEN, dialect, in_both};
use kraft_e2e::harness::{Bench, Outcome};
use serde_json::{Value, json};

/// Makes many resources of a kind with names that do not repeat.
fn fill(cloud: &Cloud, kind: &str, prefix: &str, count: usize) {
    for at in 0..count {
        let name = format!("{prefix}-{at}");
        let (path, body) = match kind {
            "volume" => ("volumes", json!([{"name": name, "size_mb": 1}])),
            "service" => ("services", json!({"name": name, "services": []})),
            _ => ("instances", json!({"name": name, "image": "tester/web"})),
        };
        cloud.ok(&format!("POST /{path}"), &body);
    }
}

#[test]
fn long_lists_are_complete_while_resources_come_and_go() {
    let hard = Hard {
        instances: 10_000,
        groups: 10_000,
        volumes: 10_000,
        memory: 1 << 30,
    };
    in_both(|| {
        let cloud = Cloud::with(Settings {
            hard,
            ..Settings::default()
        });
        let bench = Bench::new();
        cloud.door("POST images", &json!({"name": "tester/web"}));
        for kind in ["instance", "volume", "service"] {
            fill(&cloud, kind, "kept", 250);
            fill(&cloud, kind, "gone", 20);
            cloud.door("DELETE requests", &Value::Null);
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut at = 0;
                    while !over.load(Ordering::SeqCst) {
                        let path = format!("/{kind}s");
                        let gone = json!([{"name": format!("gone-{at}")}]);
                        let _ = cloud.ask(&format!("DELETE {path}"), &gone);
                        at += 1;
                        fill(&cloud, kind, &format!("new-{at}"), 1);
                    }
                });
                for _ in 0..2 {
                    let words = ["cloud", kind, "list", "-o", "json"];
                    let outcome = cloud.kraft(&bench, &words).success();
                    let listed: Value = serde_json::from_str(&outcome.stdout).unwrap();
                    let listed = listed.as_array().unwrap();
                    let mut names: Vec<&str> = listed
                        .iter()
                        .map(|one| one["name"].as_str().unwrap())
                        .collect();
                    let kept = names
                        .iter()
                        .filter(|name| name.starts_with("kept-"))
                        .count();
                    assert_eq!(kept, 250, "{kind}");
                    let count = names.len();
                    names.sort_unstable();
                    names.dedup();
                    assert_eq!(names.len(), count, "{kind}: something is listed twice");
                }
                over.store(true, Ordering::SeqCst);
            });
        }
        let asked = |entry: &Value| entry["query"].to_string().contains("\"from\"");
        let pages = cloud.journal().iter().filter(|entry| asked(entry)).count();
        assert_eq!(pages > 0, dialect() == kraft_cloud_emulator::Dialect::V2026);
    });
}

#[test]
fn a_list_continues_from_an_earlier_item_when_its_cursor_is_removed() {
    let cloud = Cloud::today(Settings::default());
    let bench = Bench::new();
    fill(&cloud, "volume", "kept", 230);
    // The cursor of the second page is gone when it is asked for.
    let listed = cloud.ok("GET /volumes", &Value::Null);
    let cursor = &listed[99];
    let slow = json!({"kind": "latency", "ms": 1500, "after": 1, "path": "/v1/volumes"});
    cloud.door("POST faults", &slow);
    let list = std::thread::scope(|scope| {
        let list = scope.spawn(|| {
            let words = ["cloud", "volume", "list", "-o", "json"];
            cloud.kraft(&bench, &words).success().stdout
        });
        // The request for the second page waits meanwhile.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let begun = std::time::Instant::now();
        while !cloud
            .door("GET requests", &Value::Null)
            .to_string()
            .contains("count")
        {
            assert!(begun.elapsed().as_secs() < 60, "the list was not requested");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        cloud.ok("DELETE /volumes", &json!([{"uuid": cursor["uuid"]}]));
        list.join().unwrap()
    });
    let list: Value = serde_json::from_str(&list).unwrap();
    let names: Vec<&Value> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    for one in listed.iter().filter(|one| *one != cursor) {
        assert!(names.contains(&&one["name"]), "{} is missing", one["name"]);
    }
}

#[test]
fn warnings_of_the_platform_are_printed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = json!({
                "status": "success", "data": {"volumes": []},
                "warnings": ["`cn` is deprecated\u{1b}[2J", {"message": "leave by May"}],
            });
            let body = body.to_string();
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            );
        }
    });
    let bench = Bench::new();
    let mut command = bench.command(["cloud", "volume", "list"]);
    command.env("UKC_METRO", &address).env("UKC_TOKEN", TOKEN);
    let outcome = Outcome::of(&mut command).success();
    for text in ["`cn` is deprecated [2J", "leave by May"] {
        assert!(outcome.stderr.contains(text), "{}", outcome.stderr);
    }
}
