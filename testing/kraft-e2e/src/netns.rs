//! Network namespaces: a place without any network, with a look at which sockets a program asks for, and calls
//! in the namespace of others.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::wrapped;
use crate::registry::installed;

/// Calls a function in a network namespace, such as `/proc/PID/ns/net`. The sockets that it returns stay there.
///
/// # Panics
/// If the namespace cannot be entered.
pub fn inside<T: Send>(namespace: &Path, call: impl FnOnce() -> T + Send) -> T {
    let file = File::open(namespace).unwrap();
    // In a thread of its own, because a thread cannot leave again.
    let entered = || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(file.as_fd(), kind).unwrap();
        call()
    };
    std::thread::scope(|scope| scope.spawn(entered).join().unwrap())
}

/// Returns why this host cannot run tests without a network, if it cannot.
pub fn obstacle() -> Option<&'static str> {
    for program in ["unshare", "strace"] {
        if !installed(program) {
            return Some("unshare or strace is not installed: scripts/setup.sh test");
        }
    }
    let mut permitted = Command::new("unshare");
    permitted
        .args(isolation())
        .args(["strace", "-o", "/dev/null", "true"]);
    permitted.stdin(Stdio::null()).stdout(Stdio::null());
    match permitted.stderr(Stdio::null()).status() {
        Ok(status) if status.success() => None,
        _ => Some("this host does not allow creating and tracing network namespaces"),
    }
}

/// Returns the same command, but in a network namespace of its own, where not even the loopback
/// is up, and with every call to `socket` and `connect` of it and its children written to `trace`.
pub fn isolated(command: &Command, trace: &Path) -> Command {
    let mut outer = Command::new("unshare");
    outer
        .args(isolation())
        .args(["strace", "-f", "-qq", "-e", "trace=socket,connect", "-o"])
        .arg(trace)
        .arg("--");
    wrapped(outer, command)
}

/// Returns the lines of a trace with sockets that lead out of the host, or with network queries to
/// the kernel.
pub fn outward_sockets(trace: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(trace).unwrap();
    text.lines()
        .filter(|line| line.contains("socket(") || line.contains("connect("))
        .filter(|line| !line.contains("AF_UNIX"))
        .map(str::to_owned)
        .collect()
}

fn isolation() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &["--net", "--"]
    } else {
        &["--net", "--map-root-user", "--"]
    }
}
