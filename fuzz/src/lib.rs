//! The bodies of the fuzz targets: one function per parser of bytes from outside.
//!
//! Each takes arbitrary bytes and must return: without a panic, in bounded time and memory. Where
//! a parser makes a promise about its result, the body asserts it.

mod archives;
mod cmdline;
mod containers;
mod images;
mod machines;
mod projects;
mod runtime;

pub use archives::{cpio, rootfs, tar};
pub use cmdline::cmdline;
pub use containers::runu;
pub use images::{oci, reference};
pub use machines::{event_log, kernel, options};
pub use projects::{compose, dockerfile, dotconfig, ignore, kconfig, kraftfile, lock};
pub use runtime::{runtime_cmdline, runtime_cpio, runtime_device_tree, runtime_elf, runtime_ninep};

/// Splits the input at zero bytes into texts: the parts of a target that takes more than one.
fn texts(bytes: &[u8]) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    bytes.split(|&byte| byte == 0).map(String::from_utf8_lossy)
}
