//! The names: `index.json`.
//!
//! An entry carries the full name where other tools look for it. Entries that we did not make and
//! cannot name are kept as they are.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kraft_core::reference::{Digest, Reference};
use kraft_sys::fs;
use serde_json::{Map, Value, json};

use super::super::{Error, Expect, Named};
use crate::image::{Descriptor, annotation, media};
use crate::json::to_vec;

/// When the name was given, RFC 3339.
const SINCE: &str = "sh.kraftkit.since";
/// The file is at most this long, in bytes: some 100 000 names.
const LARGEST: u64 = 64 << 20;

/// Returns every name, sorted.
pub(super) fn read(dir: &Path) -> Result<Vec<Named>, Error> {
    let mut names: Vec<Named> = load(dir)?.iter().filter_map(named).collect();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(names)
}

/// Returns what entries without a readable name point to.
pub(super) fn unnamed(dir: &Path) -> Result<Vec<Descriptor>, Error> {
    let entries = load(dir)?;
    let unnamed = entries.iter().filter(|entry| named(entry).is_none());
    Ok(unnamed
        .filter_map(|entry| serde_json::from_value(entry.clone()).ok())
        .collect())
}

/// Gives names to documents, and returns the names that do not point to what is expected. The caller
/// has the lock.
pub(super) fn set(dir: &Path, names: &[(Named, Expect)]) -> Result<Vec<Reference>, Error> {
    let mut entries = load(dir)?;
    let mut places: BTreeMap<Reference, (usize, Digest)> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate().rev() {
        places.extend(named(entry).map(|named| (named.name, (at, named.target.digest))));
    }
    let mut moved = Vec::new();
    for (named, expect) in names {
        let place = places.get(&named.name);
        let fits = match (expect, place) {
            (Expect::Anything, _) | (Expect::Nothing, None) => true,
            (Expect::This(digest), Some((_, current))) => current == digest,
            (Expect::Nothing, Some(_)) | (Expect::This(_), None) => false,
        };
        if !fits {
            moved.push(named.name.clone());
            continue;
        }
        let entry = entry(named);
        let at = place.map_or(entries.len(), |(at, _)| *at);
        match entries.get_mut(at) {
            Some(old) => *old = entry,
            None => entries.push(entry),
        }
        places.insert(named.name.clone(), (at, named.target.digest.clone()));
    }
    if moved.len() < names.len() {
        save(dir, &entries)?;
    }
    Ok(moved)
}

/// Returns the entry of a name.
fn entry(named: &Named) -> Value {
    let target = &named.target;
    json!({
        "mediaType": target.media_type,
        "digest": target.digest,
        "size": target.size,
        "annotations": {
            annotation::IMAGE_NAME: named.name,
            annotation::REF_NAME: named.name,
            SINCE: named.since.unwrap_or_else(now).to_string(),
        },
    })
}

/// Takes a name away. The caller has the lock.
pub(super) fn remove(dir: &Path, name: &Reference) -> Result<Option<Descriptor>, Error> {
    let mut entries = load(dir)?;
    let Some(at) = position(&entries, name) else {
        return Ok(None);
    };
    let removed = named(&entries.remove(at));
    save(dir, &entries)?;
    Ok(removed.map(|named| named.target))
}

fn now() -> Timestamp {
    Timestamp::try_from(std::time::UNIX_EPOCH + kraft_sys::clock::now()).unwrap_or_default()
}

fn path(dir: &Path) -> PathBuf {
    dir.join("index.json")
}

fn load(dir: &Path) -> Result<Vec<Value>, Error> {
    let path = path(dir);
    let bytes = match fs::read_file(&path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut document: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|source| Error::Names {
            path: path.display().to_string(),
            source,
        })?;
    match document.remove("manifests") {
        Some(Value::Array(entries)) => Ok(entries),
        _ => Ok(Vec::new()),
    }
}

fn save(dir: &Path, entries: &[Value]) -> Result<(), Error> {
    let document = json!({
        "schemaVersion": 2,
        "mediaType": media::INDEX,
        "manifests": entries,
    });
    Ok(fs::replace_file(&path(dir), &to_vec(&document))?)
}

fn position(entries: &[Value], name: &Reference) -> Option<usize> {
    entries
        .iter()
        .position(|entry| named(entry).is_some_and(|named| named.name == *name))
}

fn named(entry: &Value) -> Option<Named> {
    let target: Descriptor = serde_json::from_value(entry.clone()).ok()?;
    let name: Reference = target.annotations.get(annotation::REF_NAME)?.parse().ok()?;
    let since = target.annotations.get(SINCE);
    Some(Named {
        name: name.qualified(),
        since: since.and_then(|text| text.parse().ok()),
        target: Descriptor::new(&target.media_type, target.digest, target.size),
    })
}
