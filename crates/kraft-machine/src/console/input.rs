//! The input of a console: a named pipe that the VMM reads.
//!
//! The VMM has it open for reading and writing, so that it never ends, and any number of processes
//! may write to it. If the guest does not read, writers wait; neither the VMM nor the monitor does.
//!
//! The kernel of the built-in runtime also takes commands there, those of Telnet (RFC 854): byte 255
//! begins one, and twice it stands for itself.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kraft_core::kernel::Guest;
use kraft_core::machine::MachineSpec;
use kraft_sys::fs;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Begins a command.
const IAC: u8 = 255;
/// `IAC DONT ECHO`: the input is not typed (RFC 857).
const NOT_TYPED: [u8; 3] = [IAC, 254, 1];
/// `IAC EOF`: the end of the input (RFC 1184).
const END: [u8; 2] = [IAC, 236];
/// `IAC IP`: terminate the program.
const TERMINATE: [u8; 2] = [IAC, 244];

/// `IAC SB` and the option of the text that a restored machine gets, and `IAC SE`.
const RESTORED: [u8; 3] = [IAC, 250, 200];
const RESTORED_END: [u8; 2] = [IAC, 240];

/// The number of bytes that are written at once: such a write is not mixed with others.
const ATOMIC: usize = 512;

/// How often a writer looks whether its time is over.
const TURN: Duration = Duration::from_millis(100);

/// Returns the path of the pipe.
fn path(dir: &Path) -> PathBuf {
    dir.join("input")
}

/// Creates the pipe, unless there is one.
pub(super) fn create(dir: &Path) -> Result<(), fs::Error> {
    let pipe = path(dir);
    match fs::make_fifo(&pipe, 0o600) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Opens the pipe as the VMM's standard input.
pub(crate) fn open_for_vmm(dir: &Path) -> Result<File, fs::Error> {
    let pipe = path(dir);
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&pipe)
        .map_err(fs::Error::on("open", &pipe))
}

/// The input of the console of a machine that runs.
#[derive(Debug)]
pub struct ConsoleInput {
    pipe: File,
    /// Whether the kernel takes commands.
    commands: bool,
}

impl ConsoleInput {
    /// Opens the input; an error if no VMM reads it.
    pub(crate) fn open(dir: &Path, spec: &MachineSpec) -> io::Result<Self> {
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let pipe = OpenOptions::new()
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path(dir))?;
        Ok(Self {
            pipe,
            commands: spec.guest == Guest::Runtime,
        })
    }

    /// Returns whether the guest can learn the size of the window and the end of the input.
    pub fn takes_commands(&self) -> bool {
        self.commands
    }

    /// Sends bytes to the guest; returns whether it has taken all before `limit`.
    pub fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<bool> {
        if !self.commands {
            return self.write(bytes, limit);
        }
        self.write(&escaped(bytes), limit)
    }

    /// Sends a byte that the kernel leaves out, before anything else is sent to a machine that was
    /// just started: its serial port loses what it receives before the kernel sets it up.
    pub fn begin(&mut self, limit: Duration) -> io::Result<bool> {
        self.command(&[0], limit)
    }

    /// Sends the size of the window to the guest, if it takes commands.
    pub fn resize(&mut self, rows: u16, columns: u16, limit: Duration) -> io::Result<bool> {
        self.command(&size(rows, columns), limit)
    }

    /// Has the guest pass on every byte without echo: the input does not come from a keyboard.
    pub fn not_typed(&mut self, limit: Duration) -> io::Result<bool> {
        self.command(&NOT_TYPED, limit)
    }

    /// Reports the end of the input to the guest.
    pub fn end(&mut self, limit: Duration) -> io::Result<bool> {
        self.command(&END, limit)
    }

    /// Has the guest terminate its program; returns whether it takes such commands.
    pub(crate) fn terminate(&mut self, limit: Duration) -> io::Result<bool> {
        Ok(self.commands && self.write(&TERMINATE, limit)?)
    }

    /// Sends a guest that was restored and is still paused what it has to know before it continues, if
    /// it takes commands. Returns when the VMM has taken the beginning, so that it interrupts the
    /// guest first, or after `limit`.
    pub(crate) fn restored(&mut self, text: &str, limit: Duration) -> io::Result<()> {
        if !self.commands {
            return Ok(());
        }
        let bytes = [&RESTORED, text.as_bytes(), &RESTORED_END].concat();
        // A write of this length is not mixed with others.
        let written = self.pipe.write(&bytes)? as u64;
        let deadline = Instant::now() + limit;
        while rustix::io::ioctl_fionread(&self.pipe)? >= written && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn command(&mut self, bytes: &[u8], limit: Duration) -> io::Result<bool> {
        if !self.commands {
            return Ok(true);
        }
        self.write(bytes, limit)
    }

    fn write(&mut self, bytes: &[u8], limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now().checked_add(limit);
        let mut left = bytes;
        while !left.is_empty() {
            let piece = left.get(..ATOMIC.min(left.len())).unwrap_or_default();
            match self.pipe.write(piece) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Ok(false);
                    }
                    let mut files = [PollFd::new(&self.pipe, PollFlags::OUT)];
                    let turn = rustix::event::Timespec::try_from(TURN).ok();
                    match poll(&mut files, turn.as_ref()) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// Doubles the byte that begins commands.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        text.push(byte);
        if byte == IAC {
            text.push(byte);
        }
    }
    text
}

/// Returns `IAC SB NAWS columns rows IAC SE` (RFC 1073).
fn size(rows: u16, columns: u16) -> Vec<u8> {
    let numbers = [columns.to_be_bytes(), rows.to_be_bytes()].concat();
    [&[IAC, 250, 31][..], &escaped(&numbers), &[IAC, 240]].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn commands_are_telnets_and_the_byte_that_begins_them_is_doubled() {
        assert_eq!(escaped(b"a\xffb"), b"a\xff\xffb");
        assert_eq!(size(43, 132), [255, 250, 31, 0, 132, 0, 43, 255, 240]);
        assert_eq!(size(1, 511), [255, 250, 31, 1, 255, 255, 0, 1, 255, 240]);
    }

    #[test]
    fn a_guest_that_does_not_read_makes_only_the_writer_wait() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).unwrap();
        create(dir.path()).unwrap();
        let open = || {
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            let mut options = OpenOptions::new();
            options
                .write(true)
                .custom_flags(flags)
                .open(path(dir.path()))
        };
        assert!(open().is_err(), "no VMM reads");
        let mut vmm = open_for_vmm(dir.path()).unwrap();
        let mut input = ConsoleInput {
            pipe: open().unwrap(),
            commands: true,
        };
        let limit = Duration::from_millis(10);
        assert!(input.send(b"x\xff", limit).unwrap());
        assert!(!input.send(&vec![b'y'; 200_000], limit).unwrap());
        let mut read = [0; 3];
        vmm.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"x\xff\xff");
        drop(vmm);
        let gone = input.send(b"z", limit).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }
}
