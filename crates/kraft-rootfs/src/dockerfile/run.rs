//! `RUN`: what a command needs to know, for whatever runs it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::ids::IdMap;

/// A command to be run in a root. Its variables may be secrets, so only their names are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Its words; the first is looked up in the root.
    pub words: Vec<String>,
    /// Its variables, and no others.
    pub environment: BTreeMap<String, String>,
    /// The directory it begins in, absolute in the root; it is there.
    pub directory: String,
    /// The user: a name or number, with a group behind a colon; empty for root.
    pub user: String,
    /// What it asks to see of the network.
    pub network: Option<Network>,
    /// What is mounted over the root.
    pub mounts: Vec<Mount>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.environment.keys().collect();
        f.debug_struct("Command")
            .field("words", &self.words)
            .field("environment", &names)
            .field("directory", &self.directory)
            .field("user", &self.user)
            .field("network", &self.network)
            .field("mounts", &self.mounts)
            .finish()
    }
}

/// What a command sees of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A network of its own, with a way out where the host has one.
    #[default]
    Own,
    /// That of the host.
    Host,
    /// Only a loopback device.
    None,
}

/// Something that is mounted over the root while a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where it appears, absolute in the root. What is missing of the way there is made.
    pub target: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// What is mounted over the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of this host.
    Path(PathBuf),
    /// An empty directory in memory.
    Memory {
        /// Its largest size in bytes; 0 is the default of the kernel.
        size: u64,
    },
}

/// Why a command could not be run, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RunFault {
    /// It ran, and failed.
    #[error("the command {how}")]
    Failed {
        /// How it ended: `ended with code 3`.
        how: String,
    },
    /// This host does not let us run it.
    #[error("{0}")]
    Host(String),
    /// This host cannot mount an overlay ([`Root::Layers`]).
    #[error("no overlay file system: {0}")]
    NoOverlay(String),
}

/// The root directory of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// A directory.
    Directory(PathBuf),
    /// An overlay. All names are relative to `dir`.
    Layers {
        /// The directory that contains the others.
        dir: PathBuf,
        /// The lower directories, the uppermost first.
        lower: Vec<String>,
        /// The upper directory, which gets all changes.
        upper: String,
        /// The work directory, empty.
        work: String,
        /// The mount point, empty.
        at: String,
    },
}

/// Runs commands in a root.
pub trait Runner: std::fmt::Debug {
    /// Runs a command, and hands on every line that it writes.
    fn run(
        &self,
        root: &Root,
        command: &Command,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), RunFault>;

    /// Returns the users and groups of commands; `None` if every file of a root belongs to who runs
    /// this process.
    fn ids(&self) -> Option<&IdMap>;

    /// Returns the network of a command that asks for no other.
    fn network(&self) -> Network;
}
