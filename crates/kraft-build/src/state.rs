//! What a kernel was made from: kept beside it, so that nothing is done twice.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kraft_sys::fs;
use serde::{Deserialize, Serialize};

/// The version of the file; another one is as good as none.
const VERSION: u32 = 1;
/// A longer file is not ours, in bytes.
const LARGEST: u64 = 4 << 20;

/// What is known of the last build of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The version of this description; set when it is written.
    pub(crate) version: u32,
    /// The fingerprint of everything the kernel was made from; empty while it is being made.
    pub inputs: String,
    /// The fingerprint of what the configuration was made from.
    pub configuration: String,
    /// The configuration as it was when we left it.
    pub settled: BTreeMap<String, String>,
    /// Options that somebody changed in the configuration by hand; `None` for one that was unset.
    pub edits: BTreeMap<String, Option<String>>,
    /// What the build made.
    pub products: Vec<Product>,
    /// How many objects it made.
    pub objects: u64,
    /// Where make worked; empty if that is not known.
    #[serde(default)]
    pub place: PathBuf,
}

/// A file that a build made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its time, in nanoseconds since 1970.
    pub time: i128,
}

impl Product {
    /// Looks at a file.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            size: found.size(),
            time: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
        })
    }

    /// Returns whether it is still as it was.
    pub fn is_there(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| now == *self)
    }
}

impl State {
    /// Reads what is known; a file that is not there, or makes no sense, knows nothing.
    pub fn load(path: &Path) -> Self {
        fs::read_file(path, LARGEST)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
            .filter(|state| state.version == VERSION)
            .unwrap_or_default()
    }

    /// Writes it.
    pub fn save(&self, path: &Path) -> Result<(), fs::Error> {
        let state = Self {
            version: VERSION,
            ..self.clone()
        };
        let text = serde_json::to_vec(&state)
            .map_err(|error| fs::Error::on("write", path)(error.into()))?;
        fs::replace_file(path, &text)
    }

    /// Returns whether the kernel that is there was made from exactly this.
    pub fn is_current(&self, inputs: &str) -> bool {
        !inputs.is_empty()
            && self.inputs == inputs
            && !self.products.is_empty()
            && self.products.iter().all(Product::is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_current_until_its_inputs_or_its_file_change() {
        let dir = tempfile::tempdir().unwrap();
        let (kernel, file) = (dir.path().join("k"), dir.path().join("state"));
        fs::replace_file(&kernel, b"kernel").unwrap();
        let state = State {
            inputs: "abc".into(),
            products: vec![Product::of(&kernel).unwrap()],
            ..State::default()
        };
        state.save(&file).unwrap();
        let state = State::load(&file);
        assert!(state.is_current("abc"));
        assert!(!state.is_current("abd"));
        fs::replace_file(&kernel, b"other!").unwrap();
        assert!(!state.is_current("abc"));
    }

    #[test]
    fn a_damaged_file_or_one_of_another_version_knows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        for text in ["{", "", "{\"version\":99,\"inputs\":\"abc\"}"] {
            fs::replace_file(&file, text.as_bytes()).unwrap();
            assert_eq!(State::load(&file), State::default(), "{text}");
        }
    }
}
