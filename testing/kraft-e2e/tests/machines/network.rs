//! Networks between machines, as root and as an ordinary user: names, ports, addresses, and what is
//! left of processes that are killed.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::harness::{eventually, is_running};
use kraft_e2e::registry::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::place::{Place, get, interfaces};

/// Answers HTTP requests on port 8080 with its argument.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int count, char **words) {
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (count < 2 || bind(server, (void *)&any, sizeof any) || listen(server, 8)) return 1;
    for (;;) {
        char request[4096];
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request) < 0) return 2;
        dprintf(client, "HTTP/1.0 200 OK\r\n\r\nhello from %s\n", words[1]);
        close(client);
    }
}
"#;

/// Fetches `http://NAME:PORT/` for every pair of arguments, and prints what it gets.
const FETCH: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int count, char **words) {
    for (int i = 1; i + 1 < count; i += 2) {
        struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
        if (getaddrinfo(words[i], words[i + 1], &hints, &found)) {
            printf("%s: unknown\n", words[i]);
            continue;
        }
        int server = socket(AF_INET, SOCK_STREAM, 0), all = 0, got;
        char text[4096];
        if (connect(server, found->ai_addr, found->ai_addrlen)) {
            printf("%s: refused\n", words[i]);
            continue;
        }
        dprintf(server, "GET / HTTP/1.0\r\n\r\n");
        while ((got = read(server, text + all, sizeof text - 1 - all)) > 0) all += got;
        text[all] = 0;
        char *body = strstr(text, "\r\n\r\n");
        printf("%s: %s", words[i], body ? body + 4 : "nothing\n");
    }
    return 0;
}
"#;

/// Makes a home with the two programs.
fn place(ordinary: bool) -> Option<Place> {
    Place::new(ordinary, &[("server", SERVER), ("fetch", FETCH)])
}

/// Runs the client in a network, and returns what it printed.
fn fetch(place: &Place, network: &str, pairs: &[&str]) -> String {
    let run = ["run", "--rm", "--network", network, "./fetch"];
    let printed = place.ok(run.iter().chain(pairs).copied());
    printed.replace('\r', "")
}

/// Returns the hardware address of an interface in the network of a process.
fn hardware_address(process: i32, interface: &str) -> String {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{process}/ns/net"));
    if !rustix::process::geteuid().is_root() {
        command.arg(format!("--user=/proc/{process}/ns/user"));
    }
    let output = command
        .args(["ip", "-o", "link", "show", interface])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "link/ether");
    words.nth(1).unwrap_or(&text).to_owned()
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
        eventually("the process ends", || !is_running(pid));
    }
}

fn names_and_ports(ordinary: bool) {
    let Some(place) = place(ordinary) else {
        return;
    };
    let before = interfaces();
    place.ok(["net", "create", "--network", "10.77.0.1/24", "web"]);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    for (name, more) in [
        ("one", &["--port", published.as_str()][..]),
        ("two", &["--ip", "10.77.0.9"]),
    ] {
        let run = ["run", "--detach", "--network", "web", "--name", name];
        let server = ["./server", name];
        place.ok(run.iter().chain(more).chain(&server).copied());
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
        printed = fetch(&place, "web", &pairs);
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
    let Some(place) = place(ordinary) else {
        return;
    };
    let before = interfaces();
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
    let Some(place) = place(ordinary) else {
        return;
    };
    let before = interfaces();
    place.ok(["net", "create", "web"]);
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    place.ok([
        "run",
        "--detach",
        "--network",
        "web",
        "--name",
        "one",
        "--port",
        &published,
        "./server",
        "one",
    ]);
    eventually("the published port answers", || get(port).is_some());
    for _ in 0..3 {
        kill(place.holder("web").unwrap());
        assert_eq!(get(port), None);
        place.ok(["ps"]);
        assert_eq!(get(port).unwrap(), "hello from one\n");
        assert_eq!(
            fetch(&place, "web", &["one", "8080"]),
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

/// Kills one of the processes of a start at some moment, and checks that nothing is left.
fn killed_at_any_moment(ordinary: bool) {
    let Some(place) = place(ordinary) else {
        return;
    };
    let before = interfaces();
    place.ok(["net", "create", "web"]);
    let mut seed = u64::from(std::process::id());
    for round in 0..12 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let moment = Duration::from_millis((seed >> 33) % 1200);
        let mut command = place.command(["run", "--network", "web", "./server", "x"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let due = Instant::now() + moment;
        while Instant::now() < due {
            std::thread::yield_now();
        }
        let words = ["__network", "__monitor", "qemu-system", "slirp4netns"];
        let victims = match words.get(round % 5) {
            Some(word) => pids(&place, word),
            None => vec![i32::try_from(child.id()).unwrap()],
        };
        victims.into_iter().for_each(kill);
        if round % 5 != 4 {
            place.kraft(["stop", "--all", "--force"]);
        }
        let _ = child.kill();
        let _ = child.wait();
        place.kraft(["ps", "--all"]);
    }
    place.nothing_is_left(&before);
}

/// Returns the processes of this place with a word in their command line.
fn pids(place: &Place, word: &str) -> Vec<i32> {
    let home = place.bench.path().to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let dir = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let of_holder = place
            .holder("web")
            .is_some_and(|it| command.contains(&format!("/proc/{it}/")));
        command.contains(word) && (command.contains(home) || dir.starts_with(home) || of_holder)
    })
    .collect()
}

#[test]
fn whatever_is_killed_at_any_moment_leaves_nothing() {
    killed_at_any_moment(false);
}

#[test]
fn whatever_is_killed_of_an_ordinary_user_leaves_nothing() {
    killed_at_any_moment(true);
}
