//! Names for addresses of programs, from the symbol tables of their files.
//!
//! Source: "System V Application Binary Interface", chapter 4.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::elf::{self, u16_at, u32_at, u64_at};
use crate::abi::errno::Result;
use crate::arch;
use crate::file::io::Output;
use crate::fs::Place;
use crate::mm::{Backing, Space};

/// Bytes of one section header, and of one symbol.
const SECTION: usize = 64;
const SYMBOL: usize = 24;
/// The most section headers, and symbols of a table, that are looked at.
const MOST_SECTIONS: usize = 1024;
const MOST_SYMBOLS: u64 = 1 << 20;
/// Symbols that are read at once.
const SYMBOLS_AT_ONCE: usize = 512;
/// Bytes of a name that are shown.
const LONGEST_NAME: usize = 128;

/// The kinds of sections that are symbol tables: the complete one, and that for the loader.
const TABLES: [u32; 2] = [2, 11];
/// The type of a symbol that is a function.
const FUNCTION: u8 = 2;

/// What is at an address of a program.
pub struct Location {
    /// The file that is mapped there.
    pub place: Option<Rc<Place>>,
    /// The function, and how many bytes after its beginning the address is.
    pub function: Option<(String, u64)>,
}

/// A symbol table of a file: where its symbols are and where their names.
struct Table {
    symbols: u64,
    count: u64,
    names: u64,
}

/// What is at an address; nothing if no file is mapped there.
pub fn find(space: &Space, address: usize) -> Option<Location> {
    let Backing::File {
        node,
        offset,
        place,
        ..
    } = space.backing_at(address)?
    else {
        return None;
    };
    let read = |offset: u64, bytes: &mut [u8]| node.read(offset, &mut Output::kernel(bytes));
    Some(Location {
        place,
        function: function_at(offset, read),
    })
}

/// The function that has a byte of an ELF file, and the distance from its beginning.
pub fn function_at(offset: u64, read: impl Fn(u64, &mut [u8]) -> Result) -> Option<(String, u64)> {
    let program = elf::parse(arch::ELF_MACHINE, &read).ok()?;
    let segment = program.segments.iter().find(|segment| {
        (segment.offset..segment.offset.saturating_add(segment.length)).contains(&offset)
    })?;
    let address = segment.address as u64 + (offset - segment.offset);
    let tables = tables(&read)?;
    tables.iter().find_map(|table| {
        let (name, start) = nearest(table, address, &read)?;
        Some((
            name_at(table.names.checked_add(name)?, &read)?,
            address - start,
        ))
    })
}

/// The symbol tables of a file, the complete one first.
fn tables(read: impl Fn(u64, &mut [u8]) -> Result) -> Option<Vec<Table>> {
    let mut header = [0; elf::FILE_HEADER];
    read(0, &mut header).ok()?;
    let count = usize::from(u16_at(&header, 60)?).min(MOST_SECTIONS);
    let mut sections = alloc::vec![0; count * SECTION];
    let got = read(u64_at(&header, 40)?, &mut sections).ok()?;
    sections.truncate(got);
    let section = |index: usize| sections.chunks_exact(SECTION).nth(index);
    let mut found = Vec::new();
    for kind in TABLES {
        for table in sections.chunks_exact(SECTION) {
            let names = section(u32_at(table, 40)? as usize);
            if u32_at(table, 4) == Some(kind)
                && let Some(names) = names
            {
                found.push(Table {
                    symbols: u64_at(table, 24)?,
                    count: (u64_at(table, 32)? / SYMBOL as u64).min(MOST_SYMBOLS),
                    names: u64_at(names, 24)?,
                });
            }
        }
    }
    Some(found)
}

/// The function of a table that has an address: where its name is, and where it begins.
fn nearest(
    table: &Table,
    address: u64,
    read: impl Fn(u64, &mut [u8]) -> Result,
) -> Option<(u64, u64)> {
    let mut bytes = alloc::vec![0; SYMBOLS_AT_ONCE * SYMBOL];
    let mut best = None;
    let mut at = table.symbols;
    let mut left = table.count;
    while left > 0 {
        let wanted = bytes.len().min(left as usize * SYMBOL);
        let got = read(at, bytes.get_mut(..wanted)?).ok()? / SYMBOL;
        if got == 0 {
            break;
        }
        for symbol in bytes.chunks_exact(SYMBOL).take(got) {
            let (start, size) = (u64_at(symbol, 8)?, u64_at(symbol, 16)?);
            let is_function = symbol.get(4)? & 15 == FUNCTION && u16_at(symbol, 6)? != 0;
            let covers = start <= address && (size == 0 || address - start < size);
            if is_function && covers && best.is_none_or(|(_, other)| other <= start) {
                best = Some((u64::from(u32_at(symbol, 0)?), start));
            }
        }
        at = at.checked_add((got * SYMBOL) as u64)?;
        left -= got as u64;
    }
    best
}

/// The name at an offset of a file; what cannot be shown is escaped.
fn name_at(offset: u64, read: impl Fn(u64, &mut [u8]) -> Result) -> Option<String> {
    let mut bytes = [0; LONGEST_NAME];
    let got = read(offset, &mut bytes).ok()?;
    let name = bytes.get(..got)?.split(|&byte| byte == 0).next()?;
    (!name.is_empty()).then(|| alloc::format!("{}", name.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        if file.len() < at + bytes.len() {
            file.resize(at + bytes.len(), 0);
        }
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A program at 0x1000 whose code is at 0x200 of the file, with the symbols.
    fn program(symbols: &[(u32, u8, u64, u64)]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01".to_vec();
        let machine = arch::ELF_MACHINE.to_le_bytes();
        put(&mut file, 16, &3_u16.to_le_bytes());
        put(&mut file, 18, &machine);
        put(&mut file, 32, &64_u64.to_le_bytes());
        put(&mut file, 40, &0x400_u64.to_le_bytes());
        put(&mut file, 54, &56_u16.to_le_bytes());
        put(&mut file, 56, &1_u16.to_le_bytes());
        put(&mut file, 60, &3_u16.to_le_bytes());
        put(&mut file, 64, &1_u32.to_le_bytes());
        put(&mut file, 64 + 8, &0x200_u64.to_le_bytes());
        put(&mut file, 64 + 16, &0x1200_u64.to_le_bytes());
        put(&mut file, 64 + 32, &0x100_u64.to_le_bytes());
        put(&mut file, 64 + 40, &0x100_u64.to_le_bytes());
        put(&mut file, 0x300, b"\0first\0sec\x1bond\0");
        let table = 0x400 + SECTION;
        put(&mut file, table + 4, &2_u32.to_le_bytes());
        put(&mut file, table + 24, &0x600_u64.to_le_bytes());
        let size = (symbols.len() * SYMBOL) as u64;
        put(&mut file, table + 32, &size.to_le_bytes());
        put(&mut file, table + 40, &2_u32.to_le_bytes());
        let names = table + SECTION;
        put(&mut file, names + 24, &0x300_u64.to_le_bytes());
        put(&mut file, 0x600, &[]);
        for (index, &(name, kind, start, size)) in symbols.iter().enumerate() {
            let at = 0x600 + index * SYMBOL;
            put(&mut file, at, &name.to_le_bytes());
            put(&mut file, at + 4, &[kind, 0, 1, 0]);
            put(&mut file, at + 8, &start.to_le_bytes());
            put(&mut file, at + 16, &size.to_le_bytes());
        }
        file
    }

    fn lookup(file: &[u8], offset: u64) -> Option<(String, u64)> {
        function_at(offset, |offset, bytes| {
            let rest = file.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(bytes.len());
            bytes[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        })
    }

    #[test]
    fn an_address_is_in_the_function_that_covers_it() {
        let file = program(&[
            (7, 0x12, 0x1240, 0x20),
            (1, 0x12, 0x1200, 0x30),
            // Data is no function, wherever it is.
            (1, 0x11, 0x1248, 0x20),
        ]);
        assert_eq!(lookup(&file, 0x210), Some(("first".into(), 0x10)));
        assert_eq!(lookup(&file, 0x240), Some(("sec\\x1bond".into(), 0)));
        assert_eq!(lookup(&file, 0x238), None, "between two functions");
        assert_eq!(lookup(&file, 0x1ff), None, "not a part of the program");
    }

    #[test]
    fn tables_that_lead_nowhere_are_no_tables() {
        let whole = program(&[(1, 2, 0x1200, 0)]);
        assert_eq!(lookup(&whole, 0x204), Some(("first".into(), 4)));
        for (at, value) in [(40, u64::MAX), (0x440 + 24, u64::MAX), (0x440 + 40, 9)] {
            let mut file = whole.clone();
            put(&mut file, at, &value.to_le_bytes());
            assert_eq!(lookup(&file, 0x204), None, "{at:#x}");
        }
        for length in [63, 0x3ff, 0x4bf, 0x600] {
            assert_eq!(lookup(&whole[..length], 0x204), None, "{length:#x}");
        }
    }
}
