//! Extended attributes: names with values beside the content of a node.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::abi::errno::{Errno, Result};
use crate::mm::frames;
use crate::small::SmallMap;

/// The most bytes of a value (`XATTR_SIZE_MAX`).
pub const LONGEST_VALUE: usize = 64 << 10;
/// The most bytes of the names and values of one node.
const MOST_BYTES: usize = 128 << 10;

/// Whether an attribute has to be there before it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It may be.
    Any,
    /// It must not be (`XATTR_CREATE`).
    Missing,
    /// It must be (`XATTR_REPLACE`).
    Present,
}

/// The attributes of one node.
#[derive(Default)]
pub struct Attributes(SmallMap<Box<[u8]>, Rc<Vec<u8>>>);

impl Attributes {
    /// The value of an attribute.
    pub fn get(&self, name: &[u8]) -> Option<Rc<Vec<u8>>> {
        self.0.get(name).cloned()
    }

    /// Sets an attribute.
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA`; `ENOSPC` where the node has too many or memory is short.
    pub fn set(&mut self, name: &[u8], value: Vec<u8>, before: Before) -> Result<()> {
        let old = self.0.get(name);
        match before {
            Before::Missing if old.is_some() => return Err(Errno::EXIST),
            Before::Present if old.is_none() => return Err(Errno::NODATA),
            _ => {}
        }
        let others = self.0.iter().filter(|(other, _)| ***other != *name);
        let bytes: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        if bytes + name.len() + value.len() > MOST_BYTES {
            return Err(Errno::NOSPC);
        }
        frames::check_spare_for_files().map_err(|_| Errno::NOSPC)?;
        let entered = self.0.insert(name.into(), Rc::new(value));
        entered.map(|_| ()).map_err(|_| Errno::NOSPC)
    }

    /// Removes an attribute.
    ///
    /// # Errors
    /// `ENODATA`
    pub fn remove(&mut self, name: &[u8]) -> Result<()> {
        self.0.remove(name).map(|_| ()).ok_or(Errno::NODATA)
    }

    /// The names, each with a zero byte at its end.
    pub fn names(&self) -> Vec<u8> {
        let mut names = Vec::new();
        for (name, _) in self.0.iter() {
            names.extend_from_slice(name);
            names.push(0);
        }
        names
    }
}
