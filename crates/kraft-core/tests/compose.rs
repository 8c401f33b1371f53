//! Hostile Compose files: arbitrary and mutated input is parsed or rejected without panic.

use kraft_core::compose::{Loading, Place, load, parse};
use kraft_core::problem::{Severity, Text, render};
use proptest::prelude::*;

const EVERYTHING: &str = include_str!("compose/everything.yaml");

#[test]
fn every_supported_key_is_parsed() {
    let parsed = parse(EVERYTHING, &|name| (name == "TAG").then(|| "v2".to_owned()));
    let errors: Vec<&str> = parsed
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(errors, Vec::<&str>::new());
    let compose = parsed.compose.unwrap();
    let names: Vec<&str> = compose
        .order(&[])
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["back", "front"]);
}

/// Forms of public Compose files, by the names of their snapshots.
const FORMS: [(&str, &str); 12] = [
    ("anchors", include_str!("compose/forms/anchors.yaml")),
    (
        "bare_memory",
        include_str!("compose/forms/bare-memory.yaml"),
    ),
    (
        "build_in_detail",
        include_str!("compose/forms/build-in-detail.yaml"),
    ),
    ("database", include_str!("compose/forms/database.yaml")),
    ("deploy", include_str!("compose/forms/deploy.yaml")),
    (
        "four_fixed_addresses",
        include_str!("compose/forms/four-fixed-addresses.yaml"),
    ),
    ("kraft_keys", include_str!("compose/forms/kraft-keys.yaml")),
    ("long_forms", include_str!("compose/forms/long-forms.yaml")),
    (
        "many_privileges",
        include_str!("compose/forms/many-privileges.yaml"),
    ),
    ("networks", include_str!("compose/forms/networks.yaml")),
    ("ranges", include_str!("compose/forms/ranges.yaml")),
    (
        "version_and_links",
        include_str!("compose/forms/version-and-links.yaml"),
    ),
];

#[test]
fn the_forms_of_public_files_are_understood() {
    for (name, text) in FORMS {
        let file = Text {
            name: name.to_owned(),
            text: text.to_owned(),
        };
        let loading = Loading {
            place: Place::Host,
            vars: &|_| None,
            read: &|path| Err(format!("there is no `{path}`")),
        };
        let loaded = load(vec![file], loading);
        let problems = loaded.problems.iter().map(|(_, it)| it.message.as_str());
        let problems: Vec<&str> = problems.collect();
        let compose = loaded.compose.unwrap();
        let services = serde_json::to_string_pretty(&compose.order(&[])).unwrap();
        let networks: Vec<_> = compose
            .networks
            .iter()
            .map(|it| (&it.key, it.subnet.as_deref(), it.internal, it.external))
            .collect();
        let idle = &loaded.idle;
        insta::assert_snapshot!(
            name,
            format!(
                "idle: {idle:?}\nproblems: {problems:#?}\nservices: {services}\nnetworks: {networks:?}\n"
            )
        );
    }
}

#[test]
fn huge_files_are_rejected() {
    let mega = 1 << 20;
    for text in [
        format!(
            "services: {{a: {{image: \"{}\"}}}}\n",
            "${A".repeat(mega / 4)
        ),
        format!(
            "services:\n{}",
            "  a:\n    depends_on: [a]\n".repeat(20_000)
        ),
        format!("services: {}\n", "[".repeat(mega)),
        "x".repeat(8 * mega),
    ] {
        let parsed = parse(&text, &|_| None);
        assert!(!parsed.problems.is_empty() && parsed.problems.len() <= 1001);
    }
}

/// Parses bytes, orders the services and renders the errors.
fn exercise(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parsed = parse(&text, &|name| Some(format!("<{name}>")));
    if let Some(compose) = &parsed.compose {
        compose.order(&[]);
    }
    render("compose.yaml", &text, &parsed.problems, true);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "[a-c:{}\\[\\],&*!|>'\"$#%~<\\- \t\r\n\u{feff}ü日0-9]{0,200}") {
        exercise(text.as_bytes());
        exercise(format!("services:\n  a:\n    {text}").as_bytes());
        exercise(format!("services:\n  a:\n    ports: [\"{text}\"]\n").as_bytes());
    }

    #[test]
    fn a_mutated_file_never_panics(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = EVERYTHING.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        exercise(&bytes);
    }
}
