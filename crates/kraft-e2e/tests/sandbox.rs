//! What a build step can reach of the host: nothing. A program tries, as root and as an ordinary
//! user.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use kraft_e2e::dockerfiles::{context, text};
use kraft_e2e::harness::{Bench, Outcome, kraft_binary, repository, skip, wrapped};

/// Attempts that succeed outside of a sandbox as root: without them the suite proves nothing.
const CONTROLS: [&str; 12] = [
    "unshare-user",
    "unshare-mount",
    "clone-user",
    "mount-tmpfs",
    "fsopen",
    "keyctl-join",
    "add-key",
    "read-memory",
    "host-file",
    "host-loopback",
    "host-abstract-socket",
    "null-device",
];

/// Docker's default capabilities (moby, `oci/caps/defaults.go`) as `/proc/PID/status` shows them.
const DOCKER: u64 = 0xa804_25fb;

/// What the host has that a step must not reach.
struct Host {
    loopback: TcpListener,
    _abstract: UnixListener,
    name: String,
    file: tempfile::NamedTempFile,
    memory: tempfile::NamedTempFile,
}

impl Host {
    fn new() -> Self {
        let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("kraft-escape-{}", loopback.local_addr().unwrap().port());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self {
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            loopback,
            name,
            file: open_to_all(tempfile::NamedTempFile::new().unwrap()),
            memory: open_to_all(tempfile::NamedTempFile::new_in("/dev/shm").unwrap()),
        }
    }

    fn arguments(&self, report: &str) -> Vec<String> {
        vec![
            self.file.path().display().to_string(),
            std::process::id().to_string(),
            self.loopback.local_addr().unwrap().port().to_string(),
            self.name.clone(),
            self.memory.path().display().to_string(),
            report.to_owned(),
        ]
    }
}

fn open_to_all(file: tempfile::NamedTempFile) -> tempfile::NamedTempFile {
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    file
}

/// Builds the program that tries; `None` (and said so) without a compiler.
fn escape(dir: &Path) -> Option<PathBuf> {
    let program = dir.join("escape");
    let built = Command::new("gcc")
        .args(["-O1", "-static", "-o"])
        .arg(&program)
        .arg(repository().join("crates/kraft-e2e/fixtures/escape.c"))
        .status();
    if !built.is_ok_and(|status| status.success()) {
        skip("gcc or the static C library is not installed: scripts/setup.sh test");
        return None;
    }
    Some(program)
}

/// Sorts what the program printed: attempts by whether they succeeded, and facts.
fn parse(report: &str) -> (BTreeMap<String, bool>, BTreeMap<String, String>) {
    let (mut attempts, mut facts) = (BTreeMap::new(), BTreeMap::new());
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["fact", name, value @ ..] => {
                facts.insert((*name).to_owned(), value.join(" "));
            }
            [name, "held"] => {
                attempts.insert((*name).to_owned(), false);
            }
            [name, "ESCAPED"] => {
                attempts.insert((*name).to_owned(), true);
            }
            _ => {}
        }
    }
    (attempts, facts)
}

/// Has a step try, started with a descriptor of the host's root that it must not see.
fn attempt(bench: &Bench, host: &Host, user: Option<u32>) -> Option<String> {
    let program = escape(bench.path())?;
    let words = serde_json::to_string(&host.arguments("/report")).unwrap();
    let words = words.trim_start_matches('[');
    let dockerfile = format!("FROM scratch\nCOPY escape /\nRUN [\"/escape\", {words}\n");
    context(bench, &[("Dockerfile", &dockerfile)]);
    fs::copy(program, bench.path().join("context/escape")).unwrap();
    let kraft = bench.path().join("kraft");
    fs::copy(kraft_binary(), &kraft).unwrap();
    let like = bench.command_of(
        &kraft,
        [
            "rootfs",
            "build",
            "context/Dockerfile",
            "-o",
            "root.cpio",
            "--builder",
            "kraft",
            "--build-network",
            "none",
            "--log-type",
            "basic",
        ],
    );
    let mut wrapper = Command::new("sh");
    wrapper.args(["-c", "exec \"$@\" 7</", "sh"]);
    if let Some(user) = user {
        wrapper.args(bench.hand_over(user));
    }
    let mut command = wrapped(wrapper, &like);
    let before = fs::metadata(&kraft).unwrap();
    let outcome = Outcome::of(&mut command);
    if outcome.stderr.contains("forbids user namespaces") {
        skip("this system forbids user namespaces");
        return None;
    }
    drop(outcome.success());
    let after = fs::metadata(&kraft).unwrap();
    assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()));
    Some(text(bench, "report"))
}

/// Insists that nothing succeeded and that the step is confined as a container of Docker's is.
fn held(output: &str) {
    let (attempts, facts) = parse(output);
    let escaped: Vec<_> = attempts.iter().filter(|(_, done)| **done).collect();
    assert!(escaped.is_empty(), "{escaped:?}\n{output}");
    assert!(
        attempts.len() >= 70,
        "{} attempts\n{output}",
        attempts.len()
    );
    for (fact, value) in [
        ("highest-descriptor", "2"),
        ("terminal", "0"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(facts.get(fact).map(String::as_str), Some(value), "{fact}");
    }
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        let bits = u64::from_str_radix(&facts[set], 16).unwrap();
        assert_eq!(bits & !DOCKER, 0, "{set} is {bits:x}");
    }
    assert_eq!(facts["CapInh"], "0000000000000000");
}

#[test]
fn a_step_of_root_reaches_nothing_of_the_host() {
    let (bench, host) = (Bench::new(), Host::new());
    if let Some(output) = attempt(&bench, &host, None) {
        held(&output);
    }
}

#[test]
fn a_step_of_an_ordinary_user_reaches_nothing_of_the_host() {
    if !rustix::process::geteuid().is_root() {
        skip("switching to another user requires root");
        return;
    }
    let (bench, host) = (Bench::new(), Host::new());
    if let Some(output) = attempt(&bench, &host, Some(1000)) {
        held(&output);
    }
}

#[test]
fn outside_of_a_sandbox_the_same_attempts_succeed() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can do all of it");
        return;
    }
    let (bench, host) = (Bench::new(), Host::new());
    let Some(program) = escape(bench.path()) else {
        return;
    };
    // In namespaces of its own, so that what succeeds does no harm.
    let mut command = Command::new("unshare");
    command
        .args(["--fork", "--pid", "--mount", "--kill-child"])
        .arg(program)
        .args(host.arguments("report"))
        .current_dir(bench.path());
    drop(Outcome::of(&mut command).success());
    let (attempts, _) = parse(&fs::read_to_string(bench.path().join("report")).unwrap());
    for control in CONTROLS {
        assert_eq!(attempts.get(control), Some(&true), "{control}");
    }
}
