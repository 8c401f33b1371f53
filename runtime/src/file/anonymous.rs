//! Numbers for files that have no node.

use core::cell::Cell;

use crate::sync::Global;

static NEXT: Global<Cell<u64>> = Global::new(Cell::new(1));

/// A number that no other file without a node has.
pub fn next_number() -> u64 {
    let number = NEXT.get();
    NEXT.set(number + 1);
    number
}
