//! Many at once.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use kraft_core::port::{PortMapping, Protocol};
use kraft_machine::{Error, Machines, StartError, StopOptions};

use crate::bench::{Bench, entries, settings, spec};

#[test]
fn twenty_machines_made_and_started_at_once_have_twenty_names_and_all_can_be_removed() {
    let bench = Bench::new();
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let settings = settings(&bench.runtime_dir);
            std::thread::spawn(move || {
                // Each opens the directory itself, as another process would.
                let machines = Machines::open(settings).unwrap();
                let machine = machines.create(&spec("", &["@sleep:600"])).unwrap();
                machines.start(&machine.id).unwrap();
                machine.name
            })
        })
        .collect();
    let names: BTreeSet<String> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(names.len(), 20);
    let listed = bench.machines.list().unwrap();
    assert_eq!(listed.len(), 20);
    for name in names {
        let id = bench.machines.find(&name).unwrap().id;
        bench.machines.remove(&id, true).unwrap();
    }
    assert!(entries(&bench.runtime_dir.join("machines")).is_empty());
}

#[test]
fn of_twenty_who_want_one_name_one_gets_it() {
    let bench = Bench::new();
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let machines = bench.machines.clone();
            std::thread::spawn(move || machines.create(&spec("m", &[])).map(drop))
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    let refused = results.iter().filter_map(|r| r.as_ref().err());
    assert!(
        refused
            .into_iter()
            .all(|e| matches!(e, Error::NameTaken { .. }))
    );
    assert_eq!(bench.machines.list().unwrap().len(), 1);
}

#[test]
fn of_many_who_start_one_machine_one_does_and_of_many_who_stop_it_too() {
    let bench = Bench::new();
    let id = bench
        .machines
        .create(&spec("m", &["@sleep:600"]))
        .unwrap()
        .id;
    let all = |what: fn(&Machines, kraft_machine::Id) -> bool| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                let machines = bench.machines.clone();
                std::thread::spawn(move || what(&machines, id))
            })
            .collect();
        let done = threads.into_iter().map(|t| t.join().unwrap());
        done.filter(|done| *done).count()
    };
    assert_eq!(all(|machines, id| machines.start(&id).is_ok()), 1);
    assert_eq!(
        all(|machines, id| machines.stop(&id, StopOptions::default()).is_ok()),
        1
    );
    assert_eq!(all(|machines, id| machines.remove(&id, false).is_ok()), 1);
}

fn port(host_port: u16) -> PortMapping {
    PortMapping {
        host_ip: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
        host_port,
        machine_port: 80,
        protocol: Protocol::Tcp,
    }
}

#[test]
fn a_port_belongs_to_one_running_machine_and_is_free_when_that_ends() {
    let bench = Bench::new();
    let mut first = spec("first", &["@sleep:600"]);
    first.ports = vec![port(0)];
    let first = bench.machines.create(&first).unwrap().id;
    bench.machines.start(&first).unwrap();
    let taken = bench.machines.get(first).unwrap().ports[0].host_port;
    assert_ne!(taken, 0);
    assert!(
        TcpListener::bind(("127.0.0.2", taken)).is_err(),
        "QEMU does not listen where it should"
    );
    assert!(
        TcpListener::bind(("127.0.0.3", taken)).is_ok(),
        "QEMU listens on an address nobody asked for"
    );

    let mut second = spec("second", &["@sleep:600"]);
    second.ports = vec![port(taken)];
    let second = bench.machines.create(&second).unwrap().id;
    let Err(Error::Start {
        source: StartError::Port(error),
        ..
    }) = bench.machines.start(&second)
    else {
        panic!("two machines have one port");
    };
    assert_eq!(
        error.to_string(),
        format!("port 127.0.0.2:{taken}/tcp is already in use by the machine `first`")
    );
    bench.machines.stop(&first, StopOptions::default()).unwrap();
    bench.machines.start(&second).unwrap();
}

#[test]
fn a_beginning_means_a_name_before_it_means_an_id() {
    let bench = Bench::new();
    // A machine whose name begins like the other one's id.
    let other = bench.machines.create(&spec("other", &[])).unwrap().id;
    let id_start = |count| other.to_string().chars().take(count).collect::<String>();
    let start = id_start(2);
    let named = bench
        .machines
        .create(&spec(&format!("{start}-x"), &[]))
        .unwrap()
        .id;
    assert_eq!(bench.machines.find(&start).unwrap().id, named);
    assert_eq!(bench.machines.find(&id_start(9)).unwrap().id, other);
    assert_eq!(bench.machines.find("oth").unwrap().id, other);
    assert!(matches!(
        bench.machines.find(""),
        Err(Error::NotFound { .. })
    ));
    let third = bench.machines.create(&spec("otherwise", &[])).unwrap().id;
    assert_eq!(bench.machines.find("other").unwrap().id, other);
    assert_eq!(bench.machines.find("otherw").unwrap().id, third);
    let Err(Error::Ambiguous { candidates, .. }) = bench.machines.find("oth") else {
        panic!("two names begin like that");
    };
    assert_eq!(candidates.len(), 2);
}
