//! Tokens are only in the environment and in one header, and not visible elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use kraft_cloud_emulator::{Dialect, Settings};
use kraft_e2e::cloud::{Cloud, dialect, in_both};
use kraft_e2e::guest::{mini, project_on, push_runtime};
use kraft_e2e::harness::{Bench, Outcome, eventually};
use kraft_e2e::registry::Registry;
use serde_json::{Value, json};

/// `robot$anna.users.kraftcloud:only-for-the-cloud`, and its halves' secret.
const TOKEN: &str = "cm9ib3QkYW5uYS51c2Vycy5rcmFmdGNsb3VkOm9ubHktZm9yLXRoZS1jbG91ZA==";
const SECRET: &str = "only-for-the-cloud";

fn cloud() -> Cloud {
    let cloud = Cloud::with(Settings {
        tokens: vec![TOKEN.to_owned()],
        user: "anna".to_owned(),
        ..Settings::default()
    });
    cloud.door(
        "POST images",
        &json!({"name": "anna/web", "output": "hello\n"}),
    );
    cloud
}

fn command(cloud: &Cloud, bench: &Bench, words: &[&str]) -> Command {
    let mut command = cloud.command(bench, words);
    command
        .env("UKC_TOKEN", TOKEN)
        .env("KRAFTKIT_LOG_LEVEL", "trace");
    command
}

fn assert_silent(text: &str) {
    for secret in [TOKEN, SECRET] {
        assert!(!text.contains(secret), "the token is told: {text}");
    }
}

#[test]
fn no_output_and_no_error_contains_the_token() {
    in_both(|| {
        let (bench, cloud) = (Bench::new(), cloud());
        cloud.door(
            "POST faults",
            &json!({"kind": "status", "status": 401, "after": 6}),
        );
        let commands: [&[&str]; 9] = [
            &["cloud", "deploy", "--dry-run", "-p", "443:8080", "anna/web"],
            &["cloud", "deploy", "--dry-run", "-o", "json", "anna/web"],
            &["cloud", "instance", "list", "-o", "raw"],
            &["cloud", "deploy", "-n", "web", "anna/web"],
            &["cloud", "instance", "get", "nobody"],
            &["cloud", "instance", "list"],
            &["cloud", "quota"],
            &[
                "cloud",
                "--metro",
                "http://127.0.0.1:1/v1",
                "instance",
                "list",
                "--http-retries",
                "0",
            ],
            &["config", "show"],
        ];
        for words in commands {
            let outcome = Outcome::of(&mut command(&cloud, &bench, words));
            assert_silent(&outcome.stdout);
            assert_silent(&outcome.stderr);
        }
        // An answer that repeats it is not believed to be harmless either.
        assert_silent(&json!(cloud.journal()).to_string());
    });
}

#[test]
fn an_invalid_token_is_not_printed() {
    in_both(|| {
        let (bench, cloud) = (Bench::new(), cloud());
        for odd in ["only-for-the-cloud", "b25seS1mb3ItdGhlLWNsb3Vk"] {
            let mut command = command(&cloud, &bench, &["cloud", "instance", "list"]);
            let outcome = Outcome::of(command.env("UKC_TOKEN", odd)).exits(5);
            assert!(!outcome.stderr.contains(odd), "{}", outcome.stderr);
            assert!(outcome.stderr.contains("UKC_TOKEN"), "{}", outcome.stderr);
        }
    });
}

/// The command lines of all processes on this host.
fn command_lines() -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

#[test]
fn no_process_shows_the_token() {
    in_both(|| {
        let (bench, cloud) = (Bench::new(), cloud());
        cloud.door("PUT settings", &json!({"start_ms": 3_600_000}));
        let words = ["cloud", "deploy", "-n", "web", "anna/web"];
        let mut command = command(&cloud, &bench, &words);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From its start until it waits for the instance, which it does for longer than this takes.
        eventually("a look at a deployment that waits", || {
            let waits = !cloud.ok("GET /instances", &Value::Null).is_empty();
            for line in command_lines() {
                assert_silent(&line);
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            waits
        });
        child.kill().unwrap();
        let _ = child.wait();
    });
}

/// Every file below a directory.
fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn no_file_that_others_can_read_holds_the_token() {
    in_both(|| {
        let Some(registry) = Registry::plain() else {
            return;
        };
        let (bench, cloud) = (Bench::new(), cloud());
        let runtime = push_runtime(&registry, &bench, &mini("x86_64"));
        project_on(&bench, &runtime, "shop");
        let mut command = command(
            &cloud,
            &bench,
            &["cloud", "deploy", "--timeout", "1s", "shop"],
        );
        // The platform does not see this registry: the deployment ends after the push.
        let _ = Outcome::of(command.env("UKC_REGISTRY", registry.address())).exits(3);
        let mut all = Vec::new();
        files(bench.path(), &mut all);
        assert!(all.len() > 3, "{all:?}");
        for path in all {
            let bytes = fs::read(&path).unwrap();
            let holds = [TOKEN, SECRET].iter().any(|secret| {
                bytes
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes())
            });
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert!(!holds || mode & 0o077 == 0, "{} ({mode:o})", path.display());
        }
        // A registry that is not the platform's is not shown the token.
        let asked = registry.requests();
        assert!(!format!("{asked:?}").contains("uthorization"), "{asked:?}");
    });
}

#[test]
fn the_private_key_of_a_certificate_is_sent_and_never_printed() {
    in_both(|| {
        let (bench, cloud) = (Bench::new(), cloud());
        let key = "-----BEGIN PRIVATE KEY-----\nQUJDREVGR0hJSktM\n-----END PRIVATE KEY-----\n";
        let chain = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
        fs::write(bench.path().join("key.pem"), key).unwrap();
        fs::write(bench.path().join("chain.pem"), chain).unwrap();
        let words = [
            "cloud",
            "certificate",
            "create",
            "-c",
            "shop.example",
            "-C",
            "chain.pem",
            "-p",
            "key.pem",
        ];
        let outcome = Outcome::of(&mut command(&cloud, &bench, &words));
        assert!(
            !outcome.stderr.contains("QUJDREVGR0hJSktM"),
            "{}",
            outcome.stderr
        );
        assert!(
            outcome
                .stderr
                .contains("other users can read the private key"),
            "{}",
            outcome.stderr
        );
        let journal = cloud.journal();
        let sent = &journal.last().unwrap()["body"];
        let name = match dialect() {
            Dialect::V2024 => "cn",
            Dialect::V2026 => "common_name",
        };
        assert_eq!(sent[name], "shop.example", "{sent}");
        assert!(
            sent["pkey"]
                .as_str()
                .unwrap()
                .starts_with("-----BEGIN PRIVATE KEY"),
            "{sent}"
        );
        // An unrelated file that is not a key is not sent.
        let words = [
            "cloud",
            "certificate",
            "create",
            "-c",
            "shop.example",
            "-C",
            "chain.pem",
            "-p",
            "chain.pem",
        ];
        let _ = Outcome::of(&mut command(&cloud, &bench, &words)).exits(2);
        assert_eq!(cloud.journal().len(), journal.len());
        assert_eq!(
            journal.iter().filter(|one| one["method"] == "POST").count(),
            1
        );
    });
}
