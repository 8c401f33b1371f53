//! Tests over a corpus of Kraftfiles: every form, every error, and hostile input.
//!
//! `kraftfile/ok` holds valid files, with a snapshot of the resolved project;
//! `kraftfile/bad` holds broken ones, with a snapshot of the rendered errors.
#![expect(
    clippy::disallowed_methods,
    reason = "tests read their corpus from disk and its path from the environment"
)]
#![expect(clippy::unwrap_used, reason = "tests panic on errors")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kraft_core::kraftfile::{Parsed, has_errors, parse, parse_bytes, schema};
use kraft_core::problem;
use proptest::prelude::*;

fn lookup(name: &str) -> Option<String> {
    (name == "NAME").then(|| "from-outside".to_owned())
}

fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kraftfile");
    read_folder(&root.join(folder))
}

fn read_folder(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        files.push((name, fs::read(&path).unwrap()));
    }
    files.sort();
    files
}

fn settings(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("kraftfile/{folder}.snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

fn drawn(parsed: &Parsed, text: &str) -> String {
    problem::render("Kraftfile", text, &parsed.problems, false)
}

#[test]
fn valid_files_resolve_without_warnings() {
    for (name, bytes) in corpus("ok") {
        let (parsed, text) = parse_bytes(&bytes, &lookup);
        assert_eq!(drawn(&parsed, &text), "", "{name}");
        let resolved = parsed.kraftfile.unwrap().resolve("Foo.1");
        let json = serde_json::to_string_pretty(&resolved).unwrap();
        settings("ok").bind(|| insta::assert_snapshot!(name, json));
    }
}

#[test]
fn what_has_no_effect_is_a_warning() {
    for (name, bytes) in corpus("warned") {
        let (parsed, text) = parse_bytes(&bytes, &lookup);
        let warnings = drawn(&parsed, &text);
        assert!(warnings.contains("has no effect"), "{name}: {warnings}");
        let resolved = parsed.kraftfile.unwrap().resolve("Foo.1");
        let json = serde_json::to_string_pretty(&resolved).unwrap();
        settings("warned").bind(|| insta::assert_snapshot!(name, format!("{warnings}{json}")));
    }
}

#[test]
fn broken_files_are_reported_as_in_their_snapshot() {
    let files = corpus("bad");
    assert!(files.len() >= 30);
    for (name, bytes) in files {
        let (parsed, text) = parse_bytes(&bytes, &lookup);
        assert!(!parsed.problems.is_empty(), "{name} has no problem");
        assert_eq!(parsed.kraftfile.is_none(), has_errors(&parsed.problems));
        settings("bad").bind(|| insta::assert_snapshot!(name, drawn(&parsed, &text)));
    }
}

#[test]
fn every_file_of_the_community_catalog_parses() {
    let near = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kraftfiles");
    let folder = std::env::var_os("KRAFT_KRAFTFILES").map_or(near, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("SKIPPED: needs the catalog's Kraftfiles; KRAFT_KRAFTFILES names their folder");
        return;
    }
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (name, bytes) in read_folder(&folder) {
        if name == "README" {
            continue;
        }
        let (parsed, text) = parse_bytes(&bytes, &|_| None);
        if text.trim().is_empty() {
            assert!(has_errors(&parsed.problems), "{name}");
            continue;
        }
        assert!(
            parsed.kraftfile.is_some(),
            "{name}: {}",
            drawn(&parsed, &text)
        );
        // Some files of the catalog repeat a key with the same value.
        for problem in &parsed.problems {
            assert!(
                problem.message.contains("written twice"),
                "{name}: {problem:?}"
            );
        }
        let options = serde_saphyr::options! {
            strict_booleans: true,
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        };
        let json: serde_json::Value = serde_saphyr::from_str_with_options(&text, options).unwrap();
        assert!(validator.is_valid(&json), "{name} against the schema");
    }
}

#[test]
fn the_schema_allows_every_valid_file_and_knows_every_key() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, bytes) in [corpus("ok"), corpus("warned")].concat() {
        let text = String::from_utf8(bytes).unwrap();
        let options = serde_saphyr::options! { strict_booleans: true };
        let json: serde_json::Value = serde_saphyr::from_str_with_options(&text, options).unwrap();
        // `readOnly: yes` is a string in YAML 1.2; kraft accepts it, editors may report it.
        let errors: Vec<_> = validator
            .iter_errors(&json)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .filter(|e| !e.contains("yes"))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    // Each key of the schema is accepted by the parser and vice versa: a misspelled key is unknown
    // to both.
    let keys = schema["properties"].as_object().unwrap();
    for key in keys.keys() {
        let known = parse(&format!("spec: v0.6\n{key}: {{}}\n"), &|_| None);
        let unknown = |p: &problem::Problem| p.message.starts_with("unknown key");
        assert!(!known.problems.iter().any(unknown), "{key}");
        let slip = parse(&format!("spec: v0.6\n{key}q: x\n"), &|_| None);
        assert!(slip.problems.iter().any(unknown), "{key}");
    }
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    let all: Vec<String> = (0..count).map(line).collect();
    all.join("\n")
}

#[test]
fn huge_files_are_rejected() {
    let mega = 1 << 20;
    for text in [
        "[".repeat(mega),
        "{".repeat(mega),
        "- ".repeat(mega / 2),
        "? ".repeat(mega / 2),
        format!("a: {}", "{a: ".repeat(mega / 4)),
        format!("a: {}", "&a ".repeat(mega / 3)),
        lines(400, |n| " ".repeat(n) + "a:"),
    ] {
        let parsed = parse(&text, &|_| None);
        assert!(parsed.kraftfile.is_none());
        assert!(drawn(&parsed, &text).len() < 4096);
    }
    let mut bomb = "spec: v0.6\nx-0: &a0 [a, a, a, a, a, a, a, a, a, a]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "x-{level}: &a{level} [{aliases}]").unwrap();
    }
    let parsed = parse(&bomb, &|_| None);
    assert!(has_errors(&parsed.problems));
    for text in [
        format!("spec: v0.6\nname: {}\n", "x".repeat(mega)),
        format!("spec: v0.6\nname: \"{}\"\n", "${A".repeat(mega / 4)),
        format!("spec: v0.6\nname: \"{}\"\n", "$1 ".repeat(mega / 4)),
        lines(100_000, |n| format!("k{n}: 1")),
        "a: 1\n".repeat(100_000),
    ] {
        let parsed = parse(&text, &|_| None);
        assert!(!parsed.problems.is_empty() && parsed.problems.len() <= 1001);
        drawn(&parsed, &text);
    }
}

/// Parses bytes, resolves them and renders the errors.
fn exercise(bytes: &[u8]) {
    let (parsed, text) = parse_bytes(bytes, &|name| Some(format!("<{name}>")));
    if let Some(kraftfile) = &parsed.kraftfile {
        kraftfile.resolve("directory");
    }
    drawn(&parsed, &text);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes);
    }

    #[test]
    fn arbitrary_yaml_like_text_never_panics(text in "[a-c:{}\\[\\],&*!|>'\"$#%~<\\- \t\r\n\u{feff}ü日0-9]{0,200}") {
        exercise(text.as_bytes());
        exercise(format!("spec: v0.6\n{text}").as_bytes());
    }

    #[test]
    fn mutated_valid_files_never_panic(
        pick in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let files = [corpus("ok"), corpus("warned")].concat();
        let (_, mut bytes) = pick.get(&files).clone();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match kind {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        exercise(&bytes);
    }
}
