//! Any bytes read as a newc archive: no panic, no path out of the root, no endless reading.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kraft_rootfs::archive::exercise(bytes);
});
