//! What URLs held when they were asked last: so that what did not change is not sent again, and so
//! that a computer without a network knows what it knew.

use std::path::{Path, PathBuf};

use kraft_core::lock::is_sha256;
use kraft_sys::fs;
use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::trees;

/// What is remembered of one URL is at most this long, in bytes.
const LARGEST: u64 = 64 << 10;

/// What a URL held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// The SHA-256 of it, in hexadecimal digits.
    pub(super) sha256: String,
    /// What its server calls this state of it.
    #[serde(default)]
    pub(super) etag: Option<String>,
    /// When it changed, as its server says.
    #[serde(default)]
    pub(super) last_modified: Option<String>,
}

/// Returns what a URL held last; what cannot be read is forgotten.
pub(super) fn recall(cache: &Path, url: &str) -> Option<Memory> {
    let bytes = fs::read_file(&place(cache, url), LARGEST).ok()?;
    let memory: Memory = serde_json::from_slice(&bytes).ok()?;
    is_sha256(&memory.sha256).then_some(memory)
}

/// Remembers what a URL held.
pub(super) fn keep(cache: &Path, url: &str, memory: &Memory) -> Result<(), Error> {
    let path = place(cache, url);
    fs::create_dir_all(&cache.join("remembered"), 0o755)?;
    let text =
        serde_json::to_vec(memory).map_err(|error| fs::Error::on("write", &path)(error.into()))?;
    Ok(fs::replace_file(&path, &text)?)
}

fn place(cache: &Path, url: &str) -> PathBuf {
    let print = trees::of_texts([url.as_bytes()]);
    cache.join("remembered").join(format!("{print}.json"))
}
