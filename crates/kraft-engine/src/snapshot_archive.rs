//! A snapshot as one file: a tar, compressed with gzip.
//!
//! ```text
//! saved.json          what was saved; it comes first
//! kernel, state
//! memory/0000000000100000   the bytes of the memory from this address on; what is left out is zero
//! ```
//!
//! ```no_run
//! # use kraft_engine::context::Context;
//! use kraft_engine::{machines, snapshot_archive};
//!
//! # fn example(context: &Context) -> Result<(), snapshot_archive::Error> {
//! let machines = machines::open(context)?;
//! snapshot_archive::export(&machines.snapshot("ready")?, "ready.tar.gz".as_ref())?;
//! let copy = snapshot_archive::import(&machines, "ready.tar.gz".as_ref(), "copy")?;
//! assert_eq!(copy.name, "copy");
//! # Ok(())
//! # }
//! ```
//!
//! An archive may come from anyone: it is read within the sizes that its description states, and
//! nothing of it is a path. What is inside runs in a VMM, as any image does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use kraft_archive::compression::decompress;
use kraft_archive::tar::{Entry, Kind, Limits, Reader};
use kraft_machine::driver::Saved;
use kraft_machine::{Machines, SavedMachine, Snapshot};
use kraft_sys::fs;
use tar::{Builder, EntryType, Header};

/// The names of files of a snapshot.
const MANIFEST: &str = "saved.json";
const KERNEL: &str = "kernel";
/// The directory of the pieces of the memory.
const PIECES: &str = "memory/";

/// The size of a page, and of the largest piece of memory, in bytes.
const PAGE: usize = 4096;
const PIECE: usize = 4 << 20;

/// The limits of the description and of a file besides the memory, in bytes.
const MOST_MANIFEST: u64 = 16 << 20;
const MOST_FILE: u64 = 1 << 30;

/// A snapshot cannot be exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The snapshot cannot be read or made.
    #[error(transparent)]
    Machines(#[from] kraft_machine::Error),
    /// The archive cannot be read or written.
    #[error("cannot read or write the archive `{path}`", path = path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The archive is not one of a snapshot.
    #[error("`{path}` is not the archive of a snapshot: {why}", path = path.display())]
    Invalid {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Writes a snapshot to a file.
///
/// # Errors
///
/// If the snapshot cannot be read, or the file cannot be written.
pub fn export(snapshot: &Snapshot, out: &Path) -> Result<(), Error> {
    let new = fs::NewFile::with_mode(out, 0o600)?;
    let write = || -> io::Result<()> {
        let file = BufWriter::new(new.file().try_clone()?);
        let mut tar = Builder::new(GzEncoder::new(file, Compression::fast()));
        for name in [MANIFEST, KERNEL, Saved::STATE] {
            let bytes = fs::read_file(&snapshot.dir.join(name), MOST_FILE)?;
            add(&mut tar, name, &bytes)?;
        }
        add_memory(&mut tar, &snapshot.dir.join(Saved::MEMORY))?;
        tar.into_inner()?.finish()?.flush()
    };
    write().map_err(|source| Error::Archive {
        path: out.to_owned(),
        source,
    })?;
    Ok(new.commit()?)
}

fn add(tar: &mut Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes)
}

/// Adds the pieces of the memory that are not zero.
fn add_memory(tar: &mut Builder<impl Write>, path: &Path) -> io::Result<()> {
    let file = fs::open_file(path)?;
    let size = file.metadata()?.len();
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact_at(piece, at)?;
        let is_zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
        let pages = piece.chunks(PAGE);
        let first = pages.clone().take_while(|page| is_zero(page)).count() * PAGE;
        let last = pages.rev().take_while(|page| is_zero(page)).count() * PAGE;
        let end = length
            .next_multiple_of(PAGE)
            .saturating_sub(last)
            .min(length);
        if let Some(content) = piece.get(first..end).filter(|content| !content.is_empty()) {
            add(tar, &format!("{PIECES}{:016x}", at + first as u64), content)?;
        }
        at += length as u64;
    }
    Ok(())
}

/// Makes a snapshot from a file.
///
/// # Errors
///
/// If a snapshot has that name, or the file is not the archive of a snapshot.
pub fn import(machines: &Machines, from: &Path, name: &str) -> Result<Snapshot, Error> {
    let failed = |source| Error::Archive {
        path: from.to_owned(),
        source,
    };
    let invalid = |why: &str| Error::Invalid {
        path: from.to_owned(),
        why: why.to_owned(),
    };
    let file = fs::open_file(from)?;
    machines.import_snapshot(name, |dir| {
        let stream = decompress(BufReader::new(file)).map_err(failed)?;
        let mut tar = Reader::new(stream, Limits::ROOT_FILESYSTEM);
        let first = tar.next_entry().map_err(failed)?;
        let first = first.filter(|entry| entry.path == MANIFEST.as_bytes());
        if first.is_none_or(|entry| entry.size > MOST_MANIFEST) {
            return Err(invalid("it does not begin with `saved.json`"));
        }
        let mut manifest = Vec::new();
        tar.read_to_end(&mut manifest).map_err(failed)?;
        let saved: SavedMachine =
            serde_json::from_slice(&manifest).map_err(|e| invalid(&e.to_string()))?;
        write(&dir.join(MANIFEST), &mut &manifest[..])?;
        let memory = fs::create_private(&dir.join(Saved::MEMORY))?;
        memory.set_len(saved.memory.size).map_err(failed)?;
        let mut sizes = BTreeMap::from([
            (KERNEL, saved.kernel.size),
            (Saved::STATE, saved.state.size),
        ]);
        while let Some(entry) = tar.next_entry().map_err(failed)? {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            if let Some(at) = address(&entry, &path, saved.memory.size) {
                write_at(&memory, at, &mut tar).map_err(failed)?;
                continue;
            }
            match sizes.remove(path.as_str()) {
                Some(size)
                    if size == entry.size && size <= MOST_FILE && entry.kind == Kind::File =>
                {
                    write(&dir.join(&path), &mut tar)?;
                }
                _ => return Err(invalid("it has other files, or files of other sizes")),
            }
        }
        Ok(())
    })
}

/// Returns the address of a piece of the memory, if it is one and lies inside.
fn address(entry: &Entry, path: &str, size: u64) -> Option<u64> {
    let at = u64::from_str_radix(path.strip_prefix(PIECES)?, 16).ok()?;
    let inside = at.checked_add(entry.size)? <= size;
    (inside && entry.kind == Kind::File).then_some(at)
}

fn write(path: &Path, content: &mut impl Read) -> Result<(), Error> {
    let mut file = fs::create_private(path)?;
    let written = io::copy(content, &mut file).and_then(|_| file.sync_all());
    Ok(written.map_err(fs::Error::on("write", path))?)
}

/// Writes memory without the pages of zeros.
fn write_at(memory: &File, mut at: u64, content: &mut impl Read) -> io::Result<()> {
    let mut page = vec![0; PAGE];
    loop {
        let length = kraft_archive::compression::read_full(content, &mut page)?;
        let read = page.get(..length).unwrap_or_default();
        if read.iter().any(|byte| *byte != 0) {
            memory.write_all_at(read, at)?;
        }
        if length < PAGE {
            return Ok(());
        }
        at += length as u64;
    }
}
