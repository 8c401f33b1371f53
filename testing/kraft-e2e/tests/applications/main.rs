//! Real applications on the built-in runtime: from Debian's packages, or compiled here.
//!
//! `make applications` makes their root filesystems and runs all of it, which takes an hour without
//! KVM. What needs no root filesystem of its own is in `host.rs`, and part of `make test`.

mod catalog;
mod clients;
mod connections;
mod each;
mod guest;
mod host;
mod memory;
mod starts;
