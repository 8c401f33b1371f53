//! `kraft rootfs cat`.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kraft_rootfs::archive::{Kind as EntryKind, Reader};
use kraft_rootfs::normalise;

use super::archive_error;
use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::output::OutputError;

/// Print a file of a root filesystem
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Archive, compressed or not
    file: PathBuf,

    /// Path of the file in the archive; a leading `/` or `./` is optional
    path: PathBuf,
}

/// The entry with a name.
enum Found {
    File,
    Other(EntryKind),
}

pub(super) fn exec(_app: &App, args: &Args) -> Result<(), Failure> {
    let lists = format!("kraft rootfs ls {}", args.file.display());
    print_file(&args.file, &args.path, &lists)
}

/// Prints a file of an archive; `lists` is the command that lists its files.
pub(crate) fn print_file(file: &Path, path: &Path, lists: &str) -> Result<(), Failure> {
    let name = path.as_os_str().as_bytes();
    let wanted = normalise(name)
        .map_err(|error| Failure::usage(format!("cannot look up `{}`: {error}", path.display())))?;
    // A name may occur several times, and the last entry is the one that a kernel unpacks. So the
    // archive is read and validated to its end before anything is printed.
    let (mut at, mut found) = (0u64, None);
    let mut reader = Reader::open(file)?;
    let unreadable = archive_error(file);
    while let Some(entry) = reader.next_entry().map_err(&unreadable)? {
        if entry.path == wanted {
            let what = match entry.kind {
                EntryKind::File => Found::File,
                other => Found::Other(other),
            };
            found = Some((at, what));
        }
        at += 1;
    }
    match found {
        Some((at, Found::File)) => print(file, at),
        Some((_, Found::Other(kind))) => {
            let what = super::ls::kind_name(kind);
            let message = format!("`{}` is not a file but a {what}", path.display());
            Err(Failure::new(Kind::Failed, message))
        }
        None => {
            let message = format!("no `{}` in `{}`", path.display(), file.display());
            Err(Failure::new(Kind::NotFound, message).hint(format!("`{lists}` lists the files")))
        }
    }
}

/// Prints the content of the entry with that number.
fn print(file: &Path, number: u64) -> Result<(), Failure> {
    let unreadable = archive_error(file);
    let mut reader = Reader::open(file)?;
    for _ in 0..=number {
        reader.next_entry().map_err(&unreadable)?;
    }
    let mut stdout = Stdout {
        to: io::stdout().lock(),
        error: None,
    };
    let copied = reader.copy_content(&mut stdout);
    if let Some(error) = stdout.error.take() {
        return Err(OutputError::from(error).into());
    }
    copied.map_err(&unreadable)?;
    Ok(stdout.to.flush().map_err(OutputError::from)?)
}

/// Records an error of the output, which is not an error of the archive.
struct Stdout<'a> {
    to: io::StdoutLock<'a>,
    error: Option<io::Error>,
}

impl Write for Stdout<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
