//! stdout and stderr, colours, log formats, broken pipes.

use std::io::Read;
use std::process::Stdio;

use crate::support::Home;

#[test]
fn a_broken_pipe_is_not_a_failure() {
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
fn the_log_is_json_on_request_also_for_usage_errors() {
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
fn timestamps_are_printed_on_request() {
    let home = Home::new();
    let outcome = home
        .kraft(&["--log-timestamps", "inspect", "nobody"])
        .exits(3);
    let (time, rest) = outcome.stderr.split_once(' ').unwrap();
    assert!(time.ends_with('Z'), "{}", outcome.stderr);
    assert_eq!(rest, "error: no machine `nobody`\n");
}

/// Every character that a terminal obeys or that reorders a line, but for NUL and line breaks.
fn hostile() -> String {
    let ranges = ['\u{1}'..='\u{8}', '\u{b}'..='\u{c}', '\u{e}'..='\u{1f}'];
    let wide = [
        '\u{7f}'..='\u{9f}',
        '\u{200e}'..='\u{200f}',
        '\u{202a}'..='\u{202e}',
    ];
    let last = ['\u{2066}'..='\u{2069}', '\u{61c}'..='\u{61c}'];
    ranges
        .into_iter()
        .chain(wide)
        .chain(last)
        .flatten()
        .collect()
}

#[test]
fn control_characters_from_outside_never_reach_a_log() {
    let home = Home::new();
    let hostile = hostile();
    // YAML itself refuses C0 controls and DEL; it accepts C1 but NEL, and bidi controls.
    let wide: String = hostile
        .chars()
        .filter(|&c| c > '\u{9f}' || c == '\u{9b}')
        .collect();
    home.write(
        "Kraftfile",
        format!("spec: v0.6\nname: ok\nfoo{wide}bar: 1\nruntime: \"{wide}x\"\n"),
    );
    home.write("raw/Kraftfile", format!("spec: v0.6\nname: {hostile}\n"));
    for words in [
        &["check", "."][..],
        &["check", "raw"],
        &["check", &hostile],
        &["run", &hostile],
        &["inspect", &hostile],
        &["pkg", "push", &hostile],
        &["config", "get", &hostile],
        &[&hostile],
        &["run", &format!("--{wide}")],
    ] {
        for form in ["basic", "json", "fancy"] {
            let mut command = home.command(words);
            command.env("KRAFTKIT_LOG_TYPE", form);
            let outcome = home.finish(&mut command);
            let all = format!("{}{}", outcome.stdout, outcome.stderr);
            let left = all
                .chars()
                .find(|&c| c != '\n' && c != '\t' && hostile.contains(c));
            assert_eq!(left, None, "{words:?} {form}: {all:?}");
        }
    }
}

#[test]
fn a_flag_without_effect_warns_once() {
    let home = Home::new();
    home.write("Kraftfile", "spec: v0.6\nruntime: r\n");
    for (words, flag) in [
        (&["build", "--offline", "--no-fetch", "."][..], "--no-fetch"),
        (&["build", "--offline", "--config", "x", "."], "--config"),
        (
            &["pkg", "--force-format", "--name", "a", "."],
            "--force-format",
        ),
        (&["version", "--pager", "less"], "--pager"),
        (&["version", "--editor", "vi"], "--editor"),
        (&["version", "--with-mirror", "https://m"], "--with-mirror"),
        (&["version", "--plugins-dir", "/p"], "--plugins-dir"),
        (&["version", "--git-protocol", "ssh"], "--git-protocol"),
        (&["version", "--http-unix-sock", "/s"], "--http-unix-sock"),
        (&["version", "--events-pid-file", "/f"], "--events-pid-file"),
    ] {
        let outcome = home.kraft(words);
        let warning = format!("warning: `{flag}` has no effect");
        assert_eq!(outcome.stderr.matches(&warning).count(), 1, "{outcome:?}");
    }
    // These are the defaults, and scripts often pass them.
    let quiet = [
        "version",
        "--no-emojis",
        "--no-warn-sudo",
        "--no-check-updates",
    ];
    assert_eq!(home.kraft(&quiet).exits(0).stderr, "");
    // Settings in a file of KraftKit cause no warnings.
    home.configure("pager: less\neditor: vi\n");
    assert_eq!(home.kraft(&["version"]).exits(0).stderr, "");
}
