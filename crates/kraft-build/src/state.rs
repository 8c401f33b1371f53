//! The recorded state of the last build, so that unchanged kernels are not rebuilt.
//!
//! ```
//! use kraft_build::state::State;
//!
//! let dir = tempfile::tempdir()?;
//! let file = dir.path().join("state.json");
//! assert_eq!(State::load(&file), State::default(), "there was no build");
//!
//! let mut state = State::default();
//! state.inputs = "0a1b".to_owned();
//! state.save(&file)?;
//! assert_eq!(State::load(&file).inputs, "0a1b");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kraft_sys::fs;
use serde::{Deserialize, Serialize};

/// Version of the file format; files of other versions are ignored.
const VERSION: u32 = 1;
/// Maximum size of the file, in bytes.
const LARGEST: u64 = 4 << 20;

/// The state of a target's last build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of the format; set when it is written.
    pub(crate) version: u32,
    /// Fingerprint of all inputs of the kernel; empty during a build.
    pub inputs: String,
    /// Fingerprint of the inputs of the configuration.
    pub configuration: String,
    /// The configuration as kraft wrote it.
    pub settled: BTreeMap<String, String>,
    /// Manually edited options; `None` for one that was unset.
    pub edits: BTreeMap<String, Option<String>>,
    /// The files that the build produced.
    pub products: Vec<Product>,
    /// Number of objects that it compiled.
    pub objects: u64,
    /// make's build directory; empty if unknown.
    #[serde(default)]
    pub place: PathBuf,
}

/// A file produced by a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time, in nanoseconds since 1970.
    pub time: i128,
}

impl Product {
    /// Reads the metadata of a file.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            size: found.size(),
            time: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
        })
    }

    /// Returns whether the file is unchanged.
    pub fn is_there(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| now == *self)
    }
}

impl State {
    /// Reads the state; missing and invalid files yield the default.
    pub fn load(path: &Path) -> Self {
        fs::read_file(path, LARGEST)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
            .filter(|state| state.version == VERSION)
            .unwrap_or_default()
    }

    /// Writes the state.
    pub fn save(&self, path: &Path) -> Result<(), fs::Error> {
        let state = Self {
            version: VERSION,
            ..self.clone()
        };
        let text = serde_json::to_vec(&state)
            .map_err(|error| fs::Error::on("write", path)(error.into()))?;
        fs::replace_file(path, &text)
    }

    /// Returns whether the existing kernel was built from exactly these inputs.
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
    fn damaged_and_other_versions_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        for text in ["{", "", "{\"version\":99,\"inputs\":\"abc\"}"] {
            fs::replace_file(&file, text.as_bytes()).unwrap();
            assert_eq!(State::load(&file), State::default(), "{text}");
        }
    }
}
