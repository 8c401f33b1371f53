//! stdout and stderr, colours, forms, broken pipes.

use std::io::Read;
use std::process::Stdio;

use crate::support::Home;

#[test]
fn a_reader_who_goes_away_is_no_failure() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    #[expect(clippy::disallowed_methods, reason = "assert_cmd cannot break a pipe")]
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kraft"))
        .args(["config", "-o", "json"])
        .env_clear()
        .env("HOME", home.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn talk_is_json_on_request_also_about_the_command_line_itself() {
    let home = Home::new();
    for words in [
        &["--log-type", "json", "inspect", "nobody"][..],
        &["inspect", "nobody", "--log-type=json"],
        &["--log-type", "json", "inspect"],
        &["--log-type", "json", "nonsense"],
    ] {
        let outcome = home.kraft(words);
        assert_ne!(outcome.code, 0, "{words:?}");
        for line in outcome.stderr.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["level"], "error", "{words:?}");
        }
        assert!(outcome.stderr.contains("\"msg\":"), "{words:?}");
    }
}

#[test]
fn colours_follow_the_conventions() {
    let home = Home::new();
    let coloured = |variables: &[(&str, &str)], words: &[&str]| {
        let mut command = home.command(words);
        command.envs(variables.iter().copied());
        home.finish(&mut command).stdout.contains('\u{1b}')
    };
    assert!(!coloured(&[], &["ps"]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")], &["ps"]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")], &["--help"]));
    assert!(!coloured(
        &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")],
        &["ps"]
    ));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1")], &["--no-color", "ps"]));
    assert!(!coloured(
        &[("CLICOLOR_FORCE", "1")],
        &["--no-color", "--help"]
    ));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1")], &["ps", "-o", "json"]));
}

#[test]
fn timestamps_come_on_request() {
    let home = Home::new();
    let outcome = home
        .kraft(&["--log-timestamps", "inspect", "nobody"])
        .exits(3);
    let (time, rest) = outcome.stderr.split_once(' ').unwrap();
    assert!(time.ends_with('Z'), "{}", outcome.stderr);
    assert_eq!(rest, "error: no machine `nobody`\n");
}
