#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kraft_fuzz::runu(bytes);
});
