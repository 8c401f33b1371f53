//! Parses the library records of a kernel: its section `.uk_libinfo`.
//!
//! Unikraft's `lib/uklibid` writes them (`include/uk/libid/info.h`, layout 1). The section is a
//! sequence of blocks, one per library and one without a library name for the kernel as a whole:
//!
//! ```text
//! block:   u32 length, header included │ u16 layout │ records …
//! record:  u16 type │ u32 length, these six bytes included │ data: a text that ends with a zero, or bytes
//! ```
//!
//! Each record is followed by `.align 1`, which the x86 assembler ignores, while the arm64
//! assembler aligns to an even address. The padding byte is zero, which is not the first byte of
//! any type, and is included in the length of the block but not of the record.

use serde::Serialize;

/// The section that holds the records.
pub const SECTION: &str = ".uk_libinfo";

/// The only supported block layout.
const LAYOUT: u64 = 1;

/// Size of a block header, and of a record header.
const HEADER: usize = 6;

/// Maximum number of libraries.
const MOST_BLOCKS: usize = 65_536;

/// Records about a library, or about the kernel as a whole; `None` if not recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Name of the library in the build: `libukboot`.
    pub name: Option<String>,
    /// A comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Version of the library, or of the core it was built with.
    pub version: Option<String>,
    /// The licence.
    pub license: Option<String>,
    /// Output of Git about the sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// Code name of the Unikraft release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
    /// The compiler and its version.
    pub compiler: Option<String>,
    /// Compile date, as written by the build.
    pub compile_date: Option<String>,
    /// User who compiled it.
    pub compiled_by: Option<String>,
    /// Organisation that compiled it.
    pub compiled_by_assoc: Option<String>,
    /// Compile options.
    pub compile_flags: Vec<&'static str>,
}

/// The embedded configuration of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Embedded<'f> {
    /// Plain text.
    Plain(&'f [u8]),
    /// Gzip-compressed text.
    Gzip(&'f [u8]),
}

/// All library records of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibInfo<'f> {
    /// Records of the kernel as a whole.
    pub core: Option<Info>,
    /// Records of each library, in the order of the section.
    pub libraries: Vec<Info>,
    /// The embedded configuration.
    pub config: Option<Embedded<'f>>,
}

/// Why library records cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LibInfoError {
    /// A length exceeds the section or is too small.
    #[error("its library records are damaged at byte {0}")]
    Damaged(usize),
    /// An unsupported layout.
    #[error("its library records have the unsupported layout {0}")]
    Layout(u64),
}

/// Parses the section.
///
/// Unknown record types are skipped: new types may be added.
///
/// # Errors
/// A length exceeds the section, or the layout is not supported.
pub fn parse(section: &[u8]) -> Result<LibInfo<'_>, LibInfoError> {
    let mut found = LibInfo::default();
    let mut at = 0;
    for _ in 0..MOST_BLOCKS {
        let rest = section.get(at..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        let block = length(rest, 0, 4)
            .and_then(|length| rest.get(..length))
            .filter(|block| block.len() >= HEADER)
            .ok_or(LibInfoError::Damaged(at))?;
        let layout = super::elf::number(block, 4, 2).ok_or(LibInfoError::Damaged(at))?;
        if layout != LAYOUT {
            return Err(LibInfoError::Layout(layout));
        }
        let info = records(block, at, &mut found.config)?;
        if info.name.is_some() {
            found.libraries.push(info);
        } else {
            found.core = Some(info);
        }
        at += block.len();
    }
    Ok(found)
}

/// Parses the records of a block, which begins at byte `start` of the section.
fn records<'f>(
    block: &'f [u8],
    start: usize,
    config: &mut Option<Embedded<'f>>,
) -> Result<Info, LibInfoError> {
    let mut info = Info::default();
    let mut core_version = None;
    let mut at = HEADER;
    while at < block.len() {
        let damaged = LibInfoError::Damaged(start + at);
        let rest = block.get(at..).unwrap_or_default();
        if at > HEADER && rest.first() == Some(&0) {
            at += 1;
            continue;
        }
        let record = length(rest, 2, 4)
            .and_then(|length| rest.get(..length))
            .ok_or(damaged)?;
        let data = record.get(HEADER..).ok_or(damaged)?;
        let kind = super::elf::number(record, 0, 2).ok_or(damaged)?;
        match kind {
            0x1 => info.name = text(data),
            0x2 => info.comment = text(data),
            0x3 => info.version = text(data),
            0x4 => info.license = text(data),
            0x5 => info.git = text(data),
            0x6 | 0x7 => core_version = text(data),
            0x8 => info.codename = text(data),
            0x9 => *config = Some(Embedded::Plain(data)),
            0xa => *config = Some(Embedded::Gzip(data)),
            0xb => info.compiler = text(data),
            0xc => info.compile_date = text(data),
            0xd => info.compiled_by = text(data),
            0xe => info.compiled_by_assoc = text(data),
            0xf => info.compile_flags = flags(super::elf::number(data, 0, 4).ok_or(damaged)?),
            _ => {}
        }
        at += record.len();
    }
    info.version = info.version.or(core_version);
    Ok(info)
}

fn length(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    usize::try_from(super::elf::number(bytes, at, size)?).ok()
}

/// Returns the text of a record; `None` if it is empty. Quotes left by the preprocessor are
/// removed.
fn text(data: &[u8]) -> Option<String> {
    let bytes = data.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the names of compile options by their bits.
fn flags(bits: u64) -> Vec<&'static str> {
    let names = ["PIE", "DCE", "LTO"];
    let set = names.into_iter().enumerate();
    set.filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(u32::try_from(data.len() + HEADER).unwrap().to_le_bytes());
        bytes.extend(data);
        bytes
    }

    fn block(records: &[Vec<u8>]) -> Vec<u8> {
        let records = records.concat();
        let mut bytes = u32::try_from(records.len() + HEADER)
            .unwrap()
            .to_le_bytes()
            .to_vec();
        bytes.extend(1_u16.to_le_bytes());
        bytes.extend(records);
        bytes
    }

    #[test]
    fn blocks_with_a_name_are_libraries_and_the_other_is_the_core() {
        let mut section = block(&[
            record(7, b"0.17.0~eaf6fda1\0"),
            record(10, b"\x1f\x8b"),
            record(0xc, b"yesterday\0"),
        ]);
        section.extend(block(&[
            record(1, b"libukboot\0"),
            record(6, b"0.17.0\0"),
            record(0x77, b"from the future"),
            record(15, &3_u32.to_le_bytes()),
        ]));
        let found = parse(&section).unwrap();
        let core = found.core.unwrap();
        assert_eq!(core.version.as_deref(), Some("0.17.0~eaf6fda1"));
        assert_eq!(core.compile_date.as_deref(), Some("yesterday"));
        assert_eq!(found.config, Some(Embedded::Gzip(b"\x1f\x8b")));
        let [library] = found.libraries.as_slice() else {
            panic!("{:?}", found.libraries);
        };
        assert_eq!(library.name.as_deref(), Some("libukboot"));
        assert_eq!(library.version.as_deref(), Some("0.17.0"));
        assert_eq!(library.compile_flags, ["PIE", "DCE"]);
    }

    #[test]
    fn a_librarys_own_version_comes_before_that_of_the_core() {
        let section = block(&[
            record(3, b"1.2\0"),
            record(1, b"libx\0"),
            record(6, b"0.17.0\0"),
        ]);
        let found = parse(&section).unwrap();
        assert_eq!(found.libraries[0].version.as_deref(), Some("1.2"));
    }

    #[test]
    fn on_arm64_records_begin_at_even_places() {
        let padded = |kind, data: &[u8]| {
            let mut bytes = record(kind, data);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            bytes
        };
        let mut section = block(&[padded(1, b"lib\0"), padded(3, b"12\0"), padded(4, b"MIT\0")]);
        section.extend(block(&[padded(1, b"liba\0"), padded(3, b"1\0")]));
        let found = parse(&section).unwrap();
        let [one, two] = found.libraries.as_slice() else {
            panic!("{:?}", found.libraries);
        };
        assert_eq!(one.license.as_deref(), Some("MIT"));
        assert_eq!(two.version.as_deref(), Some("1"));
    }

    #[test]
    fn invalid_lengths_are_reported() {
        let good = block(&[record(1, b"libx\0")]);
        for (at, value) in [(0, 0), (0, 5), (0, 200), (8, 0), (8, 5), (8, 200)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(
                matches!(parse(&bad), Err(LibInfoError::Damaged(_))),
                "{at} {value}"
            );
        }
        let mut future = good;
        future[4] = 2;
        assert_eq!(parse(&future), Err(LibInfoError::Layout(2)));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = parse(&bytes);
        }
    }
}
