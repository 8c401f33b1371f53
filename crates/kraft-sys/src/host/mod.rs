//! What Linux and macOS do differently. The module of each system has the same functions and constants; what a system
//! cannot do is an error of the kind [`Unsupported`](std::io::ErrorKind::Unsupported) that names it.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod stat;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(target_os = "linux")]
pub(crate) use stat::Stat;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
pub(crate) use macos::*;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("kraft runs on Linux and macOS");

/// Whether a process is more than an entry in the table of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// It has ended; its parent may not have waited for it yet.
    Ended,
}
