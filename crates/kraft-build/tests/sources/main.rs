//! Components from real servers: Git over HTTP, archives, catalogs, and what goes wrong with them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod archives;
mod catalog;
mod repositories;
mod server;
mod world;
