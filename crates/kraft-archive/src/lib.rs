//! Archives from outside: compressed streams and tarballs, read within limits.
//!
//! Every reader of archives uses these: root filesystems, image layers, `ADD`, component archives
//! and `pkg load`. All of it works on plain byte streams; no file is opened here.

pub mod compression;
pub mod limits;
mod sparse;
pub mod tar;
