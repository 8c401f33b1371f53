//! The root filesystems, and machines with one of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use kraft_e2e::harness::{Bench, Outcome, has_builtin_runtime, repository, skip};
use kraft_e2e::registry::free_port;

/// How long a machine may take until it answers or ends.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// The result of a step: what is wrong, with the console of the machine.
pub(crate) type Done<T = ()> = Result<T, String>;

/// Fails with a text unless a condition holds.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Done {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Returns the root filesystem of an application, which `scripts/make-applications.sh` makes.
pub(crate) fn root(arch: &str, name: &str) -> Option<PathBuf> {
    let all = std::env::var_os("KRAFT_APPLICATIONS")
        .map_or_else(|| repository().join("target/applications"), PathBuf::from);
    let root = repository().join(all).join(arch).join(name);
    root.is_dir().then_some(root)
}

/// Returns whether the runtime and a root filesystem exist, and says so if not.
pub(crate) fn exists(arch: &str, name: &str) -> bool {
    if !has_builtin_runtime() {
        skip("the built-in runtime is not built: make runtime");
        return false;
    }
    if root(arch, name).is_none() {
        skip(&format!(
            "there is no {arch}/{name}: scripts/make-applications.sh {name}"
        ));
        return false;
    }
    true
}

/// A project whose root filesystem is that of an application.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) bench: Bench,
    arch: String,
    memory: u32,
}

impl Guest {
    /// Makes the project; `memory` is in MiB.
    pub(crate) fn new(root: &Path, arch: &str, memory: u32) -> Self {
        let bench = Bench::new().env("KRAFTKIT_OFFLINE", "true");
        let kraftfile = format!("spec: v0.6\nruntime: builtin\nrootfs: {}\n", root.display());
        fs::write(bench.path().join("Kraftfile"), kraftfile).unwrap();
        Self {
            bench: bench.limit(Duration::from_hours(3)),
            arch: arch.to_owned(),
            memory,
        }
    }

    /// Returns whether the processor is that of the clients.
    pub(crate) fn is_arm64(&self) -> bool {
        self.arch == "arm64"
    }

    /// Prepares `kraft run` of a program with arguments.
    pub(crate) fn command(&self, flags: &[&str], program: &[&str]) -> Command {
        let memory = format!("{}Mi", self.memory);
        let mut args = vec!["run", "--rm", "-n", "m", "-m", &self.arch, "-M", &memory];
        args.extend(flags);
        args.extend([".", "--"]);
        args.extend(program);
        self.bench.command(args)
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, flags: &[&str], program: &[&str]) -> Done<Outcome> {
        let mut command = self.command(flags, program);
        let mut server = Server::spawn(self, &mut command, 0)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(code) = server.ended() {
                let console = server.console();
                return Ok(Outcome {
                    command: format!("{program:?}"),
                    // The console of arm64 is the only place where the status is.
                    code: if self.is_arm64() {
                        exit_status(&console)
                    } else {
                        code
                    },
                    stdout: console,
                    stderr: server.errors(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{program:?} hangs: {}", server.console()))
    }

    /// Starts a server whose port is published, and waits until it answers.
    pub(crate) fn serve(
        &self,
        flags: &[&str],
        program: &[&str],
        port: u16,
        ready: fn(u16) -> bool,
    ) -> Done<Server<'_>> {
        let public = free_port();
        let published = format!("127.0.0.1:{public}:{port}");
        let mut all = vec!["-p", &published];
        all.extend(flags);
        let mut command = self.command(&all, program);
        let mut server = Server::spawn(self, &mut command, public)?;
        server.wait_until(|| ready(public))?;
        Ok(server)
    }
}

/// Returns the status in the last line of a console of arm64.
fn exit_status(console: &str) -> Option<i32> {
    match console.rsplit_once("kraft: exit status ") {
        Some((_, status)) => status.trim().parse().ok(),
        None => Some(0),
    }
}

/// A machine that runs, with a published port; removed when dropped.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    guest: &'a Guest,
    kraft: Child,
    /// The port of this host.
    pub(crate) port: u16,
}

impl<'a> Server<'a> {
    /// Starts it with its console in a file.
    pub(crate) fn spawn(guest: &'a Guest, command: &mut Command, port: u16) -> Done<Self> {
        let file =
            |name: &str| File::create(guest.bench.path().join(name)).map_err(|e| e.to_string());
        let child = command
            .stdout(file("console")?)
            .stderr(file("errors")?)
            .spawn();
        Ok(Self {
            guest,
            kraft: child.map_err(|e| e.to_string())?,
            port,
        })
    }

    /// Waits until it answers; a machine that ended before is an error.
    pub(crate) fn wait_until(&mut self, mut answers: impl FnMut() -> bool) -> Done {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if answers() {
                return Ok(());
            }
            let ended = self.ended().is_some();
            if ended || Instant::now() > deadline {
                let what = if ended { "ended" } else { "does not answer" };
                return Err(format!("{what}: {}{}", self.console(), self.errors()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ended(&mut self) -> Option<Option<i32>> {
        self.kraft.try_wait().unwrap().map(|status| status.code())
    }

    /// Returns what it has printed so far.
    pub(crate) fn console(&self) -> String {
        let bytes = fs::read(self.guest.bench.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.guest.bench.path().join("errors")).unwrap_or_default()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.guest.bench.kraft(["rm", "--force", "m"]);
            let _ = self.kraft.kill();
            let _ = self.kraft.wait();
        }
    }
}
