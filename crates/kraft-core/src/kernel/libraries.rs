//! What a kernel says of the libraries it was linked from: the section `.uk_libinfo`.
//!
//! Unikraft writes one header for each library and one for the core (lib/uklibid,
//! `uk/libid/info.h`, layout 1): length and layout, then records of type, length and data, all
//! little endian on the architectures there are.

use object::read::elf::ElfFile;
use object::{Endianness, Object, ObjectSection};
use serde::Serialize;

/// The layout of headers that is read.
const LAYOUT: u16 = 1;
/// A header: its length (4 bytes) and its layout (2).
const HEADER: usize = 6;
/// A record: its type (2 bytes) and its length (4), both with the data behind.
const RECORD: usize = 6;
/// A kernel has at most so many libraries.
const MOST: usize = 10_000;

/// What is known of a library, or of the core, which has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Its name; `None` for the core.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its licence, by SPDX.
    pub license: Option<String>,
    /// What `git describe` said of its sources.
    pub git: Option<String>,
    /// The version of Unikraft.
    pub unikraft: Option<String>,
    /// The name of that version.
    pub codename: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// The compiler.
    pub compiler: Option<String>,
    /// When it was compiled.
    pub compiled: Option<String>,
    /// Who compiled it.
    pub compiled_by: Option<String>,
    /// For whom that was.
    pub compiled_by_assoc: Option<String>,
    /// How it was compiled: `pie`, `dce`, `lto`.
    pub flags: Vec<String>,
    /// The configuration of the kernel as text, if it carries it uncompressed.
    #[serde(skip)]
    pub config: Option<String>,
}

/// A file that says nothing of libraries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silent {
    /// It is no ELF file.
    #[error("it is no ELF file, and only those tell their libraries")]
    NotElf,
    /// It has no such section.
    #[error("it says nothing of its libraries: it has no section `.uk_libinfo`")]
    NoSection,
    /// The section is damaged.
    #[error("what it says of its libraries is damaged, {0} bytes into the section")]
    Damaged(usize),
}

/// Reads what a kernel says, from the bytes of its file: the core first, the libraries in the
/// order of the file.
pub fn read(file: &[u8]) -> Result<Vec<Library>, Silent> {
    let section = section(file)?;
    let mut libraries = Vec::new();
    let mut at = 0;
    while at < section.len() && libraries.len() < MOST {
        let damaged = || Silent::Damaged(at);
        let length = number::<4>(section, at).ok_or_else(damaged)?;
        let length = usize::try_from(length).map_err(|_| damaged())?;
        let layout = number::<2>(section, at + 4).ok_or_else(damaged)?;
        let body = section
            .get(at..)
            .and_then(|rest| rest.get(HEADER..length))
            .ok_or_else(damaged)?;
        // Another layout may mean anything: what it holds is passed over.
        if layout == u32::from(LAYOUT) {
            libraries.push(library(body).ok_or_else(damaged)?);
        }
        at += length;
    }
    libraries.sort_by_key(|library| library.name.is_some());
    Ok(libraries)
}

fn section(file: &[u8]) -> Result<&[u8], Silent> {
    if let Ok(elf) = ElfFile::<object::elf::FileHeader64<Endianness>>::parse(file) {
        let section = elf
            .section_by_name(".uk_libinfo")
            .ok_or(Silent::NoSection)?;
        return section.data().map_err(|_| Silent::Damaged(0));
    }
    let elf = ElfFile::<object::elf::FileHeader32<Endianness>>::parse(file)
        .map_err(|_| Silent::NotElf)?;
    let section = elf
        .section_by_name(".uk_libinfo")
        .ok_or(Silent::NoSection)?;
    section.data().map_err(|_| Silent::Damaged(0))
}

fn library(mut body: &[u8]) -> Option<Library> {
    let mut library = Library::default();
    while !body.is_empty() {
        let kind = number::<2>(body, 0)?;
        let length = usize::try_from(number::<4>(body, 2)?).ok()?;
        let data = body.get(RECORD..length)?;
        let text = || {
            let end = data
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(data.len());
            Some(String::from_utf8_lossy(data.get(..end)?).into_owned())
        };
        // The numbers are those of `UKLI_REC_…`.
        match kind {
            1 => library.name = text(),
            2 => library.comment = text(),
            3 => library.version = text(),
            4 => library.license = text(),
            5 => library.git = text(),
            6 | 7 => library.unikraft = text(),
            8 => library.codename = text(),
            9 => library.config = text(),
            11 => library.compiler = text(),
            12 => library.compiled = text(),
            13 => library.compiled_by = text(),
            14 => library.compiled_by_assoc = text(),
            15 => library.flags = flags(number::<4>(data, 0).unwrap_or(0)),
            _ => {}
        }
        body = body.get(length..)?;
    }
    Some(library)
}

fn flags(bits: u32) -> Vec<String> {
    [(1, "pie"), (2, "dce"), (4, "lto")]
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// Reads a little-endian number of at most four bytes.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u32::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(u32::try_from(6 + data.len()).unwrap().to_le_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn records_of_a_library_are_read_and_unknown_ones_passed_over() {
        let body = [
            record(1, b"libx\0"),
            record(99, b"??"),
            record(4, b"MIT\0"),
            record(15, &5u32.to_le_bytes()),
        ]
        .concat();
        let library = library(&body).unwrap();
        assert_eq!(library.name.as_deref(), Some("libx"));
        assert_eq!(library.license.as_deref(), Some("MIT"));
        assert_eq!(library.flags, ["pie", "lto"]);
    }

    #[test]
    fn damaged_records_are_seen() {
        for body in [&[1, 0][..], &[1, 0, 255, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0]] {
            assert!(library(body).is_none(), "{body:?}");
        }
        assert_eq!(read(b"no ELF"), Err(Silent::NotElf));
    }
}
