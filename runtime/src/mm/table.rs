//! Page tables of four levels with 512 entries each, as both architectures have them.

use super::Frame;
use crate::abi::errno::Result;
use crate::arch::{Entry, KERNEL_ENTRIES, PAGE, PHYSICAL, kernel_table};

const ENTRIES: usize = 512;
const LEVELS: usize = 4;

/// A table with its sub-tables. The pages that it maps belong to it as well: each present
/// entry of the last level owns its frame.
pub struct Table {
    root: Frame,
}

fn entries(physical: usize) -> *mut Entry {
    (PHYSICAL + physical) as *mut Entry
}

/// The index of `address` in a table of `level` (3 is the top).
fn index(address: usize, level: usize) -> usize {
    address >> (12 + 9 * level) & (ENTRIES - 1)
}

impl Table {
    /// A table that maps the kernel and nothing else.
    ///
    /// # Errors
    /// `ENOMEM`
    pub fn new() -> Result<Table> {
        let root = Frame::new()?;
        for entry in KERNEL_ENTRIES {
            // SAFETY: both tables have 512 entries.
            unsafe {
                let kernel = entries(kernel_table()).add(entry).read();
                entries(root.physical()).add(entry).write(kernel);
            }
        }
        Ok(Table { root })
    }

    /// The physical address of the top table.
    pub fn physical(&self) -> usize {
        self.root.physical()
    }

    /// The place of the last level's entry for `address`, if its table exists.
    fn find(&self, address: usize) -> Option<*mut Entry> {
        let mut table = self.root.physical();
        for level in (1..LEVELS).rev() {
            // SAFETY: the index is below 512, and `table` is a table of the kernel.
            let entry = unsafe { entries(table).add(index(address, level)).read() };
            if !entry.is_present() {
                return None;
            }
            table = entry.physical();
        }
        // SAFETY: as above.
        Some(unsafe { entries(table).add(index(address, 0)) })
    }

    fn find_or_make(&self, address: usize) -> Result<*mut Entry> {
        let mut table = self.root.physical();
        for level in (1..LEVELS).rev() {
            // SAFETY: see `find`.
            unsafe {
                let place = entries(table).add(index(address, level));
                if !place.read().is_present() {
                    place.write(Entry::table(Frame::new()?.into_raw()));
                }
                table = place.read().physical();
            }
        }
        // SAFETY: as above.
        Ok(unsafe { entries(table).add(index(address, 0)) })
    }

    /// The entry for `address`; `Entry::EMPTY` if nothing is mapped.
    pub fn get(&self, address: usize) -> Entry {
        // SAFETY: `find` returns valid places.
        self.find(address)
            .map_or(Entry::EMPTY, |place| unsafe { place.read() })
    }

    /// Puts an entry; the frame of the old one is returned.
    ///
    /// # Errors
    /// `ENOMEM` for a table of a lower level.
    pub fn put(&self, address: usize, entry: Entry) -> Result<Option<Frame>> {
        let place = self.find_or_make(address)?;
        // SAFETY: the place is valid, and a present entry owns its frame.
        unsafe {
            let old = place.replace(entry);
            Ok(old.is_present().then(|| Frame::from_raw(old.physical())))
        }
    }

    /// Takes an entry out with its frame.
    pub fn take(&self, address: usize) -> Option<(Entry, Frame)> {
        let place = self.find(address)?;
        // SAFETY: as in `put`.
        unsafe {
            let old = place.replace(Entry::EMPTY);
            old.is_present()
                .then(|| (old, Frame::from_raw(old.physical())))
        }
    }

    /// Changes an entry without changing who owns its frame.
    pub fn change(&self, address: usize, entry: Entry) {
        if let Some(place) = self.find(address) {
            // SAFETY: as in `put`.
            unsafe { place.write(entry) };
        }
    }

    /// The first present page from `start` to `end`; what has no tables is skipped.
    pub fn next(&self, start: usize, end: usize) -> Option<(usize, Entry)> {
        let mut at = start;
        while at < end {
            let mut table = self.root.physical();
            let mut level = LEVELS - 1;
            let entry = loop {
                // SAFETY: see `find`.
                let entry = unsafe { entries(table).add(index(at, level)).read() };
                if level == 0 || !entry.is_present() {
                    break entry;
                }
                table = entry.physical();
                level -= 1;
            };
            if entry.is_present() {
                return Some((at, entry));
            }
            let reach = PAGE * ENTRIES.pow(level as u32);
            at = (at & !(reach - 1)).saturating_add(reach);
        }
        None
    }

    /// The present pages from `start` to `end`. What is done with one does not disturb the next.
    pub fn pages(&self, start: usize, end: usize) -> impl Iterator<Item = (usize, Entry)> + '_ {
        let mut at = start;
        core::iter::from_fn(move || {
            let (page, entry) = self.next(at, end)?;
            at = page + PAGE;
            Some((page, entry))
        })
    }

    fn drop_table(physical: usize, level: usize) {
        for index in 0..ENTRIES {
            if level == LEVELS - 1 && KERNEL_ENTRIES.contains(&index) {
                continue;
            }
            // SAFETY: the table is ours and no longer in use.
            let entry = unsafe { entries(physical).add(index).read() };
            if entry.is_present() {
                if level > 0 {
                    Table::drop_table(entry.physical(), level - 1);
                }
                // SAFETY: the entry owned the table or the page.
                drop(unsafe { Frame::from_raw(entry.physical()) });
            }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        Table::drop_table(self.root.physical(), LEVELS - 1);
    }
}
