//! Imports images from `KraftKit`'s store in its runtime directory.
//!
//! ```text
//! oci/indexes/HOST/PATH/TAG    a link to the index, every `:` of the name being a `/`
//!     digests/sha256/HEX       every blob
//! ```
//!
//! It is not an image layout, and a blob may not match its name. So everything is verified and
//! copied, and the store is not changed.
//!
//! ```
//! use kraft_oci::kraftkit;
//! use kraft_oci::store::layout::Layout;
//!
//! let dir = tempfile::tempdir()?;
//! let theirs = dir.path().join("kraftkit");
//! assert!(!kraftkit::is_there(&theirs));
//!
//! std::fs::create_dir_all(theirs.join("oci/indexes"))?;
//! std::fs::create_dir_all(theirs.join("oci/digests/sha256"))?;
//! let store = Layout::open(&dir.path().join("store"))?;
//! let imported = kraftkit::import(&theirs, &store, false, &|_, _| {})?;
//! assert!(imported.images.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kraft_core::reference::{Digest, Reference};
use kraft_sys::fs;

use crate::copy::{CopyError, Source, copy_below};
use crate::digest::Damage;
use crate::image::{BadDocument, Descriptor, Document, Index, LARGEST_DOCUMENT, annotation, media};
use crate::store::{self, Expect, Lease, Named, Store};

/// Maximum directory depth below `indexes`.
const DEEPEST: usize = 16;

/// Number of images flushed to disk together.
const TOGETHER: usize = 100;

/// The result of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// Imported images.
    pub images: Vec<Reference>,
    /// Number of images that existed already.
    pub known: usize,
    /// Imported images whose documents state a wrong size.
    pub misstated: Vec<Reference>,
    /// Images that could not be imported, by their paths, and why.
    pub left: Vec<(String, CopyError)>,
}

/// Returns whether there is such a store at `dir`.
pub fn is_there(dir: &Path) -> bool {
    dir.join("indexes").is_dir() && dir.join("digests").is_dir()
}

/// Returns whether the store at `dir` has an image with this full name.
pub fn has(dir: &Path, name: &Reference) -> bool {
    let below = name.to_string().replace(':', "/");
    let is_plain = below
        .split('/')
        .all(|part| !matches!(part, "" | "." | ".."));
    is_plain && dir.join("indexes").join(below).is_file()
}

/// Imports every image of the store at `dir` that does not exist in kraft's, with its age. Names of
/// other existing images are skipped, unless `replace`. `progress` gets the number of images done
/// and in total.
///
/// Broken images are skipped.
pub fn import(
    dir: &Path,
    to: &dyn Store,
    replace: bool,
    progress: &dyn Fn(usize, usize),
) -> Result<Imported, CopyError> {
    let indexes = dir.join("indexes");
    let mut found = Vec::new();
    collect(&indexes, DEEPEST, &mut found);
    found.sort();
    let names = to.names()?.into_iter();
    let mut import = Import {
        dir,
        to,
        lease: to.lease_many()?,
        there: names
            .map(|named| (named.name, named.target.digest))
            .collect(),
        replace,
        copied: Vec::new(),
        imported: Imported::default(),
    };
    for (at, path) in found.iter().enumerate() {
        progress(at, found.len());
        let below = path.strip_prefix(&indexes).unwrap_or(path);
        let shown = below.display().to_string();
        if let Err(error) = import.one(path, &shown) {
            import.imported.left.push((shown, in_its_words(error)));
        }
        if import.copied.len() == TOGETHER {
            import.flush()?;
        }
    }
    import.flush()?;
    progress(found.len(), found.len());
    Ok(import.imported)
}

/// A missing blob is not damage: `KraftKit` removes blobs that other images share.
fn in_its_words(error: CopyError) -> CopyError {
    match error {
        CopyError::Store(store::Error::Damaged {
            digest,
            source: Damage::Missing,
        }) => CopyError::Lacking(digest),
        error => error,
    }
}

/// An import in progress.
struct Import<'a> {
    dir: &'a Path,
    to: &'a dyn Store,
    lease: Box<dyn Lease>,
    /// Existing names and their targets.
    there: BTreeMap<Reference, Digest>,
    replace: bool,
    /// Copied images without names yet, the number of wrong sizes in each, and their paths.
    copied: Vec<((Named, Expect), usize, String)>,
    imported: Imported,
}

impl Import<'_> {
    fn one(&mut self, path: &Path, below: &str) -> Result<(), CopyError> {
        let bytes = fs::read_file(path, LARGEST_DOCUMENT)?;
        // The blob's name is unreliable: the index may have been shortened later.
        let target = Descriptor::of(media::INDEX, &bytes);
        let bad = |source| store::Error::bad(&target.digest, source);
        let Document::Index(index) = Document::parse(media::INDEX, &bytes).map_err(bad)? else {
            return Err(bad(BadDocument::Neither).into());
        };
        let Some(name) = name_of(&index, below) else {
            return Err(CopyError::Nameless {
                place: path.display().to_string(),
                digest: target.digest,
            });
        };
        let expect = match self.there.get(&name) {
            Some(digest) if *digest == target.digest => {
                self.imported.known += 1;
                return Ok(());
            }
            Some(digest) if self.replace => Expect::This(digest.clone()),
            Some(_) => return Err(CopyError::Taken(name)),
            None => Expect::Nothing,
        };
        let source = OldStore {
            dir: self.dir.join("digests/sha256"),
            index: (target.digest.clone(), bytes),
        };
        let (target, misstated) = copy_below(&source, &target, &*self.lease)?;
        self.there.insert(name.clone(), target.digest.clone());
        let named = Named {
            name,
            target,
            since: since(path),
        };
        self.copied
            .push(((named, expect), misstated, below.to_owned()));
        Ok(())
    }

    /// Adds the names of the copied images.
    fn flush(&mut self) -> Result<(), CopyError> {
        self.lease.flush()?;
        let copied = std::mem::take(&mut self.copied);
        let names: Vec<_> = copied.iter().map(|(named, ..)| named.clone()).collect();
        let moved = self.to.tag_many(&names)?;
        for ((Named { name, .. }, _), misstated, below) in copied {
            if moved.contains(&name) {
                self.imported.left.push((below, CopyError::Taken(name)));
                continue;
            }
            if misstated > 0 {
                self.imported.misstated.push(name.clone());
            }
            self.imported.images.push(name);
        }
        Ok(())
    }
}

/// Returns the age of an image: its entry is created or replaced when it is pulled or packaged.
fn since(path: &Path) -> Option<Timestamp> {
    let modified = std::fs::symlink_metadata(path).ok()?.modified().ok()?;
    Timestamp::try_from(modified).ok()
}

/// Collects files, and links to files.
fn collect(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => collect(&path, depth - 1, found),
            Ok(kind) if kind.is_file() || kind.is_symlink() => found.push(path),
            _ => {}
        }
    }
}

/// Returns the name of an image: its annotation, if that matches its path; otherwise the name
/// derived from the path.
fn name_of(index: &Index, below: &str) -> Option<Reference> {
    if let Some(own) = index.annotations.get(annotation::IMAGE_NAME)
        && own.replace(':', "/") == below
        && let Ok(name) = own.parse::<Reference>()
    {
        return Some(name.qualified());
    }
    let (path, tag) = below.rsplit_once('/')?;
    let path = match path.split_once('/') {
        // A port of a registry, not a directory.
        Some((host, rest)) if host.contains('.') || host == "localhost" => match rest
            .split_once('/')
        {
            Some((port, rest)) if port.parse::<u16>().is_ok() => format!("{host}:{port}/{rest}"),
            _ => path.to_owned(),
        },
        _ => path.to_owned(),
    };
    let name: Reference = format!("{path}:{tag}").parse().ok()?;
    Some(name.qualified())
}

struct OldStore {
    dir: PathBuf,
    index: (Digest, Vec<u8>),
}

impl Source for OldStore {
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, CopyError> {
        if *digest == self.index.0 {
            return Ok(Some(Box::new(&self.index.1[..])));
        }
        let path = self.dir.join(digest.hex());
        match fs::open_file(&path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_annotation_or_from_the_place() {
        let name = |own: Option<&str>, below: &str| {
            let annotations = own
                .map(|own| (annotation::IMAGE_NAME.to_owned(), own.to_owned()))
                .into_iter()
                .collect();
            let index = Index {
                schema_version: 2,
                media_type: String::new(),
                manifests: Vec::new(),
                annotations,
            };
            name_of(&index, below).map(|name| name.to_string())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            name(None, "unikraft.org/nginx/latest"),
            some("unikraft.org/nginx:latest")
        );
        assert_eq!(
            name(None, "hello/latest"),
            some("unikraft.org/hello:latest")
        );
        assert_eq!(
            name(None, "localhost/5000/app/v1"),
            some("localhost:5000/app:v1")
        );
        assert_eq!(
            name(Some("localhost:5000/app:v1"), "localhost/5000/app/v1"),
            some("localhost:5000/app:v1")
        );
        assert_eq!(
            name(Some("elsewhere:1"), "a/b/c"),
            some("unikraft.org/a/b:c")
        );
        assert_eq!(name(None, "tag-alone"), None);
    }
}
