//! Programs: what the headers of an ELF file say (64-bit, little-endian).
//!
//! Source: "System V Application Binary Interface", chapters 4 and 5.

use alloc::vec::Vec;

use crate::abi::errno::{Errno, Result};
use crate::mm::Protection;

/// Bytes of the file header.
pub const FILE_HEADER: usize = 64;
/// Bytes of one program header.
pub const PROGRAM_HEADER: usize = 56;
/// The most program headers.
const MOST_HEADERS: usize = 128;
/// The longest name of an interpreter.
pub const LONGEST_INTERPRETER: u64 = 4096;

const EXECUTABLE: u16 = 2;
const POSITION_INDEPENDENT: u16 = 3;
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;
const STACK: u32 = 0x6474_e551;

/// A part of the file that is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where, before the program is moved.
    pub address: usize,
    /// Bytes of memory; what the file does not have is zeros.
    pub memory: usize,
    /// Where in the file.
    pub offset: u64,
    /// Bytes of the file.
    pub length: u64,
    /// What may be done with it.
    pub protection: Protection,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it begins.
    pub entry: usize,
    /// Whether it can lie anywhere.
    pub movable: bool,
    /// What is mapped.
    pub segments: Vec<Segment>,
    /// Where in the file the path of its interpreter is: offset and bytes.
    pub interpreter: Option<(u64, u64)>,
    /// Where the program headers are in memory, before the program is moved.
    pub headers: usize,
    /// How many program headers there are.
    pub header_count: usize,
    /// Whether it wants to run code on its stack.
    pub executable_stack: bool,
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Reads the headers; `read` reads the file at an offset and says how much there was.
///
/// # Errors
/// `ENOEXEC` for what is not a program for `machine`.
pub fn parse(machine: u16, mut read: impl FnMut(u64, &mut [u8]) -> Result) -> Result<Program> {
    let mut header = [0; FILE_HEADER];
    if read(0, &mut header)? < FILE_HEADER {
        return Err(Errno::NOEXEC);
    }
    let (kind, count, offset) = check_header(&header, machine).ok_or(Errno::NOEXEC)?;
    let mut table = alloc::vec![0; count * PROGRAM_HEADER];
    if read(offset, &mut table)? < table.len() {
        return Err(Errno::NOEXEC);
    }
    let mut program = Program {
        entry: u64_at(&header, 24).ok_or(Errno::NOEXEC)? as usize,
        movable: kind == POSITION_INDEPENDENT,
        segments: Vec::new(),
        interpreter: None,
        headers: 0,
        header_count: count,
        executable_stack: false,
    };
    for entry in table.chunks_exact(PROGRAM_HEADER) {
        add_header(&mut program, entry, offset).ok_or(Errno::NOEXEC)?;
    }
    if program.segments.is_empty() {
        return Err(Errno::NOEXEC);
    }
    Ok(program)
}

/// Kind, number of program headers and their offset, if the file is a program.
fn check_header(header: &[u8], machine: u16) -> Option<(u16, usize, u64)> {
    let kind = u16_at(header, 16)?;
    let count = usize::from(u16_at(header, 56)?);
    let is_program = header.starts_with(b"\x7fELF\x02\x01")
        && matches!(kind, EXECUTABLE | POSITION_INDEPENDENT)
        && u16_at(header, 18)? == machine
        && usize::from(u16_at(header, 54)?) == PROGRAM_HEADER
        && (1..=MOST_HEADERS).contains(&count);
    is_program.then_some((kind, count, u64_at(header, 32)?))
}

fn add_header(program: &mut Program, entry: &[u8], table_offset: u64) -> Option<()> {
    let flags = u32_at(entry, 4)?;
    let (offset, address) = (u64_at(entry, 8)?, u64_at(entry, 16)?);
    let (length, memory) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
    match u32_at(entry, 0)? {
        LOAD if memory > 0 => {
            let page = crate::arch::PAGE as u64;
            let fits = length <= memory
                && address % page == offset % page
                && address.checked_add(memory)? <= crate::arch::USER_END as u64
                && offset.checked_add(memory)? < 1 << 62;
            if !fits {
                return None;
            }
            let mut protection = Protection::empty();
            protection.set(Protection::EXECUTE, flags & 1 != 0);
            protection.set(Protection::WRITE, flags & 2 != 0);
            protection.set(Protection::READ, flags & 4 != 0);
            if (offset..offset + length).contains(&table_offset) {
                program.headers = (address + (table_offset - offset)) as usize;
            }
            program.segments.push(Segment {
                address: address as usize,
                memory: memory as usize,
                offset,
                length,
                protection,
            });
        }
        INTERPRETER if (2..=LONGEST_INTERPRETER).contains(&length) => {
            program.interpreter = Some((offset, length));
        }
        INTERPRETER => return None,
        STACK => program.executable_stack = flags & 1 != 0,
        _ => {}
    }
    Some(())
}

/// The interpreter and the argument of a script's first line, `#!INTERPRETER [ARGUMENT]`; the argument is the rest of
/// the line, as on Linux.
pub fn script_interpreter(start: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let line = start
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let line = line.trim_ascii();
    let end = line
        .iter()
        .position(|byte| byte.is_ascii_whitespace())
        .unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    if interpreter.is_empty() {
        return None;
    }
    let argument = argument.trim_ascii();
    Some((
        interpreter.to_vec(),
        (!argument.is_empty()).then(|| argument.to_vec()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(change: impl FnOnce(&mut Vec<u8>)) -> Result<Program> {
        let mut file = alloc::vec![0; 0x200];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = 3;
        file[18] = 62;
        file[24..26].copy_from_slice(&0x1040_u16.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 1;
        file[68] = 5;
        file[64 + 32..64 + 34].copy_from_slice(&0x200_u16.to_le_bytes());
        file[64 + 40..64 + 42].copy_from_slice(&0x300_u16.to_le_bytes());
        change(&mut file);
        parse(62, |offset, bytes| {
            let rest = file.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(bytes.len());
            bytes[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        })
    }

    #[test]
    fn a_program_has_its_segments_and_headers() {
        let program = program(|_| {}).unwrap();
        assert!(program.movable);
        assert_eq!(program.headers, 64);
        assert_eq!(
            program.segments,
            [Segment {
                address: 0,
                memory: 0x300,
                offset: 0,
                length: 0x200,
                protection: Protection::READ | Protection::EXECUTE,
            }]
        );
    }

    #[test]
    fn wrong_headers_are_refused() {
        let wrong: &[fn(&mut Vec<u8>)] = &[
            |file| file[4] = 1,
            |file| file[18] = 183,
            |file| file[56] = 0,
            |file| file[57] = 0xff,
            |file| file[39] = 0xff,
            |file| file[64 + 40] = 0xff,
            |file| file[64 + 23] = 0xff,
            |file| file[64 + 15] = 0x7f,
            |file| file[64 + 47] = 0x80,
            |file| file.truncate(80),
        ];
        for (index, change) in wrong.iter().enumerate().filter(|(index, _)| *index != 5) {
            assert_eq!(program(change), Err(Errno::NOEXEC), "{index}");
        }
    }

    #[test]
    fn scripts_name_an_interpreter_and_one_argument() {
        let read = |line: &[u8]| script_interpreter(line);
        assert_eq!(read(b"#!/bin/sh\nexit"), Some((b"/bin/sh".to_vec(), None)));
        assert_eq!(
            read(b"#! /usr/bin/env -S a b \n"),
            Some((b"/usr/bin/env".to_vec(), Some(b"-S a b".to_vec())))
        );
        assert_eq!(read(b"#!\n"), None);
        assert_eq!(read(b"echo"), None);
    }
}
