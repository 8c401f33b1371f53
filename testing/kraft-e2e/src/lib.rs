//! What the end-to-end tests stand on. They drive the real binary from outside and import nothing
//! of ours but the emulated cloud, so the same tests could be pointed at another `kraft` (`KRAFT_BIN`).

pub mod cloud;
pub mod dockerfiles;
pub mod engines;
pub mod guest;
pub mod harness;
pub mod hostile;
pub mod http;
pub mod limit;
pub mod linux;
pub mod measure;
pub mod netns;
pub mod program;
pub mod registry;
pub mod source;
#[cfg(test)]
mod suites;
pub mod terminal;
pub mod web;
