//! Precedence of layers, and edits that keep everything else.

use std::os::unix::fs::PermissionsExt;

use crate::support::Home;

const FILE: &str = "\
# My machines live on the big disk.
runtime_dir: /big # not on /
log:
    level: warn # for now
mine: {stays: true}
";

#[test]
fn each_layer_overrides_the_next() {
    let home = Home::new();
    home.configure(FILE);
    let told = |words: &[&str], env: Option<&str>| {
        let mut command = home.command(words);
        if let Some(value) = env {
            command.env("KRAFTKIT_LOG_LEVEL", value);
        }
        let rows: serde_json::Value =
            serde_json::from_str(&home.finish(&mut command).exits(0).stdout).unwrap();
        let row = rows
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["key"] == "log.level");
        let row = row.unwrap().clone();
        format!("{} {} {}", row["value"], row["origin"], row["source"])
    };
    let list = ["config", "-o", "json"];
    let flag = ["config", "-o", "json", "--log-level", "debug"];
    assert_eq!(
        told(&flag, Some("trace")),
        r#""debug" "flag" "--log-level""#
    );
    assert_eq!(
        told(&list, Some("trace")),
        r#""trace" "environment" "KRAFTKIT_LOG_LEVEL""#
    );
    assert_eq!(
        told(&list, None),
        r#""warn" "file" "[HOME]/.config/kraftkit/config.yaml:4""#
    );
    home.configure("");
    assert_eq!(told(&list, None), r#""info" "default" null"#);
}

#[test]
fn reading_creates_no_file_and_the_first_set_creates_a_private_one() {
    let home = Home::new();
    home.ok(&["config"]);
    home.ok(&["ps"]);
    assert!(!home.config_file().exists());
    home.ok(&["config", "set", "log.level", "debug"]);
    let mode = std::fs::metadata(home.config_file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(home.ok(&["config", "get", "log.level"]), "debug\n");
}

#[test]
fn set_and_unset_keep_every_other_byte() {
    let home = Home::new();
    home.configure(FILE);
    let path = home.config_file();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    home.ok(&["config", "set", "log.level", "debug"]);
    home.ok(&["config", "set", "unikraft.manifests", "https://a,https://b"]);
    let edited = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        edited,
        FILE.replace("warn", "debug")
            + "unikraft:\n    manifests:\n        - https://a\n        - https://b\n"
    );
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(
        home.ok(&["config", "get", "unikraft.manifests"]),
        "https://a\nhttps://b\n"
    );
    home.ok(&["config", "unset", "unikraft.manifests"]);
    home.ok(&["config", "unset", "log.level"]);
    let edited = std::fs::read_to_string(&path).unwrap();
    assert!(
        edited.starts_with("# My machines live on the big disk.\n"),
        "{edited}"
    );
    assert!(edited.contains("mine: {stays: true}\n"), "{edited}");
    assert_eq!(home.ok(&["config", "get", "log.level"]), "info\n");
}

#[test]
fn an_invalid_file_is_shown_with_a_caret_and_never_overwritten() {
    let home = Home::new();
    home.configure("log:\n    level: loud\nno_prompt: [x]\n");
    let outcome = home.kraft(&["ps"]).exits(2);
    assert_eq!(outcome.stdout, "");
    insta::assert_snapshot!(outcome.stderr, @r"
    error: `loud` is not a valid value of `log.level`
     --> [HOME]/.config/kraftkit/config.yaml:2:12
      |
    2 |     level: loud
      |            ^^^^ expected one of panic, fatal, error, warn, info, debug, trace

    error: a list is not a valid value of `no_prompt`
     --> [HOME]/.config/kraftkit/config.yaml:3:12
      |
    3 | no_prompt: [x]
      |            ^^^ expected true or false
    ");
    // The file can be corrected with kraft itself.
    home.ok(&["config", "unset", "no_prompt"]);
    home.ok(&["config", "set", "log.level", "warn"]);
    home.ok(&["ps"]);

    home.configure("log: [\n");
    let _ = home.kraft(&["config", "set", "log.level", "warn"]).exits(2);
    assert_eq!(
        std::fs::read_to_string(home.config_file()).unwrap(),
        "log: [\n"
    );
}

#[test]
fn an_invalid_value_is_an_error_from_every_origin() {
    let home = Home::new();
    let outcome = home.kraft(&["--log-level", "loud", "ps"]).exits(2);
    assert!(
        outcome
            .stderr
            .starts_with("error: `loud` is not a valid value of `--log-level`: expected one of")
    );
    let mut command = home.command(&["ps"]);
    let outcome = home
        .finish(command.env("KRAFTKIT_NO_PROMPT", "maybe"))
        .exits(2);
    assert!(
        outcome.stderr.contains(
            "`maybe` is not a valid value of the environment variable `KRAFTKIT_NO_PROMPT`"
        )
    );
    let outcome = home.kraft(&["config", "set", "log.level", "loud"]).exits(2);
    assert!(
        outcome
            .stderr
            .contains("`loud` is not a valid value of `log.level`")
    );
    let outcome = home.kraft(&["config", "set", "loglevel", "x"]).exits(2);
    assert!(
        outcome
            .stderr
            .contains("unknown configuration key `loglevel`")
    );
}

#[test]
fn a_value_of_the_wrong_format_is_an_error_when_it_is_set_and_when_it_is_read() {
    for (key, variable, bad, expected) in [
        (
            "http_timeout",
            "HTTP_TIMEOUT",
            "banana",
            "number of seconds",
        ),
        ("http_timeout", "HTTP_TIMEOUT", "0", "number of seconds"),
        ("http_retries", "HTTP_RETRIES", "many", "a whole number"),
        ("insecure", "INSECURE", "https://x.org", "`HOST:PORT`"),
        (
            "buildkit_host",
            "BUILDKIT_HOST",
            "localhost",
            "`unix://PATH`",
        ),
        (
            "containerd_addr",
            "CONTAINERD_ADDR",
            "sock",
            "absolute path",
        ),
        ("log.level", "LOG_LEVEL", "loud", "one of panic"),
        ("no_color", "NO_COLOR", "maybe", "true or false"),
    ] {
        let home = Home::new();
        let outcome = home.kraft(&["config", "set", key, bad]).exits(2);
        let wrong = format!("`{bad}` is not a valid value of `{key}`: expected");
        assert!(outcome.stderr.contains(&wrong), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
        assert!(!home.config_file().exists());

        let variable = format!("KRAFTKIT_{variable}");
        let mut command = home.command(&["ps"]);
        let outcome = home.finish(command.env(&variable, bad)).exits(2);
        let wrong = format!(
            "`{bad}` is not a valid value of the environment variable `{variable}`: expected"
        );
        assert!(outcome.stderr.contains(&wrong), "{}", outcome.stderr);

        // A file that was written by hand: its name, the line, the key, what is expected.
        let line = match key.split_once('.') {
            Some((outer, inner)) => format!("{outer}:\n  {inner}: \"{bad}\"\n"),
            None => format!("{key}: \"{bad}\"\n"),
        };
        home.configure(&line);
        let outcome = home.kraft(&["ps"]).exits(2);
        for part in ["config.yaml:", key, bad, expected] {
            assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
        }
        // It can be corrected without an editor.
        let _ = home.kraft(&["config", "unset", key]).exits(0);
        let _ = home.kraft(&["ps"]).exits(0);
    }
}

#[test]
fn tokens_are_shown_on_request_only() {
    let home = Home::new();
    home.ok(&["config", "set", "auth.ghcr.io:443.user", "me"]);
    home.ok(&["config", "set", "auth.ghcr.io:443.token", "s3cret"]);
    let table = home.ok(&["config"]);
    assert!(table.contains("auth.ghcr.io:443.token"), "{table}");
    assert!(!table.contains("s3cret"), "{table}");
    assert_eq!(
        home.ok(&["config", "get", "auth.ghcr.io:443.token"]),
        "********\n"
    );
    let shown = home.ok(&["config", "get", "--show-secrets", "auth.ghcr.io:443.token"]);
    assert_eq!(shown, "s3cret\n");
}

#[test]
fn the_file_is_found_by_flag_variable_and_xdg_specification() {
    let home = Home::new();
    home.write("flag/config.yaml", "qemu: from-flag\n");
    home.write("var/config.yaml", "qemu: from-variable\n");
    home.write("xdg/kraftkit/config.yaml", "qemu: from-xdg\n");
    let xdg = home.path().join("xdg");
    let get = |words: &[&str], variable: bool| {
        let mut command = home.command(words);
        command.env("XDG_CONFIG_HOME", &xdg);
        if variable {
            command.env("KRAFTKIT_CONFIG_DIR", "var");
        }
        home.finish(&mut command).exits(0).stdout
    };
    let flag = ["config", "get", "qemu", "--config-dir", "flag"];
    assert_eq!(get(&flag, true), "from-flag\n");
    assert_eq!(get(&["config", "get", "qemu"], true), "from-variable\n");
    assert_eq!(get(&["config", "get", "qemu"], false), "from-xdg\n");
}

#[test]
fn concurrent_changes_are_all_kept() {
    let home = Home::new();
    home.configure("# mine\n");
    let keys = [
        "qemu",
        "editor",
        "pager",
        "log.level",
        "log.type",
        "default_arch",
        "runtime_dir",
    ];
    std::thread::scope(|scope| {
        for key in keys {
            let home = &home;
            let value = if key == "log.type" { "json" } else { "debug" };
            scope.spawn(move || home.ok(&["config", "set", key, value]));
        }
    });
    let rows = home.json(&["config", "-o", "json"]);
    let from_file = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["origin"] == "file");
    assert_eq!(from_file.count(), keys.len());
    assert!(
        std::fs::read_to_string(home.config_file())
            .unwrap()
            .starts_with("# mine\n")
    );
}
