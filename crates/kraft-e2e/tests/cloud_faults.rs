//! A cloud that misbehaves: what is said of it, what is tried again, and what stays secret.

use kraft_e2e::cloud::{Cloud, TOKEN};
use kraft_e2e::harness::{Bench, Outcome};
use serde_json::{Value, json};

const LIST: &[&str] = &["cloud", "instance", "list", "-o", "json"];

fn with_instance(name: &str) -> Cloud {
    let cloud = Cloud::new();
    cloud.door("POST images", &json!({"name": "tester/web"}));
    cloud.ok(
        "POST /instances",
        &json!({"name": name, "image": "tester/web"}),
    );
    cloud.door("DELETE requests", &Value::Null);
    cloud
}

fn assert_lists(outcome: Outcome, name: &str) {
    let text = outcome.success().stdout;
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list[0]["name"], name, "{text}");
}

#[test]
fn a_refused_request_is_made_again_after_the_pause_it_was_told() {
    let bench = Bench::new();
    let cloud = with_instance("web");
    let busy = json!({"kind": "status", "status": 429, "retry_after": 1, "path": "/v1/instances"});
    cloud.door("POST faults", &busy);
    assert_lists(cloud.kraft(&bench, LIST), "web");
    let journal = cloud.journal();
    assert_eq!(journal.len(), 2, "{journal:#?}");
    assert_eq!(journal[0]["status"], 429);
}

#[test]
fn a_listing_survives_a_dropped_connection() {
    for kind in ["drop-before", "drop-after", "half"] {
        let bench = Bench::new();
        let cloud = with_instance("web");
        cloud.door("POST faults", &json!({"kind": kind}));
        assert_lists(cloud.kraft(&bench, LIST), "web");
    }
}

#[test]
fn a_wrong_token_is_told_in_one_sentence_and_not_shown() {
    let bench = Bench::new();
    let cloud = with_instance("web");
    let mut command = cloud.command(&bench, LIST);
    // `tester:wrong`
    let wrong = "dGVzdGVyOndyb25n";
    let outcome = Outcome::of(command.env("UKC_TOKEN", wrong));
    assert!(
        !outcome.stderr.is_empty() && !outcome.stderr.contains(wrong),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("UKC_TOKEN"), "{}", outcome.stderr);
    assert_eq!(cloud.journal().len(), 1, "it was tried again");
}

#[test]
fn a_token_does_not_follow_a_redirect_to_another_host() {
    let bench = Bench::new();
    let cloud = with_instance("web");
    let thief = Cloud::new();
    let there = format!("{}/instances", thief.metro());
    cloud.door(
        "POST faults",
        &json!({"kind": "redirect", "location": there}),
    );
    let outcome = cloud.kraft(&bench, LIST);
    assert!(!outcome.stderr.contains(TOKEN), "{}", outcome.stderr);
    assert!(thief.journal().is_empty(), "{:#?}", thief.journal());
}

#[test]
fn of_several_instances_each_is_told_of() {
    let bench = Bench::new();
    let cloud = with_instance("web");
    let args = ["cloud", "instance", "start", "web", "ghost"];
    let outcome = cloud.kraft(&bench, &args);
    assert!(outcome.stderr.contains("ghost"), "{}", outcome.stderr);
    let told = cloud.ok("GET /instances", &json!([{"name": "web"}]));
    assert_ne!(told[0]["state"], "stopped", "{told:#?}");
}
