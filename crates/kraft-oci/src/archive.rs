//! Saves and loads images as archives or directories: an OCI image layout (OCI image specification
//! 1.1, image-layout.md), optionally in a tar.
//!
//! ```
//! use kraft_oci::archive::{load, save_dir};
//! use kraft_oci::image::media;
//! use kraft_oci::store::{Expect, Store, layout::Layout, put};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Layout::open(&dir.path().join("store"))?;
//! let lease = store.lease()?;
//! let text = br#"{"schemaVersion":2,"manifests":[]}"#;
//! let target = put(&*lease, media::INDEX, text, None)?;
//! let name = "registry.example/web:1.0".parse()?;
//! store.tag(&name, &target, &Expect::Nothing)?;
//!
//! let archive = dir.path().join("archive");
//! save_dir(&store, &store.names()?, &archive)?;
//! let other = Layout::open(&dir.path().join("other"))?;
//! let loaded = load(&archive, None, &other)?;
//! assert!(loaded.names.contains(&name));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::str::FromStr;

use kraft_archive::tar::{Kind, Limits, Reader};
use kraft_core::reference::{Digest, Reference};
use kraft_sys::fs;
use serde_json::json;

use crate::copy::{CopyError, Source, copy};
use crate::image::{Descriptor, Document, Index, annotation, media};
use crate::json::to_vec;
use crate::store::layout::Layout;
use crate::store::reach::parts;
use crate::store::{self, Named, Store};

const MARK: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";
/// Maximum size of the index, in bytes.
const LARGEST_INDEX: u64 = 16 << 20;

/// Saves images to a directory, which is created or extended.
pub fn save_dir(store: &dyn Store, images: &[Named], dir: &Path) -> Result<(), CopyError> {
    let layout = Layout::open(dir)?;
    for image in images {
        copy(&store, &image.target, &image.name, &layout)?;
    }
    Ok(())
}

/// Saves images to a tar, atomically and reproducibly.
pub fn save_tar(
    store: &dyn Store,
    images: &[Named],
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), CopyError> {
    let mut blobs: BTreeMap<Digest, u64> = BTreeMap::new();
    for image in images {
        for part in parts(store, &image.target)? {
            match part.stored {
                Some(size) => drop(blobs.insert(part.blob.digest, size)),
                None if part.needed => {
                    let missing = crate::digest::Damage::Missing;
                    return Err(store::Error::damaged(&part.blob.digest, missing).into());
                }
                None => {}
            }
        }
    }
    let entries: Vec<_> = images.iter().map(entry).collect();
    let index =
        to_vec(&json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": entries}));
    let writing = |error| CopyError::File(fs::Error::on("write", path)(error));
    let out = fs::NewFile::create(path)?;
    let mut tar = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, out.file()));
    append(
        &mut tar,
        "blobs/sha256/",
        tar::EntryType::Directory,
        0,
        io::empty(),
    )
    .map_err(writing)?;
    let mut done = 0;
    for (digest, size) in &blobs {
        let blob = Descriptor::new("", digest.clone(), *size);
        let reader = store::open_verified(store, &blob)?;
        let name = format!("blobs/sha256/{}", digest.hex());
        append(&mut tar, &name, tar::EntryType::Regular, *size, reader).map_err(|error| {
            match store::Error::reading(digest, error) {
                store::Error::Read { source, .. } => writing(source),
                damaged => damaged.into(),
            }
        })?;
        done += size;
        progress(done);
    }
    let size = index.len() as u64;
    append(
        &mut tar,
        "index.json",
        tar::EntryType::Regular,
        size,
        &index[..],
    )
    .map_err(writing)?;
    append(
        &mut tar,
        "oci-layout",
        tar::EntryType::Regular,
        MARK.len() as u64,
        MARK,
    )
    .map_err(writing)?;
    tar.into_inner()
        .and_then(|mut buffer| buffer.flush())
        .map_err(writing)?;
    Ok(out.commit()?)
}

/// Returns the entry of an image in the index.
fn entry(image: &Named) -> Descriptor {
    let mut entry = image.target.clone();
    let name = image.name.to_string();
    entry
        .annotations
        .insert(annotation::IMAGE_NAME.to_owned(), name.clone());
    entry
        .annotations
        .insert(annotation::REF_NAME.to_owned(), name);
    entry
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    kind: tar::EntryType,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_size(size);
    tar.append_data(&mut header, name, content.take(size))
}

/// The images loaded from an archive.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The names of the images, sorted.
    pub names: BTreeSet<Reference>,
    /// Images whose documents state a wrong size.
    pub misstated: BTreeSet<Reference>,
}

/// Imports all images of an archive or a directory.
///
/// `name` is a full name for an archive with a single image without a complete name.
pub fn load(path: &Path, name: Option<&Reference>, to: &dyn Store) -> Result<Loaded, CopyError> {
    let place = path.display().to_string();
    let dir = path.is_dir();
    let (index, blobs): (Vec<u8>, Box<dyn Source>) = if dir {
        let index = fs::read_file(&path.join("index.json"), LARGEST_INDEX)?;
        (index, Box::new(Directory(Layout::open(path)?)))
    } else {
        let tar = Tar::open(path)?;
        (tar.index(path)?, Box::new(tar))
    };
    let bad = |error: serde_json::Error| CopyError::Archive {
        path: place.clone(),
        source: error.into(),
    };
    let index: Index = serde_json::from_slice(&index).map_err(bad)?;
    let entries: Vec<&Descriptor> = index
        .manifests
        .iter()
        .filter(|entry| media::is_document(&entry.media_type))
        .collect();
    if entries.is_empty() {
        return Err(CopyError::Empty(place));
    }
    let mut loaded = Loaded::default();
    for entry in &entries {
        let own = match (name, entries.len()) {
            (Some(name), 1) => Some(name.clone()),
            _ => own_name(&entry.annotations).or_else(|| inner_name(&*blobs, entry)),
        };
        let name = own.ok_or_else(|| CopyError::Nameless {
            place: place.clone(),
            digest: entry.digest.clone(),
        })?;
        let target = Descriptor::new(&entry.media_type, entry.digest.clone(), entry.size);
        if copy(&*blobs, &target, &name, to)? > 0 {
            loaded.misstated.insert(name.clone());
        }
        loaded.names.insert(name);
    }
    Ok(loaded)
}

/// Returns the full name in annotations, if there is one. A tag alone is not a name.
fn own_name(annotations: &BTreeMap<String, String>) -> Option<Reference> {
    let name = |key: &str| -> Option<Reference> {
        let name: Reference = annotations.get(key)?.parse().ok()?;
        name.registry()?;
        Some(name.qualified())
    };
    name(annotation::IMAGE_NAME).or_else(|| name(annotation::REF_NAME))
}

/// Returns the name that an image was packaged under, which is kept inside the image when an
/// archive omits it.
fn inner_name(blobs: &dyn Source, entry: &Descriptor) -> Option<Reference> {
    let bytes = crate::copy::read(blobs, entry).ok()?;
    let annotations = match Document::parse(&entry.media_type, &bytes).ok()? {
        Document::Index(index) => index.annotations,
        Document::Manifest(manifest) => manifest.annotations,
    };
    own_name(&annotations)
}

struct Directory(Layout);

impl Source for Directory {
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, CopyError> {
        let store: &dyn Store = &self.0;
        if store.size(digest)?.is_none() {
            return Ok(None);
        }
        Ok(Some(store.open(digest)?))
    }
}

/// A tar whose blobs are read in place.
struct Tar {
    file: File,
    /// Digest, offset and size in bytes.
    blobs: BTreeMap<Digest, (u64, u64)>,
    index: Option<(u64, u64)>,
}

impl Tar {
    fn open(path: &Path) -> Result<Self, CopyError> {
        let file = fs::open_file(path)?;
        let mut found = Self {
            file,
            blobs: BTreeMap::new(),
            index: None,
        };
        found.scan().map_err(|source| CopyError::Archive {
            path: path.display().to_string(),
            source,
        })?;
        Ok(found)
    }

    fn scan(&mut self) -> io::Result<()> {
        let mut tar = Reader::seeking(&self.file, Limits::ROOT_FILESYSTEM);
        while let Some(entry) = tar.next_entry()? {
            if entry.kind != Kind::File {
                continue;
            }
            let place = (tar.position(), entry.size);
            let name = String::from_utf8_lossy(&entry.path);
            let name = name.trim_start_matches("./");
            if entry.is_sparse && (name == "index.json" || name.starts_with("blobs/")) {
                let why = format!("`{name}` is stored as a sparse file; write the archive without");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            if name == "index.json" {
                self.index = Some(place);
            } else if let Some(hex) = name.strip_prefix("blobs/sha256/")
                && let Ok(digest) = Digest::from_str(&format!("sha256:{hex}"))
            {
                self.blobs.insert(digest, place);
            }
        }
        Ok(())
    }

    fn index(&self, path: &Path) -> Result<Vec<u8>, CopyError> {
        let bad = |source: io::Error| CopyError::Archive {
            path: path.display().to_string(),
            source,
        };
        let place = self.index.ok_or_else(|| {
            bad(io::Error::new(
                io::ErrorKind::InvalidData,
                "it has no `index.json`",
            ))
        })?;
        let reader = self.at(place).map_err(bad)?;
        fs::read_to_end(reader, LARGEST_INDEX).map_err(bad)
    }

    fn at(&self, (offset, size): (u64, u64)) -> io::Result<io::Take<File>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file.take(size))
    }
}

impl Source for Tar {
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, CopyError> {
        let Some(&place) = self.blobs.get(digest) else {
            return Ok(None);
        };
        let reader = self
            .at(place)
            .map_err(|error| store::Error::reading(digest, error))?;
        Ok(Some(Box::new(reader)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(path: &Path) -> String {
        let dir = tempfile::tempdir().unwrap();
        let store = Layout::open(dir.path()).unwrap();
        let error = load(path, None, &store).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    }

    #[test]
    fn what_is_no_archive_of_images_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o644.into()).unwrap();
        assert!(fault(&path).contains("FIFO"));
        assert!(fault(Path::new("/dev/zero")).contains("a device"));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(3 << 30);
        header.set_cksum();
        let path = dir.path().join("b.tar");
        fs::replace_file(&path, header.as_bytes()).unwrap();
        assert!(fault(&path).contains("more than 1 MiB, the limit"));
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_path("index.json").unwrap();
        header.set_size(0);
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.realsize = *b"00000000012\0";
        }
        header.set_cksum();
        fs::replace_file(&path, header.as_bytes()).unwrap();
        assert!(fault(&path).contains("sparse file"), "{}", fault(&path));
    }
}
