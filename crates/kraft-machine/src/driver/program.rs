//! The program of a VMM on this host.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kraft_sys::tool::{self, Tool, ToolError};

/// How long a VMM may take to print its version.
const TIMEOUT: Duration = Duration::from_secs(10);

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

impl fmt::Display for Origin {
    /// Writes how to get it: `apt install qemu-system-x86`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// Returns a VMM's program and its first arguments: `name`, unless `configured` overrides it, which may
/// hold arguments after blanks.
pub(super) fn words(configured: Option<&str>, name: &str) -> Vec<String> {
    let words = configured.unwrap_or_default().split_whitespace();
    let words: Vec<String> = words.map(str::to_owned).collect();
    if words.is_empty() {
        vec![name.to_owned()]
    } else {
        words
    }
}

/// A version of a VMM: major, minor, micro.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Version(pub(super) u32, pub(super) u32, pub(super) u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// Parses the number that a text begins with: `10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub(super) fn at_start(text: &str) -> Option<Self> {
        let number = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        let mut parts = number.take(1).flat_map(|it| it.split('.')).map(str::parse);
        let mut part = || parts.next()?.ok();
        Some(Self(part()?, part()?, part().unwrap_or(0)))
    }
}

/// What is known about the program of a VMM.
pub(super) struct Known {
    /// The name of the VMM.
    pub(super) vmm: &'static str,
    /// Where its program comes from.
    pub(super) origin: Origin,
    /// The option that prints its version.
    pub(super) option: &'static str,
    /// Finds the version in the first line that it prints.
    pub(super) parse: fn(&str) -> Option<Version>,
    /// The oldest version that works.
    pub(super) oldest: Version,
    /// What older ones lack: `older ones have no …`.
    pub(super) why: &'static str,
}

impl Known {
    /// Finds the program, and checks its version; `words` are its name and its first arguments.
    pub(super) fn find(&self, words: &[String]) -> Result<(PathBuf, Version), ProgramError> {
        let name = words.first().cloned().unwrap_or_default();
        let path = tool::locate(name.as_ref()).ok_or(ProgramError::NotFound {
            program: name,
            origin: self.origin,
        })?;
        let program = path.display().to_string();
        let output = Tool::new(&path)
            .args(words.iter().skip(1))
            .args([self.option])
            .limit(TIMEOUT)
            .run()
            .map_err(|source| ProgramError::NoVersion {
                program: program.clone(),
                source,
            })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let text = text.lines().next().unwrap_or_default().to_owned();
        let vmm = self.vmm;
        tracing::debug!(program, text, "asked {vmm} for its version");
        match (self.parse)(&text) {
            None => Err(ProgramError::Unrecognized { program, vmm, text }),
            Some(version) if version < self.oldest => Err(ProgramError::TooOld {
                program,
                vmm,
                version: version.to_string(),
                oldest: self.oldest.to_string(),
                why: self.why,
            }),
            Some(version) => Ok((path, version)),
        }
    }
}
