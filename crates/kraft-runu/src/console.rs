//! The terminal of a container: made here, and sent to the engine over its socket.

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Makes a terminal, sends its side of the engine to the socket, and returns that of the container.
pub(crate) fn make(socket: &Path) -> Result<File, Failure> {
    let system = |what: &'static str| move |e: rustix::io::Errno| Failure::of(what, &e);
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).map_err(system("cannot make a terminal"))?;
    grantpt(&master).map_err(system("cannot make a terminal"))?;
    unlockpt(&master).map_err(system("cannot make a terminal"))?;
    let name = ptsname(&master, Vec::new()).map_err(system("cannot make a terminal"))?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(&name, flags, Mode::empty())
        .map_err(system("cannot open the terminal of the container"))?;
    raw(&slave)?;
    send(socket, name.as_bytes(), &master)?;
    Ok(File::from(slave))
}

/// Switches off everything that the terminal does itself: the guest has one of its own.
fn raw(terminal: &OwnedFd) -> Result<(), Failure> {
    let set = || {
        let mut settings = tcgetattr(terminal)?;
        settings.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &settings)
    };
    set().map_err(|e: rustix::io::Errno| Failure::of("cannot set up the terminal", &e))
}

/// Sends an open file with its name, in one message.
fn send(socket: &Path, name: &[u8], file: &OwnedFd) -> Result<(), Failure> {
    let shown = std::ffi::OsStr::from_bytes(socket.as_os_str().as_bytes());
    let failed = |e: &(dyn std::error::Error + 'static)| {
        let what = format!("cannot send the terminal to `{}`", shown.display());
        Failure::of(&what, e)
    };
    let stream = UnixStream::connect(socket).map_err(|e| failed(&e))?;
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    let data = [IoSlice::new(name)];
    sendmsg(&stream, &data, &mut ancillary, SendFlags::empty()).map_err(|e| failed(&e))?;
    Ok(())
}
