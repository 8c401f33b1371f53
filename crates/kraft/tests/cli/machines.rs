//! Created machines that were never started: listed, found, removed.

use crate::support::Home;

fn make(home: &Home, name: &str) {
    let kernel = home.kernel();
    let words = [
        "run",
        "--no-start",
        "-W",
        "--name",
        name,
        &kernel,
        "a",
        "b c",
    ];
    assert_eq!(home.ok(&words), format!("{name}\n"));
}

#[test]
fn an_empty_list_is_an_array_or_a_header() {
    let home = Home::new();
    assert_eq!(home.ok(&["ps", "-o", "json"]), "[]\n");
    assert_eq!(home.ok(&["ps", "-o", "yaml"]), "[]\n");
    assert_eq!(home.ok(&["ps", "-q"]), "");
    assert_eq!(
        home.ok(&["ps"]),
        "NAME  KERNEL  ARGS  CREATED  STATUS  MEM  PORTS  PLAT\n"
    );
    assert!(
        home.ok(&["ps", "--long"])
            .starts_with("MACHINE ID  NAME  KERNEL")
    );
}

#[test]
fn a_name_that_a_killed_process_reserved_is_released_by_the_next_removal() {
    let home = Home::new();
    make(&home, "alice");
    let names = home.path().join(".local/share/kraftkit/runtime/names");
    let target = "../machines/6fa459ea-ee8a-4ca4-894e-db77e160355e";
    std::os::unix::fs::symlink(target, names.join("nobody")).unwrap();
    assert_eq!(std::fs::read_dir(&names).unwrap().count(), 2);
    assert_eq!(home.ok(&["rm", "alice"]), "alice\n");
    assert_eq!(std::fs::read_dir(&names).unwrap().count(), 0);
}

#[test]
fn a_machine_is_listed_with_values_of_real_types() {
    let home = Home::new();
    make(&home, "alice");
    assert_eq!(home.json(&["ps", "-o", "json"]), serde_json::json!([]));
    let mut rows = home.json(&["ps", "--all", "-o", "json"]);
    let row = rows[0].as_object_mut().unwrap();
    assert_eq!(row["id"].as_str().unwrap().len(), 36);
    row.shift_remove("id");
    assert!(row["created_at"].as_str().unwrap().ends_with('Z'));
    row.shift_remove("created_at");
    assert_eq!(
        serde_json::Value::from(row.clone()),
        serde_json::json!({
            "name": "alice",
            "state": "created",
            "kernel": "kernel://kernel",
            "args": ["a", "b c"],
            "arch": "arm64",
            "platform": "qemu",
            "memory": 67_108_864,
            "cpus": 1,
            "ports": [],
            "started_at": null,
            "ended_at": null,
            "exit_code": null,
            "pid": null,
            "labels": {},
            "health": null,
            "restarts": 0,
        })
    );
    let table = home.ok(&["ps", "-a"]);
    assert!(table.contains("alice  kernel://kernel  a b c"), "{table}");
    assert!(
        table.contains("created  64Mi         qemu/arm64"),
        "{table}"
    );
    for words in [
        &["ps", "-a", "-m", "x86_64", "-q"][..],
        &["ps", "-a", "--plat", "fc", "-q"],
    ] {
        assert_eq!(home.ok(words), "", "{words:?}");
    }
    assert_ne!(
        home.ok(&["ps", "-a", "-m", "arm64", "--plat", "kvm", "-q"]),
        ""
    );
}

#[test]
fn a_machine_is_found_by_name_id_or_unique_prefix() {
    let home = Home::new();
    for name in ["anna", "annette", "bert"] {
        make(&home, name);
    }
    let id = home.json(&["inspect", "bert"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for word in ["bert", "be", &id] {
        assert_eq!(home.json(&["inspect", word])[0]["name"], "bert", "{word}");
    }
    let outcome = home.kraft(&["inspect", "ann"]).exits(2);
    for name in ["`anna`", "`annette`"] {
        assert!(outcome.stderr.contains(name), "{}", outcome.stderr);
    }
    let outcome = home.kraft(&["inspect", "brt"]).exits(3);
    assert!(outcome.stderr.contains("`bert`"), "{}", outcome.stderr);
}

#[test]
fn valid_machines_are_processed_and_the_invalid_one_decides_the_exit_code() {
    let home = Home::new();
    for name in ["anna", "bert", "carl"] {
        make(&home, name);
    }
    let outcome = home.kraft(&["rm", "anna", "nobody", "bert"]).exits(3);
    assert_eq!(outcome.stdout, "anna\nbert\n");
    assert_eq!(outcome.stderr, "error: no machine `nobody`\n");
    assert_eq!(home.ok(&["remove", "--all"]), "carl\n");
    assert_eq!(home.ok(&["remove", "--all"]), "");
    let _ = home.kraft(&["rm"]).exits(2);
    let _ = home.kraft(&["rm", "--all", "x"]).exits(2);
}

#[test]
fn an_impossible_action_is_an_error() {
    let home = Home::new();
    make(&home, "alice");
    let outcome = home.kraft(&["pause", "alice"]).exits(1);
    assert_eq!(
        outcome.stderr,
        "error: machine `alice` is not running, it is created\n"
    );
    let outcome = home.kraft(&["wait", "alice"]).exits(1);
    assert_eq!(outcome.stderr, "error: machine `alice` was never started\n");
    // A machine that is not running is not stopped, and has no console output.
    assert_eq!(home.ok(&["stop", "alice"]), "");
    assert_eq!(home.ok(&["logs", "alice"]), "");
    assert_eq!(home.ok(&["logs", "--follow", "alice"]), "");
}

#[test]
fn a_name_is_unique() {
    let home = Home::new();
    make(&home, "alice");
    let kernel = home.kernel();
    let outcome = home
        .kraft(&["run", "--no-start", "-W", "-n", "alice", &kernel])
        .exits(1);
    assert_eq!(
        outcome.stderr,
        "error: a machine named `alice` already exists\n"
    );
}

#[test]
fn the_root_filesystem_is_removed_with_its_machine() {
    let home = Home::new();
    let kernel = home.kernel();
    home.write("root/etc/motd", "hello\n");
    let words = [
        "run",
        "--no-start",
        "-W",
        "-n",
        "a",
        "--rootfs",
        "root",
        &kernel,
    ];
    home.ok(&words);
    let archive = home.json(&["inspect", "a"])[0]["spec"]["initrd"].clone();
    let archive = archive
        .as_str()
        .unwrap()
        .replace("[HOME]", home.path().to_str().unwrap());
    assert!(
        home.ok(&["rootfs", "cat", &archive, "/etc/motd"])
            .contains("hello")
    );
    // An archive of a killed process is removed by the next garbage collection.
    let stale = home.write(".local/share/kraftkit/runtime/rootfs/stale.cpio", "x");
    home.ok(&["rm", "a"]);
    assert!(!std::path::Path::new(&archive).exists());
    assert!(!stale.exists());
}

#[test]
fn a_machine_with_a_corrupt_record_is_listed_and_only_force_removes_it() {
    let home = Home::new();
    make(&home, "alice");
    make(&home, "bob");
    let dir = home.json(&["inspect", "alice"])[0]["dir"].clone();
    let dir = dir
        .as_str()
        .unwrap()
        .replace("[HOME]", home.path().to_str().unwrap());
    std::fs::remove_file(format!("{dir}/record.json")).unwrap();
    home.write(
        &format!(
            "{}/record.json",
            dir.strip_prefix(home.path().to_str().unwrap())
                .unwrap()
                .trim_start_matches('/')
        ),
        "{",
    );
    let outcome = home.kraft(&["ps", "-o", "json"]).exits(0);
    let rows: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(rows[0]["name"], "alice");
    assert_eq!(rows[0]["state"], "unknown");
    assert!(
        outcome.stderr.contains("cannot read the state"),
        "{}",
        outcome.stderr
    );
    let outcome = home.kraft(&["rm", "--all"]).exits(1);
    assert_eq!(outcome.stdout, "bob\n");
    assert_eq!(home.ok(&["rm", "--all", "--force"]), "alice\n");
    assert_eq!(home.ok(&["ps", "-aq"]), "");
}

#[test]
fn without_a_writable_directory_there_are_no_machines() {
    let home = Home::new();
    home.write("file", "");
    // A file in place of a directory is an obstacle for root as well.
    for runtime_dir in ["/proc/none/of/this", "file/below"] {
        let kraft = |words: &[&str]| {
            let mut command = home.command(words);
            command.env("KRAFTKIT_RUNTIME_DIR", runtime_dir);
            home.finish(&mut command)
        };
        for words in [&["ps"][..], &["ps", "--all", "-q"], &["ps", "-o", "json"]] {
            let listed = kraft(words).exits(0);
            assert!(!listed.stdout.contains("m1"), "{}", listed.stdout);
        }
        for words in [
            &["logs", "m1"][..],
            &["stop", "m1"],
            &["rm", "m1"],
            &["wait", "m1"],
        ] {
            let missing = kraft(words).exits(3);
            assert!(
                missing.stderr.contains("no machine `m1`"),
                "{}",
                missing.stderr
            );
        }
    }
    let mut command = home.command(&["ps", "-q"]);
    command.env("HOME", "/dev/null");
    assert_eq!(home.finish(&mut command).exits(0).stdout, "");
    // Listing creates nothing.
    home.ok(&["ps"]);
    assert!(!home.path().join(".local").exists());
}

#[test]
fn a_relative_home_is_an_error() {
    let home = Home::new();
    let mut command = home.command(&["ps"]);
    command.env("HOME", "relative");
    let refused = home.finish(&mut command).exits(2);
    assert!(
        refused.stderr.contains("`HOME` is `relative`") && refused.stderr.contains("export HOME="),
        "{}",
        refused.stderr
    );
    assert!(!home.path().join("relative").exists());
}

#[test]
fn missing_acceleration_is_logged_once_and_a_dry_run_records_nothing() {
    let home = Home::new();
    let kernel = home.kernel();
    let other = "running without acceleration: the kernel is built for arm64, and this host is";
    let told = |words: &[&str]| home.kraft(&[words, &[&kernel]].concat()).exits(0).stderr;
    // On an arm64 host, it may be accelerated.
    if !told(&["run", "--dry-run"]).contains(other) {
        return;
    }
    assert!(told(&["run", "--dry-run"]).contains(other));
    assert!(told(&["run", "--no-start"]).contains(other));
    assert_eq!(told(&["run", "--no-start"]), "");
    assert_eq!(told(&["run", "--dry-run"]), "");
    // It is logged again after a reboot of the host.
    let path = home.path().join(".local/share/kraftkit/runtime/told.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("\"boot\":\"").unwrap();
    let (_, after) = after.split_once('"').unwrap();
    home.write(
        ".local/share/kraftkit/runtime/told.json",
        format!("{before}\"boot\":\"another\"{after}"),
    );
    assert!(told(&["run", "--no-start"]).contains(other));
}

#[test]
fn a_forced_removal_of_what_does_not_exist_is_a_warning() {
    let home = Home::new();
    make(&home, "alice");
    home.ok(&["net", "create", "web"]);
    home.ok(&["vol", "create", "data"]);
    for (words, present, missing) in [
        (&["rm"][..], "alice", "no machine `nothing`"),
        (&["net", "rm"], "web", "no such network: nothing"),
        (&["vol", "rm"], "data", "no volume `nothing`"),
        (&["pkg", "rm"], "", "is not in the local store"),
    ] {
        let plain = home.kraft(&[words, &["nothing"]].concat()).exits(3);
        assert!(plain.stderr.contains(missing), "{}", plain.stderr);
        let flag = if words[0] == "pkg" { "--force" } else { "-f" };
        let mut names = vec![flag, "nothing"];
        names.extend((!present.is_empty()).then_some(present));
        let forced = home.kraft(&[words, &names].concat()).exits(0);
        assert!(forced.stderr.contains(missing), "{}", forced.stderr);
        assert_eq!(forced.stdout.trim(), present, "what exists is removed");
    }
}

#[test]
fn events_of_a_period_are_printed_and_then_the_command_exits() {
    let home = Home::new();
    let before = jiff::Timestamp::now().to_string();
    make(&home, "alice");
    make(&home, "bob");
    for period in [
        &["--until", "0s"][..],
        &["--since", "1h", "--until", "0s"],
        &["--since", &before, "--until", "-10ms"],
    ] {
        let printed = home.ok(&[&["events"][..], period].concat());
        let lines: Vec<&str> = printed.lines().collect();
        let [alice, bob] = lines[..] else {
            panic!("{period:?}: {printed}");
        };
        assert!(alice.ends_with(" alice created"), "{alice}");
        assert!(bob.ends_with(" bob created"), "{bob}");
    }
    let words = ["events", "-o", "json", "--until", "0s", "bob"];
    let event: serde_json::Value = serde_json::from_str(&home.ok(&words)).unwrap();
    assert_eq!(event["name"], "bob");
    assert_eq!(home.ok(&["events", "--until", &before]), "");
    let wrong = home.kraft(&["events", "--since", "1m", "--until", "1h"]);
    let wrong = wrong.exits(2);
    assert!(
        wrong.stderr.contains("is after `--until`"),
        "{}",
        wrong.stderr
    );
}
