//! The program of a VMM on this host.

use std::path::PathBuf;

use kraft_sys::tool::ToolError;

/// An installed VMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The path of its program.
    pub program: PathBuf,
    /// Its version.
    pub version: String,
    /// Something that this version cannot do.
    pub limitation: Option<Limitation>,
}

/// Something that an installed VMM cannot do, and newer versions can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limitation {
    /// What is missing: `without KVM it lacks …`.
    pub what: &'static str,
    /// What the user can do about it.
    pub hint: &'static str,
}

/// Where the program of a VMM comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Debian package.
    Package(&'static str),
    /// A page with releases.
    Releases(&'static str),
}

impl std::fmt::Display for Origin {
    /// Writes how to get it: `apt install qemu-system-x86`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Package(name) => write!(f, "apt install {name}"),
            Self::Releases(page) => write!(f, "download it: {page}"),
        }
    }
}

impl Origin {
    /// Returns how to get it, for a sentence.
    pub fn hint(self) -> String {
        match self {
            Self::Package(_) => format!("try `{self}`"),
            Self::Releases(_) => self.to_string(),
        }
    }
}

/// There is no VMM that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not installed, or not where the configuration says.
    #[error("cannot find the program `{program}`")]
    NotFound {
        /// Its name or path.
        program: String,
        /// Where it comes from.
        origin: Origin,
    },
    /// It cannot be run.
    #[error("cannot get the version of `{program}`")]
    NoVersion {
        /// Its path.
        program: String,
        /// The reason.
        source: ToolError,
    },
    /// It prints something else than a version.
    #[error("`{program}` does not look like {vmm}: it prints `{text}`")]
    Unrecognized {
        /// Its path.
        program: String,
        /// The name of the VMM.
        vmm: &'static str,
        /// The first line it prints.
        text: String,
    },
    /// Its version is too old.
    #[error("{vmm} {version} is too old: {oldest} or newer is needed ({why})")]
    TooOld {
        /// Its path.
        program: String,
        /// The name of the VMM.
        vmm: &'static str,
        /// Its version.
        version: String,
        /// The oldest version that works.
        oldest: String,
        /// What older ones lack: `older ones have no …`.
        why: &'static str,
    },
}
