//! The part of the sandbox that stays on the host: it does what a process in new namespaces cannot do
//! itself.
//!
//! It is a fork of the process that creates the namespaces, and answers its requests until that
//! process ends. Then it also ends the program that connects the network.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::end_now;
use super::namespaces::{become_root, fork};
use super::network::{self, Access, Way};
use super::spec::Spec;
use crate::ids::{Extent, IdMap};

/// Timeout for the network to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Interval of the checks.
const GLANCE: Duration = Duration::from_millis(2);
/// Request for the users and groups of the namespace; a number requests the network of a process.
const MAP: &str = "users\n";

/// The other process, as the one that creates the namespaces uses it.
#[derive(Debug)]
pub(super) struct Outside {
    requests: io::PipeWriter,
    answers: BufReader<io::PipeReader>,
}

impl Outside {
    /// Starts it. There must be no other thread than the calling one.
    pub(super) fn start(spec: &Spec) -> io::Result<Self> {
        let (theirs, requests) = io::pipe()?;
        let (answers, answer) = io::pipe()?;
        let whom = std::process::id();
        if fork()? == 0 {
            drop((requests, answers));
            serve(spec, whom, theirs, answer);
            end_now(0)
        }
        Ok(Self {
            requests,
            answers: BufReader::new(answers),
        })
    }

    /// Requests the users and groups of this process's namespace.
    pub(super) fn map(&mut self) -> Result<(), String> {
        self.ask(MAP)
    }

    /// Requests the network of a namespace. `stand_in` is a process in it.
    pub(super) fn network(&mut self, stand_in: u32) -> Result<(), String> {
        self.ask(&format!("{stand_in}\n"))
    }

    fn ask(&mut self, what: &str) -> Result<(), String> {
        let mut answer = String::new();
        let asked = self.requests.write_all(what.as_bytes());
        let read = asked.and_then(|()| self.answers.read_line(&mut answer));
        match read {
            Ok(0) => Err("the process outside of the sandbox ended".to_owned()),
            Ok(_) if answer.trim().is_empty() => Ok(()),
            Ok(_) => Err(answer.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Answers the requests of a process until it ends.
fn serve(spec: &Spec, whom: u32, requests: io::PipeReader, mut answers: io::PipeWriter) {
    let mut network = None;
    for request in BufReader::new(requests).lines() {
        let Ok(request) = request else { break };
        let done = match (request.parse(), &spec.ids, &spec.network) {
            (Err(_), Some(ids), _) => map(ids, whom),
            (Ok(stand_in), ids, Access::Own(way)) => {
                lead_out(way, stand_in, ids.is_some()).map(|child| network = Some(child))
            }
            _ => break,
        };
        let answer = done.err().unwrap_or_default();
        let answer = answer.lines().next_back().unwrap_or_default();
        if writeln!(answers, "{answer}").is_err() {
            break;
        }
    }
    if let Some(mut network) = network {
        let _ = network.kill();
        let _ = network.wait();
    }
}

/// Sets the users and groups of the namespace of a process (`user_namespaces(7)`).
fn map(ids: &IdMap, whom: u32) -> Result<(), String> {
    let write = |name: &str, extents: &[Extent]| {
        let mut text = String::new();
        for extent in extents {
            let Extent {
                inside,
                outside,
                count,
            } = extent;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{inside} {outside} {count}");
        }
        set(&format!("/proc/{whom}/{name}"), &text)
            .map_err(|error| format!("cannot set the users of the namespace ({name}): {error}"))
    };
    write("gid_map", &ids.groups)?;
    write("uid_map", &ids.users)
}

/// Writes a file of `/proc` with one call, as the kernel requires.
pub(super) fn set(path: &str, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Starts the program that connects the network namespace of a process, and waits until there is a
/// route.
fn lead_out(way: &Way, whom: u32, mapped: bool) -> Result<Child, String> {
    let mut command = way.command(whom, mapped);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped());
    if mapped {
        join(&mut command, whom)?;
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("cannot run `{program}`: {error}");
    let mut child = command.spawn().map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    while !network::has_route(whom) {
        if child.try_wait().map_err(failed)?.is_some() {
            let mut said = String::new();
            if let Some(errors) = child.stderr.take() {
                let _ = errors.take(64 << 10).read_to_string(&mut said);
            }
            let why = said.lines().next_back().unwrap_or("it ended").trim();
            return Err(format!("`{program}`: {why}"));
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("`{program}` found no way out"));
        }
        std::thread::sleep(GLANCE);
    }
    Ok(child)
}

/// Makes a program of root start as root of the user namespace of a process: on the host, it has no
/// privileges then.
fn join(command: &mut Command, whom: u32) -> Result<(), String> {
    let path = format!("/proc/{whom}/ns/user");
    let namespace = std::fs::File::open(&path).map_err(|error| format!("`{path}`: {error}"))?;
    let enter = move || -> io::Result<()> {
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&namespace),
            Some(LinkNameSpaceType::User),
        )?;
        become_root()
    };
    // SAFETY: it makes system calls only, and the process that forks has one thread.
    #[expect(unsafe_code, reason = "the child has to join before it executes")]
    unsafe {
        command.pre_exec(enter);
    }
    Ok(())
}
