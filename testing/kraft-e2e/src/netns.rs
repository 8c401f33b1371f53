//! A place without any network, and a look at which sockets a program asks for.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::wrapped;

use crate::registry::installed;

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
