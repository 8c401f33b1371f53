//! What this host offers to networks.

use std::path::PathBuf;

use kraft_sys::tool;

use crate::holder;

/// Why this user cannot make networks on this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// The reason.
    pub why: String,
    /// What to do about it: a command.
    pub cure: Option<String>,
}

impl Refusal {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            cure: None,
        }
    }

    pub(crate) fn with_cure(why: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            cure: Some(cure.into()),
        }
    }
}

/// Returns why this user cannot make networks, as far as that is known without making one.
///
/// ```
/// if let Some(refusal) = kraft_net::host::refusal() {
///     println!("no networks: {refusal}");
/// }
/// ```
pub fn refusal() -> Option<Refusal> {
    holder::refusal()
}

/// Returns the program that leads out of networks; `None` if it is not installed.
pub fn way_out() -> Option<PathBuf> {
    tool::locate(holder::WAY_OUT.as_ref())
}
