//! macOS: `libproc.h`.

use std::mem::MaybeUninit;
use std::time::Duration;

use super::{Disk, Thread, Usage};
use crate::host;
use crate::process::Identity;

/// Returns what a process uses; `None` if it has ended.
pub(super) fn usage(process: &Identity) -> Option<Usage> {
    let used = rusage(process.pid)?;
    let threads = task(process.pid)?.pti_threadnum;
    process.is_alive().then(|| Usage {
        cpu: time(used.ri_user_time.saturating_add(used.ri_system_time)),
        memory: used.ri_resident_size,
        threads: u32::try_from(threads).unwrap_or(0),
        disk: Some(Disk {
            read: used.ri_diskio_bytesread,
            written: used.ri_diskio_byteswritten,
        }),
    })
}

/// Threads are not listed.
pub(super) fn threads(_: u32) -> Vec<Thread> {
    Vec::new()
}

fn rusage(pid: u32) -> Option<libc::rusage_info_v2> {
    let pid = i32::try_from(pid).ok()?;
    let mut used = MaybeUninit::<libc::rusage_info_v2>::zeroed();
    // SAFETY: the system writes a structure of this version, of numbers only.
    #[expect(unsafe_code, reason = "no safe interface reads this structure")]
    unsafe {
        let failed = libc::proc_pid_rusage(pid, libc::RUSAGE_INFO_V2, used.as_mut_ptr().cast());
        (failed == 0).then(|| used.assume_init())
    }
}

fn task(pid: u32) -> Option<libc::proc_taskinfo> {
    // SAFETY: it is the structure of this kind, of numbers only.
    #[expect(unsafe_code, reason = "the structure fits the kind")]
    unsafe {
        host::info(pid, libc::PROC_PIDTASKINFO)
    }
}

/// Returns ticks of the system's clock as a time.
#[expect(
    deprecated,
    reason = "the crate that replaces it has nothing else that is used"
)]
fn time(ticks: u64) -> Duration {
    let mut base = libc::mach_timebase_info { numer: 1, denom: 1 };
    // SAFETY: the system writes both numbers.
    #[expect(unsafe_code, reason = "no safe interface reads this structure")]
    unsafe {
        libc::mach_timebase_info(&raw mut base);
    }
    let nanos = u128::from(ticks) * u128::from(base.numer) / u128::from(base.denom.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
