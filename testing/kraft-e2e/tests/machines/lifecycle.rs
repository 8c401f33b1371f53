//! Machine state is consistent: whatever process is killed at any time, `kraft` reports the actual
//! state.

use std::process::{Command, Stdio};
use std::time::Duration;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, eventually, is_running, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn start(bench: &Bench, name: &str, actions: &[&str]) {
    let kernel = mini("x86_64");
    let mut args = vec!["run", "--detach", "--name", name, kernel.to_str().unwrap()];
    args.extend(actions);
    assert_eq!(bench.ok(&args), format!("{name}\n"));
}

fn pid_of(machine: &Value, field: &str) -> Pid {
    let pid = machine[field]
        .as_i64()
        .unwrap_or_else(|| panic!("no {field} in {machine}"));
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

fn inspect(bench: &Bench, name: &str) -> Value {
    bench.json(["inspect", name])[0].clone()
}

/// Starts a machine that soon does what `actions` say, and kills its monitor before; returns the
/// machine as it was then.
fn orphan(bench: &Bench, name: &str, actions: &[&str]) -> Value {
    // Where the host is so slow that the guest is faster, the guest waits longer.
    for seconds in [1, 5, 25, 125] {
        let sleep = format!("@sleep:{seconds}");
        start(bench, name, &[&[sleep.as_str()], actions].concat());
        let machine = inspect(bench, name);
        if machine["monitor_pid"].is_i64() {
            let killed = kill_process(pid_of(&machine, "monitor_pid"), Signal::KILL);
            if killed.is_ok() && is_running(pid_of(&machine, "pid")) {
                return machine;
            }
        }
        bench.ok(["rm", "--force", name]);
    }
    panic!("{name} always ends before its monitor can be killed");
}

#[test]
fn ps_shows_every_state_of_a_machine() {
    let bench = Bench::new();
    start(&bench, "alice", &["@tick:1000000"]);
    assert_eq!(bench.state("alice"), "running");
    bench.wait_for_log("alice", "tick 2");

    assert_eq!(bench.ok(["pause", "alice"]), "alice\n");
    assert_eq!(bench.state("alice"), "paused");
    // Another guest is the clock: while it prints, the paused one does not.
    start(&bench, "clock", &["@tick:1000000"]);
    let log = |name: &str| bench.ok(["logs", name]);
    let mut frozen = String::new();
    eventually("a paused machine that stands still", || {
        frozen = log("alice");
        let before = log("clock").matches("tick").count();
        eventually("the clock", || {
            log("clock").matches("tick").count() > before + 3
        });
        log("alice") == frozen
    });
    bench.ok(["rm", "--force", "clock"]);

    assert_eq!(bench.ok(["unpause", "alice"]), "alice\n");
    assert_eq!(bench.state("alice"), "running");
    eventually("more ticks", || log("alice").len() > frozen.len());

    assert_eq!(bench.ok(["stop", "alice"]), "alice\n");
    assert_eq!(bench.state("alice"), "exited");
    assert_eq!(bench.ok(["wait", "alice"]), "0\n");

    assert_eq!(bench.ok(["start", "--detach", "alice"]), "alice\n");
    assert_eq!(bench.state("alice"), "running");
    assert_eq!(bench.ok(["rm", "--force", "alice"]), "alice\n");
    assert_eq!(bench.state("alice"), "absent");
    let left: Vec<_> = std::fs::read_dir(bench.runtime().join("machines"))
        .unwrap()
        .flatten()
        .collect();
    assert!(left.is_empty(), "rm left {left:?}");
}

#[test]
fn a_guest_that_powers_off_has_exited_cleanly() {
    let bench = Bench::new();
    start(&bench, "m", &["@sleep:1"]);
    assert_eq!(bench.ok(["wait", "m"]), "0\n");
    let machine = bench.machine("m").unwrap();
    assert_eq!(machine["state"], "exited");
    assert_eq!(machine["exit_code"], 0);
    assert_eq!(inspect(&bench, "m")["end"]["kind"], "powered_off");
}

#[test]
fn a_guest_that_crashes_has_errored() {
    let bench = Bench::new();
    for (name, action) in [("panics", "@crash:panic"), ("faults", "@crash:triple")] {
        start(&bench, name, &[action]);
        assert_ne!(bench.ok(["wait", name]), "0\n");
        assert_eq!(bench.state(name), "errored");
        let kernel = mini("x86_64");
        let _ = bench
            .kraft(["run", "--rm", kernel.to_str().unwrap(), action])
            .exits(8);
    }
}

#[test]
fn the_end_is_recorded_without_a_running_kraft() {
    let bench = Bench::new();
    start(&bench, "m", &["@sleep:1"]);
    let before = inspect(&bench, "m");
    let monitor = pid_of(&before, "pid");
    eventually("the end of the VMM", || {
        rustix::process::test_kill_process(monitor).is_err()
    });
    // The record itself on disk, before any kraft could reconcile it.
    let dir = before["dir"].as_str().unwrap();
    eventually("the recorded end", || {
        let text = std::fs::read_to_string(format!("{dir}/record.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        record.to_string().contains("powered_off")
    });
}

#[test]
fn a_killed_vmm_is_reported_as_killed() {
    let bench = Bench::new();
    start(&bench, "m", &["@sleep:600"]);
    kill_process(pid_of(&inspect(&bench, "m"), "pid"), Signal::KILL).unwrap();
    bench.wait_for_state("m", "exited");
    assert_eq!(bench.ok(["wait", "m"]), "137\n");
    assert_eq!(inspect(&bench, "m")["end"]["kind"], "killed");
}

#[test]
fn a_machine_outlives_its_monitor_and_its_end_is_still_known() {
    let bench = Bench::new();
    start(&bench, "l", &["@sleep:600"]);
    kill_process(pid_of(&inspect(&bench, "l"), "monitor_pid"), Signal::KILL).unwrap();
    assert_eq!(bench.state("l"), "running");
    bench.ok(["rm", "--force", "l"]);

    orphan(&bench, "m", &[]);
    assert_eq!(bench.ok(["wait", "m"]), "0\n");
    assert_eq!(inspect(&bench, "m")["end"]["kind"], "powered_off");

    // And when no command observed the end.
    let machine = orphan(&bench, "n", &["@crash:panic"]);
    let vmm = pid_of(&machine, "pid");
    eventually("the end of the VMM", || {
        rustix::process::test_kill_process(vmm).is_err()
    });
    assert_eq!(bench.state("n"), "errored");
    let _ = bench.kraft(["rm", "n", "m"]).success();
}

#[test]
fn detached_machines_with_rm_remove_themselves() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    bench.ok([
        "run",
        "-d",
        "--rm",
        "--name",
        "m",
        kernel.to_str().unwrap(),
        "@sleep:1",
    ]);
    eventually("its removal", || bench.state("m") == "absent");
    let left = std::fs::read_dir(bench.runtime().join("machines"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[test]
fn a_kraft_killed_at_any_moment_leaves_a_consistent_store() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    for step in 0..40u64 {
        let name = format!("m{step}");
        let mut child = bench
            .command([
                "run",
                "--detach",
                "--name",
                &name,
                kernel.to_str().unwrap(),
                "@sleep:600",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(step * step * 130));
        child.kill().unwrap();
        child.wait().unwrap();
        // Any resulting state is reported correctly by the next command, and can be removed.
        let told = bench.state(&name);
        match told.as_str() {
            "absent" | "created" => {}
            "running" => {
                let pid = pid_of(&inspect(&bench, &name), "pid");
                assert!(
                    rustix::process::test_kill_process(pid).is_ok(),
                    "{name} does not run"
                );
            }
            other => panic!("{name} is told as {other}"),
        }
        if told != "absent" {
            let _ = bench.kraft(["rm", "--force", &name]).success();
        }
        // The name is free again, whatever happened.
        let _ = bench
            .kraft([
                "run",
                "--no-start",
                "--name",
                &name,
                kernel.to_str().unwrap(),
            ])
            .success();
        let _ = bench.kraft(["rm", &name]).success();
    }
    assert_eq!(bench.ok(["ps", "--all", "--quiet"]), "");
}

#[test]
fn twenty_machines_from_twenty_processes_have_twenty_names() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let children: Vec<_> = (0..20)
        .map(|_| {
            bench
                .command(["run", "--detach", kernel.to_str().unwrap(), "@sleep:600"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut names: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        })
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 20, "{names:?}");
    let listed = bench.json(["ps", "-o", "json"]);
    assert_eq!(listed.as_array().unwrap().len(), 20);
    let removed = bench.ok(["rm", "--all", "--force"]);
    assert_eq!(removed.lines().count(), 20, "{removed}");
    assert_eq!(
        bench.json(["ps", "--all", "-o", "json"]),
        serde_json::json!([])
    );
}

#[test]
fn ps_is_correct_on_a_full_disk() {
    let bench = Bench::new();
    let small = bench.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=640k", "kraft-e2e"])
        .arg(&small)
        .output()
        .is_ok_and(|o| o.status.success());
    if !mounted {
        return skip("mounting a small tmpfs needs root");
    }
    let unmount = Unmount(small.clone());
    {
        let bench = Bench::with_runtime(&small);
        start(&bench, "m", &["@sleep:3"]);
        let pid = inspect(&bench, "m")["pid"].as_i64();
        fill(&small);
        let told = bench.state("m");
        let vmm = pid.and_then(|pid| Pid::from_raw(pid.try_into().unwrap()));
        if vmm.is_some_and(is_running) {
            assert_eq!(told, "running");
        }
        assert_eq!(bench.ok(["wait", "m"]), "0\n");
        assert_eq!(bench.state("m"), "exited");
        assert_eq!(inspect(&bench, "m")["end"]["kind"], "powered_off");
        let kernel = mini("x86_64");
        let refused = bench.kraft(["run", "-d", "--name", "n", kernel.to_str().unwrap()]);
        if refused.code != Some(0) {
            assert!(refused.stderr.contains("space"), "{}", refused.stderr);
            assert_eq!(bench.state("n"), "absent");
        }
        std::fs::remove_file(small.join("filler")).unwrap();
        let _ = bench.kraft(["rm", "--all", "--force"]).success();
    }
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn fill(dir: &std::path::Path) {
    use std::io::Write;
    let mut filler = std::fs::File::create(dir.join("filler")).unwrap();
    for size in [65536, 4096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_machine_whose_directory_cannot_be_read_is_unknown_and_hides_no_other() {
    if !rustix::process::geteuid().is_root() {
        return skip("becoming another user needs root");
    }
    let bench = Bench::new();
    let home = bench.path().to_owned();
    let own = |path: &std::path::Path| {
        assert!(
            Command::new("chown")
                .args(["-R", "65534:65534"])
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    };
    // The program and the kernel must be readable by that user, wherever the checkout lies.
    bench.kraft_copy();
    std::fs::copy(mini("x86_64"), home.join("mini")).unwrap();
    own(&home);
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(home.join("kraft"))
            .args(args)
            .env("HOME", &home)
            .env("KRAFTKIT_RUNTIME_DIR", bench.runtime())
            .env("KRAFTKIT_CONFIG_DIR", home.join("config"))
            .current_dir(&home);
        kraft_e2e::harness::Outcome::of(&mut command)
    };
    for name in ["shut", "open"] {
        let _ = as_nobody(&["run", "-d", "--name", name, "./mini", "@sleep:600"]).success();
    }
    let all = as_nobody(&["inspect", "shut"]).success();
    let machine: Value = serde_json::from_str(&all.stdout).unwrap();
    let dir = machine[0]["dir"].as_str().unwrap().to_owned();
    let chmod = |mode: &str| {
        assert!(
            Command::new("chmod")
                .args([mode, &dir])
                .status()
                .unwrap()
                .success()
        );
    };
    chmod("000");
    let listed = as_nobody(&["ps", "--all", "-o", "json"]);
    let rows: Value = serde_json::from_str(&listed.stdout).unwrap();
    let states: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect();
    assert_eq!(states.len(), 2, "{rows}");
    assert!(
        states.contains(&"running") && states.contains(&"unknown"),
        "{rows}"
    );
    chmod("755");
    let rows: Value =
        serde_json::from_str(&as_nobody(&["ps", "-o", "json"]).success().stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    let _ = as_nobody(&["rm", "--all", "--force"]).success();
}

#[test]
fn names_ids_and_unique_prefixes_all_find_a_machine() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    for name in ["anna", "annette", "bert"] {
        bench.ok([
            "run",
            "--no-start",
            "--name",
            name,
            kernel.to_str().unwrap(),
        ]);
    }
    let id = bench.machine("bert").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for word in ["bert", "be", id.as_str(), &id[..8]] {
        assert_eq!(bench.json(["inspect", word])[0]["name"], "bert", "{word}");
    }
    let ambiguous = bench.kraft(["inspect", "ann"]).exits(2);
    assert!(ambiguous.stderr.contains("annette"), "{}", ambiguous.stderr);
    let missing = bench.kraft(["inspect", "annet", "nobody"]).exits(3);
    assert!(missing.stderr.contains("nobody"), "{}", missing.stderr);
    let taken = bench.kraft([
        "run",
        "--no-start",
        "--name",
        "anna",
        kernel.to_str().unwrap(),
    ]);
    assert_eq!(taken.code, Some(1));
    assert!(taken.stderr.contains("anna"), "{}", taken.stderr);
    // Several at once: the valid ones succeed, the invalid one is reported, and the exit code shows
    // it.
    let outcome = bench.kraft(["rm", "anna", "nobody", "bert"]).exits(3);
    assert_eq!(outcome.stdout, "anna\nbert\n");
    assert_eq!(bench.ok(["ps", "--all", "--quiet"]).lines().count(), 1);
}

#[test]
fn logs_follow_to_the_end_with_prefixes_and_lose_no_last_line() {
    let bench = Bench::new();
    start(&bench, "one", &["@tick:5", "@print:no newline at the end"]);
    start(&bench, "two", &["@tick:3"]);
    let both = bench.ok(["logs", "--follow", "one", "two"]);
    assert!(
        both.lines()
            .any(|l| l.starts_with("one") && l.contains("tick 5")),
        "{both}"
    );
    assert!(
        both.lines()
            .any(|l| l.starts_with("two") && l.contains("tick 3")),
        "{both}"
    );
    let plain = bench.ok(["logs", "one"]);
    assert!(plain.starts_with("kraft-guest: hello"), "{plain}");
    assert!(plain.contains("no newline at the end"), "{plain}");
}

#[test]
fn ctrl_c_stops_a_foreground_machine() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let child = bench
        .command(["run", "--name", "m", kernel.to_str().unwrap(), "@sleep:600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    bench.wait_for_log("m", "ready");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait_with_output().unwrap().status;
    assert_eq!(status.code(), Some(130));
    assert_eq!(bench.state("m"), "exited");
    assert_eq!(inspect(&bench, "m")["end"]["kind"], "stopped");
}
