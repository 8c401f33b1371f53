//! The devices of `/dev`.

use alloc::rc::Rc;

use super::{Kind, Metadata, NewNode, Node};
use crate::abi::errno::{Errno, Result};
use crate::file::io::{Input, Output};
use crate::file::{File, terminal};
use crate::random;

/// The number of a device from its two parts (Linux's `makedev`).
pub fn number(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (major & 0xffff_f000) << 32 | (major & 0xfff) << 8 | (minor & 0xffff_ff00) << 12 | minor & 0xff
}

/// The two parts of a device's number.
pub fn parts(number: u64) -> (u32, u32) {
    let major = (number >> 32 & 0xffff_f000 | number >> 8 & 0xfff) as u32;
    let minor = (number >> 12 & 0xffff_ff00 | number & 0xff) as u32;
    (major, minor)
}

/// The devices that every program may expect, with their numbers (Linux's `devices.txt`).
const DEVICES: &[(&[u8], u32, u32)] = &[
    (b"null", 1, 3),
    (b"zero", 1, 5),
    (b"full", 1, 7),
    (b"random", 1, 8),
    (b"urandom", 1, 9),
    (b"kmsg", 1, 11),
    (b"tty", 5, 0),
    (b"console", 5, 1),
    (b"ptmx", 5, 2),
    (b"ttyS0", 4, 64),
];

/// Adds what is missing in `/dev`.
pub fn populate(dev: &Rc<dyn Node>) {
    for &(name, major, minor) in DEVICES {
        let new = NewNode {
            kind: Kind::CharacterDevice,
            permissions: 0o666,
            user: 0,
            group: 0,
            device_number: number(major, minor),
            target: alloc::vec::Vec::new(),
        };
        // One that the archive brought is as good.
        let _ = dev.create(name, &new);
    }
    for (name, target) in [
        (&b"fd"[..], &b"/proc/self/fd"[..]),
        (b"stdin", b"/proc/self/fd/0"),
        (b"stdout", b"/proc/self/fd/1"),
        (b"stderr", b"/proc/self/fd/2"),
    ] {
        let new = NewNode {
            kind: Kind::Link,
            permissions: 0o777,
            user: 0,
            group: 0,
            device_number: 0,
            target: target.to_vec(),
        };
        let _ = dev.create(name, &new);
    }
}

/// Opens a device.
///
/// # Errors
/// `ENXIO` for one that there is not.
pub fn open(kind: Kind, device: u64) -> Result<Rc<dyn File>> {
    if kind != Kind::CharacterDevice {
        return Err(Errno::NXIO);
    }
    match parts(device) {
        (1, 3) => Ok(Rc::new(Simple::Null)),
        (1, 5) => Ok(Rc::new(Simple::Zero)),
        (1, 7) => Ok(Rc::new(Simple::Full)),
        (1, 8 | 9) => Ok(Rc::new(Simple::Random)),
        (1, 11) => Ok(Rc::new(Simple::Log)),
        (4 | 5, minor) => terminal::open_device(minor),
        (136, minor) => terminal::open_slave(minor),
        _ => Err(Errno::NXIO),
    }
}

/// The devices that keep nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Simple {
    Null,
    Zero,
    Full,
    Random,
    Log,
}

impl File for Simple {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        match self {
            Simple::Null | Simple::Log => Ok(0),
            Simple::Zero | Simple::Full => out.put_zeros(out.room()),
            Simple::Random => {
                let mut done = 0;
                let mut buffer = [0; 256];
                while out.room() > 0 {
                    let length = out.room().min(buffer.len());
                    random::fill(&mut buffer[..length]);
                    done += out.put(&buffer[..length])?;
                }
                Ok(done)
            }
        }
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        match self {
            Simple::Full => Err(Errno::NOSPC),
            Simple::Log => {
                let mut line = [0; 1024];
                let length = input.take(&mut line)?;
                crate::arch::console_write(&line[..length]);
                Ok(input.skip() + length)
            }
            _ => Ok(input.skip()),
        }
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(Kind::CharacterDevice, 0)
    }

    fn zeros_when_mapped(&self) -> bool {
        *self == Simple::Zero
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_come_apart_as_they_were_put_together() {
        for (major, minor) in [(1, 3), (5, 0), (136, 300), (4095, 0x000f_ffff)] {
            assert_eq!(parts(number(major, minor)), (major, minor));
        }
        assert_eq!(number(1, 3), 0x103);
    }
}
