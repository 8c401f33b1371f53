//! `kraft doctor`.

use serde_json::Value;

use crate::support::Home;

/// A home with a configuration, a secret and an error of the past.
fn home_with_a_past() -> Home {
    let home = Home::new();
    home.configure(
        "http_retries: 0\nauth:\n  ghcr.io: {user: me, token: s3cret-token}\n\
         unikraft:\n  manifests: [\"https://me:s3cret-pass@index.example/index.yaml\"]\n",
    );
    std::fs::create_dir_all(home.path().join(".local/share/kraftkit")).unwrap();
    let outcome = home.kraft(&["pkg", "pull", "--offline", "registry.example/x:1"]);
    assert_eq!(outcome.code, 4, "{}", outcome.stderr);
    home
}

#[test]
fn a_report_has_versions_settings_checks_and_errors_and_no_secrets() {
    let home = home_with_a_past();
    let outcome = home.kraft(&["doctor", "--report"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let text = &outcome.stdout;
    let version = concat!("kraft ", env!("CARGO_PKG_VERSION"));
    for part in [
        version,
        "Linux ",
        "`http_retries`: `0` (",
        "config.yaml:1)",
        "https://index.example/index.yaml",
        "`auth.ghcr.io.token`: `********`",
        "QEMU for x86_64",
        "`kraft pkg` (network): ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_report_is_json_where_that_is_asked_for() {
    let home = home_with_a_past();
    let outcome = home.kraft(&["doctor", "--report", "-o", "json"]);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["recent_errors"][0]["code"], "network");
    assert_eq!(report["kraft"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(!outcome.stdout.contains("s3cret"), "{}", outcome.stdout);
}

#[test]
fn an_error_in_json_has_a_stable_code() {
    let home = Home::new();
    for (words, code) in [
        (&["inspect", "nothing"][..], "not_found"),
        (&["run", "--memory", "banana", "x"], "usage"),
        (&["frobnicate"], "usage"),
        (
            &["pkg", "pull", "--offline", "registry.example/x:1"],
            "network",
        ),
    ] {
        let words = [words, &["--log-type=json"]].concat();
        let outcome = home.kraft(&words);
        let line = outcome.stderr.lines().last().unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["level"], &line["code"]),
            (&"error".into(), &code.into()),
            "{line}"
        );
    }
}
