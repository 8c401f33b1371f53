//! Servers that ignore a part of what they are asked, or answer with something else: no command shows
//! or changes anything other than what was named, and each fails with a reason.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kraft_e2e::cloud::TOKEN;
use kraft_e2e::harness::{Bench, Outcome, repository};
use kraft_e2e::registry::free_port;
use serde_json::{Value, json};

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It does not read bodies: what it finds no identifier for is about everything.
    NoBodies,
    /// It does not read queries.
    NoQueries,
    /// It reads only paths.
    Neither,
    /// It answers with another resource.
    Other,
    /// It answers with what was named and one more.
    More,
    /// It answers with nothing.
    Nothing,
    /// It answers with an HTML page.
    Page,
    /// Its answer ends in the middle.
    Half,
    /// It answers 500.
    Failure,
    /// It answers too late.
    Late,
}

use Fault::{Failure, Half, Late, More, Neither, NoBodies, NoQueries, Nothing, Other, Page};

const FAULTS: [Fault; 10] = [
    NoBodies, NoQueries, Neither, Other, More, Nothing, Page, Half, Failure, Late,
];

const UUIDS: [&str; 2] = [
    "00000000-0000-4000-8000-00000000000a",
    "00000000-0000-4000-8000-00000000000b",
];
const NAMES: [&str; 2] = ["other", "mine"];

struct Careless {
    base: String,
    /// Names of what was changed.
    changed: Arc<Mutex<Vec<String>>>,
}

impl Careless {
    fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let changed = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&changed);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || answer(stream, fault, &noted));
            }
        });
        Self { base, changed }
    }
}

/// Reads a request: its method, its target, and its body.
fn request(stream: &mut TcpStream) -> Option<(String, String, String)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let head = loop {
        let count = stream.read(&mut piece).unwrap_or(0);
        bytes.extend_from_slice(&piece[..count]);
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if count == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let lower = text.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while bytes.len() < head + length {
        let count = stream.read(&mut piece).unwrap_or(0);
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..count]);
    }
    let mut words = text.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let body = String::from_utf8_lossy(&bytes[head..]).into_owned();
    Some((method, target, body))
}

fn item(at: usize) -> Value {
    let (uuid, name) = (UUIDS[at], NAMES[at]);
    let digest = format!("tester/web@sha256:{}", "0".repeat(64));
    json!({
        "status": "success", "uuid": uuid, "name": name, "state": "running", "size_mb": 1,
        "output": "", "services": [], "domains": [], "instances": [], "id": name, "args": [],
        "url": format!("oci://index.unikraft.io/{digest}"), "tags": ["tester/web:latest"],
        "organization_name": name, "private_ip": "10.0.0.2", "history": [],
    })
}

fn answer(mut stream: TcpStream, fault: Fault, changed: &Mutex<Vec<String>>) {
    let Some((method, target, body)) = request(&mut stream) else {
        return;
    };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut seen = path.to_owned();
    if !matches!(fault, NoQueries | Neither) {
        seen.push_str(query);
    }
    if !matches!(fault, NoBodies | Neither) {
        seen.push_str(&body);
    }
    let all: Vec<usize> = vec![0, 1];
    let meant = |at: &usize| seen.contains(UUIDS[*at]) || seen.contains(NAMES[*at]);
    let named: Vec<usize> = all.iter().copied().filter(meant).collect();
    let is_new = method == "POST" && !path.contains("/templates");
    // What is not named is everything; what is new is one.
    let found = match fault {
        Other => vec![0],
        More => all,
        Nothing => Vec::new(),
        _ if named.is_empty() && is_new => vec![1],
        _ if named.is_empty() => all,
        _ => named,
    };
    if method != "GET" && !is_new && !path.ends_with("/wait") {
        let names = found.iter().map(|at| NAMES[*at].to_owned());
        changed.lock().unwrap().extend(names);
    }
    let items: Vec<Value> = found.iter().map(|at| item(*at)).collect();
    let steps: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let collection = match steps[0] {
        "services" => "service_groups",
        other => other,
    };
    let body = match (fault, collection) {
        (Page, _) => "<html><body>Sign in to other</body></html>".to_owned(),
        (Failure, _) => "{}".to_owned(),
        (_, "auth" | "healthz") => match items.first() {
            Some(one) => json!({"status": "success", "data": one}).to_string(),
            None => json!({"status": "success", "data": {}}).to_string(),
        },
        (_, "builds") if steps.len() > 1 || method == "POST" => {
            items.first().map_or("{}".to_owned(), Value::to_string)
        }
        (_, "builds") => json!({"builds": items}).to_string(),
        _ => json!({"status": "success", "data": {collection: items}}).to_string(),
    };
    if fault == Late {
        std::thread::sleep(Duration::from_secs(3));
    }
    let status = if fault == Failure { 500 } else { 200 };
    let sent = if fault == Half {
        body.len() / 2
    } else {
        body.len()
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{}",
        body.len(),
        &body[..sent]
    );
}

/// Commands about one resource: `{}` is its name, or its UUID.
const NAMED: &[&str] = &[
    "instance get {}",
    "instance logs {}",
    "instance metrics {}",
    "instance start {}",
    "instance start -w 1s {}",
    "instance stop {}",
    "instance stop --force {}",
    "instance restart {}",
    "instance suspend {}",
    "instance suspend -w 1s {}",
    "instance edit --lock true {}",
    "instance edit --memory 99 {}",
    "instance history {}",
    "instance wait {}",
    "instance remove {}",
    "instance exec {} true",
    "instance template create {}",
    "instance template get {}",
    "instance template edit {} --lock true",
    "instance template remove {}",
    "instance checkpoint create -n mine {}",
    "instance checkpoint get {}",
    "instance checkpoint edit {} --tag a",
    "instance checkpoint remove {}",
    "service get {}",
    "service edit --soft-limit 3 {}",
    "service logs {}",
    "service drain {}",
    "service remove {}",
    "volume get {}",
    "volume clone -n mine {}",
    "volume resize {} -s 9",
    "volume attach {} --to mine --at /x",
    "volume detach {}",
    "volume detach {} --from mine",
    "volume edit {} --lock true",
    "volume template create {}",
    "volume template get {}",
    "volume template edit {} --lock true",
    "volume template remove {}",
    "volume remove {}",
    "certificate get {}",
    "certificate renew {} -C chain.pem -p key.pem",
    "certificate remove {}",
    "scale init {} --template mine",
    "scale init {} --master mine",
    "scale add {} -n mine -s 1:2/1",
    "scale get {}",
    "scale get {} -p mine",
    "scale remove {} mine",
    "scale reset {}",
    "tunnel PORT:{}:80",
];

/// Commands about one resource that has only a UUID, or only a name.
const HALF_NAMED: &[&str] = &[
    "quota --user UUID",
    "image unpin UUID",
    "build cancel mine",
    "build remove mine",
    "compose ps",
    "compose start",
    "compose stop",
    "compose logs",
    "compose down",
];

/// Commands that make something.
const NEW: &[&str] = &[
    "instance create -n mine tester/web",
    "instance create -n mine --template mine",
    "service create -n mine 443:80",
    "volume create -n mine -s 1",
    "certificate create -n mine -c a.example -C chain.pem -p key.pem",
    "image pin tester/web",
    "deploy -n mine --no-wait tester/web",
    "build create -t tester/mine https://example.com/a.git --no-wait",
    "compose create",
    "compose up -d",
];

/// Commands that succeed without a resource.
const NOT_THERE: &[&str] = &[
    "build remove",
    "compose ps",
    "compose start",
    "compose stop",
    "compose logs",
    "compose down",
];

/// Commands that list.
const LISTS: &[&str] = &[
    "instance list",
    "instance metrics",
    "instance template list",
    "instance checkpoint list",
    "service list",
    "volume list",
    "volume template list",
    "certificate list",
    "image list",
    "scale get",
    "quota",
    "health",
    "whoami",
    "build list",
];

/// Commands that do not ask a metro, or only a registry, or that ask until they are interrupted.
const NOT_ASKED: &[&str] = &[
    "audit",
    "compose build",
    "compose ls",
    "compose push",
    "image remove",
    "login",
    "logout",
    "metro list",
    "profile list",
    "profile use",
    "volume import",
];

/// A bench with the files that the commands read.
fn bench() -> Bench {
    let bench = Bench::new();
    let pem = |label: &str| format!("-----BEGIN {label}-----\nMA==\n-----END {label}-----\n");
    let file = "name: p\nservices:\n  web: {image: tester/web, container_name: mine}\n";
    for (name, text) in [
        ("chain.pem", pem("CERTIFICATE")),
        ("key.pem", pem("PRIVATE KEY")),
        ("compose.yaml", file.to_owned()),
    ] {
        std::fs::write(bench.path().join(name), text).unwrap();
    }
    bench
}

fn run(bench: &Bench, server: &Careless, line: &str) -> Outcome {
    let line = line.replace("PORT", &free_port().to_string());
    let words: Vec<&str> = std::iter::once("cloud").chain(line.split(' ')).collect();
    let mut command = bench.command(words);
    command
        .env("UKC_METRO", format!("{}/v1", server.base))
        .env("UKC_CONTROL_PLANE", &server.base)
        .env("UKC_BUILD_SERVER", &server.base)
        .env("KRAFTKIT_HTTP_RETRIES", "0")
        .env("KRAFTKIT_HTTP_TIMEOUT", "1")
        .env("UKC_TOKEN", TOKEN);
    Outcome::of(&mut command)
}

/// Judges a command about `mine`, or one that makes it.
fn judge(bench: &Bench, server: &Careless, fault: Fault, line: &str) {
    let outcome = run(bench, server, line);
    let changed = std::mem::take(&mut *server.changed.lock().unwrap());
    let (stdout, stderr) = (&outcome.stdout, &outcome.stderr);
    let what = format!("`{line}` of a server with {fault:?}: {stdout}{stderr}");
    let ignores = [NoBodies, NoQueries, Neither].contains(&fault);
    if ignores {
        assert!(
            !changed.contains(&"other".to_owned()),
            "{changed:?}: {what}"
        );
    }
    // What the platform calls a new pin or build is its own choice.
    if !line.starts_with("image pin") && !line.starts_with("build create") {
        let shown = stdout.contains("other") || stdout.contains(UUIDS[0]);
        assert!(!shown, "{what}");
    }
    assert!(!stderr.contains("panicked"), "{what}");
    if ignores && stderr.contains("`other`") {
        assert!(stderr.contains("ignores a part"), "{what}");
    }
    let right = match fault {
        // What is not deployed, or removed: an empty answer is one.
        Nothing => {
            let is = |command: &&str| line.starts_with(*command);
            NOT_THERE.iter().any(is)
        }
        // A pin is compared by its image.
        Other => line.starts_with("image pin"),
        // A wait without a limit is patient.
        Late => line.starts_with("instance wait"),
        _ => false,
    };
    if !ignores && !right {
        assert!(outcome.code != Some(0), "no failure: {what}");
        assert!(stderr.contains("error:"), "no reason: {what}");
    }
}

/// Judges a command that lists.
fn judge_list(bench: &Bench, server: &Careless, fault: Fault, line: &str) {
    let outcome = run(bench, server, line);
    let what = format!("`{line}` of a server with {fault:?}: {}", outcome.stderr);
    assert!(!outcome.stderr.contains("panicked"), "{what}");
    if [Page, Half, Failure, Late].contains(&fault) {
        assert!(outcome.code != Some(0), "no failure: {what}");
        assert!(outcome.stderr.contains("error:"), "no reason: {what}");
    }
}

/// Every command about something named, in each way that it is named.
fn commands() -> Vec<String> {
    let by = |id: &'static str| NAMED.iter().map(move |line| line.replace("{}", id));
    let rest = HALF_NAMED.iter().chain(NEW);
    let rest = rest.map(|line| line.replace("UUID", UUIDS[1]));
    by("mine").chain(by(UUIDS[1])).chain(rest).collect()
}

/// Runs commands against careless servers, several at a time.
fn judge_all(faults: &[Fault], every: usize) {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut cases: Vec<(Fault, String, bool)> = Vec::new();
    for fault in faults {
        cases.extend(commands().into_iter().map(|line| (*fault, line, false)));
        cases.extend(LISTS.iter().map(|line| (*fault, (*line).to_owned(), true)));
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let bench = bench();
                while let Some((fault, line, lists)) =
                    cases.get(next.fetch_add(1, Ordering::SeqCst))
                {
                    // Of a part of the cases, each command meets another server.
                    let at = commands().iter().position(|one| one == line).unwrap_or(0);
                    let turn = FAULTS.iter().position(|one| one == fault).unwrap();
                    if every > 1 && (at + turn) % every != 0 {
                        continue;
                    }
                    let server = Careless::start(*fault);
                    // Each failure is printed.
                    let judged = catch_unwind(AssertUnwindSafe(|| match lists {
                        true => judge_list(&bench, &server, *fault, line),
                        false => judge(&bench, &server, *fault, line),
                    }));
                    failed.fetch_add(usize::from(judged.is_err()), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "commands failed");
}

#[test]
fn a_careless_server_shows_and_changes_nothing_else() {
    judge_all(&[Neither], 1);
    // Each of the others meets a part of the commands; all of them: the test below.
    judge_all(&FAULTS[..9], 18);
}

#[test]
#[ignore = "runs 1000 commands"]
fn every_command_fails_with_a_reason_at_every_careless_server() {
    judge_all(&FAULTS, 1);
}

#[test]
fn no_command_is_forgotten() {
    let reference = std::fs::read_to_string(repository().join("docs/cli.md")).unwrap();
    let headings = reference.lines().filter_map(|line| {
        let command = line.strip_prefix("### `kraft cloud ")?.strip_suffix('`')?;
        Some(command.to_owned())
    });
    let headings: BTreeSet<String> = headings.collect();
    let is_group = |one: &String| {
        headings
            .iter()
            .any(|other| other.starts_with(&format!("{one} ")))
    };
    let tried: Vec<&str> = [NAMED, HALF_NAMED, NEW, LISTS, NOT_ASKED].concat();
    let forgotten: Vec<&String> = headings
        .iter()
        .filter(|one| !is_group(one))
        .filter(|one| {
            let begins =
                |line: &&str| *line == one.as_str() || line.starts_with(&format!("{one} "));
            !tried.iter().any(begins)
        })
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    assert!(headings.len() > 60, "{headings:?}");
}
