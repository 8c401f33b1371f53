//! Builds archives from sources; an archive is written completely or not at all.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kraft_archive::compression::read_some;
use kraft_sys::flush::Flusher;
use kraft_sys::fs::{Error as FileError, NewFile};

use crate::archive::{self, Reader};
use crate::format::cpio::{self, WriteError};
use crate::source::tar::{Unpacked, Unpacker};
use crate::source::{self, Source};
use crate::tree::Tree;
use crate::{Error, shown};

const BUFFER: usize = 256 * 1024;

/// Options of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The modification time of every entry, in seconds since 1970 (`SOURCE_DATE_EPOCH`); 0 if
    /// not given. The times of the files themselves are never used: a checkout changes them.
    pub epoch: Option<u32>,
    /// Whether entries keep the owners they have in the source; otherwise they belong to root.
    pub keep_owners: bool,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Entries in the archive, without its trailer.
    pub entries: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Entries that were left out: sentences for users.
    pub warnings: Vec<String>,
}

/// Builds an archive from a source at `out`; on an error the file at `out` is not changed.
///
/// `progress` is called now and then with the number of bytes of contents written so far.
///
/// ```
/// use kraft_rootfs::{Options, Source, build};
///
/// let dir = tempfile::tempdir()?;
/// let root = dir.path().join("root");
/// std::fs::create_dir(&root)?;
/// std::fs::write(root.join("hello"), "Hello")?;
///
/// let out = dir.path().join("root.cpio");
/// let built = build(&Source::detect(&root)?, &out, &Options::default(), &mut |_| {})?;
/// assert_eq!(built.size, std::fs::metadata(&out)?.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the source cannot be read, is invalid or contains entries that no archive can contain, or the
/// archive cannot be written.
pub fn build(
    source: &Source,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Built, Error> {
    let mut warnings = Vec::new();
    let tree = match source {
        Source::Cpio(path) => return copy_checked(path, out, options, progress),
        Source::Directory(path) => source::directory::load(path, out, None, &mut warnings)?,
        Source::Tar(path) => {
            let mut reader = source::open(path)?;
            return build_tar(path, &mut reader, out, options, progress);
        }
    };
    let (entries, size) = write(&tree, out, options, progress)?;
    Ok(Built {
        entries,
        size,
        warnings,
    })
}

/// A layer of an image.
#[expect(
    missing_debug_implementations,
    reason = "it is mostly a reader of any kind"
)]
pub struct Layer<'a> {
    /// Its name in messages.
    pub name: PathBuf,
    /// Its content as an uncompressed tarball.
    pub tar: Box<dyn Read + 'a>,
}

/// Builds an archive from a tarball that is read once, as [`build`] does. `name` is its name in
/// messages.
///
/// If its entries are in the order of an archive, their bytes are written once.
///
/// ```
/// use std::path::Path;
///
/// use kraft_rootfs::{Options, build_tar};
///
/// let dir = tempfile::tempdir()?;
/// let out = dir.path().join("root.cpio");
/// let empty = [0; 1024];
/// let options = Options::default();
/// let built = build_tar(Path::new("stdin"), &mut &empty[..], &out, &options, &mut |_| {})?;
/// assert_eq!(built.entries, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`build`].
pub fn build_tar(
    name: &Path,
    tar: &mut dyn Read,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Built, Error> {
    unpack(out, options, progress, |unpacker| {
        unpacker.tarball(name, tar)
    })
}

/// Builds an archive from the layers of an image, the lowest first, as [`build`] does.
///
/// `next` opens one layer after the other, and returns `None` after the last.
///
/// # Errors
///
/// As [`build`].
pub fn build_layers<'a>(
    next: &mut dyn FnMut() -> Option<Layer<'a>>,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Built, Error> {
    unpack(out, options, progress, |unpacker| {
        while let Some(mut layer) = next() {
            unpacker.layer(&layer.name, &mut layer.tar)?;
        }
        Ok(())
    })
}

fn unpack(
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
    work: impl FnOnce(&mut Unpacker<'_>) -> Result<(), Error>,
) -> Result<Built, Error> {
    let file = NewFile::create(out)?;
    let spool = file
        .file()
        .try_clone()
        .map_err(FileError::on("open", out))?;
    let mut flusher = flusher(&file, out)?;
    let mut warnings = Vec::new();
    let stream = cpio::Stream::new(file.file(), options);
    let mut progress = |done| {
        flusher.grown(done);
        progress(done);
    };
    let mut unpacker = Unpacker::new(stream, Rc::new(spool), &mut warnings, &mut progress);
    work(&mut unpacker)?;
    let outcome = unpacker.finish().map_err(|error| of_writing(out, error))?;
    let (entries, size) = match outcome {
        Unpacked::Whole(entries, size) => {
            flusher.finish().map_err(FileError::on("write", out))?;
            file.commit()?;
            (entries, size)
        }
        Unpacked::Tree(tree) => write(&tree, out, options, &mut |_| {})?,
    };
    Ok(Built {
        entries,
        size,
        warnings,
    })
}

/// Begins to flush an archive to disk while it grows.
fn flusher(file: &NewFile, out: &Path) -> Result<Flusher, FileError> {
    let growing = file.file().try_clone();
    Ok(Flusher::new(growing.map_err(FileError::on("open", out))?))
}

pub(crate) fn of_writing(out: &Path, error: WriteError) -> Error {
    match error {
        WriteError::Output(source) => FileError::on("write", out)(source).into(),
        WriteError::Input(error) => error,
    }
}

pub(crate) fn write(
    tree: &Tree,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, u64), Error> {
    let file = NewFile::create(out)?;
    let mut flusher = flusher(&file, out)?;
    let mut progress = |done| {
        flusher.grown(done);
        progress(done);
    };
    let written = cpio::write(tree, file.file(), options, &mut progress)
        .map_err(|error| of_writing(out, error))?;
    flusher.finish().map_err(FileError::on("write", out))?;
    file.commit()?;
    Ok(written)
}

/// Reads an archive to its end, and checks that a kernel can unpack it.
///
/// # Errors
///
/// If the archive is invalid, with the position of the error.
pub fn verify(archive: &Path) -> Result<(), Error> {
    let invalid = |source| Error::Archive {
        path: archive.to_owned(),
        source,
    };
    Reader::open(archive)?.finish().map_err(invalid)
}

/// Checks an archive to its end, and copies it without changes. One that only Linux would unpack
/// (concatenated archives, entries below symbolic links) becomes one archive that every kernel
/// unpacks.
fn copy_checked(
    path: &Path,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Built, Error> {
    let invalid = |source| Error::Archive {
        path: path.to_owned(),
        source,
    };
    let reader = source::open_segments(path)?;
    let file = NewFile::create(out)?;
    let mut reader = Reader::of_segments(
        Copier {
            reader,
            copy: BufWriter::with_capacity(BUFFER, file.file()),
            size: 0,
            failed: None,
        },
        |copier| copier.reader.next_segment(),
    );
    let checked = check(&mut reader, progress);
    let mut copier = reader.into_inner();
    if let Some(error) = copier.failed.take() {
        return Err(FileError::on("write", out)(error).into());
    }
    let Some((entries, warnings)) = checked.map_err(invalid)? else {
        drop(copier);
        drop(file);
        return unpack(out, options, progress, |unpacker| {
            source::newc::merge(&mut Reader::open(path)?, unpacker, &invalid)
        });
    };
    // Zeros that fill the last block.
    let zeros = copier.reader.zeros();
    io::copy(&mut io::repeat(0).take(zeros), &mut copier.copy)
        .and_then(|_| copier.copy.flush())
        .map_err(FileError::on("write", out))?;
    let size = copier.size + zeros;
    drop(copier);
    file.commit()?;
    Ok(Built {
        entries,
        size,
        warnings,
    })
}

/// Reads archives to the end; returns `None` as soon as they are not simple.
fn check<R: Read>(
    reader: &mut Reader<R>,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<(u64, Vec<String>)>, archive::Error> {
    let (mut entries, mut contents) = (0, 0);
    let mut warnings = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        if !reader.is_simple() {
            return Ok(None);
        }
        entries += 1;
        contents += u64::from(entry.size);
        progress(contents);
        if entry.kind == archive::Kind::Socket {
            warnings.push(format!(
                "`{}` is a socket, which no kernel unpacks",
                shown(&entry.path)
            ));
        }
    }
    Ok(Some((entries, warnings)))
}

/// Reads, and copies what was read.
struct Copier<R, W> {
    reader: R,
    copy: W,
    size: u64,
    /// The error of writing, which a reader's error would hide.
    failed: Option<io::Error>,
}

impl<R: Read, W: Write> Read for Copier<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = read_some(&mut self.reader, buffer)?;
        self.size += count as u64;
        if let Err(error) = self.copy.write_all(buffer.get(..count).unwrap_or_default()) {
            self.failed = Some(error);
            return Err(io::Error::other("the copy cannot be written"));
        }
        Ok(count)
    }
}
