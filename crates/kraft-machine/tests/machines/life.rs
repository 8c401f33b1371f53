//! The life of a machine without failures.

use std::time::Duration;

use kraft_core::machine::{EndReason, MachineState};
use kraft_machine::{Error, EventKind, LogsOptions, StartError, StopOptions};

use crate::bench::{Bench, entries, eventually, kill, spec};

#[test]
fn a_machine_of_an_earlier_version_keeps_the_names_of_its_event_log() {
    let bench = Bench::new();
    let id = bench.run("old", &["@sleep:600"]);
    let machines = &bench.machines;
    machines.stop(&id, StopOptions::default()).unwrap();
    let dir = machines.get(id).unwrap().dir;
    for extension in ["in", "out"] {
        let file = |name: &str| dir.join(name).with_extension(extension);
        kraft_sys::fs::rename(&file("events"), &file("diary")).unwrap();
    }
    let summary = r#"{"offset": 0, "diary": {"ready": false, "entries": [], "begun": false}}"#;
    kraft_sys::fs::replace_file(&dir.join("diary.sum"), summary.as_bytes()).unwrap();
    assert_eq!(bench.state(id), MachineState::Exited);
    machines.start(&id).unwrap();
    assert_eq!(machines.pause(&id).unwrap().state, MachineState::Paused);
    assert!(!entries(&dir).iter().any(|name| name.starts_with("events")));
    let log = std::fs::read_to_string(dir.join("diary.out")).unwrap();
    assert!(log.contains("\"STOP\""), "{log}");
    machines.remove(&id, true).unwrap();
}

#[test]
fn a_machine_is_created_started_paused_resumed_stopped_started_again_and_removed() {
    let bench = Bench::new();
    let machines = &bench.machines;
    let made = machines.create(&spec("alice", &["@tick:1000000"])).unwrap();
    let id = made.id;
    assert_eq!(made.state, MachineState::Created);
    assert!(matches!(
        machines.wait(&id),
        Err(Error::NeverStarted { .. })
    ));
    assert!(matches!(
        machines.stop(&id, StopOptions::default()),
        Err(Error::NotRunning { .. })
    ));

    machines.start(&id).unwrap();
    let running = machines.get(id).unwrap();
    assert_eq!(running.state, MachineState::Running);
    assert!(running.pid.is_some() && running.monitor_pid.is_some() && running.end.is_none());
    assert!(matches!(
        machines.start(&id),
        Err(Error::Start {
            source: StartError::Alive(_),
            ..
        })
    ));
    assert!(matches!(
        machines.remove(&id, false),
        Err(Error::Running { .. })
    ));
    bench.wait_for_console(id, "tick 2");
    assert!(bench.console(id).starts_with("kraft-guest: hello"));

    assert_eq!(machines.pause(&id).unwrap().state, MachineState::Paused);
    assert!(matches!(
        machines.pause(&id),
        Err(Error::AlreadyPaused { .. })
    ));
    // Another guest is the clock: while it prints, the paused one does not.
    let clock = bench.run("clock", &["@tick:1000000"]);
    let mut frozen = String::new();
    eventually("a paused machine that stands still", || {
        frozen = bench.console(id);
        let before = bench.console(clock).matches("tick").count();
        eventually("the clock", || {
            bench.console(clock).matches("tick").count() > before + 3
        });
        bench.console(id) == frozen
    });
    machines.remove(&clock, true).unwrap();
    assert_eq!(machines.unpause(&id).unwrap().state, MachineState::Running);
    assert!(matches!(
        machines.unpause(&id),
        Err(Error::NotPaused { .. })
    ));
    eventually("more ticks", || bench.console(id).len() > frozen.len());

    let ending = machines.stop(&id, StopOptions::default()).unwrap();
    assert_eq!(ending.reason, EndReason::Stopped);
    let stopped = machines.get(id).unwrap();
    assert_eq!(stopped.state, MachineState::Exited);
    assert_eq!(stopped.end, Some(EndReason::Stopped));
    assert_eq!(machines.wait(&id).unwrap(), ending);

    machines.start(&id).unwrap();
    assert_eq!(bench.state(id), MachineState::Running);
    machines.remove(&id, true).unwrap();
    assert!(matches!(machines.get(id), Err(Error::NotFound { .. })));
    for dir in ["machines", "names", "partial"] {
        assert!(entries(&bench.runtime_dir.join(dir)).is_empty(), "{dir}");
    }
}

#[test]
fn the_end_of_a_guest_is_reported() {
    let bench = Bench::new();
    let crashed = |what: &str| EndReason::Crashed {
        what: what.to_owned(),
    };
    for (action, reason, state) in [
        ("@print:x", EndReason::PoweredOff, MachineState::Exited),
        ("@exit:0", EndReason::PoweredOff, MachineState::Exited),
        (
            "@exit:1",
            EndReason::Exited { code: 1 },
            MachineState::Exited,
        ),
        (
            "@exit:42",
            EndReason::Exited { code: 42 },
            MachineState::Exited,
        ),
        (
            "@exit:127",
            EndReason::Exited { code: 127 },
            MachineState::Exited,
        ),
        // The device cuts off what does not fit.
        (
            "@exit:130",
            EndReason::Exited { code: 2 },
            MachineState::Exited,
        ),
        (
            "@crash:panic",
            crashed("guest panicked"),
            MachineState::Errored,
        ),
        (
            "@crash:triple",
            crashed("guest reset itself"),
            MachineState::Errored,
        ),
    ] {
        let id = bench.run("", &[action]);
        let ending = bench.machines.wait(&id).unwrap();
        assert_eq!(ending.reason, reason, "{action}");
        let machine = bench.machines.get(id).unwrap();
        assert_eq!(machine.state, state, "{action}");
        assert_eq!(machine.ended_at, Some(ending.at), "{action}");
        assert!(machine.started_at.unwrap() <= ending.at, "{action}");
        assert!(machine.pid.is_none() && machine.monitor_pid.is_none());
    }
}

#[test]
fn arguments_arrive_and_logs_are_followed_to_the_last_byte() {
    let bench = Bench::new();
    let id = bench
        .machines
        .create(&spec(
            "",
            &[
                "a",
                "b c",
                "d\"e",
                "@tick:3",
                "@print:no newline at the end",
            ],
        ))
        .unwrap()
        .id;
    let watch = bench.machines.start(&id).unwrap();
    let mut logs = watch.logs(LogsOptions::default()).unwrap();
    let mut console = Vec::new();
    while let Some(more) = logs.follow(crate::bench::PATIENCE).unwrap() {
        console.extend(more.bytes);
    }
    let console = String::from_utf8(console).unwrap();
    for line in ["arg 1 \"a\"", "arg 2 \"b c\"", "arg 3 \"d\\\"e\"", "tick 3"] {
        assert!(console.contains(line), "{line} is not in\n{console}");
    }
    assert!(console.contains("no newline at the end"), "{console}");
    assert_eq!(watch.wait().unwrap().reason, EndReason::PoweredOff);
}

#[test]
fn watchers_get_the_end_of_a_machine_that_is_removed_then() {
    let bench = Bench::new();
    for _ in 0..5 {
        let mut spec = spec("", &["@crash:panic"]);
        spec.remove_when_ended = true;
        let id = bench.machines.create(&spec).unwrap().id;
        let watch = bench.machines.start(&id).unwrap();
        let mut logs = watch.logs(LogsOptions::default()).unwrap();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let machines = bench.machines.clone();
                std::thread::spawn(move || machines.wait(&id))
            })
            .collect();
        let mut console = Vec::new();
        while let Some(more) = logs.follow(crate::bench::PATIENCE).unwrap() {
            console.extend(more.bytes);
        }
        assert!(console.starts_with(b"kraft-guest: hello"));
        let ending = watch.wait().unwrap();
        assert!(matches!(ending.reason, EndReason::Crashed { .. }));
        assert!(matches!(
            bench.machines.get(id),
            Err(Error::NotFound { .. })
        ));
        for waiter in waiting {
            match waiter.join().unwrap() {
                Ok(reported) => assert_eq!(reported, ending),
                // It came too late.
                Err(Error::NotFound { .. }) => {}
                Err(e) => panic!("{e}"),
            }
        }
        drop((watch, logs));
        for dir in ["machines", "names", "partial"] {
            let dir = bench.runtime_dir.join(dir);
            eventually("nothing left", || entries(&dir).is_empty());
        }
    }
}

#[test]
fn a_detached_machine_is_removed_by_its_monitor() {
    let bench = Bench::new();
    let mut spec = spec("m", &["@sleep:1"]);
    spec.remove_when_ended = true;
    let id = bench.machines.create(&spec).unwrap().id;
    drop(bench.machines.start(&id).unwrap());
    // The directory is checked: the API would reconcile.
    let dir = bench.runtime_dir.join("machines");
    eventually("its removal", || entries(&dir).is_empty());
    eventually("its name", || {
        entries(&bench.runtime_dir.join("names")).is_empty()
    });
}

#[test]
fn events_are_in_order() {
    let bench = Bench::new();
    let mut events = bench.machines.events().unwrap();
    let id = bench.run("m", &["@sleep:600"]);
    bench.machines.pause(&id).unwrap();
    bench.machines.unpause(&id).unwrap();
    bench.machines.stop(&id, StopOptions::default()).unwrap();
    let mut reported = Vec::new();
    let mut next = || {
        let event = events.next(crate::bench::PATIENCE).unwrap().unwrap();
        assert_eq!((event.id, event.name.as_str()), (id, "m"));
        reported.push(event.kind.clone());
        event.kind
    };
    while !matches!(next(), EventKind::Ended(_)) {}
    bench.machines.remove(&id, false).unwrap();
    next();
    assert_eq!(
        reported,
        [
            EventKind::Created,
            EventKind::Started,
            EventKind::Paused,
            EventKind::Unpaused,
            EventKind::Ended(EndReason::Stopped),
            EventKind::Removed,
        ]
    );
}

#[test]
fn a_vmm_that_dies_without_its_monitor_wakes_whoever_waits_for_events() {
    let bench = Bench::new();
    let id = bench.run("m", &["@sleep:600"]);
    let mut events = bench.machines.events().unwrap();
    let waiting = std::thread::spawn(move || {
        // No file changes: the end of the process itself is noticed.
        events.next(crate::bench::PATIENCE).unwrap().unwrap()
    });
    let machine = bench.machines.get(id).unwrap();
    kill(machine.monitor_pid.unwrap());
    kill(machine.pid.unwrap());
    let event = waiting.join().unwrap();
    assert_eq!(event.id, id);
    assert!(matches!(event.kind, EventKind::Ended(_)), "{event:?}");
}

#[test]
fn events_are_seen_in_a_directory_that_is_made_later() {
    let bench = Bench::new();
    let dir = bench.runtime_dir.join("machines");
    kraft_sys::fs::remove_tree(&dir).unwrap();
    let mut events = bench.machines.events().unwrap();
    assert_eq!(events.next(Duration::ZERO).unwrap(), None);
    kraft_sys::fs::create_dir(&dir, 0o700).unwrap();
    let mut names = Vec::new();
    for name in ["one", "two"] {
        bench.machines.create(&spec(name, &[])).unwrap();
        let event = events.next(crate::bench::PATIENCE).unwrap().unwrap();
        assert_eq!(event.kind, EventKind::Created);
        names.push(event.name);
    }
    assert_eq!(names, ["one", "two"]);
}

#[test]
fn a_machine_that_cannot_be_started_has_a_reason_and_can_be_removed() {
    let bench = Bench::new();
    let gone = bench.runtime_dir.join("gone");
    let mut no_kernel = spec("no-kernel", &[]);
    no_kernel.kernel.clone_from(&gone);
    let mut no_initrd = spec("no-initrd", &[]);
    no_initrd.initrd = Some(gone.clone());
    let mut no_memory = spec("no-memory", &[]);
    no_memory.memory = 1 << 60;
    let mut reported = Vec::new();
    for spec in [no_kernel, no_initrd, no_memory] {
        let id = bench.machines.create(&spec).unwrap().id;
        let Err(Error::Start { source, .. }) = bench.machines.start(&id) else {
            panic!("{:?} was started", spec.name);
        };
        let state = bench.state(id);
        reported.push(format!("{state:?}: {source}").replace(gone.to_str().unwrap(), "GONE"));
        bench.machines.remove(&id, false).unwrap();
    }
    assert_eq!(
        reported[..2],
        [
            "Created: its kernel `GONE` cannot be read: No such file or directory (os error 2)",
            "Created: its root archive `GONE` cannot be read: No such file or directory (os error 2)",
        ]
    );
    assert!(
        reported[2].starts_with(
            "Failed: qemu-system-x86_64 exited before the guest ran (exit status: 1): "
        ),
        "{}",
        reported[2]
    );
}

#[test]
fn a_runtime_directory_can_have_a_long_and_odd_path() {
    let dir = tempfile::tempdir().unwrap();
    let odd = format!("a, b'\"{}", "x".repeat(200));
    let runtime_dir = dir.path().join(odd).join("y".repeat(100));
    let bench = Bench::at(dir, runtime_dir);
    let id = bench.run("m", &["@sleep:600"]);
    bench.machines.pause(&id).unwrap();
    bench.machines.unpause(&id).unwrap();
    let ending = bench.machines.stop(&id, StopOptions::default()).unwrap();
    assert_eq!(ending.reason, EndReason::Stopped);
}
