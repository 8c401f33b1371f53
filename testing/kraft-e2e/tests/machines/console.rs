//! The console of a machine on disk: bounded whatever a guest prints, read in constant memory, and
//! whole where nothing bad happens.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kraft_e2e::guest::mini;
use kraft_e2e::harness::{Bench, eventually, is_running};
use kraft_e2e::program;
use rustix::process::{Pid, Signal, kill_process};

const LIMIT: u64 = 1 << 20;

fn bench() -> Bench {
    Bench::new().env("KRAFTKIT_CONSOLE_LIMIT", "1Mi")
}

fn run(bench: &Bench, name: &str, actions: &[&str]) {
    let mut run = bench.command(["run", "-W", "-d", "--name", name]);
    run.arg(mini("x86_64")).args(actions).stdout(Stdio::null());
    assert!(run.status().unwrap().success());
}

fn pid(bench: &Bench, name: &str, field: &str) -> Pid {
    let machine = &bench.json(["inspect", name])[0];
    let pid = machine[field].as_i64();
    let pid = pid.unwrap_or_else(|| panic!("no {field}: {machine}"));
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

fn dir(bench: &Bench, name: &str) -> PathBuf {
    let machine = &bench.json(["inspect", name])[0];
    PathBuf::from(machine["dir"].as_str().unwrap())
}

/// What a directory takes on disk, in bytes.
fn on_disk(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| match entry.unwrap().metadata() {
            Ok(meta) if meta.is_file() => meta.blocks() * 512,
            // The oldest part of a console is removed at any time.
            _ => 0,
        })
        .sum()
}

/// The memory that a running process has for itself, in bytes: without what it maps of files, which
/// depends on the size of the program.
fn own_memory(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

/// Writes a stand-in for QEMU that serves at once, and then does what a script says.
fn stub(bench: &Bench, script: &str) -> String {
    let path = bench.path().join("qemu-stub");
    let served = r#"printf '{"QMP": {}}\n{"return": {}}\n' > events.out"#;
    program::script(
        &path,
        &format!("exec 9> console/pipe\n{served}\n{script}\n"),
    );
    path.to_str().unwrap().to_owned()
}

/// Starts the machine `m` with a stand-in for QEMU.
fn start_with(bench: &Bench, qemu: &str) {
    let mut run = bench.command(["run", "-W", "-d", "--name", "m", "--qemu", qemu]);
    run.arg(mini("x86_64")).stdout(Stdio::null());
    assert!(run.status().unwrap().success());
}

#[test]
fn a_guest_that_never_stops_printing_fills_neither_the_disk_nor_memory() {
    let bench = bench();
    // Lines of 100 bytes, 200 MB of them, and then 10 that are known.
    let line = "x".repeat(99);
    let qemu = stub(
        &bench,
        &format!("yes {line} | head -n 2000000 >&9; seq 10 >&9; sleep 600 9>&-"),
    );
    start_with(&bench, &qemu);
    let console = dir(&bench, "m").join("console");
    eventually("the last line", || {
        assert!(on_disk(&console) <= LIMIT);
        bench.ok(["logs", "--tail", "1", "m"]) == "10\n"
    });
    let ten: String = (1..=10).map(|n| format!("{n}\n")).collect();
    assert_eq!(bench.ok(["logs", "--tail", "10", "m"]), ten);
    assert_eq!(
        bench.ok(["logs", "-n", "11", "m"]),
        format!("{line}\n{ten}")
    );
    assert_eq!(bench.ok(["logs", "--tail", "0", "m"]), "");
    let all = bench.kraft(["logs", "m"]).success();
    assert!(all.stdout.len() as u64 > LIMIT * 3 / 4);
    // What is left of a line whose beginning was removed is not shown.
    assert_eq!(all.stdout.lines().next(), Some(line.as_str()));
    assert!(all.stderr.contains("`console_limit`"), "{}", all.stderr);
    assert_eq!(bench.ok(["logs", "--tail", "all", "m"]), all.stdout);
    bench.ok(["rm", "-f", "m"]);
}

#[test]
fn logs_are_read_in_constant_memory() {
    let bench = Bench::new();
    let qemu = stub(
        &bench,
        "yes 0123456 | head -c 50000000 >&9; exec 9>&-; sleep 600",
    );
    start_with(&bench, &qemu);
    eventually("all of it", || {
        on_disk(&dir(&bench, "m").join("console")) > 50_000_000
    });
    for words in [
        &["logs", "m"][..],
        &["logs", "-f", "m"],
        &["logs", "-t", "m"],
    ] {
        let mut logs = bench.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = logs.stdout.take().unwrap();
        let mut taken = vec![0; 20_000_000];
        stdout.read_exact(&mut taken).unwrap();
        // It waits for us now.
        let memory = own_memory(&logs);
        assert!(memory < 24 << 20, "{words:?}: {memory}");
        drop(stdout);
        if words[1] != "-f" {
            assert_eq!(logs.wait().unwrap().code(), Some(0), "{words:?}");
        } else {
            logs.kill().unwrap();
            logs.wait().unwrap();
        }
    }
    bench.ok(["rm", "-f", "m"]);
}

/// The lines that `@lines:N` prints.
fn lines(count: u32) -> String {
    (1..=count).map(|n| format!("line {n}\n")).collect()
}

#[test]
fn run_and_follow_lose_no_byte_when_parts_of_the_console_are_removed_meanwhile() {
    // A second or two of output is kept: on a busy host, readers may wait for that time.
    let bench = Bench::new().env("KRAFTKIT_CONSOLE_LIMIT", "2Mi");
    let mut run = bench.command(["run", "-W", "--name", "m"]);
    run.arg(mini("x86_64")).arg("@lines:250000");
    let run = run.stdout(Stdio::piped()).spawn().unwrap();
    eventually("the machine", || bench.state("m") == "running");
    let follow = bench.command(["logs", "--follow", "m"]);
    let follow = { follow }.stdout(Stdio::piped()).spawn().unwrap();
    let follower = std::thread::spawn(move || follow.wait_with_output().unwrap());
    let run = run.wait_with_output().unwrap();
    let follow = follower.join().unwrap();
    assert!(run.status.success() && follow.status.success());
    let shown = String::from_utf8(run.stdout).unwrap();
    assert!(shown.starts_with("kraft-guest: hello"));
    assert!(shown.ends_with(&format!("ready\n{}bye\n", lines(250_000))));
    assert_eq!(String::from_utf8(follow.stdout).unwrap(), shown);
    let kept = bench.ok(["logs", "m"]);
    assert!(shown.ends_with(&kept) && kept.len() < shown.len());
}

#[test]
fn a_guest_whose_monitor_was_killed_neither_hangs_nor_fills_the_disk() {
    let bench = bench();
    run(&bench, "m", &["@lines:300000", "@sleep:600"]);
    let (vmm, monitor) = (pid(&bench, "m", "pid"), pid(&bench, "m", "monitor_pid"));
    kill_process(monitor, Signal::KILL).unwrap();
    eventually("the monitor's end", || !is_running(monitor));
    // No command observes the machine while it prints: none adopts it.
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", vmm.as_raw_nonzero())).unwrap();
        let after = stat.rsplit(')').next().unwrap().to_owned();
        let field = |n: usize| {
            after
                .split_whitespace()
                .nth(n)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        field(11) + field(12)
    };
    let mut before = 0;
    eventually("a guest that sleeps", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = used();
        let idle = now - std::mem::replace(&mut before, now) < 5;
        idle && now > 0
    });
    let runtime = bench.runtime().join("machines");
    let machine = std::fs::read_dir(runtime).unwrap().next().unwrap().unwrap();
    assert!(on_disk(&machine.path().join("console")) <= LIMIT);
    // The next command starts a new monitor, and the console continues.
    assert_eq!(bench.state("m"), "running");
    eventually("another monitor", || {
        let now = &bench.json(["inspect", "m"])[0]["monitor_pid"];
        now.as_i64()
            .is_some_and(|pid| pid != i64::from(monitor.as_raw_nonzero().get()))
    });
    bench.ok(["rm", "-f", "m"]);
}

#[test]
fn logs_follow_continues_when_the_monitor_is_killed() {
    let bench = bench();
    run(&bench, "m", &["@tick:1000000"]);
    let monitor = pid(&bench, "m", "monitor_pid");
    let mut logs = bench
        .command(["logs", "-f", "m"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(logs.stdout.take().unwrap()).lines();
    let mut tick = || loop {
        let line = output.next().unwrap().unwrap();
        if let Some(number) = line.strip_prefix("tick ") {
            break number.parse::<u64>().unwrap();
        }
    };
    let before = tick();
    kill_process(monitor, Signal::KILL).unwrap();
    // What is in the pipe then is lost, and what is printed until another monitor reads.
    let mut after = tick();
    for _ in 0..10 {
        let next = tick();
        assert!(next > after);
        after = next;
    }
    assert!(after - before < 200, "{before} {after}");
    assert_ne!(pid(&bench, "m", "monitor_pid"), monitor);
    logs.kill().unwrap();
    logs.wait().unwrap();
    bench.ok(["rm", "-f", "m"]);
}

#[test]
fn lines_are_found_by_their_time() {
    let bench = Bench::new();
    run(&bench, "m", &["@tick:12"]);
    bench.ok(["wait", "m"]);
    let all = bench.ok(["logs", "m"]);
    let timed = bench.ok(["logs", "--timestamps", "m"]);
    let (times, texts): (Vec<&str>, Vec<&str>) = timed
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .unzip();
    assert_eq!(texts.join("\n") + "\n", all);
    let parsed: Vec<jiff::Timestamp> = times.iter().map(|time| time.parse().unwrap()).collect();
    assert!(parsed.is_sorted());
    let machine = &bench.json(["inspect", "m"])[0];
    let started: jiff::Timestamp = machine["started_at"].as_str().unwrap().parse().unwrap();
    let ended: jiff::Timestamp = machine["ended_at"].as_str().unwrap().parse().unwrap();
    assert!(parsed[0] >= started);
    // The last bytes are copied when the VMM has ended, and that may be later than its end.
    assert!(*parsed.last().unwrap() <= jiff::Timestamp::now());
    assert!(parsed[0] <= ended);
    let at = texts.iter().position(|text| *text == "tick 7").unwrap();
    let from = |words: &[&str]| {
        let words = [&["logs", "m"], words].concat();
        bench.ok(words)
    };
    let tail = |n: usize| texts[n..].join("\n") + "\n";
    assert_eq!(from(&["--since", times[at]]), tail(at));
    assert_eq!(
        from(&["--since", times[at], "--tail", "2"]),
        tail(texts.len() - 2)
    );
    assert_eq!(from(&["--since", times[at], "--tail", "100"]), tail(at));
    assert_eq!(
        from(&["--until", times[at]]),
        texts[..=at].join("\n") + "\n"
    );
    assert_eq!(from(&["--until", times[at], "--tail", "1"]), "tick 7\n");
    assert_eq!(
        from(&["--since", times[at], "--until", times[at + 1]]),
        "tick 7\ntick 8\n"
    );
    assert_eq!(from(&["--since", "1h"]), all);
    assert_eq!(from(&["--since", "0"]), all);
    assert_eq!(from(&["--until", "1h"]), "");
    assert_eq!(from(&["--since", "0s"]), "");
    let both = bench.ok(["logs", "-t", "-n", "1", "m", "m"]);
    assert!(
        both.lines()
            .all(|line| line.starts_with("m | 20") && line.ends_with(" bye")),
        "{both}"
    );
}

#[test]
fn invalid_times_and_numbers_of_lines_are_rejected() {
    let bench = Bench::new();
    for words in [
        &["logs", "--since", "yesterday", "m"][..],
        &["logs", "--tail", "few", "m"],
        &["logs", "--until", "1m", "--follow", "m"],
    ] {
        let _ = bench.kraft(words).exits(2);
    }
    for size in ["banana", "1Ki", "64MB"] {
        let refused = bench
            .kraft(["config", "set", "console_limit", size])
            .exits(2);
        assert!(refused.stderr.contains("64Mi"), "{}", refused.stderr);
    }
    bench.ok(["config", "set", "console_limit", "2Mi"]);
    assert_eq!(bench.ok(["config", "get", "console_limit"]), "2Mi\n");
}

#[test]
fn logs_follow_ends_with_its_reader_and_the_guest_continues() {
    let bench = bench();
    run(&bench, "m", &["@lines:200000", "@print:end", "@sleep:600"]);
    let mut logs = bench
        .command(["logs", "-f", "m"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let head = Command::new("head")
        .args(["-n", "1"])
        .stdin(logs.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(head.stdout.starts_with(b"kraft-guest: hello"));
    assert_eq!(logs.wait().unwrap().code(), Some(0));
    bench.wait_for_log("m", "\nend");
    bench.ok(["rm", "-f", "m"]);
}
