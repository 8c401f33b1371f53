//! Homes of root and of an ordinary user on a host with networks, and what is left of them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kraft_e2e::harness::{Bench, Outcome, eventually, has_builtin_runtime, skip, wrapped};
use kraft_e2e::registry::installed;
use serde_json::Value;

/// The user id of the ordinary user.
const USER: u32 = 1000;

/// Makes a device that every user may open for one program and its children, and becomes the user.
const AS_USER: &str =
    r#"mount --make-rprivate / && mount --bind "$1" /dev/net/tun && shift && exec "$@""#;

/// A home with programs, of root or of an ordinary user.
pub(crate) struct Place {
    pub(crate) bench: Bench,
    kraft: PathBuf,
    /// The command that becomes the user; empty for the user who runs the tests.
    user: Vec<String>,
}

impl Place {
    /// Makes a home with C programs, each a name and a text; `None` (and said so) if this host has no
    /// networks.
    pub(crate) fn new(ordinary: bool, programs: &[(&str, &str)]) -> Option<Self> {
        let why = if !has_builtin_runtime() {
            Some("the built-in runtime is not built: make runtime")
        } else if !installed("gcc") || !installed("slirp4netns") || !installed("ip") {
            Some("gcc, slirp4netns or ip is not installed: scripts/setup.sh test")
        } else if ordinary && !rustix::process::geteuid().is_root() {
            Some("only root can become another user")
        } else {
            None
        };
        if let Some(why) = why {
            skip(why);
            return None;
        }
        let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
        for (name, text) in programs {
            compile(&bench, name, text);
        }
        let kraft = bench.kraft_copy();
        let mut user = Vec::new();
        if ordinary {
            let tun = bench.path().join("tun");
            let mut make = Command::new("mknod");
            let made = make.arg(&tun).args(["c", "10", "200"]).status().unwrap();
            fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let become_user = bench.hand_over(USER);
            if !made.success()
                || fs::set_permissions(&tun, fs::Permissions::from_mode(0o666)).is_err()
            {
                skip("this host makes no devices");
                return None;
            }
            let enter = ["unshare", "--mount", "sh", "-c", AS_USER, "sh"].map(str::to_owned);
            user.extend(enter);
            user.push(tun.to_str().unwrap().to_owned());
            user.extend(become_user);
        }
        let place = Self { bench, kraft, user };
        if let Some(why) = place.host_refuses() {
            skip(&why);
            return None;
        }
        Some(place)
    }

    /// Returns what this host, or a container around it, does not let the user do.
    fn host_refuses(&self) -> Option<String> {
        let root = self.user.is_empty() && rustix::process::geteuid().is_root();
        let user_namespace = if root { "" } else { "--user --map-root-user" };
        let bridge = format!("unshare {user_namespace} --net ip link add probe type bridge");
        [
            (
                "`/dev/net/tun`",
                "test -c /dev/net/tun && exec 3<>/dev/net/tun",
            ),
            ("bridges in namespaces", &bridge),
        ]
        .into_iter()
        .find_map(|(what, text)| {
            let words = ["sh", "-c", text].map(str::to_owned);
            let words: Vec<&String> = self.user.iter().chain(&words).collect();
            let (program, words) = words.split_first()?;
            let mut probe = Command::new(program);
            let output = probe.args(words).stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            (!output.status.success()).then(|| format!("this user has no {what} here ({said})"))
        })
    }

    pub(crate) fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let command = self.bench.command_of(&self.kraft, args);
        let Some((program, words)) = self.user.split_first() else {
            return command;
        };
        let mut wrapper = Command::new(program);
        wrapper.args(words);
        wrapped(wrapper, &command)
    }

    pub(crate) fn kraft<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Outcome {
        Outcome::of(&mut self.command(args))
    }

    pub(crate) fn ok<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        self.kraft(args).success().stdout
    }

    pub(crate) fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Returns the process of the holder of a network.
    pub(crate) fn holder(&self, network: &str) -> Option<i32> {
        let path = self.bench.runtime().join("networks").join(network);
        let record = fs::read(path.join("holder.json")).ok()?;
        let record: Value = serde_json::from_slice(&record).ok()?;
        i32::try_from(record["process"]["pid"].as_i64()?).ok()
    }

    /// Returns the processes that live in this home or belong to one of its networks.
    fn processes(&self) -> Vec<String> {
        let home = self.bench.path().to_str().unwrap();
        let mine = |pid: &str| {
            let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let dir = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let carrier = command.contains("slirp4netns") && !holder_lives(&command);
            let ours = command.contains(home) || dir.starts_with(home) || carrier;
            let dead = String::from_utf8_lossy(&read("stat")).contains(") Z ");
            (ours && !dead).then_some(command)
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| {
                name.parse::<u32>()
                    .is_ok_and(|pid| pid != std::process::id())
            })
            .filter_map(|pid| mine(&pid))
            .collect()
    }

    /// Removes everything, and insists that nothing is left of it.
    pub(crate) fn nothing_is_left(&self, before: &str) {
        self.kraft(["rm", "--all", "--force"]);
        for name in self.ok(["net", "prune"]).lines() {
            assert!(!name.is_empty());
        }
        assert_eq!(
            self.json(["net", "ls", "-o", "json"]),
            Value::Array(Vec::new())
        );
        let networks = self.bench.runtime().join("networks");
        assert_eq!(fs::read_dir(networks).unwrap().count(), 0);
        eventually("no process is left", || self.processes().is_empty());
        assert_eq!(interfaces(), before);
    }
}

/// Returns whether the holder exists whose network a way out serves: `… /proc/PID/ns/net …`.
fn holder_lives(command: &str) -> bool {
    let pid = command
        .split("/proc/")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    pid.is_some_and(|pid| Path::new("/proc").join(pid).exists())
}

/// Returns the names of the host's interfaces.
pub(crate) fn interfaces() -> String {
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.split(':').nth(1));
    names.collect::<Vec<_>>().join(",")
}

fn compile(bench: &Bench, name: &str, text: &str) {
    let source = bench.path().join(format!("{name}.c"));
    fs::write(&source, text).unwrap();
    let mut compile = Command::new("gcc");
    compile.arg("-static").arg("-w").arg("-o");
    compile.arg(bench.path().join(name)).arg(&source);
    let output = compile.stderr(Stdio::null()).status().unwrap();
    assert!(output.success());
}

/// Requests a page of the host; `None` if it does not come.
pub(crate) fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split("\r\n\r\n").nth(1).map(str::to_owned)
}
