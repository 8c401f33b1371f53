//! Networks between machines, as root and as an ordinary user: names, ports, addresses, and a holder
//! that is killed.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use kraft_e2e::harness::eventually;
use kraft_e2e::networks::{Place, get, hardware_address, kill, traces};
use kraft_e2e::registry::free_port;
use serde_json::Value;

fn names_and_ports(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "--network", "10.77.0.1/24", "web"]);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    for (name, more) in [
        ("one", &["--port", published.as_str()][..]),
        ("two", &["--ip", "10.77.0.9"]),
    ] {
        place.serve("web", name, more);
    }
    eventually("the published port answers", || get(port).is_some());
    assert_eq!(get(port).unwrap(), "hello from one\n");
    // The gateway stays where it is while cards come and go.
    let holder = place.holder("web").unwrap();
    assert_eq!(hardware_address(holder, "br0"), "06:b0:0a:4d:00:01");
    let inspected = place.json(["inspect", "two"]);
    assert_eq!(inspected[0]["spec"]["networks"][0]["address"], "10.77.0.9");
    // Both are reached by name, one of them also through the host.
    let host = port.to_string();
    let pairs = [
        "one",
        "8080",
        "TWO.web",
        "8080",
        "nobody",
        "8080",
        "host.kraft.internal",
        &host,
    ];
    let mut printed = String::new();
    eventually("both answer", || {
        printed = place.fetch("web", &pairs);
        !printed.contains("refused")
    });
    assert_eq!(
        printed,
        "one: hello from one\nTWO.web: hello from two\nnobody: unknown\n\
         host.kraft.internal: hello from one\n"
    );
    let taken = place.kraft(["run", "--network", "web:10.77.0.9", "./server", "x"]);
    assert!(
        taken.stderr.contains("is that of machine `two`"),
        "{}",
        taken.stderr
    );
    let used = place.kraft(["net", "rm", "web"]);
    assert!(
        used.stderr.contains("in use by machine one, two"),
        "{}",
        used.stderr
    );
    place.ok(["stop", "one", "two"]);
    eventually("the holder ends", || place.holder("web").is_none());
    // It has its address again, and its port.
    place.ok(["start", "--detach", "one"]);
    eventually("the port answers again", || get(port).is_some());
    place.nothing_is_left(&before);
}

#[test]
fn machines_reach_each_other_by_name_and_the_host_reaches_one_by_a_port() {
    names_and_ports(false);
}

#[test]
fn machines_of_an_ordinary_user_reach_each_other_by_name_and_the_host_one_by_a_port() {
    names_and_ports(true);
}

fn twenty_at_once(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "web"]);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let started: Vec<Child> = (0..20)
        .map(|number| {
            let name = format!("m{number}");
            let mut args = vec!["run", "--detach", "--network", "web", "--name", &name];
            if number == 7 {
                args.extend(["--port", &published]);
            }
            args.extend(["./server", &name]);
            let mut command = place.command(args);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    let inspected = place.json(["net", "inspect", "web"]);
    let interfaces_of = inspected["spec"]["interfaces"].as_array().unwrap();
    let addresses = interfaces_of
        .iter()
        .map(|it| it["spec"]["cidr"].as_str().unwrap());
    assert_eq!(addresses.collect::<BTreeSet<_>>().len(), 20, "{inspected}");
    let running = |it: &&Value| it["status"]["running"] == true;
    assert_eq!(
        interfaces_of.iter().filter(running).count(),
        20,
        "{inspected}"
    );
    eventually("the published port answers", || get(port).is_some());
    assert_eq!(get(port).unwrap(), "hello from m7\n");
    place.nothing_is_left(&before);
}

#[test]
fn twenty_machines_started_at_once_have_twenty_addresses() {
    twenty_at_once(false);
}

#[test]
fn twenty_machines_of_an_ordinary_user_have_twenty_addresses() {
    twenty_at_once(true);
}

fn killed_holder(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "web"]);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    place.serve("web", "one", &["--port", &published]);
    eventually("the published port answers", || get(port).is_some());
    for _ in 0..3 {
        kill(place.holder("web").unwrap());
        assert_eq!(get(port), None);
        place.ok(["ps"]);
        assert_eq!(get(port).unwrap(), "hello from one\n");
        assert_eq!(
            place.fetch("web", &["one", "8080"]),
            "one: hello from one\n"
        );
    }
    // Without its holder and its monitor, the machine is still removed with everything.
    kill(place.holder("web").unwrap());
    place.nothing_is_left(&before);
}

#[test]
fn a_network_whose_holder_was_killed_is_found_again_by_its_machines() {
    killed_holder(false);
}

#[test]
fn a_network_of_an_ordinary_user_is_found_again_when_its_holder_was_killed() {
    killed_holder(true);
}
