use alloc::vec::Vec;

use super::*;
use crate::arch::machine;

#[test]
fn pieces_are_aligned_and_do_not_overlap() {
    let _machine = machine();
    leave_early_heap();
    let mut held: Vec<(usize, Layout)> = Vec::new();
    let mut state = 7_u64;
    for _ in 0..5_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let random = (state >> 33) as usize;
        if random % 5 < 2 && !held.is_empty() {
            let (at, layout) = held.swap_remove(random % held.len());
            // SAFETY: allocated below with the same layout.
            unsafe { ALLOCATOR.dealloc(at as *mut u8, layout) };
            continue;
        }
        let size = 1 << (random % 14);
        let layout = Layout::from_size_align(size + random % size, 1 << (random % 13)).unwrap();
        // SAFETY: the size is not zero.
        let at = unsafe { ALLOCATOR.alloc(layout) } as usize;
        if at != 0 {
            assert_eq!(at % layout.align(), 0, "{layout:?}");
            held.push((at, layout));
        }
    }
    held.sort_unstable_by_key(|piece| piece.0);
    for pair in held.windows(2) {
        assert!(pair[0].0 + pair[0].1.size() <= pair[1].0);
    }
    for (at, layout) in held {
        // SAFETY: as above.
        unsafe { ALLOCATOR.dealloc(at as *mut u8, layout) };
    }
}
