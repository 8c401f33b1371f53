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
//!
//! ```
//! # use std::io;
//! use kraft_kconfig::language::{KconfigErrors, Kind, Sources, Tree};
//!
//! /// One file in memory, without variables and commands.
//! struct OneFile(&'static str);
//!
//! # impl Sources for OneFile {
//! #     fn env(&self, _: &str) -> Option<String> { None }
//! #     fn shell(&self, _: &str) -> String { String::new() }
//! #     fn read(&self, _: &str) -> io::Result<Vec<u8>> { Ok(self.0.into()) }
//! #     fn glob(&self, pattern: &str) -> Vec<String> { vec![pattern.to_owned()] }
//! # }
//! let file = OneFile("config STACK\n\tint \"Stack in KiB\"\n\tdefault 8\n");
//! let tree = Tree::parse("Config.uk", &file)?;
//! let symbol = tree.symbol("CONFIG_STACK").expect("a symbol");
//! assert_eq!((symbol.kind, symbol.prompt.as_deref()), (Kind::Int, Some("Stack in KiB")));
//! assert_eq!(tree.nearest("STACKS"), Some("STACK"));
//!
//! let wrong = OneFile("config STACK\n\tinteger \"Stack\"\n");
//! assert!(Tree::parse("Config.uk", &wrong).is_err());
//! # Ok::<(), KconfigErrors>(())
//! ```

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
