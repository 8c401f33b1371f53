//! From component sources to a configured and compiled kernel.
//!
//! ```text
//! Plan (pure: what make is told) ─► tools (is all there?) ─► configure (defconfig ─► .config)
//!   ─► make (lines ─► progress, log, first fault) ─► Products (asked from the build)
//! state remembers what a kernel was made from, so that nothing is done twice
//! ```
//!
//! Nothing here knows images or machines.

pub mod build;
pub mod catalog;
pub mod configure;
pub mod make;
pub mod menu;
pub mod plan;
pub mod shadow;
pub mod sources;
pub mod state;
pub mod tools;
pub mod trees;
