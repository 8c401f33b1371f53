//! Any bytes read as a Compose file: no panic, no endless reading, no broken drawing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kraft_core::compose::exercise(bytes);
});
