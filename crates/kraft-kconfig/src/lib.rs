//! The KConfig language: `.config` files, and the `Config.uk` files that define their options.
//!
//! ```text
//! text of a .config ──► DotConfig ─┐
//! Config.uk files ──► Tree ────────┴─► resolve ──► Resolved ──► text, explain
//! ```
//!
//! [`DotConfig`] is a list of options as written. [`language::Tree`] contains the definitions in
//! the sources of a kernel. [`resolve::Resolved`] is a configuration resolved against a tree: every
//! symbol has a value and a reason for it. The result is identical to that of `conf`, the program
//! of the kernel's build system.
//!
//! The crate does no IO: files, variables and commands come from [`language::Sources`].
//!
//! ```
//! use std::io;
//!
//! use kraft_kconfig::DotConfig;
//! use kraft_kconfig::language::{Sources, Tree};
//!
//! /// One file in memory, without variables and commands.
//! struct OneFile(&'static str);
//!
//! impl Sources for OneFile {
//!     fn env(&self, _: &str) -> Option<String> {
//!         None
//!     }
//!     fn shell(&self, _: &str) -> String {
//!         String::new()
//!     }
//!     fn read(&self, _: &str) -> io::Result<Vec<u8>> {
//!         Ok(self.0.into())
//!     }
//!     fn glob(&self, pattern: &str) -> Vec<String> {
//!         vec![pattern.to_owned()]
//!     }
//! }
//!
//! let file = OneFile(
//!     "config NET\n\tbool \"Network\"\nconfig DHCP\n\tbool \"DHCP\"\n\tdepends on NET\n",
//! );
//! let tree = Tree::parse("Config.uk", &file)?;
//! let config = DotConfig::parse("# CONFIG_NET is not set\nCONFIG_DHCP=y\n");
//! let resolved = tree.resolve(&config);
//! assert_eq!(resolved.config().value("CONFIG_DHCP"), None);
//!
//! let losses = resolved.losses(config.iter());
//! assert_eq!(losses[0].name, "CONFIG_DHCP");
//! println!("{}", losses[0].reason());
//! # Ok::<(), kraft_kconfig::language::KconfigErrors>(())
//! ```

mod dotconfig;
pub mod explain;
mod info;
pub mod language;
pub mod resolve;

pub use dotconfig::{Change, DotConfig, defconfig_text, diff};
pub use info::{DefinedAt, SymbolInfo};
