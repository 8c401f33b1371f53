//! A home of root or of an ordinary user, with programs for guests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Bench, Outcome, has_builtin_runtime, skip, wrapped};
use crate::registry::installed;

/// The user id of the ordinary user.
const USER: u32 = 1000;

/// A home with programs for guests, of the user who runs the tests or of an ordinary one.
#[derive(Debug)]
pub struct Place {
    /// The home.
    pub bench: Bench,
    kraft: PathBuf,
    /// The command that becomes the user; empty for the user who runs the tests.
    pub(crate) user: Vec<String>,
}

impl Place {
    /// Makes a home with C programs, each a name and a text, which are linked statically; `None`,
    /// with a message, if this host runs none of them in a guest or has no other user.
    ///
    /// # Panics
    /// If they cannot be compiled.
    #[must_use]
    pub fn with(ordinary: bool, programs: &[(&str, &str)]) -> Option<Self> {
        let why = if !has_builtin_runtime() {
            Some("the built-in runtime is not built: make runtime")
        } else if !installed("gcc") {
            Some("gcc is not installed: scripts/setup.sh test")
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
            fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o755)).unwrap();
            user.extend(bench.hand_over(USER));
        }
        Some(Self { bench, kraft, user })
    }

    /// Prepares a `kraft` of the user with arguments.
    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        self.as_user(self.bench.command_of(&self.kraft, args))
    }

    /// Returns the same command as one of the user.
    pub(crate) fn as_user(&self, command: Command) -> Command {
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

    /// Runs `kraft` and insists on failure; returns what it reported.
    ///
    /// # Panics
    /// If it succeeds.
    pub fn fails<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let outcome = self.kraft(args);
        assert_ne!(outcome.code, Some(0), "{}", outcome.command);
        outcome.stderr
    }

    /// Runs `kraft ... -o json` and returns the value.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Runs `kraft` and returns how long it took, so that kills can be spread over that time.
    pub fn timed<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Duration {
        let began = Instant::now();
        self.ok(args);
        began.elapsed()
    }

    /// Starts `kraft` and kills it after a while.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn killed<'a>(&self, args: impl IntoIterator<Item = &'a str>, after: Duration) {
        let mut command = self.command(args);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Writes a file of the user, with the directories above it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.bench.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        if !self.user.is_empty() {
            self.bench.hand_over(USER);
        }
    }

    /// Reads a file.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.bench.path().join(name)).unwrap()
    }
}

/// Compiles a C program for guests, linked statically, into the home.
fn compile(bench: &Bench, name: &str, text: &str) {
    let source = bench.path().join(format!("{name}.c"));
    fs::write(&source, text).unwrap();
    let mut compile = Command::new("gcc");
    compile.arg("-static").arg("-w").arg("-o");
    compile.arg(bench.path().join(name)).arg(&source);
    let output = compile.stderr(Stdio::null()).status().unwrap();
    assert!(output.success());
}
