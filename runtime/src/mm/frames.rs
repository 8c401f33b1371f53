//! Physical memory in blocks of 2^n pages (a buddy allocator), and counted frames of one page.

use core::cell::Cell;
use core::ptr::{copy_nonoverlapping, write_bytes};

use crate::abi::errno::{Errno, Result};
use crate::arch::{PAGE, PHYSICAL};
use crate::sync::Global;

/// The largest block has 2^18 pages, 1 GiB.
const ORDERS: usize = 19;
/// No frame: ends a list.
const NONE: u32 = u32::MAX;

/// What is known of one frame. Free memory itself is never touched: the host need not have it, and
/// what it gives for one touch are 2 MiB of zeros.
#[derive(Clone, Copy)]
struct Info {
    /// How many owners a frame has (see [`Frame`]).
    owners: u32,
    /// The free blocks of the same size after and before the one that begins here.
    next: u32,
    previous: u32,
    /// The size of the free block that begins here, as a power of two of pages.
    order: u8,
    /// Whether a free block begins here.
    free: bool,
}

struct Memory {
    /// The table of all frames from `first` to `end`.
    infos: Cell<*mut Info>,
    first: Cell<usize>,
    end: Cell<usize>,
    lists: [Cell<u32>; ORDERS],
    free: Cell<usize>,
    total: Cell<usize>,
}

static MEMORY: Global<Memory> = Global::new(Memory {
    infos: Cell::new(core::ptr::null_mut()),
    first: Cell::new(0),
    end: Cell::new(0),
    lists: [const { Cell::new(NONE) }; ORDERS],
    free: Cell::new(0),
    total: Cell::new(0),
});

impl Memory {
    fn has(&self, frame: usize) -> bool {
        (self.first.get()..self.end.get()).contains(&frame)
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "the table is not part of `self`; see below"
    )]
    fn info(&self, frame: usize) -> &mut Info {
        assert!(self.has(frame), "frame {frame} is not in memory");
        // SAFETY: the table has an entry for the frame, no one keeps a reference to one, and
        // only one thread is in the kernel.
        unsafe { &mut *self.infos.get().add(frame - self.first.get()) }
    }

    fn push(&self, frame: usize, order: usize) {
        let next = self.lists[order].replace(frame as u32);
        if next != NONE {
            self.info(next as usize).previous = frame as u32;
        }
        let info = self.info(frame);
        info.next = next;
        info.previous = NONE;
        info.order = order as u8;
        info.free = true;
        self.free.set(self.free.get() + (1 << order));
    }

    fn take(&self, frame: usize) {
        let info = self.info(frame);
        info.free = false;
        let Info {
            next,
            previous,
            order,
            ..
        } = *info;
        let order = usize::from(order);
        if previous == NONE {
            self.lists[order].set(next);
        } else {
            self.info(previous as usize).next = next;
        }
        if next != NONE {
            self.info(next as usize).previous = previous;
        }
        self.free.set(self.free.get() - (1 << order));
    }
}

/// Hands memory to the allocator: `ranges` without what `reserved` covers, both as (physical
/// start, bytes). `mapped` is the end of the memory that is mapped at [`PHYSICAL`].
pub fn init(ranges: &[(usize, usize)], reserved: &[(usize, usize)], mapped: usize) {
    let end = ranges
        .iter()
        .map(|&(start, length)| start.saturating_add(length))
        .max();
    let end = end.unwrap_or(0) / PAGE;
    // A block of the largest size begins at a multiple of it.
    let first = ranges.iter().map(|&(start, _)| start / PAGE).min();
    let first = first.unwrap_or(0) & !((1 << (ORDERS - 1)) - 1);
    let frames = end.saturating_sub(first);
    let table_size = (frames * size_of::<Info>()).next_multiple_of(PAGE);
    let is_reserved = |from: usize, to: usize| {
        reserved
            .iter()
            .any(|&(start, length)| from < start.saturating_add(length) && start < to)
    };
    // The table goes to the first place where it fits.
    let candidates = ranges
        .iter()
        .chain(reserved.iter())
        .map(|&(start, length)| (start, start.saturating_add(length)));
    let table = candidates
        .flat_map(|(start, end)| [start, end])
        .map(|start| start.next_multiple_of(PAGE))
        .filter(|&start| {
            ranges.iter().any(|&(from, length)| {
                start >= from && start + table_size <= (from.saturating_add(length)).min(mapped)
            }) && !is_reserved(start, start + table_size)
        })
        .min();
    let Some(table) = table else {
        panic!("no room for the table of {frames} frames")
    };
    // SAFETY: the range is usable memory that nothing else has.
    unsafe { write_bytes((PHYSICAL + table) as *mut u8, 0, table_size) };
    MEMORY.infos.set((PHYSICAL + table) as *mut Info);
    MEMORY.first.set(first);
    MEMORY.end.set(end);
    let mut reserved = reserved.to_vec();
    reserved.push((table, table_size));
    add(ranges, &reserved, 0, mapped);
}

/// Frees the pages of `ranges` from `from` to `to` that are not reserved.
pub fn add(ranges: &[(usize, usize)], reserved: &[(usize, usize)], from: usize, to: usize) {
    for &(start, length) in ranges {
        let mut at = start.max(from).next_multiple_of(PAGE);
        let stop = start.saturating_add(length).min(to);
        while at + PAGE <= stop {
            let next = reserved
                .iter()
                .find(|&&(taken, length)| at < taken + length && taken < at + PAGE)
                .map(|&(taken, length)| (taken + length).next_multiple_of(PAGE));
            if let Some(next) = next {
                at = next;
                continue;
            }
            // The largest block that begins here: the pages inside it need not be touched.
            let limit = reserved
                .iter()
                .map(|&(taken, _)| taken)
                .filter(|&taken| taken > at)
                .fold(stop, usize::min);
            let order = (1..ORDERS)
                .take_while(|&order| {
                    let size = PAGE << order;
                    at.is_multiple_of(size) && at + size <= limit
                })
                .last()
                .unwrap_or(0);
            release(at, order);
            MEMORY.total.set(MEMORY.total.get() + (1 << order));
            at += PAGE << order;
        }
    }
}

/// Bytes of memory that are free now.
pub fn free_bytes() -> usize {
    MEMORY.free.get() * PAGE
}

/// Whether there is memory for what programs make in the kernel: open files, watches, locks.
///
/// # Errors
/// `ENOMEM`
pub fn check_spare() -> Result<()> {
    const SPARE: usize = 2 << 20;
    if free_bytes() < SPARE {
        Err(Errno::NOMEM)
    } else {
        Ok(())
    }
}

/// Whether there is memory for files in memory and their names: they leave a part to programs.
///
/// # Errors
/// `ENOMEM`
pub fn check_spare_for_files() -> Result<()> {
    if free_bytes() < (total_bytes() / 32).clamp(2 << 20, 32 << 20) {
        Err(Errno::NOMEM)
    } else {
        Ok(())
    }
}

/// Bytes of memory that the machine has, without what was taken before the kernel ran.
pub fn total_bytes() -> usize {
    MEMORY.total.get() * PAGE
}

/// Pages that programs cannot have, so that the kernel can continue when they take everything.
fn reserve() -> usize {
    (MEMORY.total.get() / 64).clamp(32, 1024)
}

/// A block of 2^`order` pages; the physical address.
pub fn allocate(order: usize) -> Option<usize> {
    let mut size = (order..ORDERS).find(|&size| MEMORY.lists[size].get() != NONE)?;
    let frame = MEMORY.lists[size].get() as usize;
    MEMORY.take(frame);
    while size > order {
        size -= 1;
        MEMORY.push(frame + (1 << size), size);
    }
    Some(frame * PAGE)
}

/// Gives a block of 2^`order` pages back.
pub fn release(physical: usize, order: usize) {
    let (mut frame, mut size) = (physical / PAGE, order);
    while size + 1 < ORDERS {
        let buddy = frame ^ 1 << size;
        if !MEMORY.has(buddy) {
            break;
        }
        let info = MEMORY.info(buddy);
        if !info.free || info.order as usize != size {
            break;
        }
        MEMORY.take(buddy);
        frame &= !(1 << size);
        size += 1;
    }
    MEMORY.push(frame, size);
}

/// One owner of a page of physical memory. A clone is one more owner of the same page; the
/// last one gives it back.
pub struct Frame(usize);

impl Frame {
    /// A page of zeros for a program.
    ///
    /// # Errors
    /// `ENOMEM` when only the kernel's reserve is left.
    pub fn new() -> Result<Frame> {
        let frame = Frame::uninitialized()?;
        // SAFETY: the page was just allocated.
        unsafe { write_bytes(frame.pointer(), 0, PAGE) };
        Ok(frame)
    }

    fn uninitialized() -> Result<Frame> {
        if MEMORY.free.get() <= reserve() {
            return Err(Errno::NOMEM);
        }
        let physical = allocate(0).ok_or(Errno::NOMEM)?;
        MEMORY.info(physical / PAGE).owners = 1;
        Ok(Frame(physical))
    }

    /// A page with the same content.
    ///
    /// # Errors
    /// As [`Frame::new`].
    pub fn duplicate(&self) -> Result<Frame> {
        let frame = Frame::uninitialized()?;
        // SAFETY: two different pages, both ours.
        unsafe { copy_nonoverlapping(self.pointer(), frame.pointer(), PAGE) };
        Ok(frame)
    }

    /// The physical address.
    pub fn physical(&self) -> usize {
        self.0
    }

    /// How many owners the page has.
    pub fn owners(&self) -> u32 {
        MEMORY.info(self.0 / PAGE).owners
    }

    /// Gives up the owner without giving up the page: a page table keeps it.
    pub fn into_raw(self) -> usize {
        let physical = self.0;
        core::mem::forget(self);
        physical
    }

    /// Takes back what [`Frame::into_raw`] gave.
    ///
    /// # Safety
    /// Each `into_raw` is undone once.
    pub unsafe fn from_raw(physical: usize) -> Frame {
        Frame(physical)
    }

    fn pointer(&self) -> *mut u8 {
        (PHYSICAL + self.0) as *mut u8
    }

    /// Copies bytes out, from `offset` on; the range must lie within the page.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset + bytes.len() <= PAGE);
        // SAFETY: within the page. Programs may change it at the same time only while they
        // run, which they do not while the kernel does.
        unsafe { copy_nonoverlapping(self.pointer().add(offset), bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Copies bytes in, from `offset` on; the range must lie within the page.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= PAGE);
        // SAFETY: see `read`.
        unsafe { copy_nonoverlapping(bytes.as_ptr(), self.pointer().add(offset), bytes.len()) }
    }

    /// Clears the page from `offset` to its end.
    pub fn clear_from(&self, offset: usize) {
        assert!(offset <= PAGE);
        // SAFETY: see `read`.
        unsafe { write_bytes(self.pointer().add(offset), 0, PAGE - offset) }
    }

    /// The bytes of the page, for the length of a call that runs no program.
    pub fn with<R>(&self, body: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: `body` runs in the kernel, while no program changes the page.
        body(unsafe { core::slice::from_raw_parts(self.pointer(), PAGE) })
    }

    /// The aligned 32-bit number at `offset`.
    pub fn word(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset & !3, &mut bytes);
        u32::from_le_bytes(bytes)
    }
}

impl Clone for Frame {
    fn clone(&self) -> Frame {
        MEMORY.info(self.0 / PAGE).owners += 1;
        Frame(self.0)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let info = MEMORY.info(self.0 / PAGE);
        info.owners -= 1;
        if info.owners == 0 {
            release(self.0, 0);
        }
    }
}

#[cfg(test)]
mod tests;
