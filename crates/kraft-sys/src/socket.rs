//! Sockets that do not block, and that programs started meanwhile do not inherit.
//!
//! ```
//! use rustix::net::{AddressFamily, SocketType};
//!
//! let socket = kraft_sys::socket::nonblocking(AddressFamily::UNIX, SocketType::STREAM)?;
//! assert!(rustix::io::fcntl_getfd(&socket)?.contains(rustix::io::FdFlags::CLOEXEC));
//! # Ok::<(), std::io::Error>(())
//! ```

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
