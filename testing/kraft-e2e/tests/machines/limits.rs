//! What a guest reports reaches the user, what a guest writes does not fill the host, and what its
//! VMM can do is limited.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, Outcome, eventually, is_running};
use kraft_e2e::program;
use rustix::process::{Pid, Signal, kill_process};

fn inspect(bench: &Bench, name: &str) -> serde_json::Value {
    bench.json(["inspect", name])[0].clone()
}

fn pid(machine: &serde_json::Value, field: &str) -> Pid {
    let pid = machine[field]
        .as_i64()
        .unwrap_or_else(|| panic!("no {field}: {machine}"));
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

fn dir(machine: &serde_json::Value) -> PathBuf {
    PathBuf::from(machine["dir"].as_str().unwrap())
}

/// What the files of a directory take on disk, in bytes.
fn on_disk(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| {
            entry
                .unwrap()
                .metadata()
                .map_or(0, |meta| meta.blocks() * 512)
        })
        .sum()
}

fn start(bench: &Bench, name: &str, actions: &[&str]) -> serde_json::Value {
    let mut run = bench.command(["run", "-W", "-d", "--name", name]);
    run.arg(mini("x86_64")).args(actions);
    let _ = Outcome::of(&mut run).success();
    inspect(bench, name)
}

#[test]
fn the_exit_status_of_the_guest_is_that_of_run() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    for (action, code, kind) in [
        ("@exit:7", 7, "exited"),
        ("@exit:127", 127, "exited"),
        ("@exit:0", 0, "powered_off"),
        ("@print:x", 0, "powered_off"),
        ("@crash:panic", 8, "crashed"),
    ] {
        let run = bench
            .kraft(["run", "-W", "--name", "m", kernel, action])
            .exits(code);
        assert_eq!(run.stderr.is_empty(), code != 8, "{action}: {}", run.stderr);
        let machine = inspect(&bench, "m");
        let code = if kind == "crashed" { 1 } else { code };
        assert_eq!(machine["exit_code"], code, "{action}");
        assert_eq!(machine["end"]["kind"], kind, "{action}");
        assert_eq!(bench.machine("m").unwrap()["exit_code"], code, "{action}");
        assert_eq!(bench.ok(["wait", "m"]), format!("{code}\n"), "{action}");
        // Started again, it ends again.
        let _ = bench.kraft(["start", "m"]).exits(run.code.unwrap());
        bench.ok(["rm", "m"]);
    }
    let _ = bench
        .kraft(["run", "-W", "--rm", kernel, "@exit:3"])
        .exits(3);
}

#[test]
fn events_without_end_fill_neither_the_disk_nor_the_time_of_ps() {
    let bench = Bench::new();
    let machine = start(
        &bench,
        "m",
        &["@events:500000", "@print:done", "@sleep:600"],
    );
    let dir = dir(&machine);
    eventually("all events", || {
        assert!(on_disk(&dir) < 24 << 20, "{}", on_disk(&dir));
        assert_eq!(bench.state("m"), "running");
        bench.ok(["logs", "m"]).contains("\ndone")
    });
    assert!(std::fs::metadata(dir.join("events.out")).unwrap().len() >= 16 << 20);
    eventually("a short event log", || on_disk(&dir) < 4 << 20);
    // The reported state is still correct.
    bench.ok(["pause", "m"]);
    assert_eq!(bench.state("m"), "paused");
    bench.ok(["unpause", "m"]);
    assert_eq!(bench.state("m"), "running");
    kill_process(pid(&machine, "pid"), Signal::KILL).unwrap();
    bench.wait_for_state("m", "errored");
    assert_eq!(inspect(&bench, "m")["end"]["what"], "guest panicked");
}

#[test]
fn events_without_end_and_without_a_monitor_do_not_fill_the_disk() {
    let bench = Bench::new();
    let events_of = |machine: &serde_json::Value| dir(machine).join("events.out");
    // Where the host is so slow that events come before the monitor is killed, they come later.
    let machine = [1, 5, 25, 125].into_iter().find_map(|seconds| {
        let sleep = format!("@sleep:{seconds}");
        let machine = start(&bench, "m", &[&sleep, "@events:500000", "@sleep:600"]);
        let monitor = pid(&machine, "monitor_pid");
        kill_process(monitor, Signal::KILL).unwrap();
        eventually("the monitor's end", || !is_running(monitor));
        let events = std::fs::read_to_string(events_of(&machine)).unwrap();
        if !events.contains("GUEST_CRASHLOADED") {
            return Some(machine);
        }
        bench.ok(["rm", "-f", "m"]);
        None
    });
    let machine = machine.expect("a monitor that is killed before the first event");
    let (dir, events) = (dir(&machine), events_of(&machine));
    eventually("a full event log", || {
        std::fs::metadata(&events).unwrap().len() >= 16 << 20
    });
    assert_eq!(std::fs::metadata(&events).unwrap().len(), 16 << 20);
    assert!(
        is_running(pid(&machine, "pid")),
        "it was not ended for that"
    );
    // The next command starts a monitor again.
    assert_eq!(bench.state("m"), "running");
    eventually("a short event log", || on_disk(&dir) < 4 << 20);
    bench.ok(["pause", "m"]);
    assert_eq!(bench.state("m"), "paused");
    bench.ok(["rm", "-f", "m"]);
}

#[test]
fn a_machine_with_a_volume_to_write_to_has_no_limit_of_file_sizes() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path().join("data")).unwrap();
    for (volume, limit) in [("data:/data", "unlimited"), ("data:/data:ro", "16777216")] {
        let mut run = bench.command(["run", "-W", "-d", "--name", "m", "-v", volume]);
        let _ = Outcome::of(run.arg(mini("x86_64")).arg("@sleep:600")).success();
        let vmm = pid(&inspect(&bench, "m"), "pid").as_raw_nonzero();
        let limits = std::fs::read_to_string(format!("/proc/{vmm}/limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max file size"))
            .unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some(limit), "{volume}");
        bench.ok(["rm", "-f", "m"]);
    }
}

/// Writes a program that is QEMU but for what a script does first.
fn wrapper(bench: &Bench, script: &str) -> String {
    let path = bench.path().join("qemu-wrapper");
    program::script(
        &path,
        &format!("{script}\nexec qemu-system-x86_64 \"$@\"\n"),
    );
    path.to_str().unwrap().to_owned()
}

#[test]
fn qemu_is_confined_where_it_can_be() {
    let bench = Bench::new();
    let refuses = wrapper(
        &bench,
        "case \"$*\" in *-sandbox*) echo \"$0: -sandbox support is not enabled\" >&2; exit 1;; esac",
    );
    for (qemu, confined) in [("", true), (refuses.as_str(), false)] {
        let machine = {
            let mut run = bench.command(["run", "-W", "-d", "--name", "m"]);
            run.args((!qemu.is_empty()).then(|| format!("--qemu={qemu}")));
            let _ = Outcome::of(run.arg(mini("x86_64")).arg("@sleep:600")).success();
            inspect(&bench, "m")
        };
        let vmm = pid(&machine, "pid").as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{vmm}/status")).unwrap();
        let filtered = status.lines().any(|line| line == "Seccomp:\t2");
        let argv = std::fs::read_to_string(format!("/proc/{vmm}/cmdline")).unwrap();
        assert_eq!(argv.contains("spawn=deny"), confined);
        // Where the tests themselves are filtered, everything is.
        assert!(filtered || !confined, "{status}");
        assert_eq!(bench.state("m"), "running");
        bench.ok(["rm", "-f", "m"]);
    }
}

#[test]
fn a_kraft_that_was_replaced_meanwhile_still_starts_monitors() {
    let bench = Bench::new();
    let old = bench.path().join("kraft-old");
    program::copy(kraft_e2e::harness::kraft_binary(), &old);
    let machine = start(&bench, "m", &["@tick:100000"]);
    let mut logs = bench
        .command_of(&old, ["logs", "-f", "m"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let exe = format!("/proc/{}/exe", logs.id());
    eventually("kraft", || {
        std::fs::read_link(&exe).is_ok_and(|exe| exe == old)
    });
    std::fs::remove_file(&old).unwrap();
    let monitor = pid(&machine, "monitor_pid");
    kill_process(monitor, Signal::KILL).unwrap();
    // Only the replaced monitor observes the machine.
    let record = dir(&machine).join("record.json");
    eventually("another monitor", || {
        let text = std::fs::read_to_string(&record).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        let now = record["run"]["monitor"]["pid"].as_i64();
        now.is_some_and(|now| now != i64::from(monitor.as_raw_nonzero().get()))
    });
    logs.kill().unwrap();
    logs.wait().unwrap();
    bench.ok(["rm", "-f", "m"]);
}

#[test]
fn without_proc_a_start_is_refused_with_the_reason() {
    let bench = Bench::new();
    let run = bench.command(["run", "-W"]);
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", "umount -l /proc && exec \"$@\"", "sh"]);
    let mut run = kraft_e2e::harness::wrapped(unshare, &run);
    let failed = Outcome::of(run.arg(mini("x86_64")));
    if failed.stderr.contains("unshare:") || failed.stderr.contains("umount:") {
        eprintln!("skipped: {}", failed.stderr);
        return;
    }
    let failed = failed.exits(7);
    for part in ["`/proc` is not mounted", "mount -t proc"] {
        assert!(failed.stderr.contains(part), "{}", failed.stderr);
    }
}
