//! Process identity, signals and waiting.
//!
//! PIDs are reused. An [`Identity`] is the PID, the start time and the boot id; a [`Process`] is a
//! handle (a pidfd on Linux) that was checked against an identity, so that a signal or a wait cannot affect another
//! process.
//!
//! ```
//! use kraft_sys::process::{Identity, Process};
//!
//! let me = Identity::me().expect("a process");
//! assert!(me.is_alive());
//! assert!(Process::open(&me)?.is_some());
//!
//! // The same PID with another start time is another process.
//! let other = Identity { started: me.started + 1, ..me };
//! assert!(!other.is_alive());
//! assert!(Process::open(&other)?.is_none());
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::host::{self, Life};

/// Returns the program of this process, for starting it again; on Linux also after it was replaced on disk.
pub fn own_program() -> PathBuf {
    host::own_program()
}

/// Identifies one process across reboots of this host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// Start time: on Linux in clock ticks after boot (`/proc/PID/stat`, field 22), on macOS in microseconds since 1970.
    pub started: u64,
    /// The boot id ([`clock::boot_id`]).
    pub boot: String,
}

impl Identity {
    /// Returns the identity of the running process with this PID.
    ///
    /// A zombie does not count as running.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            started: start_of_living(pid)?,
            boot: clock::boot_id(),
        })
    }

    /// Returns the identity of a child that was not waited for yet, even of one that has ended already:
    /// its PID still belongs to it. `None` without `/proc`.
    pub fn of_child(child: &Child) -> Option<Self> {
        let (_, started) = host::stat(child.id())?;
        Some(Self {
            pid: child.id(),
            started,
            boot: clock::boot_id(),
        })
    }

    /// Returns the identity of this process.
    pub fn me() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Returns whether this process is still running.
    pub fn is_alive(&self) -> bool {
        start_of_living(self.pid) == Some(self.started) && self.boot == clock::boot_id()
    }

    /// Returns whether it belongs to another boot of this host.
    pub fn is_from_another_boot(&self) -> bool {
        self.boot != clock::boot_id()
    }
}

/// Returns the start time of a process; `None` if it is not running.
fn start_of_living(pid: u32) -> Option<u64> {
    match host::stat(pid)? {
        (Life::Running, started) => Some(started),
        (Life::Ended, _) => None,
    }
}

/// A handle for waiting and signals that cannot refer to another process.
#[derive(Debug)]
pub struct Process {
    handle: host::Handle,
}

impl Process {
    /// Opens the process with an identity; `None` if it has ended.
    pub fn open(identity: &Identity) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let handle = match host::Handle::open(pid) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        // From now on the PID cannot be reused unnoticed.
        Ok(identity.is_alive().then_some(Self { handle }))
    }

    /// Sends a signal; a process that has ended is not an error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.handle.signal(signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for its end, up to a time limit; returns whether it has ended.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        wait_readable(&[self.as_fd()], deadline).map(|ready| ready.first() == Some(&true))
    }
}

impl AsFd for Process {
    /// Returns a file that becomes readable when the process ends.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Waits until at least one of the files is readable or closed at its other end; returns which.
/// After the deadline none is.
pub fn wait_readable(files: &[BorrowedFd<'_>], deadline: Option<Instant>) -> io::Result<Vec<bool>> {
    loop {
        let mut polled: Vec<PollFd<'_>> = files
            .iter()
            .map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN))
            .collect();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left: Option<Timespec> = left.and_then(|left| left.try_into().ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) => return Ok(polled.iter().map(|p| !p.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Removes write permission for other users from files that this process creates, regardless of its
/// umask.
pub fn restrict_umask() {
    use rustix::fs::Mode;
    use rustix::process::umask;

    let others = Mode::WGRP | Mode::WOTH;
    // The umask can only be read by setting it.
    let before = umask(others);
    umask(before | others);
}

/// Leaves the session and its terminal, so that closing the terminal does not end this process.
pub fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Ignores SIGHUP, SIGINT and SIGTERM in this process, but not in programs that it starts.
pub fn survive_polite_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        // A handler rather than "ignore": `exec` resets handlers, and keeps ignored signals.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Makes writes beyond the file size limit fail in this process and its children, instead of
/// killing it by SIGXFSZ.
pub fn survive_file_size_limit() -> io::Result<()> {
    // SAFETY: ignoring a signal runs no handler, and the signal is raised only by this process's
    // own writes.
    #[expect(unsafe_code, reason = "no safe interface ignores a signal")]
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets the maximum size of files that a process writes, in bytes.
pub fn limit_file_size(identity: &Identity, bytes: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit};

    let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else {
        return Err(Errno::SRCH.into());
    };
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit {
        current: Some(maximum.map_or(bytes, |maximum| bytes.min(maximum))),
        maximum,
    };
    host::limit_file_size(pid, limit)
}

/// Keeps inherited open files (other than stdin, stdout and stderr) from programs started from now
/// on.
pub fn keep_files_from_children() -> io::Result<()> {
    for fd in host::open_files()? {
        if fd > 2 {
            // SAFETY: the number was just listed; if it was closed since (the listing's own
            // descriptor is), fcntl says EBADF and changes nothing. Only a flag is set, and the
            // descriptor is neither kept nor closed.
            #[expect(unsafe_code, reason = "a descriptor known by its number only")]
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            match fcntl_setfd(fd, FdFlags::CLOEXEC) {
                Ok(()) | Err(Errno::BADF) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// Gives this process a network namespace of its own, which nothing is in but a loopback that is down.
pub fn leave_network() -> io::Result<()> {
    host::leave_network()
}

/// Has a program start inside namespaces: the last of them is entered first. They stay open until it
/// is started.
pub fn enter_before_start(command: &mut std::process::Command, namespaces: &[OwnedFd]) {
    use std::os::unix::process::CommandExt;

    let namespaces: Vec<_> = namespaces.iter().rev().map(AsRawFd::as_raw_fd).collect();
    let enter = move || {
        for number in &namespaces {
            // SAFETY: the caller keeps the file open until the program is started.
            #[expect(unsafe_code, reason = "a descriptor known by its number only")]
            let file = unsafe { BorrowedFd::borrow_raw(*number) };
            host::enter(file)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    #[expect(unsafe_code, reason = "the process has one thread only there")]
    unsafe {
        command.pre_exec(enter);
    }
}

/// Has a program killed when the thread that starts it ends, even if that thread is killed. Only on Linux.
pub fn end_with_parent(command: &mut std::process::Command) {
    host::end_with_parent(command);
}

/// Takes over stdout as a file; later writes to stdout go to `/dev/null`.
pub fn take_stdout() -> io::Result<File> {
    let taken = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    Ok(File::from(taken))
}

/// Returns a short path of an open directory, for system calls with a limited path length (103
/// bytes for a unix socket). Valid as long as `dir` is open.
pub fn short_path(dir: &File) -> PathBuf {
    host::short_path(dir)
}

/// Returns the running processes whose working directory is `dir`, if they can be inspected.
pub fn living_in(dir: &std::path::Path) -> Vec<Identity> {
    use std::os::unix::fs::MetadataExt;

    let Ok(wanted) = std::fs::metadata(dir) else {
        return Vec::new();
    };
    let wanted = (wanted.dev(), wanted.ino());
    all()
        .filter(|pid| host::working_dir_inode(*pid) == Some(wanted))
        .filter_map(Identity::of)
        .collect()
}

/// Returns the ids of all visible processes.
pub fn all() -> impl Iterator<Item = u32> {
    host::processes()
}

/// Returns the working directory of a process. Linux appends ` (deleted)` if it was removed.
pub fn working_dir(pid: u32) -> Option<PathBuf> {
    host::working_dir(pid)
}

/// Returns the arguments of a process; empty if they cannot be read.
pub fn command_line(pid: u32) -> Vec<Vec<u8>> {
    host::command_line(pid)
        .unwrap_or_default()
        .split(|&byte| byte == 0)
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::process::{Command, Stdio};

    #[expect(clippy::disallowed_methods, reason = "this module starts programs")]
    fn sleeper() -> Child {
        Command::new("sleep")
            .arg("600")
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_process_is_itself_until_it_ends_even_before_it_is_reaped() {
        let mut child = sleeper();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.is_alive());
        let process = Process::open(&identity).unwrap().unwrap();
        assert!(!process.wait(Some(Duration::ZERO)).unwrap());
        process.signal(Signal::KILL).unwrap();
        assert!(process.wait(None).unwrap());
        assert!(!identity.is_alive(), "a zombie is dead");
        assert_eq!(Identity::of(child.id()), None);
        assert_eq!(Identity::of_child(&child), Some(identity.clone()));
        child.wait().unwrap();
        assert!(Process::open(&identity).unwrap().is_none());
        process.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn another_start_or_another_boot_is_another_process() {
        let me = Identity::me().unwrap();
        assert!(me.is_alive());
        let other_start = Identity {
            started: me.started + 1,
            ..me.clone()
        };
        let other_boot = Identity {
            boot: "another".to_owned(),
            ..me
        };
        assert!(!other_start.is_alive() && Process::open(&other_start).unwrap().is_none());
        assert!(!other_boot.is_alive() && other_boot.is_from_another_boot());
    }

    #[test]
    fn processes_are_found_by_the_directory_they_live_in() {
        let dir = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "this module starts programs")]
        let mut child = Command::new("sleep")
            .arg("600")
            .current_dir(dir.path())
            .spawn()
            .unwrap();
        let found: Vec<u32> = living_in(dir.path()).iter().map(|i| i.pid).collect();
        assert_eq!(found, [child.id()]);
        // The arguments of a new process may not be visible yet.
        while command_line(child.id())
            .get(1)
            .is_none_or(|word| word != b"600")
        {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
