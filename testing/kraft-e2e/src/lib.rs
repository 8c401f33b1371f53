//! Helpers of the end-to-end tests. They run the real binary and import no product code except for
//! the emulated cloud, so the tests can run another `kraft` (`KRAFT_BIN`).
//!
//! ```no_run
//! use kraft_e2e::guest;
//! use kraft_e2e::harness::Bench;
//!
//! let bench = Bench::new();
//! let kernel = guest::mini("x86_64").display().to_string();
//! bench.ok(["run", "--detach", "--name", "web", &kernel]);
//! bench.wait_for_state("web", "exited");
//! assert!(bench.kraft(["rm", "web"]).code == Some(0));
//! ```

pub mod cloud;
pub mod dockerfiles;
pub mod engines;
pub mod guest;
pub mod harness;
pub mod hostile;
pub mod http;
pub mod kubernetes;
pub mod limit;
pub mod linux;
pub mod measure;
pub mod netns;
pub mod networks;
pub mod output_schema;
pub mod program;
pub mod python;
pub mod registry;
pub mod source;
#[cfg(test)]
mod suites;
pub mod terminal;
pub mod unikraft;
pub mod web;
