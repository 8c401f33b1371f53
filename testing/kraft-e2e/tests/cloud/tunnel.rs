//! Tunnels through the emulated cloud: many at once, broken ones, and what is left when they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Stdio};

use kraft_e2e::cloud::{Cloud, in_both};
use kraft_e2e::harness::{Bench, Outcome, PATIENCE, eventually};
use kraft_e2e::registry::{digest_of, free_port};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A local server that echoes its input when it is complete.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut all = Vec::new();
                if stream.read_to_end(&mut all).is_ok() {
                    all.reverse();
                    let _ = stream.write_all(&all);
                }
            });
        }
    });
    address
}

/// A cloud with the instance `web`, whose port 7 is the echo; it publishes nothing.
fn with_echo() -> Cloud {
    let cloud = Cloud::new();
    cloud.door("POST images", &json!({"name": "tester/web"}));
    let new = json!({
        "name": "web", "image": "tester/web", "autostart": true, "wait_timeout_ms": 60_000,
    });
    cloud.ok("POST /instances", &new);
    let backend = json!({"name": "web", "port": 7, "address": echo().to_string()});
    cloud.door("POST backends", &backend);
    cloud
}

/// A `kraft cloud tunnel` that runs.
struct Tunnel {
    child: Child,
    said: BufReader<ChildStderr>,
    port: u16,
}

impl Tunnel {
    /// Starts one from a free port, and waits until it is open.
    fn start(cloud: &Cloud, bench: &Bench) -> Self {
        let port = free_port();
        let way = format!("{port}:web:7");
        let mut child = cloud
            .visitor(bench, &["cloud", "tunnel", &way])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut tunnel = Self { child, said, port };
        tunnel.says(" to web:7");
        tunnel
    }

    /// Reads on until it says something.
    fn says(&mut self, text: &str) -> String {
        let mut all = String::new();
        while !all.contains(text) {
            let read = self.said.read_line(&mut all).unwrap();
            assert!(read > 0, "it ended before `{text}`: {all}");
        }
        all
    }

    /// Sends bytes through it, and returns what comes back.
    fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        if stream.write_all(bytes).is_ok() {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut answer);
        }
        answer
    }

    /// Ends it as Ctrl-C does, and returns its exit code and what else it said.
    fn end(mut self) -> (Option<i32>, String) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

fn instances(cloud: &Cloud) -> Vec<String> {
    let all = cloud.ok("GET /instances", &Value::Null);
    all.iter()
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn sixty_four_concurrent_connections_transfer_every_byte_in_both_directions() {
    in_both(|| {
        let (cloud, bench) = (with_echo(), Bench::new());
        let tunnel = Tunnel::start(&cloud, &bench);
        let tunnel_ref = &tunnel;
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..64_usize)
                .map(|number| {
                    scope.spawn(move || {
                        let bytes: Vec<u8> = (0..(1 << 17) + number)
                            .map(|at| u8::try_from((at * 31 + number) % 251).unwrap())
                            .collect();
                        let mut wanted = bytes.clone();
                        wanted.reverse();
                        let answer = tunnel_ref.ask(&bytes);
                        assert_eq!(
                            digest_of(&answer),
                            digest_of(&wanted),
                            "connection {number}"
                        );
                    })
                })
                .collect();
            for one in all {
                one.join().unwrap();
            }
        });
        let (code, said) = tunnel.end();
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("removed the helper"), "{said}");
        assert_eq!(instances(&cloud), ["web"]);
    });
}

#[test]
fn a_port_in_use_is_reported_before_anything_is_created() {
    in_both(|| {
        let (cloud, bench) = (with_echo(), Bench::new());
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = format!("{}:web:7", taken.local_addr().unwrap().port());
        cloud.door("DELETE requests", &Value::Null);
        let outcome = Outcome::of(&mut cloud.visitor(&bench, &["cloud", "tunnel", &way])).exits(7);
        assert!(
            outcome.stderr.contains("cannot listen at 127.0.0.1"),
            "{}",
            outcome.stderr
        );
        assert_eq!(cloud.journal(), Vec::<Value>::new());
        let words = ["cloud", "tunnel", "53:web:53/udp"];
        let outcome = Outcome::of(&mut cloud.visitor(&bench, &words)).exits(2);
        assert!(outcome.stderr.contains("only TCP"), "{}", outcome.stderr);
    });
}

#[test]
fn a_refused_connection_is_reported_and_ends_alone() {
    in_both(|| {
        let (cloud, bench) = (with_echo(), Bench::new());
        let mut tunnel = Tunnel::start(&cloud, &bench);
        cloud.door("PUT helpers", &json!({"slots": 0}));
        assert_eq!(tunnel.ask(b"x"), b"");
        tunnel.says("no room for another connection");
        cloud.door("PUT helpers", &json!({"refusal": -5}));
        assert_eq!(tunnel.ask(b"x"), b"");
        tunnel.says("failed with the number -5");
        cloud.door("PUT helpers", &json!({}));
        assert_eq!(tunnel.ask(b"abc"), b"cba");
        let _ = tunnel.end();
    });
}

#[test]
fn a_lost_control_connection_is_reopened_and_the_tunnel_stays_open() {
    in_both(|| {
        let (cloud, bench) = (with_echo(), Bench::new());
        cloud.door("PUT helpers", &json!({"control_ms": 1500}));
        let mut tunnel = Tunnel::start(&cloud, &bench);
        tunnel.says("lost the connection to the helper");
        assert_eq!(tunnel.ask(b"abc"), b"cba");
        let _ = tunnel.end();
        assert_eq!(instances(&cloud), ["web"]);
    });
}

#[test]
fn a_removed_helper_ends_the_tunnel_with_an_error() {
    in_both(|| {
        let (cloud, bench) = (with_echo(), Bench::new());
        cloud.door("PUT helpers", &json!({"control_ms": 1500}));
        let mut tunnel = Tunnel::start(&cloud, &bench);
        let helper = instances(&cloud)
            .into_iter()
            .find(|name| name != "web")
            .unwrap();
        cloud.ok("DELETE /instances", &json!([{"name": helper}]));
        let mut rest = String::new();
        tunnel.said.read_to_string(&mut rest).unwrap();
        assert_eq!(tunnel.child.wait().unwrap().code(), Some(4), "{rest}");
        // Within the first second of a connection, it is not opened again.
        let said = ["the helper is gone", "the helper closed the connection"];
        assert!(said.iter().any(|said| rest.contains(said)), "{rest}");
    });
}

#[test]
fn an_interrupt_while_the_helper_is_made_leaves_none() {
    in_both(|| {
        let (cloud, bench) = (with_echo(), Bench::new());
        let slow =
            json!({"kind": "latency", "ms": 1500, "method": "POST", "path": "/v1/instances"});
        cloud.door("POST faults", &slow);
        let way = format!("{}:web:7", free_port());
        let mut command = cloud.visitor(&bench, &["cloud", "tunnel", &way]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut all = String::new();
        while !all.contains("starting the helper") {
            assert!(said.read_line(&mut all).unwrap() > 0, "{all}");
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        said.read_to_string(&mut all).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{all}");
        eventually("its end", || instances(&cloud) == ["web"]);
    });
}

#[test]
fn the_password_of_a_helper_is_never_visible() {
    in_both(|| {
        let (cloud, bench) = (with_echo(), Bench::new());
        let tunnel = Tunnel::start(&cloud, &bench);
        let journal = cloud.journal();
        let made = journal
            .iter()
            .rev()
            .find(|entry| entry["method"] == "POST")
            .unwrap();
        let args = made["body"]["args"].as_array().unwrap();
        let password = args[1]
            .as_str()
            .unwrap()
            .strip_prefix("5:")
            .unwrap()
            .to_owned();
        assert_eq!(password.len(), 32);
        let line = std::fs::read(format!("/proc/{}/cmdline", tunnel.child.id())).unwrap();
        assert!(!String::from_utf8_lossy(&line).contains(&password));
        let (_, said) = tunnel.end();
        assert!(!said.contains(&password), "{said}");
    });
}
