//! Roll-outs: which instances of a service are left when a new one has come, for each strategy.

use kraft_cloud_emulator::Dialect;
use kraft_e2e::cloud::{Cloud, dialect, in_both};
use kraft_e2e::harness::{Bench, Outcome};
use serde_json::{Value, json};

/// A cloud with the service `front`, which has two instances of `tester/web` in its first version
/// and one of another image; the second version is there, and behind no instance yet.
fn with_service() -> Cloud {
    let cloud = Cloud::new();
    cloud.door("POST images", &json!({"name": "tester/web:v1"}));
    cloud.door("POST images", &json!({"name": "tester/other"}));
    let port = json!({"port": 443, "handlers": ["http", "tls"]});
    cloud.ok(
        "POST /services",
        &json!({"name": "front", "services": [port]}),
    );
    for (name, image) in [
        ("old-1", "tester/web:v1"),
        ("old-2", "tester/web:v1"),
        ("other", "tester/other"),
    ] {
        let new = json!({
            "name": name, "image": image, "service_group": {"name": "front"},
            "autostart": true, "wait_timeout_ms": 60_000,
        });
        cloud.ok("POST /instances", &new);
    }
    cloud.door("POST images", &json!({"name": "tester/web:v2"}));
    cloud.door("DELETE requests", &Value::Null);
    cloud
}

fn deploy(cloud: &Cloud, more: &[&str]) -> Outcome {
    let bench = Bench::new();
    let words = ["cloud", "deploy", "-g", "front", "-n", "new"];
    let words: Vec<&str> = words.iter().chain(more).copied().collect();
    cloud.kraft(&bench, &words)
}

/// What is there: `name state`, sorted.
fn there(cloud: &Cloud) -> Vec<String> {
    let all = cloud.ok("GET /instances", &Value::Null);
    let mut all: Vec<String> = all
        .iter()
        .map(|one| {
            format!(
                "{} {}",
                one["name"].as_str().unwrap(),
                one["state"].as_str().unwrap()
            )
        })
        .collect();
    all.sort();
    all
}

#[test]
fn the_strategy_keep_keeps_all_instances() {
    in_both(|| {
        let cloud = with_service();
        let _ = deploy(&cloud, &["--no-wait", "--rollout", "keep", "tester/web:v2"]).success();
        assert_eq!(
            there(&cloud),
            [
                "new running",
                "old-1 running",
                "old-2 running",
                "other running"
            ]
        );
    });
}

#[test]
fn the_strategy_remove_keeps_the_new_instance_and_other_images() {
    in_both(|| {
        let cloud = with_service();
        let _ = deploy(
            &cloud,
            &["--no-wait", "--rollout", "remove", "tester/web:v2"],
        )
        .success();
        assert_eq!(there(&cloud), ["new running", "other running"]);
    });
}

#[test]
fn the_strategy_stop_drains_and_stops_the_old_instances() {
    in_both(|| {
        let cloud = with_service();
        let _ = deploy(&cloud, &["--no-wait", "--rollout", "stop", "tester/web:v2"]).success();
        let journal = cloud.journal();
        let stops: Vec<&Value> = journal
            .iter()
            .filter(|entry| entry["path"].as_str().unwrap().ends_with("/stop"))
            .collect();
        assert_eq!(stops.len(), 2, "{stops:#?}");
        for stop in stops {
            let options = match dialect() {
                Dialect::V2024 => json!([["drain_timeout_ms", "60000"]]),
                Dialect::V2026 => json!({"drain_timeout_ms": 60_000}),
            };
            let told = if stop["body"].is_null() {
                "query"
            } else {
                "body"
            };
            assert_eq!(stop[told], options, "{stop}");
        }
        kraft_e2e::harness::eventually("their end", || {
            there(&cloud)
                == [
                    "new running",
                    "old-1 stopped",
                    "old-2 stopped",
                    "other running",
                ]
        });
    });
}

#[test]
fn the_strategy_exit_creates_an_instance_only_if_there_are_no_old_ones() {
    in_both(|| {
        for word in ["exit", "abort"] {
            let cloud = with_service();
            let outcome =
                deploy(&cloud, &["--no-wait", "--rollout", word, "tester/web:v2"]).exits(1);
            assert!(
                outcome.stderr.contains("old-1, old-2"),
                "{}",
                outcome.stderr
            );
            assert_eq!(
                there(&cloud),
                ["old-1 running", "old-2 running", "other running"]
            );
            cloud.ok(
                "DELETE /instances",
                &json!([{"name": "old-1"}, {"name": "old-2"}]),
            );
            let _ = deploy(&cloud, &["--no-wait", "--rollout", word, "tester/web:v2"]).success();
            kraft_e2e::harness::eventually("the new one", || {
                there(&cloud) == ["new running", "other running"]
            });
        }
    });
}

#[test]
fn a_missing_terminal_is_an_error_only_if_there_is_a_question() {
    in_both(|| {
        let cloud = with_service();
        let outcome = deploy(&cloud, &["--no-wait", "tester/web:v2"]).exits(2);
        assert!(
            outcome.stderr.contains("--rollout remove"),
            "{}",
            outcome.stderr
        );
        assert_eq!(there(&cloud).len(), 3);
        cloud.door("POST images", &json!({"name": "tester/third"}));
        let _ = deploy(&cloud, &["--no-wait", "tester/third"]).success();
        assert_eq!(there(&cloud).len(), 4);
    });
}

#[test]
fn qualifiers_choose_the_old_ones() {
    in_both(|| {
        let left = |qualifier: &str| {
            let cloud = with_service();
            let words = [
                "--no-wait",
                "--rollout",
                "remove",
                "--rollout-qualifier",
                qualifier,
                "tester/web:v2",
            ];
            let _ = deploy(&cloud, &words).success();
            there(&cloud)
        };
        assert_eq!(left("all"), ["new running"]);
        assert_eq!(left("none").len(), 4);
        // By name: the old one has the name, so that the new one gets another.
        let cloud = with_service();
        let words = [
            "cloud",
            "deploy",
            "--no-wait",
            "-g",
            "front",
            "-n",
            "other",
            "--rollout",
            "remove",
            "--rollout-qualifier",
            "name",
            "tester/web:v2",
        ];
        let _ = cloud.kraft(&Bench::new(), &words).success();
        let left = there(&cloud);
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.iter().any(|one| one.starts_with("other-")), "{left:?}");
    });
}

#[test]
fn a_new_instance_that_crashes_does_not_change_the_old_ones() {
    in_both(|| {
        let cloud = with_service();
        let image = json!({"name": "tester/web:v3", "crash": "cannot bind\n"});
        cloud.door("POST images", &image);
        let outcome = deploy(&cloud, &["--rollout", "remove", "tester/web:v3"]).exits(8);
        for said in [
            "cannot bind",
            "the old instances stay as they are",
            "instance remove new",
        ] {
            assert!(
                outcome.stderr.contains(said),
                "no {said}: {}",
                outcome.stderr
            );
        }
        assert_eq!(
            there(&cloud),
            [
                "new stopped",
                "old-1 running",
                "old-2 running",
                "other running"
            ]
        );
    });
}

#[test]
fn a_new_instance_that_times_out_does_not_change_the_old_ones() {
    in_both(|| {
        let cloud = with_service();
        cloud.door("PUT settings", &json!({"start_ms": 60_000}));
        let words = [
            "--rollout",
            "remove",
            "--rollout-wait",
            "1s",
            "tester/web:v2",
        ];
        let outcome = deploy(&cloud, &words).exits(8);
        assert!(
            outcome.stderr.contains("does not run after 1s"),
            "{}",
            outcome.stderr
        );
        assert_eq!(there(&cloud).len(), 4);
    });
}
