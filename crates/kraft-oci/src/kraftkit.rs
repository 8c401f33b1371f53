//! The store that `KraftKit` leaves in its runtime directory, read once.
//!
//! ```text
//! oci/indexes/HOST/PATH/TAG    a link to the index, every `:` of the name being a `/`
//!     digests/sha256/HEX       every blob
//! ```
//!
//! It is no image layout, and a blob of it may be another than its name says. So nothing is taken
//! over that does not prove right, nothing is linked to, and nothing of it is changed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kraft_core::reference::{Digest, Reference};
use kraft_sys::fs;

use crate::copy::{Blobs, CopyError, copy};
use crate::image::{Descriptor, Document, Index, LARGEST_DOCUMENT, annotation, media};
use crate::store::{self, Store};

/// Directories below `indexes` are followed this deep.
const DEEPEST: usize = 16;

/// What came of it.
#[derive(Debug, Default)]
pub struct Imported {
    /// Images that are in our store now.
    pub images: Vec<Reference>,
    /// Images that could not be taken over, and why.
    pub left: Vec<(String, CopyError)>,
}

/// Returns whether there is such a store at `dir`.
pub fn is_there(dir: &Path) -> bool {
    dir.join("indexes").is_dir() && dir.join("digests").is_dir()
}

/// Takes over every image of the store at `dir` whose name is still free. What is broken stays
/// behind and is told.
pub fn import(dir: &Path, to: &dyn Store) -> Result<Imported, CopyError> {
    let mut imported = Imported::default();
    let indexes = dir.join("indexes");
    let mut found = Vec::new();
    collect(&indexes, DEEPEST, &mut found);
    found.sort();
    for path in found {
        let below = path.strip_prefix(&indexes).unwrap_or(&path);
        let shown = below.display().to_string();
        match import_one(dir, &path, &shown, to) {
            Ok(Some(name)) => imported.images.push(name),
            Ok(None) => {}
            Err(error) => imported.left.push((shown, error)),
        }
    }
    Ok(imported)
}

/// Collects files, links to files among them.
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

fn import_one(
    dir: &Path,
    path: &Path,
    below: &str,
    to: &dyn Store,
) -> Result<Option<Reference>, CopyError> {
    let bytes = fs::read_file(path, LARGEST_DOCUMENT)?;
    // The name of the blob is not to be trusted: what it was before somebody shortened the index.
    let target = Descriptor::of(media::INDEX, &bytes);
    let bad = |source| store::Error::bad(&target.digest, source);
    let Document::Index(index) = Document::parse(media::INDEX, &bytes).map_err(bad)? else {
        return Ok(None);
    };
    let Some(name) = name_of(&index, below) else {
        return Err(CopyError::Nameless {
            place: path.display().to_string(),
            digest: target.digest,
        });
    };
    if to.find(&name)?.is_some() {
        return Ok(None);
    }
    let source = OldStore {
        dir: dir.join("digests/sha256"),
        index: (target.digest.clone(), bytes),
    };
    copy(&source, &target, &name, to)?;
    Ok(Some(name))
}

/// Returns the name of an image: the one it carries, if it lies where that belongs; else the one
/// that its place tells.
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

impl Blobs for OldStore {
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, CopyError> {
        if *digest == self.index.0 {
            return Ok(Some(Box::new(&self.index.1[..])));
        }
        let path = self.dir.join(digest.hex());
        match File::open(&path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fs::Error::on("open", &path)(error).into()),
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
