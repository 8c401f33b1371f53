//! Sockets that do not block, and that programs started meanwhile do not inherit; waiting for packets.
//!
//! ```
//! use rustix::net::{AddressFamily, SocketType};
//!
//! let socket = kraft_sys::socket::nonblocking(AddressFamily::UNIX, SocketType::STREAM)?;
//! assert!(rustix::io::fcntl_getfd(&socket)?.contains(rustix::io::FdFlags::CLOEXEC));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType};

use crate::host;

/// Opens a socket.
///
/// # Errors
///
/// If the system does not have it, or too many files are open.
pub fn nonblocking(family: AddressFamily, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    host::socket(family, kind)
}

/// Repeats a call that was interrupted. A receiver with a time limit is, when the process or the host was stopped meanwhile,
/// even if no signal has a handler (`signal(7)`).
///
/// ```
/// use std::io::{Error, ErrorKind};
///
/// let mut answers = [Err(Error::from(ErrorKind::Interrupted)), Ok(7)].into_iter();
/// let received = kraft_sys::socket::uninterrupted(|| answers.next().expect("an answer"));
/// assert_eq!(received?, 7);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// Every other error of the call.
pub fn uninterrupted<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match receive() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
