//! A cloud that misbehaves: what is said of it, what is tried again, and what stays secret.

use kraft_e2e::cloud::{Cloud, TOKEN, in_both};
use kraft_e2e::guest::{mini, project_on, push_runtime};
use kraft_e2e::harness::{Bench, Outcome};
use kraft_e2e::registry::Registry;
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
fn a_rejected_request_is_retried_after_its_retry_after() {
    in_both(|| {
        let bench = Bench::new();
        let cloud = with_instance("web");
        let busy =
            json!({"kind": "status", "status": 429, "retry_after": 1, "path": "/v1/instances"});
        cloud.door("POST faults", &busy);
        assert_lists(cloud.kraft(&bench, LIST), "web");
        let journal = cloud.journal();
        assert_eq!(journal.len(), 2, "{journal:#?}");
        assert_eq!(journal[0]["status"], 429);
    });
}

#[test]
fn a_listing_survives_a_dropped_connection() {
    in_both(|| {
        for kind in ["drop-before", "drop-after", "half"] {
            let bench = Bench::new();
            let cloud = with_instance("web");
            cloud.door("POST faults", &json!({"kind": kind}));
            assert_lists(cloud.kraft(&bench, LIST), "web");
        }
    });
}

#[test]
fn a_wrong_token_is_reported_in_one_sentence_and_not_shown() {
    in_both(|| {
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
    });
}

#[test]
fn a_token_does_not_follow_a_redirect_to_another_host() {
    in_both(|| {
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
    });
}

#[test]
fn each_of_several_instances_is_reported() {
    in_both(|| {
        let bench = Bench::new();
        let cloud = with_instance("web");
        let args = ["cloud", "instance", "start", "web", "ghost"];
        let outcome = cloud.kraft(&bench, &args);
        assert!(outcome.stderr.contains("ghost"), "{}", outcome.stderr);
        let told = cloud.ok("GET /instances", &json!([{"name": "web"}]));
        assert_ne!(told[0]["state"], "stopped", "{told:#?}");
    });
}

const DEPLOY: [&str; 5] = ["cloud", "deploy", "-n", "web", "tester/web"];

fn with_image() -> Cloud {
    let cloud = Cloud::new();
    cloud.door("POST images", &json!({"name": "tester/web"}));
    cloud
}

fn assert_says(outcome: &Outcome, words: &[&str]) {
    for word in words {
        assert!(
            outcome.stderr.contains(word),
            "no `{word}`: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_lost_creation_response_creates_one_instance() {
    in_both(|| {
        for kind in ["drop-after", "half"] {
            let cloud = with_image();
            let fault = json!({"kind": kind, "method": "POST", "path": "/v1/instances"});
            cloud.door("POST faults", &fault);
            let outcome = cloud.kraft(&Bench::new(), &DEPLOY).success();
            assert!(
                outcome.stdout.contains("name: web\n"),
                "{kind}: {}",
                outcome.stdout
            );
            assert_eq!(cloud.ok("GET /instances", &Value::Null).len(), 1, "{kind}");
            let posts = cloud
                .journal()
                .iter()
                .filter(|entry| entry["method"] == "POST")
                .count();
            assert_eq!(posts, 1, "{kind}: it was told twice");
        }
    });
}

#[test]
fn a_lost_creation_request_is_an_error_and_creates_no_instance() {
    in_both(|| {
        let cloud = with_image();
        let fault = json!({"kind": "drop-before", "method": "POST", "path": "/v1/instances"});
        cloud.door("POST faults", &fault);
        let _ = cloud.kraft(&Bench::new(), &DEPLOY).exits(4);
        assert_eq!(
            cloud.ok("GET /instances", &Value::Null),
            Vec::<Value>::new()
        );
    });
}

#[test]
fn creating_an_instance_on_a_busy_platform_is_retried_after_its_retry_after() {
    in_both(|| {
        let cloud = with_image();
        let busy = json!({
            "kind": "status", "status": 429, "retry_after": 1, "method": "POST",
            "path": "/v1/instances",
        });
        cloud.door("POST faults", &busy);
        let _ = cloud.kraft(&Bench::new(), &DEPLOY).success();
        assert_eq!(cloud.ok("GET /instances", &Value::Null).len(), 1);
    });
}

#[test]
fn errors_about_quotas_names_and_images_are_different() {
    in_both(|| {
        let bench = Bench::new();
        let cloud = with_image();
        let outcome = cloud
            .kraft(&bench, &["cloud", "deploy", "tester/ghost"])
            .exits(3);
        assert_says(&outcome, &["the platform has no image", "tester/ghost"]);
        let _ = cloud.kraft(&bench, &DEPLOY).success();
        let outcome = cloud.kraft(&bench, &DEPLOY).exits(1);
        assert_says(
            &outcome,
            &["An instance named 'web' exists", "choose another name"],
        );
        assert!(
            !outcome.stderr.contains("there is now"),
            "{}",
            outcome.stderr
        );
        cloud.door("PUT settings", &json!({"instances": 1}));
        let outcome = cloud
            .kraft(&bench, &["cloud", "deploy", "tester/web"])
            .exits(1);
        assert_says(
            &outcome,
            &["no more instances are allowed", "remove what is not needed"],
        );
        assert_eq!(cloud.ok("GET /instances", &Value::Null).len(), 1);
    });
}

#[test]
fn an_unreachable_metro_and_an_invalid_one_are_different_errors() {
    in_both(|| {
        let bench = Bench::new();
        let cloud = with_image();
        let words = [
            "cloud",
            "--metro",
            "nowhere0",
            "instance",
            "list",
            "--http-retries",
            "0",
        ];
        let outcome = cloud.kraft(&bench, &words).exits(4);
        assert_says(
            &outcome,
            &["api.nowhere0.kraft.cloud", "kraft cloud metro list"],
        );
        let outcome = cloud
            .kraft(&bench, &["cloud", "--metro", "a/b", "instance", "list"])
            .exits(2);
        assert_says(&outcome, &["`a/b` is not a valid metro"]);
        let mut command = bench.command(["cloud", "instance", "list"]);
        let outcome = Outcome::of(command.env("UKC_TOKEN", TOKEN)).exits(2);
        assert_says(&outcome, &["set `UKC_METRO`"]);
        let mut command = bench.command(["cloud", "instance", "list"]);
        let outcome = Outcome::of(command.env("UKC_METRO", "fra0")).exits(5);
        assert_says(&outcome, &["set `UKC_TOKEN`"]);
    });
}

#[test]
fn a_mistyped_argument_does_not_deploy_the_project_instead() {
    in_both(|| {
        let (cloud, bench) = (with_image(), Bench::new());
        project_on(&bench, "tester/mini:1", ".");
        for (word, said) in [
            ("tester/wbe", "the platform has no image of that name"),
            ("./wbe", "`./wbe` is not a directory"),
        ] {
            let outcome = cloud.kraft(&bench, &["cloud", "deploy", word]).exits(3);
            assert_says(&outcome, &[said, "come after `--`"]);
        }
        assert_eq!(
            cloud.ok("GET /instances", &Value::Null),
            Vec::<Value>::new()
        );
        // An existing image takes precedence.
        let words = ["cloud", "deploy", "-n", "web", "tester/web", "--", "--fast"];
        let _ = cloud.kraft(&bench, &words).success();
        let made = cloud.ok("GET /instances", &Value::Null);
        assert_eq!(made[0]["args"], json!(["--fast"]), "{made:?}");
    });
}

#[test]
fn a_push_that_is_refused_names_the_registry_and_makes_nothing() {
    in_both(|| {
        let Some(open) = Registry::plain() else {
            return;
        };
        let Some(locked) = Registry::with_password("anna", "hush") else {
            return;
        };
        let bench = Bench::new();
        let runtime = push_runtime(&open, &bench, &mini("x86_64"));
        project_on(&bench, &runtime, "shop");
        let cloud = Cloud::new();
        let mut command = cloud.command(&bench, &["cloud", "deploy", "shop"]);
        let outcome = Outcome::of(command.env("UKC_REGISTRY", locked.address())).exits(5);
        assert_says(&outcome, &[&locked.address(), "kraft login"]);
        assert!(
            !outcome.stderr.contains("there is now"),
            "{}",
            outcome.stderr
        );
        assert_eq!(cloud.journal(), Vec::<Value>::new());
    });
}
