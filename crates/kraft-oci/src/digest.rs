//! Computes and verifies digests.
//!
//! ```
//! use std::io::Read;
//!
//! use kraft_oci::digest::{self, Verified};
//!
//! let digest = digest::of(b"hello");
//! let mut same = String::new();
//! Verified::new(&b"hello"[..], digest.clone(), 5).read_to_string(&mut same)?;
//! assert_eq!(same, "hello");
//! let mut other = Verified::new(&b"jello"[..], digest, 5);
//! assert!(other.read_to_string(&mut same).is_err());
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{self, Read};
use std::path::Path;

use kraft_archive::compression::read_some;
use kraft_core::reference::Digest;
use kraft_sys::fs;
use sha2::{Digest as _, Sha256};

/// The number of bytes that are read at once.
const BUFFER: usize = 1 << 17;

/// Returns the digest of bytes.
pub fn of(bytes: &[u8]) -> Digest {
    Digest::of_sha256(Sha256::digest(bytes).into())
}

/// Returns the digest of a file.
///
/// # Errors
///
/// If the file cannot be read.
pub fn of_file(path: &Path) -> Result<Digest, fs::Error> {
    of_reader(fs::open_file(path)?).map_err(fs::Error::on("read", path))
}

/// Returns the digest of all that is left to read.
pub(crate) fn of_reader(mut reader: impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        match read_some(&mut reader, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Counts and hashes a stream of bytes.
#[derive(Clone, Default)]
pub struct Hasher {
    hash: Sha256,
    size: u64,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Returns how many bytes there were.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest of them all.
    pub fn finish(self) -> Digest {
        Digest::of_sha256(self.hash.finalize().into())
    }
}

/// A reader that verifies digest and size at the end of the data.
#[derive(Debug)]
pub struct Verified<R> {
    inner: R,
    hasher: Option<Hasher>,
    digest: Digest,
    size: u64,
}

impl<R> Verified<R> {
    /// Verifies a blob with known digest and size in bytes.
    pub fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self {
            inner,
            hasher: Some(Hasher::default()),
            digest,
            size,
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(buffer.get(..count).unwrap_or_default());
            if hasher.size() > self.size {
                return Err(io::Error::other(Damage::Longer {
                    expected: self.size,
                }));
            }
        }
        if count == 0
            && let Some(hasher) = self.hasher.take()
        {
            if hasher.size() != self.size {
                return Err(io::Error::other(Damage::Shorter {
                    expected: self.size,
                    found: hasher.size(),
                }));
            }
            let found = hasher.finish();
            if found != self.digest {
                return Err(io::Error::other(Damage::Digest { found }));
            }
        }
        Ok(count)
    }
}

/// How data differs from the expected digest and size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is shorter; sizes in bytes.
    #[error("it has {found} bytes instead of {expected}")]
    Shorter {
        /// The expected size.
        expected: u64,
        /// The actual size.
        found: u64,
    },
    /// It is longer.
    #[error("it has more than {expected} bytes")]
    Longer {
        /// The expected size, in bytes.
        expected: u64,
    },
    /// Its digest differs.
    #[error("its bytes have the digest {found}")]
    Digest {
        /// The actual digest.
        found: Digest,
    },
    /// It does not exist.
    #[error("it is not there")]
    Missing,
    /// The digest matches, but the content is invalid.
    #[error("it cannot be used: {0}")]
    Unusable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], promised: &[u8]) -> Result<Vec<u8>, Damage> {
        let mut out = Vec::new();
        let mut reader = Verified::new(bytes, of(promised), promised.len() as u64);
        match reader.read_to_end(&mut out) {
            Ok(_) => Ok(out),
            Err(e) => Err(e
                .into_inner()
                .unwrap()
                .downcast_ref::<Damage>()
                .unwrap()
                .clone()),
        }
    }

    #[test]
    fn good_bytes_pass_and_others_fail_with_their_fault() {
        assert_eq!(read(b"abc", b"abc"), Ok(b"abc".to_vec()));
        assert_eq!(read(b"", b""), Ok(Vec::new()));
        assert_eq!(
            read(b"ab", b"abc"),
            Err(Damage::Shorter {
                expected: 3,
                found: 2
            })
        );
        assert_eq!(read(b"abcd", b"abc"), Err(Damage::Longer { expected: 3 }));
        assert_eq!(
            read(b"abd", b"abc"),
            Err(Damage::Digest { found: of(b"abd") })
        );
    }
}
