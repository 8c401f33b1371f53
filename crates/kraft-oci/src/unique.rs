//! Unique names for private files.

/// Returns a unique name.
pub(crate) fn unique() -> String {
    let mut salt = [0; 8];
    // Without randomness, time and process id still make it unique.
    let _ = getrandom::fill(&mut salt);
    let now = kraft_sys::clock::now().as_nanos();
    let salt = u64::from_ne_bytes(salt);
    format!("{}-{now:x}-{salt:x}", std::process::id())
}
