//! Which blobs belong to which document: `references`, an index of what names lead to.
//!
//! ```text
//! TARGET BLOB !BLOB BLOB …     one line for each index or manifest that had a name, as it was then
//! =VERSION FILE                a seal: every document that has a name has its line above
//! ```
//!
//! `TARGET` is all hexadecimal digits of SHA-256, `BLOB` the first 16: of two blobs that share them,
//! one keeps the other from being collected, and no more. `!` marks a document that was absent: where
//! it has arrived since, what it leads to is missing in the line.
//!
//! The blobs are the state, and this is a cache of it. It answers which of some blobs are in use
//! without reading the documents of every image. Where the last [seal] holds, a search for these
//! blobs is enough. Else the lines are compared with the names, and one that is missing is made.
//! Lines of documents without a name count for nothing. Nothing is lost with the file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use kraft_core::reference::Digest;
use kraft_sys::amend::Version;
use kraft_sys::fs;
use memchr::{memchr, memmem};

use super::super::Error;
use super::digits::Digits;
use super::lines::{LARGEST, Line, RECENT, SHORT, lines, short};
use super::names::{Text, named};
use super::positions::Positions;
use super::seal;
use super::search::search;
use crate::image::Descriptor;

/// The end of a line that was cut short.
const BROKEN: &str = "?\n";

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

/// What is added to the file while names change, or while they are followed. The caller has the lock.
///
/// A cache: what cannot be written is made again when it is needed.
#[derive(Debug)]
pub(super) struct Additions {
    path: PathBuf,
    /// The end of the file; `None` where there is none, since it must be made for all names at once.
    recent: Option<Vec<u8>>,
    /// Whether the end is all of the file.
    all: bool,
    /// Whether every document that has a name has its line.
    complete: bool,
}

impl Additions {
    /// Begins, before this version of the names changes.
    pub(super) fn begin(dir: &Path, names: Option<Version>) -> Self {
        let path = path(dir);
        let recent = fs::read_tail(&path, RECENT).ok();
        let complete = recent
            .as_ref()
            .is_some_and(|recent| seal::holds(recent, names));
        let length = recent.as_ref().map_or(0, Vec::len);
        Self {
            path,
            recent,
            all: (length as u64) < RECENT,
            complete,
        }
    }

    /// Begins to add all lines that are missing in a file of this text.
    fn completing(dir: &Path, text: Vec<u8>) -> Self {
        Self {
            path: path(dir),
            recent: Some(text),
            all: true,
            complete: true,
        }
    }

    /// Adds the lines of documents, but for recent ones; `None` for a document that is damaged.
    pub(super) fn add<'a>(&mut self, lines: impl IntoIterator<Item = Option<&'a Line>>) {
        let recent = self.recent.as_deref().unwrap_or_default();
        let mut added = String::new();
        for line in lines {
            match line {
                None => self.complete = false,
                Some(Line { text, .. }) if memmem::find(recent, text.as_bytes()).is_none() => {
                    added.push_str(text);
                }
                Some(_) => {}
            }
        }
        self.write(&added);
    }

    /// Seals the file for the version of the names that was written, if it has the lines of all.
    pub(super) fn seal(mut self, names: Option<Version>) {
        let recent = self.recent.as_deref().filter(|_| self.complete);
        let line = recent
            .zip(names)
            .and_then(|(recent, names)| seal::next(recent, self.all, names));
        self.write(&line.unwrap_or_default());
    }

    fn write(&mut self, added: &str) {
        let Some(recent) = self.recent.as_mut().filter(|_| !added.is_empty()) else {
            return;
        };
        // The last line may be that of a writer that was killed, cut short: it must not count as whole.
        let is_cut = recent.last().is_some_and(|last| *last != b'\n');
        let added = [if is_cut { BROKEN } else { "" }, added].concat();
        let written =
            fs::append(&self.path).is_ok_and(|mut file| file.write_all(added.as_bytes()).is_ok());
        recent.extend_from_slice(added.as_bytes());
        self.complete &= written;
    }
}

/// Returns whether all of these blobs belong to documents that were given a name a moment ago.
pub(super) fn are_recent(dir: &Path, digits: &str) -> bool {
    let recent = fs::read_tail(&path(dir), RECENT).unwrap_or_default();
    digits.lines().all(|digits| {
        let short = digits.get(..SHORT);
        short.is_some_and(|short| memmem::find(&recent, short.as_bytes()).is_some())
    })
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
    /// Named documents whose line is missing, or says too little.
    unknown: Digits<'a>,
}

impl<'a> Lookup<'a> {
    fn of(text: &'a [u8], named: &Digits<'a>, blobs: &Digits<'_>) -> Self {
        let mut lookup = Self {
            unknown: named.clone(),
            ..Self::default()
        };
        let mut incomplete = Vec::new();
        for (target, entries) in lines(text) {
            if !named.contains(target) {
                continue;
            }
            lookup.unknown.remove(target);
            for (blob, absent) in entries {
                if blobs.contains(blob) {
                    lookup.used.insert(blob);
                    incomplete.extend(absent.then_some(target));
                }
            }
        }
        lookup.unknown.extend(incomplete);
        lookup
    }
}

/// Returns those of some blobs that names lead to, and makes the lines that are missing.
///
/// Errors: [`Error::Unsure`] if a document that must be followed is damaged.
pub(super) fn used(
    layout: &super::Layout,
    blobs: &BTreeSet<Digest>,
) -> Result<HashSet<Digest>, Error> {
    let dir = layout.dir();
    let file = path(dir);
    if let Some(names) = Positions::open(dir) {
        let mentions = |target: &[u8]| names.mentions(target);
        if let Some(used) = search(&file, names.version(), mentions, blobs) {
            return Ok(used);
        }
    }
    let text = read(dir);
    let mut index = Text::load(dir)?;
    if let Some(version) = index.version()
        && seal::holds(&text, Some(version))
    {
        let mentions = |target: &[u8]| Ok(index.mentions(target));
        if let Some(used) = search(&file, version, mentions, blobs) {
            return Ok(used);
        }
    } else {
        index = Text::load_marked(dir)?;
    }
    let named = index.mentioned();
    let wanted: Digits<'_> = blobs.iter().map(|blob| short(blob).as_bytes()).collect();
    let lookup = Lookup::of(&text, &named, &wanted);
    let mut unknown = lookup.unknown;
    let mut made = Vec::new();
    if !unknown.is_empty() {
        for target in index.targets()? {
            if unknown.remove(target.digest.hex().as_bytes()) {
                made.push(line_of(layout, &target)?);
            }
        }
    }
    let found: HashSet<&str> = made.iter().flat_map(Line::blobs).map(short).collect();
    let is_used = |blob: &&Digest| {
        lookup.used.contains(short(blob).as_bytes()) || found.contains(short(blob))
    };
    let used = blobs.iter().filter(is_used).cloned().collect();
    if text.is_empty() || seal::has_grown(&text) {
        // The file is a cache: where it cannot be written, the lines are made again the next time.
        let _ = rewrite(dir, &text, &index, &named, &made);
    } else {
        let mut additions = Additions::completing(dir, text.clone());
        additions.add(made.iter().map(Some));
        additions.seal(index.version());
    }
    Ok(used)
}

/// Reads the file; nothing of it if it is damaged, as it can be when the host was switched off: it
/// is not flushed to disk.
fn read(dir: &Path) -> Vec<u8> {
    let text = fs::read_file(&path(dir), LARGEST).unwrap_or_default();
    if memchr(0, &text).is_some() || !seal::is_intact(&text) {
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

/// Writes the last line of each document with a name, and a seal.
fn rewrite(
    dir: &Path,
    text: &[u8],
    index: &Text,
    named: &Digits<'_>,
    made: &[Line],
) -> Result<(), Error> {
    let mut last: HashMap<&[u8], &[u8]> = lines(text)
        .filter(|(target, _)| named.contains(target))
        .map(|(target, entries)| (target, entries.0))
        .collect();
    for line in made {
        last.extend(lines(line.text.as_bytes()).map(|(target, entries)| (target, entries.0)));
    }
    let sorted: BTreeMap<_, _> = last.into_iter().collect();
    let mut bytes = Vec::new();
    for (target, entries) in sorted {
        bytes.extend([target, entries, b"\n"].concat());
    }
    let seal = index
        .version()
        .and_then(|names| seal::next(&bytes, true, names));
    bytes.extend(seal.unwrap_or_default().into_bytes());
    Ok(fs::replace_file(&path(dir), &bytes)?)
}
