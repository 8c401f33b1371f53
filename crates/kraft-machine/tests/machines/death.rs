//! VMMs and monitors that die at any moment: the reported state is always right.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use kraft_core::machine::{EndReason, MachineSpec, MachineState};
use kraft_machine::{Error, Listed, Machine, StopOptions};
use kraft_sys::process::{Identity, Process};
use kraft_sys::tool::Tool;
use rustix::process::Signal;

use crate::bench::{Bench, PATIENCE, eventually, kill, process, settings, spec};

#[test]
fn a_killed_vmm_is_reported_as_killed() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    kill(bench.machines.get(id).unwrap().pid.unwrap());
    let ending = bench.machines.wait(&id).unwrap();
    assert_eq!(ending.reason, EndReason::Killed { signal: Some(9) });
    assert_eq!(bench.state(id), MachineState::Exited);
}

#[test]
fn a_vmm_that_gets_sigterm_is_reported_as_killed_by_that_signal() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let pid = bench.machines.get(id).unwrap().pid.unwrap();
    let vmm = process(pid);
    vmm.signal(Signal::TERM).unwrap();
    let ending = bench.machines.wait(&id).unwrap();
    assert_eq!(ending.reason, EndReason::Killed { signal: Some(15) });
}

/// Starts a machine that soon does what `request` says, and kills its monitor before; returns the
/// machine as it was then.
fn orphan(bench: &Bench, request: &MachineSpec) -> Machine {
    // Where the host is so slow that the guest is faster, the guest waits longer.
    for seconds in [1, 5, 25, 125] {
        let mut request = request.clone();
        request.args.insert(0, format!("@sleep:{seconds}"));
        let id = bench.machines.create(&request).unwrap().id;
        bench.machines.start(&id).unwrap();
        let Ok(machine) = bench.machines.get(id) else {
            continue;
        };
        let process = |pid: Option<u32>| Process::open(&Identity::of(pid?)?).unwrap();
        if let (Some(monitor), Some(vmm)) = (process(machine.monitor_pid), process(machine.pid)) {
            monitor.signal(Signal::KILL).unwrap();
            assert!(monitor.wait(Some(PATIENCE)).unwrap());
            if !vmm.wait(Some(Duration::ZERO)).unwrap() {
                return machine;
            }
        }
        let _ = bench.machines.remove(&id, true);
    }
    panic!("the guest always ends before its monitor can be killed");
}

#[test]
fn a_monitor_survives_signals_that_ask_it_to_end() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let machine = bench.machines.get(id).unwrap();
    let pid = machine.monitor_pid.unwrap();
    let monitor = process(pid);
    for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::QUIT] {
        monitor.signal(signal).unwrap();
    }
    // Only the monitor, being the parent, knows the signal that ended the VMM.
    kill(machine.pid.unwrap());
    assert_eq!(
        bench.machines.wait(&id).unwrap().reason,
        EndReason::Killed { signal: Some(9) }
    );
    assert!(monitor.wait(Some(PATIENCE)).unwrap());
    assert_eq!(bench.machines.get(id).unwrap().monitor_pid, None);
}

#[test]
fn a_machine_outlives_its_monitor_and_is_adopted_at_the_next_access() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let first = bench.machines.get(id).unwrap().monitor_pid.unwrap();
    kill(first);
    let orphan = bench.machines.get(id).unwrap();
    assert_eq!(orphan.state, MachineState::Running);
    eventually("a new monitor", || {
        let now = bench.machines.get(id).unwrap().monitor_pid;
        now.is_some_and(|pid| pid != first)
    });
    // The new monitor records the end without another access: the record itself is checked.
    kill(orphan.pid.unwrap());
    let record = orphan.dir.join("record.json");
    eventually("the recorded end", || {
        std::fs::read_to_string(&record).unwrap().contains("killed")
    });
}

#[test]
fn a_monitor_that_comes_too_late_leaves_the_end_to_the_one_that_is_there() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let machine = bench.machines.get(id).unwrap();
    let identity = Identity::of(machine.monitor_pid.unwrap()).unwrap();
    let monitor = Process::open(&identity).unwrap().unwrap();
    // It cannot record the end yet.
    monitor.signal(Signal::STOP).unwrap();
    kill(machine.pid.unwrap());
    let settings = settings(&bench.runtime_dir);
    #[expect(clippy::disallowed_methods, reason = "a test starts its monitor")]
    let late = std::process::Command::new(&settings.monitor[0])
        .arg("adopt")
        .arg(&bench.runtime_dir)
        .args([id.to_string(), settings.console_limit.to_string()])
        .output()
        .unwrap();
    assert!(late.status.success(), "{late:?}");
    monitor.signal(Signal::CONT).unwrap();
    let ending = bench.machines.wait(&id).unwrap();
    // Only the parent of the VMM knows the signal.
    assert_eq!(ending.reason, EndReason::Killed { signal: Some(9) });
}

#[test]
fn a_vmm_that_was_started_and_not_recorded_is_found() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let machine = bench.machines.get(id).unwrap();
    kill(machine.monitor_pid.unwrap());
    // As if the monitor had been killed between starting the VMM and recording it.
    let path = machine.dir.join("record.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let run = record.as_object_mut().unwrap().remove("run").unwrap();
    record["starting"] = serde_json::json!({"monitor": run["monitor"], "ports": []});
    kraft_sys::fs::replace_file(&path, record.to_string().as_bytes()).unwrap();
    let found = bench.machines.get(id).unwrap();
    assert_eq!(found.state, MachineState::Running);
    assert_eq!(found.pid, machine.pid);
    let ending = bench.machines.stop(&id, StopOptions::default()).unwrap();
    assert_eq!(ending.reason, EndReason::Stopped);
}

#[test]
fn a_monitor_killed_at_any_moment_of_a_start_leaves_no_unknown_vmm() {
    let bench = Bench::new();
    for step in 0..24u64 {
        let id = bench
            .machines
            .create(&spec("m", &["@sleep:600"]))
            .unwrap()
            .id;
        let starter = std::thread::spawn({
            let machines = bench.machines.clone();
            move || drop(machines.start(&id))
        });
        let mut monitor = None;
        eventually("the monitor", || {
            monitor = processes_with(&id.to_string(), "start").into_iter().next();
            monitor.is_some() || starter.is_finished()
        });
        std::thread::sleep(Duration::from_micros(step * step * 100));
        if let Some(monitor) = monitor.and_then(|monitor| Process::open(&monitor).unwrap()) {
            monitor.signal(Signal::KILL).unwrap();
            monitor.wait(None).unwrap();
        }
        starter.join().unwrap();
        eventually("a decision", || {
            bench.machines.get(id).unwrap();
            let record = bench.runtime_dir.join(format!("machines/{id}/record.json"));
            !std::fs::read_to_string(record)
                .unwrap()
                .contains("starting")
        });
        let machine = bench.machines.get(id).unwrap();
        let vmms = processes_with(&id.to_string(), "-name");
        // Created with a VMM: it is coming up.
        match machine.state {
            MachineState::Created | MachineState::Running => {
                let pids: Vec<u32> = vmms.iter().map(|vmm| vmm.pid).collect();
                let known: Vec<u32> = machine.pid.into_iter().collect();
                assert_eq!(pids, known, "step {step}: {:?}", machine.state);
            }
            other => panic!("step {step}: reported as {other:?}"),
        }
        bench.machines.remove(&id, true).unwrap();
        let left = processes_with(&id.to_string(), "-name");
        assert!(left.is_empty(), "step {step}: {left:?}");
    }
}

/// Returns the living processes with both words in their command line.
fn processes_with(one: &str, other: &str) -> Vec<Identity> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let words = kraft_sys::process::command_line(*pid);
            // A VMM has options after its id.
            let is = |found: &[u8], word: &str| {
                found.split(|byte| *byte == b',').next() == Some(word.as_bytes())
            };
            let has = |word: &str| words.iter().any(|found| is(found, word));
            has(one) && has(other)
        })
        .filter_map(Identity::of)
        .collect()
}

#[test]
fn an_end_without_a_monitor_is_read_from_the_event_log() {
    let bench = Bench::new();
    for (actions, reason) in [
        (&[][..], EndReason::PoweredOff),
        (
            &["@crash:panic"],
            EndReason::Crashed {
                what: "guest panicked".to_owned(),
            },
        ),
    ] {
        let machine = orphan(&bench, &spec("", actions));
        let id = machine.id;
        let vmm = Process::open(&Identity::of(machine.pid.unwrap()).unwrap()).unwrap();
        assert!(vmm.is_none_or(|vmm| vmm.wait(Some(crate::bench::PATIENCE)).unwrap()));
        let after = jiff::Timestamp::now();
        let found = bench.machines.get(id).unwrap();
        assert_eq!(found.end, Some(reason));
        assert!(
            found.ended_at.unwrap() <= after,
            "the time is the VMM's, not ours"
        );
        let record = std::fs::read_to_string(machine.dir.join("record.json")).unwrap();
        assert!(record.contains("\"end\""), "{record}");
    }
}

#[test]
fn who_looks_before_the_monitor_has_recorded_the_end_gets_the_same_answer() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let machine = bench.machines.get(id).unwrap();
    let monitor = process(machine.monitor_pid.unwrap());
    // It is about to get the exit status for a while.
    monitor.signal(Signal::STOP).unwrap();
    kill(machine.pid.unwrap());
    let found = std::thread::scope(|scope| {
        let found = scope.spawn(|| bench.machines.get(id).unwrap());
        std::thread::sleep(Duration::from_millis(50));
        monitor.signal(Signal::CONT).unwrap();
        found.join().unwrap()
    });
    assert_eq!(found.end, Some(EndReason::Killed { signal: Some(9) }));

    // A monitor that does not run keeps no one waiting for long.
    bench.machines.start(&id).unwrap();
    let machine = bench.machines.get(id).unwrap();
    let monitor = process(machine.monitor_pid.unwrap());
    monitor.signal(Signal::STOP).unwrap();
    kill(machine.pid.unwrap());
    let found = bench.machines.get(id).unwrap();
    monitor.signal(Signal::CONT).unwrap();
    assert_eq!(found.end, Some(EndReason::Vanished));
}

#[test]
fn when_monitor_and_vmm_are_killed_the_end_is_unknown() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let machine = bench.machines.get(id).unwrap();
    kill(machine.monitor_pid.unwrap());
    kill(machine.pid.unwrap());
    let found = bench.machines.get(id).unwrap();
    assert_eq!(found.end, Some(EndReason::Vanished));
    assert_eq!(found.state, MachineState::Exited);
    bench.machines.start(&id).unwrap();
    assert_eq!(bench.state(id), MachineState::Running);
}

#[test]
fn after_a_reboot_no_machine_runs_even_if_a_process_has_its_pid() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let machine = bench.machines.get(id).unwrap();
    bench.machines.stop(&id, StopOptions::default()).unwrap();
    // As if this were another run of the computer: same pids, another boot.
    let path = machine.dir.join("record.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let me = serde_json::to_value(Identity::me().unwrap()).unwrap();
    for process in ["monitor", "vmm"] {
        record["run"][process] = me.clone();
        record["run"][process]["boot"] = "another".into();
    }
    record["run"].as_object_mut().unwrap().remove("end");
    kraft_sys::fs::replace_file(&path, record.to_string().as_bytes()).unwrap();
    kraft_sys::fs::truncate(&machine.dir.join("events.out"), 0).unwrap();
    let found = bench.machines.get(id).unwrap();
    assert_eq!(found.state, MachineState::Exited);
    assert_eq!(found.end, Some(EndReason::HostDown));
}

#[test]
fn unknown_fields_of_a_record_are_kept() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    bench.machines.stop(&id, StopOptions::default()).unwrap();
    let path = bench.machines.get(id).unwrap().dir.join("record.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["future"] = 1.into();
    record["spec"]["future"] = 2.into();
    kraft_sys::fs::replace_file(&path, record.to_string().as_bytes()).unwrap();
    bench.machines.start(&id).unwrap();
    bench.machines.stop(&id, StopOptions::default()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&record["future"], &record["spec"]["future"]),
        (&1.into(), &2.into())
    );

    let mut newer = record;
    newer["version"] = 2.into();
    kraft_sys::fs::replace_file(&path, newer.to_string().as_bytes()).unwrap();
    let listed = bench.machines.list().unwrap();
    let [Listed::Unreadable(unreadable)] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!(unreadable.name.as_deref(), Some("m"));
    assert!(
        unreadable
            .error
            .to_string()
            .contains("newer kraft (version 2")
    );
}

#[test]
fn a_damaged_record_hides_no_other_machine_and_can_be_removed() {
    let bench = Bench::new();
    let bad = bench.machines.create(&spec("bad", &[])).unwrap();
    bench.machines.create(&spec("good", &[])).unwrap();
    kraft_sys::fs::replace_file(&bad.dir.join("record.json"), b"{\"version\": 1").unwrap();
    let listed = bench.machines.list().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(
        listed
            .iter()
            .any(|l| matches!(l, Listed::Machine(m) if m.name == "good"))
    );
    assert_eq!(bench.machines.resolve("bad").unwrap(), bad.id);
    assert!(bench.machines.remove(&bad.id, false).is_err());
    bench.machines.remove(&bad.id, true).unwrap();
    assert_eq!(bench.machines.list().unwrap().len(), 1);
}

/// A VMM that reacts neither to requests nor to SIGTERM: a stopped process.
#[test]
fn a_vmm_that_does_not_react_is_killed() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let pid = bench.machines.get(id).unwrap().pid.unwrap();
    let vmm = process(pid);
    vmm.signal(Signal::STOP).unwrap();
    let options = StopOptions {
        grace: Duration::from_millis(200),
        force: false,
        ..StopOptions::default()
    };
    let ending = bench.machines.stop(&id, options).unwrap();
    assert_eq!(ending.reason, EndReason::Stopped);
    assert_eq!(bench.state(id), MachineState::Exited);
}

#[test]
fn an_end_is_recorded_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mount = Tool::new("mount")
        .args(["-t", "tmpfs", "-o", "size=640k", "kraft-machine-test"])
        .args([&small])
        .run();
    if mount.is_err() {
        // Only root may mount; the end-to-end tests insist on it.
        return;
    }
    let unmount = Unmount(small.clone());
    {
        let bench = Bench::at(dir, small.join("runtime"));
        let id = bench.run("m", &["@sleep:1"]);
        let filler = small.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        let mut fill_up = || {
            for size in [65536, 4096, 1] {
                while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
            }
        };
        fill_up();
        assert_eq!(
            bench.machines.wait(&id).unwrap().reason,
            EndReason::PoweredOff
        );
        let machine = bench.machines.get(id).unwrap();
        assert_eq!(machine.state, MachineState::Exited);
        let record = std::fs::read_to_string(machine.dir.join("record.json")).unwrap();
        assert!(record.contains("powered_off"), "{record}");
        // The space that was reserved for the end is free again.
        fill_up();
        assert!(bench.machines.create(&spec("n", &[])).is_err());
        assert_eq!(bench.machines.list().unwrap().len(), 1);
        assert!(bench.machines.start(&id).is_err());
        drop(file);
        std::fs::remove_file(filler).unwrap();
        bench.machines.start(&id).unwrap();
        assert_eq!(
            bench.machines.wait(&id).unwrap().reason,
            EndReason::PoweredOff
        );
    }
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Tool::new("umount").args(["--lazy"]).args([&self.0]).run();
    }
}

#[test]
fn incomplete_directories_of_a_killed_kraft_are_removed() {
    let bench = Bench::new();
    let partial = bench.runtime_dir.join("partial");
    let half = partial.join("new-6fa459ea-ee8a-4ca4-894e-db77e160355e");
    std::fs::create_dir(&half).unwrap();
    kraft_sys::fs::replace_file(&half.join("record.json"), b"half").unwrap();
    let gone = partial.join("gone-16fd2706-8baf-433b-82eb-8c7fada847da");
    std::fs::create_dir(&gone).unwrap();
    std::fs::set_permissions(&gone, std::fs::Permissions::from_mode(0o700)).unwrap();
    let dangling = bench.runtime_dir.join("names/m");
    std::os::unix::fs::symlink("../machines/16fd2706-8baf-433b-82eb-8c7fada847da", dangling)
        .unwrap();
    let made = bench.machines.create(&spec("m", &[])).unwrap();
    assert_eq!(made.name, "m");
    assert!(crate::bench::entries(&partial).is_empty());
    assert_eq!(bench.machines.list().unwrap().len(), 1);
}

#[test]
fn a_machine_is_removed_after_its_end_even_if_its_monitor_died() {
    let bench = Bench::new();
    let mut request = spec("m", &[]);
    request.remove_when_ended = true;
    let id = orphan(&bench, &request).id;
    // A waiter finds the end, or comes too late.
    match bench.machines.wait(&id) {
        Ok(ending) => assert_eq!(ending.reason, EndReason::PoweredOff),
        Err(Error::NotFound { .. }) => {}
        Err(e) => panic!("{e}"),
    }
    eventually("its removal", || bench.machines.list().unwrap().is_empty());

    // And one whose end was recorded, but not more.
    let id = bench.machines.create(&spec("n", &["@print:x"])).unwrap().id;
    bench.machines.start(&id).unwrap();
    bench.machines.wait(&id).unwrap();
    let machine = bench.machines.get(id).unwrap();
    eventually("the monitor's end", || {
        bench.machines.get(id).unwrap().monitor_pid.is_none()
    });
    let path = machine.dir.join("record.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let requested = text.replace(
        "\"remove_when_ended\": false",
        "\"remove_when_ended\": true",
    );
    kraft_sys::fs::replace_file(&path, requested.as_bytes()).unwrap();
    // Its monitor may still hold the lock for a moment.
    eventually("its removal", || bench.machines.list().unwrap().is_empty());

    // One that could not even be started is removed as well.
    request.kernel = "/no/such/kernel".into();
    let id = bench.machines.create(&request).unwrap().id;
    assert!(bench.machines.start(&id).is_err());
    assert!(bench.machines.list().unwrap().is_empty());
}

#[test]
fn a_monitor_that_fails_reports_why() {
    let bench = Bench::new();
    let words = |task: &str, id: &str| {
        let runtime_dir = bench.runtime_dir.to_str().unwrap().to_owned();
        let monitor = crate::bench::settings(&bench.runtime_dir).monitor.remove(0);
        let words = [
            task.to_owned(),
            runtime_dir,
            id.to_owned(),
            "1048576".to_owned(),
        ];
        let said = Tool::new(monitor).args(words).output().unwrap();
        assert_eq!(said.status.code(), Some(1));
        String::from_utf8(said.stdout).unwrap()
    };
    let missing = "6fa459ea-ee8a-4ca4-894e-db77e160355e";
    let report = words("start", missing);
    assert!(
        report.contains("cannot enter")
            && report.contains(missing)
            && report.contains("No such file"),
        "{report}"
    );
    // One that adopts has no report: the reason is in the log.
    let machine = bench.machines.create(&spec("m", &[])).unwrap();
    kraft_sys::fs::replace_file(&machine.dir.join("record.json"), b"{").unwrap();
    words("adopt", &machine.id.to_string());
    let log = std::fs::read_to_string(machine.dir.join("vmm.log")).unwrap();
    assert!(
        log.contains("kraft: the monitor failed: the record"),
        "{log}"
    );
}

#[test]
fn the_report_of_a_monitor_is_limited() {
    let bench = Bench::new();
    for (program, expected) in [
        ("yes", "more than 1048576 bytes"),
        ("true", "exit status: 0"),
    ] {
        let mut settings = crate::bench::settings(&bench.runtime_dir);
        settings.monitor = vec![program.into()];
        let machines = kraft_machine::Machines::open(settings).unwrap();
        let id = machines.create(&spec("", &[])).unwrap().id;
        let error = machines.start(&id).unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            why.starts_with("its monitor failed") && why.contains(expected),
            "{why}"
        );
    }
}

#[test]
fn a_failed_start_points_to_the_log_of_the_monitor() {
    let bench = Bench::new();
    let mut settings = crate::bench::settings(&bench.runtime_dir);
    // The arguments are the task, the runtime directory and the id of the machine.
    let script = "echo broken >> \"$1/machines/$2/vmm.log\"";
    settings.monitor = ["sh", "-c", script].map(Into::into).to_vec();
    let machines = kraft_machine::Machines::open(settings).unwrap();
    let machine = machines.create(&spec("m", &[])).unwrap();
    let kraft_machine::Error::Start { log, .. } = machines.start(&machine.id).unwrap_err() else {
        panic!("the start did not fail");
    };
    assert_eq!(log.as_deref(), Some(machine.log.as_path()));
    assert_eq!(std::fs::read_to_string(machine.log).unwrap(), "broken\n");
}
