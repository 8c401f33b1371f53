//! The names: `index.json`.
//!
//! An entry carries the full name where other tools look for it. Entries of other tools are kept as
//! they are.
//!
//! The file may have many thousands of entries, and a command changes one. Where kraft wrote it,
//! each entry is a line, so that one is found and replaced without parsing the others: in a large
//! file where [`positions`](super::positions) has it, else by a search of the text. Any other text is
//! parsed as a whole, and written as lines the next time.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kraft_core::reference::Reference;
use kraft_sys::amend::Version;
use kraft_sys::fs::{self, NewFile};
use memchr::memmem;
use serde_json::{Map, Value, json};

use super::super::{Error, Expect, Named};
use super::digits::Digits;
use super::positions::{Amendment, Entry, Positions};
use crate::image::{Descriptor, annotation};
use crate::json::to_vec;

/// When the name was given, RFC 3339.
const SINCE: &str = "sh.kraftkit.since";
/// Maximum size of the file in bytes: some 100 000 names.
const LARGEST: u64 = 64 << 20;
/// The text before the entries, where each is a line.
pub(super) const HEAD: &str = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[\n";
/// The text before the digits of a digest.
pub(super) const PREFIX: &[u8] = b"sha256:";
/// The text between entries.
pub(super) const BETWEEN: &[u8] = b",\n";
/// The text after the entries.
pub(super) const TAIL: &str = "\n]}\n";
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
    if let Some(positions) = Positions::open(dir)
        && let Ok(found) = positions.find(name)
    {
        return Ok(found.map(|entry| entry.named));
    }
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
    dir: PathBuf,
    /// Where the one name is that changes, and what changes, in a file of which only that is written.
    positions: Option<Positions>,
    amendment: Option<Amendment>,
    /// The file that is written as a whole, once it is needed.
    text: Option<Text>,
    changed: bool,
    /// Names that do not point to what is expected, which stay as they are.
    pub(super) moved: Vec<Reference>,
    /// What changed names pointed to before.
    pub(super) dropped: Vec<Descriptor>,
}

impl Change {
    /// Begins to change a number of names. The caller has the lock.
    pub(super) fn begin(dir: &Path, number: usize) -> Result<Self, Error> {
        let positions = Positions::open(dir).filter(|found| number == 1 && found.has_room());
        let text = match positions {
            Some(_) => None,
            None => Some(Text::load(dir)?),
        };
        Ok(Self {
            dir: dir.to_owned(),
            positions,
            amendment: None,
            text,
            changed: false,
            moved: Vec::new(),
            dropped: Vec::new(),
        })
    }

    /// Returns the version of the file before the change; `None` if there is no file.
    pub(super) fn version(&self) -> Option<Version> {
        match &self.positions {
            Some(positions) => Some(positions.version()),
            None => self.text.as_ref()?.version,
        }
    }

    fn text(&mut self) -> Result<&mut Text, Error> {
        let text = match self.text.take() {
            Some(text) => text,
            None => Text::load(&self.dir)?,
        };
        Ok(self.text.insert(text))
    }

    /// Gives names to documents, but for those that do not point to what is expected.
    pub(super) fn set(&mut self, mut names: &[(Named, Expect)]) -> Result<(), Error> {
        if let [(named, expect)] = names
            && self.set_in_place(named, expect)
        {
            return Ok(());
        }
        if names.len() <= FEW {
            while let [(named, expect), rest @ ..] = names
                && self.set_in_text(named, expect)?
            {
                names = rest;
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let mut entries = self.text()?.entries()?;
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
        self.text = Some(Text::of(&entries));
        Ok(())
    }

    /// Returns `false` if it is not known where the name is.
    fn set_in_place(&mut self, named: &Named, expect: &Expect) -> bool {
        let Some((old, positions)) = self.find(&named.name) else {
            return false;
        };
        let amendment = positions.put(old.as_ref(), to_vec(&entry(named)));
        if self.check(named, expect, old.as_ref().map(|old| &old.named.target)) {
            self.amendment = Some(amendment);
        }
        true
    }

    /// Returns the entry of a name; `None` if it is not known where that is.
    fn find(&self, name: &Reference) -> Option<(Option<Entry>, &Positions)> {
        let positions = self.positions.as_ref()?;
        Some((positions.find(name).ok()?, positions))
    }

    /// Returns `false` if the text does not show where the name is.
    fn set_in_text(&mut self, named: &Named, expect: &Expect) -> Result<bool, Error> {
        let (line, old) = match self.text()?.place(&named.name) {
            Place::At(line, old) => (Some(line), Some(old.target)),
            Place::Absent => (None, None),
            Place::Unknown => return Ok(false),
        };
        if self.check(named, expect, old.as_ref()) {
            self.text()?.put(line, &to_vec(&entry(named)));
        }
        Ok(true)
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
        if let [name] = names
            && self.remove_in_place(name)
        {
            return Ok(());
        }
        if names.len() <= FEW {
            while let [name, rest @ ..] = names
                && self.remove_from_text(name)?
            {
                names = rest;
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let mut gone: HashSet<&Reference> = names.iter().collect();
        let mut entries = self.text()?.entries()?;
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
            self.text = Some(Text::of(&entries));
        }
        Ok(())
    }

    /// Returns `false` if it is not known where the name is.
    fn remove_in_place(&mut self, name: &Reference) -> bool {
        let Some((old, positions)) = self.find(name) else {
            return false;
        };
        let Some(old) = old else { return true };
        let Ok(amendment) = positions.cut(&old) else {
            return false;
        };
        self.amendment = Some(amendment);
        self.dropped.push(old.named.target);
        self.changed = true;
        true
    }

    /// Returns `false` if the text does not show where the name is.
    fn remove_from_text(&mut self, name: &Reference) -> Result<bool, Error> {
        let text = self.text()?;
        match text.place(name) {
            Place::At(line, old) => {
                text.cut(line);
                self.dropped.push(old.target);
                self.changed = true;
            }
            Place::Absent => {}
            Place::Unknown => return Ok(false),
        }
        Ok(true)
    }

    /// Returns whether a name was changed.
    pub(super) fn is_change(&self) -> bool {
        self.changed
    }

    /// Writes the changed names; returns the version that was written, if it differs from every other
    /// one.
    pub(super) fn save(&mut self) -> Result<Option<Version>, Error> {
        if let (Some(positions), Some(amendment)) = (&self.positions, &self.amendment) {
            return positions.save(amendment);
        }
        let dir = self.dir.clone();
        self.text()?.save(&dir)
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
    /// The version that was read.
    version: Option<Version>,
}

impl Text {
    pub(super) fn load(dir: &Path) -> Result<Self, Error> {
        let path = path(dir);
        let file = match fs::open_file(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    path,
                    ..Self::of(&[])
                });
            }
            Err(error) => return Err(error.into()),
        };
        let read =
            || -> io::Result<_> { Ok((Version::of(&file)?, fs::read_open(&file, LARGEST)?)) };
        let (version, bytes) = read().map_err(fs::Error::on("read", &path))?;
        Ok(Self {
            path,
            bytes,
            version: Some(version),
        })
    }

    /// Loads the file and marks its version, whichever program wrote it: a later one has another.
    /// Without a version if that is not possible.
    pub(super) fn load_marked(dir: &Path) -> Result<Self, Error> {
        let marked = fs::open_file(&path(dir)).map(|file| Version::mark(&file));
        let marked = marked.ok().and_then(Result::ok).flatten();
        let mut text = Self::load(dir)?;
        text.version = text.version.filter(|version| marked == Some(*version));
        Ok(text)
    }

    /// Returns the version that was read.
    pub(super) fn version(&self) -> Option<Version> {
        self.version
    }

    /// Writes the file as a whole; returns its version if that could be marked.
    fn save(&mut self, dir: &Path) -> Result<Option<Version>, Error> {
        self.tidy();
        let path = path(dir);
        let mut file = NewFile::create(&path)?;
        let version = file
            .write_all(&self.bytes)
            .and_then(|()| Version::mark(file.file()))
            .map_err(fs::Error::on("write", &path))?;
        file.commit()?;
        if let Some(version) = version {
            Positions::create(dir, self, version);
        }
        Ok(version)
    }

    /// Removes the blanks that are left where entries were removed in place.
    fn tidy(&mut self) {
        let Some(lines) = self.lines() else { return };
        let lines: Vec<&[u8]> = lines.map(|(_, line)| line).collect();
        let length: usize = lines.iter().map(|line| line.len() + BETWEEN.len()).sum();
        let all = HEAD.len() + length + TAIL.len();
        if lines.is_empty() || self.bytes.len() + BETWEEN.len() == all {
            return;
        }
        let lines = lines.join(BETWEEN);
        self.bytes = [HEAD.as_bytes(), &lines, TAIL.as_bytes()].concat();
    }

    /// Returns the entries with their places, if each is a line.
    pub(super) fn lines(&self) -> Option<impl Iterator<Item = (u64, &[u8])>> {
        let body = self.body()?;
        let mut at = body.start as u64;
        let lines = self.bytes.get(body)?.split(|byte| *byte == b'\n');
        let lines = lines.map(move |line| {
            let place = at + (line.len() - line.trim_ascii_start().len()) as u64;
            at += line.len() as u64 + 1;
            let line = line.strip_suffix(b",").unwrap_or(line);
            (place, line.trim_ascii())
        });
        Some(lines.filter(|(_, line)| !line.is_empty()))
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
            version: None,
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
        let Some(lines) = self.lines() else {
            return Ok(self.entries()?.iter().filter_map(target).collect());
        };
        Ok(lines
            .filter_map(|(_, line)| serde_json::from_slice(line).ok())
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
