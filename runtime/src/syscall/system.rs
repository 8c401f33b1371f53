//! Calls on the system as a whole.

use alloc::vec::Vec;
use core::cell::RefCell;

use super::paths;
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::fs::{memory, mounts, ninep};
use crate::mm::{frames, user};
use crate::sync::Global;
use crate::task;
use crate::time::SECOND;

/// The version of Linux whose calls the kernel has: programs ask for it.
pub const RELEASE: &str = "6.1.0-kraft";
/// The version of the kernel.
pub const VERSION: &str = concat!("#1 kraft runtime ", env!("CARGO_PKG_VERSION"));
const FIELD: usize = 65;

static HOST_NAME: Global<RefCell<Vec<u8>>> = Global::new(RefCell::new(Vec::new()));

/// The host's name.
pub fn host_name() -> Vec<u8> {
    let name = HOST_NAME.borrow();
    if name.is_empty() {
        b"localhost".to_vec()
    } else {
        name.clone()
    }
}

/// Sets the host's name.
pub fn name_host(name: &[u8]) {
    *HOST_NAME.borrow_mut() = name.to_vec();
}

pub fn names(address: usize) -> Result {
    let host = host_name();
    let fields: [&[u8]; 6] = [
        b"Linux",
        &host,
        RELEASE.as_bytes(),
        VERSION.as_bytes(),
        arch::NAME.as_bytes(),
        b"(none)",
    ];
    let mut bytes = Vec::with_capacity(FIELD * fields.len());
    for field in fields {
        let end = bytes.len() + FIELD;
        bytes.extend_from_slice(&field[..field.len().min(FIELD - 1)]);
        bytes.resize(end, 0);
    }
    user::write_bytes(address, &bytes)?;
    Ok(0)
}

pub fn status(address: usize) -> Result {
    let mut words = [0_u64; 14];
    words[0] = arch::monotonic() / SECOND;
    words[4] = frames::total_bytes() as u64;
    words[5] = frames::free_bytes() as u64;
    words[10] = task::all_processes().len() as u64;
    words[13] = 1;
    user::write_words(address, &words)?;
    Ok(0)
}

pub fn random(address: usize, length: usize, flags: usize) -> Result {
    const RANDOM: usize = 2;
    const INSECURE: usize = 4;
    let both = RANDOM | INSECURE;
    if flags as u32 > 7 || flags & both == both {
        return Err(Errno::INVAL);
    }
    let mut buffer = [0; 256];
    let length = length.min(32 << 20);
    let mut done = 0;
    while done < length {
        let part = buffer.len().min(length - done);
        crate::random::fill(&mut buffer[..part]);
        user::write_bytes(address.wrapping_add(done), &buffer[..part])?;
        done += part;
    }
    Ok(done)
}

fn check_root() -> Result<()> {
    if task::current_process().credentials.borrow().is_root() {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

pub fn set_host_name(address: usize, length: usize) -> Result {
    check_root()?;
    if length >= FIELD {
        return Err(Errno::INVAL);
    }
    let mut name = alloc::vec![0; length];
    user::read_bytes(address, &mut name)?;
    name_host(&name);
    Ok(0)
}

pub fn reboot(command: usize) -> Result {
    check_root()?;
    match command as u32 {
        // Power off, halt, restart: all end the machine.
        0x4321_fedc | 0xcdef_0123 | 0x0123_4567 => {
            crate::fs::ninep::sync_all();
            arch::power_off(0)
        }
        _ => Err(Errno::INVAL),
    }
}

pub fn mount([source_at, path_at, kind_at, flags, _data, _]: [usize; 6]) -> Result {
    const READ_ONLY: usize = 1;
    const REMOUNT: usize = 0x20;
    check_root()?;
    let path = user::read_string(path_at, 4095)?;
    let place = paths::find(&path)?;
    if flags & REMOUNT != 0 {
        mounts::set_read_only(&place, flags & READ_ONLY != 0)?;
        return Ok(0);
    }
    // Other changes of what is mounted already are taken and ignored: there is one namespace.
    if flags & (0x1000 | 0x4_0000 | 0x8_0000 | 0x10_0000) != 0 {
        return Ok(0);
    }
    let kind = user::read_string(kind_at, 64)?;
    let source = if source_at == 0 {
        Vec::new()
    } else {
        user::read_string(source_at, 4095)?
    };
    match &kind[..] {
        b"tmpfs" | b"ramfs" => {
            let tree = memory::new_tree(0o1777);
            mounts::mount(&place, &source, "tmpfs", tree, flags & READ_ONLY != 0)?;
            Ok(0)
        }
        b"9p" => {
            let tree = ninep::open(&source)?;
            mounts::mount(&place, &source, "9p", tree, flags & READ_ONLY != 0)?;
            Ok(0)
        }
        // These are mounted from the beginning.
        b"proc" | b"sysfs" | b"devtmpfs" | b"devpts" | b"cgroup" | b"cgroup2" | b"mqueue" => Ok(0),
        _ => Err(Errno::NODEV),
    }
}

pub fn unmount(path_at: usize) -> Result {
    check_root()?;
    let path = user::read_string(path_at, 4095)?;
    mounts::unmount(&*paths::find(&path)?)?;
    Ok(0)
}
