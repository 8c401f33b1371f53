//! Every form of a connection to a network, in guests that run.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use kraft_e2e::harness::eventually;
use kraft_e2e::networks::{Place, get, kill, traces};
use kraft_e2e::registry::free_port;

#[test]
fn every_field_of_a_connection_is_what_the_guest_has() {
    let Some(place) = Place::new(false) else {
        return;
    };
    let before = traces();
    place.ok([
        "net",
        "create",
        "--driver",
        "bridge",
        "-n",
        "10.78.0.1/24",
        "front",
    ]);
    place.ok(["net", "create", "-n", "10.78.1.1/24", "--internal", "back"]);
    let who = |flags: &[&str]| {
        let run = ["run", "--rm", "--name", "m"];
        let printed = place.ok(run.iter().chain(flags).chain(&["./who"]).copied());
        printed.replace('\r', "")
    };
    assert_eq!(
        who(&["--network", "front"]),
        "name m\nsearch front\nnameserver 10.78.0.1\neth0 10.78.0.2 02:b0:b0:4e:00:02\n"
    );
    assert_eq!(
        who(&[
            "--network",
            "front",
            "--ip",
            "10.78.0.8",
            "--mac",
            "02:b0:b0:00:00:77"
        ]),
        "name m\nsearch front\nnameserver 10.78.0.1\neth0 10.78.0.8 02:b0:b0:00:00:77\n"
    );
    assert_eq!(
        who(&[
            "--network",
            "front:10.78.0.7/25:10.78.0.4:1.1.1.1:8.8.8.8:box:a.example"
        ]),
        "name box\nsearch a.example\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n\
         eth0 10.78.0.7 02:b0:b0:4e:00:07\n"
    );
    // Two cards: the name and the name server are those of the first.
    assert_eq!(
        who(&["--network", "front", "--network", "back:10.78.1.9"]),
        "name m\nsearch front\nnameserver 10.78.0.1\neth0 10.78.0.2 02:b0:b0:4e:00:02\n\
         eth1 10.78.1.9 02:b0:b0:4e:01:09\n"
    );
    place.nothing_is_left(&before);
}

fn several_networks(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "front"]);
    place.ok(["net", "create", "--internal", "back"]);
    place.serve("front", "one", &[]);
    place.serve("back", "two", &[]);
    let pairs = [
        "one",
        "8080",
        "two",
        "8080",
        "two.back",
        "8080",
        "two.front",
        "8080",
    ];
    let run = [
        "run",
        "--rm",
        "--network",
        "back",
        "--network",
        "front",
        "./fetch",
    ];
    let mut printed = String::new();
    eventually("both answer", || {
        printed = place
            .ok(run.iter().chain(&pairs).copied())
            .replace('\r', "");
        !printed.contains("refused")
    });
    assert_eq!(
        printed,
        "one: hello from one\ntwo: hello from two\ntwo.back: hello from two\n\
         two.front: unknown\n"
    );
    // Neither network leads into the other, and the internal one not to the host.
    assert_eq!(place.fetch("front", &["two", "8080"]), "two: unknown\n");
    let there = ["host.kraft.internal", "80"];
    assert_eq!(
        place.fetch("back", &there),
        "host.kraft.internal: unknown\n"
    );
    let inspected = place.json(["net", "inspect", "back"]);
    assert_eq!(inspected["status"]["no_way_out"], "the network is internal");
    place.nothing_is_left(&before);
}

#[test]
fn a_machine_is_in_several_networks_and_finds_the_machines_of_each() {
    several_networks(false);
}

#[test]
fn a_machine_of_an_ordinary_user_is_in_several_networks() {
    several_networks(true);
}

/// Asks by packets until an answer comes.
fn ask(port: u16) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut answer = [0; 64];
    let mut length = 0;
    eventually("an answer by UDP", || {
        // The program may not listen yet.
        let _ = socket.send(b"?");
        length = socket.recv(&mut answer).unwrap_or(0);
        length > 0
    });
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

fn ports(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "web"]);
    let (port, packets) = (free_port(), free_port());
    let has_ipv6 = TcpListener::bind(("::1", port)).is_ok();
    let host = if has_ipv6 { "[::1]" } else { "127.0.0.1" };
    let (tcp, udp) = (
        format!("{host}:{port}:8080"),
        format!("127.0.0.1:{packets}:8080/udp"),
    );
    place.serve("web", "one", &["--port", &tcp, "--port", &udp]);
    assert_eq!(ask(packets), "hello from one\n");
    let answers = || {
        let host = if has_ipv6 { "::1" } else { "127.0.0.1" };
        TcpStream::connect((host, port)).is_ok()
    };
    eventually("the port is open", answers);
    if has_ipv6 {
        assert_eq!(get(port), None, "it is open on the given address only");
    }
    let taken = place.kraft(["run", "--network", "web", "--port", &udp, "./server", "x"]);
    assert!(
        taken.stderr.contains(&packets.to_string()),
        "{}",
        taken.stderr
    );
    assert_ne!(taken.code, Some(0));
    place.nothing_is_left(&before);
}

#[test]
fn ports_are_published_on_ipv6_addresses_and_by_udp() {
    ports(false);
}

#[test]
fn ports_of_an_ordinary_user_are_published_on_ipv6_addresses_and_by_udp() {
    ports(true);
}

#[test]
fn a_network_in_use_stays_and_is_listed_without_its_holder() {
    let Some(place) = Place::new(false) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "-n", "10.79.0.1/24", "web"]);
    place.serve("web", "one", &[]);
    for (words, part) in [
        (["net", "rm", "web"], "network web is in use by machine one"),
        (["net", "down", "web"], "carries running machines: one"),
    ] {
        let refused = place.kraft(words);
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert_eq!(place.ok(["net", "prune"]), "");
    kill(place.holder("web").unwrap());
    // Listing needs no holder, and starts none.
    assert!(
        place
            .ok(["net", "ls"])
            .contains("web   10.79.0.1/24  bridge  up")
    );
    let inspected = place.json(["net", "inspect", "web"]);
    let machine = &inspected["spec"]["interfaces"][0];
    assert_eq!(machine["metadata"]["name"], "one");
    assert_eq!(machine["status"]["running"], true);
    assert!(place.pids("web", "__network").is_empty());
    // With force, the machine loses its network and continues.
    let forced = place.kraft(["net", "rm", "--force", "web"]).success();
    assert!(
        forced.stderr.contains("machine `one` loses network `web`"),
        "{}",
        forced.stderr
    );
    assert_eq!(place.bench.state("one"), "running");
    place.ok(["net", "create", "-n", "10.79.0.1/24", "web"]);
    place.nothing_is_left(&before);
}

fn health(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "web"]);
    let often = ["--health-interval", "50ms", "--health-retries", "2"];
    let http = [
        "--health-http",
        "8080/",
        often[0],
        often[1],
        often[2],
        often[3],
    ];
    let tcp = ["--health-tcp", "9", often[0], often[1], often[2], often[3]];
    place.serve("web", "well", &http);
    place.serve("web", "ill", &tcp);
    let health = |name: &str| place.json(["inspect", name])[0]["health"].clone();
    eventually("one is healthy", || health("well") == "healthy");
    eventually("one is not", || health("ill") == "unhealthy");
    // A check finds the network again.
    kill(place.holder("web").unwrap());
    eventually("another holder", || {
        !place.pids("web", "__network").is_empty()
    });
    assert_eq!(health("well"), "healthy");
    place.nothing_is_left(&before);
}

#[test]
fn a_service_in_a_network_is_checked_without_a_published_port() {
    health(false);
}

#[test]
fn a_service_of_an_ordinary_user_in_a_network_is_checked() {
    health(true);
}
