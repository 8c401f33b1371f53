//! Runs external programs with time limits, and explains missing and failed ones.
//!
//! ```
//! use std::time::Duration;
//!
//! use kraft_sys::tool::{Tool, ToolError};
//!
//! let output = Tool::new("tr").args(["a-z", "A-Z"]).input(b"kraft".to_vec()).run()?;
//! assert_eq!(output.stdout, b"KRAFT");
//!
//! let slow = Tool::new("sleep").args(["600"]).limit(Duration::from_millis(50)).run();
//! assert!(matches!(slow, Err(ToolError::TimedOut { .. })));
//! let missing = Tool::new("no-such-program").package("no-such-package").run();
//! assert!(matches!(missing, Err(ToolError::NotFound { .. })));
//! # Ok::<(), ToolError>(())
//! ```

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use crate::command_line;
use crate::environment::Inherit;
use crate::guard::Guard;
use crate::process::{Identity, Process, wait_readable};

/// Maximum output of a program, in bytes; more is dropped.
const MOST_OUTPUT: usize = 64 << 20;

/// Time limit for a killed program to end.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The program does not exist.
    #[error("cannot find the program `{program}`{}", hint(*package))]
    NotFound {
        /// Its name or path.
        program: String,
        /// The Debian package that contains it, if known.
        package: Option<&'static str>,
    },
    /// It cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// Its name or path.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// It exceeded its time limit and was killed.
    #[error("`{program}` did not end within {} ms", limit.as_millis())]
    TimedOut {
        /// Its name or path.
        program: String,
        /// The time limit.
        limit: Duration,
        /// Its output so far: stdout, then stderr.
        said: (Vec<u8>, Vec<u8>),
    },
    /// It exited with an error.
    #[error("`{program}` failed ({status}){}", said(stderr))]
    Failed {
        /// Its name or path.
        program: String,
        /// Its exit status.
        status: ExitStatus,
        /// Its stderr.
        stderr: Vec<u8>,
    },
}

fn hint(package: Option<&str>) -> String {
    package.map_or_else(String::new, |package| {
        format!(": try `apt install {package}`")
    })
}

fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// The result of a program.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: Vec<u8>,
    /// Its stderr.
    pub stderr: Vec<u8>,
}

/// A program to be run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    program: String,
    package: Option<&'static str>,
    limit: Option<Duration>,
    input: Vec<u8>,
    with_us: bool,
}

impl Tool {
    /// Prepares a program, by its path or by its name in the search path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            command: command(program.as_ref()),
            program: program.as_ref().to_string_lossy().into_owned(),
            package: None,
            limit: None,
            input: Vec::new(),
            with_us: false,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets the name that it is started under, which some programs choose their task by.
    #[must_use]
    pub fn arg0(mut self, name: impl AsRef<OsStr>) -> Self {
        use std::os::unix::process::CommandExt;

        self.command.arg0(name);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Sets which variables it inherits; by default all except for secrets.
    #[must_use]
    pub fn inherit(mut self, inherit: Inherit) -> Self {
        inherit.apply(&mut self.command);
        self
    }

    /// Sets its working directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets the Debian package to suggest if the program is missing.
    #[must_use]
    pub fn package(mut self, package: &'static str) -> Self {
        self.package = Some(package);
        self
    }

    /// Sets its stdin.
    #[must_use]
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.input = bytes;
        self
    }

    /// Sets a time limit, after which it is killed with its descendants.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Keeps it in this process group, so that Ctrl-C on the terminal ends both.
    #[must_use]
    pub fn with_us(mut self) -> Self {
        self.with_us = true;
        self
    }

    /// Runs it and returns its output for any exit status. If this process is killed, the program
    /// and its descendants are killed as well.
    pub fn output(self) -> Result<Output, ToolError> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return self.ended();
        }
        let (command, begin) = (command_line::shown(&self.command), Instant::now());
        let outcome = self.ended();
        let ended = match &outcome {
            Ok(output) => output.status.to_string(),
            Err(error) => error.to_string(),
        };
        let milliseconds = begin.elapsed().as_millis();
        tracing::debug!(command, outcome = ended, milliseconds, "program");
        outcome
    }

    fn ended(mut self) -> Result<Output, ToolError> {
        let guard = (!self.with_us).then(|| Guard::over(&mut self.command));
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self.command.spawn().map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                ToolError::NotFound {
                    program: self.program.clone(),
                    package: self.package,
                }
            } else {
                self.cannot_start(source)
            }
        })?;
        self.attend(child, guard.as_ref())
    }

    /// Runs it; an unsuccessful exit status is an error.
    pub fn run(self) -> Result<Output, ToolError> {
        let program = self.program.clone();
        let output = self.output()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(ToolError::Failed {
            program,
            status: output.status,
            stderr: output.stderr,
        })
    }

    fn cannot_start(&self, source: io::Error) -> ToolError {
        ToolError::Start {
            program: self.program.clone(),
            source,
        }
    }

    /// Writes its input, reads its output, and waits for it.
    fn attend(mut self, mut child: Child, guard: Option<&Guard>) -> Result<Output, ToolError> {
        let input = std::mem::take(&mut self.input);
        if let Some(mut stdin) = child.stdin.take()
            && !input.is_empty()
        {
            // In a separate thread: a program may write output before it has read all its input. A
            // program that does not read its input is not an error.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        match self.listen(&mut child, guard, &mut out, &mut err) {
            Ok(Some(status)) => Ok(Output {
                status,
                stdout: out,
                stderr: err,
            }),
            Ok(None) => Err(ToolError::TimedOut {
                program: self.program,
                limit: self.limit.unwrap_or_default(),
                said: (out, err),
            }),
            Err(source) => {
                end(&mut child, guard);
                Err(self.cannot_start(source))
            }
        }
    }

    /// Reads its output until it ends; `None` when it was killed after its time limit.
    fn listen(
        &self,
        child: &mut Child,
        guard: Option<&Guard>,
        out: &mut Vec<u8>,
        err: &mut Vec<u8>,
    ) -> io::Result<Option<ExitStatus>> {
        let deadline = self.limit.map(|limit| Instant::now() + limit);
        let (mut out, mut err) = (
            Ear::new(child.stdout.take(), out)?,
            Ear::new(child.stderr.take(), err)?,
        );
        let process = Identity::of(child.id())
            .map(|identity| Process::open(&identity))
            .transpose()?
            .flatten();
        loop {
            out.hear()?;
            err.hear()?;
            if let Some(status) = child.try_wait()? {
                // Descendants may still hold the pipes: read only what is available.
                out.hear()?;
                err.hear()?;
                return Ok(Some(status));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                end(child, guard);
                return Ok(None);
            }
            let mut files = Vec::new();
            files.extend(process.as_ref().map(AsFd::as_fd));
            files.extend(out.pipe.as_ref().map(AsFd::as_fd));
            files.extend(err.pipe.as_ref().map(AsFd::as_fd));
            wait_readable(&files, deadline)?;
        }
    }
}

/// Kills a child and its group. The wait is limited: a process in uninterruptible sleep does not
/// react to SIGKILL.
fn end(child: &mut Child, guard: Option<&Guard>) {
    if let Some(guard) = guard {
        guard.signal(child, Signal::KILL);
    }
    let _ = child.kill();
    if let Some(identity) = Identity::of(child.id())
        && let Ok(Some(process)) = Process::open(&identity)
    {
        let _ = process.wait(Some(LAST_WAIT));
    }
    let _ = child.try_wait();
}

/// The read end of a pipe, in non-blocking mode.
struct Ear<'a, P> {
    pipe: Option<P>,
    heard: &'a mut Vec<u8>,
}

impl<'a, P: Read + AsFd> Ear<'a, P> {
    fn new(pipe: Option<P>, heard: &'a mut Vec<u8>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { pipe, heard })
    }

    /// Reads the available bytes.
    fn hear(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16384];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    let room = MOST_OUTPUT.saturating_sub(self.heard.len()).min(n);
                    self.heard.extend(chunk.iter().take(room));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Replaces this process by a program, which gets its whole environment. Returns only if that fails.
#[expect(
    clippy::disallowed_methods,
    reason = "the program is to find everything as this one did"
)]
pub fn replace(program: &OsStr, args: &[OsString]) -> io::Error {
    use std::os::unix::process::CommandExt;

    Command::new(program).args(args).exec()
}

/// Prepares a program for callers that manage it themselves. It inherits no secrets
/// ([`crate::environment`]).
#[expect(
    clippy::disallowed_methods,
    reason = "the only module that starts programs"
)]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    Inherit::nothing_secret(&mut command);
    command
}

/// Finds a program in the current search path.
#[expect(
    clippy::disallowed_methods,
    reason = "programs are found in the search path, as by the standard library"
)]
pub fn locate(program: &OsStr) -> Option<PathBuf> {
    find(program, std::env::var_os("PATH").as_deref())
}

/// Finds a program as a shell does: a name with a slash is a path, any other is searched in
/// `search` (the value of `PATH`).
pub fn find(program: &OsStr, search: Option<&OsStr>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;

    let runnable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return runnable(&path).then_some(path);
    }
    std::env::split_paths(&search.map(OsString::from)?)
        .map(|dir| dir.join(program))
        .find(|path| runnable(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::new("sh").args(["-c", script])
    }

    #[test]
    fn output_and_status_are_kept_apart() {
        let output = shell("echo out; echo err >&2; exit 3").output().unwrap();
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn much_input_and_much_output_do_not_block_each_other() {
        let input = vec![b'x'; 1 << 20];
        let output = Tool::new("cat").input(input.clone()).run().unwrap();
        assert_eq!(output.stdout, input);
    }

    #[test]
    fn a_failure_tells_what_the_program_said() {
        let error = shell("echo 'no such thing' >&2; exit 1").run().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("`sh` failed"), "{text}");
        assert!(text.ends_with("no such thing"), "{text}");
    }

    #[test]
    fn a_missing_program_is_explained() {
        let error = Tool::new("kraft-has-no-such-program")
            .package("nothing")
            .output()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot find the program `kraft-has-no-such-program`: try `apt install nothing`"
        );
    }

    #[test]
    fn programs_are_killed_with_their_descendants_after_the_time_limit() {
        // On a host too slow to print anything in time, the limit is extended.
        let said = [1, 10, 100].into_iter().find_map(|seconds| {
            let error = shell("sleep 600 & echo $!; wait")
                .limit(Duration::from_secs(seconds))
                .output()
                .unwrap_err();
            let ToolError::TimedOut { said: (out, _), .. } = error else {
                panic!("{error}");
            };
            (!out.is_empty()).then_some(out)
        });
        let pid: u32 = String::from_utf8(said.unwrap())
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let child = Identity::of(pid).and_then(|child| Process::open(&child).unwrap());
        assert!(child.is_none_or(|child| child.wait(Some(Duration::from_mins(2))).unwrap()));
    }

    #[test]
    fn remaining_children_do_not_block() {
        let output = shell("sleep 600 & echo $!").output().unwrap();
        let pid: u32 = String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let left = Process::open(&Identity::of(pid).unwrap()).unwrap().unwrap();
        left.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let search = dir.path().as_os_str();
        assert_eq!(find(OsStr::new("sh"), Some(search)), None);
        assert_eq!(find(OsStr::new("sh"), None), None);
        let found = find(OsStr::new("sh"), Some(OsStr::new("/nowhere:/bin")));
        assert_eq!(found.as_deref(), Some(Path::new("/bin/sh")));
        assert!(find(OsStr::new("/bin/sh"), None).is_some());
        assert!(find(OsStr::new("/bin"), None).is_none());
    }
}
