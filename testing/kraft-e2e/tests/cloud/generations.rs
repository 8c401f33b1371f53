//! Two descriptions of the API, servers that ignore a part of what they are asked, and long lists.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kraft_cloud_emulator::{Hard, Settings};
use kraft_e2e::cloud::{Cloud, TOKEN, dialect, in_both};
use kraft_e2e::harness::{Bench, Outcome};
use serde_json::{Value, json};

/// What a server does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ignores {
    Bodies,
    Queries,
    Both,
}

/// A server that answers with everything, and changes everything, if it finds no identifier where
/// it looks for one.
struct Careless {
    address: String,
    changed: Arc<Mutex<Vec<String>>>,
}

const UUIDS: [&str; 2] = [
    "00000000-0000-4000-8000-00000000000a",
    "00000000-0000-4000-8000-00000000000b",
];
const NAMES: [&str; 2] = ["other", "mine"];

impl Careless {
    fn start(ignores: Ignores) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let changed = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&changed);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, ignores, &noted);
            }
        });
        Self { address, changed }
    }
}

fn answer(mut stream: TcpStream, ignores: Ignores, changed: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let head = loop {
        let count = stream.read(&mut piece).unwrap_or(0);
        bytes.extend_from_slice(&piece[..count]);
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if count == 0 {
            return;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while bytes.len() < head + length {
        let count = stream.read(&mut piece).unwrap_or(0);
        bytes.extend_from_slice(&piece[..count]);
    }
    let line = String::from_utf8_lossy(&bytes[..head])
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut seen = path.to_owned();
    if !matches!(ignores, Ignores::Queries | Ignores::Both) {
        seen.push_str(query);
    }
    if !matches!(ignores, Ignores::Bodies | Ignores::Both) {
        seen.push_str(&String::from_utf8_lossy(&bytes[head..]));
    }
    let all: Vec<usize> = vec![0, 1];
    let meant = |at: &usize| seen.contains(UUIDS[*at]) || seen.contains(NAMES[*at]);
    let named: Vec<usize> = all.iter().copied().filter(meant).collect();
    // What is not named is everything.
    let found = if named.is_empty() { all } else { named };
    let steps: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let collection = match steps[0] {
        "services" => "service_groups",
        other => other,
    };
    if method != "GET" && !path.ends_with("/wait") {
        let names = found.iter().map(|at| NAMES[*at].to_owned());
        changed.lock().unwrap().extend(names);
    }
    let items: Vec<Value> = found
        .iter()
        .map(|at| {
            json!({"status": "success", "uuid": UUIDS[*at], "name": NAMES[*at], "state": "running",
                "size_mb": 1, "output": "", "services": [], "domains": [], "instances": []})
        })
        .collect();
    let body = json!({"status": "success", "data": {collection: items}}).to_string();
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
    );
}

#[test]
fn a_server_that_ignores_what_it_is_asked_shows_and_changes_nothing_else() {
    let bench = Bench::new();
    let uuid = UUIDS[1];
    let by = |id: &str| -> Vec<Vec<String>> {
        let lines = [
            format!("instance get {id}"),
            format!("instance stop {id}"),
            format!("instance stop --force {id}"),
            format!("instance start {id}"),
            format!("instance start -w 1s {id}"),
            format!("instance suspend {id}"),
            format!("instance remove {id}"),
            format!("instance logs {id}"),
            format!("instance metrics {id}"),
            format!("instance wait {id}"),
            format!("instance edit --lock true {id}"),
            format!("instance template remove {id}"),
            format!("volume get {id}"),
            format!("volume remove {id}"),
            format!("volume detach {id}"),
            format!("volume attach {id} --to mine --at /x"),
            format!("volume resize {id} -s 9"),
            format!("volume clone {id}"),
            format!("service get {id}"),
            format!("service remove {id}"),
            format!("certificate get {id}"),
            format!("certificate remove {id}"),
            format!("scale get {id}"),
            format!("scale reset {id}"),
        ];
        let words = |line: &String| line.split(' ').map(str::to_owned).collect();
        lines.iter().map(words).collect()
    };
    for ignores in [Ignores::Bodies, Ignores::Queries, Ignores::Both] {
        let server = Careless::start(ignores);
        for words in [by("mine"), by(uuid)].concat() {
            let mut command = bench.command([&["cloud".to_owned()], words.as_slice()].concat());
            command
                .env("UKC_METRO", &server.address)
                .env("UKC_TOKEN", TOKEN);
            let outcome = Outcome::of(&mut command);
            let what = format!("{words:?} of a server that ignores {ignores:?}");
            let changed = std::mem::take(&mut *server.changed.lock().unwrap());
            assert!(
                !changed.contains(&"other".to_owned()),
                "{what}: {changed:?}"
            );
            let shown = format!("{}{}", outcome.stdout, outcome.stderr);
            if outcome.stdout.contains("other") {
                panic!("{what} shows another one: {shown}");
            }
            if outcome.stderr.contains("other") {
                assert!(outcome.stderr.contains("ignores a part"), "{what}: {shown}");
            }
        }
    }
}

/// Makes many resources of a kind with names that do not repeat.
fn fill(cloud: &Cloud, kind: &str, prefix: &str, count: usize) {
    for at in 0..count {
        let name = format!("{prefix}-{at}");
        let (path, body) = match kind {
            "volume" => ("volumes", json!([{"name": name, "size_mb": 1}])),
            "service" => ("services", json!({"name": name, "services": []})),
            _ => ("instances", json!({"name": name, "image": "tester/web"})),
        };
        cloud.ok(&format!("POST /{path}"), &body);
    }
}

#[test]
fn long_lists_are_complete_while_resources_come_and_go() {
    let hard = Hard {
        instances: 10_000,
        groups: 10_000,
        volumes: 10_000,
        memory: 1 << 30,
    };
    in_both(|| {
        let cloud = Cloud::with(Settings {
            hard,
            ..Settings::default()
        });
        let bench = Bench::new();
        cloud.door("POST images", &json!({"name": "tester/web"}));
        for kind in ["instance", "volume", "service"] {
            fill(&cloud, kind, "kept", 250);
            fill(&cloud, kind, "gone", 20);
            cloud.door("DELETE requests", &Value::Null);
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut at = 0;
                    while !over.load(Ordering::SeqCst) {
                        let path = format!("/{kind}s");
                        let gone = json!([{"name": format!("gone-{at}")}]);
                        let _ = cloud.ask(&format!("DELETE {path}"), &gone);
                        at += 1;
                        fill(&cloud, kind, &format!("new-{at}"), 1);
                    }
                });
                for _ in 0..2 {
                    let words = ["cloud", kind, "list", "-o", "json"];
                    let outcome = cloud.kraft(&bench, &words).success();
                    let listed: Value = serde_json::from_str(&outcome.stdout).unwrap();
                    let listed = listed.as_array().unwrap();
                    let mut names: Vec<&str> = listed
                        .iter()
                        .map(|one| one["name"].as_str().unwrap())
                        .collect();
                    let kept = names
                        .iter()
                        .filter(|name| name.starts_with("kept-"))
                        .count();
                    assert_eq!(kept, 250, "{kind}");
                    let count = names.len();
                    names.sort_unstable();
                    names.dedup();
                    assert_eq!(names.len(), count, "{kind}: something is listed twice");
                }
                over.store(true, Ordering::SeqCst);
            });
        }
        let asked = |entry: &Value| entry["query"].to_string().contains("\"from\"");
        let pages = cloud.journal().iter().filter(|entry| asked(entry)).count();
        assert_eq!(pages > 0, dialect() == kraft_cloud_emulator::Dialect::V2026);
    });
}

#[test]
fn a_list_continues_from_an_earlier_item_when_its_cursor_is_removed() {
    let cloud = Cloud::today(Settings::default());
    let bench = Bench::new();
    fill(&cloud, "volume", "kept", 230);
    // The cursor of the second page is gone when it is asked for.
    let listed = cloud.ok("GET /volumes", &Value::Null);
    let cursor = &listed[99];
    let slow = json!({"kind": "latency", "ms": 1500, "after": 1, "path": "/v1/volumes"});
    cloud.door("POST faults", &slow);
    let list = std::thread::scope(|scope| {
        let list = scope.spawn(|| {
            let words = ["cloud", "volume", "list", "-o", "json"];
            cloud.kraft(&bench, &words).success().stdout
        });
        // The request for the second page waits meanwhile.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let begun = std::time::Instant::now();
        while !cloud
            .door("GET requests", &Value::Null)
            .to_string()
            .contains("count")
        {
            assert!(begun.elapsed().as_secs() < 60, "the list was not requested");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        cloud.ok("DELETE /volumes", &json!([{"uuid": cursor["uuid"]}]));
        list.join().unwrap()
    });
    let list: Value = serde_json::from_str(&list).unwrap();
    let names: Vec<&Value> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    for one in listed.iter().filter(|one| *one != cursor) {
        assert!(names.contains(&&one["name"]), "{} is missing", one["name"]);
    }
}

#[test]
fn warnings_of_the_platform_are_printed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = json!({
                "status": "success", "data": {"volumes": []},
                "warnings": ["`cn` is deprecated\u{1b}[2J", {"message": "leave by May"}],
            });
            let body = body.to_string();
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            );
        }
    });
    let bench = Bench::new();
    let mut command = bench.command(["cloud", "volume", "list"]);
    command.env("UKC_METRO", &address).env("UKC_TOKEN", TOKEN);
    let outcome = Outcome::of(&mut command).success();
    for text in ["`cn` is deprecated [2J", "leave by May"] {
        assert!(outcome.stderr.contains(text), "{}", outcome.stderr);
    }
}
