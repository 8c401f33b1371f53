//! The file `kraft.lock`, read and written.

use std::path::Path;

use kraft_core::lock::Lock;
use kraft_sys::fs;

use super::error::Error;
use crate::context::Context;
use crate::workplace::Workplace;

/// The largest lock file that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// Reads a lock file; `None` if there is none.
///
/// # Errors
///
/// If the file cannot be read or parsed.
pub fn read(path: &Path) -> Result<Option<Lock>, Error> {
    tracing::debug!(file = %path.display(), "reading the lock file");
    let bytes = match fs::read_file(path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&bytes);
    Lock::parse(&text)
        .map(Some)
        .map_err(|source| Error::LockFile {
            path: path.to_owned(),
            source,
        })
}

/// Writes the lock file of a project; warns if the project's directory is not writable.
///
/// # Errors
///
/// If the file cannot be written for another reason.
pub fn write(ctx: &Context, workplace: &Workplace, lock: &Lock) -> Result<(), Error> {
    let text = lock.text().map_err(Error::WriteLock)?;
    tracing::debug!(file = %workplace.lock_file().display(), "writing the lock file");
    match fs::replace_file(&workplace.lock_file(), text.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            ctx.warn(&format!(
                "`{}` is not writable: nothing is pinned",
                workplace.lock_file().display()
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
