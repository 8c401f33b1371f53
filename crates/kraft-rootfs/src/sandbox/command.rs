//! Runs the command: looks it up in the image, and starts it as its user with the privileges of a
//! container.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Stdio;

use kraft_sys::tool;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_no_new_privs,
};

use super::filter;
use super::spec::Step;

/// Maximum size of `/etc/passwd` and `/etc/group` of an image in bytes.
const LARGEST_TEXT: u64 = 1 << 20;
/// Limits of a command: number of processes and threads, and size of a file in bytes.
const LIMITS: [(Resource, u64); 3] = [
    (Resource::Core, 0),
    (Resource::Nproc, 16_384),
    (Resource::Fsize, 64 << 30),
];
/// Capabilities of root in a container (moby, `oci/caps/defaults.go`). With them a process cannot leave
/// a root whose mounts contain no devices.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Runs the command, and returns its exit code.
pub(super) fn run(step: &Step) -> Result<i32, String> {
    let Some((program, words)) = step.words.split_first() else {
        return Err("is empty".to_owned());
    };
    // Programs are looked up with the variables of the command.
    let environment = |name: &str| {
        let mut pairs = step.environment.iter();
        pairs
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    };
    let search = environment("PATH").map(std::ffi::OsStr::new);
    // A name with a slash is relative to the directory of the command.
    let path = if program.contains('/') {
        Path::new(&step.directory).join(program).into_os_string()
    } else {
        OsString::from(program)
    };
    let Some(found) = tool::find(&path, search) else {
        return Err(format!(
            "could not be started: there is no `{program}` in the image"
        ));
    };
    let user = user(&step.user)?;
    let mut command = tool::command(&found);
    command
        .arg0(program)
        .args(words)
        .env_clear()
        .envs(step.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&step.directory)
        .stdin(Stdio::null());
    if environment("HOME").is_none() {
        command.env("HOME", user.home);
    }
    if let Some((uid, gid)) = user.ids {
        if step.has_users {
            command.uid(uid).gid(gid);
        } else {
            let name = &step.user;
            // It is about the step, so it is part of its output.
            let _ = writeln!(
                io::stderr(),
                "(running as root: without privileges there is no user `{name}`)"
            );
        }
    }
    let mut child = command.spawn().map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::NOEXEC.raw_os_error() => format!(
            "could not be started: `{program}` is for another processor, and this system emulates \
             none (on Debian: `apt install qemu-user-static`)"
        ),
        _ => format!("could not be started: `{program}`: {error}"),
    })?;
    let status = child
        .wait()
        .map_err(|error| format!("cannot be waited for: {error}"))?;
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Restricts this process and its children to the privileges of a container.
///
/// # Errors
///
/// What could not be given up, as a step reports it; the step must not run then.
pub(super) fn confine() -> Result<(), String> {
    let lost = |what: String| format!("could not be started: cannot give up privileges: {what}");
    let filters = filter::programs().map_err(lost)?;
    restrict().map_err(|errno| lost(errno.to_string()))?;
    limit().map_err(|errno| lost(errno.to_string()))?;
    set_no_new_privs(true).map_err(|errno| lost(errno.to_string()))?;
    for filter in &filters {
        seccompiler::apply_filter(filter).map_err(|error| lost(error.to_string()))?;
    }
    Ok(())
}

/// Limits the resources of this process and its children.
fn limit() -> rustix::io::Result<()> {
    for (resource, most) in LIMITS {
        let now = getrlimit(resource).maximum;
        let most = Some(now.map_or(most, |now| now.min(most)));
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(resource, limit)?;
    }
    Ok(())
}

/// Gives up the capabilities that a container does not have.
fn restrict() -> rustix::io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        if KEPT.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // This kernel does not have the capability, so no process has it.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    let kept = CapabilitySets {
        effective: KEPT,
        permitted: KEPT,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, kept)
}

/// A user of the root.
struct User {
    /// Ids of the user and the group; `None` for root.
    ids: Option<(u32, u32)>,
    home: String,
}

/// Resolves `USER[:GROUP]` with the files of the root.
fn user(text: &str) -> Result<User, String> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let passwd = small_text("/etc/passwd")?;
    let known = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let known = known.filter(|fields| fields.len() >= 6);
    let number = name.parse::<u32>().ok();
    let entry = known.into_iter().find(|fields| {
        let uid = fields.get(2).and_then(|uid| uid.parse::<u32>().ok());
        let wanted = if name.is_empty() { Some(0) } else { number };
        fields.first() == Some(&name) || (uid.is_some() && uid == wanted)
    });
    let field = |at: usize| entry.as_ref().and_then(|fields| fields.get(at).copied());
    let home = field(5).filter(|home| !home.is_empty()).unwrap_or("/root");
    let home = home.to_owned();
    if name.is_empty() || name == "root" || name == "0" {
        return Ok(User { ids: None, home });
    }
    let uid = number.or_else(|| field(2)?.parse().ok());
    let uid =
        uid.ok_or_else(|| format!("could not be started: `/etc/passwd` has no user `{name}`"))?;
    let gid = match group {
        Some(group) => group_number(group)?,
        None => field(3).and_then(|gid| gid.parse().ok()).unwrap_or(0),
    };
    Ok(User {
        ids: Some((uid, gid)),
        home,
    })
}

/// Reads a file of the image; a missing one is empty. It may be of any kind, and a link to anything
/// inside.
fn small_text(path: &str) -> Result<String, String> {
    match kraft_sys::fs::read_file(Path::new(path), LARGEST_TEXT) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(String::new())
        }
        Err(error) => Err(format!("could not be started: {error}: {}", error.source)),
    }
}

fn group_number(group: &str) -> Result<u32, String> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = small_text("/etc/group")?;
    let line = groups
        .lines()
        .find(|line| line.split(':').next() == Some(group));
    line.and_then(|line| line.split(':').nth(2)?.parse().ok())
        .ok_or_else(|| format!("could not be started: `/etc/group` has no group `{group}`"))
}
