//! The mounts that the command line asks for.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Follow, Kind, Node, Place, Walk, archive, memory, mounts, ninep};
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::task;

/// The exit status of a machine that cannot mount what it should.
const FAILED: u8 = 125;

/// One line, `device:path:driver:flags:options:more` (Unikraft's `vfs.fstab`).
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name that the VMM gave the device.
    pub device: &'a [u8],
    /// Where it is mounted, from the root.
    pub path: &'a [u8],
    /// The kind of file system.
    pub driver: &'a [u8],
    /// Whether it cannot be written.
    pub read_only: bool,
    /// `mkmp`: the directory is made if it is missing.
    pub make: bool,
}

/// Reads a line; `None` if it is none.
pub fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.split(|&byte| byte == b':');
    let mut next = || fields.next().unwrap_or_default();
    let (device, path, driver, flags, options, more) =
        (next(), next(), next(), next(), next(), next());
    if path.first() != Some(&b'/') || driver.is_empty() {
        return None;
    }
    let has = |list: &[u8], word: &[u8]| list.split(|&byte| byte == b',').any(|part| part == word);
    Some(Entry {
        device,
        path,
        driver,
        // The bits are those of `mount(2)`.
        read_only: number(flags)? & 1 != 0 || has(options, b"ro"),
        make: has(more, b"mkmp"),
    })
}

/// A number as C writes it; nothing is zero.
fn number(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if text.is_empty() => Some(0),
        None => text.parse().ok(),
    }
}

/// Mounts what the command line asks for. What cannot be mounted ends the machine: a program
/// must not run without its data.
pub fn mount_all(lines: &[Vec<u8>]) {
    for line in lines {
        let result = parse(line).ok_or("it is not DEVICE:PATH:DRIVER:FLAGS:OPTIONS:MORE");
        if let Err(why) = result.and_then(|entry| mount(&entry)) {
            let line = String::from_utf8_lossy(line).into_owned();
            crate::print!("kraft: cannot mount `{line}`: {why}\n");
            arch::power_off(FAILED);
        }
    }
}

fn mount(entry: &Entry<'_>) -> core::result::Result<(), &'static str> {
    if entry.driver == b"extract" && entry.path == b"/" {
        // The root is the archive already.
        return Ok(());
    }
    let (kind, node): (_, Rc<dyn Node>) = match entry.driver {
        b"9pfs" | b"9p" => (
            "9p",
            ninep::open(entry.device).map_err(|error| match error {
                Errno::NODEV => "the machine has no 9p device with this name",
                Errno::PROTO => "the device does not speak 9P2000.L",
                _ => "the host refuses it",
            })?,
        ),
        b"ramfs" | b"tmpfs" => ("tmpfs", memory::new_tree(0o1777)),
        _ => return Err("there is no such driver; there are 9pfs and ramfs"),
    };
    let place = mount_point(entry).map_err(|error| match error {
        Errno::NOENT => "the directory is missing; `mkmp` at the end makes it",
        Errno::NOTDIR => "a part of the path is not a directory",
        _ => "the path does not lead to a directory",
    })?;
    mounts::mount(&place, entry.device, kind, node, entry.read_only)
        .map_err(|_| "the path does not lead to a directory")
}

fn mount_point(entry: &Entry<'_>) -> Result<Rc<Place>> {
    let process = task::current_process();
    let root = process.paths().root;
    let credentials = process.credentials.borrow().clone();
    let walk = Walk {
        root: root.clone(),
        credentials: &credentials,
    };
    let mut place = root;
    for part in entry.path.split(|&byte| byte == b'/') {
        if part.is_empty() {
            continue;
        }
        place = match walk.resolve(&place, part, Follow::Yes) {
            Err(Errno::NOENT) if entry.make => {
                archive::directory_in(&place.node, part).ok_or(Errno::NOTDIR)?;
                place.child(part)?
            }
            other => other?,
        };
    }
    if place.node.kind() == Kind::Directory {
        Ok(place)
    } else {
        Err(Errno::NOTDIR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::system;

    #[test]
    fn lines_have_unikrafts_fields() {
        let volume = Entry {
            device: b"fs1",
            path: b"/data",
            driver: b"9pfs",
            read_only: false,
            make: true,
        };
        assert_eq!(parse(b"fs1:/data:9pfs:::mkmp").as_ref(), Some(&volume));
        let read_only = Entry {
            read_only: true,
            make: false,
            ..volume
        };
        for line in [&b"fs1:/data:9pfs:0x1"[..], b"fs1:/data:9pfs::a,ro:x"] {
            assert_eq!(parse(line).as_ref(), Some(&read_only));
        }
        for line in [&b""[..], b"fs1:/data", b"fs1:data:9pfs", b"fs1:/d:9pfs:x"] {
            assert_eq!(parse(line), None);
        }
    }

    #[test]
    fn a_tree_in_memory_can_be_mounted() {
        let system = system();
        mount_all(&[
            b"initrd0:/:extract::ramfs=2:".to_vec(),
            b"none:/a/b:ramfs:1::mkmp".to_vec(),
        ]);
        let mounted = mounts::all();
        let last = mounted.last().expect("there are mounts");
        assert_eq!(&last.path[..], b"/a/b");
        assert!(last.read_only);
        drop(system);
    }

    #[test]
    #[should_panic(expected = "no 9p device with this name")]
    fn a_device_that_is_missing_ends_the_machine() {
        let _system = system();
        mount_all(&[b"fs1:/data:9pfs:::mkmp".to_vec()]);
    }
}
