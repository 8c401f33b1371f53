//! macOS: `proc_info`, kqueue and `fcntl(2)`; no namespaces.
//!
//! Source: `libproc.h`, `sys/proc_info.h`, `sys/sysctl.h` and `sys/fcntl.h` of XNU.

use std::ffi::{CStr, CString};
use std::fs::{File, Metadata};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null_mut;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, Rlimit, Signal};
use rustix::time::ClockId;

use super::Life;

/// Counts from the boot, also while the host sleeps.
pub(crate) const UPTIME: ClockId = ClockId::Monotonic;

/// There is no flag to open a directory only to find names in it.
pub(crate) const SEARCH: OFlags = OFlags::empty();

/// Reads a setting of the system into a buffer; returns how many bytes it has.
fn sysctl(name: &CStr, value: &mut [u8]) -> Option<usize> {
    let mut size = value.len();
    // SAFETY: the name ends with a NUL byte, and the system writes at most `size` bytes.
    #[expect(unsafe_code, reason = "no safe interface reads these values")]
    let failed = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            &raw mut size,
            null_mut(),
            0,
        )
    };
    (failed == 0).then_some(size)
}

/// Returns a text that changes at every boot; empty if it is not available.
pub(crate) fn boot_id() -> String {
    let mut text = [0_u8; 64];
    let size = sysctl(c"kern.bootsessionuuid", &mut text).unwrap_or(0);
    let text = text.get(..size).unwrap_or_default();
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(size);
    String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned()
}

/// Returns whether the Hypervisor framework runs guests (`kern.hv_support`).
pub(crate) fn has_hypervisor() -> bool {
    let mut value = [0; 4];
    sysctl(c"kern.hv_support", &mut value).is_some() && i32::from_ne_bytes(value) != 0
}

/// The program of this process.
pub(crate) fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("kraft"))
}

/// Returns a path of an open directory of fewer than 60 bytes: that of its number in its file system.
pub(crate) fn short_path(dir: &File) -> PathBuf {
    // No name can be found in a path that is not a directory.
    dir.metadata().map_or_else(
        |_| PathBuf::from("/dev/null"),
        |metadata| PathBuf::from(format!("/.vol/{}/{}", metadata.dev(), metadata.ino())),
    )
}

/// Reads a structure about a process.
///
/// # Safety
///
/// `T` must be the structure of this kind of information, and any bytes must be a value of it.
#[expect(unsafe_code, reason = "no safe interface reads these structures")]
pub(crate) unsafe fn info<T>(pid: u32, kind: i32) -> Option<T> {
    let pid = i32::try_from(pid).ok()?;
    let mut value = MaybeUninit::<T>::zeroed();
    let size = i32::try_from(size_of::<T>()).ok()?;
    // SAFETY: the system writes at most `size` bytes.
    let written = unsafe { libc::proc_pidinfo(pid, kind, 0, value.as_mut_ptr().cast(), size) };
    // SAFETY: all of it is written, and the caller guarantees that any bytes are a value.
    (written == size).then(|| unsafe { value.assume_init() })
}

/// Reads whether a process runs, and its start in microseconds since 1970.
pub(crate) fn stat(pid: u32) -> Option<(Life, u64)> {
    // SAFETY: it is the structure of this kind, of numbers only.
    #[expect(unsafe_code, reason = "the structure fits the kind")]
    let info = unsafe { info::<libc::proc_bsdinfo>(pid, libc::PROC_PIDTBSDINFO) }?;
    let life = if info.pbi_status == libc::SZOMB {
        Life::Ended
    } else {
        Life::Running
    };
    Some((
        life,
        info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec,
    ))
}

/// A queue of events that becomes readable when its process ends.
#[derive(Debug)]
pub(crate) struct Handle {
    queue: OwnedFd,
    pid: Pid,
}

impl Handle {
    /// Opens a process.
    pub(crate) fn open(pid: Pid) -> rustix::io::Result<Self> {
        let queue = kqueue()?;
        let end = EventFilter::Proc {
            pid,
            flags: ProcessEvents::EXIT,
        };
        let end = Event::new(end, EventFlags::ADD, null_mut());
        // SAFETY: no file is registered that could be closed, and no event is read.
        #[expect(unsafe_code, reason = "files in the list must stay open")]
        unsafe {
            kevent(&queue, &[end], &mut [] as &mut [Event; 0], None)?;
        }
        Ok(Self { queue, pid })
    }

    /// Sends a signal. That the process is the same as before was checked by the caller a moment ago.
    pub(crate) fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        rustix::process::kill_process(self.pid, signal)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// Returns the ids of all visible processes.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    // Some may start meanwhile.
    // SAFETY: without a buffer the system only counts.
    #[expect(unsafe_code, reason = "no safe interface lists processes")]
    let count = unsafe { libc::proc_listallpids(null_mut(), 0) };
    let mut pids = vec![0_i32; usize::try_from(count).unwrap_or(0) + 64];
    let size = i32::try_from(pids.len() * size_of::<i32>()).unwrap_or(0);
    // SAFETY: the system writes at most `size` bytes.
    #[expect(unsafe_code, reason = "no safe interface lists processes")]
    let count = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), size) };
    pids.truncate(usize::try_from(count).unwrap_or(0));
    pids.into_iter().filter_map(|pid| u32::try_from(pid).ok())
}

fn paths_of(pid: u32) -> Option<libc::proc_vnodepathinfo> {
    // SAFETY: it is the structure of this kind, of numbers and characters only.
    #[expect(unsafe_code, reason = "the structure fits the kind")]
    unsafe {
        info(pid, libc::PROC_PIDVNODEPATHINFO)
    }
}

/// Returns the device and the number of the working directory of a process.
pub(crate) fn working_dir_inode(pid: u32) -> Option<(u64, u64)> {
    let stat = paths_of(pid)?.pvi_cdir.vip_vi.vi_stat;
    Some((u64::from(stat.vst_dev), stat.vst_ino))
}

/// Returns the working directory of a process.
pub(crate) fn working_dir(pid: u32) -> Option<PathBuf> {
    let info = paths_of(pid)?;
    let path = info.pvi_cdir.vip_path.as_flattened();
    let path = path.iter().map(|&byte| byte.cast_unsigned());
    let path: Vec<u8> = path.take_while(|&byte| byte != 0).collect();
    (!path.is_empty()).then(|| std::ffi::OsString::from_vec(path).into())
}

/// Returns the arguments of a process, each with a NUL byte behind it (`KERN_PROCARGS2`, `sysctl(3)`).
pub(crate) fn command_line(pid: u32) -> Option<Vec<u8>> {
    let mut name = [
        libc::CTL_KERN,
        libc::KERN_PROCARGS2,
        i32::try_from(pid).ok()?,
    ];
    let mut bytes = vec![0_u8; 1 << 20];
    let mut size = bytes.len();
    // SAFETY: the name has three numbers, and the system writes at most `size` bytes.
    #[expect(unsafe_code, reason = "no safe interface reads this value")]
    let failed = unsafe {
        libc::sysctl(
            name.as_mut_ptr(),
            3,
            bytes.as_mut_ptr().cast(),
            &raw mut size,
            null_mut(),
            0,
        )
    };
    bytes.truncate(size);
    if failed == 0 { arguments(&bytes) } else { None }
}

/// Returns the arguments in the answer: their number, the path of the program, NUL bytes, the arguments, the environment.
fn arguments(bytes: &[u8]) -> Option<Vec<u8>> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let path = rest.iter().position(|&byte| byte == 0)?;
    let rest = rest.get(path..)?;
    let rest = rest.get(rest.iter().position(|&byte| byte != 0)?..)?;
    let words = rest.split_inclusive(|&byte| byte == 0);
    Some(words.take(count).flatten().copied().collect())
}

/// Returns the numbers of the open files of this process.
pub(crate) fn open_files() -> io::Result<Vec<i32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/dev/fd")? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|text| text.parse::<i32>().ok()));
    }
    Ok(numbers)
}

/// Only a process itself can set its limits.
pub(crate) fn limit_file_size(_: Pid, _: Rlimit) -> io::Result<()> {
    Err(not_on_macos("limits of another process"))
}

/// There is no such signal: the program survives this process.
pub(crate) fn end_with_parent(_: &mut Command) {}

/// Fails: there are no network namespaces.
pub(crate) fn leave_network() -> io::Result<()> {
    Err(not_on_macos("network namespaces"))
}

/// Fails: there are no namespaces.
pub(crate) fn enter(_: BorrowedFd<'_>) -> io::Result<()> {
    // Called between fork and exec, where nothing may be allocated.
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes to a file without the cache from now on.
pub(crate) fn bypass_cache(file: &File) -> rustix::io::Result<()> {
    set_no_cache(file, 1)
}

/// Writes to a file through the cache again.
pub(crate) fn use_cache(file: &File) -> rustix::io::Result<()> {
    set_no_cache(file, 0)
}

fn set_no_cache(file: &File, on: i32) -> rustix::io::Result<()> {
    // SAFETY: the file is open, and the command takes a number.
    #[expect(unsafe_code, reason = "no safe interface has this command")]
    let failed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_NOCACHE, on) };
    if failed == -1 {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    } else {
        Ok(())
    }
}

/// Returns the major and the minor number of a device.
pub(crate) fn device_numbers(metadata: &Metadata) -> (u32, u32) {
    // The number has 32 bits, and the system's type for it has a sign.
    let bits = u32::try_from(metadata.rdev() & u64::from(u32::MAX)).unwrap_or(0);
    let number = bits.cast_signed();
    (rustix::fs::major(number), rustix::fs::minor(number))
}

/// Creates a named pipe.
pub(crate) fn make_fifo(path: &Path, mode: u32) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mode = u16::try_from(mode).unwrap_or(0o600);
    // SAFETY: the path ends with a NUL byte.
    #[expect(unsafe_code, reason = "no safe interface makes named pipes")]
    let failed = unsafe { libc::mkfifo(path.as_ptr(), mode) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Fails: there are no overlay file systems.
pub(crate) fn make_whiteout(_: &Path) -> io::Result<()> {
    Err(not_on_macos("layers of overlay file systems"))
}

/// Fails: only files that do not exist yet can be made so.
pub(crate) fn share_blocks(_: &File, _: &File) -> rustix::io::Result<()> {
    Err(Errno::OPNOTSUPP)
}

/// Fails: there is no such call.
pub(crate) fn copy_range(_: &File, _: &mut u64, _: &File, _: usize) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Opens a socket that does not block and is closed in children; one that is started by another thread between the two
/// calls inherits it.
pub(crate) fn socket(family: AddressFamily, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, kind, None)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Gives the space of a part of a file back to the disk.
pub(crate) fn punch_hole(file: &File, at: u64, length: u64) -> io::Result<()> {
    let number = |bytes: u64| i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput);
    let hole = libc::fpunchhole_t {
        fp_flags: 0,
        reserved: 0,
        fp_offset: number(at)?,
        fp_length: number(length)?,
    };
    // SAFETY: the file is open, and the command reads this structure.
    #[expect(unsafe_code, reason = "no safe interface has this command")]
    let failed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PUNCHHOLE, &raw const hole) };
    if failed == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Reserving space without changing the length is left out.
pub(crate) fn reserve(_: &File, _: u64) -> rustix::io::Result<()> {
    Err(Errno::OPNOTSUPP)
}

/// Flushes the file system of a directory to the disk.
pub(crate) fn sync_file_system(dir: &File) -> io::Result<()> {
    // It only starts the writing; a file that is flushed after it is written behind all others.
    rustix::fs::sync();
    dir.sync_all()
}

/// Fails: every file has a name.
pub(crate) fn unnamed_file(_: &File, _: OFlags, _: Mode) -> rustix::io::Result<OwnedFd> {
    Err(Errno::OPNOTSUPP)
}

/// Fails: every file has a name.
pub(crate) fn name_file(_: &File, _: &File, _: &str) -> rustix::io::Result<()> {
    Err(Errno::OPNOTSUPP)
}

/// Changes the permissions of an open directory.
pub(crate) fn set_mode(dir: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let mode = u16::try_from(mode).unwrap_or(0o700);
    Ok(rustix::fs::fchmod(dir, Mode::from_raw_mode(mode))?)
}

/// [`Errno::NOSYS`]: there is no such call.
pub(crate) fn open_beneath(
    _: BorrowedFd<'_>,
    _: &Path,
    _: OFlags,
    _: bool,
) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

fn not_on_macos(what: &str) -> io::Error {
    let text = format!("not on macOS: {what}");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_between_the_path_and_the_environment() {
        let mut bytes = 2_i32.to_ne_bytes().to_vec();
        bytes.extend(b"/bin/sleep\0\0\0sleep\0600\0HOME=/\0");
        assert_eq!(arguments(&bytes).unwrap(), b"sleep\0600\0");
        assert_eq!(arguments(b"\x01\0\0"), None);
    }
}
