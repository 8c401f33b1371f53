//! Firecracker: every command of machines on it, what it cannot do, and kernels that are built for it on
//! QEMU.
//!
//! The VMM is the emulator, which boots the same kernels without KVM. A real one is checked by
//! `real_firecracker`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kraft_e2e::harness::{Bench, Outcome, eventually, has_builtin_runtime, is_running, skip};
use kraft_e2e::networks::{Place, get, traces};
use kraft_e2e::registry::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::snapshots::{damage, kill_at_random, kills};

/// The emulator.
const EMULATOR: &str = env!("CARGO_BIN_EXE_firecracker");

fn bench() -> Bench {
    Bench::new()
        .env("KRAFTKIT_OFFLINE", "true")
        .env("KRAFTKIT_FIRECRACKER", EMULATOR)
}

/// Does what its first argument says: prints its arguments and ends with the status of the second, waits
/// for a signal, echoes lines, or crashes the machine by a jump into nothing.
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
static void terminated(int signal) { (void)signal; printf("terminated\n"); exit(0); }
int main(int count, char **words) {
    setvbuf(stdout, 0, _IONBF, 0);
    signal(SIGTERM, terminated);
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "print")) {
        for (int i = 3; i < count; i++) printf("[%s]\n", words[i]);
        printf("TEXT=%s\n", getenv("TEXT") ? getenv("TEXT") : "");
        return atoi(words[2]);
    }
    if (!strcmp(what, "echo")) {
        char line[256];
        printf("ready\n");
        while (fgets(line, sizeof line, stdin)) {
            if (!strcmp(line, "quit\n")) return 9;
            printf("got %s", line);
        }
        return 8;
    }
    if (!strcmp(what, "who")) for (int i = 0;; i++) {
        unsigned long random;
        getrandom(&random, sizeof random, 0);
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        struct utsname names;
        uname(&names);
        printf("%d %016lx %ld %s.\n", i, random, (long)now.tv_sec, names.nodename);
        usleep(20000);
    }
    if (!strcmp(what, "talk")) for (int i = 0;; i++) { printf("tick %d\n", i); usleep(20000); }
    printf("waiting\n");
    for (;;) pause();
}
"#;

/// Compiles the program in the bench; `None` (and said so) if that, or the runtime, is not here.
pub(crate) fn program(bench: &Bench) -> Option<String> {
    if !has_builtin_runtime() {
        skip("the built-in runtime is not built: make runtime");
        return None;
    }
    let (source, out) = (bench.path().join("app.c"), bench.path().join("app"));
    fs::write(&source, PROGRAM).unwrap();
    let compiled = Command::new("gcc")
        .arg("-static")
        .arg("-o")
        .args([&out, &source])
        .status();
    match compiled {
        Ok(status) => assert!(status.success()),
        Err(_) => {
            skip("gcc is not installed: scripts/setup.sh test");
            return None;
        }
    }
    Some(out.display().to_string())
}

const FC: [&str; 3] = ["run", "--plat", "fc"];

fn run(bench: &Bench, more: &[&str]) -> Outcome {
    bench.kraft([&FC[..], more].concat())
}

#[test]
fn a_program_gets_its_arguments_and_its_exit_status_is_that_of_kraft() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    for status in ["0", "7", "137"] {
        let words = [
            "--rm", "-e", "TEXT=x y", &program, "print", status, "a", "b c", "d\"e",
        ];
        let outcome = run(&bench, &words);
        let printed = outcome.stdout.replace('\r', "");
        let expected = "[a]\n[b c]\n[d\"e]\nTEXT=x y\n";
        assert!(
            printed.starts_with(expected),
            "{printed}\n{}",
            outcome.stderr
        );
        assert_eq!(
            outcome.code,
            Some(status.parse().unwrap()),
            "{}",
            outcome.stderr
        );
    }
    // KraftKit's other spelling.
    let words = [
        "run",
        "--plat",
        "firecracker",
        "--rm",
        &program,
        "print",
        "3",
    ];
    assert_eq!(bench.kraft(words).code, Some(3));
}

#[test]
fn every_command_of_a_machine_works_on_it() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    let _ = run(&bench, &["--detach", "--name", "web", &program, "talk"]).success();
    bench.wait_for_log("web", "tick 3");
    let machine = bench.machine("web").unwrap();
    assert_eq!(machine["state"], "running");
    assert_eq!(machine["platform"], "fc");
    let inspected = bench.json(["inspect", "web"]);
    assert!(inspected[0]["pid"].as_u64().is_some(), "{inspected}");

    bench.ok(["pause", "web"]);
    assert_eq!(bench.state("web"), "paused");
    let refused = bench.kraft(["pause", "web"]);
    assert!(
        refused.stderr.contains("already paused"),
        "{}",
        refused.stderr
    );
    let before = bench.ok(["logs", "web"]);
    bench.ok(["unpause", "web"]);
    assert_eq!(bench.state("web"), "running");
    eventually("it continues", || {
        bench.ok(["logs", "web"]).len() > before.len()
    });

    let stats = bench.json(["stats", "--no-stream", "-o", "json", "web"]);
    assert!(stats[0].is_object(), "{stats}");

    bench.ok(["stop", "web"]);
    assert_eq!(bench.state("web"), "exited");
    assert!(bench.ok(["logs", "web"]).contains("terminated"));
    let stopped = bench.json(["inspect", "web"]);
    assert_eq!(stopped[0]["exit_code"], 0, "{stopped}");

    bench.ok(["start", "--detach", "web"]);
    bench.wait_for_log("web", "tick 1");
    bench.ok(["kill", "web"]);
    assert_eq!(bench.state("web"), "exited");
    assert_eq!(bench.json(["inspect", "web"])[0]["exit_code"], 137);
    bench.ok(["rm", "web"]);
    assert_eq!(bench.state("web"), "absent");
}

#[test]
fn its_log_is_kept_apart_from_the_console_and_has_no_secrets() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    let words = [
        "--name",
        "m",
        "-e",
        "TOKEN=hunter2",
        &program,
        "print",
        "0",
        "a",
    ];
    let outcome = run(&bench, &words).success();
    assert!(
        outcome.stdout.replace('\r', "").starts_with("[a]\n"),
        "{}",
        outcome.stdout
    );
    assert!(
        !outcome.stdout.contains("Firecracker"),
        "{}",
        outcome.stdout
    );
    let inspected = bench.json(["inspect", "m"]);
    let log = fs::read_to_string(inspected[0]["log"].as_str().unwrap()).unwrap();
    assert!(log.contains("exit_code=0"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

fn pid(machine: &Value, field: &str) -> Pid {
    let number = machine[field]
        .as_i64()
        .unwrap_or_else(|| panic!("{field}: {machine}"));
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

fn inspect(bench: &Bench, name: &str) -> Value {
    bench.json(["inspect", name])[0].clone()
}

#[test]
fn kills_of_the_vmm_and_of_its_monitor_are_recorded() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    // The VMM: its monitor records it.
    let _ = run(&bench, &["--detach", "--name", "a", &program, "talk"]).success();
    bench.wait_for_log("a", "tick 1");
    kill_process(pid(&inspect(&bench, "a"), "pid"), Signal::KILL).unwrap();
    bench.wait_for_state("a", "exited");
    assert_eq!(inspect(&bench, "a")["exit_code"], 137);

    // The monitor: the guest continues, and another one is started.
    bench.ok(["start", "--detach", "a"]);
    bench.wait_for_log("a", "tick 1");
    let before = inspect(&bench, "a");
    kill_process(pid(&before, "monitor_pid"), Signal::KILL).unwrap();
    let mut after = Value::Null;
    eventually("another monitor", || {
        after = inspect(&bench, "a");
        let monitor = &after["monitor_pid"];
        monitor.is_number() && *monitor != before["monitor_pid"]
    });
    assert_eq!(after["pid"], before["pid"], "the same VMM");
    let printed = bench.ok(["logs", "a"]).len();
    eventually("it prints on", || bench.ok(["logs", "a"]).len() > printed);
    bench.ok(["pause", "a"]);
    assert_eq!(bench.state("a"), "paused");
    bench.ok(["unpause", "a"]);
    // Stopped by the new monitor's machine, in order.
    bench.ok(["stop", "a"]);
    assert_eq!(inspect(&bench, "a")["exit_code"], 0);

    // Both at once: nothing is left that knows how it ended.
    bench.ok(["start", "--detach", "a"]);
    bench.wait_for_log("a", "tick 1");
    let both = inspect(&bench, "a");
    kill_process(pid(&both, "monitor_pid"), Signal::KILL).unwrap();
    kill_process(pid(&both, "pid"), Signal::KILL).unwrap();
    eventually("both are gone", || {
        !is_running(pid(&both, "monitor_pid")) && !is_running(pid(&both, "pid"))
    });
    bench.wait_for_state("a", "exited");
    bench.ok(["rm", "a"]);
}

#[test]
fn its_console_is_a_terminal_with_input() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    fs::write(bench.path().join("input"), "one\nquit\n").unwrap();
    let mut command = bench.command(["run", "--plat", "fc", "-i", "--rm", &program, "echo"]);
    command.stdin(fs::File::open(bench.path().join("input")).unwrap());
    let outcome = Outcome::of(&mut command);
    let printed = outcome.stdout.replace('\r', "");
    assert!(
        printed.contains("got one\n"),
        "{printed}\n{}",
        outcome.stderr
    );
    assert_eq!(outcome.code, Some(9), "{printed}\n{}", outcome.stderr);
}

#[test]
fn what_it_cannot_do_is_said_before_the_boot_with_the_way_out() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    let dir = bench.path().join("data");
    fs::create_dir(&dir).unwrap();
    let volume = format!("{}:/data", dir.display());
    for (words, why, cure) in [
        (&["-W"][..], "Firecracker needs KVM", "--plat qemu"),
        (&["-p", "8080:80"], "in a network only", "kraft net create"),
        (&["-v", &volume], "it has no 9p", "--rootfs"),
        (
            &["--network", "a", "--network", "b"],
            "in 1 network at most",
            "--plat qemu",
        ),
    ] {
        let outcome = run(&bench, &[words, &[&program, "print", "0"]].concat());
        assert_eq!(outcome.code, Some(2), "{words:?}: {}", outcome.stderr);
        let said = &outcome.stderr;
        assert!(
            said.contains(why) && said.contains(cure),
            "{words:?}: {said}"
        );
    }
    let long = "x".repeat(2000);
    let outcome = run(&bench, &[&program, "print", "0", &long]);
    assert!(
        outcome.stderr.contains("the kernel command line has"),
        "{}",
        outcome.stderr
    );
    assert_eq!(
        bench.json(["ps", "--all", "-o", "json"]),
        serde_json::json!([])
    );
}

#[test]
fn a_program_that_is_missing_old_or_another_is_reported() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    let script = bench.path().join("old");
    fs::write(&script, "#!/bin/sh\necho Firecracker v1.3.0\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let with = |vmm: &str| {
        let mut command = bench.command(["run", "--plat", "fc", &program, "print", "0"]);
        let outcome = Outcome::of(command.env("KRAFTKIT_FIRECRACKER", vmm));
        assert_ne!(outcome.code, Some(0));
        outcome.stderr
    };
    let missing = with("/no/firecracker");
    assert!(
        missing.contains("/no/firecracker") && missing.contains("releases"),
        "{missing}"
    );
    let old = with(script.to_str().unwrap());
    assert!(old.contains("1.4.0") && old.contains("entropy"), "{old}");
}

#[test]
fn faults_of_its_api_are_reported_and_leave_no_process() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    for (fault, expected) in [
        ("refuse=/boot-source", "Refused by a test"),
        ("exit=/machine-config", "exited before the guest ran"),
        ("garbage=/machine-config", "invalid answer from Firecracker"),
        ("kvm", "exited before the guest ran"),
    ] {
        let vmm = format!("{EMULATOR} --fault {fault}");
        // The trial guest is not to meet it.
        let mut command = bench.command(["run", "--plat", "fc", "--name", "m", &program, "wait"]);
        let outcome = Outcome::of(command.env("KRAFTKIT_FIRECRACKER", &vmm));
        assert_eq!(outcome.code, Some(1), "{fault}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(expected),
            "{fault}: {}",
            outcome.stderr
        );
        // As with any start that fails, nothing of the machine is left.
        assert_eq!(bench.state("m"), "absent", "{fault}");
    }
}

/// A kernel for Firecracker: it is entered in 64-bit mode with Linux's `boot_params`, prints its command
/// line and powers off by the keyboard controller.
pub(crate) const KERNEL: &str = r#"
.intel_syntax noprefix
.globl _start
.section .uk_inittab, "a"
.quad 0
.text
_start:
  mov ebx, [rsi + 0x228]
  mov dx, 0x3f8
1: mov al, [rbx]
  test al, al
  jz 2f
  out dx, al
  inc rbx
  jmp 1b
2: mov al, 10
  out dx, al
  mov al, 0xfe
  out 0x64, al
3: hlt
  jmp 3b
"#;

/// A kernel that waits for the Del of Ctrl, Alt and Del (0x71, in the set of codes that keyboards start with),
/// and powers off.
pub(crate) const KEYBOARD_KERNEL: &str = r#"
.intel_syntax noprefix
.globl _start
.section .uk_inittab, "a"
.quad 0
.text
_start:
  mov dx, 0x3f8
  mov al, 'w'
  out dx, al
1: in al, 0x60
  cmp al, 0x71
  jne 1b
  mov al, 'd'
  out dx, al
  mov al, 10
  out dx, al
  mov al, 0xfe
  out 0x64, al
2: hlt
  jmp 2b
"#;

/// A kernel that causes an exception, and another one while that is handled.
pub(crate) const CRASHING_KERNEL: &str = r#"
.intel_syntax noprefix
.globl _start
.section .uk_inittab, "a"
.quad 0
.text
_start:
  mov dx, 0x3f8
  mov al, 'x'
  out dx, al
  mov al, 10
  out dx, al
  push 0
  push 0
  lidt [rsp]
  ud2
"#;

pub(crate) fn kernel(bench: &Bench, text: &str) -> PathBuf {
    let (source, out) = (bench.path().join("k.S"), bench.path().join("app_fc-x86_64"));
    fs::write(&source, text).unwrap();
    let flags = [
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none,-Ttext=0x101000",
    ];
    let compiled = Command::new("gcc")
        .args(flags)
        .arg("-o")
        .args([&out, &source])
        .status();
    assert!(compiled.unwrap().success());
    out
}

#[test]
fn a_kernel_that_is_built_for_it_runs_there_and_on_qemu() {
    let bench = bench();
    if cfg!(not(target_arch = "x86_64")) {
        return skip("the kernel is for x86_64");
    }
    let kernel = kernel(&bench, KERNEL).display().to_string();
    let line = "app_fc-x86_64 env.vars=[] -- a";
    // The one that it is built for, where that works.
    let outcome = bench
        .kraft(["run", "--name", "auto", &kernel, "a"])
        .success();
    assert_eq!(
        bench.machine("auto").unwrap()["platform"],
        "fc",
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stdout.contains("app_fc-x86_64 env.vars=[]"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.trim_end().ends_with("-- a"),
        "{}",
        outcome.stdout
    );
    // QEMU, which says so.
    let outcome = bench
        .kraft(["run", "--name", "q", "--plat", "qemu", &kernel, "a"])
        .success();
    assert_eq!(outcome.stdout.trim_end(), line);
    assert!(outcome.stderr.contains("`microvm`"), "{}", outcome.stderr);
    let machine = inspect(&bench, "q");
    assert_eq!(
        (&machine["state"], &machine["exit_code"]),
        (&"exited".into(), &0.into())
    );
    // QEMU as well where there is no Firecracker, with the reason.
    let mut command = bench.command(["run", "--name", "none", &kernel, "a"]);
    let outcome = Outcome::of(command.env("KRAFTKIT_FIRECRACKER", "/no/firecracker")).success();
    assert_eq!(bench.machine("none").unwrap()["platform"], "qemu");
    assert!(
        outcome.stderr.contains("not running on Firecracker"),
        "{}",
        outcome.stderr
    );
    let other = bench.kraft(["run", "--plat", "xen", &kernel]);
    assert!(
        other.stderr.contains("no driver for xen"),
        "{}",
        other.stderr
    );
}

#[test]
fn a_guest_that_is_to_stop_sees_ctrl_alt_and_del_on_its_keyboard() {
    let bench = bench();
    if cfg!(not(target_arch = "x86_64")) {
        return skip("the kernel is for x86_64");
    }
    let kernel = kernel(&bench, KEYBOARD_KERNEL).display().to_string();
    let _ = run(&bench, &["--detach", "--name", "m", &kernel]).success();
    bench.wait_for_log("m", "w");
    bench.ok(["stop", "--time", "60", "m"]);
    assert!(bench.ok(["logs", "m"]).contains("wd"));
    assert_eq!(inspect(&bench, "m")["exit_code"], 0);
}

#[test]
fn a_guest_that_crashes_is_recorded_and_restarted_by_its_policy() {
    let bench = bench();
    if cfg!(not(target_arch = "x86_64")) {
        return skip("the kernel is for x86_64");
    }
    let kernel = kernel(&bench, CRASHING_KERNEL).display().to_string();
    let outcome = run(&bench, &["--name", "m", &kernel]);
    assert!(outcome.stdout.starts_with('x'), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("crashed"), "{}", outcome.stderr);
    let machine = inspect(&bench, "m");
    assert_eq!(machine["state"], "errored", "{machine}");
    let policy = ["--detach", "--restart", "on-failure:2", "--name", "again"];
    let _ = run(&bench, &[&policy[..], &[&kernel]].concat()).success();
    eventually("two restarts", || inspect(&bench, "again")["restarts"] == 2);
    bench.wait_for_state("again", "errored");
    let log = bench.ok(["logs", "again"]);
    assert_eq!(log.matches('x').count(), 3, "{log}");
}

/// A line of the program: a number, something random, the time in seconds and the name of the host.
#[derive(Debug)]
struct Line {
    number: u32,
    random: String,
    time: i64,
    host: String,
}

/// Returns the whole lines of the program that a machine has printed.
fn lines(bench: &Bench, name: &str) -> Vec<Line> {
    let line = |text: &str| -> Option<Line> {
        let words: Vec<&str> = text.trim().strip_suffix('.')?.split(' ').collect();
        let [number, random, time, host] = words.as_slice() else {
            return None;
        };
        Some(Line {
            number: number.parse().ok()?,
            random: (*random).to_owned(),
            time: time.parse().ok()?,
            host: (*host).to_owned(),
        })
    };
    bench.ok(["logs", name]).lines().filter_map(line).collect()
}

/// Waits until a machine has printed a line with a number above `above`; returns the first of them.
fn line_above(bench: &Bench, name: &str, above: u32) -> Line {
    let mut found = None;
    eventually("another line", || {
        found = lines(bench, name)
            .into_iter()
            .find(|line| line.number > above);
        found.is_some()
    });
    found.unwrap()
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

/// Returns the number of the last line that a machine has printed.
fn last(bench: &Bench, name: &str) -> u32 {
    lines(bench, name).last().unwrap().number
}

#[test]
fn it_is_suspended_continues_and_is_copied() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    let _ = run(&bench, &["--detach", "--name", "one", &program, "who"]).success();
    line_above(&bench, "one", 2);
    assert_eq!(bench.ok(["suspend", "one"]), "one\n");
    assert_eq!(bench.state("one"), "suspended");
    let suspended = inspect(&bench, "one");
    assert_eq!(suspended["pid"], Value::Null);
    let dir = bench
        .runtime()
        .join("machines")
        .join(suspended["id"].as_str().unwrap());
    let memory = fs::metadata(dir.join("saved/memory")).unwrap();
    assert_eq!(memory.permissions().mode() & 0o777, 0o600);
    assert!(memory.blocks() * 512 < memory.len() / 2, "{memory:?}");
    let before = last(&bench, "one");
    // Its clock is not that of when it was suspended.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(bench.ok(["resume", "one"]), "one\n");
    assert_eq!(bench.state("one"), "running");
    let after = line_above(&bench, "one", before);
    assert_eq!(after.number, before + 1);
    assert!((now() - after.time).abs() <= 5, "{after:?}");
    assert!(!dir.join("saved").exists());

    // The memory of one that was restored is saved like any other.
    assert_eq!(bench.ok(["snapshot", "create", "one", "ready"]), "ready\n");
    let snapshot = bench.json(["snapshot", "inspect", "ready"])[0].clone();
    let vmm = snapshot["conditions"]["vmm"].as_str().unwrap();
    assert!(vmm.starts_with("Firecracker "), "{snapshot}");
    let at = last(&bench, "one");
    line_above(&bench, "one", at);
    let names = bench.ok(["fork", "ready", "--number", "3"]);
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(names, ["ready-1", "ready-2", "ready-3"]);
    bench.ok(["snapshot", "rm", "ready"]);
    let first: Vec<Line> = names
        .iter()
        .map(|name| line_above(&bench, name, 0))
        .collect();
    for (name, line) in names.iter().zip(&first) {
        assert!((now() - line.time).abs() <= 10, "{line:?}");
        assert_eq!(line.host, *name);
    }
    let randoms: BTreeSet<&String> = first.iter().map(|line| &line.random).collect();
    assert_eq!(randoms.len(), 3, "{first:?}");
    // A copy is suspended like any other machine, and stopped in order.
    bench.ok(["suspend", "ready-2"]);
    bench.ok(["start", "--detach", "ready-2"]);
    let at = last(&bench, "ready-2");
    line_above(&bench, "ready-2", at);
    bench.ok(["stop", "ready-2"]);
    assert!(bench.ok(["logs", "ready-2"]).contains("terminated"));
    let left = fs::read_dir(bench.runtime().join("partial")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn what_was_saved_and_does_not_fit_is_refused_and_a_cold_start_is_offered() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    let _ = run(&bench, &["--detach", "--name", "one", &program, "who"]).success();
    line_above(&bench, "one", 1);
    bench.ok(["suspend", "one"]);
    let refused = |vmm: &str, reason: &str| {
        let mut command = bench.command(["resume", "one"]);
        let outcome = Outcome::of(command.env("KRAFTKIT_FIRECRACKER", vmm)).exits(1);
        for text in [reason, "kraft start --cold one"] {
            assert!(outcome.stderr.contains(text), "{text}: {}", outcome.stderr);
        }
        assert_eq!(bench.state("one"), "suspended");
    };
    // Another version, what Firecracker itself refuses, and one that does not answer.
    refused(
        &format!("{EMULATOR} --fault version=1.13.0"),
        "its VMM was `Firecracker 1.12.0` and is `Firecracker 1.13.0` now",
    );
    for (fault, reason) in [
        ("refuse=/snapshot/load", "Refused by a test"),
        ("exit=/snapshot/load", "closed the connection"),
        ("garbage=/snapshot/load", "invalid answer from Firecracker"),
    ] {
        refused(&format!("{EMULATOR} --fault {fault}"), reason);
    }
    let id = inspect(&bench, "one")["id"].as_str().unwrap().to_owned();
    let saved = bench.runtime().join("machines").join(id).join("saved");
    let path = saved.join("saved.json");
    let manifest = fs::read(&path).unwrap();
    let mut other: Value = serde_json::from_slice(&manifest).unwrap();
    other["conditions"]["cpu"] = "another".into();
    fs::write(&path, other.to_string()).unwrap();
    refused(EMULATOR, "its processor was `another` and is `");
    fs::write(&path, &manifest).unwrap();
    let memory = fs::OpenOptions::new()
        .write(true)
        .open(saved.join("memory"));
    memory.unwrap().set_len(4096).unwrap();
    refused(EMULATOR, "bytes instead of");
    bench.ok(["start", "--cold", "--detach", "one"]);
    line_above(&bench, "one", 0);
    // One that cannot be saved continues.
    let mut command = bench.command(["run", "--plat", "fc", "-d", "--name", "two"]);
    command.args([&program, "who"]).env(
        "KRAFTKIT_FIRECRACKER",
        format!("{EMULATOR} --fault refuse=/snapshot/create"),
    );
    let _ = Outcome::of(&mut command).success();
    line_above(&bench, "two", 0);
    let outcome = bench.kraft(["suspend", "two"]).exits(1);
    assert!(
        outcome.stderr.contains("Refused by a test"),
        "{}",
        outcome.stderr
    );
    assert_eq!(bench.state("two"), "running");
    let at = last(&bench, "two");
    line_above(&bench, "two", at);
}

#[test]
fn a_machine_is_not_restored_from_damaged_files() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    let _ = run(&bench, &["--detach", "--name", "web", &program, "who"]).success();
    line_above(&bench, "web", 1);
    bench.ok(["suspend", "web"]);
    damage(&bench);
    let before = last(&bench, "web");
    bench.ok(["resume", "web"]);
    assert_eq!(line_above(&bench, "web", before).number, before + 1);
}

#[test]
fn whatever_is_killed_at_any_moment_the_state_is_the_old_one_or_the_new_one() {
    let bench = bench();
    let Some(program) = program(&bench) else {
        return;
    };
    fs::copy(&program, bench.path().join("server")).unwrap();
    let _ = run(&bench, &["--detach", "--name", "web", &program, "who"]).success();
    line_above(&bench, "web", 1);
    let mut seen = 0;
    kill_at_random(&bench, kills(6), &["--id"], |at| {
        seen = line_above(&bench, "web", seen).number;
        // It never goes back, and nothing is missing.
        let numbers: Vec<u32> = lines(&bench, "web").iter().map(|it| it.number).collect();
        let whole = numbers.is_sorted_by(|one, next| one + 1 == *next);
        assert!(whole, "{at}: {numbers:?}");
    });
}

#[test]
fn a_shell_in_it_is_used_from_a_terminal() {
    crate::attach::shell(&bench(), &["--plat", "fc"]);
}

fn network(ordinary: bool) {
    let Some(mut place) = Place::new(ordinary) else {
        return;
    };
    // A copy, which an ordinary user can run.
    let copy = place.bench.path().join("firecracker");
    kraft_e2e::program::copy(EMULATOR.as_ref(), &copy);
    let with = std::mem::take(&mut place.bench);
    place.bench = with.env("KRAFTKIT_FIRECRACKER", copy.to_str().unwrap());
    let before = traces();
    place.ok(["net", "create", "web"]);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let run = ["run", "--plat", "fc", "--detach", "--network", "web"];
    let one = ["--name", "one", "--port", &published, "./server", "one"];
    place.ok(run.iter().chain(&one).copied());
    place.ok(run
        .iter()
        .chain(&["--name", "two", "./server", "two"])
        .copied());
    eventually("the published port answers", || get(port).is_some());
    assert_eq!(get(port).unwrap(), "hello from one\n");
    // A machine on QEMU finds both by name.
    let mut printed = String::new();
    eventually("both answer", || {
        printed = place.fetch("web", &["one", "8080", "two", "8080"]);
        !printed.contains("refused")
    });
    assert_eq!(printed, "one: hello from one\ntwo: hello from two\n");
    // The VMM is killed: the card goes, and the machine gets its address and its port again.
    let pid = place.json(["inspect", "one"])[0]["pid"].as_i64().unwrap();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually("it is gone", || get(port).is_none());
    place.ok(["start", "--detach", "one"]);
    eventually("the port answers again", || get(port).is_some());
    // Suspended, its port is closed; restored, it has its address, its port and a new card.
    place.ok(["suspend", "one"]);
    eventually("it is gone", || get(port).is_none());
    place.ok(["resume", "one"]);
    eventually("the port answers after it was restored", || {
        get(port).is_some()
    });
    // A copy has an address of its own.
    place.ok(["fork", "one", "--name", "copy"]);
    eventually("the copy answers", || {
        let printed = place.fetch("web", &["copy-1", "8080", "one", "8080"]);
        printed == "copy-1: hello from one\none: hello from one\n"
    });
    place.ok(["stop", "one", "two", "copy-1"]);
    // One that sleeps while it is idle is woken by a connection.
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let idle = ["--name", "idle", "--port", &published];
    let server = ["--sleep-after", "300ms", "./server", "idle"];
    place.ok(run.iter().chain(&idle).chain(&server).copied());
    for _ in 0..2 {
        eventually("it sleeps", || {
            place.json(["inspect", "idle"])[0]["state"] == "asleep"
        });
        assert_eq!(get(port).unwrap(), "hello from idle\n");
    }
    place.ok(["rm", "--force", "idle"]);
    eventually("the holder ends", || place.holder("web").is_none());
    place.nothing_is_left(&before);
}

#[test]
fn machines_in_networks_are_reached_by_name_and_by_ports() {
    network(false);
}

#[test]
fn machines_of_an_ordinary_user_in_networks_are_reached_by_name_and_by_ports() {
    network(true);
}
