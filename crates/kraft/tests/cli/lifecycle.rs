//! Labels, names, filters, templates and settings of machines that were never started.

use crate::support::Home;

fn make(home: &Home, name: &str, options: &[&str]) {
    let kernel = home.kernel();
    let words = [
        &["run", "--no-start", "-W", "--name", name],
        options,
        &[&kernel],
    ]
    .concat();
    assert_eq!(home.ok(&words), format!("{name}\n"));
}

fn inspect(home: &Home, name: &str) -> serde_json::Value {
    let all = home.json(&["inspect", name]);
    all.get(0).cloned().unwrap_or_default()
}

#[test]
fn machines_are_filtered_and_formatted_as_docker_does() {
    let home = Home::new();
    make(
        &home,
        "web",
        &["--label", "tier=web", "-l", "prod", "-p", "8080:80"],
    );
    make(&home, "db", &["--label", "tier=db"]);
    let names =
        |words: &[&str]| home.ok(&[&["ps", "-a", "--format", "{{.Names}}"], words].concat());
    assert_eq!(names(&["--filter", "label=tier"]), "web\ndb\n");
    assert_eq!(
        names(&["-f", "label=tier=web", "-f", "label=prod"]),
        "web\n"
    );
    assert_eq!(names(&["-f", "name=db", "-f", "name=web"]), "web\ndb\n");
    assert_eq!(names(&["-f", "status=running"]), "");
    // A state selects machines that do not run as well.
    assert_eq!(
        home.ok(&["ps", "-q", "--filter", "status=created"])
            .lines()
            .count(),
        2
    );
    assert_eq!(
        home.ok(&[
            "ps",
            "-a",
            "--format",
            "table {{.Names}}\\t{{.Label \"tier\"}}"
        ]),
        "NAME  TIER\nweb   web\ndb    db\n"
    );
    let line = home.ok(&["ps", "-a", "-f", "name=web", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        row["labels"],
        serde_json::json!({"prod": "", "tier": "web"})
    );
    for (words, part) in [
        (&["ps", "--filter", "nam=x"][..], "did you mean `name`?"),
        (&["ps", "--filter", "x"], "expected KEY=VALUE"),
        (&["ps", "--format", "{{.Nam}}"], ".Names"),
        (
            &["ps", "--format", "{{.Names}}", "-q"],
            "cannot be used with",
        ),
    ] {
        let outcome = home.kraft(words).exits(2);
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn a_machine_has_the_policies_of_its_command_line_until_they_are_updated() {
    let home = Home::new();
    home.write("vars", "A=file\nB=file\n");
    let options = [
        "--restart",
        "on-failure:3",
        "--stop-timeout",
        "7",
        "--env-file",
        "vars",
        "-e",
        "B=typed",
        "-p",
        "127.0.0.1:8080:80",
        "--health-http",
        "80/up",
        "--health-interval",
        "2s",
    ];
    make(&home, "web", &options);
    let spec = inspect(&home, "web")["spec"].clone();
    assert_eq!(spec["env"], serde_json::json!({"A": "file", "B": "typed"}));
    assert_eq!(
        spec["lifecycle"],
        serde_json::json!({
            "restart": "on-failure:3",
            "stop_timeout": 7,
            "health": {
                "probe": "http", "port": 80, "path": "/up",
                "interval_ms": 2000, "timeout_ms": 30000, "retries": 3, "start_period_ms": 0,
            },
        })
    );
    let update = [
        "update",
        "--restart",
        "always",
        "--label",
        "a=1",
        "--stop-timeout",
        "0",
        "-M",
        "96Mi",
        "web",
    ];
    assert_eq!(home.ok(&update), "web\n");
    let spec = inspect(&home, "web")["spec"].clone();
    assert_eq!(spec["lifecycle"]["restart"], "always");
    assert_eq!(spec["lifecycle"]["stop_timeout"], 0);
    assert_eq!(spec["lifecycle"]["health"]["path"], "/up");
    assert_eq!(spec["labels"], serde_json::json!({"a": "1"}));
    assert_eq!(spec["memory"], 96 << 20);
    home.ok(&["update", "--label-rm", "a", "web"]);
    assert_eq!(
        inspect(&home, "web")["spec"]["labels"],
        serde_json::json!({})
    );

    for (words, code, part) in [
        (
            &["update", "--restart", "sometimes", "web"][..],
            2,
            "is not a restart policy",
        ),
        (&["update", "--restart", "no"], 2, "no machine selected"),
        (
            &["update", "--restart", "no", "missing"],
            3,
            "no machine `missing`",
        ),
        (
            &["update", "--restart", "no", "--check", "web"],
            2,
            "cannot be used with",
        ),
    ] {
        let outcome = home.kraft(words).exits(code);
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn contradictions_are_refused_before_a_machine_is_created() {
    let home = Home::new();
    let kernel = home.kernel();
    for (options, part) in [
        (&["--restart", "always", "--rm"][..], "does not fit `--rm`"),
        (
            &["--health-tcp", "80"],
            "cannot reach port 80: it is not published",
        ),
        (&["--health-tcp", "0"], "invalid value '0'"),
        (&["--health-http", "x"], "is not the port of a service"),
        (&["--label", "=x"], "expected NAME=VALUE"),
    ] {
        let words = [&["run", "--no-start", "-W"], options, &[&kernel]].concat();
        let outcome = home.kraft(&words).exits(2);
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
    let words = ["run", "--no-start", "-W", "--env-file", "none", &kernel];
    let outcome = home.kraft(&words).exits(3);
    assert!(
        outcome.stderr.contains("`--env-file none`"),
        "{}",
        outcome.stderr
    );
    assert_eq!(home.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_renamed_machine_is_found_by_its_new_name_and_the_old_one_is_free() {
    let home = Home::new();
    make(&home, "old", &[]);
    make(&home, "other", &[]);
    assert_eq!(home.ok(&["rename", "old", "new"]), "");
    assert_eq!(inspect(&home, "new")["name"], "new");
    let _ = home.kraft(&["inspect", "old"]).exits(3);
    make(&home, "old", &[]);
    let outcome = home.kraft(&["rename", "old", "other"]).exits(1);
    assert!(
        outcome
            .stderr
            .contains("a machine named `other` already exists")
    );
    let _ = home.kraft(&["rename", "old", "-x"]).exits(2);
    let _ = home.kraft(&["rename", "old", "a b"]).exits(2);
    assert_eq!(home.ok(&["rm", "new", "old", "other"]), "new\nold\nother\n");
    make(&home, "new", &[]);
}

#[test]
fn a_published_port_is_printed_with_its_address() {
    let home = Home::new();
    make(
        &home,
        "web",
        &["-p", "127.0.0.1:8080:80", "-p", "5353:53/udp"],
    );
    assert_eq!(
        home.ok(&["port", "web"]),
        "PORT    HOST\n80/tcp  127.0.0.1:8080\n53/udp  0.0.0.0:5353\n"
    );
    assert_eq!(home.ok(&["port", "web", "80"]), "127.0.0.1:8080\n");
    assert_eq!(home.ok(&["port", "web", "53/udp"]), "0.0.0.0:5353\n");
    assert_eq!(home.json(&["port", "web", "-o", "json"])[1]["port"], 53);
    let outcome = home.kraft(&["port", "web", "53"]).exits(3);
    assert!(
        outcome.stderr.contains("does not publish port 53/tcp"),
        "{}",
        outcome.stderr
    );
    let _ = home.kraft(&["port", "web", "http"]).exits(2);
}
