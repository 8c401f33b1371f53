//! The names: `index.json`.
//!
//! An entry carries the full name where other tools look for it. Entries of other tools are kept as
//! they are.
//!
//! The file may have many thousands of entries, and a command changes one. Where kraft wrote it,
//! each entry is a line, so that one is found and replaced in the text without parsing the others.
//! Any other text is parsed as a whole, and written as lines the next time.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kraft_core::reference::Reference;
use kraft_sys::fs;
use memchr::memmem;
use serde_json::{Map, Value, json};

use super::super::{Error, Expect, Named};
use super::digits::Digits;
use crate::image::{Descriptor, annotation};
use crate::json::to_vec;

/// When the name was given, RFC 3339.
const SINCE: &str = "sh.kraftkit.since";
/// Maximum size of the file in bytes: some 100 000 names.
const LARGEST: u64 = 64 << 20;
/// The text before the entries, where each is a line.
const HEAD: &str = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[\n";
/// The text before the digits of a digest.
const PREFIX: &[u8] = b"sha256:";
/// The text between entries.
const BETWEEN: &[u8] = b",\n";
/// The text after the entries.
const TAIL: &str = "\n]}\n";
/// With more names to change, parsing the whole file costs less than searching it for each.
const FEW: usize = 16;

/// Returns every name, sorted.
pub(super) fn read(dir: &Path) -> Result<Vec<Named>, Error> {
    let text = Text::load(dir)?;
    let mut names: Vec<Named> = text.targets()?.into_iter().filter_map(named).collect();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(names)
}

/// Returns what a full name points to.
pub(super) fn find(dir: &Path, name: &Reference) -> Result<Option<Named>, Error> {
    let text = Text::load(dir)?;
    match text.place(name) {
        Place::At(_, named) => Ok(Some(*named)),
        Place::Absent => Ok(None),
        Place::Unknown => {
            let mut names = text.targets()?.into_iter().filter_map(named);
            Ok(names.find(|named| named.name == *name))
        }
    }
}

/// Returns what entries without a readable name point to.
pub(super) fn unnamed(dir: &Path) -> Result<Vec<Descriptor>, Error> {
    let mut targets = Text::load(dir)?.targets()?;
    targets.retain(|target| named(target.clone()).is_none());
    Ok(targets)
}

/// A change of `index.json` that is not written yet.
#[derive(Debug)]
pub(super) struct Change {
    path: PathBuf,
    text: Text,
    changed: bool,
    /// Names that do not point to what is expected, which stay as they are.
    pub(super) moved: Vec<Reference>,
    /// What changed names pointed to before.
    pub(super) dropped: Vec<Descriptor>,
}

impl Change {
    /// Begins to change the names. The caller has the lock.
    pub(super) fn begin(dir: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path(dir),
            text: Text::load(dir)?,
            changed: false,
            moved: Vec::new(),
            dropped: Vec::new(),
        })
    }

    /// Returns the names as they are now.
    pub(super) fn names(&self) -> &Text {
        &self.text
    }

    /// Gives names to documents, but for those that do not point to what is expected.
    pub(super) fn set(&mut self, mut names: &[(Named, Expect)]) -> Result<(), Error> {
        if names.len() <= FEW {
            while let [(named, expect), rest @ ..] = names
                && self.set_in_text(named, expect)
            {
                names = rest;
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let mut entries = self.text.entries()?;
        let mut places: BTreeMap<Reference, (usize, Descriptor)> = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate().rev() {
            let found = target(entry).and_then(named);
            places.extend(found.map(|found| (found.name, (at, found.target))));
        }
        for (named, expect) in names {
            let old = places.get(&named.name).cloned();
            if !self.check(named, expect, old.as_ref().map(|(_, target)| target)) {
                continue;
            }
            let at = old.map_or(entries.len(), |(at, _)| at);
            match entries.get_mut(at) {
                Some(old) => *old = entry(named),
                None => entries.push(entry(named)),
            }
            places.insert(named.name.clone(), (at, named.target.clone()));
        }
        self.text = Text::of(&entries);
        Ok(())
    }

    /// Returns `false` if the text does not show where the name is.
    fn set_in_text(&mut self, named: &Named, expect: &Expect) -> bool {
        let (line, old) = match self.text.place(&named.name) {
            Place::At(line, old) => (Some(line), Some(old.target)),
            Place::Absent => (None, None),
            Place::Unknown => return false,
        };
        if self.check(named, expect, old.as_ref()) {
            self.text.put(line, &to_vec(&entry(named)));
        }
        true
    }

    /// Returns whether a name may be changed, and notes the outcome.
    fn check(&mut self, named: &Named, expect: &Expect, old: Option<&Descriptor>) -> bool {
        let fits = match (expect, old) {
            (Expect::Anything, _) | (Expect::Nothing, None) => true,
            (Expect::This(digest), Some(old)) => old.digest == *digest,
            (Expect::Nothing, Some(_)) | (Expect::This(_), None) => false,
        };
        if fits {
            self.changed = true;
            let old = old.filter(|old| old.digest != named.target.digest);
            self.dropped.extend(old.cloned());
        } else {
            self.moved.push(named.name.clone());
        }
        fits
    }

    /// Removes names; those that do not exist change nothing.
    pub(super) fn remove(&mut self, mut names: &[Reference]) -> Result<(), Error> {
        if names.len() <= FEW {
            while let [name, rest @ ..] = names
                && self.remove_from_text(name)
            {
                names = rest;
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let mut gone: HashSet<&Reference> = names.iter().collect();
        let mut entries = self.text.entries()?;
        entries.retain(|entry| match target(entry).and_then(named) {
            // The first of several entries of a name is the one that counts.
            Some(found) if gone.remove(&found.name) => {
                self.dropped.push(found.target);
                false
            }
            _ => true,
        });
        if !self.dropped.is_empty() {
            self.changed = true;
            self.text = Text::of(&entries);
        }
        Ok(())
    }

    /// Returns `false` if the text does not show where the name is.
    fn remove_from_text(&mut self, name: &Reference) -> bool {
        match self.text.place(name) {
            Place::At(line, old) => {
                self.text.cut(line);
                self.dropped.push(old.target);
                self.changed = true;
            }
            Place::Absent => {}
            Place::Unknown => return false,
        }
        true
    }

    /// Writes the names, if one was changed; returns whether that is so.
    pub(super) fn save(&self) -> Result<bool, Error> {
        if self.changed {
            fs::replace_file(&self.path, &self.text.bytes)?;
        }
        Ok(self.changed)
    }
}

/// Where a name is in the text.
enum Place {
    /// In this line.
    At(Range<usize>, Box<Named>),
    /// Nowhere.
    Absent,
    /// Only parsing the whole text shows it.
    Unknown,
}

/// The text of `index.json`; empty if there is no file.
#[derive(Debug)]
pub(super) struct Text {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Text {
    pub(super) fn load(dir: &Path) -> Result<Self, Error> {
        let path = path(dir);
        match fs::read_file(&path, LARGEST) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self {
                path,
                ..Self::of(&[])
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes entries, each as a line where every name is spelled in full: else a name could not be
    /// found in the text.
    fn of(entries: &[Value]) -> Self {
        let lines: Vec<Vec<u8>> = entries.iter().map(to_vec).collect();
        let mut bytes = HEAD.as_bytes().to_vec();
        bytes.extend(lines.join(BETWEEN));
        bytes.extend_from_slice(TAIL.as_bytes());
        if !entries.iter().all(is_spelled_in_full) {
            bytes.retain(|byte| *byte != b'\n');
        }
        Self {
            path: PathBuf::new(),
            bytes,
        }
    }

    /// Returns where the entries are, if each is a line.
    fn body(&self) -> Option<Range<usize>> {
        let body = HEAD.len()..self.bytes.len().checked_sub(TAIL.len())?;
        let lines = self.bytes.starts_with(HEAD.as_bytes())
            && self.bytes.ends_with(TAIL.as_bytes())
            && body.start <= body.end;
        lines.then_some(body)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn place(&self, name: &Reference) -> Place {
        let Some(body) = self.body() else {
            return Place::Unknown;
        };
        let entries = self.bytes.get(body.clone()).unwrap_or_default();
        // Quotes cannot be in a text of JSON, so this is the key and all of its value.
        let pattern = format!("\"{}\":\"{name}\"", annotation::REF_NAME);
        let Some(at) = memmem::find(entries, pattern.as_bytes()) else {
            return Place::Absent;
        };
        let (before, behind) = entries.split_at(at);
        let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let end = memmem::find(behind, BETWEEN).map_or(entries.len(), |length| at + length);
        let found = entries
            .get(start..end)
            .and_then(|line| serde_json::from_slice(line).ok())
            .and_then(named)
            .filter(|named| named.name == *name);
        match found {
            Some(named) => Place::At(body.start + start..body.start + end, Box::new(named)),
            None => Place::Unknown,
        }
    }

    /// Puts an entry into the place of a line, or behind the last.
    fn put(&mut self, line: Option<Range<usize>>, entry: &[u8]) {
        let Some(body) = self.body() else { return };
        if let Some(line) = line {
            self.bytes.splice(line, entry.iter().copied());
            return;
        }
        let between = if body.is_empty() { &[][..] } else { BETWEEN };
        let added: Vec<u8> = [between, entry].concat();
        self.bytes.splice(body.end..body.end, added);
    }

    /// Removes a line.
    fn cut(&mut self, line: Range<usize>) {
        let Some(body) = self.body() else { return };
        let cut = if line.end < body.end {
            line.start..line.end + BETWEEN.len()
        } else if line.start > body.start {
            line.start - BETWEEN.len()..line.end
        } else {
            line
        };
        self.bytes.drain(cut);
    }

    /// Returns the digests that are mentioned, by their hexadecimal digits: those of all entries, and
    /// perhaps others.
    pub(super) fn mentioned(&self) -> Digits<'_> {
        memmem::find_iter(&self.bytes, PREFIX)
            .filter_map(|at| self.bytes.get(at + PREFIX.len()..at + PREFIX.len() + 64))
            .collect()
    }

    /// Returns whether a digest is mentioned, by its hexadecimal digits.
    pub(super) fn mentions(&self, digits: &[u8]) -> bool {
        memmem::find(&self.bytes, &[PREFIX, digits].concat()).is_some()
    }

    /// Returns what the entries point to, as far as they point to something.
    pub(super) fn targets(&self) -> Result<Vec<Descriptor>, Error> {
        let Some(body) = self.body() else {
            return Ok(self.entries()?.iter().filter_map(target).collect());
        };
        let entries = self.bytes.get(body).unwrap_or_default();
        let lines = entries.split(|byte| *byte == b'\n');
        Ok(lines
            .map(|line| line.strip_suffix(b",").unwrap_or(line))
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    fn entries(&self) -> Result<Vec<Value>, Error> {
        let mut document: Map<String, Value> =
            serde_json::from_slice(&self.bytes).map_err(|source| Error::Names {
                path: self.path.display().to_string(),
                source,
            })?;
        match document.remove("manifests") {
            Some(Value::Array(entries)) => Ok(entries),
            _ => Ok(Vec::new()),
        }
    }
}

/// Returns the entry of a name.
fn entry(named: &Named) -> Value {
    let target = &named.target;
    json!({
        "mediaType": target.media_type,
        "digest": target.digest,
        "size": target.size,
        "annotations": {
            annotation::IMAGE_NAME: named.name,
            annotation::REF_NAME: named.name,
            SINCE: named.since.unwrap_or_else(now).to_string(),
        },
    })
}

fn now() -> Timestamp {
    Timestamp::try_from(std::time::UNIX_EPOCH + kraft_sys::clock::now()).unwrap_or_default()
}

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("index.json")
}

fn target(entry: &Value) -> Option<Descriptor> {
    serde_json::from_value(entry.clone()).ok()
}

/// Returns the name of an entry, if it has one that can be read.
pub(super) fn named(target: Descriptor) -> Option<Named> {
    let name: Reference = target.annotations.get(annotation::REF_NAME)?.parse().ok()?;
    let since = target.annotations.get(SINCE);
    Some(Named {
        name: name.qualified(),
        since: since.and_then(|text| text.parse().ok()),
        target: Descriptor::new(&target.media_type, target.digest, target.size),
    })
}

/// Returns whether an entry has no readable name, or has it in full.
fn is_spelled_in_full(entry: &Value) -> bool {
    let spelled = entry
        .get("annotations")
        .and_then(|annotations| annotations.get(annotation::REF_NAME))
        .and_then(Value::as_str);
    target(entry)
        .and_then(named)
        .is_none_or(|named| spelled == Some(named.name.to_string().as_str()))
}
