//! Where bytes go and where they come from: the memory of a program, in one or more pieces,
//! or of the kernel.

use alloc::vec::Vec;

use crate::abi::errno::{Errno, Result};
use crate::arch::PAGE;
use crate::mm::user;

/// Pieces of a program's memory as (address, bytes), and how far they are used.
#[derive(Clone, Default)]
struct UserPieces {
    pieces: Vec<(usize, usize)>,
    piece: usize,
    within: usize,
}

impl UserPieces {
    fn new(pieces: Vec<(usize, usize)>) -> UserPieces {
        UserPieces {
            pieces,
            piece: 0,
            within: 0,
        }
    }

    /// The next bytes in one piece: address and length.
    fn next(&mut self) -> Option<(usize, usize)> {
        while let Some(&(address, length)) = self.pieces.get(self.piece) {
            if self.within < length {
                return Some((address.wrapping_add(self.within), length - self.within));
            }
            self.piece += 1;
            self.within = 0;
        }
        None
    }
}

/// Where a read puts its bytes.
pub struct Output<'a> {
    user: UserPieces,
    kernel: Option<&'a mut [u8]>,
    done: usize,
    room: usize,
}

impl<'a> Output<'a> {
    /// Memory of the program.
    pub fn user(address: usize, length: usize) -> Output<'static> {
        Output::user_pieces(alloc::vec![(address, length)])
    }

    /// Pieces of memory of the program.
    pub fn user_pieces(pieces: Vec<(usize, usize)>) -> Output<'static> {
        let room = pieces
            .iter()
            .fold(0_usize, |sum, piece| sum.saturating_add(piece.1));
        Output {
            user: UserPieces::new(pieces),
            kernel: None,
            done: 0,
            room,
        }
    }

    /// Memory of the kernel.
    pub fn kernel(bytes: &'a mut [u8]) -> Output<'a> {
        let room = bytes.len();
        Output {
            user: UserPieces::default(),
            kernel: Some(bytes),
            done: 0,
            room,
        }
    }

    /// How many bytes can still be put.
    pub fn room(&self) -> usize {
        self.room
    }

    /// How many bytes were put.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Takes space away, so that no more than `most` bytes can still be put.
    pub fn limit(&mut self, most: usize) {
        self.room = self.room.min(most);
    }

    /// Puts as many bytes as there is room for; how many.
    ///
    /// # Errors
    /// `EFAULT` if not even the first one can be written.
    pub fn put(&mut self, bytes: &[u8]) -> Result {
        let length = bytes.len().min(self.room);
        let mut done = 0;
        if let Some(kernel) = &mut self.kernel {
            kernel[self.done..self.done + length].copy_from_slice(&bytes[..length]);
            done = length;
        }
        while done < length {
            let Some((address, piece)) = self.user.next() else {
                break;
            };
            // Page by page, so that what lies before a hole arrives.
            let part = piece.min(length - done).min(PAGE - address % PAGE);
            if let Err(error) = user::write_bytes(address, &bytes[done..done + part]) {
                if done == 0 && self.done == 0 {
                    return Err(error);
                }
                self.room = 0;
                break;
            }
            self.user.within += part;
            done += part;
        }
        self.done += done;
        self.room = self.room.saturating_sub(done);
        Ok(done)
    }

    /// Puts zeros; how many.
    ///
    /// # Errors
    /// As [`Output::put`].
    pub fn put_zeros(&mut self, length: usize) -> Result {
        const ZEROS: [u8; 512] = [0; 512];
        let mut done = 0;
        while done < length && self.room > 0 {
            let part = self.put(&ZEROS[..ZEROS.len().min(length - done)])?;
            if part == 0 {
                break;
            }
            done += part;
        }
        Ok(done)
    }
}

/// Where a write takes its bytes. A clone takes the same bytes again.
#[derive(Clone)]
pub struct Input<'a> {
    user: UserPieces,
    kernel: Option<&'a [u8]>,
    left: usize,
}

impl<'a> Input<'a> {
    /// Memory of the program.
    pub fn user(address: usize, length: usize) -> Input<'static> {
        Input::user_pieces(alloc::vec![(address, length)])
    }

    /// Pieces of memory of the program.
    pub fn user_pieces(pieces: Vec<(usize, usize)>) -> Input<'static> {
        let left = pieces
            .iter()
            .fold(0_usize, |sum, piece| sum.saturating_add(piece.1));
        Input {
            user: UserPieces::new(pieces),
            kernel: None,
            left,
        }
    }

    /// Memory of the kernel.
    pub fn kernel(bytes: &'a [u8]) -> Input<'a> {
        Input {
            user: UserPieces::default(),
            kernel: Some(bytes),
            left: bytes.len(),
        }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Takes bytes; how many.
    ///
    /// # Errors
    /// `EFAULT` if not even the first one can be read.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result {
        let length = bytes.len().min(self.left);
        let mut done = 0;
        if let Some(kernel) = &mut self.kernel {
            let (taken, rest) = kernel.split_at(length);
            bytes[..length].copy_from_slice(taken);
            *kernel = rest;
            done = length;
        }
        while done < length {
            let Some((address, piece)) = self.user.next() else {
                break;
            };
            let part = piece.min(length - done).min(PAGE - address % PAGE);
            if user::read_bytes(address, &mut bytes[done..done + part]).is_err() {
                if done == 0 {
                    return Err(Errno::FAULT);
                }
                break;
            }
            self.user.within += part;
            done += part;
        }
        self.left -= done;
        Ok(done)
    }

    /// Takes everything that is left, up to `most` bytes.
    ///
    /// # Errors
    /// `EFAULT`; `EMSGSIZE` if there is more, `ENOBUFS` without memory.
    pub fn take_all(&mut self, most: usize) -> Result<Vec<u8>> {
        if self.left > most {
            return Err(Errno::MSGSIZE);
        }
        self.take_first(self.left)
    }

    /// Takes `length` bytes.
    ///
    /// # Errors
    /// `EFAULT`; `ENOBUFS` without memory.
    pub fn take_first(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| Errno::NOBUFS)?;
        bytes.resize(length, 0);
        let done = self.take(&mut bytes)?;
        if done < bytes.len() {
            return Err(Errno::FAULT);
        }
        Ok(bytes)
    }

    /// Takes everything that is left without looking; how much it was.
    pub fn skip(&mut self) -> usize {
        core::mem::take(&mut self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_memory_takes_and_gives_what_fits() {
        let mut bytes = [0; 4];
        let mut out = Output::kernel(&mut bytes);
        assert_eq!(out.put(b"abc"), Ok(3));
        assert_eq!(out.put(b"def"), Ok(1));
        assert_eq!(out.room(), 0);
        assert_eq!(&bytes, b"abcd");
        let mut input = Input::kernel(b"hello");
        let mut first = [0; 2];
        assert_eq!(input.take(&mut first), Ok(2));
        assert_eq!((&first, input.left()), (b"he", 3));
        assert_eq!(input.take_all(2), Err(Errno::MSGSIZE));
        assert_eq!(input.take_all(3).unwrap(), b"llo");
    }
}
