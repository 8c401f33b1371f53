//! The process that creates the namespaces, and the processes that it starts.
//!
//! ```text
//! kraft ── this ──┬── outside (maps users, connects the network)
//!                 ├── a stand-in, which keeps the namespaces and has no privileges
//!                 └── init of the PID namespace ── the command
//! ```

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, Gid, Signal, Uid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use super::network::{self, Access};
use super::outside::{Outside, set};
use super::root::Root;
use super::spec::{Spec, Step};
use super::trees::Trees;
use super::{HOSTNAME, NOT_STARTED, command, end_now};

/// Reads a request from stdin and executes it; returns the exit code.
pub fn enter() -> i32 {
    let (mark, what) = match read() {
        Ok(spec) => match carry_out(&spec) {
            Ok(code) => return code,
            Err(what) => (spec.step.map(|step| step.mark), what),
        },
        Err(error) => (None, format!("cannot read the request: {error}")),
    };
    // There is no other way to report it if this fails.
    let _ = writeln!(io::stderr(), "{}{what}", mark.unwrap_or_default());
    NOT_STARTED
}

fn read() -> io::Result<Spec> {
    // The step must not inherit kraft's descriptors, nor the copy of this program.
    close_inherited()?;
    rustix::process::chdir("/")?;
    Spec::read(Stdin)
}

/// Stdin without a buffer: bytes after the request are not read.
struct Stdin;

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(rustix::stdio::stdin(), buffer)?)
    }
}

/// Closes every descriptor except stdin, stdout and stderr.
fn close_inherited() -> io::Result<()> {
    // SAFETY: nothing in this process owns a descriptor above 2 yet: it has just begun.
    #[expect(
        unsafe_code,
        reason = "no library closes descriptors that it did not open"
    )]
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Returns a function that adds to an error what could not be done.
fn cannot(doing: &str) -> impl FnOnce(io::Error) -> String {
    let doing = doing.to_owned();
    move |error| format!("could not be started: cannot {doing}: {error}")
}

/// Creates the namespaces and runs the step in them.
fn carry_out(spec: &Spec) -> Result<i32, String> {
    let trees = || spec.step.as_ref().map(Trees::open).transpose();
    // Root opens what is mounted while it is still root of the host: inside, it may not be able to.
    let early = match spec.ids {
        Some(_) => {
            unshare(UnshareFlags::NEWNS).map_err(cannot("make a mount namespace"))?;
            keep_mounts()?;
            Some(trees()?)
        }
        None => None,
    };
    let carried = matches!(spec.network, Access::Own(_));
    let mut outside = (spec.ids.is_some() || carried)
        .then(|| Outside::start(spec))
        .transpose()
        .map_err(cannot("start a process outside of the sandbox"))?;
    become_somebody_else(spec, outside.as_mut())?;
    if spec.network != Access::Host {
        network::start_loopback().map_err(cannot("start the loopback device"))?;
        rustix::system::sethostname(HOSTNAME.as_bytes())
            .map_err(|errno| cannot("set the name of the host")(errno.into()))?;
    }
    keep_mounts()?;
    let trees = match early {
        Some(trees) => trees,
        None => trees()?,
    };
    // Before the pipes, whose ends it would inherit, and not where the step could see it.
    let stand_in = carried
        .then(StandIn::start)
        .transpose()
        .map_err(cannot("start a process"))?;
    unshare(UnshareFlags::NEWPID).map_err(cannot("make a PID namespace"))?;
    let (ready, go) = io::pipe().map_err(cannot("make a pipe"))?;
    let (made, report) = io::pipe().map_err(cannot("make a pipe"))?;
    let init = fork().map_err(cannot("fork"))?;
    if init == 0 {
        drop((go, made, outside, stand_in));
        inside(spec.step.as_ref(), trees, ready, report)
    }
    drop((ready, report, trees));
    if let (Some(outside), Some(stand_in)) = (&mut outside, &stand_in)
        // Without a network the command still runs: it may not need one.
        && let Err(why) = outside.network(stand_in.pid)
    {
        // It is about the step, so it is part of its output.
        let _ = writeln!(io::stderr(), "(no network: {why})");
    }
    // The command begins when this end closes.
    drop(go);
    let root = Root::read(made);
    let code = wait(init)?;
    // No process runs there any more.
    root.leave();
    Ok(code)
}

/// Leaves the namespaces of the host and becomes root of a user namespace.
fn become_somebody_else(spec: &Spec, outside: Option<&mut Outside>) -> Result<(), String> {
    let before = (rustix::process::geteuid(), rustix::process::getegid());
    let mut flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    if spec.network != Access::Host {
        flags |= UnshareFlags::NEWNET;
    }
    unshare(flags).map_err(cannot("make namespaces"))?;
    match (&spec.ids, outside) {
        (Some(_), Some(outside)) => {
            let failed = |what: String| format!("could not be started: {what}");
            outside.map().map_err(failed)?;
            become_root().map_err(cannot("become root of the namespace"))
        }
        _ => map_alone(before).map_err(cannot("set the users of the namespace")),
    }
}

/// A process that only keeps the namespaces.
///
/// The program that connects the network reads the namespaces of a process, and may do so only if that
/// has no privileges which it does not have itself (`ptrace(2)`, "Ptrace access mode checking").
struct StandIn {
    pid: u32,
    /// It ends when this closes.
    _life: io::PipeWriter,
}

impl StandIn {
    fn start() -> io::Result<Self> {
        let (mut end, life) = io::pipe()?;
        let (mut wait, ready) = io::pipe()?;
        let child = fork()?;
        if child == 0 {
            drop((life, wait));
            let shown = give_up_privileges();
            drop(ready);
            if shown.is_ok() {
                let _ = end.read(&mut [0]);
            }
            end_now(0)
        }
        drop(ready);
        // Nothing is written: the end of the stream is the signal of success.
        let _ = wait.read(&mut [0])?;
        let pid = u32::try_from(child).map_err(io::Error::other)?;
        Ok(Self { pid, _life: life })
    }
}

fn give_up_privileges() -> io::Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)?;
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// Keeps mounts of this mount namespace from appearing in others, and theirs in this one.
fn keep_mounts() -> Result<(), String> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|errno| cannot("keep its mounts to itself")(errno.into()))
}

/// Leaves namespaces of the host.
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the flag that is not safe, which parts open files between threads, is never given.
    #[expect(unsafe_code, reason = "one flag of the call is not safe")]
    let done = unsafe { rustix::thread::unshare_unsafe(flags) };
    Ok(done?)
}

/// Maps an ordinary user to root of the namespace, and no other user (`user_namespaces(7)`).
fn map_alone((uid, gid): (Uid, Gid)) -> io::Result<()> {
    set("/proc/self/setgroups", "deny")?;
    set("/proc/self/gid_map", &format!("0 {} 1", gid.as_raw()))?;
    set("/proc/self/uid_map", &format!("0 {} 1", uid.as_raw()))
}

/// Becomes root of the user namespace that this process has joined.
pub(super) fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    Ok(rustix::thread::set_thread_res_uid(
        Uid::ROOT,
        Uid::ROOT,
        Uid::ROOT,
    )?)
}

/// Forks this process, which must have no other thread.
pub(super) fn fork() -> io::Result<libc::pid_t> {
    // SAFETY: this process has one thread, so the child may do whatever the parent could.
    #[expect(unsafe_code, reason = "no library forks")]
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(child)
}

/// Waits for a child, and returns its exit code.
fn wait(child: libc::pid_t) -> Result<i32, String> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer leads to a whole `int`.
        #[expect(unsafe_code, reason = "the child is none of the standard library's")]
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if waited == child {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(format!("cannot wait for the command: {error}"));
        }
    }
    let status = ExitStatus::from_raw(status);
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// The first process of the PID namespace. Runs the step when `ready` closes, and exits.
fn inside(
    step: Option<&Step>,
    trees: Option<Trees>,
    ready: io::PipeReader,
    report: io::PipeWriter,
) -> ! {
    let (mark, ended) = match (step, trees) {
        (Some(step), Some(trees)) => (step.mark.as_str(), init(step, trees, ready, report)),
        _ => ("", Root::try_out().map(|()| 0)),
    };
    end_now(ended.unwrap_or_else(|what| {
        // There is no other way to report it if this fails.
        let _ = writeln!(io::stderr(), "{mark}{what}");
        NOT_STARTED
    }))
}

/// Runs the step as the first process of the PID namespace.
fn init(
    step: &Step,
    trees: Trees,
    mut ready: io::PipeReader,
    report: io::PipeWriter,
) -> Result<i32, String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| cannot("end with its parent")(errno.into()))?;
    rustix::process::setsid().map_err(|errno| cannot("leave the terminal")(errno.into()))?;
    leave_keyring().map_err(cannot("leave the keyring"))?;
    // Processes inside cannot read this one, whose memory has data from outside.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| cannot("hide itself")(errno.into()))?;
    let mut root = Root::default();
    root.build(step, trees)
        .map_err(|(doing, error)| cannot(&doing)(error))?;
    root.write(report)
        .map_err(cannot("report what it mounted"))?;
    // Nothing is written: the end of the stream is the signal.
    let _ = ready
        .read(&mut [0])
        .map_err(cannot("wait for the network"))?;
    drop(ready);
    command::confine()?;
    end_with_kraft();
    command::run(step)
}

/// Gives this process and its children their own keyring.
fn leave_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    let unnamed = std::ptr::null::<libc::c_char>();
    // SAFETY: the call reads no memory when the name is null (keyctl_join_session_keyring(3)).
    #[expect(unsafe_code, reason = "no library of this workspace supports keyrings")]
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, unnamed) };
    let error = io::Error::last_os_error();
    // A kernel without keyrings has nothing to leave.
    if joined >= 0 || error.raw_os_error() == Some(libc::ENOSYS) {
        return Ok(());
    }
    Err(error)
}

/// Ends everything inside when kraft is gone: its end of the pipe closes.
fn end_with_kraft() {
    std::thread::spawn(|| {
        // Nothing is written after the request: any result is the end.
        let _ = Stdin.read(&mut [0]);
        end_now(NOT_STARTED);
    });
}
