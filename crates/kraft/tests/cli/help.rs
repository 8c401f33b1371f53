//! Help texts.

use std::fmt::Write as _;

use crate::support::Home;

/// Returns the path of every visible command.
fn commands() -> Vec<Vec<String>> {
    fn walk(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for child in command.get_subcommands() {
            if child.is_hide_set() || child.get_name() == "help" {
                continue;
            }
            let mut path = path.to_vec();
            path.push(child.get_name().to_owned());
            walk(child, &path, found);
            found.push(path);
        }
    }
    let mut found = Vec::new();
    walk(&kraft::command(), &[], &mut found);
    found.sort();
    found
}

#[test]
fn the_short_help_of_every_command_is_as_reviewed() {
    let home = Home::new();
    let mut page = home.ok(&["-h"]);
    for path in commands() {
        let mut words: Vec<&str> = path.iter().map(String::as_str).collect();
        words.push("-h");
        let _ = write!(page, "\n=== kraft {}\n{}", words.join(" "), home.ok(&words));
    }
    insta::assert_snapshot!(page);
}

#[test]
fn help_begins_with_a_description_and_has_global_flags_only_in_its_long_form() {
    let home = Home::new();
    for path in commands() {
        let mut words: Vec<&str> = path.iter().map(String::as_str).collect();
        words.push("--help");
        let long = home.ok(&words);
        assert!(!long.starts_with("Usage"), "{words:?}");
        assert!(long.contains("--log-level"), "{words:?}");
        words.pop();
        words.push("-h");
        assert!(!home.ok(&words).contains("--log-level"), "{words:?}");
    }
}

#[test]
fn a_bare_parent_command_prints_its_help() {
    let home = Home::new();
    for words in [&[][..], &["rootfs"], &["--log-level", "debug", "rootfs"]] {
        let outcome = home.kraft(words).exits(0);
        assert!(outcome.stdout.contains("Usage: kraft"), "{words:?}");
        assert_eq!(outcome.stderr, "", "{words:?}");
    }
}

#[test]
fn a_mistyped_command_or_flag_gets_a_suggestion() {
    let home = Home::new();
    let outcome = home.kraft(&["confg"]).exits(2);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("'config'"), "{}", outcome.stderr);
    let outcome = home.kraft(&["ps", "--al"]).exits(2);
    assert!(outcome.stderr.contains("'--all'"), "{}", outcome.stderr);
}

#[test]
fn version_is_one_line_that_scripts_can_match() {
    let home = Home::new();
    let line = home.ok(&["version"]);
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    assert_eq!(words.len(), 5, "{line}");
    assert_eq!(words[0], "kraft");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let commit = words[2]
        .strip_prefix('(')
        .unwrap()
        .strip_suffix(')')
        .unwrap();
    assert!(commit.chars().all(word), "{line}");
    for version in [words[1], words[3]] {
        assert!(
            version.chars().all(|c| word(c) || ".-".contains(c)),
            "{line}"
        );
    }
    assert_eq!(home.json(&["version", "-o", "json"])["version"], words[1]);
    assert_eq!(home.ok(&["v"]), line);
}

#[test]
fn version_and_path_of_the_configuration_do_not_depend_on_its_content() {
    let home = Home::new();
    home.configure("[");
    assert!(home.ok(&["version"]).starts_with("kraft "));
    assert_eq!(
        home.ok(&["config", "path"]),
        "[HOME]/.config/kraftkit/config.yaml\n"
    );
}
