//! The catalog of components: read from the configured sources, and cached.
//!
//! ```text
//! MANIFESTS/index.yaml             all components: names and links
//!           unikraft.yaml          one file per component …
//!           libs/lwip.yaml
//!           .sources/PRINT.json    the last answer of each source, for conditional requests
//! ```
//!
//! The files have KraftKit's format (formats.md 4); `.sources` is kraft's own.
//!
//! ```
//! use kraft_build::catalog;
//! use kraft_core::component::Kind;
//!
//! let manifests = tempfile::tempdir()?;
//! assert!(catalog::load(manifests.path())?.is_empty(), "nothing was fetched yet");
//!
//! let index = "- {name: lwip, type: lib}\n- {name: unikraft, type: core}\n";
//! std::fs::write(manifests.path().join("index.yaml"), format!("manifests:\n{index}"))?;
//! let entries = catalog::load(manifests.path())?;
//! let found = catalog::find(&entries, &"lib/lw*".parse()?);
//! assert_eq!((found.len(), found[0].kind), (1, Kind::Lib));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod provider;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kraft_core::catalog::{Entry, Index};
use kraft_core::component::{self, Kind, Name};
use kraft_core::event::Reporter;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::sources::{CatalogError, Error, Sources};

pub use provider::named;

/// Maximum size of a catalog file, in bytes.
const LARGEST: u64 = 32 << 20;
/// Permissions of its files and directories, as in KraftKit (formats.md 4.4).
const FILES: u32 = 0o600;
const DIRECTORIES: u32 = 0o771;
/// Maximum depth of links.
const DEEPEST: usize = 4;
/// Maximum number of components in an index.
const MOST_ENTRIES: usize = 100_000;

/// The result of an update.
#[derive(Debug, Default)]
pub struct Updated {
    /// All known components.
    pub entries: Vec<Entry>,
    /// Sources that failed, and why; their previous answers are kept.
    pub failed: Vec<(String, Error)>,
}

/// Reads the cached catalog; empty if there is none.
///
/// # Errors
/// An existing file is not a catalog.
pub fn load(manifests: &Path) -> Result<Vec<Entry>, Error> {
    let file = manifests.join("index.yaml");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let mut entries = read_file(&file, 0)?;
    tidy(&mut entries);
    Ok(entries)
}

/// Queries every source and caches the answers; returns the failures.
pub fn update(
    sources: &Sources,
    manifests: &Path,
    places: &[String],
    reporter: &dyn Reporter,
) -> Result<Updated, Error> {
    let _lock = lock(manifests)?;
    let asked = provider::ask_all(sources, manifests, places, reporter);
    let mut updated = Updated::default();
    for (place, answer) in places.iter().zip(asked) {
        match answer {
            Ok(entries) => updated.entries.extend(entries),
            Err(missed) => {
                let (error, kept) = *missed;
                updated.entries.extend(kept);
                updated.failed.push((place.clone(), error));
            }
        }
    }
    tidy(&mut updated.entries);
    write(manifests, &updated.entries)?;
    Ok(updated)
}

/// Removes entries of other sources without querying any; returns whether the origin of all entries
/// is known. A catalog written by another program is left unchanged.
pub fn forget_others(manifests: &Path, places: &[String]) -> Result<bool, Error> {
    if !manifests.join(".sources/lock").exists() {
        return Ok(false);
    }
    let _lock = lock(manifests)?;
    let mut entries = Vec::new();
    for place in places {
        match provider::said(manifests, place) {
            Some(said) => entries.extend(said),
            None => return Ok(false),
        }
    }
    tidy(&mut entries);
    write(manifests, &entries)?;
    Ok(true)
}

/// Locks the catalog for writing.
fn lock(manifests: &Path) -> Result<Lock, Error> {
    fs::create_dir_all(manifests, DIRECTORIES)?;
    fs::create_dir_all(&manifests.join(".sources"), 0o700)?;
    let lock_file = manifests.join(".sources/lock");
    fs::append(&lock_file)?;
    Ok(Lock::exclusive(&lock_file)?)
}

/// Checks that a source is valid; returns its entries.
pub fn probe(sources: &Sources, place: &str) -> Result<Vec<Entry>, Error> {
    provider::ask(sources, None, place)
}

/// Returns the entries that match a name, sorted by kind and name.
pub fn find<'a>(entries: &'a [Entry], name: &Name) -> Vec<&'a Entry> {
    entries
        .iter()
        .filter(|entry| {
            name.kind.is_none_or(|kind| kind == entry.kind)
                && component::matches(&name.name, &entry.name)
        })
        .collect()
}

/// Sorts the entries, and merges those of one component: sources configured first take precedence.
fn tidy(entries: &mut Vec<Entry>) {
    let mut joined: BTreeMap<(Kind, String), Entry> = BTreeMap::new();
    for entry in entries.drain(..).take(MOST_ENTRIES) {
        match joined.entry((entry.kind, entry.name.clone())) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(entry);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => join(place.get_mut(), entry),
        }
    }
    entries.extend(joined.into_values());
}

fn join(known: &mut Entry, more: Entry) {
    for channel in more.channels {
        if !known.channels.iter().any(|c| c.name == channel.name) {
            known.channels.push(channel);
        }
    }
    for version in more.versions {
        if !known.versions.iter().any(|v| v.version == version.version) {
            known.versions.push(version);
        }
    }
    known.origin = known.origin.take().or(more.origin);
    known.description = known.description.take().or(more.description);
}

/// Writes the index and one file per component; removes files of components that no longer exist.
fn write(manifests: &Path, entries: &[Entry]) -> Result<(), Error> {
    let mut links = Vec::new();
    let mut kept = Vec::new();
    for entry in entries {
        if !is_file_name(&entry.name) {
            continue;
        }
        let relative = match entry.kind {
            Kind::Core => format!("{}.yaml", entry.name),
            kind => format!("{kind}s/{}.yaml", entry.name),
        };
        let path = manifests.join(&relative);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir, DIRECTORIES)?;
        }
        write_yaml(&path, entry)?;
        kept.push(path);
        links.push(Entry {
            name: entry.name.clone(),
            kind: entry.kind,
            manifest: Some(format!("./{relative}")),
            description: None,
            origin: None,
            provider: None,
            channels: Vec::new(),
            versions: Vec::new(),
        });
    }
    links.sort_by(|a, b| a.name.cmp(&b.name));
    let index = Index {
        name: None,
        last_updated: Some(jiff::Timestamp::now().to_string()),
        entries: links,
    };
    write_yaml(&manifests.join("index.yaml"), &index)?;
    for dir in ["", "libs", "apps", "plats", "archs"] {
        let Ok(found) = std::fs::read_dir(manifests.join(dir)) else {
            continue;
        };
        for path in found.flatten().map(|entry| entry.path()) {
            let is_entry = path.extension().is_some_and(|ending| ending == "yaml")
                && path.file_name().is_some_and(|name| name != "index.yaml");
            if is_entry && !kept.contains(&path) {
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.len() < 128
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}

fn write_yaml<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_saphyr::to_string(value)
        .map_err(|error| fs::Error::on("write", path)(io::Error::other(error)))?;
    // Unchanged files are not written: there may be hundreds, each with an fsync.
    if fs::read_file(path, LARGEST).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let mut file = fs::NewFile::with_mode(path, FILES)?;
    file.write_all(text.as_bytes())
        .map_err(fs::Error::on("write", path))?;
    Ok(file.commit()?)
}

/// The content of a catalog file.
#[derive(Debug)]
enum Held {
    Index(Index),
    Entry(Box<Entry>),
}

/// Parses a catalog file.
fn parse(place: &str, bytes: &[u8]) -> Result<Held, Error> {
    let bad = |source: CatalogError| Error::catalog(place, source);
    let text = std::str::from_utf8(bytes).map_err(|error| bad(error.into()))?;
    let is_index = text.lines().any(|line| line.starts_with("manifests:"));
    let options = serde_saphyr::options! { strict_booleans: true };
    if is_index {
        let index = serde_saphyr::from_str_with_options::<Index>(text, options);
        return index
            .map(Held::Index)
            .map_err(|error| bad(CatalogError::Yaml(Box::new(error))));
    }
    serde_saphyr::from_str_with_options::<Entry>(text, options)
        .map(|entry| Held::Entry(Box::new(entry)))
        .map_err(|error| bad(CatalogError::Yaml(Box::new(error))))
}

/// Reads a local catalog file, and the files that it links to.
fn read_file(path: &Path, depth: usize) -> Result<Vec<Entry>, Error> {
    let bytes = fs::read_file(path, LARGEST)?;
    let held = parse(&path.display().to_string(), &bytes)?;
    let dir = path.parent().unwrap_or(path).to_owned();
    let mut entries = follow(held, depth, &mut |link, depth| {
        let target = dir.join(link);
        read_file(&target, depth)
    })?;
    for resource in entries.iter_mut().flat_map(resources) {
        // Paths from linked files are already absolute.
        if resource.starts_with("./") || resource.starts_with("../") {
            *resource = dir.join(&*resource).display().to_string();
        }
    }
    Ok(entries)
}

/// Returns the locations of the versions of an entry.
fn resources(entry: &mut Entry) -> impl Iterator<Item = &mut String> {
    let channels = entry.channels.iter_mut();
    let channels = channels.filter_map(|channel| channel.resource.as_mut());
    let versions = entry.versions.iter_mut();
    channels.chain(versions.filter_map(|version| version.resource.as_mut()))
}

/// Reads a linked file at a depth below the first one.
type Read<'a> = &'a mut dyn FnMut(&str, usize) -> Result<Vec<Entry>, Error>;

/// Returns the entries of a file, including those of linked files.
fn follow(held: Held, depth: usize, read: Read<'_>) -> Result<Vec<Entry>, Error> {
    let entries = match held {
        Held::Index(index) => index.entries,
        Held::Entry(entry) => vec![*entry],
    };
    let mut all = Vec::new();
    for entry in entries {
        match entry.manifest.clone().filter(|_| depth < DEEPEST) {
            Some(link) => {
                let found = read(&link, depth + 1)?;
                all.extend(found.into_iter().filter(|e| e.name == entry.name));
            }
            None => all.push(entry),
        }
        if all.len() > MOST_ENTRIES {
            break;
        }
    }
    Ok(all)
}

/// Returns the path of the cached answer of a source.
fn kept_at(manifests: &Path, place: &str) -> PathBuf {
    let mut print = crate::trees::of_texts([place.as_bytes()]);
    print.truncate(16);
    manifests.join(".sources").join(format!("{print}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LWIP: &str = "name: lwip\ntype: lib\norigin: https://x.org/lib-lwip.git\nchannels:\n- {name: stable, default: true, resource: https://x.org/s.tar.gz}\n";

    #[test]
    fn written_entries_are_read_back_and_removed_ones_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let Held::Entry(lwip) = parse("x", LWIP.as_bytes()).unwrap() else {
            panic!("an entry");
        };
        let core = Entry {
            name: "unikraft".into(),
            kind: Kind::Core,
            ..(*lwip).clone()
        };
        write(dir.path(), &[core.clone(), (*lwip).clone()]).unwrap();
        assert_eq!(load(dir.path()).unwrap(), [core, (*lwip).clone()]);
        write(dir.path(), &[*lwip]).unwrap();
        assert_eq!(load(dir.path()).unwrap().len(), 1);
        assert!(!dir.path().join("unikraft.yaml").exists());
        assert!(dir.path().join("libs/lwip.yaml").exists());
    }

    #[test]
    fn invalid_files_are_reported_with_their_path() {
        let error = parse("some/file.yaml", b"a: [").unwrap_err().to_string();
        assert!(
            error.starts_with("`some/file.yaml` is not a catalog"),
            "{error}"
        );
    }

    #[test]
    fn missing_catalogs_are_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_empty());
    }
}
