//! The last known state of URLs, for conditional requests and offline use.

use std::path::{Path, PathBuf};

use kraft_core::lock::is_sha256;
use kraft_sys::fs;
use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::trees;

/// Maximum size of a record, in bytes.
const LARGEST: u64 = 64 << 10;

/// The last known state of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    /// SHA-256 of the content, in hexadecimal digits.
    pub(super) sha256: String,
    /// Its `ETag`.
    #[serde(default)]
    pub(super) etag: Option<String>,
    /// Its `Last-Modified` date.
    #[serde(default)]
    pub(super) last_modified: Option<String>,
}

/// Returns the last known state of a URL; unreadable records are ignored.
pub(super) fn recall(cache: &Path, url: &str) -> Option<Validators> {
    let bytes = fs::read_file(&place(cache, url), LARGEST).ok()?;
    let validators: Validators = serde_json::from_slice(&bytes).ok()?;
    is_sha256(&validators.sha256).then_some(validators)
}

/// Saves the state of a URL.
pub(super) fn keep(cache: &Path, url: &str, validators: &Validators) -> Result<(), Error> {
    let path = place(cache, url);
    fs::create_dir_all(&cache.join("remembered"), 0o755)?;
    let text = serde_json::to_vec(validators)
        .map_err(|error| fs::Error::on("write", &path)(error.into()))?;
    Ok(fs::replace_file(&path, &text)?)
}

fn place(cache: &Path, url: &str) -> PathBuf {
    let print = trees::of_texts([url.as_bytes()]);
    cache.join("remembered").join(format!("{print}.json"))
}
