//! Machines that sleep while they are idle, and are woken by a connection.
//!
//! `KRAFT_SLEEPS=100` changes the number of cycles of the long test.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kraft_e2e::harness::{Bench, eventually};
use kraft_e2e::networks::{Place, kill};
use kraft_e2e::registry::free_port;
use serde_json::Value;

use crate::runtime::{program, with_program};

/// Answers each request with its number, and holds the connection as long as the client does.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(server, (void *)&any, sizeof any) || listen(server, 64)) return 1;
    printf("listening\n");
    fflush(stdout);
    for (int number = 1;; number++) {
        char request[4096];
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request) < 0) return 2;
        dprintf(client, "%d\n", number);
        shutdown(client, SHUT_WR);
        while (read(client, request, sizeof request) > 0);
        close(client);
    }
}
"#;

fn bench() -> Option<(Bench, PathBuf)> {
    with_program(SERVER)
}

/// Asks once, on one connection: what is held is answered.
fn ask(port: u16) -> u32 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    stream.write_all(b"?").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("the answer is {answer:?}"))
}

fn monitor(bench: &Bench, name: &str) -> i32 {
    let machine = bench.json(["inspect", name])[0].clone();
    i32::try_from(machine["monitor_pid"].as_i64().unwrap()).unwrap()
}

/// Receives a packet, also if this process or the host was stopped meanwhile (`EINTR`).
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> usize {
    loop {
        match socket.recv(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received.unwrap(),
        }
    }
}

#[test]
fn an_idle_machine_sleeps_and_each_first_request_is_answered() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let run = [
        "run",
        "--detach",
        "--name",
        "web",
        "--port",
        &published,
        "--sleep-after",
    ];
    let server = server.to_str().unwrap();
    bench.ok(run.iter().copied().chain(["300ms", server]));
    // The monitor has looked whether it listens, on a busy host several times.
    bench.wait_for_state("web", "asleep");
    let first = ask(port);
    assert!(first > 1, "{first}");
    for number in first + 1..first + 3 {
        bench.wait_for_state("web", "asleep");
        let machine = bench.json(["inspect", "web"])[0].clone();
        assert_eq!(machine["pid"], Value::Null);
        assert_eq!(machine["ports"][0]["host_port"], port);
        assert_eq!(ask(port), number);
    }
    let listed = bench.json(["ps", "-o", "json"]);
    assert_eq!(listed[0]["name"], "web", "one that sleeps is listed");

    // As long as a connection is open, it is awake.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"?").unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    assert_eq!(answer, format!("{}\n", first + 3));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(bench.state("web"), "running");
    drop(stream);

    // Without its monitor, the next access keeps its ports open again.
    bench.wait_for_state("web", "asleep");
    kill(monitor(&bench, "web"));
    eventually("another monitor", || {
        bench.state("web") == "asleep" && {
            bench.json(["inspect", "web"])[0]["monitor_pid"].is_number()
                && TcpStream::connect(("127.0.0.1", port)).is_ok()
        }
    });
    // Connections that were only opened count as well.
    let number = ask(port);
    assert!(number > first + 3, "{number}");

    // The user suspends it: then nothing listens. And it is started, stopped and removed as any other.
    bench.wait_for_state("web", "asleep");
    bench.ok(["suspend", "web"]);
    assert_eq!(bench.state("web"), "suspended");
    eventually("the port is closed", || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    bench.ok(["resume", "web"]);
    let next = ask(port);
    assert!(next > number, "{next}");
    bench.wait_for_state("web", "asleep");
    // It may sleep again before the next command looks.
    bench.ok(["resume", "web"]);
    assert_eq!(ask(port), next + 1);
    bench.wait_for_state("web", "asleep");
    bench.ok(["stop", "web"]);
    assert_eq!(bench.state("web"), "exited");
    eventually("the port is closed", || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    bench.ok(["start", "--detach", "web"]);
    bench.wait_for_state("web", "asleep");
    bench.ok(["rm", "--force", "web"]);
    eventually("the port is closed", || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
}

#[test]
fn what_cannot_sleep_is_refused() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let server = server.to_str().unwrap();
    for (more, reason) in [
        (
            &["--detach", "--sleep-after", "1ms", "--port", "80"][..],
            "is too short",
        ),
        (
            &["--detach", "--sleep-after", "1s"],
            "needs a published TCP port",
        ),
        (
            &["--detach", "--sleep-after", "1s", "--port", "53:53/udp"],
            "needs a published TCP port",
        ),
        (
            &[
                "--detach",
                "--sleep-after",
                "1s",
                "--port",
                "80",
                "--volume",
                "data:/data",
            ],
            "volumes",
        ),
        (&["--sleep-after", "1s", "--port", "80"], "needs `--detach`"),
    ] {
        let args = ["run"].iter().chain(more).copied().chain([server]);
        let outcome = bench.kraft(args).exits(2);
        assert!(
            outcome.stderr.contains(reason),
            "{more:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_machine_in_a_network_sleeps_as_well() {
    let Some(place) = Place::new(false) else {
        return;
    };
    place.ok(["net", "create", "web"]);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let packets = format!("127.0.0.1:{port}:8080/udp");
    let run = [
        "run",
        "--detach",
        "--network",
        "web",
        "--name",
        "one",
        "--port",
        &published,
        "--port",
        &packets,
    ];
    let server = ["--sleep-after", "300ms", "./server", "one"];
    place.ok(run.iter().chain(&server).copied());
    let state = || place.json(["inspect", "one"])[0]["state"].clone();
    eventually("it answers", || kraft_e2e::networks::get(port).is_some());
    for _ in 0..2 {
        eventually("it sleeps", || state() == "asleep");
        assert_eq!(kraft_e2e::networks::get(port).unwrap(), "hello from one\n");
    }
    eventually("it sleeps", || state() == "asleep");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    socket.send_to(b"?", ("127.0.0.1", port)).unwrap();
    let mut answer = [0; 64];
    let length = receive(&socket, &mut answer);
    assert_eq!(&answer[..length], b"hello from one\n");
    place.ok(["rm", "--force", "one"]);
}

#[test]
fn a_service_of_a_compose_file_sleeps_and_is_woken() {
    let Some(place) = Place::new(false) else {
        return;
    };
    let port = free_port();
    let dockerfile = "FROM scratch\nCOPY server /server\nCMD [\"/server\", \"web\"]\n";
    fs::write(place.bench.path().join("Dockerfile"), dockerfile).unwrap();
    let file = format!(
        "name: shop\nservices:\n  web:\n    build: .\n    ports: [\"127.0.0.1:{port}:8080\"]\n    \
         x-kraft-sleep-after: 300ms\n"
    );
    fs::write(place.bench.path().join("compose.yaml"), file).unwrap();
    place.ok(["compose", "up", "--detach"]);
    eventually("it sleeps", || {
        place.json(["inspect", "shop-web"])[0]["state"] == "asleep"
    });
    assert_eq!(kraft_e2e::networks::get(port).unwrap(), "hello from web\n");
    // It is what the file describes: nothing is created again.
    let id = || place.json(["inspect", "shop-web"])[0]["id"].clone();
    let before = id();
    place.ok(["compose", "up", "--detach"]);
    assert_eq!(id(), before);
    place.ok(["compose", "down"]);
}

/// Answers packets of UDP with their number, and listens for connections that it does not answer.
const PACKETS: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
int main(void) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)}, from;
    int server = socket(AF_INET, SOCK_STREAM, 0), packets = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(packets, (void *)&any, sizeof any)) return 1;
    if (bind(server, (void *)&any, sizeof any) || listen(server, 64)) return 2;
    for (int number = 1;; number++) {
        char packet[64], answer[128];
        socklen_t size = sizeof from;
        int length = recvfrom(packets, packet, sizeof packet - 1, 0, (void *)&from, &size);
        if (length < 0) return 3;
        packet[length] = 0;
        snprintf(answer, sizeof answer, "%s %d", packet, number);
        sendto(packets, answer, strlen(answer), 0, (void *)&from, size);
    }
}
"#;

#[test]
fn a_packet_of_udp_wakes_a_machine_and_is_answered() {
    let Some((bench, _)) = bench() else {
        return;
    };
    let Some(server) = program(&bench, "gcc", &["-static"], "packets", PACKETS) else {
        return;
    };
    let port = free_port();
    let (tcp, udp) = (
        format!("127.0.0.1:{port}:8080"),
        format!("127.0.0.1:{port}:8080/udp"),
    );
    let run = ["run", "--detach", "--name", "web", "--port", &tcp, "--port"];
    let more = [&udp, "--sleep-after", "300ms", server.to_str().unwrap()];
    bench.ok(run.iter().copied().chain(more));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let ask = |socket: &UdpSocket, word: &str| {
        socket.send(word.as_bytes()).unwrap();
        let mut answer = [0; 64];
        let length = receive(socket, &mut answer);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    for number in [1, 3] {
        bench.wait_for_state("web", "asleep");
        assert_eq!(ask(&socket, "one"), format!("one {number}"));
        // Another sender gets its own answers.
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        other.connect(("127.0.0.1", port)).unwrap();
        other
            .set_read_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        assert_eq!(ask(&other, "other"), format!("other {}", number + 1));
    }
    bench.ok(["rm", "--force", "web"]);
}

/// Prints the times from the request to its answer.
#[test]
#[ignore = "a thousand cycles take several minutes"]
fn no_first_request_of_many_cycles_is_lost() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let cycles = std::env::var("KRAFT_SLEEPS").ok();
    let cycles: u32 = cycles.and_then(|text| text.parse().ok()).unwrap_or(1000);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let run = ["run", "--detach", "--name", "web", "--port", &published];
    let server = ["--sleep-after", "100ms", server.to_str().unwrap()];
    bench.ok(run.iter().chain(&server).copied());
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..cycles {
        bench.wait_for_state("web", "asleep");
        let began = Instant::now();
        let number = ask(port);
        times.push(began.elapsed());
        // Before, the monitor has looked whether it listens.
        assert_eq!(number, last.map_or(number, |last| last + 1));
        last = Some(number);
    }
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!(
        "{cycles} cycles: first answer after {:.1} ms (median), {:.1} ms (99 %), {:.1} ms (longest)",
        at(50),
        at(99),
        at(100)
    );
}
