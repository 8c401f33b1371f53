//! Networks of machines for tests and benchmarks: a home of root or of an ordinary user, guests that
//! serve and ask, and what of a network is visible on the host.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Bench, Outcome, eventually, has_builtin_runtime, is_running, skip, wrapped};
use crate::registry::installed;

/// Answers HTTP requests and packets on port 8080 with its argument.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int count, char **words) {
    int server = socket(AF_INET, SOCK_STREAM, 0), packets = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (count < 2 || bind(server, (void *)&any, sizeof any) || listen(server, 8)) return 1;
    if (bind(packets, (void *)&any, sizeof any)) return 1;
    for (;;) {
        char request[4096];
        struct pollfd both[] = {{server, POLLIN}, {packets, POLLIN}};
        poll(both, 2, -1);
        if (both[1].revents) {
            struct sockaddr_in from;
            socklen_t size = sizeof from;
            recvfrom(packets, request, sizeof request, 0, (void *)&from, &size);
            int length = snprintf(request, sizeof request, "hello from %s\n", words[1]);
            sendto(packets, request, length, 0, (void *)&from, size);
        }
        if (!both[0].revents) continue;
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request) < 0) return 2;
        dprintf(client, "HTTP/1.0 200 OK\r\n\r\nhello from %s\n", words[1]);
        close(client);
    }
}
"#;

/// Makes the program `server` in a bench: it answers HTTP requests on port 8080 with its argument.
///
/// # Panics
/// If it cannot be compiled.
pub fn make_server(bench: &Bench) {
    compile(bench, "server", SERVER);
}

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

/// Prints how a machine sees itself: its name, its name servers, and its cards.
const WHO: &str = r#"
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
int main() {
    char text[4096];
    gethostname(text, sizeof text);
    printf("name %s\n", text);
    FILE *servers = fopen("/etc/resolv.conf", "r");
    while (servers && fgets(text, sizeof text, servers)) fputs(text, stdout);
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    for (int i = 0; i < 5; i++) {
        struct ifreq card = {0}, mac = {0};
        snprintf(card.ifr_name, sizeof card.ifr_name, "eth%d", i);
        mac = card;
        if (ioctl(any, SIOCGIFADDR, &card) || ioctl(any, SIOCGIFHWADDR, &mac)) break;
        unsigned char *byte = (void *)mac.ifr_hwaddr.sa_data;
        printf("eth%d %s %02x:%02x:%02x:%02x:%02x:%02x\n", i,
               inet_ntoa(((struct sockaddr_in *)&card.ifr_addr)->sin_addr),
               byte[0], byte[1], byte[2], byte[3], byte[4], byte[5]);
    }
    return 0;
}
"#;

/// The user id of the ordinary user.
const USER: u32 = 1000;

/// Makes a device that every user may open for one program and its children, and becomes the user.
const AS_USER: &str =
    r#"mount --make-rprivate / && mount --bind "$1" /dev/net/tun && shift && exec "$@""#;

/// A home with programs for guests, of root or of an ordinary user.
#[derive(Debug)]
pub struct Place {
    /// The home.
    pub bench: Bench,
    kraft: PathBuf,
    /// The command that becomes the user; empty for the user who runs the tests.
    user: Vec<String>,
}

impl Place {
    /// Makes a home with `server`, `fetch` and `who`; `None`, with a message, if this host has no
    /// networks for the user.
    ///
    /// # Panics
    /// If the programs cannot be compiled.
    #[must_use]
    pub fn new(ordinary: bool) -> Option<Self> {
        Self::with(
            ordinary,
            &[("server", SERVER), ("fetch", FETCH), ("who", WHO)],
        )
    }

    /// Makes a home with C programs, each a name and a text.
    ///
    /// # Panics
    /// If they cannot be compiled.
    #[must_use]
    pub fn with(ordinary: bool, programs: &[(&str, &str)]) -> Option<Self> {
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
            let printed = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            (!output.status.success()).then(|| format!("this user has no {what} ({printed})"))
        })
    }

    /// Prepares a `kraft` of the user with arguments.
    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let command = self.bench.command_of(&self.kraft, args);
        let Some((program, words)) = self.user.split_first() else {
            return command;
        };
        let mut wrapper = Command::new(program);
        wrapper.args(words);
        wrapped(wrapper, &command)
    }

    /// Runs `kraft` to its end.
    pub fn kraft<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Outcome {
        Outcome::of(&mut self.command(args))
    }

    /// Runs `kraft` and insists on success; returns what it wrote to stdout.
    pub fn ok<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        self.kraft(args).success().stdout
    }

    /// Runs `kraft ... -o json` and returns the value.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Runs the server in a network, in the background, as the machine `name` with more flags. It greets
    /// with its name.
    pub fn serve(&self, network: &str, name: &str, more: &[&str]) {
        let run = ["run", "--detach", "--network", network, "--name", name];
        let server = ["./server", name];
        self.ok(run.iter().chain(more).chain(&server).copied());
    }

    /// Runs the client in a network, and returns what it printed.
    pub fn fetch(&self, network: &str, pairs: &[&str]) -> String {
        let run = ["run", "--rm", "--network", network, "./fetch"];
        let printed = self.ok(run.iter().chain(pairs).copied());
        printed.replace('\r', "")
    }

    /// Returns the process of the holder of a network.
    #[must_use]
    pub fn holder(&self, network: &str) -> Option<i32> {
        let path = self.bench.runtime().join("networks").join(network);
        let record = fs::read(path.join("holder.json")).ok()?;
        let record: Value = serde_json::from_slice(&record).ok()?;
        i32::try_from(record["process"]["pid"].as_i64()?).ok()
    }

    /// Returns the processes that live in this home or belong to one of its networks.
    ///
    /// # Panics
    /// If `/proc` cannot be read.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
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
    ///
    /// # Panics
    /// If something is left.
    pub fn nothing_is_left(&self, before: &str) {
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
        eventually("the host's network is as before", || traces() == before);
    }

    /// Removes all machines, and insists that nothing is left of them; the networks stay.
    ///
    /// # Panics
    /// If something is left.
    pub fn no_machine_is_left(&self) {
        self.ok(["rm", "--all", "--force"]);
        for dir in ["machines", "names", "partial"] {
            let dir = self.bench.runtime().join(dir);
            let left: Vec<PathBuf> = fs::read_dir(&dir)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
                .collect();
            assert_eq!(left, [] as [PathBuf; 0]);
        }
        eventually("no process is left", || self.processes().is_empty());
    }

    /// Returns the processes of this place, and of one of its networks, with a word in their command
    /// line.
    ///
    /// # Panics
    /// If `/proc` cannot be read.
    #[must_use]
    pub fn pids(&self, network: &str, word: &str) -> Vec<i32> {
        let home = self.bench.path().to_str().unwrap();
        let holder = self.holder(network).map(|pid| format!("/proc/{pid}/"));
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let dir = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let of_holder = holder.as_ref().is_some_and(|it| command.contains(it));
            command.contains(word) && (command.contains(home) || dir.starts_with(home) || of_holder)
        })
        .collect()
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

/// Returns the hardware address of an interface in the network of a process.
///
/// # Panics
/// If `ip` cannot be run.
#[must_use]
pub fn hardware_address(process: i32, interface: &str) -> String {
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

/// Returns everything of the host's network that a network of machines could leave: the names of its
/// interfaces, its routes, its rules for packets (if `nft` is installed) and the named namespaces.
///
/// # Panics
/// If `ip` cannot be run.
#[must_use]
pub fn traces() -> String {
    let mut text = interfaces();
    for command in [
        &["ip", "route"][..],
        &["nft", "--stateless", "list", "ruleset"],
        &["ip", "netns"],
    ] {
        if installed(command[0]) {
            let output = Command::new(command[0]).args(&command[1..]).output();
            text += &String::from_utf8_lossy(&output.unwrap().stdout);
        }
    }
    text
}

/// Returns the names of the host's interfaces.
fn interfaces() -> String {
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.split(':').nth(1));
    names.collect::<Vec<_>>().join(",")
}

/// Compiles a C program for guests, linked statically, into the home.
/// Compiles a program in a bench, linked statically.
///
/// # Panics
/// If it cannot be compiled.
pub fn compile(bench: &Bench, name: &str, text: &str) {
    let source = bench.path().join(format!("{name}.c"));
    fs::write(&source, text).unwrap();
    let mut compile = Command::new("gcc");
    compile.arg("-static").arg("-w").arg("-o");
    compile.arg(bench.path().join(name)).arg(&source);
    let output = compile.stderr(Stdio::null()).status().unwrap();
    assert!(output.success());
}

/// Requests a page of the host; `None` if it does not come.
#[must_use]
pub fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split("\r\n\r\n").nth(1).map(str::to_owned)
}

/// Kills a process and waits until it has ended.
pub fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
        eventually("the process ends", || !is_running(pid));
    }
}
