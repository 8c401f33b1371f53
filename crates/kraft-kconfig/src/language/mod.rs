//! Parser for the KConfig language, as used by Unikraft's `Config.uk` files: returns a [`Tree`].
//!
//! ```text
//! bytes ─ sources ─► text ─ lexer + macros ─► words ─ parser ─► nodes and symbols ─ choice,
//! cycle ─► Tree
//! ```
//!
//! The parser does no IO: files, environment and commands come from [`Sources`]. What the original
//! parser accepts with a warning is in [`Tree::warnings`]; what it rejects, and unknown statements,
//! are reported as [`KconfigErrors`] with positions.

mod choice;
mod condition;
mod cycle;
pub(crate) mod expr;
mod lexer;
mod macros;
mod options;
mod parser;
mod sources;
mod statement;
mod tree;

pub use expr::Tristate;
pub use sources::{Diagnostic, KconfigErrors, Sources};
pub use tree::{Kind, Tree};

pub(crate) use tree::{Link, NodeKind, Range, Symbol};
