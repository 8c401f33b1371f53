//! A guard that kills a program and its descendants when this process ends.
//!
//! The guard is a shell that leads a process group and reads from a pipe whose other end only this
//! process holds. The guarded program joins the group. When this process ends, even by SIGKILL, the
//! pipe closes, and the guard kills its group:
//!
//! ```text
//! kraft ──pipe──► sh (leader)      read _; kill -KILL 0
//!                 program          the same process group
//! ```
//!
//! The shell ignores other signals to the group, but not before it has set its traps. It closes its
//! standard output then, and no signal is sent to the group earlier.
//!
//! A program that leaves its group (a daemon) is not killed.
//!
//! ```
//! use kraft_sys::guard::Guard;
//! use kraft_sys::tool;
//!
//! let mut command = tool::command("true");
//! let guard = Guard::over(&mut command);
//! // From now on the program ends with this process.
//! let mut child = command.spawn()?;
//! assert!(child.wait()?.success());
//! drop(guard);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::tool;

/// A process group that does not outlive this process.
#[derive(Debug)]
pub struct Guard {
    /// `None` if there is no shell.
    shell: Option<Child>,
    /// Ends when the shell ignores signals; `None` once that has been seen.
    starting: Mutex<Option<ChildStdout>>,
}

impl Guard {
    /// Starts a guard and makes `command` join its group when it is spawned.
    ///
    /// Without a shell, the command gets its own process group, and is not killed with this
    /// process.
    pub fn over(command: &mut Command) -> Self {
        let mut shell = tool::command("/bin/sh")
            .args(["-c", "trap '' HUP INT TERM; exec >&-; read _; kill -KILL 0"])
            .env_clear()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok();
        let starting = shell.as_mut().and_then(|shell| shell.stdout.take());
        let group = shell.as_ref().and_then(|shell| raw(shell.id()));
        command.process_group(group.map_or(0, |group| group.as_raw_nonzero().get()));
        Self {
            shell,
            starting: Mutex::new(starting),
        }
    }

    /// Returns the process group of a program that was started under this guard.
    pub(crate) fn group(&self, child: &Child) -> Option<Pid> {
        raw(self.shell.as_ref().map_or(child.id(), Child::id))
    }

    /// Sends a signal to the program and its descendants. The guard itself only reacts to SIGKILL.
    pub(crate) fn signal(&self, child: &Child, signal: Signal) {
        self.wait_for_shell();
        if let Some(group) = self.group(child) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Guard {
    /// Waits until the shell ignores signals, or has ended.
    fn wait_for_shell(&self) {
        let mut starting = match self.starting.lock() {
            Ok(starting) => starting,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(mut output) = starting.take() {
            // The shell writes nothing: this returns at the end of its output.
            let _ = output.read(&mut [0]);
        }
    }
}

impl Drop for Guard {
    /// Kills only the guard: daemons left by the program keep running.
    fn drop(&mut self) {
        if let Some(shell) = &mut self.shell {
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use crate::process::{Identity, Process};

    use super::*;

    /// Starts a program with a child process, both of which run forever.
    fn family() -> (Guard, Child, Process) {
        let mut command = tool::command("sh");
        command.args(["-c", "trap '' TERM HUP; sleep 600 & echo $!; wait"]);
        command.stdout(Stdio::piped());
        let guard = Guard::over(&mut command);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let grandchild = Identity::of(line.trim().parse().unwrap()).unwrap();
        let grandchild = Process::open(&grandchild).unwrap().unwrap();
        (guard, child, grandchild)
    }

    #[test]
    fn when_our_end_of_the_pipe_closes_the_program_ends_with_all_it_started() {
        let (mut guard, mut child, grandchild) = family();
        // As the system does when this process is killed.
        drop(guard.shell.as_mut().unwrap().stdin.take());
        assert!(!child.wait().unwrap().success());
        assert!(grandchild.wait(None).unwrap());
    }

    #[test]
    fn a_polite_signal_to_the_group_leaves_the_guard_in_place() {
        let (mut guard, mut child, grandchild) = family();
        guard.signal(&child, Signal::TERM);
        drop(guard.shell.as_mut().unwrap().stdin.take());
        child.wait().unwrap();
        assert!(grandchild.wait(None).unwrap());
    }

    /// A shell that has not set its traps yet would end by the signal, and guard nothing any more.
    #[test]
    fn a_signal_at_once_leaves_the_guard_in_place() {
        for _ in 0..50 {
            let mut command = tool::command("sleep");
            command.arg("600");
            let mut guard = Guard::over(&mut command);
            let mut child = command.spawn().unwrap();
            guard.signal(&child, Signal::TERM);
            child.wait().unwrap();
            assert!(guard.shell.as_mut().unwrap().try_wait().unwrap().is_none());
        }
    }

    #[test]
    fn a_guard_that_is_dismissed_ends_nothing() {
        let (guard, mut child, grandchild) = family();
        drop(guard);
        assert!(child.try_wait().unwrap().is_none());
        assert!(!grandchild.wait(Some(std::time::Duration::ZERO)).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        grandchild.signal(Signal::KILL).unwrap();
    }
}
