//! Configurations of kernels: `.config` files, and the KConfig language that says what may be in
//! them.
//!
//! ```text
//! text of a .config ──► DotConfig ─┐
//! Config.uk files ──► Tree ────────┴─► settle ──► Settled ──► text, explain
//! ```
//!
//! [`DotConfig`] is a list of options as written. [`language::Tree`] is what a kernel's sources
//! offer. [`settle::Settled`] is what becomes of the one under the rules of the other: the same as
//! the program `conf` of the kernel's build system makes of it, with the reasons.

mod dotconfig;
pub mod explain;
mod info;
pub mod language;
pub mod settle;

pub use dotconfig::{Change, DotConfig, defconfig_text, diff};
pub use info::{DefinedAt, SymbolInfo};
