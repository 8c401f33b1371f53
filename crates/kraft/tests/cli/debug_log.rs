//! `--log-level debug`: which files, catalogs and consoles a flow touches, without secrets.

use crate::support::{Home, Outcome};

/// Runs a command, and asserts that its log has these lines.
#[track_caller]
fn logs(home: &Home, words: &[&str], expected: &[&str]) -> Outcome {
    let words = [&["--log-level", "debug"], words].concat();
    let outcome = home.kraft(&words);
    for line in expected {
        assert!(
            outcome.stderr.contains(line),
            "`{line}` is missing: {}",
            outcome.stderr
        );
    }
    outcome
}

#[test]
fn a_new_project_and_its_components_are_logged() {
    let home = Home::new();
    let written = [
        "writing a project",
        "wrote a file of the project",
        "Kraftfile",
    ];
    let _ = logs(&home, &["init", "--type", "c"], &written).exits(0);

    home.write("core/Config.uk", "");
    home.write(
        "app/Kraftfile",
        "spec: v0.6\nunikraft: {source: ../core}\ntargets: [qemu/x86_64]\n",
    );
    let fetched = [
        "reading the Kraftfile",
        "reading the lock file",
        "reading the catalog",
        "installed a component",
        "core/unikraft",
    ];
    // Afterwards make fails: the core is empty.
    let _ = logs(&home, &["fetch", "app"], &fetched);
}

#[test]
fn an_update_of_the_catalog_is_logged_without_passwords() {
    let home = Home::new();
    home.configure("unikraft:\n  manifests: ['http://anna:hush@127.0.0.1:9/index.yaml']\n");
    let updated = ["updating the catalog", "127.0.0.1:9/index.yaml"];
    let outcome = logs(&home, &["pkg", "update"], &updated);
    assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
}

#[test]
fn the_consoles_that_are_read_are_logged() {
    let home = Home::new();
    let kernel = home.kernel();
    home.ok(&["run", "-W", "--no-start", "-n", "alice", &kernel]);
    let _ = logs(
        &home,
        &["logs", "alice"],
        &["reading consoles", "consoles=1"],
    );
}
