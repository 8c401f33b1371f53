//! Helpers of the end-to-end tests. They run the real binary and import no product code except for
//! the emulated cloud, so the tests can run another `kraft` (`KRAFT_BIN`).

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
