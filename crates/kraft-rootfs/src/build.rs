//! The one job of this room: a source in, an archive out, whole or not at all.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use kraft_sys::fs::{Error as FileError, NewFile};

use crate::archive::{self, Reader};
use crate::format::cpio::{self, WriteError};
use crate::source::{self, Source};
use crate::tree::Tree;
use crate::{Error, shown};

const BUFFER: usize = 256 * 1024;

/// How an archive is to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The modification time of every entry, in seconds since 1970 (`SOURCE_DATE_EPOCH`); 0 if
    /// not given. The times of the files themselves are never taken: a checkout changes them.
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
    /// What had to be left out: sentences for people.
    pub warnings: Vec<String>,
}

/// Makes an archive from a source and puts it at `out`, whole; on an error whatever was at `out`
/// stays as it is.
///
/// `progress` is told how many bytes of contents were written so far, now and then.
pub fn build(
    source: &Source,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Built, Error> {
    let mut warnings = Vec::new();
    let tree = match source {
        Source::Cpio(path) => return pass_on(path, out, progress),
        Source::Directory(path) => source::directory::load(path, out, &mut warnings)?,
        Source::Tar(path) => {
            let (_, reader) = source::open(path)?;
            source::tar::load(path, reader, &mut warnings)?
        }
    };
    let (entries, size) = write(&tree, out, options, progress)?;
    Ok(Built {
        entries,
        size,
        warnings,
    })
}

fn write(
    tree: &Tree,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, u64), Error> {
    let file = NewFile::create(out)?;
    let written =
        cpio::write(tree, file.file(), options, progress).map_err(|error| match error {
            WriteError::Output(source) => FileError::on("write", out)(source).into(),
            WriteError::Input(error) => error,
        })?;
    file.commit()?;
    Ok(written)
}

/// Reads an archive to its end, and says whether a kernel could unpack it.
pub fn verify(archive: &Path) -> Result<(), Error> {
    let fault = |source| Error::Archive {
        path: archive.to_owned(),
        source,
    };
    Reader::open(archive)?.finish().map_err(fault)
}

/// Checks an archive to its end, and copies it while it does: not a byte is changed.
fn pass_on(path: &Path, out: &Path, progress: &mut dyn FnMut(u64)) -> Result<Built, Error> {
    let (_, reader) = source::open(path)?;
    let file = NewFile::create(out)?;
    let mut copier = Copier {
        reader,
        copy: BufWriter::with_capacity(BUFFER, file.file()),
        size: 0,
        fault: None,
    };
    let checked = check(&mut copier, progress);
    if let Some(fault) = copier.fault.take() {
        return Err(FileError::on("write", out)(fault).into());
    }
    let (entries, warnings) = checked.map_err(|source| Error::Archive {
        path: path.to_owned(),
        source,
    })?;
    copier.copy.flush().map_err(FileError::on("write", out))?;
    let size = copier.size;
    drop(copier);
    file.commit()?;
    Ok(Built {
        entries,
        size,
        warnings,
    })
}

fn check(
    from: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Vec<String>), archive::Error> {
    let mut reader = Reader::new(from);
    let (mut entries, mut contents) = (0, 0);
    let mut warnings = Vec::new();
    while let Some(entry) = reader.next_entry()? {
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
    reader.finish()?;
    Ok((entries, warnings))
}

/// Reads, and writes down what was read.
struct Copier<R, W> {
    reader: R,
    copy: W,
    size: u64,
    /// What went wrong on the writing side, which a reader's error would hide.
    fault: Option<io::Error>,
}

impl<R: Read, W: Write> Read for Copier<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.size += count as u64;
        if let Err(fault) = self.copy.write_all(buffer.get(..count).unwrap_or_default()) {
            self.fault = Some(fault);
            return Err(io::Error::other("the copy cannot be written"));
        }
        Ok(count)
    }
}
