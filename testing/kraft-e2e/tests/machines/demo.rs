//! `scripts/demo.sh`, the first thing that a new user runs: what it prints, and what it leaves.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use kraft_e2e::guest;
use kraft_e2e::harness::{Bench, eventually, has_builtin_runtime, kraft_binary, repository, skip};
use kraft_e2e::registry::installed;
use rustix::process::{Pid, Signal, kill_process_group};

/// A started demo.
struct Demo {
    process: Child,
    /// Where it keeps its files.
    scratch: PathBuf,
    /// What it prints, errors included.
    log: PathBuf,
}

/// Starts the demo in a process group of its own; `None` (and said so) if something it shows is
/// not here.
fn start(bench: &Bench) -> Option<Demo> {
    if !has_builtin_runtime() {
        skip("the built-in runtime is not built: make runtime");
        return None;
    }
    for program in ["curl", "docker-registry", "kconfig-conf"] {
        if !installed(program) {
            skip(&format!(
                "{program} is not installed: scripts/setup.sh demo"
            ));
            return None;
        }
    }
    guest::mini("x86_64");
    let scratch = bench.path().join("tmp");
    fs::create_dir(&scratch).unwrap();
    let log = bench.path().join("demo.log");
    let output = File::create(&log).unwrap();
    let process = Command::new(repository().join("scripts/demo.sh"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", bench.path())
        .env("KRAFT", kraft_binary())
        .env("TMPDIR", &scratch)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .spawn()
        .unwrap();
    Some(Demo {
        process,
        scratch,
        log,
    })
}

impl Demo {
    /// Returns what it has printed; consoles end their lines with CR and LF.
    fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap().replace('\r', "")
    }

    /// Waits for its end; returns its exit code.
    fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the end of the demo", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status?.code()
    }

    /// Insists that it left neither files nor processes.
    fn left_nothing(&self) {
        let files: Vec<_> = fs::read_dir(&self.scratch).unwrap().collect();
        assert!(files.is_empty(), "{files:?}\n{}", self.printed());
        let processes = processes_with(self.scratch.to_str().unwrap());
        assert_eq!(processes, Vec::<String>::new(), "{}", self.printed());
    }
}

/// Returns the command lines of processes that mention a directory.
fn processes_with(directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let file = entry.unwrap().path().join("cmdline");
        let line = fs::read(file).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(directory) {
            found.push(line);
        }
    }
    found
}

#[test]
fn the_demo_ends_with_a_web_application_that_went_through_a_registry() {
    let bench = Bench::new();
    let Some(mut demo) = start(&bench) else {
        return;
    };
    let code = demo.wait();
    let output = demo.printed();
    assert_eq!(code, Some(0), "{output}");
    demo.left_nothing();

    let acts: Vec<&str> = output.split("\ndemo: ").skip(1).collect();
    let [unikernel, source, web, registry] = acts[..] else {
        panic!("not four acts: {output}");
    };
    assert!(unikernel.contains("arg 2 \"b c\""), "{unikernel}");

    assert!(source.contains("\nhello to two libraries!\n"), "{source}");
    assert!(source.trim_end().lines().count() <= 10, "{source}");

    assert!(web.contains("hello number 1\n"), "{web}");
    assert!(web.contains("$ kraft wait web\n3\n"), "{web}");
    assert!(web.contains("\nanswered request 2\n"), "{web}");

    let (before, after) = registry.split_once("$ kraft pkg pull 127.0.0.1:").unwrap();
    assert!(before.contains("$ kraft pkg push 127.0.0.1:"), "{before}");
    let (_, listed) = before.split_once("$ kraft pkg ls\n").unwrap();
    assert!(!listed.contains("web"), "{before}");
    assert!(after.contains("\nhello number 1\n"), "{after}");
    assert!(after.ends_with("$ kraft wait web\n3\n"), "{after}");
}

#[test]
fn an_interrupted_demo_leaves_neither_files_nor_processes() {
    let bench = Bench::new();
    let Some(mut demo) = start(&bench) else {
        return;
    };
    // The registry runs by then, and seconds of work are left: a pull, and another machine.
    eventually("the push to the registry", || {
        let ended = demo.process.try_wait().unwrap();
        assert!(ended.is_none(), "{}", demo.printed());
        demo.printed().contains("$ kraft pkg push 127.0.0.1:")
    });
    assert!(!processes_with(demo.scratch.to_str().unwrap()).is_empty());
    // As Ctrl-C in a terminal: every process of the foreground receives it.
    kill_process_group(Pid::from_child(&demo.process), Signal::INT).unwrap();
    assert_eq!(demo.wait(), Some(130), "{}", demo.printed());
    demo.left_nothing();
}
