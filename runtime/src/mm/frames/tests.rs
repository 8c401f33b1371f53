use alloc::vec::Vec;

use super::*;
use crate::arch::machine;

/// The size of the blocks that the machine of the tests has some of.
const LARGEST: usize = 10;

/// Takes all blocks of one size.
fn take_all(order: usize) -> Vec<usize> {
    core::iter::from_fn(|| allocate(order)).collect()
}

fn give_back(blocks: Vec<usize>, order: usize) {
    for block in blocks {
        release(block, order);
    }
}

#[test]
fn blocks_that_come_back_are_joined() {
    let _machine = machine();
    let free = free_bytes();
    let largest = take_all(LARGEST);
    assert!(!largest.is_empty());
    give_back(largest.clone(), LARGEST);
    for order in 0..=LARGEST {
        let mut blocks = take_all(order);
        assert!(blocks.iter().all(|block| block % (PAGE << order) == 0));
        blocks.sort_unstable();
        assert!(
            blocks
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= PAGE << order)
        );
        // Every second one first: nothing can be joined until its buddy comes.
        let (even, odd): (Vec<_>, Vec<_>) = blocks
            .into_iter()
            .partition(|block| block / (PAGE << order) % 2 == 0);
        give_back(odd, order);
        give_back(even, order);
        assert_eq!(free_bytes(), free);
        let again = take_all(LARGEST);
        assert_eq!(again.len(), largest.len(), "order {order}");
        give_back(again, LARGEST);
    }
}

#[test]
fn blocks_of_any_order_of_events_do_not_overlap() {
    let _machine = machine();
    let free = free_bytes();
    let mut held: Vec<(usize, usize)> = Vec::new();
    let mut state = 1_u64;
    for _ in 0..20_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let random = (state >> 33) as usize;
        if random % 3 == 0 && !held.is_empty() {
            let (block, order) = held.swap_remove(random % held.len());
            release(block, order);
        } else if let Some(block) = allocate(random % 6) {
            held.push((block, random % 6));
        }
    }
    held.sort_unstable();
    for pair in held.windows(2) {
        assert!(pair[0].0 + (PAGE << pair[0].1) <= pair[1].0);
    }
    for (block, order) in held {
        release(block, order);
    }
    assert_eq!(free_bytes(), free);
}

#[test]
fn the_last_owner_gives_a_frame_back() {
    let _machine = machine();
    let free = free_bytes();
    let frame = Frame::new().unwrap();
    let second = frame.clone();
    assert_eq!(frame.owners(), 2);
    frame.write(4, &7_u32.to_le_bytes());
    assert_eq!(second.word(4), 7);
    let copy = frame.duplicate().unwrap();
    copy.clear_from(0);
    assert_eq!((frame.word(4), copy.word(4)), (7, 0));
    drop((frame, copy));
    assert_eq!(second.owners(), 1);
    assert_eq!(free - free_bytes(), PAGE);
    drop(second);
    assert_eq!(free_bytes(), free);
}

#[test]
fn programs_do_not_get_the_reserve() {
    let _machine = machine();
    let free = free_bytes();
    let frames: Vec<Frame> = core::iter::from_fn(|| Frame::new().ok()).collect();
    assert!(free_bytes() > 0);
    assert_eq!(Frame::new().err(), Some(Errno::NOMEM));
    assert!(allocate(0).is_some_and(|page| {
        release(page, 0);
        true
    }));
    drop(frames);
    assert_eq!(free_bytes(), free);
}

#[test]
#[should_panic(expected = "is not in memory")]
fn a_frame_outside_of_memory_is_a_bug() {
    let _machine = machine();
    MEMORY.info(usize::MAX / PAGE);
}
