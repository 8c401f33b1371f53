//! Access to the memory of the running program. The kernel never uses a program's addresses
//! itself: it looks the pages up, so that a wrong address is an error and nothing else.

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Space, frames};
use crate::abi::errno::{Errno, Result};
use crate::arch::PAGE;

fn space() -> Result<alloc::rc::Rc<Space>> {
    Space::current().ok_or(Errno::FAULT)
}

/// Copies bytes out of the program's memory.
///
/// # Errors
/// `EFAULT`
pub fn read_bytes(address: usize, bytes: &mut [u8]) -> Result<()> {
    space()?.read(address, bytes)
}

/// Copies bytes into the program's memory.
///
/// # Errors
/// `EFAULT`
pub fn write_bytes(address: usize, bytes: &[u8]) -> Result<()> {
    space()?.write(address, bytes)
}

/// Reads a value.
///
/// # Errors
/// `EFAULT`
pub fn read<T: FromBytes + IntoBytes>(address: usize) -> Result<T> {
    let mut value = T::new_zeroed();
    read_bytes(address, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes a value.
///
/// # Errors
/// `EFAULT`
pub fn write<T: IntoBytes + Immutable>(address: usize, value: &T) -> Result<()> {
    write_bytes(address, value.as_bytes())
}

/// Reads 64-bit words.
///
/// # Errors
/// `EFAULT`
pub fn read_words(address: usize, words: &mut [u64]) -> Result<()> {
    read_bytes(address, words.as_mut_bytes())
}

/// Writes 64-bit words.
///
/// # Errors
/// `EFAULT`
pub fn write_words(address: usize, words: &[u64]) -> Result<()> {
    write_bytes(address, words.as_bytes())
}

/// Reads `count` values.
///
/// # Errors
/// `EFAULT`; `EINVAL` for more than `most` values.
pub fn read_array<T: FromBytes + IntoBytes + Clone>(
    address: usize,
    count: usize,
    most: usize,
) -> Result<Vec<T>> {
    if count > most {
        return Err(Errno::INVAL);
    }
    let mut values = alloc::vec![T::new_zeroed(); count];
    let size = size_of::<T>();
    for (index, value) in values.iter_mut().enumerate() {
        read_bytes(address.wrapping_add(index * size), value.as_mut_bytes())?;
    }
    Ok(values)
}

/// Reads a string that ends with a zero byte, without it.
///
/// # Errors
/// `EFAULT`; `ENAMETOOLONG` if it has more than `most` bytes.
pub fn read_string(address: usize, most: usize) -> Result<Vec<u8>> {
    let space = space()?;
    let mut string = Vec::new();
    let mut at = address;
    loop {
        let offset = at % PAGE;
        let frame = space.frame(at, false)?;
        let ended = frame.with(|page| {
            let rest = &page[offset..];
            match rest.iter().position(|&byte| byte == 0) {
                Some(length) => {
                    string.extend_from_slice(&rest[..length]);
                    true
                }
                None => {
                    string.extend_from_slice(rest);
                    false
                }
            }
        });
        if string.len() > most {
            return Err(Errno::NAMETOOLONG);
        }
        if ended {
            return Ok(string);
        }
        at = at.wrapping_add(PAGE - offset);
    }
}

/// Reads an array of strings that ends with a null pointer.
///
/// # Errors
/// `EFAULT`; `E2BIG` if they have more than `most` bytes together; `ENOMEM`.
pub fn read_strings(address: usize, most: usize) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    if address == 0 {
        return Ok(strings);
    }
    let mut left = most;
    loop {
        let pointer: usize = read(address.wrapping_add(strings.len() * 8))?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string = read_string(pointer, left).map_err(|error| match error {
            Errno::NAMETOOLONG => Errno::TOO_BIG,
            other => other,
        })?;
        left = left.checked_sub(string.len() + 9).ok_or(Errno::TOO_BIG)?;
        // Many short strings need a long list, which memory may be too short for.
        frames::check_spare()?;
        strings.try_reserve(1).map_err(|_| Errno::NOMEM)?;
        strings.push(string);
    }
}
