//! The KConfig language, as Unikraft's `Config.uk` files use it: read into a [`Tree`].
//!
//! ```text
//! bytes ─ sources ─► text ─ lexer + macros ─► words ─ parser ─► nodes and symbols ─ choice,
//! cycle ─► Tree
//! ```
//!
//! Reading touches nothing itself: files, environment and commands are asked of [`Sources`].
//! What the language's own reader passes over with a warning is in [`Tree::warnings`]; what it
//! refuses, and what it never heard of, are [`Faults`] with the place in the file.

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
pub use sources::{Fault, Faults, Sources};
pub use tree::{Kind, Tree};

pub(crate) use tree::{Link, NodeKind, Range, Symbol};
