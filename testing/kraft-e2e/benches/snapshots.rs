//! How long it takes from `kraft` to the first answer of a server in a machine: booted, restored by
//! kraft, and restored by a bare QEMU; how long twenty copies take; and how long the first request to a
//! machine takes that sleeps.
//!
//! `cargo bench -p kraft-e2e --bench snapshots` prints medians of `ROUNDS=20` and their ratios, without
//! KVM, and of `SLEEPS` cycles, which are 50 a round. Needed are gcc, the built-in runtime (`make runtime`),
//! and for the other rows nginx, Python and Node of this host, and a `KRAFT_UNIKRAFT_SERVER=IMAGE`, a
//! Unikraft image that answers HTTP on port 8080. What is missing is left out.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::harness::{Bench, has_builtin_runtime, skip};
use kraft_e2e::linux::add_host_program;
use kraft_e2e::networks::compile;
use kraft_e2e::registry::free_port;
use serde_json::{Value, json};

/// A server in a machine.
struct Server {
    name: &'static str,
    /// What `kraft run` gets after its flags.
    target: Vec<String>,
    memory: &'static str,
    port: u16,
}

fn main() {
    if !has_builtin_runtime() {
        return skip("the built-in runtime is not built: make runtime");
    }
    let bench = Bench::new()
        .env("KRAFTKIT_OFFLINE", "true")
        .env("KRAFTKIT_BUILDER", "kraft");
    let rounds = std::env::var("ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let rounds = rounds.unwrap_or(20);
    println!(
        "{:<12} {:>9} {:>9} {:>9} {:>7} {:>9} {:>10}",
        "server", "cold ms", "kraft ms", "QEMU ms", "ratio", "save ms", "disk KiB"
    );
    for server in servers(&bench) {
        measure(&bench, &server, rounds);
    }
    let cycles = std::env::var("SLEEPS")
        .ok()
        .and_then(|text| text.parse().ok());
    sleeps(&bench, cycles.unwrap_or(50 * rounds));
}

fn servers(bench: &Bench) -> Vec<Server> {
    let mut servers = Vec::new();
    let mut add = |name, memory, programs: &[&str], files: &[(&str, &str)], command: &[&str]| {
        let found: Option<Vec<PathBuf>> = programs.iter().map(|name| locate(name)).collect();
        match found {
            Some(programs) => servers.push(Server {
                name,
                target: vec![project(bench, name, &programs, files, command)],
                memory,
                port: 8080,
            }),
            None => skip(&format!("{name} is not installed")),
        }
    };
    let nginx = "user root root;\ndaemon off;\nmaster_process off;\nerror_log stderr;\npid /nginx.pid;\n\
        events { worker_connections 64; }\nhttp { access_log off; server { listen 8080; \
        location / { return 200 'hello'; } } }\n";
    let files = [
        ("nginx.conf", nginx),
        ("var/log/nginx/error.log", ""),
        ("var/lib/nginx/x", ""),
        ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
    ];
    add(
        "nginx",
        "128Mi",
        &["nginx"],
        &files,
        &["/usr/sbin/nginx", "-c", "/nginx.conf"],
    );
    let python = "/usr/bin/python3";
    if let Some(library) = python_library() {
        let serve = [python, "-S", "-m", "http.server", "8080"];
        add(
            "python",
            "256Mi",
            &[python],
            &[("index.html", "hello")],
            &serve,
        );
        let to = bench
            .path()
            .join("python/root")
            .join(library.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let copied = Command::new("cp").arg("-a").args([&library, &to]).status();
        assert!(copied.unwrap().success());
    }
    let node = "require('http').createServer((q, a) => a.end('hello')).listen(8080)\n";
    add(
        "node",
        "1Gi",
        &["node"],
        &[("server.js", node)],
        &["node", "/server.js"],
    );
    if let Ok(image) = std::env::var("KRAFT_UNIKRAFT_SERVER") {
        servers.push(Server {
            name: "unikraft",
            target: vec![image],
            memory: "128Mi",
            port: 8080,
        });
    }
    servers
}

fn locate(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Path::new(program).canonicalize().ok();
    }
    let path = std::env::var_os("PATH")?;
    let mut all = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    all.find_map(|dir| {
        dir.join(program)
            .canonicalize()
            .ok()
            .filter(|file| file.is_file())
    })
}

/// Returns the directory of the modules of Debian's Python.
fn python_library() -> Option<PathBuf> {
    let program = Path::new("/usr/bin/python3").canonicalize().ok()?;
    let library = Path::new("/usr/lib").join(program.file_name()?);
    library.join("http/server.py").is_file().then_some(library)
}

/// Makes a project of programs of this host.
fn project(
    bench: &Bench,
    name: &str,
    programs: &[PathBuf],
    files: &[(&str, &str)],
    command: &[&str],
) -> String {
    let dir = bench.path().join(name);
    let root = dir.join("root");
    for program in programs {
        add_host_program(&root, program);
    }
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let program = programs[0].to_str().unwrap();
    let words: Vec<&str> = [program]
        .into_iter()
        .chain(command[1..].iter().copied())
        .collect();
    let words = serde_json::to_string(&words).unwrap();
    let dockerfile = format!("FROM scratch\nCOPY root /\nCMD {words}\n");
    fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    dir.to_str().unwrap().to_owned()
}

fn measure(bench: &Bench, server: &Server, rounds: usize) {
    let name = server.name;
    let (mut cold, mut kraft, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let run = |more: &[&str]| {
        let port = free_port();
        let published = format!("127.0.0.1:{port}:{}", server.port);
        let mut args = vec!["run", "-d", "-n", "one", "--port", &published];
        args.extend(more);
        let began = Instant::now();
        let child = bench
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let answered = first_answer(port, began);
        assert!(child.unwrap().wait().unwrap().success(), "{args:?}");
        answered
    };
    let booted: Vec<&str> = ["-W", "--memory", server.memory]
        .into_iter()
        .chain(server.target.iter().map(String::as_str))
        .collect();
    // Fills the caches, and makes the snapshot.
    run(&booted);
    let saved_card = card(&command_line(bench));
    let began = Instant::now();
    bench.ok(["snapshot", "create", "one", name]);
    let saved = began.elapsed();
    bench.ok(["rm", "--force", "one"]);
    run(&["--snapshot", name]);
    let raw = Raw::of(bench, name, &saved_card);
    bench.ok(["rm", "--force", "one"]);
    for _ in 0..rounds {
        cold.push(run(&booted));
        bench.ok(["rm", "--force", "one"]);
        kraft.push(run(&["--snapshot", name]));
        bench.ok(["rm", "--force", "one"]);
        bare.push(raw.restore());
    }
    let (cold, kraft, bare) = (median(cold), median(kraft), median(bare));
    let size = bench.json(["snapshot", "inspect", name])[0]["size"]
        .as_u64()
        .unwrap();
    println!(
        "{name:<12} {cold:>9.1} {kraft:>9.1} {bare:>9.1} {:>7.3} {:>9.1} {:>10}",
        kraft / cold,
        saved.as_secs_f64() * 1e3,
        size >> 10
    );
    forks(bench, name);
}

/// Starts twenty copies, and waits until all have answered.
fn forks(bench: &Bench, name: &str) {
    let began = Instant::now();
    let names = bench.ok(["fork", name, "--number", "20"]);
    let started = began.elapsed();
    let machines = bench.json(["ps", "-o", "json"]);
    let ports = machines.as_array().unwrap().iter().map(|machine| {
        let port = machine["ports"][0]["host_port"].as_u64().unwrap();
        u16::try_from(port).unwrap()
    });
    let ports: Vec<u16> = ports.collect();
    std::thread::scope(|scope| {
        for port in &ports {
            scope.spawn(|| first_answer(*port, began));
        }
    });
    let answered = began.elapsed();
    let copies = bench.json(["inspect"].into_iter().chain(names.lines()));
    let sizes = |field: &str| -> u64 {
        let pids = copies.as_array().unwrap().iter().map(|it| &it["pid"]);
        let size = |pid| memory_of(&format!("/proc/{pid}/smaps_rollup"), field);
        pids.map(size).sum()
    };
    println!(
        "  20 copies: `kraft fork` {:.0} ms, all answered after {:.0} ms; their memory: {} MiB, of which {} MiB \
         are shared",
        started.as_secs_f64() * 1e3,
        answered.as_secs_f64() * 1e3,
        sizes("Rss") >> 10,
        (sizes("Rss") - sizes("Pss")) >> 10
    );
    let names: Vec<&str> = names.lines().collect();
    bench.ok(["rm", "--force"].into_iter().chain(names));
}

/// Answers each request with its number.
const COUNTER: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(server, (void *)&any, sizeof any) || listen(server, 64)) return 1;
    for (int number = 1;; number++) {
        char request[4096];
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request) < 0) return 2;
        dprintf(client, "%d\n", number);
        shutdown(client, SHUT_WR);
        while (read(client, request, sizeof request) > 0);
        close(client);
    }
}
"#;

/// Asks a machine again and again that sleeps in between, and compares the times with a bare restore.
fn sleeps(bench: &Bench, cycles: usize) {
    compile(bench, "counter", COUNTER);
    let run = |more: &[&str]| {
        let port = free_port();
        let published = format!("127.0.0.1:{port}:8080");
        let mut args = vec!["run", "-W", "-d", "-n", "one", "--port", &published];
        args.extend(more);
        args.push("./counter");
        bench.ok(args);
        port
    };
    let port = run(&[]);
    first_answer(port, Instant::now());
    let saved_card = card(&command_line(bench));
    bench.ok(["snapshot", "create", "one", "counter"]);
    bench.ok(["rm", "--force", "one"]);
    let published = format!("127.0.0.1:{}:8080", free_port());
    let restore = ["run", "-d", "-n", "one", "--snapshot", "counter", "--port"];
    bench.ok(restore.into_iter().chain([published.as_str()]));
    let raw = Raw::of(bench, "counter", &saved_card);
    bench.ok(["rm", "--force", "one"]);
    let bare = median((0..cycles.clamp(1, 20)).map(|_| raw.restore()).collect());

    let port = run(&["--sleep-after", "100ms"]);
    let (mut times, mut last) = (Vec::new(), 0);
    for _ in 0..cycles {
        bench.wait_for_state("one", "asleep");
        let began = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"?").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        times.push(began.elapsed());
        let number: u64 = answer.trim().parse().expect("a request was lost");
        assert!(last == 0 || number == last + 1, "{number} after {last}");
        last = number;
    }
    bench.ok(["rm", "--force", "one"]);
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    let limit = bare + 20.0;
    let late = times.iter().filter(|it| it.as_secs_f64() * 1e3 > limit);
    println!(
        "\n{:<12} {:>9} {:>9} {:>9} {:>9} {:>17}",
        "asleep", "cycles", "median", "99 %", "longest", "later than QEMU+20"
    );
    println!(
        "{:<12} {cycles:>9} {:>9.1} {:>9.1} {:>9.1} {:>17}   (QEMU {bare:.1} ms)",
        "counter",
        at(50),
        at(99),
        at(100),
        late.count()
    );
}

/// Returns a field of `/proc/PID/smaps_rollup` in KiB.
fn memory_of(path: &str, field: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let size = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    size.unwrap_or_default()
}

fn first_answer(port: u16, began: Instant) -> Duration {
    let answers = || -> Option<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()
    };
    while answers().is_none() {
        assert!(began.elapsed() < Duration::from_mins(2), "no answer");
        std::thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Returns the command line of the VMM of the machine `one`.
fn command_line(bench: &Bench) -> Vec<String> {
    let machine = bench.json(["inspect", "one"])[0].clone();
    let line = fs::read(format!("/proc/{}/cmdline", machine["pid"])).unwrap();
    let argv = String::from_utf8(line).unwrap();
    let words = argv.trim_end_matches('\0').split('\0');
    words.map(str::to_owned).collect()
}

/// Returns the MAC address of the card in a command line.
fn card(argv: &[String]) -> String {
    let address = argv.iter().find_map(|word| word.split_once("mac="));
    address.unwrap().1[..17].to_owned()
}

/// The QEMU that restores a machine, without kraft.
struct Raw {
    dir: PathBuf,
    argv: Vec<String>,
    state: Vec<u8>,
    port: u16,
    machine_port: u64,
}

impl Raw {
    /// Takes the command line of the machine `one`, and the files of a snapshot.
    ///
    /// Its guest keeps the card that it had: QEMU gets the same one.
    fn of(bench: &Bench, snapshot: &str, saved_card: &str) -> Self {
        let machine = bench.json(["inspect", "one"])[0].clone();
        let argv = command_line(bench);
        let own = card(&argv);
        let argv = argv.into_iter().map(|word| word.replace(&own, saved_card));
        let dir = bench.path().join(format!("raw-{snapshot}"));
        fs::create_dir_all(dir.join("saved")).unwrap();
        let inspected = bench.json(["snapshot", "inspect", snapshot])[0].clone();
        let files = Path::new(inspected["dir"].as_str().unwrap()).to_owned();
        fs::hard_link(files.join("memory"), dir.join("saved/memory")).unwrap();
        fs::copy(files.join("kernel"), dir.join("kernel")).unwrap();
        let port = machine["ports"][0]["host_port"].as_u64().unwrap();
        Self {
            dir,
            argv: argv.collect(),
            state: fs::read(files.join("state")).unwrap(),
            port: port.try_into().unwrap(),
            machine_port: machine["ports"][0]["machine_port"].as_u64().unwrap(),
        }
    }

    fn restore(&self) -> Duration {
        for name in ["control.sock", "migration.sock", "events.out"] {
            let _ = fs::remove_file(self.dir.join(name));
        }
        fs::write(
            self.dir.join("events.in"),
            "{\"execute\":\"qmp_capabilities\"}\n",
        )
        .unwrap();
        fs::write(self.dir.join("events.out"), "").unwrap();
        let began = Instant::now();
        let mut child = Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.incoming(&mut child);
        let answered = first_answer(self.port, began);
        child.kill().unwrap();
        child.wait().unwrap();
        answered
    }

    fn incoming(&self, child: &mut Child) {
        let control = loop {
            if let Ok(stream) = UnixStream::connect(self.dir.join("control.sock")) {
                break stream;
            }
            assert_eq!(child.try_wait().unwrap(), None);
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut answers = BufReader::new(control.try_clone().unwrap()).lines();
        let mut control = control;
        let mut execute = |command: Value| -> Value {
            writeln!(control, "{command}").unwrap();
            loop {
                let line: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
                if !line["return"].is_null() {
                    return line["return"].clone();
                }
            }
        };
        execute(json!({"execute": "qmp_capabilities"}));
        let uri = json!({"uri": "unix:migration.sock"});
        execute(json!({"execute": "migrate-incoming", "arguments": uri}));
        let mut stream = UnixStream::connect(self.dir.join("migration.sock")).unwrap();
        stream.write_all(&self.state).unwrap();
        drop(stream);
        while execute(json!({"execute": "query-status"}))["status"] == "inmigrate" {
            std::thread::sleep(Duration::from_millis(1));
        }
        let port = format!(
            "hostfwd_add net0 tcp:127.0.0.1:{}-:{}",
            self.port, self.machine_port
        );
        let port = json!({"command-line": port});
        execute(json!({"execute": "human-monitor-command", "arguments": port}));
        execute(json!({"execute": "cont"}));
    }
}
