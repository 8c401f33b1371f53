//! Networks without a machine that runs: every form of `kraft net` and of the flags of `kraft run`.

use serde_json::Value;

use crate::support::Home;

#[test]
fn every_command_has_the_names_of_kraftkit() {
    let home = Home::new();
    for (words, printed) in [
        (&["network", "add", "-n", "10.88.0.1/24", "a"][..], "a\n"),
        (
            &[
                "net",
                "create",
                "--driver",
                "bridge",
                "-n",
                "10.88.1.1/24",
                "b",
            ],
            "b\n",
        ),
        (&["net", "-d", "bridge", "create", "--internal", "c"], "c\n"),
        (&["net", "stop", "a", "b"], "a\nb\n"),
        (&["net", "start", "a"], "a\n"),
        (&["net", "down", "a"], "a\n"),
        (&["net", "up", "a"], "a\n"),
        (&["net", "rm", "a"], "a\n"),
        (&["net", "delete", "b"], "b\n"),
        (&["net", "del", "--force", "c"], "c\n"),
        (&["network", "prune"], ""),
    ] {
        assert_eq!(home.ok(words), printed, "{words:?}");
    }
    for list in ["ls", "list"] {
        let printed = home.ok(&["net", list]);
        assert_eq!(printed, "NAME  NETWORK  DRIVER  STATUS\n");
    }
}

#[test]
fn a_listing_has_each_format_and_an_inspection_kraftkits_fields() {
    let home = Home::new();
    home.ok(&["net", "create", "-n", "10.88.0.1/24", "web"]);
    home.ok(&[
        "net",
        "create",
        "--network",
        "10.88.1.1/28",
        "--internal",
        "db",
    ]);
    let table = home.ok(&["net", "ls"]);
    assert!(
        table.contains("web   10.88.0.1/24  bridge  up\n"),
        "{table}"
    );
    let rows = home.json(&["net", "ls", "-o", "json"]);
    assert_eq!(
        (&rows[0]["name"], &rows[1]["name"]),
        (&"db".into(), &"web".into())
    );
    assert_eq!(rows[0]["internal"], true);
    let yaml = home.ok(&["net", "ls", "-o", "yaml"]);
    assert!(yaml.contains("network: 10.88.0.1/24"), "{yaml}");
    assert!(
        home.ok(&["net", "ls", "-o", "list"])
            .contains("driver: bridge")
    );
    assert!(home.ok(&["net", "ls", "--long"]).contains("NETWORK ID"));
    let web = home.json(&["net", "inspect", "web"]);
    assert_eq!(web["spec"]["gateway"], "10.88.0.1");
    assert_eq!(web["spec"]["netmask"], "255.255.255.0");
    assert_eq!(web["status"]["state"], "up");
    let yaml = home.ok(&["net", "inspect", "db", "-o", "yaml"]);
    assert!(yaml.contains("internal: true"), "{yaml}");
    let table = home.ok(&["net", "inspect", "web", "-o", "table"]);
    assert_eq!(table, "MACHINE  ADDRESS  MAC  STATUS  PORTS\n");
}

#[test]
fn what_is_wrong_has_kraftkits_sentences() {
    let home = Home::new();
    home.ok(&["net", "create", "-n", "10.88.0.1/24", "web"]);
    for (words, code, part) in [
        (
            &["create", "-n", "1234", "x"][..],
            2,
            "invalid CIDR address: 1234",
        ),
        (
            &["create", "-d", "macvlan", "x"],
            2,
            "unsupported network driver strategy: macvlan",
        ),
        (&["create", "web"], 1, "network already exists: web"),
        (
            &["create", "-n", "10.88.0.129/25", "x"],
            1,
            "overlaps with that of `web`",
        ),
        (
            &["create", "-n", "10.88.2.0/24", "x"],
            2,
            "is not the address of a host",
        ),
        (&["create", "a/b"], 2, "`/` is none of these"),
        (&["create"], 2, "<NETWORK>"),
        (&["inspect", "no"], 3, "no such network: no"),
        (&["rm", "no"], 3, "no such network: no"),
        (&["up", "no"], 3, "no such network: no"),
        (&["down", "no"], 3, "no such network: no"),
    ] {
        let outcome = home.kraft(&[&["net"], words].concat()).exits(code);
        assert!(
            outcome.stderr.contains(part),
            "{words:?}: {}",
            outcome.stderr
        );
    }
}

/// Returns the parameters of the kernel that a machine with these flags would get.
fn parameters(home: &Home, flags: &[&str]) -> Vec<String> {
    let kernel = home.kernel();
    let words = [
        &["run", "-W", "--dry-run", "-o", "json", "--name", "m"],
        flags,
        &[&kernel],
    ];
    let plan = home.json(&words.concat());
    let line = plan.get("command_line").and_then(Value::as_str);
    let line = line.unwrap_or_default().to_owned();
    let all = plan.to_string();
    assert!(!line.is_empty(), "{all}");
    line.split(' ')
        .filter(|word| word.starts_with("netdev.ip="))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_field_of_a_connection_reaches_the_kernel() {
    let home = Home::new();
    home.ok(&["net", "create", "-n", "10.88.0.1/24", "web"]);
    let whole = "web:10.88.0.9/25:10.88.0.4:1.1.1.1:8.8.8.8:box:example.org";
    for (flags, parameter) in [
        (
            &["--network", "web"][..],
            "netdev.ip=10.88.0.2/24:10.88.0.1:10.88.0.1::m:web",
        ),
        (
            &["--network", "web:10.88.0.7"],
            "netdev.ip=10.88.0.7/24:10.88.0.1:10.88.0.1::m:web",
        ),
        (
            &[
                "--network",
                "web",
                "--ip",
                "10.88.0.8",
                "--mac",
                "02:b0:b0:00:00:77",
            ],
            "netdev.ip=10.88.0.8/24:10.88.0.1:10.88.0.1::m:web",
        ),
        (
            &["--network", "web::10.88.0.4:::box"],
            "netdev.ip=10.88.0.2/24:10.88.0.4:10.88.0.1::box:web",
        ),
        (
            &["--network", whole],
            "netdev.ip=10.88.0.9/25:10.88.0.4:1.1.1.1:8.8.8.8:box:example.org",
        ),
        // The forms of old scripts: the driver, and the kernel's parameters.
        (
            &["--network", "bridge:web"],
            "netdev.ip=10.88.0.2/24:10.88.0.1:10.88.0.1::m:web",
        ),
        (
            &[
                "--network",
                "bridge:web",
                "-a",
                "netdev.ip=10.88.0.5/24:10.88.0.4",
            ],
            "netdev.ip=10.88.0.5/24:10.88.0.4:10.88.0.1::m:web",
        ),
        (
            &["--network", "web", "-a", "netdev.ipv4_addr=10.88.0.6"],
            "netdev.ip=10.88.0.6/24:10.88.0.1:10.88.0.1::m:web",
        ),
    ] {
        assert_eq!(parameters(&home, flags), [parameter], "{flags:?}");
    }
}

#[test]
fn connections_that_cannot_be_are_refused_before_a_machine_is_created() {
    let home = Home::new();
    let kernel = home.kernel();
    for name in ["a", "b", "c", "d", "e"] {
        home.ok(&["net", "create", name]);
    }
    let two = &["--network", "a", "--network", "b"][..];
    for (flags, code, part) in [
        (&["--network", "missing"][..], 3, "no such network: missing"),
        (
            &["--network", "a:1.2.3.4"],
            2,
            "is not one for a machine in network `a`",
        ),
        (
            &["--ip", "1.2.3.4"],
            2,
            "the --ip flag only works when providing exactly one",
        ),
        (
            &[two, &["--ip", "1.2.3.4"]].concat(),
            2,
            "the --ip flag only works",
        ),
        (
            &[two, &["--mac", "02:b0:b0:00:00:01"]].concat(),
            2,
            "the --mac flag only works",
        ),
        (
            &["--network", "a", "--mac", "01:00:00:00:00:00"],
            2,
            "the first one even",
        ),
        (
            &["--network", "a", "--network", "a"],
            2,
            "a machine is in a network once",
        ),
        (
            &[two, &["--network", "c", "--network", "d", "--network", "e"]].concat(),
            2,
            "a machine is in at most 4 networks",
        ),
    ] {
        let words = [&["run", "--no-start", "-W"], flags, &[&kernel]].concat();
        let outcome = home.kraft(&words).exits(code);
        assert!(
            outcome.stderr.contains(part),
            "{flags:?}: {}",
            outcome.stderr
        );
    }
    assert_eq!(home.ok(&["ps", "-aq"]), "");
    // A health check needs no published port there.
    home.ok(&[
        "run",
        "--no-start",
        "-W",
        "--network",
        "a",
        "--health-tcp",
        "80",
        &kernel,
    ]);
}

#[test]
fn a_network_in_use_is_removed_by_force_only_and_kept_by_prune() {
    let home = Home::new();
    let kernel = home.kernel();
    home.ok(&["net", "create", "used"]);
    home.ok(&["net", "create", "free"]);
    home.ok(&[
        "run",
        "-W",
        "--no-start",
        "-n",
        "m",
        "--network",
        "used",
        &kernel,
    ]);
    let refused = home.kraft(&["net", "rm", "used"]).exits(1);
    assert!(
        refused
            .stderr
            .contains("network used is in use by machine m"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("Use --force to remove it anyway"));
    assert_eq!(home.ok(&["net", "prune"]), "free\n");
    let rows = home.json(&["net", "ls", "-o", "json"]);
    assert_eq!(rows[0]["machines"], Value::from(vec!["m"]));
    let forced = home.kraft(&["net", "rm", "--force", "used"]).exits(0);
    assert!(
        forced.stderr.contains("machine `m` loses network `used`"),
        "{}",
        forced.stderr
    );
    // The machine is removed as any other.
    assert_eq!(home.ok(&["rm", "m"]), "m\n");
    assert_eq!(
        home.json(&["net", "ls", "-o", "json"]),
        Value::Array(Vec::new())
    );
}

#[test]
fn a_network_without_a_way_out_is_named_once() {
    let home = Home::new();
    let kernel = home.kernel();
    home.ok(&["net", "create", "--internal", "inside"]);
    home.ok(&["net", "create", "web"]);
    let warned = |network: &str| {
        let words = ["run", "-W", "--no-start", "--network", network, &kernel];
        let mut command = home.command(&words);
        command.env("PATH", "/nowhere");
        let run = home.finish(&mut command).exits(0);
        run.stderr.contains("`slirp4netns` is not installed")
    };
    assert!(!warned("inside"));
    assert!(warned("web"));
    assert!(!warned("web"));
}
