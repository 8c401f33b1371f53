//! Requests to the sandbox. They are sent through a pipe and never stored on disk: variables may be
//! secrets.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::network::Access;
use crate::ids::IdMap;

/// Maximum size of a request in bytes; the kernel does not accept longer arguments either.
const LONGEST: u64 = 64 << 20;

/// A request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    /// Users and groups of the namespace; `None` makes this user root, alone.
    pub(super) ids: Option<IdMap>,
    /// The network of the command.
    pub(super) network: Access,
    /// The command; `None` only checks whether it could be run.
    pub(super) step: Option<Step>,
}

/// A command and its root.
#[derive(Serialize, Deserialize)]
pub(super) struct Step {
    /// Prefix of lines that the sandbox itself prints. A command cannot know it.
    pub(super) mark: String,
    pub(super) root: PathBuf,
    pub(super) overlay: Option<Overlay>,
    pub(super) words: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) directory: String,
    pub(super) user: String,
    /// Whether the namespace has other users than root.
    pub(super) has_users: bool,
    pub(super) mounts: Vec<StepMount>,
}

/// The overlay to mount at the root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Overlay {
    /// The directory that the other names are relative to.
    pub(super) dir: PathBuf,
    pub(super) lower: Vec<String>,
    pub(super) upper: String,
    pub(super) work: String,
}

/// A mount in the root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StepMount {
    pub(super) source: StepSource,
    /// Its path in the root. Missing directories are created.
    pub(super) target: String,
    pub(super) read_only: bool,
    /// Whether a link at the target is followed, and whether nothing is mounted where there is no
    /// directory for it.
    pub(super) over_links: bool,
}

/// Source of a mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum StepSource {
    /// A file or directory of the host.
    Path(PathBuf),
    /// An empty directory in memory with this maximum size in bytes; 0 is the kernel's default.
    Memory(u64),
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").finish_non_exhaustive()
    }
}

impl Spec {
    /// Writes it with its length before it, so that a reader knows where it ends.
    pub(super) fn write(&self, mut pipe: impl Write) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        pipe.write_all(&length.to_le_bytes())?;
        pipe.write_all(&text)
    }

    /// Reads what [`write`](Self::write) wrote, and no byte after it.
    pub(super) fn read(mut pipe: impl Read) -> io::Result<Self> {
        let mut length = [0; 8];
        pipe.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST {
            return Err(io::Error::other("the request is too long"));
        }
        let mut text = Vec::new();
        let read = pipe.take(length).read_to_end(&mut text)?;
        if u64::try_from(read) != Ok(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_to_its_end_and_no_further() {
        let spec = Spec {
            ids: None,
            network: Access::None,
            step: None,
        };
        let mut bytes = Vec::new();
        spec.write(&mut bytes).unwrap();
        let whole = bytes.len();
        bytes.extend(b"more");
        let mut pipe = bytes.as_slice();
        assert!(Spec::read(&mut pipe).unwrap().step.is_none());
        assert_eq!(pipe, b"more");
        for cut in [0, 7, 8, whole - 1] {
            assert!(Spec::read(&bytes[..cut]).is_err(), "{cut}");
        }
        let endless = [0xff; 8];
        assert!(Spec::read(&endless[..]).is_err());
    }
}
