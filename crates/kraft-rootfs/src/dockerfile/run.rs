//! `RUN`: commands, and the trait of what runs them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::ids::IdMap;

/// A command to run in a root. Its variables may be secrets, so only their names are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; the program is looked up in the root.
    pub words: Vec<String>,
    /// Its environment; it inherits no other variables.
    pub environment: BTreeMap<String, String>,
    /// Its working directory, absolute in the root; it exists.
    pub directory: String,
    /// The user: a name or number, optionally with `:GROUP`; empty for root.
    pub user: String,
    /// The network that it requests.
    pub network: Option<Network>,
    /// Source of a mount.
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

/// The network of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Its own network, with a way out if the host has one.
    #[default]
    Own,
    /// The network of the host.
    Host,
    /// Only a loopback device.
    None,
}

/// A mount in the root while a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its source.
    pub source: MountSource,
    /// Its absolute path in the root. Missing directories are created.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// Source of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of this host.
    Path(PathBuf),
    /// An empty directory in memory.
    Memory {
        /// Its maximum size in bytes; 0 is the kernel's default.
        size: u64,
    },
}

/// Error of a command.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It ran and failed.
    #[error("the command {how}")]
    Failed {
        /// How it ended: `ended with code 3`.
        how: String,
    },
    /// This host cannot run it.
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
    /// Runs a command, and passes every line that it prints to `line`.
    fn run(
        &self,
        root: &Root,
        command: &Command,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), RunError>;

    /// Returns the users and groups of commands; `None` if every file of a root belongs to the user of
    /// this process.
    fn ids(&self) -> Option<&IdMap>;

    /// Returns the network of a command that requests no other.
    fn network(&self) -> Network;
}
