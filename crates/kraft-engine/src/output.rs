//! Output of flows that stream to a reader, such as consoles and logs.

use std::io::{self, Write};

/// Why output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The reader closed the pipe: it needs no more.
    #[error("the reader of the output has closed it")]
    Closed,
    /// The output cannot be written.
    #[error("cannot write to stdout")]
    Write(#[source] io::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Write(error),
        }
    }
}

/// Writes bytes as they are, at once.
///
/// ```
/// use kraft_engine::output::{OutputError, put};
///
/// let mut out = Vec::new();
/// put(&mut out, b"Hello")?;
/// assert_eq!(out, b"Hello");
/// # Ok::<(), OutputError>(())
/// ```
///
/// # Errors
///
/// If the bytes cannot be written.
pub fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<(), OutputError> {
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_gone_is_not_a_write_error() {
        for (kind, is_closed) in [
            (io::ErrorKind::BrokenPipe, true),
            (io::ErrorKind::StorageFull, false),
            (io::ErrorKind::Other, false),
        ] {
            let error = OutputError::from(io::Error::from(kind));
            assert_eq!(matches!(error, OutputError::Closed), is_closed, "{kind:?}");
        }
    }
}
