//! The files of networks.
//!
//! ```text
//! RUNTIME_DIR/networks/    its lock (flock on the directory): names and subnets are given under it
//! └── NAME/                its lock: addresses are given under it
//!     ├── network.json     the record
//!     ├── leases.json      which machine has which address
//!     ├── start.lock       locked while a holder is started, and while one ends
//!     ├── holder.json      the holder, its namespaces and the machines that run
//!     ├── holder.sock      the socket of the holder
//!     └── holder.log       what the holder and the programs it starts printed
//! ```
//!
//! The order of locks is always the same: that of `networks/`, that of a network, `start.lock`.

use std::path::{Path, PathBuf};

/// The directory of one network.
#[derive(Clone, Debug)]
pub(crate) struct NetworkDir {
    path: PathBuf,
}

impl NetworkDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory of another network; `None` if that is not a name of one.
    pub(crate) fn sibling(&self, name: &str) -> Option<Self> {
        kraft_core::net::check_name(name).ok()?;
        Some(Self::new(self.path.parent()?.join(name)))
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.path.join("network.json")
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.path.join("leases.json")
    }

    pub(crate) fn start_lock(&self) -> PathBuf {
        self.path.join("start.lock")
    }

    pub(crate) fn holder(&self) -> PathBuf {
        self.path.join("holder.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("holder.log")
    }
}

/// The name of the socket in the directory.
pub(crate) const SOCKET: &str = "holder.sock";
