//! The cache of a listing: one file beside the names.
//!
//! ```text
//! kraft-rows-2 STATE CRC OS ARCH OS ARCH … CRC    the platforms of all rows
//! OS ARCH NAME TARGET SINCE MANIFEST SIZE VERSION FEATURES VARIANT     one line per row
//! ```
//!
//! Fields are separated by tabs; the first two are `-` for an image without rows. The first `CRC` is
//! that of all lines behind the first, the last one that of the first line before it; `STATE` that of
//! the names and blobs that they were made from ([`ListingCache`]). In the same state, all lines hold,
//! and where the first shows that no row is wanted, no other is read. In another state, those of a
//! target hold if its blobs exist, or are absent, as before: documents never change. Lines that do not
//! hold are made again from the blobs.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Read;

use jiff::Timestamp;
use kraft_core::reference::Reference;
use kraft_sys::fs;
use memchr::memchr;

use super::{Image, Row, Wanted};
use crate::image::Platform;
use crate::store::{Blobs, Error, ListingCache, Named};

/// The first field of the file.
const MARK: &str = "kraft-rows-2";
/// The state of rows of which some do not hold in the same state, and an absent field.
const NONE: &str = "-";
/// Between the entries of a list.
const BETWEEN: char = '\u{1f}';
/// Size of a first line in bytes that is read alone: that of some hundred platforms.
const FIRST: u64 = 4096;
/// Maximum size of the file in bytes: some 200 000 rows.
const LARGEST: u64 = 64 << 20;

/// Returns whether the file shows, without being read as a whole, that no row is wanted.
pub(super) fn has_none(place: &ListingCache, wanted: &Wanted<'_>) -> bool {
    let Some(state) = &place.state else {
        return false;
    };
    let read = || {
        let mut bytes = Vec::new();
        let file = fs::open_file(&place.path).ok()?;
        file.take(FIRST).read_to_end(&mut bytes).ok()?;
        let first = bytes.get(..memchr(b'\n', &bytes)?)?;
        let head = Head::parse(std::str::from_utf8(first).ok()?)?;
        let mut platforms = head.platforms.chunks(2);
        let none = platforms.all(|pair| matches!(pair, [os, arch] if !wanted(os, arch)));
        Some(none && head.state == state)
    };
    read().unwrap_or(false)
}

/// The first line.
#[derive(Debug)]
struct Head<'a> {
    state: &'a str,
    lines: &'a str,
    platforms: Vec<&'a str>,
}

impl<'a> Head<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (text, crc) = line.rsplit_once('\t')?;
        let mut fields = text.split('\t');
        let is_whole = fields.next()? == MARK && crc == checksum(text);
        let head = Self {
            state: fields.next()?,
            lines: fields.next()?,
            platforms: fields.collect(),
        };
        is_whole.then_some(head)
    }
}

/// Returns the first line of a file.
fn head(state: &str, lines: &str, platforms: &BTreeSet<(&str, &str)>) -> String {
    let mut text = format!("{MARK}\t{state}\t{}", checksum(lines));
    for (os, arch) in platforms {
        let _ = write!(text, "\t{os}\t{arch}");
    }
    let crc = checksum(&text);
    format!("{text}\t{crc}\n")
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// The file; empty if it is missing or broken.
#[derive(Debug)]
pub(super) struct Cache<'a> {
    place: &'a ListingCache,
    state: String,
    text: String,
    /// Where the lines begin.
    start: usize,
}

impl<'a> Cache<'a> {
    pub(super) fn load(place: &'a ListingCache) -> Self {
        let text = fs::read_file(&place.path, LARGEST).unwrap_or_default();
        let text = String::from_utf8(text).unwrap_or_default();
        let (state, text, start) = match whole(&text) {
            Some((state, start)) => (state.to_owned(), text, start),
            None => (String::new(), String::new(), 0),
        };
        Self {
            place,
            state,
            text,
            start,
        }
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.text.get(self.start..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (line, behind) = rest.split_at_checked(memchr(b'\n', rest.as_bytes())?)?;
            rest = behind.get(1..)?;
            Some(line)
        })
    }

    /// Returns the rows of wanted platforms, if nothing has changed.
    pub(super) fn rows(&self, wanted: &Wanted<'_>) -> Option<Vec<Row>> {
        if self.place.state.as_ref() != Some(&self.state) {
            return None;
        }
        let mut rows = Vec::new();
        for line in self.lines() {
            let mut fields = line.splitn(3, '\t');
            let (os, arch) = (fields.next()?, fields.next()?);
            if wanted(os, arch) {
                rows.extend(Line::parse(line)?.row()?);
            }
        }
        Some(rows)
    }

    /// Returns the rows by their targets.
    pub(super) fn known(&self) -> Known<'_> {
        let mut known: HashMap<&str, Vec<Line<'_>>> = HashMap::new();
        let mut of = "";
        for line in self.lines().filter_map(Line::parse) {
            // Another name of a target has the same rows.
            if known.contains_key(line.target) && of != line.name {
                continue;
            }
            of = line.name;
            known.entry(line.target).or_default().push(line);
        }
        Known(known)
    }

    /// Writes other rows, if they differ. A cache that cannot be written costs time only.
    pub(super) fn replace<'i>(
        &self,
        images: impl Iterator<Item = (&'i Named, &'i Result<Image, Error>)>,
    ) {
        let mut lines = String::with_capacity(self.text.len());
        let mut all = true;
        let mut platforms = BTreeSet::new();
        for (named, image) in images {
            let written = match image {
                Ok(image) if image.plain => {
                    let of_rows = image.rows.iter().map(|row| &row.platform);
                    platforms.extend(of_rows.map(|of| (of.os.as_str(), of.architecture.as_str())));
                    write(&mut lines, named, &image.rows)
                }
                _ => false,
            };
            all &= written;
        }
        let state = self.place.state.as_deref().filter(|_| all).unwrap_or(NONE);
        let same = self.text.get(self.start..) == Some(lines.as_str());
        if same && (state == self.state || state == NONE) {
            return;
        }
        let mut text = head(state, &lines, &platforms);
        text.push_str(&lines);
        let _ = fs::replace_file(&self.place.path, text.as_bytes());
    }
}

/// Returns the state of a file that is whole, and where its lines begin.
fn whole(text: &str) -> Option<(&str, usize)> {
    let (first, lines) = text.split_once('\n')?;
    let head = Head::parse(first)?;
    (head.lines == checksum(lines)).then_some((head.state, first.len() + 1))
}

/// Adds the lines of an image; nothing, and `false`, if they cannot be written as lines.
fn write(lines: &mut String, named: &Named, rows: &[Row]) -> bool {
    let start = lines.len();
    let since = named.since.map(|since| since.to_string());
    let since = since.as_deref().unwrap_or(NONE);
    let target = &named.target.digest;
    if rows.is_empty() {
        let _ = writeln!(lines, "{NONE}\t{NONE}\t{}\t{target}\t{since}", named.name);
    }
    for row in rows {
        let size = row
            .size
            .map_or(Cow::Borrowed(NONE), |size| size.to_string().into());
        let platform = &row.platform;
        let features = platform.os_features.join(&BETWEEN.to_string());
        let texts = [
            &platform.architecture,
            &platform.os,
            &platform.os_version,
            &features,
            &platform.variant,
        ];
        let clear = |text: &&String| text.contains(['\t', '\n', '\r']);
        let split = |feature: &String| feature.is_empty() || feature.contains(BETWEEN);
        if texts.iter().any(clear) || platform.os_features.iter().any(split) {
            lines.truncate(start);
            return false;
        }
        let [arch, os, version, features, variant] = texts;
        let _ = writeln!(
            lines,
            "{os}\t{arch}\t{}\t{target}\t{since}\t{}\t{size}\t{version}\t{features}\t{variant}",
            named.name, row.manifest
        );
    }
    true
}

/// A line, of an image or of one of its rows.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    name: &'a str,
    target: &'a str,
    since: &'a str,
    /// The other fields; `None` for an image without rows.
    row: Option<[&'a str; 7]>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split('\t');
        let (os, arch) = (fields.next()?, fields.next()?);
        let (name, target, since) = (fields.next()?, fields.next()?, fields.next()?);
        let mut row = None;
        if let Some(manifest) = fields.next() {
            let mut next = || fields.next();
            row = Some([os, arch, manifest, next()?, next()?, next()?, next()?]);
        }
        Some(Self {
            name,
            target,
            since,
            row,
        })
    }

    /// Returns the row; the inner `None` for an image without rows.
    #[expect(clippy::option_option, reason = "broken, or without rows")]
    fn row(self) -> Option<Option<Row>> {
        let Some(fields) = self.row else {
            return Some(None);
        };
        let since = match self.since {
            NONE => None,
            since => Some(since.parse().ok()?),
        };
        self.row_of(fields, self.name.parse().ok()?, since)
            .map(Some)
    }

    fn row_of(self, fields: [&str; 7], name: Reference, since: Option<Timestamp>) -> Option<Row> {
        let [os, arch, manifest, size, version, features, variant] = fields;
        let size = match size {
            NONE => None,
            size => Some(size.parse().ok()?),
        };
        let features = features
            .split(BETWEEN)
            .filter(|feature| !feature.is_empty());
        Some(Row {
            name,
            index: self.target.parse().ok()?,
            manifest: manifest.parse().ok()?,
            platform: Platform {
                architecture: arch.to_owned(),
                os: os.to_owned(),
                os_version: version.to_owned(),
                os_features: features.map(str::to_owned).collect(),
                variant: variant.to_owned(),
            },
            size,
            pulled: since.filter(|_| size.is_some()),
            here: size.is_some(),
        })
    }
}

/// The lines of each target.
#[derive(Debug, Default)]
pub(super) struct Known<'a>(HashMap<&'a str, Vec<Line<'a>>>);

impl Known<'_> {
    /// Returns the rows of an image; `None` if they are not known, or not as they were.
    pub(super) fn rows(&self, blobs: &dyn Blobs, named: &Named) -> Result<Option<Vec<Row>>, Error> {
        let Some(lines) = self.0.get(named.target.digest.as_str()) else {
            return Ok(None);
        };
        if blobs.size(&named.target.digest)?.is_none() {
            return Ok(None);
        }
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            let Some(fields) = line.row else { continue };
            let Some(row) = line.row_of(fields, named.name.clone(), named.since) else {
                return Ok(None);
            };
            if blobs.size(&row.manifest)?.is_some() != row.here {
                return Ok(None);
            }
            rows.push(row);
        }
        Ok(Some(rows))
    }
}
