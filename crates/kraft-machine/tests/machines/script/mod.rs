//! Machines on another VMM: everything but the driver is the same.

use std::net::{Ipv6Addr, TcpListener};

use kraft_core::machine::{EndReason, MachineSpec, MachineState};
use kraft_core::platform::Platform;
use kraft_core::port::{PortMapping, Protocol};
use kraft_machine::{Error, Id, LogsOptions, StartError, StopOptions};

use crate::bench::{Bench, eventually, kill, spec};

pub(crate) mod driver;

fn script(platform: Platform, args: &[&str]) -> MachineSpec {
    let mut spec = spec("", args);
    spec.platform = platform;
    spec
}

fn run(bench: &Bench, platform: Platform, args: &[&str]) -> Id {
    let id = bench.machines.create(&script(platform, args)).unwrap().id;
    bench.machines.start(&id).unwrap();
    id
}

#[test]
fn a_machine_on_another_vmm_lives_as_one_on_qemu() {
    let bench = Bench::new();
    let machines = &bench.machines;
    let id = run(&bench, Platform::Xen, &["print:hello", "wait"]);
    let running = machines.get(id).unwrap();
    assert_eq!(running.state, MachineState::Running);
    assert!(running.pid.is_some() && running.monitor_pid.is_some());
    assert_eq!(machines.list().unwrap().len(), 1);
    bench.wait_for_console(id, "hello\n");

    assert_eq!(machines.pause(&id).unwrap().state, MachineState::Paused);
    assert!(matches!(
        machines.pause(&id),
        Err(Error::AlreadyPaused { .. })
    ));
    assert_eq!(machines.unpause(&id).unwrap().state, MachineState::Running);
    let ending = machines.stop(&id, StopOptions::default()).unwrap();
    assert_eq!(ending.reason, EndReason::Stopped);
    assert_eq!(machines.wait(&id).unwrap(), ending);
    assert_eq!(bench.console(id), "hello\n");

    machines.start(&id).unwrap();
    machines.remove(&id, true).unwrap();
    assert!(machines.list().unwrap().is_empty());
}

#[test]
fn the_end_of_a_machine_is_what_its_driver_reads() {
    let bench = Bench::new();
    for (args, reason) in [
        (&["print:x"][..], EndReason::PoweredOff),
        (&["exit:0"], EndReason::PoweredOff),
        (&["exit:42"], EndReason::Exited { code: 42 }),
        (
            &["panic"],
            EndReason::Crashed {
                what: "guest panicked".to_owned(),
            },
        ),
    ] {
        let id = run(&bench, Platform::Xen, args);
        assert_eq!(bench.machines.wait(&id).unwrap().reason, reason, "{args:?}");
    }
}

#[test]
fn a_vmm_that_cannot_pause_says_so_and_is_not_asked() {
    let bench = Bench::new();
    let id = run(&bench, Platform::Firecracker, &["wait"]);
    let error = bench.machines.pause(&id).unwrap_err();
    assert!(error.to_string().starts_with("cannot pause machine `"));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "its VMM does not support it");
    assert_eq!(bench.state(id), MachineState::Running);
    bench.machines.stop(&id, StopOptions::default()).unwrap();
}

#[test]
fn a_vmm_that_fails_to_start_is_quoted() {
    let bench = Bench::new();
    let spec = script(Platform::Xen, &["broken"]);
    let id = bench.machines.create(&spec).unwrap().id;
    let Err(Error::Start { source, .. }) = bench.machines.start(&id) else {
        panic!("it was started");
    };
    let StartError::Vmm { how, said, .. } = source else {
        panic!("{source}");
    };
    assert_eq!(how, "exit status: 7");
    assert_eq!(said, "script: cannot create the machine");
    assert_eq!(bench.state(id), MachineState::Failed);
}

#[test]
fn a_machine_on_another_vmm_is_adopted_and_found_without_its_record() {
    let bench = Bench::new();
    let id = run(&bench, Platform::Xen, &["wait"]);
    let machine = bench.machines.get(id).unwrap();
    kill(machine.monitor_pid.unwrap());
    eventually("a new monitor", || {
        let pid = bench.machines.get(id).unwrap().monitor_pid;
        pid.is_some_and(|pid| Some(pid) != machine.monitor_pid)
    });
    std::fs::remove_file(machine.dir.join("record.json")).unwrap();
    assert!(bench.machines.get(id).is_err());
    bench.machines.remove(&id, true).unwrap();
    assert!(bench.machines.list().unwrap().is_empty());
    assert!(kraft_sys::process::Identity::of(machine.pid.unwrap()).is_none());
}

#[test]
fn the_output_of_a_short_guest_is_complete() {
    let bench = Bench::new();
    for _ in 0..10 {
        let spec = script(Platform::Xen, &["print:first", "print:last"]);
        let id = bench.machines.create(&spec).unwrap().id;
        let watch = bench.machines.start(&id).unwrap();
        let mut logs = watch.logs(LogsOptions::default()).unwrap();
        let mut console = Vec::new();
        while let Some(chunk) = logs.follow(crate::bench::PATIENCE).unwrap() {
            console.extend(chunk.bytes);
        }
        assert_eq!(String::from_utf8(console).unwrap(), "first\nlast\n");
    }
}

#[test]
fn the_command_line_of_a_vmm_can_be_previewed() {
    let bench = Bench::new();
    let spec = script(Platform::Xen, &["print:a b"]);
    let argv = bench.machines.preview(&spec, "").unwrap();
    assert_eq!(argv.last().unwrap(), "print:a b");
    assert!(bench.machines.list().unwrap().is_empty());
}

#[test]
fn only_a_vmm_that_can_publishes_ports_on_ipv6_addresses() {
    let port = PortMapping {
        host_ip: Ipv6Addr::LOCALHOST.into(),
        host_port: 0,
        machine_port: 80,
        protocol: Protocol::Tcp,
    };
    let bench = Bench::new();
    let mut on_qemu = spec("", &[]);
    on_qemu.ports = vec![port.clone()];
    let id = bench.machines.create(&on_qemu).unwrap().id;
    let Err(Error::Start { source, .. }) = bench.machines.start(&id) else {
        panic!("it was started");
    };
    assert_eq!(
        source.to_string(),
        "cannot listen on [::1]:0/tcp: QEMU publishes ports on IPv4 addresses only"
    );
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        // This host has no IPv6.
        return;
    }
    let mut on_script = script(Platform::Xen, &["wait"]);
    on_script.ports = vec![port];
    let id = bench.machines.create(&on_script).unwrap().id;
    bench.machines.start(&id).unwrap();
    assert_ne!(bench.machines.get(id).unwrap().ports[0].host_port, 0);
}
