//! kraft as the runtime of container engines, which need Linux.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{of, role, run};

#[cfg(not(target_os = "linux"))]
mod missing;
#[cfg(not(target_os = "linux"))]
pub(crate) use missing::{of, role, run};
