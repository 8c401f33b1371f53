//! What registries have, as far as it was asked for: kept with the time of the answer, and asked
//! for again only where something changed.
//!
//! ```text
//! DIR/HOST.json    one file per registry, replaced whole
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

/// Repositories that are asked about at the same time.
const AT_ONCE: usize = 32;
/// A file is at most this long, in bytes.
const LARGEST: u64 = 256 << 20;

/// What a registry had.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Catalog {
    /// The registry.
    pub host: String,
    /// When it was asked.
    pub asked: Timestamp,
    /// What it had, by repository.
    entries: BTreeMap<String, Entry>,
}

/// What a repository had under its default tag.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    /// What makes the next question a short one (RFC 9110, section 8.8.3).
    etag: Option<String>,
    /// The digest of the index or manifest.
    digest: Digest,
    /// Its entries on which a unikernel could run; none if it is another image.
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

/// Reads what is known of every registry. A file that cannot be read is as good as none.
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

/// Asks a registry what it has, keeps the answer, and returns it. `progress` takes how many
/// repositories were asked about.
///
/// A repository that cannot be read, or holds no unikernel, is passed over.
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

/// Asks what a repository has under its default tag.
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
        // Not there any more, not for us, or nothing that can be read.
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

/// Why a registry could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The answer cannot be kept.
    #[error(transparent)]
    File(#[from] fs::Error),
}
