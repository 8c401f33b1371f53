//! What a machine mounts: host directories over 9p, and the root archive.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A directory of the host that the machine sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Volume {
    /// Absolute path of a directory on the host.
    pub source: PathBuf,
    /// Absolute path inside the machine.
    pub destination: String,
    /// Whether the machine may not write to it.
    pub read_only: bool,
}
