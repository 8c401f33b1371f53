//! curl of this host in a guest: it asks a name server for an IPv6 address, and fetches from there.
//!
//! The test starts itself again in a network namespace, where port 53 of the loopback is free, and where
//! QEMU's user network leads the guest to it as `fec0::2`.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use kraft_e2e::harness::{Outcome, skip};
use kraft_e2e::registry::installed;

use crate::guest::{Guest, PATIENCE};
use crate::host::{copy, here};

/// The loopback of this host, for a guest.
const HOST: [u8; 16] = [0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const CURL: &str = "/usr/bin/curl";
const INNER: &str = "KRAFT_E2E_IN_NAMESPACE";

/// Types of a question.
const A: u16 = 1;
const AAAA: u16 = 28;

/// Returns the name and the type that a request asks for, and where its question ends.
fn question(request: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*request.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = request.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += length;
    }
    let kind = request.get(at..at + 2)?;
    let kind = u16::from_be_bytes([kind[0], kind[1]]);
    Some((labels.join("."), kind, at + 4))
}

/// Answers that `six.test` has an IPv6 address and no other, and that nothing else exists.
fn answer(request: &[u8], asked: &Sender<(String, u16)>) -> Option<Vec<u8>> {
    let (name, kind, end) = question(request)?;
    let known = name == "six.test";
    let has_answer = known && kind == AAAA;
    let mut response = request.get(..2)?.to_vec();
    response.extend([0x81, if known { 0x80 } else { 0x83 }]);
    response.extend([0, 1, 0, u8::from(has_answer), 0, 0, 0, 0]);
    response.extend(request.get(12..end)?);
    if has_answer {
        response.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16]);
        response.extend(HOST);
    }
    let _ = asked.send((name, kind));
    Some(response)
}

#[test]
fn curl_fetches_by_name_over_ipv6() {
    if !here(&[CURL]) {
        return;
    }
    if std::env::var_os(INNER).is_some() {
        return fetch();
    }
    let root = rustix::process::geteuid().is_root();
    let own: &[&str] = if root {
        &["--net"]
    } else {
        &["--net", "--map-root-user"]
    };
    let up = || {
        let mut command = Command::new("unshare");
        command.args(own).args(["sh", "-c"]);
        command
    };
    let mut trial = up();
    trial
        .arg("ip link set lo up && grep -q ^0*1.*lo /proc/net/if_inet6")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !installed("unshare") || !installed("ip") || !trial.status().unwrap().success() {
        return skip("this host allows no network namespaces with IPv6, or iproute2 is missing");
    }
    let mut inner = up();
    inner
        .arg("ip link set lo up && exec \"$@\"")
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "by_name::curl_fetches_by_name_over_ipv6",
            "--nocapture",
        ])
        .env(INNER, "1");
    let outcome = Outcome::within(PATIENCE, &mut inner).success();
    assert!(outcome.stdout.contains("1 passed"), "{}", outcome.stdout);
}

/// The test, in its namespace.
fn fetch() {
    let (asked, questions) = channel();
    let resolver = UdpSocket::bind("[::1]:53").unwrap();
    std::thread::spawn(move || {
        let mut request = [0; 1500];
        while let Ok((length, from)) = resolver.recv_from(&mut request) {
            if let Some(response) = answer(&request[..length], &asked) {
                let _ = resolver.send_to(&response, from);
            }
        }
    });
    let listener = TcpListener::bind("[::1]:80").unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let length = client.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let host = request.lines().find(|line| line.starts_with("Host: "));
            let body = format!("{}\n", host.unwrap_or_default());
            let _ = write!(client, "HTTP/1.0 200 OK\r\n\r\n{body}");
        }
    });
    let root = tempfile::tempdir().unwrap();
    copy(root.path(), &[CURL]);
    fs::create_dir_all(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/resolv.conf"), "nameserver fec0::2\n").unwrap();
    let guest = Guest::new(root.path(), "x86_64", 96);
    let curl = [
        CURL,
        "-sS",
        "--max-time",
        "60",
        "http://six.test/",
        "http://no.test/",
    ];
    // A published port gives the machine its network.
    let outcome = guest.run(&["-p", "127.0.0.1:8080:8080"], &curl).unwrap();
    let (code, text) = (outcome.code, outcome.stdout);
    assert!(
        text.contains("Host: six.test\n"),
        "{text}{}",
        outcome.stderr
    );
    assert!(text.contains("Could not resolve host: no.test"), "{text}");
    assert_eq!(code, Some(6), "{text}");
    let questions: Vec<_> = questions.try_iter().collect();
    for kind in [A, AAAA] {
        assert!(
            questions.contains(&("six.test".to_owned(), kind)),
            "{questions:?}"
        );
    }
}
