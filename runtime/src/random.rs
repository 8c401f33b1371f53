//! Random bytes: a ChaCha20 stream that is seeded by the processor, a virtio device and the
//! times of interrupts.

use core::cell::{Cell, RefCell};

use crate::arch;
use crate::sync::Global;

struct Generator {
    key: RefCell<[u32; 8]>,
    counter: Cell<u64>,
}

static GENERATOR: Global<Generator> = Global::new(Generator {
    key: RefCell::new([0; 8]),
    counter: Cell::new(0),
});

/// Mixes something that others cannot know into the key.
pub fn add_entropy(value: u64) {
    {
        let mut key = GENERATOR.key.borrow_mut();
        key[0] ^= value as u32;
        key[1] ^= (value >> 32) as u32;
    }
    rekey();
}

/// Takes what the processor has; called once at boot.
pub fn init() {
    for _ in 0..4 {
        add_entropy(arch::hardware_random().unwrap_or_else(arch::monotonic));
    }
    add_entropy(crate::time::wall_clock());
}

/// Fills bytes.
pub fn fill(bytes: &mut [u8]) {
    for piece in bytes.chunks_mut(64) {
        let block = next_block();
        piece.copy_from_slice(&block[..piece.len()]);
    }
    // What was given out cannot be found from the key that is kept.
    rekey();
}

/// A random number.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn rekey() {
    let block = next_block();
    let mut key = GENERATOR.key.borrow_mut();
    for (word, bytes) in key.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
}

fn next_block() -> [u8; 64] {
    let counter = GENERATOR.counter.get();
    GENERATOR.counter.set(counter.wrapping_add(1));
    chacha20(&GENERATOR.key.borrow(), counter, [0; 2])
}

/// One block of ChaCha20 (RFC 8439, section 2.3, with a counter of 64 bits).
fn chacha20(key: &[u32; 8], counter: u64, nonce: [u32; 2]) -> [u8; 64] {
    let mut start = [0_u32; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12..14].copy_from_slice(&[counter as u32, (counter >> 32) as u32]);
    start[14..].copy_from_slice(&nonce);
    let mut state = start;
    let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
        for (add, to, rotate) in [
            (b, (a, d), 16),
            (d, (c, b), 12),
            (b, (a, d), 8),
            (d, (c, b), 7),
        ] {
            let (sum, mixed) = to;
            state[sum] = state[sum].wrapping_add(state[add]);
            state[mixed] = (state[mixed] ^ state[sum]).rotate_left(rotate);
        }
    };
    for _ in 0..10 {
        for column in 0..4 {
            quarter(column, column + 4, column + 8, column + 12);
        }
        for column in 0..4 {
            quarter(
                column,
                (column + 1) % 4 + 4,
                (column + 2) % 4 + 8,
                (column + 3) % 4 + 12,
            );
        }
    }
    let mut block = [0; 64];
    for ((bytes, word), first) in block.chunks_exact_mut(4).zip(state).zip(start) {
        bytes.copy_from_slice(&word.wrapping_add(first).to_le_bytes());
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.3.2.
    #[test]
    fn the_block_of_the_rfc() {
        let key: [u32; 8] = core::array::from_fn(|i| {
            let i = i as u32 * 4;
            u32::from_le_bytes([i as u8, i as u8 + 1, i as u8 + 2, i as u8 + 3])
        });
        let counter = 1 | 0x0900_0000_u64 << 32;
        let block = chacha20(&key, counter, [0x4a00_0000, 0]);
        assert_eq!(block[..8], [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15]);
    }
}
