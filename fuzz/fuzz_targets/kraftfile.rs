//! Any bytes read as a Kraftfile: no panic, no endless reading, no broken drawing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kraft_core::kraftfile::exercise(bytes);
});
