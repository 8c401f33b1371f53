//! The test environment: the real binary, a private home, and cleanup.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::Value;

use crate::limit::Limit;
use crate::{output_schema, program};

/// How long anything may take before a test says it hangs. Generous on purpose: it only decides
/// between "slow" and "never".
pub const PATIENCE: Duration = Duration::from_mins(5);

/// The longest time between two checks of [`eventually`]: each may start kraft, while other tests compute.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Returns the `kraft` under test: `KRAFT_BIN`, else the workspace's own, built on first use.
pub fn kraft_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("KRAFT_BIN") {
            return PathBuf::from(given);
        }
        // A test binary is in target/PROFILE/deps, the program in target/PROFILE.
        let test = std::env::current_exe().unwrap();
        let profile_dir = test.ancestors().nth(2).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--package", "kraft"])
            .current_dir(repository());
        if has_builtin_runtime() {
            build.args(["--features", "builtin-runtime"]);
        }
        if profile_dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "cannot build kraft");
        profile_dir.join("kraft")
    })
}

/// Returns whether `make runtime` has built a kernel of the built-in runtime for x86_64.
pub fn has_builtin_runtime() -> bool {
    let kernel = "runtime/build/kraft-runtime-x86_64.xz";
    repository().join(kernel).is_file()
}

/// Returns the root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
}

/// A private home with a runtime directory; every machine in it is removed at the end.
#[derive(Debug)]
pub struct Bench {
    dir: tempfile::TempDir,
    runtime: PathBuf,
    extra_env: Vec<(String, String)>,
    limit: Limit,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// Removes the built-in runtime from the rows of `kraft pkg ls`: whether it is among them depends on
/// how the program was built.
pub fn without_runtime(mut rows: Value) -> Value {
    let list = rows.as_array_mut().expect("a list");
    list.retain(|row| row["name"] != "kraft.local/runtime");
    rows
}

/// The file in the runtime directory with what is known about KVM on this host.
const ANSWER: &str = "probe.json";

/// Returns what `kraft` found out about KVM on this host. Where guests hang, each empty home would cost
/// it three seconds of a processor.
fn about_kvm() -> Option<&'static [u8]> {
    static FOUND: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let bench = Bench::empty();
        let _ = bench.kraft(["doctor"]);
        std::fs::read(bench.runtime.join(ANSWER)).ok()
    });
    found.as_deref()
}

impl Bench {
    /// Makes an empty home, where only the answer about KVM is known.
    pub fn new() -> Self {
        let bench = Self::empty();
        if let Some(answer) = about_kvm() {
            std::fs::write(bench.runtime.join(ANSWER), answer).unwrap();
        }
        bench
    }

    /// Makes an empty home.
    fn empty() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("kraft-e2e-")
            .tempdir()
            .unwrap();
        let runtime = dir.path().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        Self {
            dir,
            runtime,
            extra_env: Vec::new(),
            limit: Limit::new(),
        }
    }

    /// Makes a home whose machines live in `runtime`.
    pub fn with_runtime(runtime: &Path) -> Self {
        let mut bench = Self::new();
        runtime.clone_into(&mut bench.runtime);
        bench
    }

    /// Adds a variable to the environment of every `kraft` of this bench.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.extra_env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets how long the test of this bench may take.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        self.limit.set(limit);
        self
    }

    /// Returns the private directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the directory the machines live in.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Prepares a `kraft` with arguments, ready to be changed or started.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command_of(kraft_binary(), args)
    }

    /// Prepares a copy of `kraft` as [`Bench::command`] does the program itself.
    pub fn command_of<S: AsRef<OsStr>>(
        &self,
        kraft: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(kraft);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("KRAFTKIT_CONFIG_DIR", self.path().join("config"))
            .env("XDG_DATA_HOME", self.path().join("data"))
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("KRAFTKIT_RUNTIME_DIR", &self.runtime)
            .env("KRAFTKIT_NO_PROMPT", "true")
            .env("KRAFTKIT_NO_CHECK_UPDATES", "true")
            .current_dir(self.path())
            .stdin(Stdio::null());
        for (key, value) in &self.extra_env {
            command.env(key, value);
        }
        command
    }

    /// Returns a copy of `kraft` in the private directory, which an ordinary user can run.
    pub fn kraft_copy(&self) -> PathBuf {
        let copy = self.path().join("kraft");
        program::copy(kraft_binary(), &copy);
        copy
    }

    /// Gives everything of this bench to an ordinary user, and returns the command that runs
    /// another as that user. Only root can.
    pub fn hand_over(&self, user: u32) -> [String; 4] {
        let owner = format!("{user}:{user}");
        let owned = Command::new("chown")
            .args(["-R", &owner])
            .arg(self.path())
            .status();
        assert!(owned.unwrap().success());
        [
            "setpriv".to_owned(),
            "--clear-groups".to_owned(),
            format!("--reuid={user}"),
            format!("--regid={user}"),
        ]
    }

    /// Runs `kraft` to its end.
    pub fn kraft<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        Outcome::of(&mut self.command(args))
    }

    /// Runs `kraft` and insists on success; returns what it wrote to stdout.
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.kraft(args).success().stdout
    }

    /// Runs `kraft ... -o json` and returns the value.
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        let text = self.ok(args);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON: {e}\n{text}"))
    }

    /// Lists packages by `kraft pkg ls` with these flags, without the built-in runtime.
    pub fn packages(&self, flags: &[&str]) -> Value {
        without_runtime(self.json([&["pkg", "ls", "-o", "json"], flags].concat()))
    }

    /// Returns the machine with a name as listed by `kraft ps --all`.
    pub fn machine(&self, name: &str) -> Option<Value> {
        let all = self.json(["ps", "--all", "-o", "json"]);
        all.as_array()
            .unwrap()
            .iter()
            .find(|m| m["name"] == name)
            .cloned()
    }

    /// Returns the state of a machine as listed by `kraft ps --all`.
    pub fn state(&self, name: &str) -> String {
        match self.machine(name) {
            Some(machine) => machine["state"].as_str().unwrap().to_owned(),
            None => "absent".to_owned(),
        }
    }

    /// Waits until the machine's log holds `text`, and returns the log.
    pub fn wait_for_log(&self, name: &str, text: &str) -> String {
        let mut log = String::new();
        eventually(&format!("`{text}` in the log of {name}"), || {
            // There may be no such machine yet.
            log = self.kraft(["logs", name]).stdout;
            log.contains(text)
        });
        log
    }

    /// Waits until `kraft ps` says so.
    pub fn wait_for_state(&self, name: &str, state: &str) {
        let mut last = String::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            last = self.state(name);
            if last == state {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{name} should be {state}, and is {last}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The directory may have been made unusable by the test on purpose: no assertion here.
        let _ = self.command(["rm", "--all", "--force"]).output();
    }
}

/// Has a wrapper such as `strace` or `prlimit` run a command: with its arguments, and in its
/// environment and directory.
pub fn wrapped(mut wrapper: Command, command: &Command) -> Command {
    wrapper
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .stdin(Stdio::null());
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            wrapper.env(key, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        wrapper.current_dir(directory);
    }
    wrapper
}

/// Returns whether a process runs. A zombie does not.
pub fn is_running(pid: Pid) -> bool {
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    std::fs::read_to_string(stat).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until `condition` holds; panics with `what` if it never does.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns the arguments of `kraft`, which a wrapper may start; `None` for another program.
fn arguments_of_kraft(command: &Command) -> Option<Vec<String>> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut rest = words.skip_while(|word| !Path::new(word).ends_with("kraft"));
    rest.next()?;
    Some(
        rest.map(|word| word.to_string_lossy().into_owned())
            .collect(),
    )
}

/// What a finished `kraft` left.
#[derive(Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Outcome {
    /// Runs a command to its end, or kills it when patience is over.
    pub fn of(command: &mut Command) -> Self {
        Self::within(PATIENCE, command)
    }

    /// Runs a command to its end, or kills it after `patience`.
    pub fn within(patience: Duration, command: &mut Command) -> Self {
        let text = format!("{command:?}");
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = wait_with_patience(child, patience, &text);
        let outcome = Self {
            command: text,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        if outcome.code == Some(0)
            && let Some(args) = arguments_of_kraft(command)
        {
            output_schema::check(&args, &outcome.stdout);
        }
        outcome
    }

    /// Insists on exit code 0.
    #[must_use]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Insists on an exit code.
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }
}

fn wait_with_patience(mut child: Child, patience: Duration, what: &str) -> Output {
    let drain = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            bytes
        })
    };
    let stdout = drain(child.stdout.take().map(|p| Box::new(p) as _));
    let stderr = drain(child.stderr.take().map(|p| Box::new(p) as _));
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("hangs: {what}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Says on stderr that a test did not run, and why; in CI (`KRAFT_E2E=require`) that is a failure.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("KRAFT_E2E").is_none_or(|v| v != "require"),
        "SKIPPED, but all tests are required: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
}
