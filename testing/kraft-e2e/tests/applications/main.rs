//! Real applications on the built-in runtime: from Debian's packages, or compiled here.
//!
//! `make applications` makes their root filesystems and runs all of it, which takes an hour without KVM.
//! `make projects` creates and runs projects of every kind with `kraft init` and `kraft run`. What needs no
//! root filesystem of its own is in `host.rs`, and part of `make test`.

mod by_name;
mod catalog;
mod clients;
mod connections;
mod each;
mod guest;
mod host;
mod memory;
mod projects;
mod starts;
