//! Values and pure functions of the product: unikernels, projects, machines and their rules.
//!
//! Nothing here accesses files, the clock or the environment, or prints. A reader who knows this
//! crate knows the product.
//!
//! ```text
//! text of a Kraftfile ──► kraftfile ──► Kraftfile        (or Problems with spans)
//! bytes of a kernel   ──► kernel    ──► KernelImage
//! the user's request    ┐
//! the kernel to boot    ├─► plan ──► MachineSpec ──► cmdline ──► kernel command line
//! this host's abilities ┘            (or Problems)
//! ```
//!
//! ```
//! use kraft_core::kernel::identify;
//! use kraft_core::kraftfile;
//!
//! let text = "spec: v0.6\nname: web\nruntime: base\ncmd: [/server]\n";
//! let parsed = kraftfile::parse(text, &|_| None);
//! assert!(parsed.problems.is_empty());
//! let project = parsed.kraftfile.expect("a sound project");
//! assert_eq!(project.name.expect("a name").value, "web");
//!
//! let script = &b"#!/bin/sh\n"[..];
//! let refused = identify(&mut std::io::Cursor::new(script));
//! assert!(refused.is_err(), "a script is not a kernel");
//! ```

pub mod arch;
pub mod catalog;
pub mod cmdline;
pub mod component;
pub mod compose;
pub mod connection;
pub mod dockerfile;
mod document;
pub mod error;
pub mod escape;
pub mod event;
pub mod host;
pub mod kernel;
pub mod kraftfile;
pub mod lifecycle;
pub mod lock;
pub mod machine;
pub mod mount;
pub mod nearest;
pub mod net;
pub mod plan;
pub mod platform;
pub mod port;
pub mod problem;
pub mod program;
pub mod quantity;
pub mod readable;
pub mod reference;
pub mod shell_words;
pub mod yaml;
