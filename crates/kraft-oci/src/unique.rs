//! Names that nobody else has, for files that only their maker looks at.

/// Returns one.
pub(crate) fn unique() -> String {
    let mut salt = [0; 8];
    // Where there is no randomness, time and process still tell us apart.
    let _ = getrandom::fill(&mut salt);
    let now = kraft_sys::clock::now().as_nanos();
    let salt = u64::from_ne_bytes(salt);
    format!("{}-{now:x}-{salt:x}", std::process::id())
}
