//! Keys of cached steps: digests of everything that a step can read.

use std::collections::HashMap;
use std::io::Read;
use std::num::NonZero;
use std::thread::available_parallelism;

use kraft_sys::fs::Error as FileError;
use kraft_sys::parallel;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::source::content::Opened;
use crate::tree::{Content, Kind, Tree};

/// Changes when the meaning of a key or the format of the cache changes.
const VERSION: &str = concat!("kraft ", env!("CARGO_PKG_VERSION"), ", steps 1");
/// Size of the read buffer in bytes.
const BUFFER: usize = 256 * 1024;
/// Maximum number of threads that hash files.
const MOST_READERS: usize = 4;

/// A SHA-256 digest.
pub(crate) type Digest = [u8; 32];

/// Hashes everything that a step can read. Every part is prefixed with its length, so different
/// sequences of parts never hash the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Key(Sha256);

impl Key {
    /// Starts a key of a kind.
    pub(crate) fn new(kind: &str) -> Self {
        Self(Sha256::new()).and(VERSION).and(kind)
    }

    /// Adds a part.
    pub(crate) fn and(mut self, part: impl AsRef<[u8]>) -> Self {
        self.add(part);
        self
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Returns the digest.
    pub(crate) fn digest(self) -> Digest {
        self.0.finalize().into()
    }
}

/// Returns the digest of a tree: paths, kinds, permissions, owners, hard links and contents, but
/// not times. Several threads read the contents.
pub(crate) fn of_tree(tree: &Tree) -> Result<Digest, Error> {
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let mut opened = Vec::new();
    let mut key = Key::new("tree");
    for (path, node) in tree.entries() {
        key.add(&path);
        for number in [node.permissions, node.uid, node.gid] {
            key.add(number.to_le_bytes());
        }
        match &node.kind {
            Kind::Directory => key.add("directory"),
            Kind::Fifo => key.add("fifo"),
            Kind::Symlink(target) => {
                key.add("symlink");
                key.add(target);
            }
            Kind::CharDevice { major, minor } => key.add(format!("c {major}:{minor}")),
            Kind::BlockDevice { major, minor } => key.add(format!("b {major}:{minor}")),
            Kind::File(content) => {
                let number = *numbers.entry(content.identity).or_insert_with(|| {
                    opened.push(content);
                    opened.len() - 1
                });
                key.add(format!("file {number} {}", content.size));
            }
        }
    }
    for digest in of_contents(&opened)? {
        key.add(digest);
    }
    Ok(key.digest())
}

/// Returns the digests of contents in the same order.
fn of_contents(contents: &[&Content]) -> Result<Vec<Digest>, Error> {
    let spots: Vec<_> = contents.iter().map(|content| content.spot()).collect();
    let readers = available_parallelism().map_or(1, NonZero::get);
    let digests = parallel::in_order(&spots, readers.min(MOST_READERS), |_, spot| {
        of_content(spot.open()?)
    });
    digests.into_iter().collect()
}

fn of_content(mut from: Opened) -> Result<Digest, Error> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![
        0;
        BUFFER
            .min(usize::try_from(from.left()).unwrap_or(BUFFER))
            .max(1)
    ];
    loop {
        let count = from
            .read(&mut buffer)
            .map_err(FileError::on("read", &from.name))?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    if from.left() > 0 {
        return Err(Error::Changed { path: from.name });
    }
    Ok(hasher.finalize().into())
}

/// Returns a digest as hexadecimal digits.
pub(crate) fn hex(digest: &Digest) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
