//! The namespaces of a network: made, or found again by the VMMs that keep them.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, UnshareFlags, capabilities, move_into_link_name_space,
};

use super::{Refused, cannot};
use crate::record::HolderRecord;

/// Settings of the system that forbid user namespaces: a file, the value, and the cure.
const FORBIDDEN: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sudo sysctl kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "sudo sysctl user.max_user_namespaces=10000",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

/// Namespaces that outlived their holder.
#[derive(Debug)]
pub(super) struct Kept {
    network: File,
    user: Option<File>,
}

impl Kept {
    /// Finds the namespaces of an earlier holder among the open files of the VMMs.
    pub(super) fn find(holder: &HolderRecord) -> Option<Self> {
        let network = format!("net:[{}]", holder.network);
        let user = holder.user.map(|inode| format!("user:[{inode}]"));
        let mut living = holder.active.iter().filter(|it| it.vmm.is_alive());
        living.find_map(|it| {
            let files = format!("/proc/{}/fd", it.vmm.pid);
            Some(Self {
                network: open(&files, &network)?,
                user: match &user {
                    Some(user) => Some(open(&files, user)?),
                    None => None,
                },
            })
        })
    }
}

/// Opens what a process has open under a name.
fn open(files: &str, name: &str) -> Option<File> {
    let entries = std::fs::read_dir(files).ok()?.flatten();
    let mut found = entries
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(name)));
    File::open(found.next()?.path()).ok()
}

/// The namespaces of a network, as open files.
#[derive(Debug)]
pub(super) struct Namespaces {
    pub(super) network: File,
    pub(super) user: Option<File>,
}

impl Namespaces {
    /// Opens those of this thread; `user` is whether there is a user namespace of its own.
    pub(super) fn current(user: bool) -> io::Result<Self> {
        let open = |name: &str| File::open(format!("/proc/thread-self/ns/{name}"));
        Ok(Self {
            network: open("net")?,
            user: user.then(|| open("user")).transpose()?,
        })
    }

    /// Returns the inodes by which the files are recognised.
    pub(super) fn inodes(&self) -> io::Result<(u64, Option<u64>)> {
        let user = self.user.as_ref().map(File::metadata).transpose()?;
        let user = user.map(|user| user.ino());
        Ok((self.network.metadata()?.ino(), user))
    }
}

/// Enters a user namespace, unless this process may make networks without one; returns whether it
/// did.
pub(super) fn enter_user(kept: Option<&Kept>) -> Result<bool, Refused> {
    match kept.map(|kept| &kept.user) {
        Some(Some(user)) => {
            enter(user, LinkNameSpaceType::User)?;
            Ok(true)
        }
        Some(None) => Ok(false),
        None if is_able() => Ok(false),
        None => {
            let ids = (rustix::process::geteuid(), rustix::process::getegid());
            unshare(UnshareFlags::NEWUSER).map_err(forbidden)?;
            map_alone(ids.0.as_raw(), ids.1.as_raw())
                .map_err(cannot("become root of the network's user namespace"))?;
            Ok(true)
        }
    }
}

/// Enters the network namespace.
pub(super) fn enter_network(kept: Option<&Kept>) -> Result<(), Refused> {
    match kept {
        Some(kept) => enter(&kept.network, LinkNameSpaceType::Network),
        None => unshare(UnshareFlags::NEWNET).map_err(forbidden),
    }
}

fn enter(namespace: &File, kind: LinkNameSpaceType) -> Result<(), Refused> {
    move_into_link_name_space(namespace.as_fd(), Some(kind))
        .map_err(cannot("enter the namespace of the network"))
}

/// Leaves namespaces of the host.
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the flag that is not safe, which parts open files between threads, is never given.
    #[expect(unsafe_code, reason = "one flag of the call is not safe")]
    unsafe {
        rustix::thread::unshare_unsafe(flags)
    }
}

/// Returns whether this process may make networks without a user namespace.
fn is_able() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    capabilities(None).is_ok_and(|it| it.effective.contains(needed))
}

/// Returns the setting of the system that forbids what this process needs.
pub(super) fn refusal() -> Option<Refused> {
    if is_able() {
        return None;
    }
    for (path, value, cure) in FORBIDDEN {
        let now = kraft_sys::fs::read_file(Path::new(path), 64).unwrap_or_default();
        if String::from_utf8_lossy(&now).trim() == value {
            return Some(Refused::with_cure(
                "this system forbids user namespaces",
                cure,
            ));
        }
    }
    None
}

/// Says why this system makes no namespace.
fn forbidden(error: Errno) -> Refused {
    let unknown = || Refused::new(format!("this system refuses namespaces ({error})"));
    refusal().unwrap_or_else(unknown)
}

/// Maps root of the namespace to the user that this process has on the host
/// (`user_namespaces(7)`).
fn map_alone(user: u32, group: u32) -> io::Result<()> {
    // One call each, as the kernel requires.
    let set = |name: &str, text: String| {
        let path = format!("/proc/self/{name}");
        let mut file = File::options().write(true).open(path)?;
        file.write_all(text.as_bytes())
    };
    set("setgroups", "deny".to_owned())?;
    set("gid_map", format!("0 {group} 1"))?;
    set("uid_map", format!("0 {user} 1"))
}
