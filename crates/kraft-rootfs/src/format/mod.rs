//! The forms an archive can have: each takes a tree and writes it.

pub(crate) mod cpio;
