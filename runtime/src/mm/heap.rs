//! The kernel's heap: small sizes come from lists of equal pieces, large ones are blocks of
//! pages. All of it is mapped at [`PHYSICAL`], so that devices can use it.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr::null_mut;

use super::frames;
use crate::arch::{PAGE, PHYSICAL};
use crate::sync::Global;

/// The sizes of small pieces.
const SIZES: [usize; 13] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048];
/// Bytes for what is allocated before memory is known.
const EARLY: usize = 64 << 10;

#[repr(align(64))]
struct EarlyMemory(UnsafeCell<[u8; EARLY]>);

struct Heap {
    early: EarlyMemory,
    early_used: Cell<usize>,
    early_only: Cell<bool>,
    lists: [Cell<*mut Piece>; SIZES.len()],
}

/// A free piece holds the address of the next one.
struct Piece {
    next: *mut Piece,
}

static HEAP: Global<Heap> = Global::new(Heap {
    early: EarlyMemory(UnsafeCell::new([0; EARLY])),
    early_used: Cell::new(0),
    early_only: Cell::new(true),
    lists: [const { Cell::new(null_mut()) }; SIZES.len()],
});

/// Begins with the early memory; [`leave_early_heap`] ends it.
pub fn start_early_heap() {
    HEAP.early_only.set(true);
}

/// From now on the heap takes its memory from the frames.
pub fn leave_early_heap() {
    HEAP.early_only.set(false);
}

/// The size class for an allocation; `None` if it takes whole pages.
fn class(layout: Layout) -> Option<usize> {
    let size = layout.size().max(1);
    SIZES
        .iter()
        .position(|&of_class| of_class >= size && of_class.is_multiple_of(layout.align()))
}

fn order(layout: Layout) -> usize {
    let pages = layout
        .size()
        .max(layout.align())
        .div_ceil(PAGE)
        .next_power_of_two();
    pages.trailing_zeros() as usize
}

impl Heap {
    fn early(&self, layout: Layout) -> *mut u8 {
        let start = self.early_used.get().next_multiple_of(layout.align());
        let end = start + layout.size();
        if end > EARLY || layout.align() > 64 {
            return null_mut();
        }
        self.early_used.set(end);
        // SAFETY: within the early memory, and handed out once.
        unsafe { self.early.0.get().cast::<u8>().add(start) }
    }

    fn is_early(&self, at: *mut u8) -> bool {
        let start = self.early.0.get() as usize;
        (start..start + EARLY).contains(&(at as usize))
    }

    fn small(&self, class: usize) -> *mut u8 {
        let first = self.lists[class].get();
        if !first.is_null() {
            // SAFETY: pieces in the list are free and hold their successor.
            self.lists[class].set(unsafe { (*first).next });
            return first.cast();
        }
        let Some(block) = frames::allocate(0) else {
            return null_mut();
        };
        let (start, size) = (PHYSICAL + block, SIZES[class]);
        let mut at = start + PAGE / size * size - size;
        while at > start {
            self.free_small(at as *mut u8, class);
            at -= size;
        }
        start as *mut u8
    }

    fn free_small(&self, at: *mut u8, class: usize) {
        let piece = at.cast::<Piece>();
        // SAFETY: the piece is free, aligned to 16 bytes and large enough for a pointer.
        unsafe {
            piece.write(Piece {
                next: self.lists[class].get(),
            })
        };
        self.lists[class].set(piece);
    }
}

/// The allocator of the kernel.
#[cfg_attr(target_os = "none", global_allocator)]
static ALLOCATOR: Allocator = Allocator;

struct Allocator;

// SAFETY: every block is handed out once until it comes back, aligned because pieces are at
// multiples of their size from the start of a page, and blocks at multiples of theirs.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if HEAP.early_only.get() {
            return HEAP.early(layout);
        }
        match class(layout) {
            Some(class) => HEAP.small(class),
            None => frames::allocate(order(layout))
                .map_or(null_mut(), |block| (PHYSICAL + block) as *mut u8),
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if HEAP.is_early(at) {
            return;
        }
        match class(layout) {
            Some(class) => HEAP.free_small(at, class),
            None => frames::release(at as usize - PHYSICAL, order(layout)),
        }
    }
}

#[cfg(test)]
mod tests;
