//! Builds kernels: from component sources to a configured and compiled kernel.
//!
//! ```text
//! Plan (pure: make's arguments) ─► tools (all installed?) ─► configure (defconfig ─► .config)
//!   ─► make (lines ─► progress, log, first error) ─► Products (printed by the build)
//! state records the inputs of a kernel, so that unchanged ones are not rebuilt
//! ```
//!
//! Independent of images and machines.

pub mod catalog;
pub mod configure;
pub mod make;
pub mod menu;
pub mod pipeline;
pub mod plan;
pub mod shadow;
pub mod sources;
pub mod state;
pub mod tools;
pub mod trees;
