//! The file descriptors of a process.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::{Description, locks};
use crate::abi::errno::{Errno, Result};

#[derive(Clone)]
struct Entry {
    description: Rc<Description>,
    close_on_exec: bool,
}

/// File descriptors: small numbers for open files.
#[derive(Default)]
pub struct FileTable(RefCell<Vec<Option<Entry>>>);

impl FileTable {
    /// A copy that changes on its own; the open files are the same.
    ///
    /// # Errors
    /// `ENOMEM`
    pub fn copy(&self) -> Result<FileTable> {
        let entries = self.0.borrow();
        let used = entries.iter().rposition(Option::is_some);
        let used = entries.get(..used.map_or(0, |last| last + 1));
        let mut copy = Vec::new();
        copy.try_reserve_exact(used.unwrap_or_default().len())
            .map_err(|_| Errno::NOMEM)?;
        copy.extend_from_slice(used.unwrap_or_default());
        Ok(FileTable(RefCell::new(copy)))
    }

    /// Makes entries up to `index`: a program may ask for a high one when memory is short.
    fn extend(entries: &mut Vec<Option<Entry>>, index: usize) -> Result<()> {
        if entries.len() <= index {
            entries
                .try_reserve(index + 1 - entries.len())
                .map_err(|_| Errno::NOMEM)?;
            entries.resize(index + 1, None);
        }
        Ok(())
    }

    /// The open file with a descriptor.
    ///
    /// # Errors
    /// `EBADF`
    pub fn get(&self, descriptor: i32) -> Result<Rc<Description>> {
        let entries = self.0.borrow();
        let entry = usize::try_from(descriptor)
            .ok()
            .and_then(|index| entries.get(index)?.as_ref());
        entry
            .map(|entry| entry.description.clone())
            .ok_or(Errno::BADF)
    }

    /// Gives an open file the lowest free descriptor from `from` on, below `limit`.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`
    pub fn add(
        &self,
        description: Rc<Description>,
        close_on_exec: bool,
        from: usize,
        limit: u64,
    ) -> Result {
        let mut entries = self.0.borrow_mut();
        let index = (from..entries.len()).find(|&index| entries[index].is_none());
        let index = index.unwrap_or(entries.len().max(from));
        if index as u64 >= limit {
            return Err(Errno::MFILE);
        }
        FileTable::extend(&mut entries, index)?;
        entries[index] = Some(Entry {
            description,
            close_on_exec,
        });
        Ok(index)
    }

    /// Gives an open file a certain descriptor; what it was before is closed.
    ///
    /// # Errors
    /// `EBADF` at or above `limit`, `ENOMEM`.
    pub fn put(
        &self,
        descriptor: i32,
        description: Rc<Description>,
        close_on_exec: bool,
        limit: u64,
    ) -> Result<()> {
        let index = usize::try_from(descriptor).map_err(|_| Errno::BADF)?;
        if index as u64 >= limit {
            return Err(Errno::BADF);
        }
        let old = {
            let mut entries = self.0.borrow_mut();
            FileTable::extend(&mut entries, index)?;
            entries[index].replace(Entry {
                description,
                close_on_exec,
            })
        };
        if let Some(old) = old {
            locks::descriptor_closed(&old.description);
        }
        Ok(())
    }

    /// Frees a descriptor; the open file that it had.
    ///
    /// # Errors
    /// `EBADF`
    pub fn take(&self, descriptor: i32) -> Result<Rc<Description>> {
        let entry = {
            let mut entries = self.0.borrow_mut();
            usize::try_from(descriptor)
                .ok()
                .and_then(|index| entries.get_mut(index)?.take())
        };
        let description = entry.ok_or(Errno::BADF)?.description;
        locks::descriptor_closed(&description);
        Ok(description)
    }

    /// Whether a descriptor is closed when another program is run.
    ///
    /// # Errors
    /// `EBADF`
    pub fn close_on_exec(&self, descriptor: i32) -> Result<bool> {
        let entries = self.0.borrow();
        let entry = usize::try_from(descriptor)
            .ok()
            .and_then(|index| entries.get(index)?.as_ref());
        entry.map(|entry| entry.close_on_exec).ok_or(Errno::BADF)
    }

    /// Sets whether a descriptor is closed when another program is run.
    ///
    /// # Errors
    /// `EBADF`
    pub fn set_close_on_exec(&self, descriptor: i32, close: bool) -> Result<()> {
        let mut entries = self.0.borrow_mut();
        let entry = usize::try_from(descriptor)
            .ok()
            .and_then(|index| entries.get_mut(index)?.as_mut());
        entry
            .map(|entry| entry.close_on_exec = close)
            .ok_or(Errno::BADF)
    }

    /// Closes what another program does not get.
    pub fn close_for_exec(&self) {
        for closed in self.take_if(|entry| entry.close_on_exec) {
            locks::descriptor_closed(&closed.description);
        }
    }

    /// Closes everything.
    pub fn close_all(&self) {
        let closed = self.take_if(|_| true);
        drop(closed);
    }

    fn take_if(&self, condition: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut entries = self.0.borrow_mut();
        entries
            .iter_mut()
            .filter_map(|entry| entry.take_if(|entry| condition(entry)))
            .collect()
    }

    /// The descriptors that are in use.
    pub fn descriptors(&self) -> Vec<i32> {
        let entries = self.0.borrow();
        entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_some())
            .map(|(index, _)| index as i32)
            .collect()
    }
}
