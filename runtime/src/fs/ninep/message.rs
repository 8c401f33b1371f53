//! The bytes of messages.

use alloc::vec::Vec;

use crate::abi::errno::{Errno, Result};
use crate::fs::{DirectoryEntry, Kind, Metadata};
use crate::time::SECOND;

/// Bytes of a message before its fields: size, type, tag.
pub const HEADER: usize = 7;

/// The types of requests; an answer has the next number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Type {
    Statfs = 8,
    Lopen = 12,
    Lcreate = 14,
    Symlink = 16,
    Mknod = 18,
    Readlink = 22,
    Getattr = 24,
    Setattr = 26,
    Readdir = 40,
    Fsync = 50,
    Link = 70,
    Mkdir = 72,
    Renameat = 74,
    Unlinkat = 76,
    Version = 100,
    Attach = 104,
    Walk = 110,
    Read = 116,
    Write = 118,
    Clunk = 120,
}

/// The answer that is an error.
pub const ERROR: u8 = 7;

/// A request that is being written.
pub(super) struct Request(Vec<u8>);

impl Request {
    /// A request without fields, in the memory of `buffer`.
    pub fn new(mut buffer: Vec<u8>, kind: Type) -> Request {
        buffer.clear();
        // The size follows when everything is there; one request is made at a time, so that
        // the tag is always 0, except that `version` has to use none.
        let tag = if kind == Type::Version { 0xff } else { 0 };
        buffer.extend_from_slice(&[0, 0, 0, 0, kind as u8, tag, tag]);
        Request(buffer)
    }

    /// Adds a byte string with its length.
    pub fn string(mut self, bytes: &[u8]) -> Request {
        let length = bytes.len().min(u16::MAX.into());
        self.0.extend_from_slice(&(length as u16).to_le_bytes());
        self.0.extend_from_slice(&bytes[..length]);
        self
    }

    /// Adds 16 bits.
    pub fn u16(mut self, value: u16) -> Request {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds 32 bits.
    pub fn u32(mut self, value: u32) -> Request {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds 64 bits.
    pub fn u64(mut self, value: u64) -> Request {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Request {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The bytes of the complete request.
    pub fn finish(mut self) -> Vec<u8> {
        let size = (self.0.len() as u32).to_le_bytes();
        if let Some(start) = self.0.get_mut(..4) {
            start.copy_from_slice(&size);
        }
        self.0
    }
}

/// The fields of an answer that are not read yet.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of an answer.
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields(bytes)
    }

    /// The next bytes.
    ///
    /// # Errors
    /// `EIO` at the end, as for all fields.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Errno::IO)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A number of that many bytes.
    fn number(&mut self, length: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(self.bytes(length)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// 8 bits.
    ///
    /// # Errors
    /// `EIO`
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.number(1)? as u8)
    }

    /// 16 bits.
    ///
    /// # Errors
    /// `EIO`
    pub fn u16(&mut self) -> Result<u16> {
        Ok(self.number(2)? as u16)
    }

    /// 32 bits.
    ///
    /// # Errors
    /// `EIO`
    pub fn u32(&mut self) -> Result<u32> {
        Ok(self.number(4)? as u32)
    }

    /// 64 bits.
    ///
    /// # Errors
    /// `EIO`
    pub fn u64(&mut self) -> Result<u64> {
        self.number(8)
    }

    /// A byte string with its length.
    ///
    /// # Errors
    /// `EIO`
    pub fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// The number of a node, which is the last part of a `qid`.
    ///
    /// # Errors
    /// `EIO`
    pub fn qid(&mut self) -> Result<u64> {
        self.bytes(5)?;
        self.u64()
    }

    /// The entries of a directory (`Rreaddir`).
    ///
    /// # Errors
    /// `EIO`
    pub fn entries(&mut self) -> Result<Vec<DirectoryEntry>> {
        let count = self.u32()? as usize;
        let mut fields = Fields::new(self.bytes(count)?);
        let mut entries = Vec::new();
        while !fields.is_empty() {
            let number = fields.qid()?;
            let next = fields.u64()?;
            let kind = u32::from(fields.u8()?) << 12;
            entries.push(DirectoryEntry {
                name: fields.string()?.into(),
                number,
                kind: Kind::from_mode(kind).unwrap_or(Kind::File),
                next,
            });
        }
        Ok(entries)
    }

    /// What is known of a node of the file system `device` (`Rgetattr`).
    ///
    /// # Errors
    /// `EIO`
    pub fn metadata(&mut self, device: u64) -> Result<Metadata> {
        self.u64()?;
        let number = self.qid()?;
        let mode = self.u32()?;
        let (user, group) = (self.u32()?, self.u32()?);
        let links = self.u64()? as u32;
        let (device_number, size) = (self.u64()?, self.u64()?);
        self.u64()?;
        let blocks = self.u64()?;
        let mut time = || -> Result<u64> {
            let seconds = self.u64()?;
            Ok(seconds.saturating_mul(SECOND).saturating_add(self.u64()?))
        };
        let (accessed, modified, changed) = (time()?, time()?, time()?);
        Ok(Metadata {
            device,
            number,
            kind: Kind::from_mode(mode).ok_or(Errno::IO)?,
            permissions: mode & 0o7777,
            links,
            user,
            group,
            device_number,
            // What is larger would be negative for programs.
            size: size.min(i64::MAX as u64),
            blocks,
            accessed,
            modified,
            changed,
        })
    }

    /// Whether all fields were read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_size() {
        let walk = Request::new(Vec::new(), Type::Walk)
            .u32(1)
            .u32(2)
            .u16(1)
            .string(b"name");
        let bytes = walk.finish();
        assert_eq!(
            bytes,
            b"\x17\0\0\0\x6e\0\0\x01\0\0\0\x02\0\0\0\x01\0\x04\0name"
        );
        let version = Request::new(bytes, Type::Version).finish();
        assert_eq!(version, b"\x07\0\0\0\x64\xff\xff");
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error() {
        let mut fields = Fields::new(b"\x01\x02\0ab\x03\0c");
        assert_eq!(fields.u8(), Ok(1));
        assert_eq!(fields.string(), Ok(&b"ab"[..]));
        assert_eq!(fields.string(), Err(Errno::IO));
        assert!(Fields::new(b"12345678901").qid().is_err());
        assert!(Fields::new(b"").is_empty());
    }
}
