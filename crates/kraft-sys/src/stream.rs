//! Runs a program and passes on its output line by line, until it ends or is stopped.
//!
//! ```
//! use kraft_sys::stream::{End, Stop, lines};
//! use kraft_sys::tool;
//!
//! let mut command = tool::command("printf");
//! command.arg("one\ntwo\n");
//! let mut seen = Vec::new();
//! let end = lines(command, |line| seen.push(line.to_vec()), Stop::default())?;
//! assert!(matches!(end, End::Itself(status) if status.success()));
//! assert_eq!(seen, [b"one", b"two"]);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::guard::Guard;
use crate::process::wait_readable;

/// Time limit for a program to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// Maximum length of a line, in bytes; longer ones are split.
const LONGEST_LINE: usize = 64 << 10;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Itself(ExitStatus),
    /// Because it was stopped.
    Stopped,
}

/// When a program is stopped before it ends; never, by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stop<'a> {
    /// A file that becomes readable, or is closed at its other end, when the program is to be
    /// stopped.
    pub cancelled: Option<BorrowedFd<'a>>,
    /// The time at which the program is stopped.
    pub deadline: Option<Instant>,
}

impl Stop<'_> {
    /// Returns whether programs are to be stopped now.
    pub fn is_now(&self) -> bool {
        let late = self.deadline.is_some_and(|end| Instant::now() >= end);
        late || self.cancelled.is_some_and(|file| {
            wait_readable(&[file], Some(Instant::now())).is_ok_and(|ready| ready.contains(&true))
        })
    }
}

/// Runs a program in its own process group and reports every line of stdout and stderr, in order.
///
/// When it is stopped, the process group gets SIGTERM, and SIGKILL if it does not end. It is
/// also killed when this process ends.
///
/// # Errors
/// The program cannot be started, or its output cannot be read.
pub fn lines(command: Command, heard: impl FnMut(&[u8]), stop: Stop<'_>) -> io::Result<End> {
    lines_with_input(command, Stdio::null(), heard, stop)
}

/// Like [`lines`], with input for the program.
///
/// # Errors
/// As [`lines`].
pub fn lines_with_input(
    mut command: Command,
    input: Stdio,
    mut heard: impl FnMut(&[u8]),
    stop: Stop<'_>,
) -> io::Result<End> {
    let (mut ours, theirs) = io::pipe()?;
    let guard = Guard::over(&mut command);
    command
        .stdin(input)
        .stdout(theirs.try_clone()?)
        .stderr(theirs);
    let mut child = command.spawn()?;
    // The command holds the write end of the pipe, which must be closed for EOF.
    drop(command);
    let told = listen(&mut ours, &mut heard, stop);
    if !matches!(told, Ok(true)) {
        end_group(&mut child, &guard);
        told?;
        return Ok(End::Stopped);
    }
    Ok(End::Itself(child.wait()?))
}

/// Forwards lines until EOF; returns `false` if stopped.
fn listen(
    pipe: &mut io::PipeReader,
    heard: &mut impl FnMut(&[u8]),
    stop: Stop<'_>,
) -> io::Result<bool> {
    let mut line = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        let ready = {
            let files: Vec<_> = [pipe.as_fd()].into_iter().chain(stop.cancelled).collect();
            wait_readable(&files, stop.deadline)?
        };
        if stop.is_now() {
            return Ok(false);
        }
        if ready.first() != Some(&true) {
            continue;
        }
        let read = pipe.read(&mut chunk)?;
        if read == 0 {
            if !line.is_empty() {
                heard(&line);
            }
            return Ok(true);
        }
        for &byte in chunk.iter().take(read) {
            if byte == b'\n' {
                heard(&line);
                line.clear();
                continue;
            }
            line.push(byte);
            if line.len() == LONGEST_LINE {
                heard(&line);
                line.clear();
            }
        }
    }
}

/// Ends a program and its descendants: SIGTERM, then SIGKILL.
fn end_group(child: &mut Child, guard: &Guard) {
    guard.signal(child, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            // Descendants may still be running.
            guard.signal(child, Signal::KILL);
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    guard.signal(child, Signal::KILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::tool;

    fn shell(script: &str) -> Command {
        let mut command = tool::command("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_outputs_come_line_by_line_in_order() {
        let told = RefCell::new(Vec::new());
        let end = lines(
            shell("echo one; echo two >&2; printf three; exit 3"),
            |line| {
                told.borrow_mut()
                    .push(String::from_utf8_lossy(line).into_owned());
            },
            Stop::default(),
        )
        .unwrap();
        assert_eq!(*told.borrow(), ["one", "two", "three"]);
        assert!(matches!(end, End::Itself(status) if status.code() == Some(3)));
    }

    #[test]
    fn stopped_programs_end_with_their_descendants() {
        let (reader, writer) = io::pipe().unwrap();
        let writer = Cell::new(Some(writer));
        let stop = Stop {
            cancelled: Some(reader.as_fd()),
            deadline: None,
        };
        assert!(!stop.is_now());
        let end = lines(
            shell("sleep 600 & echo $!; wait"),
            // The reader's other end is closed.
            |_| drop(writer.take()),
            stop,
        )
        .unwrap();
        assert_eq!(end, End::Stopped);
        assert!(stop.is_now());
    }

    #[test]
    fn a_deadline_stops_a_program_that_prints_all_the_time_or_never() {
        for script in ["while :; do echo line; done", "sleep 600"] {
            let stop = Stop {
                cancelled: None,
                deadline: Some(Instant::now() + Duration::from_millis(20)),
            };
            let end = lines(shell(script), |_| {}, stop).unwrap();
            assert_eq!(end, End::Stopped, "{script}");
        }
    }
}
