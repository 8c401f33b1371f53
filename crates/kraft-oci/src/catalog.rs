//! Cached repository lists of registries, updated by conditional requests.
//!
//! ```text
//! DIR/HOST.json    one file per registry, replaced whole
//! ```
//!
//! ```
//! use kraft_oci::catalog;
//!
//! let dir = tempfile::tempdir()?;
//! assert!(catalog::load(dir.path()).is_empty());
//! // A file that is not a list is ignored.
//! std::fs::write(dir.path().join("example.com.json"), "{")?;
//! assert!(catalog::load(dir.path()).is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use kraft_core::reference::{DEFAULT_TAG, Digest, Reference};
use kraft_sys::fs;
use serde::{Deserialize, Serialize};

use crate::choose::candidates;
use crate::image::{Descriptor, Document};
use crate::listing::Row;
use crate::registry::{self, ErrorKind, Fetched, Registry};

/// Maximum number of concurrent requests.
const AT_ONCE: usize = 32;
/// Maximum size of a cache file, in bytes.
const LARGEST: u64 = 256 << 20;

/// The cached list of a registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Catalog {
    /// The registry.
    pub host: String,
    /// Time of the last request.
    pub asked: Timestamp,
    /// The images, by repository.
    entries: BTreeMap<String, Entry>,
}

/// The default tag of a repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    /// `ETag` for conditional requests (RFC 9110, section 8.8.3).
    etag: Option<String>,
    /// The digest of the index or manifest.
    digest: Digest,
    /// The manifests of unikernels; empty for other images.
    manifests: Vec<Descriptor>,
}

impl Catalog {
    /// Returns one row per platform of every image.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (repository, entry) in &self.entries {
            let name = format!("{}/{repository}:{DEFAULT_TAG}", self.host);
            let Ok(name) = name.parse::<Reference>() else {
                continue;
            };
            for candidate in candidates(&entry.manifests) {
                rows.push(Row {
                    name: name.clone(),
                    index: entry.digest.clone(),
                    manifest: candidate.descriptor.digest,
                    platform: candidate.platform,
                    size: None,
                    pulled: None,
                    here: false,
                });
            }
        }
        rows
    }
}

/// Reads the cached lists. Unreadable files are ignored.
pub fn load(dir: &Path) -> Vec<Catalog> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut catalogs: Vec<Catalog> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "json"))
        .filter_map(|entry| read(&entry.path()))
        .collect();
    catalogs.sort_by(|a, b| a.host.cmp(&b.host));
    catalogs
}

fn read(path: &Path) -> Option<Catalog> {
    let bytes = fs::read_file(path, LARGEST).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn path(dir: &Path, host: &str) -> PathBuf {
    dir.join(format!("{}.json", host.replace([':', '[', ']'], "_")))
}

/// Queries a registry, caches the result, and returns it. `progress` gets the number of
/// repositories queried.
///
/// Repositories that cannot be read, or contain no unikernel, are skipped.
pub async fn refresh(
    registry: &Registry,
    host: &str,
    dir: &Path,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Catalog, CatalogError> {
    let known = read(&path(dir, host)).filter(|known| known.host == host);
    let known = known.map(|known| known.entries).unwrap_or_default();
    let repositories = registry.catalog(host).await?;
    let mut answers = stream::iter(repositories)
        .map(|repository| ask(registry, host, repository, &known))
        .buffer_unordered(AT_ONCE);
    let mut entries = BTreeMap::new();
    let mut done = 0;
    while let Some(answer) = answers.next().await {
        if let Some((repository, entry)) = answer? {
            entries.insert(repository, entry);
        }
        done += 1;
        progress(done);
    }
    drop(answers);
    let now = std::time::UNIX_EPOCH + kraft_sys::clock::now();
    let catalog = Catalog {
        host: host.to_owned(),
        asked: Timestamp::try_from(now).unwrap_or_default(),
        entries,
    };
    keep(dir, &catalog)?;
    Ok(catalog)
}

fn keep(dir: &Path, catalog: &Catalog) -> Result<(), CatalogError> {
    let bytes = serde_json::to_vec(catalog).map_err(io::Error::from);
    let path = path(dir, &catalog.host);
    let bytes = bytes.map_err(fs::Error::on("write", &path))?;
    fs::create_dir_all(dir, 0o700)?;
    Ok(fs::replace_file(&path, &bytes)?)
}

/// Queries the default tag of a repository.
async fn ask(
    registry: &Registry,
    host: &str,
    repository: String,
    known: &BTreeMap<String, Entry>,
) -> Result<Option<(String, Entry)>, CatalogError> {
    let Ok(name) = format!("{host}/{repository}:{DEFAULT_TAG}").parse::<Reference>() else {
        return Ok(None);
    };
    let known = known.get(&repository);
    let etag = known.and_then(|entry| entry.etag.as_deref());
    let fetched = match registry.manifest(&name, etag).await {
        Ok(fetched) => fetched,
        // Removed, forbidden or invalid.
        Err(error) if error.kind() != ErrorKind::Network => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(match fetched {
        Fetched::NotModified => known.map(|entry| (repository, entry.clone())),
        Fetched::Document {
            bytes,
            media_type,
            digest,
            etag,
        } => {
            let manifests = match Document::parse(&media_type, &bytes) {
                Ok(Document::Index(index)) => index.manifests,
                Ok(Document::Manifest(manifest)) => {
                    let mut alone =
                        Descriptor::new(&media_type, digest.clone(), bytes.len() as u64);
                    alone.platform = manifest.config.platform;
                    vec![alone]
                }
                Err(_) => return Ok(None),
            };
            let manifests = candidates(&manifests);
            let entry = Entry {
                etag,
                digest,
                manifests: manifests.into_iter().map(|c| c.descriptor).collect(),
            };
            Some((repository, entry))
        }
    })
}

/// Why a registry could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The result cannot be cached.
    #[error(transparent)]
    File(#[from] fs::Error),
}
