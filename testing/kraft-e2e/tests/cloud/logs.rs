//! Logs of instances: every byte once, whatever becomes of the connections.

use std::fmt::Write as _;
use std::process::Stdio;

use kraft_e2e::cloud::{Cloud, in_both};
use kraft_e2e::harness::{Bench, eventually};
use serde_json::{Value, json};

/// A cloud with instances that run.
fn with_instances(names: &[&str]) -> Cloud {
    let cloud = Cloud::new();
    cloud.door("POST images", &json!({"name": "tester/web"}));
    for name in names {
        let new = json!({
            "name": name, "image": "tester/web", "autostart": true, "wait_timeout_ms": 60_000,
        });
        cloud.ok("POST /instances", &new);
    }
    cloud
}

fn print(cloud: &Cloud, name: &str, text: &str) {
    cloud.door("POST console", &json!({"name": name, "text": text}));
}

/// Numbered lines.
fn lines(range: std::ops::Range<usize>) -> String {
    range.fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "line {number} {}", "x".repeat(number % 70));
        text
    })
}

fn logs(cloud: &Cloud, more: &[&str]) -> String {
    let words: Vec<&str> = ["cloud", "instance", "logs"]
        .iter()
        .chain(more)
        .copied()
        .collect();
    cloud.kraft(&Bench::new(), &words).success().stdout
}

#[test]
fn a_log_is_printed_completely_or_from_its_last_lines() {
    in_both(|| {
        let cloud = with_instances(&["web"]);
        // Longer than two answers.
        let all = lines(0..1000);
        print(&cloud, "web", &all);
        assert_eq!(logs(&cloud, &["web"]), all);
        for count in [0, 1, 7, 400, 999, 1000, 5000] {
            let wanted: String = all
                .lines()
                .skip(1000_usize.saturating_sub(count))
                .fold(String::new(), |text, line| text + line + "\n");
            assert_eq!(
                logs(&cloud, &["-n", &count.to_string(), "web"]),
                wanted,
                "{count}"
            );
        }
    });
}

#[test]
fn several_logs_are_prefixed_with_their_names() {
    in_both(|| {
        let cloud = with_instances(&["web", "shop-1"]);
        print(&cloud, "web", "one\n");
        print(&cloud, "shop-1", "two\nthree");
        assert_eq!(
            logs(&cloud, &["web", "shop-1"]),
            "web    | one\nshop-1 | two\nshop-1 | three\n"
        );
        assert_eq!(
            logs(&cloud, &["--no-prefix", "web", "shop-1"]),
            "one\ntwo\nthree"
        );
        assert_eq!(logs(&cloud, &["-p", "x", "web"]), "x | one\n");
    });
}

#[test]
fn logs_follow_neither_loses_nor_repeats_bytes_across_broken_connections() {
    in_both(|| {
        let cloud = with_instances(&["web"]);
        let bench = Bench::new();
        let words = [
            "cloud",
            "instance",
            "logs",
            "-f",
            "web",
            "--http-retries",
            "0",
        ];
        let out = bench.path().join("out");
        let child = cloud
            .command(&bench, &words)
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let read = || std::fs::read_to_string(&out).unwrap();
        let mut all = "hello\n".to_owned();
        print(&cloud, "web", &all);
        eventually("the first line", || read() == all);
        let kinds = [
            json!({"kind": "drop-before"}),
            json!({"kind": "half", "path": "/v1/instances/log"}),
            json!({"kind": "drop-after", "times": 2}),
            json!({"kind": "status", "status": 500}),
            json!({"kind": "status", "status": 429, "retry_after": 0}),
        ];
        for (turn, fault) in kinds.iter().enumerate() {
            let text = lines(turn * 400..turn * 400 + 400);
            cloud.door("POST faults", fault);
            // The last line comes in two pieces.
            let (before, behind) = text.split_at(text.len() - 5);
            print(&cloud, "web", before);
            eventually("the first piece", || read().ends_with(before));
            print(&cloud, "web", behind);
            all.push_str(&text);
            eventually("the whole turn", || read().len() >= all.len());
            assert_eq!(read(), all, "after turn {turn}");
        }
        let met = cloud
            .journal()
            .iter()
            .filter(|entry| !entry["fault"].is_null())
            .count();
        assert_eq!(met, 6, "every fault was met");
        cloud.ok("PUT /instances/stop", &json!([{"name": "web"}]));
        let over = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&over.stderr).into_owned();
        assert!(over.status.success(), "{said}");
        assert!(
            said.contains("`web` has ended: stopped by its user"),
            "{said}"
        );
        assert_eq!(read(), all);
    });
}

#[test]
fn a_removed_instance_ends_logs_follow() {
    in_both(|| {
        let cloud = with_instances(&["web"]);
        let bench = Bench::new();
        let mut command = cloud.command(&bench, &["cloud", "instance", "logs", "-f", "web"]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        eventually("the first look", || {
            cloud
                .journal()
                .iter()
                .any(|entry| entry["path"] == "/v1/instances/log")
        });
        cloud.ok("DELETE /instances", &json!([{"name": "web"}]));
        let over = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&over.stderr).into_owned();
        assert!(over.status.success(), "{said}");
        assert!(said.contains("`web` was removed"), "{said}");
    });
}

#[test]
fn missing_parts_of_a_log_are_reported() {
    in_both(|| {
        let cloud = with_instances(&["web"]);
        // The emulator keeps a mebibyte.
        let piece = lines(0..2000);
        let mut printed = 0;
        while printed < (1 << 20) + piece.len() {
            print(&cloud, "web", &piece);
            printed += piece.len();
        }
        let outcome = cloud
            .kraft(&Bench::new(), &["cloud", "instance", "logs", "web"])
            .success();
        assert_eq!(outcome.stdout.len(), 1 << 20);
        let gone = format!("{} bytes of the log of `web` are lost", printed - (1 << 20));
        assert!(
            outcome.stderr.contains(&gone),
            "no {gone}: {}",
            outcome.stderr
        );
        let log = cloud.ok(
            "GET /instances/log",
            &json!([{"name": "web", "offset": -5}]),
        );
        assert_ne!(log[0]["output"], Value::from(""));
    });
}

#[test]
fn instances_are_restarted_and_those_of_a_service_are_logged_and_removed() {
    in_both(|| {
        let cloud = with_instances(&["alone"]);
        let ports = json!([{"port": 443, "destination_port": 8080, "handlers": ["tls", "http"]}]);
        cloud.ok(
            "POST /services",
            &json!({"name": "shop", "services": ports}),
        );
        for name in ["one", "two"] {
            let new = json!({
                "name": name, "image": "tester/web", "autostart": true, "wait_timeout_ms": 60_000,
                "service_group": {"name": "shop"},
            });
            cloud.ok("POST /instances", &new);
            print(&cloud, name, &format!("here is {name}\n"));
        }
        let bench = Bench::new();
        let run = |line: &str| {
            let words: Vec<&str> = ["cloud"].into_iter().chain(line.split(' ')).collect();
            cloud.kraft(&bench, &words).success().stdout
        };
        assert_eq!(
            run("service logs shop"),
            "one | here is one\ntwo | here is two\n"
        );
        assert_eq!(run("instance restart one"), "one\n");
        run("instance wait one");
        let one = run("instance get one -o json");
        let one: Value = serde_json::from_str(&one).unwrap();
        assert_eq!(one[0]["start_count"], 2, "{one:#}");
        assert_eq!(run("service drain shop"), "one\ntwo\n");
        assert_eq!(run("service logs shop"), "");
        assert_eq!(run("service drain shop"), "");
        assert_eq!(run("instance list -o json").matches("\"alone\"").count(), 1);
    });
}
