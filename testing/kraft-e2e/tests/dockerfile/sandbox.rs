//! What a build step can reach of the host: nothing. A program tries, as root and as an ordinary
//! user.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;

use kraft_e2e::dockerfiles::{OWN_BUILD, context, text};
use kraft_e2e::harness::{Bench, Outcome, eventually, is_running, repository, skip, wrapped};

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
        .arg(repository().join("testing/kraft-e2e/fixtures/escape.c"))
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
    let kraft = bench.kraft_copy();
    let flags = ["--build-network", "none", "--log-type", "basic"];
    let like = bench.command_of(&kraft, OWN_BUILD.into_iter().chain(flags));
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
        let (_, facts) = parse(&output);
        assert_ne!(
            facts["root-outside"], "0",
            "root of a step is root of the host"
        );
    }
}

/// Returns the fields of `/proc/PID/status`.
fn status(pid: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Finds the process with a certain argument, and returns its number.
fn process_with(argument: &str) -> Option<String> {
    let mut pids = fs::read_dir("/proc").unwrap().flatten();
    pids.find_map(|entry| {
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = words.split(|byte| *byte == 0);
        let is_command = words.next()?.ends_with(b"busybox");
        (is_command && words.any(|word| word == argument.as_bytes()))
            .then(|| entry.file_name().into_string().unwrap())
    })
}

fn descriptors(pid: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut descriptors: Vec<_> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    descriptors.sort();
    descriptors
}

/// Returns a command as a user runs it, who then owns everything of the bench.
fn run_by(bench: &Bench, user: Option<u32>, command: &Command) -> Command {
    let mut wrapper = Command::new("env");
    if let Some(user) = user {
        wrapper.args(bench.hand_over(user));
    }
    wrapped(wrapper, command)
}

#[test]
fn init_of_a_step_is_confined_and_holds_three_descriptors() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can look into it");
        return;
    }
    for user in [None, Some(1000)] {
        let bench = Bench::new();
        // Any number will do that no other process has as its argument.
        let time = format!("{}.5", 10_000 + std::process::id());
        let dockerfile =
            format!("FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"sleep\", \"{time}\"]\n");
        context(&bench, &[("Dockerfile", &dockerfile)]);
        fs::copy("/bin/busybox", bench.path().join("context/busybox")).unwrap();
        let kraft = bench.kraft_copy();
        let mut building = run_by(&bench, user, &bench.command_of(&kraft, OWN_BUILD))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut step = None;
        eventually("the step", || {
            assert!(building.try_wait().unwrap().is_none(), "it ended too early");
            step = process_with(&time);
            step.is_some()
        });
        let step = step.unwrap();
        let init = status(&step)["PPid"].clone();
        for pid in [&init, &step] {
            // One more for the moment in which it starts the command.
            eventually("three descriptors", || descriptors(pid) == ["0", "1", "2"]);
            let facts = status(pid);
            assert_eq!((&*facts["NoNewPrivs"], &*facts["Seccomp"]), ("1", "2"));
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                assert_eq!(u64::from_str_radix(&facts[set], 16), Ok(DOCKER), "{set}");
            }
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let (_, after) = stat.rsplit_once(')').unwrap();
            assert_eq!(after.split_whitespace().nth(4), Some("0"), "a terminal");
        }
        assert!(status(&init)["NSpid"].ends_with("\t1"));
        building.kill().unwrap();
        building.wait().unwrap();
        let pids = [&step, &init].map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap());
        eventually("the end of the step", || !pids.into_iter().any(is_running));
        // What the killed build left goes with the next.
        let leftovers = || {
            let rootfs = bench.runtime().join("rootfs");
            let entries = fs::read_dir(rootfs).unwrap().flatten();
            entries.map(|entry| entry.file_name()).collect::<Vec<_>>()
        };
        assert_eq!(leftovers().len(), 1);
        let cleaning = bench.command_of(&kraft, ["store", "gc"]);
        drop(Outcome::of(&mut run_by(&bench, user, &cleaning)).success());
        assert!(leftovers().is_empty(), "{:?}", leftovers());
    }
}

#[test]
fn a_build_is_stopped_at_its_timeout() {
    let bench = Bench::new();
    let dockerfile = "FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"sleep\", \"600\"]\n";
    context(&bench, &[("Dockerfile", dockerfile)]);
    fs::copy("/bin/busybox", bench.path().join("context/busybox")).unwrap();
    let limit = ["--build-timeout", "300ms"];
    let outcome = bench.kraft(OWN_BUILD.into_iter().chain(limit));
    if outcome.stderr.contains("forbids user namespaces") {
        skip("this system forbids user namespaces");
        return;
    }
    assert_ne!(outcome.code, Some(0));
    let error = outcome.stderr;
    assert!(error.contains("took longer than 300ms"), "{error}");
    assert!(error.contains("--build-timeout"), "{error}");
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
