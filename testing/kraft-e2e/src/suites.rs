//! Keeps the test binaries few and complete: a file that no `mod` line names is never compiled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::repository;

/// The test binaries of this crate: directories of `tests/`.
const SUITES: [&str; 6] = [
    "applications",
    "build",
    "cloud",
    "dockerfile",
    "images",
    "machines",
];

/// Returns the entries of a directory, sorted; none if it does not exist.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// Returns the names of the `mod NAME;` lines of a Rust file.
fn modules(main: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(main).unwrap();
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_file_of_a_test_binary_has_a_mod_line() {
    let mut checked = 0;
    for workspace_dir in ["crates", "testing"] {
        for krate in entries(&repository().join(workspace_dir)) {
            for suite in entries(&krate.join("tests")) {
                let main = suite.join("main.rs");
                if !main.is_file() {
                    continue;
                }
                let named = modules(&main);
                let files = entries(&suite).into_iter();
                for file in files.filter(|file| file.extension().is_some_and(|end| end == "rs")) {
                    let name = stem(&file);
                    assert!(
                        name == "main" || named.contains(&name),
                        "{} is never compiled: add `mod {name};` to {}",
                        file.display(),
                        main.display()
                    );
                }
                checked += 1;
            }
        }
    }
    assert!(checked > SUITES.len(), "only {checked} test binaries found");
}

#[test]
fn the_tests_of_this_crate_are_a_few_binaries() {
    let tests = repository().join("testing/kraft-e2e/tests");
    let found: Vec<String> = entries(&tests).iter().map(|path| stem(path)).collect();
    assert_eq!(
        found, SUITES,
        "each file or directory of tests/ is linked on its own: add a module to one of these"
    );
}
