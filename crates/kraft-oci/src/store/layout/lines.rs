//! Lines of `references`: a document that had a name, and the blobs that belong to it.

use kraft_core::reference::Digest;
use memchr::{memchr, memrchr};

use super::super::reach::{mentioned, parts};
use super::super::{Blobs, Error};
use crate::image::{Descriptor, media};

/// Maximum size of the file in bytes: that of some 100 000 names.
pub(super) const LARGEST: u64 = 256 << 20;
/// Bytes at the end of the file that count as recent.
pub(super) const RECENT: u64 = 64 << 10;
/// Digits of a digest that stand for a blob.
pub(super) const SHORT: usize = 16;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// The blobs in it.
    blobs: Vec<Digest>,
}

impl Line {
    /// Follows a document to everything that belongs to it.
    pub(super) fn of(blobs: &dyn Blobs, target: &Descriptor) -> Result<Self, Error> {
        let mut line = Self {
            text: target.digest.hex().to_owned(),
            blobs: Vec::new(),
        };
        match parts(blobs, target) {
            Ok(parts) => {
                for part in parts {
                    let absent = part.stored.is_none() && media::is_document(&part.blob.media_type);
                    line.add(part.blob.digest, absent);
                }
            }
            Err(Error::Document { .. }) => {
                for (digest, _) in mentioned(blobs, target)? {
                    line.add(digest, false);
                }
            }
            Err(error) => return Err(error),
        }
        line.text.push('\n');
        Ok(line)
    }

    fn add(&mut self, blob: Digest, absent: bool) {
        self.text.push_str(if absent { " !" } else { " " });
        self.text.push_str(short(&blob));
        self.blobs.push(blob);
    }

    /// Returns the blobs.
    pub(super) fn blobs(&self) -> &[Digest] {
        &self.blobs
    }
}

/// Returns the digits that stand for a blob.
pub(super) fn short(blob: &Digest) -> &str {
    blob.hex().get(..SHORT).unwrap_or_default()
}

/// Returns the whole lines of a text: the target, and what belongs to it.
pub(super) fn lines(mut text: &[u8]) -> impl Iterator<Item = (&[u8], Entries<'_>)> {
    std::iter::from_fn(move || {
        loop {
            let (line, rest) = text.split_at_checked(memchr(b'\n', text)?)?;
            text = rest.get(1..).unwrap_or_default();
            if let Some((target, entries)) = line.split_at_checked(64)
                && is_whole(entries)
            {
                return Some((target, Entries(entries)));
            }
        }
    })
}

/// Returns whether nothing is missing at the end of a line that was written in one piece: only the end
/// can be.
fn is_whole(entries: &[u8]) -> bool {
    let last = memrchr(b' ', entries).and_then(|at| entries.get(at..));
    matches!(last, Some([b' ', b'!', digits @ ..] | [b' ', digits @ ..]) if digits.len() == SHORT)
}

/// The blobs in a line, each behind a blank: 16 digits, and whether it was absent.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let (absent, digits) = match self.0 {
            [b' ', b'!', digits @ ..] => (true, digits),
            [b' ', digits @ ..] => (false, digits),
            _ => return None,
        };
        let (digits, rest) = digits.split_at_checked(SHORT)?;
        self.0 = rest;
        Some((digits, absent))
    }
}
