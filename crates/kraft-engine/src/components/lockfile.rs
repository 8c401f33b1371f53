//! The file `kraft.lock`, read and written.

use std::path::Path;

use kraft_core::lock::Lock;
use kraft_sys::fs;

use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::workplace::Workplace;

/// A lock file is not longer than this, in bytes.
const LARGEST: u64 = 4 << 20;

/// Reads a lock file; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<Lock>, Failure> {
    let bytes = match fs::read_file(path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&bytes);
    Lock::parse(&text).map(Some).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("cannot use `{}`: {error}", path.display()),
        )
        .hint("restore it from version control, or remove it to resolve everything anew")
    })
}

/// Writes a lock file; a project that cannot be written to has none.
pub fn write(ctx: &Context, workplace: &Workplace, lock: &Lock) -> Result<(), Failure> {
    let text = lock
        .text()
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    match fs::replace_file(&workplace.lock_file(), text.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            ctx.warn(&format!(
                "`{}` cannot be written, so nothing is pinned",
                workplace.lock_file().display()
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
