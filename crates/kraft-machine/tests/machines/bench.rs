//! A runtime directory with machines, which are removed afterwards.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kraft_core::arch::Arch;
use kraft_core::kernel::{BootProtocol, Guest};
use kraft_core::machine::{Acceleration, MachineSpec, MachineState};
use kraft_core::platform::Platform;
use kraft_machine::driver::Drivers;
use kraft_machine::{Id, Listed, Logs, LogsOptions, Machines, Settings};
use kraft_sys::process::{Identity, Process};
use rustix::process::Signal;

/// How long anything may take before a test fails because it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) machines: Machines,
    pub(crate) runtime_dir: PathBuf,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime_dir = dir.path().join("runtime");
        Self::at(dir, runtime_dir)
    }

    pub(crate) fn at(dir: tempfile::TempDir, runtime_dir: PathBuf) -> Self {
        Self {
            machines: Machines::open(settings(&runtime_dir)).unwrap(),
            runtime_dir,
            _dir: dir,
        }
    }

    /// Creates a machine and starts it.
    pub(crate) fn run(&self, name: &str, args: &[&str]) -> Id {
        let id = self.machines.create(&spec(name, args)).unwrap().id;
        self.machines.start(&id).unwrap();
        id
    }

    pub(crate) fn state(&self, id: Id) -> MachineState {
        self.machines.get(id).unwrap().state
    }

    /// Returns everything that a machine has printed.
    pub(crate) fn console(&self, id: Id) -> String {
        let mut logs: Logs = self.machines.logs(&id, LogsOptions::default()).unwrap();
        let mut console = Vec::new();
        loop {
            let chunk = logs.read().unwrap();
            if chunk.bytes.is_empty() {
                return String::from_utf8(console).unwrap();
            }
            console.extend(chunk.bytes);
        }
    }

    pub(crate) fn wait_for_console(&self, id: Id, text: &str) {
        eventually(text, || self.console(id).contains(text));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for listed in self.machines.list().unwrap_or_default() {
            if let Listed::Machine(machine) = listed {
                let _ = self.machines.remove(&machine.id, true);
            }
        }
    }
}

pub(crate) fn settings(runtime_dir: &Path) -> Settings {
    // A test is in target/PROFILE/deps, the examples are beside that.
    let test = std::env::current_exe().unwrap();
    let monitor = test.ancestors().nth(2).unwrap().join("examples/monitor");
    assert!(monitor.is_file(), "no {}", monitor.display());
    Settings {
        runtime_dir: runtime_dir.to_owned(),
        monitor: vec![monitor.into()],
        drivers: Drivers::from_registry(crate::script::driver::registry),
        console_limit: kraft_machine::DEFAULT_CONSOLE_LIMIT,
    }
}

pub(crate) fn spec(name: &str, args: &[&str]) -> MachineSpec {
    MachineSpec {
        name: (!name.is_empty()).then(|| name.to_owned()),
        arch: Arch::X86_64,
        platform: Platform::Qemu,
        origin: "kernel://mini".to_owned(),
        kernel: guest(),
        boot: BootProtocol::Multiboot,
        guest: Guest::default(),
        initrd: None,
        mounts_initrd: false,
        kernel_args: Vec::new(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: std::collections::BTreeMap::new(),
        labels: std::collections::BTreeMap::new(),
        memory: 64 << 20,
        cpus: 1,
        ports: Vec::new(),
        networks: Vec::new(),
        volumes: Vec::new(),
        acceleration: Acceleration::Tcg,
        remove_when_ended: false,
        lifecycle: kraft_core::lifecycle::Lifecycle::default(),
        stdin: false,
        tty: false,
    }
}

/// Returns the repository's own guest, built on first use.
fn guest() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
        #[expect(clippy::disallowed_methods, reason = "a test builds its guest")]
        let made = Command::new("make")
            .arg("-C")
            .arg(&guests)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        guests
            .join("build/mini_qemu-x86_64")
            .canonicalize()
            .unwrap()
    };
    BUILT.get_or_init(build).clone()
}

pub(crate) fn process(pid: u32) -> Process {
    Process::open(&Identity::of(pid).unwrap()).unwrap().unwrap()
}

pub(crate) fn kill(pid: u32) {
    let process = process(pid);
    process.signal(Signal::KILL).unwrap();
    assert!(process.wait(Some(PATIENCE)).unwrap());
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
