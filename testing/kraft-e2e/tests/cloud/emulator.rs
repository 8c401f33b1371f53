//! The emulated cloud itself: what it must be able to do before anything can be tested against it.

use base64::Engine as _;
use kraft_cloud_emulator::{Hard, Settings};
use kraft_e2e::cloud::Cloud;
use kraft_e2e::harness::eventually;
use serde_json::{Value, json};

fn cloud() -> Cloud {
    let cloud = Cloud::new();
    cloud.door(
        "POST images",
        &json!({"name": "tester/web", "output": "hello\n"}),
    );
    cloud
}

/// The code of the only item of an answer.
fn refused(cloud: &Cloud, what: &str, body: &Value) -> Value {
    let (status, answer) = cloud.ask(what, body);
    assert_eq!(
        (status, &answer["status"]),
        (200, &json!("error")),
        "{answer}"
    );
    let collection = answer["data"].as_object().unwrap().values().next().unwrap();
    collection[0]["error"].clone()
}

fn names(cloud: &Cloud, kind: &str) -> Vec<Value> {
    let all = cloud.ok(&format!("GET {kind}"), &Value::Null);
    all.iter().map(|one| one["name"].clone()).collect()
}

#[test]
fn a_batch_with_one_failure_succeeds_partially() {
    let cloud = cloud();
    cloud.ok(
        "POST /instances",
        &json!({"name": "web", "image": "tester/web"}),
    );
    let (status, answer) = cloud.ask("GET /instances", &json!([{"name": "web"}, {"name": "x"}]));
    assert_eq!(
        (status, &answer["status"]),
        (200, &json!("partial_success"))
    );
    let ghost = &answer["data"]["instances"][1];
    assert_eq!(
        (&ghost["error"], &ghost["name"]),
        (&json!(8), &json!("x")),
        "{answer}"
    );
}

#[test]
fn names_and_quotas_are_kept() {
    let hard = Hard {
        instances: 2,
        groups: 1,
        volumes: 1,
        memory: 128,
    };
    let cloud = Cloud::with(Settings {
        hard,
        ..Settings::default()
    });
    cloud.door("POST images", &json!({"name": "tester/web"}));
    let web = json!({"name": "web", "image": "tester/web", "autostart": true});
    cloud.ok("POST /instances", &web);
    assert_eq!(refused(&cloud, "POST /instances", &web), 19, "memory");
    let web = json!({"name": "web", "image": "tester/web"});
    assert_eq!(refused(&cloud, "POST /instances", &web), 23, "name");
    let two = json!({"image": "tester/web", "replicas": 1});
    assert_eq!(refused(&cloud, "POST /instances", &two), 19, "instances");
    assert_eq!(
        refused(&cloud, "POST /instances", &json!({"image": "ghost"})),
        8
    );
}

#[test]
fn an_instance_that_is_refused_leaves_nothing_behind() {
    let cloud = cloud();
    cloud.door("PUT settings", &json!({"volumes": 1}));
    let new = json!({
        "image": "tester/web", "service_group": {"services": []},
        "volumes": [{"size_mb": 1, "at": "/a"}, {"size_mb": 1, "at": "/b"}],
    });
    assert_eq!(refused(&cloud, "POST /instances", &new), 19);
    for kind in ["/instances", "/volumes", "/services"] {
        assert_eq!(names(&cloud, kind), [Value::Null; 0], "{kind}");
    }
}

#[test]
fn resources_created_with_an_instance_are_removed_with_it() {
    let cloud = cloud();
    let new = json!({
        "name": "web", "image": "tester/web", "service_group": {"services": []},
        "volumes": [{"size_mb": 1, "at": "/a"}],
    });
    cloud.ok("POST /instances", &new);
    assert_eq!(names(&cloud, "/volumes").len(), 1);
    cloud.ok("DELETE /instances", &json!([{"name": "web"}]));
    for kind in ["/instances", "/volumes", "/services"] {
        assert_eq!(names(&cloud, kind), [Value::Null; 0], "{kind}");
    }
}

#[test]
fn a_connection_lost_after_the_creation_leaves_one_instance() {
    let cloud = cloud();
    cloud.door(
        "POST faults",
        &json!({"kind": "drop-after", "method": "POST"}),
    );
    let new = json!({"name": "web", "image": "tester/web"});
    let lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cloud.ask("POST /instances", &new)
    }));
    assert!(lost.is_err(), "there was an answer");
    assert_eq!(names(&cloud, "/instances"), ["web"]);
    assert_eq!(cloud.journal()[0]["fault"], "DropAfter");
}

#[test]
fn an_instance_that_crashes_at_boot_stops_and_keeps_its_console() {
    let cloud = Cloud::new();
    let image = json!({"name": "tester/bad", "output": "boot\n", "crash": "oops\n"});
    cloud.door("POST images", &image);
    let new = json!({
        "name": "bad", "image": "tester/bad", "autostart": true, "wait_timeout_ms": 60_000,
    });
    let made = cloud.ok("POST /instances", &new);
    assert_eq!(
        (&made[0]["state"], &made[0]["stop_reason"]),
        (&json!("stopped"), &json!(1))
    );
    let log = cloud.ok("GET /instances/log", &json!([{"name": "bad", "offset": 0}]));
    assert_eq!(
        log[0]["available"],
        json!({"start": 0, "end": 10}),
        "{log:?}"
    );
}

#[test]
fn a_console_is_read_in_parts_from_both_ends() {
    let cloud = cloud();
    cloud.ok(
        "POST /instances",
        &json!({"name": "web", "image": "tester/web"}),
    );
    cloud.door(
        "POST console",
        &json!({"name": "web", "text": "0123456789"}),
    );
    let piece = |offset: i64, limit: u64| {
        let page = json!([{"name": "web", "offset": offset, "limit": limit}]);
        let item = cloud.ok("GET /instances/log", &page).remove(0);
        let text = item["output"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        (
            String::from_utf8(bytes.unwrap()).unwrap(),
            item["range"]["end"].clone(),
        )
    };
    assert_eq!(piece(0, 4), ("0123".to_owned(), json!(4)));
    assert_eq!(piece(8, 100), ("89".to_owned(), json!(10)));
    assert_eq!(piece(-3, 2), ("78".to_owned(), json!(9)));
    assert_eq!(piece(99, 5), (String::new(), json!(10)));
}

#[test]
fn a_wait_ends_with_the_state_or_at_its_timeout() {
    let cloud = cloud();
    cloud.door("PUT settings", &json!({"start_ms": 100}));
    cloud.ok(
        "POST /instances",
        &json!({"name": "web", "image": "tester/web"}),
    );
    let short = json!([{"name": "web", "state": "running", "timeout_ms": 10}]);
    for method in ["GET", "PUT"] {
        assert_eq!(
            refused(&cloud, &format!("{method} /instances/wait"), &short),
            12
        );
    }
    let started = cloud.ok("PUT /instances/start", &json!([{"name": "web"}]));
    assert_eq!(started[0]["previous_state"], "stopped");
    let long = json!([{"name": "web", "timeout_ms": 60000}]);
    assert_eq!(
        cloud.ok("PUT /instances/wait", &long)[0]["state"],
        "running"
    );
}

#[test]
fn a_pushed_image_is_listed_after_a_delay() {
    let cloud = Cloud::new();
    cloud.door(
        "POST images",
        &json!({"name": "tester/late", "delay_ms": 200}),
    );
    let seen = || !cloud.ok("GET /images/list", &Value::Null).is_empty();
    assert!(!seen());
    eventually("the image", seen);
}

#[test]
fn a_request_without_a_token_is_rejected() {
    let cloud = cloud();
    let address = cloud.metro();
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches("/v1");
    for header in [
        None,
        Some("Bearer nonsense"),
        Some("Basic dGVzdGVyOnNlY3JldA=="),
    ] {
        let stream = std::net::TcpStream::connect(address).unwrap();
        let headers: Vec<(&str, &str)> = header.map(|h| ("Authorization", h)).into_iter().collect();
        let answer = kraft_e2e::http::ask(stream, "GET /v1/instances", &headers, b"");
        assert_eq!(answer.status, 401);
    }
}
