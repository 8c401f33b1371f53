//! Restart policies and the start at boot, with real guests.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn start(bench: &Bench, name: &str, policy: &str, actions: &[&str]) {
    let kernel = mini("x86_64");
    let mut args = vec!["run", "--detach", "--restart", policy, "--name", name];
    args.push(kernel.to_str().unwrap());
    args.extend(actions);
    assert_eq!(bench.ok(&args), format!("{name}\n"));
}

fn inspect(bench: &Bench, name: &str) -> Value {
    bench.json(["inspect", name])[0].clone()
}

fn kill(machine: &Value, field: &str) {
    let pid = machine[field].as_i64().unwrap();
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn a_killed_machine_comes_back_within_its_delay_also_without_a_monitor() {
    let bench = Bench::new();
    start(&bench, "web", "always", &["@tick:1000000"]);
    for (round, field) in [(1, None), (2, Some("monitor_pid"))] {
        bench.wait_for_log("web", "tick");
        let before = inspect(&bench, "web");
        if let Some(field) = field {
            kill(&before, field);
        }
        kill(&before, "pid");
        eventually("another VMM", || {
            let machine = inspect(&bench, "web");
            machine["state"] == "running" && machine["pid"] != before["pid"]
        });
        assert_eq!(inspect(&bench, "web")["restarts"], round);
    }
    // The delay is counted from the end that was recorded.
    let before = inspect(&bench, "web");
    kill(&before, "pid");
    let mut due = Value::Null;
    eventually("a wait for the restart, or the restart", || {
        let machine = inspect(&bench, "web");
        due = machine["restart_at"].clone();
        due.is_string() || machine["pid"].is_i64() && machine["pid"] != before["pid"]
    });
    if let Some(due) = due.as_str() {
        let ended = inspect(&bench, "web")["ended_at"].clone();
        let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        if let Some(ended) = ended.as_str() {
            let delay = time(due).duration_since(time(ended)).as_millis();
            assert!((100..=60_000).contains(&delay), "{delay}");
        }
    }
    assert_eq!(bench.ok(["stop", "web"]), "web\n");
    assert_eq!(bench.state("web"), "exited");
    assert_eq!(bench.ok(["rm", "web"]), "web\n");
}

#[test]
fn on_failure_3_stops_after_three_restarts() {
    let bench = Bench::new();
    start(&bench, "job", "on-failure:3", &["@exit:7"]);
    assert_eq!(bench.ok(["wait", "job"]), "7\n");
    let machine = inspect(&bench, "job");
    assert_eq!(machine["restarts"], 3);
    assert_eq!(machine["state"], "exited");
    let log = bench.ok(["logs", "job"]);
    assert_eq!(log.matches("kraft-guest: hello").count(), 4, "{log}");
}

#[test]
fn followed_logs_continue_over_restarts_and_end_with_the_last_run() {
    let bench = Bench::new();
    start(&bench, "job", "on-failure:2", &["@exit:7"]);
    let followed = bench.ok(["logs", "--follow", "job"]);
    assert_eq!(
        followed.matches("kraft-guest: hello").count(),
        3,
        "{followed}"
    );
    assert_eq!(bench.state("job"), "exited");
    // A machine that was stopped is not waited for.
    start(&bench, "web", "always", &["@tick:1000000"]);
    bench.wait_for_log("web", "tick");
    let mut command = bench.command(["logs", "--follow", "web"]);
    command.stdout(Stdio::piped());
    let mut follower = command.spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut hellos = || {
        let hello =
            |line: &std::io::Result<String>| line.as_ref().unwrap().contains("kraft-guest: hello");
        lines.by_ref().find(hello).is_some()
    };
    assert!(hellos());
    kill(&inspect(&bench, "web"), "pid");
    assert!(hellos(), "the next run is followed");
    bench.ok(["stop", "web"]);
    assert!(!hellos(), "it ends");
    assert!(follower.wait().unwrap().success());
}

#[test]
fn after_a_reboot_of_the_host_the_service_starts_machines_by_their_policies() {
    let bench = Bench::new();
    for (name, policy) in [
        ("always", "always"),
        ("stopped", "unless-stopped"),
        ("never", "no"),
    ] {
        start(&bench, name, policy, &["@tick:1000000"]);
    }
    bench.ok(["stop", "stopped", "never"]);
    assert_eq!(bench.ok(["service", "stop"]), "always\n");
    assert_eq!(bench.state("always"), "exited");
    // In the same boot, it is not the service that starts them again.
    assert_eq!(bench.ok(["service", "start"]), "");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for name in ["always", "stopped", "never"] {
        let record = inspect(&bench, name)["dir"].as_str().unwrap().to_owned() + "/record.json";
        let text = std::fs::read_to_string(&record).unwrap();
        let text = text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
        std::fs::write(&record, text).unwrap();
    }
    assert_eq!(bench.ok(["ps", "-q"]), "", "a listing starts nothing");
    assert_eq!(bench.ok(["service", "start"]), "always\n");
    assert_eq!(bench.state("always"), "running");
    assert_eq!(bench.ok(["service", "start"]), "");
}
