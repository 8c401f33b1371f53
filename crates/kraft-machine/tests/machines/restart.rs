//! Restart policies: a machine that ends is started again, whatever is killed meanwhile.

use kraft_core::lifecycle::RestartPolicy;
use kraft_core::machine::{EndReason, MachineState};
use kraft_core::platform::Platform;
use kraft_machine::{Id, KillSignal, StopOptions};

use crate::bench::{Bench, eventually, kill, spec};

fn create(bench: &Bench, policy: &str, args: &[&str]) -> Id {
    let mut spec = spec("", args);
    spec.platform = Platform::Xen;
    spec.lifecycle.restart = policy.parse().unwrap();
    bench.machines.create(&spec).unwrap().id
}

fn run(bench: &Bench, policy: &str, args: &[&str]) -> Id {
    let id = create(bench, policy, args);
    bench.machines.start(&id).unwrap();
    id
}

fn restarts(bench: &Bench, id: Id) -> u32 {
    bench.machines.get(id).unwrap().restarts
}

/// Makes the record of a machine say that it last ran before the present boot of the host.
fn reboot(bench: &Bench, id: Id) {
    let path = bench.runtime_dir.join(format!("machines/{id}/record.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace(&kraft_sys::clock::boot_id(), "an earlier boot");
    kraft_sys::fs::replace_file(&path, text.as_bytes()).unwrap();
}

#[test]
fn on_failure_3_stops_after_three_restarts_and_the_console_has_all_runs() {
    let bench = Bench::new();
    let id = run(&bench, "on-failure:3", &["print:try", "exit:5"]);
    let ending = bench.machines.wait(&id).unwrap();
    assert_eq!(ending.reason, EndReason::Exited { code: 5 });
    let machine = bench.machines.get(id).unwrap();
    assert_eq!((machine.state, machine.restarts), (MachineState::Exited, 3));
    assert_eq!(bench.console(id), "try\n".repeat(4));
    // The user starts it: the count begins again, and so does the console.
    bench.machines.start(&id).unwrap();
    bench.machines.wait(&id).unwrap();
    assert_eq!(restarts(&bench, id), 3);
    assert_eq!(bench.console(id), "try\n".repeat(4));
}

#[test]
fn a_machine_that_succeeds_is_started_again_only_with_always() {
    let bench = Bench::new();
    let once = run(&bench, "on-failure", &["exit:0"]);
    assert_eq!(
        bench.machines.wait(&once).unwrap().reason,
        EndReason::PoweredOff
    );
    assert_eq!(restarts(&bench, once), 0);
    for policy in ["always", "unless-stopped"] {
        let id = run(&bench, policy, &["exit:0"]);
        eventually("a second restart", || restarts(&bench, id) >= 2);
        bench.machines.stop(&id, StopOptions::default()).unwrap();
        assert!(!bench.state(id).is_up());
        bench.machines.remove(&id, false).unwrap();
    }
}

#[test]
fn a_killed_vmm_is_replaced_and_a_stop_is_final() {
    let bench = Bench::new();
    let id = run(&bench, "always", &["print:up", "wait"]);
    let first = bench.machines.get(id).unwrap();
    kill(first.pid.unwrap());
    eventually("another VMM", || {
        let machine = bench.machines.get(id).unwrap();
        machine.state == MachineState::Running && machine.pid != first.pid
    });
    assert_eq!(restarts(&bench, id), 1);
    bench.machines.stop(&id, StopOptions::default()).unwrap();
    assert_eq!(bench.state(id), MachineState::Exited);
    assert_eq!(
        bench.machines.wait(&id).unwrap().reason,
        EndReason::Stopped,
        "the wait does not continue"
    );

    let id = run(&bench, "always", &["wait"]);
    let ending = bench.machines.kill(&id, KillSignal::default()).unwrap();
    assert_eq!(ending.reason, EndReason::Killed { signal: Some(9) });
    assert_eq!(bench.machines.wait(&id).unwrap(), ending);
}

#[test]
fn without_a_monitor_the_next_access_starts_the_machine_again() {
    let bench = Bench::new();
    let id = run(&bench, "on-failure", &["wait"]);
    for round in 1..=2 {
        let machine = bench.machines.get(id).unwrap();
        kill(machine.monitor_pid.unwrap());
        kill(machine.pid.unwrap());
        eventually("another VMM with a monitor", || {
            let now = bench.machines.get(id).unwrap();
            now.monitor_pid.is_some() && now.pid.is_some_and(|pid| Some(pid) != machine.pid)
        });
        assert_eq!(restarts(&bench, id), round);
    }
    bench.machines.remove(&id, true).unwrap();
}

#[test]
fn a_monitor_that_is_killed_while_it_waits_is_replaced() {
    let bench = Bench::new();
    let id = run(&bench, "always", &["exit:1"]);
    // From the fourth restart on, the delay is long enough to be seen.
    let mut waiting = None;
    eventually("a wait for a restart", || {
        let machine = bench.machines.get(id).unwrap();
        let seen = machine.restarts >= 4 && machine.state == MachineState::Restarting;
        waiting = seen.then_some(machine);
        seen
    });
    let waiting = waiting.unwrap();
    assert!(waiting.restart_at.is_some());
    kill(waiting.monitor_pid.unwrap());
    eventually("more restarts", || {
        restarts(&bench, id) > waiting.restarts + 1
    });
    bench.machines.remove(&id, true).unwrap();
}

#[test]
fn a_restart_is_cancelled_by_a_stop_and_by_another_policy() {
    let bench = Bench::new();
    for by_stop in [true, false] {
        let id = run(&bench, "always", &["exit:1"]);
        eventually("a wait for a restart", || {
            let waits = bench.state(id) == MachineState::Restarting;
            if waits && by_stop {
                return bench.machines.stop(&id, StopOptions::default()).is_ok();
            }
            let update = kraft_machine::Update {
                restart: Some(RestartPolicy::No),
                ..kraft_machine::Update::default()
            };
            waits && bench.machines.update(&id, &update).is_ok()
        });
        bench.machines.wait(&id).unwrap();
        let machine = bench.machines.get(id).unwrap();
        assert_eq!(machine.state, MachineState::Exited);
        assert_eq!(machine.restart_at, None);
        bench.machines.remove(&id, false).unwrap();
    }
}

#[test]
fn a_failed_restart_is_tried_again() {
    let bench = Bench::new();
    let id = run(&bench, "on-failure:2", &["wait"]);
    let kernel = bench.machines.get(id).unwrap().spec.kernel;
    let record = bench.runtime_dir.join(format!("machines/{id}/record.json"));
    // The kernel is missing from now on.
    let text = std::fs::read_to_string(&record).unwrap();
    let text = text.replace(kernel.to_str().unwrap(), "/nowhere/kernel");
    kraft_sys::fs::replace_file(&record, text.as_bytes()).unwrap();
    kill(bench.machines.get(id).unwrap().pid.unwrap());
    let ending = bench.machines.wait(&id).unwrap();
    let EndReason::MonitorFailed { message, .. } = ending.reason else {
        panic!("{ending:?}");
    };
    assert!(message.contains("/nowhere/kernel"), "{message}");
    assert_eq!(restarts(&bench, id), 2);
}

#[test]
fn after_a_boot_of_the_host_the_policies_decide_what_is_started() {
    let bench = Bench::new();
    let mut machines = Vec::new();
    for (policy, stopped, started) in [
        ("no", false, false),
        ("on-failure", false, true),
        ("on-failure", true, false),
        ("always", false, true),
        ("always", true, true),
        ("unless-stopped", false, true),
        ("unless-stopped", true, false),
    ] {
        let id = run(&bench, policy, &["wait"]);
        let options = StopOptions {
            host_down: !stopped,
            ..StopOptions::default()
        };
        bench.machines.stop(&id, options).unwrap();
        machines.push((id, policy, stopped, started));
    }
    let never = create(&bench, "always", &["wait"]);
    assert!(bench.machines.start_after_boot().unwrap().is_empty());
    for (id, ..) in &machines {
        reboot(&bench, *id);
        assert!(!bench.state(*id).is_up());
    }
    let outcomes = bench.machines.start_after_boot().unwrap();
    assert!(outcomes.iter().all(|it| it.started.is_ok()));
    for (id, policy, stopped, started) in machines {
        let runs = bench.state(id) == MachineState::Running;
        assert_eq!(runs, started, "{policy}, stopped: {stopped}");
    }
    assert_eq!(bench.state(never), MachineState::Created);
    assert!(bench.machines.start_after_boot().unwrap().is_empty());
}
