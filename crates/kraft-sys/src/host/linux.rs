//! Linux: `/proc`, pidfds, namespaces and flags of `open(2)`.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{
    FallocateFlags, FileType, Mode, OFlags, ResolveFlags, fcntl_getfl, fcntl_setfl, openat, openat2,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal, prlimit,
};
use rustix::time::ClockId;

use super::{Life, Stat};

/// Counts from the boot, also while the host sleeps.
pub(crate) const UPTIME: ClockId = ClockId::Boottime;

/// Opens a directory only to find names in it, which needs no permission to read it.
pub(crate) const SEARCH: OFlags = OFlags::PATH;

/// Returns a text that changes at every boot; empty if it is not available.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// The program of this process, also after it was replaced on disk, where [`std::env::current_exe`]
/// returns a path that does not exist (`proc_pid_exe(5)`).
pub(crate) fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Returns a path of an open directory of fewer than 60 bytes.
pub(crate) fn short_path(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// Reads whether a process runs, and its start in clock ticks after boot.
pub(crate) fn stat(pid: u32) -> Option<(Life, u64)> {
    let stat = Stat::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)?;
    let life = if stat.has_ended() {
        Life::Ended
    } else {
        Life::Running
    };
    Some((life, stat.started))
}

/// A pidfd: becomes readable when its process ends.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    /// Opens a process. From then on its id cannot be reused unnoticed.
    pub(crate) fn open(pid: Pid) -> rustix::io::Result<Self> {
        pidfd_open(pid, PidfdFlags::empty()).map(Self)
    }

    pub(crate) fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        pidfd_send_signal(&self.0, signal)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns the ids of all visible processes.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Returns the device and the number of the working directory of a process.
pub(crate) fn working_dir_inode(pid: u32) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(format!("/proc/{pid}/cwd")).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Returns the working directory of a process. The system appends ` (deleted)` if it was removed.
pub(crate) fn working_dir(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// Returns the arguments of a process, each with a NUL byte behind it.
pub(crate) fn command_line(pid: u32) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/cmdline")).ok()
}

/// Returns the numbers of the open files of this process.
pub(crate) fn open_files() -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|text| text.parse::<i32>().ok()));
    }
    Ok(numbers)
}

/// Sets the maximum size of files that a process writes, in bytes.
pub(crate) fn limit_file_size(pid: Pid, limit: Rlimit) -> io::Result<()> {
    prlimit(Some(pid), Resource::Fsize, limit)?;
    Ok(())
}

/// Has a program killed when the thread that starts it ends (`PR_SET_PDEATHSIG`, `prctl(2)`), even
/// if that thread is killed.
pub(crate) fn end_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let set = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::Interrupted.into())
        }
    };
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    #[expect(unsafe_code, reason = "the process has one thread only there")]
    unsafe {
        command.pre_exec(set);
    }
}

/// Gives this process a network namespace of its own, which nothing is in but a loopback that is down.
pub(crate) fn leave_network() -> io::Result<()> {
    // SAFETY: the flag that is not safe, which parts open files between threads, is not given.
    #[expect(unsafe_code, reason = "one flag of the call is not safe")]
    unsafe {
        rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET)?;
    }
    Ok(())
}

/// Enters a namespace.
pub(crate) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace, None)?)
}

/// Writes to a file without the page cache from now on.
pub(crate) fn bypass_cache(file: &File) -> rustix::io::Result<()> {
    fcntl_setfl(file, fcntl_getfl(file)? | OFlags::DIRECT)
}

/// Writes to a file through the page cache again.
pub(crate) fn use_cache(file: &File) -> rustix::io::Result<()> {
    fcntl_setfl(file, fcntl_getfl(file)? - OFlags::DIRECT)
}

/// Returns the major and the minor number of a device.
pub(crate) fn device_numbers(metadata: &Metadata) -> (u32, u32) {
    let number = metadata.rdev();
    (rustix::fs::major(number), rustix::fs::minor(number))
}

/// Creates a named pipe.
pub(crate) fn make_fifo(path: &Path, mode: u32) -> io::Result<()> {
    let (kind, mode) = (FileType::Fifo, Mode::from_raw_mode(mode));
    Ok(rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0)?)
}

/// Creates the mark of overlay file systems for a name that is removed: a device with the numbers 0, 0.
pub(crate) fn make_whiteout(path: &Path) -> io::Result<()> {
    let kind = FileType::CharacterDevice;
    Ok(rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        kind,
        Mode::empty(),
        0,
    )?)
}

/// Makes an empty file share the blocks of another, where the file system supports that.
pub(crate) fn share_blocks(from: &File, to: &File) -> rustix::io::Result<()> {
    rustix::fs::ioctl_ficlone(to, from)
}

/// Copies bytes between files without reading them into this process.
pub(crate) fn copy_range(
    from: &File,
    at: &mut u64,
    to: &File,
    most: usize,
) -> rustix::io::Result<usize> {
    rustix::fs::copy_file_range(from, Some(at), to, None, most)
}

/// Opens a socket that does not block and is closed in children.
pub(crate) fn socket(family: AddressFamily, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, kind, flags, None)
}

/// Gives the space of a part of a file back to the disk.
pub(crate) fn punch_hole(file: &File, at: u64, length: u64) -> io::Result<()> {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, hole, at, length)?)
}

/// Reserves disk space for a file without changing its length.
pub(crate) fn reserve(file: &File, bytes: u64) -> rustix::io::Result<()> {
    rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes)
}

/// Flushes the file system of a directory to disk.
pub(crate) fn sync_file_system(dir: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(dir)?)
}

/// Creates a file without a name in a directory; a file system that cannot is an error.
pub(crate) fn unnamed_file(dir: &File, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    openat(dir, ".", flags | OFlags::TMPFILE, mode)
}

/// Gives a name to a file without one.
pub(crate) fn name_file(file: &File, dir: &File, name: &str) -> rustix::io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    rustix::fs::linkat(rustix::fs::CWD, unnamed, dir, name, follow)
}

/// Changes the permissions of something that was opened with [`SEARCH`].
pub(crate) fn set_mode(dir: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Opens a path below a directory; [`Errno::XDEV`] if it leads out. With `NOFOLLOW`, [`Errno::LOOP`] if there is a
/// link in it. [`Errno::NOSYS`] if the kernel, before 5.6, or a sandbox does not have the call.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    follow: bool,
) -> rustix::io::Result<OwnedFd> {
    let links = if follow {
        ResolveFlags::NO_MAGICLINKS
    } else {
        ResolveFlags::NO_SYMLINKS
    };
    match openat2(
        root,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::BENEATH | links,
    ) {
        Err(Errno::PERM) => Err(Errno::NOSYS),
        other => other,
    }
}
