//! Without a network: local commands work, and do not even query the kernel about networks.

use kraft_e2e::guest::{MOTD, package};
use kraft_e2e::harness::{Bench, Outcome, skip};
use kraft_e2e::netns;
use kraft_e2e::registry::Registry;

const NAME: &str = "example.test/apps/motd:v1";

/// Commands that only read local data. None of them needs a socket.
const LOOKS: [&[&str]; 6] = [
    &["pkg", "ls"],
    &["pkg", "ls", "--apps", "--all", "-o", "json"],
    &["pkg", "inspect", NAME],
    &["pkg", "tree", NAME],
    &["ps", "--all"],
    &["store", "verify"],
];

#[test]
fn commands_that_need_no_network_use_none() {
    if let Some(obstacle) = netns::obstacle() {
        return skip(obstacle);
    }
    let bench = Bench::new();
    package(&bench, NAME, &[]);
    let trace = bench.path().join("trace");
    for offline in [true, false] {
        let flag: &[&str] = if offline { &["--offline"] } else { &[] };
        for look in LOOKS {
            let inner = bench.command([flag, look].concat());
            let outcome = Outcome::of(&mut netns::isolated(&inner, &trace)).success();
            let calls = std::fs::read_to_string(&trace).unwrap();
            assert!(!calls.contains("socket("), "{}\n{calls}", outcome.command);
        }
        let run = [flag, &["run", "--rm", NAME]].concat();
        let outcome = Outcome::of(&mut netns::isolated(&bench.command(run), &trace)).success();
        assert!(outcome.stdout.contains(MOTD), "{}", outcome.stdout);
        // QEMU is spoken to over a socket with a path, which leads nowhere else.
        assert_eq!(
            netns::outward_sockets(&trace),
            [""; 0],
            "offline: {offline}"
        );
    }
}

#[test]
fn the_trace_shows_sockets_where_there_are_some() {
    if let Some(obstacle) = netns::obstacle() {
        return skip(obstacle);
    }
    let bench = Bench::new();
    let trace = bench.path().join("trace");
    let inner = bench.command(["pkg", "pull", "192.0.2.1:5000/apps/motd:v1"]);
    let _ = Outcome::of(&mut netns::isolated(&inner, &trace)).exits(4);
    assert_ne!(netns::outward_sockets(&trace), [""; 0]);
}

#[test]
fn commands_that_need_the_network_fail_at_once_with_offline() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let here = registry.name("apps/motd:v1");
    package(&bench, &here, &["--push"]);
    let absent = registry.name("apps/absent:v1");
    let asked = registry.requests().len();
    let wanting: [&[&str]; 5] = [
        &["pkg", "pull", &here],
        &["pkg", "push", &here],
        &["pkg", "ls", "--update"],
        &["run", "--rm", &absent],
        &["run", "--rm", "--pull", "always", &here],
    ];
    for words in wanting {
        let outcome = bench.kraft([words, &["--offline"]].concat()).exits(4);
        assert!(outcome.stderr.contains("--offline"), "{}", outcome.stderr);
        // The same from the environment, with which whole sessions are taken off the network.
        let mut command = bench.command(words);
        command.env("KRAFTKIT_OFFLINE", "true");
        let _ = Outcome::of(&mut command).exits(4);
    }
    assert_eq!(registry.requests().len(), asked, "the registry was asked");
}
