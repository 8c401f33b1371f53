//! Suspended machines, snapshots and forks, on the built-in runtime and QEMU.
//!
//! `KRAFT_TORTURE=100` kills that many processes instead of a few.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use kraft_e2e::harness::{Bench, eventually};
use kraft_e2e::networks::Place;
use kraft_e2e::registry::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::runtime::{get, program, with_program};

/// Answers each request with a number, and with what may only be its own.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(server, (void *)&any, sizeof any) || listen(server, 8)) return 1;
    printf("listening\n");
    for (int number = 1;; number++) {
        char request[4096] = {0};
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request - 1) < 0) return 2;
        unsigned long random;
        getrandom(&random, sizeof random, 0);
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        struct utsname names;
        uname(&names);
        struct ifreq card = {.ifr_name = "eth0"};
        ioctl(server, SIOCGIFHWADDR, &card);
        unsigned char *mac = (void *)card.ifr_hwaddr.sa_data;
        dprintf(client, "HTTP/1.0 200 OK\r\n\r\n%d %016lx %ld.%03ld %s %02x%02x%02x%02x%02x%02x\n",
            number, random, (long)now.tv_sec, now.tv_nsec / 1000000, names.nodename,
            mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        close(client);
    }
}
"#;

/// An answer of the server.
#[derive(Debug)]
struct Answer {
    number: u32,
    random: String,
    /// How far its clock is from that of the host, in seconds.
    off: f64,
    host: String,
    mac: String,
}

fn ask(port: u16) -> Answer {
    let mut answer = None;
    eventually("the server answers", || {
        answer = get(port, "/");
        answer.is_some()
    });
    read(&answer.unwrap())
}

fn read(answer: &str) -> Answer {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let words: Vec<&str> = answer.lines().last().unwrap().split(' ').collect();
    let [number, random, time, host, mac] = words.as_slice() else {
        panic!("{answer}");
    };
    Answer {
        number: number.parse().unwrap(),
        random: (*random).to_owned(),
        off: now.unwrap().as_secs_f64() - time.parse::<f64>().unwrap(),
        host: (*host).to_owned(),
        mac: (*mac).to_owned(),
    }
}

/// A home with the server; `None` if the built-in runtime or a compiler is missing.
fn bench() -> Option<(Bench, PathBuf)> {
    with_program(SERVER)
}

fn start(bench: &Bench, server: &Path, name: &str, more: &[&str]) -> u16 {
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let mut args = vec!["run", "--detach", "--name", name, "--port", &published];
    args.extend(more);
    args.push(server.to_str().unwrap());
    bench.ok(&args);
    port
}

fn inspect(bench: &Bench, name: &str) -> Value {
    bench.json(["inspect", name])[0].clone()
}

fn dir(bench: &Bench, name: &str) -> PathBuf {
    let id = inspect(bench, name)["id"].as_str().unwrap().to_owned();
    bench.runtime().join("machines").join(id)
}

fn host_port(bench: &Bench, name: &str) -> u16 {
    let ports = inspect(bench, name)["ports"].clone();
    ports[0]["host_port"].as_u64().unwrap().try_into().unwrap()
}

#[test]
fn a_suspended_machine_continues_where_it_stopped() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = start(&bench, &server, "web", &["--restart", "always"]);
    let first = ask(port);
    assert_eq!(first.number, 1);
    assert_eq!(bench.ok(["suspend", "web"]), "web\n");
    let machine = inspect(&bench, "web");
    assert_eq!(machine["state"], "suspended");
    assert_eq!(machine["pid"], Value::Null);
    assert_eq!(get(port, "/"), None);
    let saved = dir(&bench, "web").join("saved");
    for file in ["memory", "state", "saved.json"] {
        let mode = fs::metadata(saved.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let again = bench.kraft(["suspend", "web"]).exits(1);
    assert!(
        again.stderr.contains("already suspended"),
        "{}",
        again.stderr
    );

    // Its clock is not that of when it was suspended.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(bench.ok(["resume", "web"]), "web\n");
    assert_eq!(bench.state("web"), "running");
    let second = ask(port);
    assert_eq!(second.number, 2);
    assert!(second.off.abs() < 1.0, "{second:?}");
    assert_ne!(second.random, first.random);
    assert_eq!((&second.host, &second.mac), (&first.host, &first.mac));
    assert!(!saved.exists());
    assert!(bench.ok(["logs", "web"]).contains("listening"));

    // The second time, its memory is that of a file already. A paused machine can be suspended.
    bench.ok(["pause", "web"]);
    bench.ok(["suspend", "web"]);
    bench.ok(["start", "--detach", "web"]);
    assert_eq!(ask(port).number, 3);

    // Stopping it, it ends; what was saved is gone.
    bench.ok(["suspend", "web"]);
    bench.ok(["stop", "web"]);
    assert_eq!(bench.state("web"), "exited");
    assert!(!saved.exists());
    bench.ok(["start", "--detach", "web"]);
    assert_eq!(ask(port).number, 1);
    bench.ok(["suspend", "web"]);
    bench.ok(["rm", "web"]);
    assert!(!saved.exists());
}

/// Changes a field of what was saved.
fn set(saved: &Path, pointer: &str, value: Value) {
    let path = saved.join("saved.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    *json.pointer_mut(pointer).unwrap() = value;
    fs::write(&path, json.to_string()).unwrap();
}

#[test]
fn what_does_not_fit_is_refused_and_a_cold_start_is_offered() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = start(&bench, &server, "web", &[]);
    assert_eq!(ask(port).number, 1);
    bench.ok(["suspend", "web"]);
    let saved = dir(&bench, "web").join("saved");
    let manifest = fs::read(saved.join("saved.json")).unwrap();
    let refused = |reason: &str| {
        let outcome = bench.kraft(["resume", "web"]).exits(1);
        assert!(
            outcome.stderr.contains(reason),
            "{reason}: {}",
            outcome.stderr
        );
        let hint = "kraft start --cold web";
        assert!(outcome.stderr.contains(hint), "{}", outcome.stderr);
        assert_eq!(bench.state("web"), "suspended");
        fs::write(saved.join("saved.json"), &manifest).unwrap();
    };
    for (pointer, value, reason) in [
        (
            "/conditions/vmm",
            "QEMU 9.9.9",
            "its VMM was `QEMU 9.9.9` and is `QEMU ",
        ),
        (
            "/conditions/cpu",
            "qemu64",
            "its processor was `qemu64` and is `max` now",
        ),
        ("/conditions/board", "pc-i440fx-99.9", "pc-i440fx-99.9"),
        ("/kernel/sha256", "00", "has changed since it was saved"),
    ] {
        set(&saved, pointer, Value::from(value));
        refused(reason);
    }
    set(
        &saved,
        "/conditions/devices",
        serde_json::json!(["pvpanic"]),
    );
    refused("its list of devices was `pvpanic` and is `");
    set(&saved, "/version", Value::from(99));
    refused("was saved by a newer kraft");
    fs::write(saved.join("saved.json"), "{").unwrap();
    refused("is damaged");

    let memory = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(saved.join("memory"))
        .unwrap();
    let length = memory.metadata().unwrap().len();
    memory.set_len(8192).unwrap();
    refused("bytes instead of");
    memory.set_len(length).unwrap();
    refused("its content has changed");
    assert_eq!(bench.ok(["start", "--cold", "--detach", "web"]), "web\n");
    assert_eq!(ask(port).number, 1);

    bench.ok(["suspend", "web"]);
    let state = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(saved.join("state"))
        .unwrap();
    let mut byte = [0];
    state.read_exact_at(&mut byte, 5000).unwrap();
    state.write_all_at(&[!byte[0]], 5000).unwrap();
    let outcome = bench.kraft(["resume", "web"]).exits(1);
    assert!(
        outcome.stderr.contains("its content has changed"),
        "{}",
        outcome.stderr
    );
    state.write_all_at(&byte, 5000).unwrap();
    bench.ok(["resume", "web"]);
    assert_eq!(ask(port).number, 2);
}

#[test]
fn machines_continue_from_a_snapshot_with_names_and_addresses_of_their_own() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = start(&bench, &server, "web", &[]);
    assert_eq!(ask(port).number, 1);
    assert_eq!(bench.ok(["snapshot", "create", "web", "ready"]), "ready\n");
    assert_eq!(ask(port).number, 2, "the machine continues");
    let taken = bench.kraft(["snapshot", "create", "web", "ready"]).exits(1);
    assert!(taken.stderr.contains("already exists"), "{}", taken.stderr);
    let listed = bench.json(["snapshot", "ls", "-o", "json"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["machine"]),
        (&"ready".into(), &"web".into())
    );
    let inspected = bench.json(["snapshot", "inspect", "ready"]);
    assert_eq!(inspected[0]["conditions"]["cpu"], "max");

    // As one file, it becomes a snapshot elsewhere.
    bench.ok(["snapshot", "export", "ready", "--output", "ready.tar.gz"]);
    let archive = fs::metadata(bench.path().join("ready.tar.gz")).unwrap();
    assert_eq!(archive.permissions().mode() & 0o777, 0o600);
    assert_eq!(
        bench.ok(["snapshot", "import", "--input", "ready.tar.gz", "copy"]),
        "copy\n"
    );
    let sums = |name| {
        let inspected = bench.json(["snapshot", "inspect", name])[0].clone();
        (inspected["memory"].clone(), inspected["state"].clone())
    };
    assert_eq!(sums("ready"), sums("copy"));
    bench.ok(["fork", "copy", "--name", "far"]);
    assert_eq!(ask(host_port(&bench, "far-1")).number, 2);
    let half = fs::read(bench.path().join("ready.tar.gz")).unwrap();
    fs::write(bench.path().join("half.tar.gz"), &half[..half.len() / 2]).unwrap();
    let cut = bench.kraft(["snapshot", "import", "--input", "half.tar.gz", "half"]);
    assert_eq!(cut.code, Some(1), "{}", cut.stderr);
    assert_eq!(bench.kraft(["snapshot", "inspect", "half"]).code, Some(3));

    // The machine and what it was made of may be gone.
    bench.ok(["rm", "--force", "web"]);
    let other = free_port();
    let published = format!("127.0.0.1:{other}:8080");
    let run = [
        "run",
        "--detach",
        "--snapshot",
        "ready",
        "--name",
        "two",
        "--port",
        &published,
    ];
    let started = bench.command(run).stdout(Stdio::piped()).spawn().unwrap();
    // Who connects as soon as the port is open gets an answer.
    let mut first = None;
    eventually("the port is open", || {
        first = TcpStream::connect(("127.0.0.1", other)).ok();
        first.is_some()
    });
    let mut first = first.unwrap();
    first
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    first.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    let two = read(&answer);
    let started = started.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&started.stdout), "two\n");
    assert_eq!((two.number, two.host.as_str()), (2, "two"));

    let names = bench.ok(["fork", "ready", "--number", "5"]);
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(
        names,
        ["ready-1", "ready-2", "ready-3", "ready-4", "ready-5"]
    );
    let of_machine = bench.ok(["fork", "two"]);
    assert_eq!(of_machine, "two-1\n");
    bench.ok(["snapshot", "rm", "ready"]);
    let (mut randoms, mut macs) = (BTreeSet::new(), BTreeSet::new());
    for name in names.into_iter().chain(["two-1"]) {
        let answer = ask(host_port(&bench, name));
        assert_eq!(answer.number, if name == "two-1" { 3 } else { 2 }, "{name}");
        assert_eq!(answer.host, name);
        assert!(answer.off.abs() < 1.0, "{answer:?}");
        randoms.insert(answer.random);
        macs.insert(answer.mac);
    }
    assert_eq!((randoms.len(), macs.len()), (6, 6));
    assert_eq!(shared_memory(&bench, "ready-1"), Some(true));
    // One of them is suspended like any other machine.
    bench.ok(["suspend", "ready-3"]);
    bench.ok(["resume", "ready-3"]);
    assert_eq!(ask(host_port(&bench, "ready-3")).number, 3);
    assert_eq!(
        fs::read_dir(bench.runtime().join("partial"))
            .unwrap()
            .count(),
        0
    );
    let missing = bench.kraft(["run", "--snapshot", "redy"]).exits(3);
    assert!(
        missing.stderr.contains("no snapshot `redy`"),
        "{}",
        missing.stderr
    );
}

/// Returns whether a machine shares pages of its memory with another process.
fn shared_memory(bench: &Bench, name: &str) -> Option<bool> {
    let pid = inspect(bench, name)["pid"].as_u64().unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let memory = maps.split("/saved/memory").nth(1)?;
    let shared = memory
        .lines()
        .find(|line| line.starts_with("Shared_Clean:"))?;
    let kib: u64 = shared.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib > 100)
}

#[test]
fn a_machine_with_volumes_is_not_saved() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = start(&bench, &server, "web", &["--volume", "data:/data"]);
    assert_eq!(ask(port).number, 1);
    let outcome = bench.kraft(["suspend", "web"]).exits(1);
    assert!(
        outcome.stderr.contains("mounts volumes"),
        "{}",
        outcome.stderr
    );
    assert_eq!(ask(port).number, 2);
}

/// Returns the processes whose command line has all of these words.
pub(crate) fn pids(words: &[&str]) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pid = |entry: fs::DirEntry| -> Option<i32> {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let found = !line.is_empty() && words.iter().all(|word| line.contains(word));
        found.then(|| entry.file_name().to_str()?.parse().ok())?
    };
    all.filter_map(pid).collect()
}

/// Returns how many processes the tests of kills kill.
pub(crate) fn kills(usual: u32) -> u32 {
    let wanted = std::env::var("KRAFT_TORTURE").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Suspends, restores and saves the machine `web` again and again, and kills what does that at a random
/// moment. `vmm` are words of the command line of its VMM, `goes_on` checks that it continues where it was.
pub(crate) fn kill_at_random(
    bench: &Bench,
    rounds: u32,
    vmm: &[&str],
    mut goes_on: impl FnMut(&str),
) {
    let id = inspect(bench, "web")["id"].as_str().unwrap().to_owned();
    // How long the actions take here.
    let mut whole = Duration::ZERO;
    for action in ["suspend", "resume"] {
        let began = Instant::now();
        bench.ok([action, "web"]);
        whole = whole.max(began.elapsed());
    }
    let vmms = || pids(&[vmm, &[&id]].concat());
    let mut seed = u64::from(std::process::id());
    for round in 0..rounds {
        let state = bench.state("web");
        let args = match (state.as_str(), round % 3) {
            ("suspended", _) => vec!["resume", "web"],
            (_, 0) => vec!["snapshot", "create", "web", "shot"],
            _ => vec!["suspend", "web"],
        };
        let at = format!("round {round}: {args:?}");
        let monitors = || pids(&["__monitor", &id]);
        let mut command = bench.command(&args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let before = monitors();
        let mut child = command.spawn().unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let share = f64::from(u32::try_from(seed >> 33).unwrap()) / f64::from(u32::MAX >> 1);
        std::thread::sleep(whole.mul_f64(share));
        let victims = match round % 4 {
            0 => vec![child.id().cast_signed()],
            _ => monitors(),
        };
        // The monitor of a machine that runs already is spared: it has nothing to do with it.
        for pid in victims.into_iter().filter(|pid| !before.contains(pid)) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        let _ = child.wait();
        // One that continues without the `kraft` that asked for it has its time.
        let mut state = String::new();
        eventually("a state", || {
            state = bench.state("web");
            let settled = ["running", "suspended"].contains(&state.as_str());
            settled && monitors().len() == usize::from(state == "running")
        });
        state = bench.state("web");
        if state == "running" {
            goes_on(&at);
            assert_eq!(vmms().len(), 1, "{at}");
            let saved = bench.runtime().join("machines").join(&id).join("saved");
            assert!(!saved.exists(), "{at}");
        } else {
            assert!(vmms().is_empty(), "{at}");
        }
        if bench.kraft(["snapshot", "inspect", "shot"]).code == Some(0) {
            bench.ok(["run", "--no-start", "--name", "copy", "--snapshot", "shot"]);
            bench.ok(["rm", "--force", "copy"]);
            bench.ok(["snapshot", "rm", "shot"]);
        } else {
            assert!(!bench.runtime().join("snapshots/shot").exists(), "{at}");
        }
    }
    // What is left of killed processes is removed by the next machine that is made.
    bench.ok(["run", "--no-start", "--name", "other", "./server"]);
    let partial = fs::read_dir(bench.runtime().join("partial")).unwrap();
    assert_eq!(partial.count(), 0);
}

#[test]
fn whatever_is_killed_at_any_moment_the_state_is_the_old_one_or_the_new_one() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = start(&bench, &server, "web", &[]);
    let mut number = ask(port).number;
    kill_at_random(&bench, kills(12), &["qemu-system"], |at| {
        let answer = ask(port).number;
        assert_eq!(answer, number + 1, "{at}");
        number = answer;
    });
}

/// Damages the files of the machine `web`, which is suspended, one after the other: it is not restored.
pub(crate) fn damage(bench: &Bench) {
    let saved = dir(bench, "web").join("saved");
    let kernel = inspect(bench, "web")["spec"]["kernel"].clone();
    let kernel = PathBuf::from(kernel.as_str().unwrap());
    let files = ["memory", "state", "saved.json"].map(|name| saved.join(name));
    for file in files.iter().chain([&kernel]) {
        let kept = fs::read(file).unwrap();
        let put = |content: &[u8]| {
            // Another file: this one may be that of other machines as well.
            let _ = fs::remove_file(file);
            fs::write(file, content).unwrap();
        };
        for way in ["missing", "half", "one bit"] {
            match way {
                "missing" => fs::remove_file(file).unwrap(),
                "half" => put(&kept[..kept.len() / 2]),
                _ => {
                    let mut content = kept.clone();
                    content[kept.len() / 2] ^= 1;
                    put(&content);
                }
            }
            let what = format!("{}: {way}", file.display());
            let outcome = bench.kraft(["resume", "web"]);
            assert_eq!(outcome.code, Some(1), "{what}: {}", outcome.stderr);
            // Without its kernel, it cannot be booted either.
            let boots = way != "missing" || *file != kernel;
            let is_offered = outcome.stderr.contains("kraft start --cold web");
            assert_eq!(is_offered, boots, "{what}: {}", outcome.stderr);
            assert_eq!(bench.state("web"), "suspended", "{what}");
            put(&kept);
        }
    }
}

#[test]
fn a_machine_is_not_restored_from_damaged_files() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = start(&bench, &server, "web", &[]);
    assert_eq!(ask(port).number, 1);
    bench.ok(["snapshot", "create", "web", "ready"]);
    bench.ok(["suspend", "web"]);
    damage(&bench);
    bench.ok(["resume", "web"]);
    assert_eq!(ask(port).number, 2);

    // A snapshot has a kernel of its own.
    let kernel = bench.runtime().join("snapshots/ready/kernel");
    let mut content = fs::read(&kernel).unwrap();
    content[5000] ^= 1;
    fs::write(&kernel, content).unwrap();
    let refused = bench.kraft(["run", "--snapshot", "ready"]).exits(1);
    let reason = "has changed since it was saved";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    fs::remove_file(&kernel).unwrap();
    let _ = bench.kraft(["run", "--snapshot", "ready"]).exits(1);
}

#[test]
fn a_vmm_that_was_not_recorded_before_its_monitor_died_is_ended_and_the_machine_is_suspended() {
    let Some((bench, server)) = bench() else {
        return;
    };
    let port = start(&bench, &server, "web", &[]);
    assert_eq!(ask(port).number, 1);
    bench.ok(["suspend", "web"]);
    let dir = dir(&bench, "web");
    let record: Value =
        serde_json::from_slice(&fs::read(dir.join("record.json")).unwrap()).unwrap();
    let kept = bench.path().join("kept");
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to).unwrap();
        for file in ["memory", "state", "saved.json"] {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
    };
    copy(&dir.join("saved"), &kept);
    // The command line of a VMM that restores the machine.
    bench.ok(["resume", "web"]);
    let machine = inspect(&bench, "web");
    let line = fs::read(format!("/proc/{}/cmdline", machine["pid"])).unwrap();
    let argv = String::from_utf8(line).unwrap();
    let argv: Vec<&str> = argv.trim_end_matches('\0').split('\0').collect();
    for pid in ["monitor_pid", "pid"] {
        let pid = i32::try_from(machine[pid].as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        eventually("it ends", || {
            !kraft_e2e::harness::is_running(Pid::from_raw(pid).unwrap())
        });
    }

    // What is there when the monitor is killed after it has started the VMM, and before it has
    // recorded it.
    copy(&kept, &dir.join("saved"));
    let mut lost = record;
    let monitor = lost["run"]["monitor"].clone();
    lost["starting"] = serde_json::json!({"monitor": monitor, "ports": []});
    fs::write(dir.join("record.json"), lost.to_string()).unwrap();
    fs::write(
        dir.join("events.in"),
        "{\"execute\":\"qmp_capabilities\"}\n",
    )
    .unwrap();
    fs::write(dir.join("events.out"), "").unwrap();
    let mut vmm = std::process::Command::new(argv[0])
        .args(&argv[1..])
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the VMM is ready", || {
        fs::read_to_string(dir.join("events.out")).is_ok_and(|text| text.contains("return"))
    });
    assert_eq!(bench.state("web"), "suspended");
    vmm.wait().unwrap();
    bench.ok(["resume", "web"]);
    let port = host_port(&bench, "web");
    assert_eq!(ask(port).number, 2);
}

#[test]
fn a_warm_start_continues_from_when_an_earlier_machine_was_ready() {
    let Some((bench, server)) = bench() else {
        return;
    };
    // One that has booted has printed something; its monitor may record that after the first answer.
    let has_booted = |name: &str| bench.ok(["logs", name]).contains("listening");
    let run = |name: &str, more: &[&str], boots: bool| {
        let mut all = vec!["--warm"];
        all.extend(more);
        let port = start(&bench, &server, name, &all);
        ask(port);
        if boots {
            eventually("it has booted", || has_booted(name));
        } else {
            assert!(!has_booted(name), "{name}");
        }
        bench.ok(["rm", "--force", name]);
    };
    let names = || -> Vec<String> {
        let rows = bench.json(["snapshot", "ls", "-o", "json"]);
        let names = rows.as_array().unwrap().iter();
        names
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let port = start(&bench, &server, "first", &["--warm"]);
    eventually("a snapshot is kept", || names().len() == 1);
    assert!(names()[0].starts_with("warm-"), "{:?}", names());
    assert!(ask(port).number > 1, "the check has asked as well");
    bench.ok(["rm", "--force", "first"]);
    // What they continue from does not change.
    run("second", &[], false);
    run("third", &[], false);
    assert_eq!(names().len(), 1);

    // Another memory is another machine.
    run("large", &["--memory", "65Mi"], true);
    run("cold", &["--cold"], true);
    bench.ok(["snapshot", "prune"]);
    assert_eq!(names().len(), 0);
    start(&bench, &server, "first", &["--warm"]);
    eventually("a snapshot is kept", || names().len() == 1);
    bench.ok(["rm", "--force", "first"]);

    // One that does not fit boots as well, and is replaced.
    let saved = bench.runtime().join("snapshots").join(&names()[0]);
    set(&saved, "/conditions/vmm", Value::from("QEMU 9.9.9"));
    let port = free_port();
    let published = format!("127.0.0.1:{port}:8080");
    let program = server.to_str().unwrap();
    let args = [
        "run", "--detach", "--warm", "--memory", "64Mi", "--name", "fourth", "--port", &published,
    ];
    let outcome = bench.kraft(args.iter().copied().chain([program])).success();
    assert!(
        outcome.stderr.contains("booting the machine"),
        "{}",
        outcome.stderr
    );
    ask(port);
    eventually("it has booted", || has_booted("fourth"));
    eventually("another snapshot is kept", || {
        names().iter().any(|name| {
            let inspected = bench.kraft(["snapshot", "inspect", name.as_str()]);
            inspected.code == Some(0) && !inspected.stdout.contains("9.9.9")
        })
    });

    let volumes = [
        "run",
        "--warm",
        "--volume",
        "data:/data",
        "--port",
        "80",
        program,
    ];
    assert_eq!(bench.kraft(volumes).code, Some(2));
    let unknown = bench.kraft(["run", "--warm", program]).exits(2);
    assert!(
        unknown.stderr.contains("neither a health check"),
        "{}",
        unknown.stderr
    );

    bench.ok(["snapshot", "create", "fourth", "mine"]);
    let pruned = bench.ok(["snapshot", "prune"]);
    assert!(
        pruned.lines().all(|name| name.starts_with("warm-")),
        "{pruned}"
    );
    assert_eq!(names(), ["mine"]);
    let asks = bench.kraft(["snapshot", "prune", "--all"]).exits(2);
    assert!(asks.stderr.contains("--force"), "{}", asks.stderr);
    assert_eq!(
        bench.ok(["snapshot", "prune", "--all", "--force"]),
        "mine\n"
    );
}

/// Listens, computes for a while, and only then answers.
const LATE: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(server, (void *)&any, sizeof any) || listen(server, 8)) return 1;
    printf("listening\n");
    for (time_t end = time(0) + 4; time(0) < end;);
    printf("ready\n");
    for (;;) {
        char request[4096];
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request) < 0) return 2;
        dprintf(client, "HTTP/1.0 200 OK\r\n\r\nhello\n");
        close(client);
    }
}
"#;

#[test]
fn a_program_that_listens_before_it_is_ready_is_not_kept_warm_too_early() {
    let Some((bench, _)) = bench() else {
        return;
    };
    let Some(server) = program(&bench, "gcc", &["-static"], "late", LATE) else {
        return;
    };
    start(&bench, &server, "first", &["--warm"]);
    let mut kept = Value::Null;
    eventually("a snapshot is kept", || {
        kept = bench.json(["snapshot", "ls", "-o", "json"]);
        kept[0].is_object()
    });
    assert!(bench.ok(["logs", "first"]).contains("ready"), "{kept}");
    bench.ok(["rm", "--force", "first"]);
    // The next one is ready at once: it has neither begun to listen nor become ready.
    let port = start(&bench, &server, "second", &["--warm"]);
    eventually("it answers", || get(port, "/").is_some());
    assert_eq!(bench.ok(["logs", "second"]), "");
}

#[test]
fn copies_in_a_network_have_addresses_of_their_own_and_answer_by_name() {
    let Some(place) = Place::new(false) else {
        return;
    };
    place.ok(["net", "create", "web"]);
    place.ok([
        "run",
        "--detach",
        "--network",
        "web",
        "--name",
        "one",
        "./server",
        "one",
    ]);
    let answers = |names: &[&str]| {
        let pairs: Vec<&str> = names.iter().flat_map(|name| [*name, "8080"]).collect();
        let mut printed = String::new();
        eventually("all answer", || {
            printed = place.fetch("web", &pairs);
            !printed.contains("refused")
        });
        let expected: Vec<String> = names
            .iter()
            .map(|name| format!("{name}: hello from one\n"))
            .collect();
        assert_eq!(printed, expected.concat());
    };
    answers(&["one"]);
    assert_eq!(place.ok(["fork", "one", "--number", "2"]), "one-1\none-2\n");
    answers(&["one", "one-1", "one-2"]);
    let interfaces = ["one", "one-1", "one-2"].map(|name| {
        let machine = place.json(["inspect", name])[0].clone();
        let interface = machine["spec"]["networks"][0].clone();
        (
            interface["mac"].to_string(),
            interface["address"].to_string(),
        )
    });
    let macs: BTreeSet<_> = interfaces.iter().map(|(mac, _)| mac).collect();
    let addresses: BTreeSet<_> = interfaces.iter().map(|(_, address)| address).collect();
    assert_eq!((macs.len(), addresses.len()), (3, 3), "{interfaces:?}");
    // One of them sleeps on disk meanwhile, and has the same address again.
    place.ok(["suspend", "one-1"]);
    answers(&["one", "one-2"]);
    place.ok(["resume", "one-1"]);
    answers(&["one-1"]);
    place.ok(["rm", "--force", "one", "one-1", "one-2"]);
}
