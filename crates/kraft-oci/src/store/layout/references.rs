//! Which blobs belong to which document: `references`, an index of what names lead to.
//!
//! ```text
//! TARGET BLOB !BLOB BLOB …     one line for each index or manifest that had a name, as it was then
//! ```
//!
//! All of it are hexadecimal digits of SHA-256. `!` marks a document that was absent: where it has
//! arrived since, what it leads to is missing in the line.
//!
//! The blobs are the state, and this is a cache of it. It answers which of some blobs are in use
//! without reading the documents of every image. A line that is missing is made when it is needed;
//! lines of documents without a name count for nothing. Nothing is lost with the file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use kraft_core::reference::Digest;
use kraft_sys::fs;
use memchr::{memchr, memmem};

use super::super::reach::{mentioned, parts};
use super::super::{Blobs, Error};
use super::digits::Digits;
use super::names::{Text, named};
use crate::image::{Descriptor, media};

/// Maximum size of the file in bytes: that of some 100 000 names.
const LARGEST: u64 = 256 << 20;
/// Bytes at the end of the file that count as recent.
const RECENT: u64 = 64 << 10;
/// The end of a line that was cut short.
const BROKEN: &str = "?\n";
/// Lines without a name that are kept whatever the number of names.
const SPARE: usize = 256;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line(String);

impl Line {
    /// Follows a document to everything that belongs to it.
    pub(super) fn of(blobs: &dyn Blobs, target: &Descriptor) -> Result<Self, Error> {
        let mut line = target.digest.hex().to_owned();
        match parts(blobs, target) {
            Ok(parts) => {
                for part in parts {
                    let absent = part.stored.is_none() && media::is_document(&part.blob.media_type);
                    line.push_str(if absent { " !" } else { " " });
                    line.push_str(part.blob.digest.hex());
                }
            }
            Err(Error::Document { .. }) => {
                for (digest, _) in mentioned(blobs, target)? {
                    line.push(' ');
                    line.push_str(digest.hex());
                }
            }
            Err(error) => return Err(error),
        }
        line.push('\n');
        Ok(Self(line))
    }

    /// Returns the digits of the blobs.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &str> {
        let blobs = self.0.trim_end().split(' ').skip(1);
        blobs.map(|blob| blob.trim_start_matches('!'))
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("references")
}

/// Returns whether the file exists. It does not where an older version wrote the store.
pub(super) fn exist(dir: &Path) -> bool {
    path(dir).exists()
}

/// Creates the file, for a store without names.
pub(super) fn create(dir: &Path) -> Result<(), Error> {
    fs::append(&path(dir))?;
    Ok(())
}

/// Adds lines, but for recent ones. The caller has the lock.
///
/// Errors: also if there is no file, which must be made for all names at once.
pub(super) fn append(dir: &Path, lines: &[Line]) -> Result<(), Error> {
    let recent = fs::read_tail(&path(dir), RECENT)?;
    let mut added = String::new();
    for Line(line) in lines {
        if memmem::find(&recent, line.as_bytes()).is_none() {
            added.push_str(line);
        }
    }
    if added.is_empty() {
        return Ok(());
    }
    // The last line may be that of a writer that was killed, cut short: it must not count as whole.
    if recent.last().is_some_and(|last| *last != b'\n') {
        added.insert_str(0, BROKEN);
    }
    let path = path(dir);
    fs::append(&path)?
        .write_all(added.as_bytes())
        .map_err(fs::Error::on("write", &path))?;
    Ok(())
}

/// Returns whether all of these blobs belong to documents that were given a name a moment ago.
pub(super) fn are_recent(dir: &Path, digits: &str) -> bool {
    let recent = fs::read_tail(&path(dir), RECENT).unwrap_or_default();
    digits
        .lines()
        .all(|digits| memmem::find(&recent, digits.as_bytes()).is_some())
}

/// Returns whether the file has become much larger than the list of names explains.
pub(super) fn are_bloated(dir: &Path) -> bool {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    size(&path(dir)) > 8 * size(&dir.join("index.json")) + (1 << 20)
}

/// What the lines of named documents say of some blobs.
#[derive(Debug, Default)]
struct Lookup<'a> {
    /// The blobs that are in use.
    used: Digits<'a>,
    /// Named documents whose line is missing, broken or says too little.
    unknown: Digits<'a>,
    lines: usize,
}

impl<'a> Lookup<'a> {
    fn of(text: &'a [u8], named: &Digits<'a>, blobs: &Digits<'_>) -> Self {
        let mut lookup = Self {
            unknown: named.clone(),
            ..Self::default()
        };
        let mut incomplete = Vec::new();
        for (target, mut line) in lines(text) {
            lookup.lines += 1;
            if !named.contains(target) {
                continue;
            }
            let mut whole = true;
            while whole && !line.is_empty() {
                let absent = line.first() == Some(&b'!');
                let digits = line.get(usize::from(absent)..).unwrap_or_default();
                let (blob, rest) = digits.split_at_checked(64).unwrap_or_default();
                if blobs.contains(blob) {
                    lookup.used.insert(blob);
                    incomplete.extend(absent.then_some(target));
                }
                line = rest.get(1..).unwrap_or_default();
                whole = blob.len() == 64 && matches!(rest, [] | [b' ', ..]);
            }
            if whole {
                lookup.unknown.remove(target);
            }
        }
        lookup.unknown.extend(incomplete);
        lookup
    }
}

/// Returns the whole lines of the file: the target, and the rest.
fn lines(mut text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let (line, rest) = text.split_at_checked(memchr(b'\n', text)?)?;
            text = rest.get(1..).unwrap_or_default();
            if let Some((target, [b' ', blobs @ ..])) = line.split_at_checked(64) {
                return Some((target, blobs));
            }
        }
    })
}

/// Returns those of some blobs that names lead to, and makes the lines that are missing.
///
/// Errors: [`Error::Unsure`] if a document that must be followed is damaged.
pub(super) fn used(
    layout: &super::Layout,
    blobs: &BTreeSet<Digest>,
) -> Result<HashSet<Digest>, Error> {
    let dir = layout.dir();
    let index = Text::load(dir)?;
    let named = index.mentioned();
    let text = read(dir);
    let wanted: Digits<'_> = blobs.iter().map(|blob| blob.hex().as_bytes()).collect();
    let lookup = Lookup::of(&text, &named, &wanted);
    let mut used: HashSet<Digest> = blobs
        .iter()
        .filter(|blob| lookup.used.contains(blob.hex().as_bytes()))
        .cloned()
        .collect();
    let mut unknown = lookup.unknown;
    let mut made = Vec::new();
    if !unknown.is_empty() {
        for target in index.targets()? {
            if unknown.remove(target.digest.hex().as_bytes()) {
                made.push(line_of(layout, &target)?);
            }
        }
    }
    let found: HashSet<&str> = made.iter().flat_map(Line::blobs).collect();
    used.extend(
        blobs
            .iter()
            .filter(|blob| found.contains(blob.hex()))
            .cloned(),
    );
    // The file is a cache: where it cannot be written, the lines are made again the next time.
    let _ = if lookup.lines > 2 * named.len() + SPARE || !exist(dir) {
        rewrite(dir, &text, &named, &made)
    } else {
        append(dir, &made)
    };
    Ok(used)
}

/// Reads the file; nothing of it if it is damaged, as it can be when the host was switched off: it
/// is not flushed to disk.
fn read(dir: &Path) -> Vec<u8> {
    let text = fs::read_file(&path(dir), LARGEST).unwrap_or_default();
    if memchr(0, &text).is_some() {
        return Vec::new();
    }
    text
}

fn line_of(layout: &super::Layout, target: &Descriptor) -> Result<Line, Error> {
    Line::of(layout, target).map_err(|source| match named(target.clone()) {
        Some(named) => Error::Unsure {
            name: named.name,
            source: Box::new(source),
        },
        None => source,
    })
}

/// Writes the last line of each document with a name.
fn rewrite(dir: &Path, text: &[u8], named: &Digits<'_>, made: &[Line]) -> Result<(), Error> {
    let mut last: HashMap<&[u8], &[u8]> = lines(text)
        .filter(|(target, _)| named.contains(target))
        .collect();
    for Line(line) in made {
        last.extend(lines(line.as_bytes()));
    }
    let sorted: BTreeMap<_, _> = last.into_iter().collect();
    let mut bytes = Vec::new();
    for (target, blobs) in sorted {
        bytes.extend([target, b" ", blobs, b"\n"].concat());
    }
    Ok(fs::replace_file(&path(dir), &bytes)?)
}
