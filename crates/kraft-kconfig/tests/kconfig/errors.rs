//! Invalid, unusual and hostile trees.

use kraft_core::problem::render;
use kraft_kconfig::DotConfig;
use kraft_kconfig::language::Tree;
use proptest::prelude::*;

use crate::world::Memory;

/// Returns the first error as rendered for the user.
fn error(files: &Memory) -> String {
    let errors = Tree::parse("Config.uk", files).unwrap_err();
    let first = &errors.0[0];
    render(
        &first.file,
        &first.text,
        std::slice::from_ref(&first.problem),
        false,
    )
}

#[test]
fn errors_have_positions() {
    for (text, message, place) in [
        (
            "config A\n\tbool \"A\"\nconfg B\n",
            "`confg` is not a statement of KConfig",
            "Config.uk:3:1",
        ),
        (
            "config A\n\tboool\n",
            "`boool` is not a statement",
            "Config.uk:2:2",
        ),
        (
            "menu \"M\"\nconfig A\n\tbool\n",
            "`menu` is not closed",
            "Config.uk:1:1",
        ),
        (
            "if A\nendmenu\n",
            "`endmenu` cannot end `if`",
            "Config.uk:2:1",
        ),
        ("endif\n", "`endif` has no matching start", "Config.uk:1:1"),
        (
            "config A\n\tdepends on (B\n",
            "a parenthesis is not closed",
            "Config.uk:2:15",
        ),
        (
            "config A\n\tdepends B\n",
            "`on` is missing",
            "Config.uk:2:10",
        ),
        (
            "config A\n\tdefault\n",
            "a symbol or value is missing",
            "Config.uk:2:9",
        ),
        (
            "config A\n\tbool \"A\" \"B\"\n",
            "unexpected text at the end of the line",
            "Config.uk:2:11",
        ),
        (
            "config A\n\toption color\n",
            "unknown option",
            "Config.uk:2:9",
        ),
        (
            "config $(shell\n",
            "the macro `$(shell` has no closing `)`",
            "Config.uk:1:8",
        ),
        ("$(error-if,y,no good)\n", "no good", "Config.uk:1:1"),
        (
            "choice\nmenu \"M\"\nendmenu\nendchoice\n",
            "`menu` is not allowed in a choice",
            "Config.uk:2:1",
        ),
        (
            "config A\n\tbool\n\tdepends on B\nconfig B\n\tbool\n\tdepends on A\n",
            "circular dependency: A → B → A",
            "Config.uk:1:1",
        ),
        (
            "source \"Config.uk\"\n",
            "`Config.uk` includes itself",
            "Config.uk:1:1",
        ),
    ] {
        let drawn = error(&Memory::of(text));
        assert!(drawn.contains(message), "{text:?}:\n{drawn}");
        assert!(drawn.contains(place), "{text:?}:\n{drawn}");
    }
}

#[test]
fn errors_name_the_sourced_file() {
    let files = Memory::of("source \"lib/*.uk\"\n")
        .with("lib/a.uk", "config A\n\tbool\n")
        .with("lib/b.uk", "menu \"B\"\nendif\n");
    assert!(error(&files).contains("lib/b.uk:2:1"));
}

#[test]
fn files_are_sourced_by_name_pattern_variable_and_place() {
    let files = Memory::of(
        "BASE := $(ROOT)/lib\nsource \"$(BASE)/*.uk\"\nsource \"$ROOT/one\"\nosource \"none\"\n",
    )
    .with("$ROOT", "r")
    .with(
        "r/lib/a.uk",
        "config A\n\tdef_bool $(shell,echo y)\nrsource \"sub/b\"\n",
    )
    .with(
        "r/lib/sub/b",
        "config B\n\tstring\n\tdefault \"$(filename):$(lineno)\"\n",
    )
    .with("r/one", "config ONE\n\tint \"One\"\n\tdefault 1\n");
    let tree = Tree::parse("Config.uk", &files).unwrap();
    assert!(tree.warnings().is_empty(), "{:?}", tree.warnings());
    let resolved = tree.resolve(&DotConfig::default());
    for (name, value) in [("A", "y"), ("B", "r/lib/sub/b:3"), ("ONE", "1")] {
        assert_eq!(resolved.value(name).unwrap(), value, "{name}");
    }
}

#[test]
fn missing_sourced_files_are_warnings() {
    let tree = Tree::parse("Config.uk", &Memory::of("source \"no/*.uk\"\n")).unwrap();
    assert_eq!(
        tree.warnings()[0].problem.message,
        "no file is named `no/*.uk`"
    );
}

#[test]
fn a_help_text_ends_where_its_indentation_does() {
    let text = "config A\n\tbool \"A\"\n\thelp\n\t  One\n\n\t    two\n\t  config B\n\tdefault y\n";
    let tree = Tree::parse("Config.uk", &Memory::of(text)).unwrap();
    let info = tree.symbol("A").unwrap();
    assert_eq!(info.help.unwrap(), "One\n\n  two\nconfig B");
    assert_eq!(info.defaults, ["y"]);
}

#[test]
fn deep_and_long_trees_are_parsed_or_rejected() {
    let deep: String = (0..10_000).map(|_| "if A\n").collect();
    let parens = format!("config A\n\tdepends on {}B\n", "(".repeat(10_000));
    let nots = format!("config A\n\tdepends on {}B\n", "!".repeat(10_000));
    for text in [deep, parens, nots] {
        let text: &'static str = text.leak();
        assert!(error(&Memory::of(text)).contains("too deep"));
    }
    let long = format!("config {}\n", "A".repeat(100_000));
    assert!(error(&Memory::of(long.leak())).contains("too long"));
    let wide = format!("if A{}\n", " && A".repeat(100_000)) + &"config B\n".repeat(100_000);
    let many = format!("config A\n{}", "\tdepends on A1\n".repeat(50_000));
    for text in [wide + "endif\n", many] {
        assert!(error(&Memory::of(text.leak())).contains("too many conditions"));
    }
    let mut chain = String::from("config C0\n\tbool \"C0\"\n");
    let mut members = String::new();
    for n in 1..20_000 {
        let entry = |name: char| {
            let before = n - 1;
            format!("config {name}{n}\n\tbool \"X\"\n\tdefault y\n\tdepends on {name}{before}\n")
        };
        chain.push_str(&entry('C'));
        members.push_str(&entry('M'));
    }
    let depends = format!(
        "config A\n\tbool \"A\"\n{}",
        "\tdepends on A1\n".repeat(4_000)
    );
    let choice = format!("choice\n\tprompt \"P\"\nconfig M0\n\tbool \"M\"\n{members}endchoice\n");
    for (text, name) in [(chain, "C19999"), (depends, "A"), (choice, "M19999")] {
        let text: &'static str = text.leak();
        let tree = Tree::parse("Config.uk", &Memory::of(text)).unwrap();
        let asked: DotConfig = [("CONFIG_C0", "y")].into_iter().collect();
        let resolved = tree.resolve(&asked);
        assert!(resolved.value(name).is_some());
        let _ = (
            resolved.text().len(),
            resolved.explain(name, "m").map(|loss| loss.to_string()),
        );
    }
}

/// Fragments that form almost valid trees.
const PIECES: [&str; 40] = [
    "config A\n",
    "config B\n",
    "config C\n",
    "menuconfig A\n",
    "\tbool \"A\"\n",
    "\tbool\n",
    "\ttristate \"T\" if B\n",
    "\tint \"N\"\n",
    "\thex \"H\"\n",
    "\tstring \"S\"\n",
    "\tdefault y\n",
    "\tdefault B if A || C\n",
    "\tdefault \"x$(A)\"\n",
    "\tdefault 0x10\n",
    "\tdepends on A\n",
    "\tdepends on !(B && C)\n",
    "\tdepends on A = B\n",
    "\tselect B if C\n",
    "\timply C\n",
    "\trange 1 C\n",
    "\thelp\n",
    "\t  text\n",
    "choice\n",
    "choice X\n",
    "\tprompt \"P\"\n",
    "\toptional\n",
    "endchoice\n",
    "menu \"M\"\n",
    "\tvisible if A\n",
    "endmenu\n",
    "if A < 5\n",
    "endif\n",
    "comment \"K\"\n",
    "X = $(A)$(X)\n",
    "Y := \\\n",
    "$(shell,echo $(Y))\n",
    "source \"Config.uk\"\n",
    "source \"b\"\n",
    "\toption modules\n",
    "mainmenu \"$(\"\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_parsed_or_rejected(text in "\\PC{0,400}") {
        let text: &'static str = text.leak();
        let _ = Tree::parse("Config.uk", &Memory::of(text));
    }

    #[test]
    fn any_fragments_are_parsed_or_rejected_and_resolved(
        pieces in proptest::collection::vec(0..PIECES.len(), 0..40),
        config in "(CONFIG_[ABC]=[ymn0-9x\"]{1,4}\n){0,4}",
    ) {
        let text: String = pieces.into_iter().map(|at| PIECES[at]).collect();
        let text: &'static str = text.leak();
        if let Ok(tree) = Tree::parse("Config.uk", &Memory::of(text).with("b", "config B\n\tbool\n")) {
            let resolved = tree.resolve(&DotConfig::parse(&config));
            prop_assert!(resolved.text().starts_with('#'));
            for name in ["A", "B", "C"] {
                for value in ["y", "n", "5", "x"] {
                    let _ = resolved.explain(name, value).map(|loss| loss.to_string());
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_parsed_as_a_configuration(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        let config = DotConfig::parse(&text);
        prop_assert_eq!(DotConfig::parse(&config.text()), config);
    }
}
