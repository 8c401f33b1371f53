//! What kraft starts gets no secrets and does not outlive kraft, also when it hangs and kraft is
//! killed.

use std::path::PathBuf;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, eventually, is_running};
use kraft_e2e::program;
use rustix::process::{Pid, Signal, kill_process};

/// Writes a stand-in for QEMU: a shell script.
fn stub(bench: &Bench, script: &str) -> PathBuf {
    let path = bench.path().join("qemu-stub");
    program::script(&path, &format!("{script}\n"));
    path
}

#[test]
fn neither_the_vmm_nor_its_monitor_gets_secrets_of_the_environment() {
    let bench = Bench::new();
    let secrets = [
        "UKC_TOKEN",
        "KRAFTKIT_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "MY_API_TOKEN",
        "PGPASSWORD",
        "SOMETHING_ELSE",
    ];
    let mut run = bench.command(["run", "-W", "--detach", "--name", "m"]);
    run.arg(mini("x86_64")).arg("@sleep:600");
    run.envs(secrets.map(|name| (name, "not-for-others")));
    run.env("LC_CTYPE", "C.UTF-8");
    assert!(run.status().unwrap().success());
    let machine = &bench.json(["inspect", "m"])[0];
    for process in ["pid", "monitor_pid"] {
        let pid = machine[process]
            .as_u64()
            .unwrap_or_else(|| panic!("{machine}"));
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        assert!(
            !environment.contains("not-for-others"),
            "{process}: {environment}"
        );
        assert!(
            environment.contains("LC_CTYPE=C.UTF-8"),
            "{process}: {environment}"
        );
        assert!(environment.contains("PATH="), "{process}: {environment}");
    }
}

/// A program that hangs and has started another one that hangs as well.
const HANGS: &str = "trap '' TERM HUP INT\necho $$ >> \"$0.pids\"\nsleep 600 &\n\
    echo $! >> \"$0.pids\"\nwait\nwait";

#[test]
fn programs_that_hang_end_with_a_killed_kraft() {
    for words in [&["run", "-d"][..], &["doctor"]] {
        let bench = Bench::new();
        let qemu = stub(&bench, HANGS);
        let mut command = bench.command(words);
        if words[0] == "run" {
            command.arg(mini("x86_64"));
        }
        let mut kraft = command.env("KRAFTKIT_QEMU", &qemu).spawn().unwrap();
        let pids = || -> Vec<Pid> {
            let text = std::fs::read_to_string(format!("{}.pids", qemu.display()));
            let text = text.unwrap_or_default();
            text.lines()
                .filter_map(|line| Pid::from_raw(line.parse().ok()?))
                .collect()
        };
        eventually("a program that hangs", || pids().len() >= 2);
        let started = pids();
        kraft.kill().unwrap();
        kraft.wait().unwrap();
        for pid in started {
            eventually(&format!("the end of {pid:?} of {words:?}"), || {
                !is_running(pid)
            });
        }
        for pid in pids() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
