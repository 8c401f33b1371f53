use super::phrases::{phrases, quotations};
use super::*;

fn lines_with(path: &str, text: &str, allowed: &str) -> Vec<String> {
    let phrases = phrases(include_str!("words.txt")).unwrap();
    let quotations = quotations(allowed).unwrap();
    let files = [File {
        path: path.to_owned(),
        text: text.to_owned(),
    }];
    let mut lines: Vec<String> = findings(&files, &phrases, &quotations)
        .iter()
        .map(|found| format!("{}: {}", found.line, found.phrase))
        .collect();
    lines.extend(quotations.iter().filter_map(Quotation::unused));
    lines
}

fn found(path: &str, text: &str) -> Vec<String> {
    lines_with(path, text, "")
}

#[test]
fn a_phrase_is_found_in_help_errors_pages_doc_comments_and_comments() {
    let cases = [
        (
            "crates/kraft/src/a.rs",
            "/// Let it sleep when nobody\n/// needs it\nstruct Args;",
        ),
        (
            "crates/kraft/src/a.rs",
            "const HELP: &str = \"Wait for nobody\";",
        ),
        (
            "crates/kraft/src/a.rs",
            "#[error(\"`{0}` belongs to nobody\")]",
        ),
        (
            "crates/kraft/src/a.rs",
            "fn f() { bail(r#\"nobody \"answers\"\"#) }",
        ),
        ("crates/kraft/src/a.rs", "//! Nobody's crate.\n"),
        ("crates/kraft/src/a.rs", "fn f() {} // for nobody"),
        ("crates/kraft/src/a.rs", "/* for nobody */"),
        ("docs/a.md", "A port\nis nobody's.\n"),
        ("docs/a.md", "```text\nerror: nobody answers\n```\n"),
        ("README.md", "- for nobody\n"),
        (
            "CHANGELOG.md",
            "## [Unreleased]\n- nobody\n\n## [0.1]\n- nobody\n\n## [0.0]\n- nobody\n",
        ),
        ("Makefile", "all: # no\n# For nobody.\n"),
    ];
    for (path, text) in cases {
        let found = found(path, text);
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
        assert!(
            found
                .iter()
                .all(|found| found.to_lowercase().ends_with(": nobody")),
            "{found:?}"
        );
    }
}

#[test]
fn the_line_is_that_of_the_phrase_also_where_it_is_broken() {
    let source = "fn a() {}\n/// Reads a form of\n/// our own.\n///\n/// Anew.\nfn b() {}\n";
    assert_eq!(
        found("crates/a/src/a.rs", source),
        ["2: of our own", "5: Anew"]
    );
    let source = "const A: &str = \"one \\\n    two so\\\n    \\nmany\";\n";
    assert_eq!(found("crates/a/src/a.rs", source), ["2: so many"]);
    assert_eq!(found("docs/a.md", "one\n\ntwo so\nmany\n"), ["3: so many"]);
}

#[test]
fn names_code_other_words_and_test_inputs_are_not_phrases() {
    let cases = [
        (
            "crates/a/src/a.rs",
            "/// Runs as `nobody` of a nobodyish group.\nfn nobody() { let a = 'x'; }",
        ),
        (
            "crates/a/src/a.rs",
            "fn f<'nobody>(a: &'nobody str) -> char { '\"' }",
        ),
        ("crates/a/src/a.rs", "const KEY: &str = \"nobody\";"),
        (
            "crates/a/src/a.rs",
            "#[cfg(test)]\nmod tests {\n    const A: &str = \"for nobody\";\n}\n",
        ),
        ("crates/a/tests/a.rs", "const A: &str = \"for nobody\";"),
        (
            "crates/a/src/a.rs",
            "/// ```\n/// nobody();\n/// ```\nfn f() {}",
        ),
        (
            "crates/a/src/a.rs",
            "/// What is meant to be; there is no name; it is no longer; it says so.\n",
        ),
        (
            "docs/a.md",
            "There is no port. `this computer` is no longer told apart from others.\n",
        ),
    ];
    for (path, text) in cases {
        assert_eq!(found(path, text), [""; 0], "{text}");
    }
}

#[test]
fn what_is_not_a_thing_is_banned_in_messages_alone() {
    let error = "#[error(\"`{0}` is no port\")]";
    assert_eq!(found("crates/a/src/a.rs", error), ["1: is no port"]);
    assert_eq!(found("docs/a.md", "A name is no port."), ["1: is no port"]);
    assert_eq!(found("crates/a/src/a.rs", "// A name is no port."), [""; 0]);
}

#[test]
fn a_quotation_is_allowed_in_its_file_and_an_entry_without_one_is_not() {
    let source = "/// Docker prints: nobody is logged in.\nfn f() {}\n";
    let allowed = "crates/a/src/a.rs: Docker prints: nobody is logged in";
    assert_eq!(lines_with("crates/a/src/a.rs", source, allowed), [""; 0]);
    let elsewhere = lines_with("crates/a/src/b.rs", source, allowed);
    assert_eq!(elsewhere.len(), 2, "{elsewhere:?}");
    let twice = "/// Nobody quotes: Docker prints: nobody is logged in.\n";
    assert_eq!(
        lines_with("crates/a/src/a.rs", twice, allowed),
        ["1: Nobody"]
    );
}

#[test]
fn shares_count_lines_of_doc_comments_per_crate() {
    let phrases = phrases(include_str!("words.txt")).unwrap();
    let files = [
        File {
            path: "crates/kraft-a/src/lib.rs".to_owned(),
            text: "//! For nobody, nobody.\n//! For users.\n// nobody\n".to_owned(),
        },
        File {
            path: "docs/a.md".to_owned(),
            text: "nobody".to_owned(),
        },
    ];
    let table = shares(&files, &phrases, &[]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["docs", "0", "0", "0.0", "%", "1"],
            ["kraft-a", "2", "1", "50.0", "%", "1"],
            ["all", "2", "1", "50.0", "%", "2"],
        ]
    );
}

#[test]
fn pages_and_sources_of_the_workspace_are_read() {
    let files = files(crate::root()).unwrap();
    for path in [
        "README.md",
        "docs/cli.md",
        "xtask/src/words/mod.rs",
        "crates/kraft/src/main.rs",
    ] {
        assert!(files.iter().any(|file| file.path == path), "{path}");
    }
}
