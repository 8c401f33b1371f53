//! Address spaces: which memory a program has, brought in when it is first touched.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::table::Table;
use super::{Frame, Protection, frames, page_end, page_start};
use crate::abi::errno::{Errno, Result};
use crate::arch::{self, Entry, PAGE, USER_END};
use crate::fs::{Node, Place};
use crate::sync::Global;
use crate::trap::Access;

/// The lowest address that a program can map (Linux: `vm.mmap_min_addr`).
const USER_START: usize = 0x1_0000;
/// Where mappings without a preference go, from here downwards or from below: under the stack and
/// its gap.
const MAPPINGS_END: usize = USER_END - (1 << 30);
/// The most areas of a space (Linux: `vm.max_map_count`), and from how many on they are made only
/// while there is memory to spare.
const MOST_AREAS: usize = 65_530;
const MANY_AREAS: usize = 256;
/// Pages of a file that are mapped together with the one that was touched.
const AROUND: usize = 16;

/// Where the content of an area comes from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros.
    Zeros,
    /// A file, from `offset` (a multiple of a page) on.
    File {
        /// The file.
        node: Rc<dyn Node>,
        /// Bytes into the file at which the area begins.
        offset: u64,
        /// The first byte of the file that is not shown: what follows it is zeros. `u64::MAX`
        /// unless a program's segment ends within its last page.
        end: u64,
        /// Where the file was found, for `/proc/self/maps`.
        place: Option<Rc<Place>>,
        /// Whether no one may write to the area: it is shared, and the file was opened for
        /// reading only.
        read_only: bool,
    },
}

/// A range of addresses with one kind of content.
#[derive(Clone)]
pub struct Area {
    /// The first address after the area.
    pub end: usize,
    /// What the program may do with it.
    pub protection: Protection,
    /// Whether writes are seen by everyone who maps the same.
    pub shared: bool,
    /// The content.
    pub backing: Backing,
}

impl Area {
    /// Whether the area can have a protection.
    pub fn allows(&self, protection: Protection) -> bool {
        let read_only = matches!(self.backing, Backing::File { read_only, .. } if read_only);
        !(read_only && protection.contains(Protection::WRITE))
    }

    /// The same area, beginning `bytes` later.
    fn advance(mut self, bytes: usize) -> Area {
        if let Backing::File { offset, .. } = &mut self.backing {
            *offset = offset.saturating_add(bytes as u64);
        }
        self
    }

    fn continues(&self, end: usize, next: &Area) -> bool {
        self.end == end
            && self.protection == next.protection
            && !self.shared
            && !next.shared
            && matches!(
                (&self.backing, &next.backing),
                (Backing::Zeros, Backing::Zeros)
            )
    }
}

/// Why touching an address failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there.
    NotMapped,
    /// The access is not allowed.
    NotAllowed,
    /// The file that is mapped there is shorter.
    BeyondFile,
    /// No memory is left.
    OutOfMemory,
}

/// The memory of a program. Threads share one; so do a parent and its `vfork` child.
pub struct Space {
    table: Table,
    areas: RefCell<BTreeMap<usize, Area>>,
    /// Where `brk` memory begins and where it ends now.
    brk: Cell<(usize, usize)>,
    /// Where mappings without a preference end.
    mappings_end: Cell<usize>,
    /// Where the stack of the first thread ends.
    stack_end: Cell<usize>,
    /// Pages that are present.
    resident: Cell<usize>,
}

static CURRENT: Global<RefCell<Option<Rc<Space>>>> = Global::new(RefCell::new(None));

impl Space {
    /// An empty space.
    ///
    /// # Errors
    /// `ENOMEM`
    pub fn new() -> Result<Rc<Space>> {
        Ok(Rc::new(Space {
            table: Table::new()?,
            areas: RefCell::default(),
            brk: Cell::new((0, 0)),
            mappings_end: Cell::new(MAPPINGS_END),
            stack_end: Cell::new(USER_END),
            resident: Cell::new(0),
        }))
    }

    /// The space that the processor uses.
    pub fn current() -> Option<Rc<Space>> {
        CURRENT.borrow().clone()
    }

    /// Lets the processor use this space.
    pub fn activate(self: &Rc<Space>) {
        if CURRENT
            .borrow()
            .as_ref()
            .is_some_and(|current| Rc::ptr_eq(current, self))
        {
            return;
        }
        // SAFETY: every table maps the kernel.
        unsafe { arch::activate(self.table.physical()) };
        let old = CURRENT.replace(Some(self.clone()));
        drop(old);
    }

    /// Lets the processor use a table without programs.
    pub fn deactivate() {
        // SAFETY: the kernel's own table maps the kernel.
        unsafe { arch::activate(arch::kernel_table()) };
        let old = CURRENT.replace(None);
        drop(old);
    }

    fn is_active(&self) -> bool {
        CURRENT
            .borrow()
            .as_ref()
            .is_some_and(|current| core::ptr::eq(&**current, self))
    }

    fn flush(&self, address: usize) {
        if self.is_active() {
            arch::flush(address);
        }
    }

    /// Bytes of memory that are present.
    pub fn resident_bytes(&self) -> usize {
        self.resident.get() * PAGE
    }

    /// Bytes of memory that are present in a range.
    pub fn resident_in(&self, start: usize, end: usize) -> usize {
        self.table.pages(start, end).count() * PAGE
    }

    /// Where `brk` memory begins and where it ends.
    pub fn brk(&self) -> (usize, usize) {
        self.brk.get()
    }

    /// Bytes of all areas.
    pub fn mapped_bytes(&self) -> usize {
        self.areas
            .borrow()
            .iter()
            .map(|(start, area)| area.end - start)
            .sum()
    }

    /// The areas with their starts, for `/proc/self/maps`.
    pub fn areas(&self) -> Vec<(usize, Area)> {
        self.areas
            .borrow()
            .iter()
            .map(|(&start, area)| (start, area.clone()))
            .collect()
    }

    /// The area that has `address`, with its start.
    fn area_at(&self, address: usize) -> Option<(usize, Area)> {
        let areas = self.areas.borrow();
        let (&start, area) = areas.range(..=address).next_back()?;
        (address < area.end).then(|| (start, area.clone()))
    }

    /// What is mapped at `address`: for a file, its offset is that of the address.
    pub fn backing_at(&self, address: usize) -> Option<Backing> {
        let (start, area) = self.area_at(address)?;
        Some(area.advance(address - start).backing)
    }

    /// Whether other programs may see what is written at `address`.
    pub fn is_shared_at(&self, address: usize) -> bool {
        self.area_at(address).is_some_and(|(_, area)| area.shared)
    }

    /// Whether the page at `address` is in memory.
    pub fn is_present(&self, address: usize) -> bool {
        self.table.get(address).is_present()
    }

    /// Whether there may be more areas.
    fn check_areas(&self) -> Result<()> {
        match self.areas.borrow().len() {
            MOST_AREAS.. => Err(Errno::NOMEM),
            MANY_AREAS.. => frames::check_spare(),
            _ => Ok(()),
        }
    }

    /// Maps an area of `length` bytes at `start`; whatever was there goes.
    ///
    /// # Errors
    /// `EINVAL` or `ENOMEM` for a range outside of user memory.
    pub fn map_at(&self, start: usize, length: usize, mut area: Area) -> Result<()> {
        let end = start
            .checked_add(length)
            .and_then(page_end)
            .ok_or(Errno::NOMEM)?;
        if !start.is_multiple_of(PAGE) || length == 0 {
            return Err(Errno::INVAL);
        }
        if end > USER_END {
            return Err(Errno::NOMEM);
        }
        if start < USER_START {
            return Err(Errno::PERM);
        }
        self.check_areas()?;
        self.unmap(start, length)?;
        area.end = end;
        let mut areas = self.areas.borrow_mut();
        if let Some((_, before)) = areas.range_mut(..start).next_back()
            && before.continues(start, &area)
        {
            before.end = end;
            return Ok(());
        }
        areas.insert(start, area);
        Ok(())
    }

    /// Maps an area where there is space, near `wish` if it is not zero; the address.
    ///
    /// # Errors
    /// `ENOMEM`
    pub fn map(&self, wish: usize, length: usize, area: Area) -> Result {
        let length = page_end(length)
            .filter(|&length| length > 0)
            .ok_or(Errno::NOMEM)?;
        let start = self
            .find_room(page_start(wish), length)
            .ok_or(Errno::NOMEM)?;
        self.map_at(start, length, area)?;
        Ok(start)
    }

    /// Whether nothing is mapped in a range.
    pub fn is_free(&self, start: usize, length: usize) -> bool {
        let Some(end) = start.checked_add(length) else {
            return false;
        };
        let areas = self.areas.borrow();
        start >= USER_START
            && end <= USER_END
            && areas
                .range(..end)
                .next_back()
                .is_none_or(|(_, area)| area.end <= start)
    }

    /// Returns whether there is memory in all of a range, with any protection.
    pub fn is_mapped(&self, start: usize, end: usize) -> bool {
        let areas = self.areas.borrow();
        let before = areas.range(..=start).next_back();
        let first = before.map_or(start, |(&at, _)| at);
        let mut reached = start;
        for (&at, area) in areas.range(first..end.max(first)) {
            if at > reached {
                return false;
            }
            reached = reached.max(area.end);
        }
        reached >= end
    }

    fn find_room(&self, wish: usize, length: usize) -> Option<usize> {
        if wish != 0 && self.is_free(wish, length) {
            return Some(wish);
        }
        let areas = self.areas.borrow();
        let mut limit = self.mappings_end.get();
        for (&start, area) in areas.range(..limit).rev() {
            if area.end <= limit && limit - area.end >= length {
                return Some(limit - length);
            }
            limit = limit.min(start);
        }
        limit
            .checked_sub(length)
            .filter(|&start| start >= USER_START)
    }

    /// Cuts areas so that none crosses `address`.
    fn split(areas: &mut BTreeMap<usize, Area>, address: usize) {
        let Some((&start, area)) = areas.range_mut(..address).next_back() else {
            return;
        };
        if area.end > address {
            let rest = area.clone().advance(address - start);
            area.end = address;
            areas.insert(address, rest);
        }
    }

    /// Removes what is mapped in a range.
    ///
    /// # Errors
    /// `EINVAL` for a range that is not one.
    pub fn unmap(&self, start: usize, length: usize) -> Result<()> {
        let end = start
            .checked_add(length)
            .and_then(page_end)
            .ok_or(Errno::INVAL)?;
        if !start.is_multiple_of(PAGE) || length == 0 || end > USER_END {
            return Err(Errno::INVAL);
        }
        if self
            .area_at(start)
            .is_some_and(|(first, area)| first < start && end < area.end)
        {
            // One area becomes two.
            self.check_areas()?;
        }
        let mut gone = Vec::new();
        {
            let mut areas = self.areas.borrow_mut();
            Space::split(&mut areas, start);
            Space::split(&mut areas, end);
            let starts: Vec<usize> = areas.range(start..end).map(|(&start, _)| start).collect();
            for start in starts {
                gone.extend(areas.remove(&start).map(|area| (start, area)));
            }
        }
        for (start, area) in gone {
            self.drop_pages(start, area.end);
        }
        Ok(())
    }

    fn drop_pages(&self, start: usize, end: usize) {
        for (address, _) in self.table.pages(start, end) {
            if let Some((_, frame)) = self.table.take(address) {
                self.resident.set(self.resident.get() - 1);
                self.flush(address);
                drop(frame);
            }
        }
    }

    /// Changes what may be done with a range.
    ///
    /// # Errors
    /// `ENOMEM` if a part of it is not mapped, `EACCES` to write to a file open for reading.
    pub fn protect(&self, start: usize, length: usize, protection: Protection) -> Result<()> {
        let end = start
            .checked_add(length)
            .and_then(page_end)
            .ok_or(Errno::NOMEM)?;
        if !start.is_multiple_of(PAGE) {
            return Err(Errno::INVAL);
        }
        if start == end {
            return Ok(());
        }
        self.check_areas()?;
        let mut changed = Vec::new();
        let mut result = Ok(());
        {
            let mut areas = self.areas.borrow_mut();
            Space::split(&mut areas, start);
            Space::split(&mut areas, end);
            let mut reached = start;
            for (&from, area) in areas.range_mut(start..end) {
                if from != reached {
                    break;
                }
                if !area.allows(protection) {
                    result = Err(Errno::ACCES);
                    break;
                }
                reached = area.end;
                if area.protection != protection {
                    area.protection = protection;
                    changed.push((from, area.end, area.shared));
                }
            }
            if reached < end && result.is_ok() {
                result = Err(Errno::NOMEM);
            }
            Space::merge(&mut areas, start, end);
        }
        // What lies before the place that cannot be changed is.
        for (from, to, shared) in changed {
            let runs = protection.contains(Protection::EXECUTE);
            for (address, entry) in self.table.pages(from, to) {
                let physical = entry.physical();
                if runs && !entry.is_executable() {
                    arch::synchronize_code(physical);
                }
                // A private page is copied at its first write unless no one else has it: that
                // is found out then.
                self.table
                    .change(address, Entry::page(physical, protection, !shared));
                self.flush(address);
            }
        }
        result
    }

    /// Forgets the pages of a file that has become shorter: touching them finds out that they
    /// are gone. `node` is the file's address.
    pub fn forget_file(&self, node: *const (), length: u64) {
        let Some(first) = length.checked_next_multiple_of(PAGE as u64) else {
            return;
        };
        for (start, area) in self.areas() {
            if let Backing::File {
                node: mapped,
                offset,
                ..
            } = &area.backing
                && core::ptr::addr_eq(Rc::as_ptr(mapped), node)
            {
                let kept = usize::try_from(first.saturating_sub(*offset)).unwrap_or(usize::MAX);
                self.drop_pages(start.saturating_add(kept).min(area.end), area.end);
            }
        }
    }

    /// Joins neighbouring areas of zeros that are alike.
    fn merge(areas: &mut BTreeMap<usize, Area>, start: usize, end: usize) {
        let starts: Vec<usize> = areas.range(start..=end).map(|(&start, _)| start).collect();
        for at in starts {
            let Some(area) = areas.get(&at).cloned() else {
                continue;
            };
            if let Some((_, before)) = areas.range_mut(..at).next_back()
                && before.continues(at, &area)
            {
                before.end = area.end;
                areas.remove(&at);
            }
        }
    }

    /// Brings the page at `address` in for an access.
    ///
    /// # Errors
    /// Why the access is not possible.
    pub fn touch(&self, address: usize, access: Access) -> core::result::Result<(), FaultError> {
        let page = page_start(address);
        let (start, area) = self.area_at(page).ok_or(FaultError::NotMapped)?;
        let wanted = if access.write {
            Protection::WRITE
        } else if access.execute {
            Protection::EXECUTE
        } else {
            Protection::READ
        };
        let readable = Protection::READ | Protection::WRITE | Protection::EXECUTE;
        let allowed = match wanted {
            Protection::READ => area.protection.intersects(readable),
            other => area.protection.contains(other),
        };
        if !allowed {
            return Err(FaultError::NotAllowed);
        }
        let entry = self.table.get(page);
        if entry.is_present() {
            return if access.write && !entry.is_writable() {
                self.unshare(page, entry, &area)
            } else {
                Ok(())
            };
        }
        self.bring_in(page, start, &area, access.write)
    }

    /// Gives the program its own copy of a page that it wants to write.
    fn unshare(
        &self,
        page: usize,
        entry: Entry,
        area: &Area,
    ) -> core::result::Result<(), FaultError> {
        // SAFETY: the entry owns the frame; the borrowed owner is given back at once.
        let frame = unsafe { Frame::from_raw(entry.physical()) };
        let alone = frame.owners() == 1 || area.shared;
        let copy = if alone {
            Ok(None)
        } else {
            frame.duplicate().map(Some)
        };
        frame.into_raw();
        match copy.map_err(|_| FaultError::OutOfMemory)? {
            None => self
                .table
                .change(page, Entry::page(entry.physical(), area.protection, false)),
            Some(copy) => {
                let new = Entry::page(copy.into_raw(), area.protection, false);
                if new.is_executable() {
                    arch::synchronize_code(new.physical());
                }
                // The processor must forget the old page before it learns of the new one
                // (arm64, "break before make").
                let old = self.table.take(page);
                self.flush(page);
                self.table
                    .put(page, new)
                    .map_err(|_| FaultError::OutOfMemory)?;
                drop(old);
            }
        }
        self.flush(page);
        Ok(())
    }

    fn bring_in(
        &self,
        page: usize,
        start: usize,
        area: &Area,
        write: bool,
    ) -> core::result::Result<(), FaultError> {
        let Backing::File {
            node, offset, end, ..
        } = &area.backing
        else {
            let frame = Frame::new().map_err(|_| FaultError::OutOfMemory)?;
            return self.insert(page, frame, area.protection, false);
        };
        let file_page = |page: usize| -> core::result::Result<Frame, FaultError> {
            let position = offset.saturating_add((page - start) as u64);
            let index = position / PAGE as u64;
            let frame = if area.shared {
                node.shared_page(index)
            } else {
                node.page(index)
            };
            let frame = frame.map_err(|error| match error {
                Errno::NOMEM => FaultError::OutOfMemory,
                _ => FaultError::BeyondFile,
            })?;
            if position.saturating_add(PAGE as u64) <= *end {
                return Ok(frame);
            }
            let cut = frame.duplicate().map_err(|_| FaultError::OutOfMemory)?;
            cut.clear_from(end.saturating_sub(position) as usize);
            Ok(cut)
        };
        let frame = file_page(page)?;
        if area.shared {
            return self.insert(page, frame, area.protection, false);
        }
        if write {
            let own = if frame.owners() == 1 {
                Ok(frame)
            } else {
                frame.duplicate()
            };
            let own = own.map_err(|_| FaultError::OutOfMemory)?;
            return self.insert(page, own, area.protection, false);
        }
        self.insert(page, frame, area.protection, true)?;
        // The next pages are likely wanted as well; what does not work is left out.
        for page in (page + PAGE..area.end).step_by(PAGE).take(AROUND - 1) {
            if (page / PAGE).is_multiple_of(AROUND) || self.table.get(page).is_present() {
                break;
            }
            let Ok(frame) = file_page(page) else { break };
            if self.insert(page, frame, area.protection, true).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn insert(
        &self,
        page: usize,
        frame: Frame,
        protection: Protection,
        copy_on_write: bool,
    ) -> core::result::Result<(), FaultError> {
        let entry = Entry::page(frame.physical(), protection, copy_on_write);
        if entry.is_executable() {
            arch::synchronize_code(frame.physical());
        }
        let old = self
            .table
            .put(page, entry)
            .map_err(|_| FaultError::OutOfMemory)?;
        frame.into_raw();
        if old.is_none() {
            self.resident.set(self.resident.get() + 1);
        }
        drop(old);
        arch::synchronize_tables();
        Ok(())
    }

    /// A copy for `fork`: private pages are shared until one side writes to them.
    ///
    /// # Errors
    /// `ENOMEM`
    pub fn fork(&self) -> Result<Rc<Space>> {
        self.check_areas()?;
        let copy = Space {
            table: Table::new()?,
            areas: self.areas.clone(),
            brk: self.brk.clone(),
            mappings_end: self.mappings_end.clone(),
            stack_end: self.stack_end.clone(),
            resident: Cell::new(0),
        };
        for (start, area) in self.areas() {
            for (address, entry) in self.table.pages(start, area.end) {
                // SAFETY: the entry owns the frame; the borrowed owner is given back at once.
                let frame = unsafe { Frame::from_raw(entry.physical()) };
                let second = frame.clone();
                frame.into_raw();
                let shared = Entry::page(entry.physical(), area.protection, !area.shared);
                copy.table.put(address, shared)?;
                second.into_raw();
                copy.resident.set(copy.resident.get() + 1);
                if !area.shared && entry.is_writable() {
                    self.table.change(address, shared);
                    self.flush(address);
                }
            }
        }
        Ok(Rc::new(copy))
    }

    /// Forgets the pages of a range: they are zeros or the file again (`MADV_DONTNEED`).
    ///
    /// # Errors
    /// `EINVAL` for a range that is not one.
    pub fn forget(&self, start: usize, length: usize) -> Result<()> {
        let end = start
            .checked_add(length)
            .and_then(page_end)
            .ok_or(Errno::INVAL)?;
        if !start.is_multiple_of(PAGE) {
            return Err(Errno::INVAL);
        }
        for (from, area) in self.areas() {
            let (from, to) = (from.max(start), area.end.min(end));
            if from < to {
                self.drop_pages(from, to);
            }
        }
        Ok(())
    }

    /// Moves mappings and the stack down by numbers of pages, before there are any: programs that
    /// are attacked do not know where something is.
    pub fn move_down(&self, mappings: usize, stack: usize) {
        self.mappings_end.set(MAPPINGS_END - mappings * PAGE);
        self.stack_end.set(USER_END - stack * PAGE);
    }

    /// Where the stack of the first thread ends.
    pub fn stack_end(&self) -> usize {
        self.stack_end.get()
    }

    /// Sets where `brk` memory begins: after the program.
    pub fn set_brk_start(&self, start: usize) {
        self.brk.set((start, start));
    }

    /// Moves the end of `brk` memory; returns where it is then.
    pub fn set_brk(&self, end: usize) -> usize {
        let (start, now) = self.brk.get();
        let (Some(old_page), Some(new_page)) = (page_end(now), page_end(end)) else {
            return now;
        };
        if end < start || new_page > USER_END {
            return now;
        }
        if new_page > old_page {
            let area = Area {
                end: 0,
                protection: Protection::READ | Protection::WRITE,
                shared: false,
                backing: Backing::Zeros,
            };
            let length = new_page - old_page;
            if !self.is_free(old_page, length) || self.map_at(old_page, length, area).is_err() {
                return now;
            }
        } else if new_page < old_page && self.unmap(new_page, old_page - new_page).is_err() {
            return now;
        }
        self.brk.set((start, end));
        end
    }

    /// Changes the size of a mapping, and its place if `may_move` or `fixed` allows it.
    ///
    /// # Errors
    /// `EFAULT` if nothing is mapped, `ENOMEM` if there is no space, `EINVAL`.
    pub fn remap(
        &self,
        old: usize,
        old_length: usize,
        new_length: usize,
        may_move: bool,
        fixed: Option<usize>,
    ) -> Result {
        let old_length = page_end(old_length).ok_or(Errno::INVAL)?;
        let new_length = page_end(new_length)
            .filter(|&length| length > 0)
            .ok_or(Errno::INVAL)?;
        if !old.is_multiple_of(PAGE) {
            return Err(Errno::INVAL);
        }
        let (start, area) = self.area_at(old).ok_or(Errno::FAULT)?;
        if old.checked_add(old_length).is_none_or(|end| end > area.end) {
            return Err(Errno::FAULT);
        }
        let area = area.advance(old - start);
        if fixed.is_none() && new_length <= old_length {
            if new_length < old_length {
                self.unmap(old + new_length, old_length - new_length)?;
            }
            return Ok(old);
        }
        let grown = new_length.saturating_sub(old_length);
        if fixed.is_none() && self.is_free(old + old_length, grown) {
            let rest = area.advance(old_length);
            self.map_at(old + old_length, grown, rest)?;
            return Ok(old);
        }
        if !may_move {
            return Err(Errno::NOMEM);
        }
        let new = match fixed {
            Some(new) => {
                if !new.is_multiple_of(PAGE) || (new < old + old_length && old < new + new_length) {
                    return Err(Errno::INVAL);
                }
                self.map_at(new, new_length, area)?;
                new
            }
            None => self.map(0, new_length, area)?,
        };
        let moved = old_length.min(new_length);
        for (address, _) in self.table.pages(old, old + moved) {
            if let Some((entry, frame)) = self.table.take(address) {
                self.flush(address);
                let previous = self.table.put(new + (address - old), entry)?;
                frame.into_raw();
                drop(previous);
            }
        }
        if old_length > 0 {
            self.unmap(old, old_length)?;
        }
        Ok(new)
    }

    /// The frame at `address`, brought in for an access.
    ///
    /// # Errors
    /// `EFAULT`
    pub fn frame(&self, address: usize, write: bool) -> Result<Frame> {
        if address >= USER_END {
            return Err(Errno::FAULT);
        }
        let mut entry = self.table.get(address);
        if !entry.is_readable() || (write && !entry.is_writable()) {
            self.touch(
                address,
                Access {
                    write,
                    execute: false,
                },
            )
            .map_err(|_| Errno::FAULT)?;
            entry = self.table.get(address);
        }
        // SAFETY: the entry owns the frame; the borrowed owner is given back at once.
        let frame = unsafe { Frame::from_raw(entry.physical()) };
        let result = frame.clone();
        frame.into_raw();
        Ok(result)
    }

    /// Copies bytes out of the program's memory.
    ///
    /// # Errors
    /// `EFAULT`
    pub fn read(&self, address: usize, bytes: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = address.checked_add(done).ok_or(Errno::FAULT)?;
            let offset = at % PAGE;
            let length = (PAGE - offset).min(bytes.len() - done);
            self.frame(at, false)?
                .read(offset, &mut bytes[done..done + length]);
            done += length;
        }
        Ok(())
    }

    /// Copies bytes into the program's memory.
    ///
    /// # Errors
    /// `EFAULT`
    pub fn write(&self, address: usize, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let at = address.checked_add(done).ok_or(Errno::FAULT)?;
            let offset = at % PAGE;
            let length = (PAGE - offset).min(bytes.len() - done);
            self.frame(at, true)?
                .write(offset, &bytes[done..done + length]);
            done += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
