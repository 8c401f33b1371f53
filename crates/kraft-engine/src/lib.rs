//! Build, package and run unikernels: the flows behind the command line.
//!
//! ```text
//! a front end ─ Context, requests ─► flows ─► crates for builds, images, machines
//!             ◄─ events, questions ─┘    └─► values
//! ```
//!
//! A flow is a function over plain values. It gets a [`Context`](context::Context), returns a value,
//! reports events and asks questions; it never prints, reads no environment and does not depend on
//! the command line. [`run_target`] resolves what to run, [`boot`] prepares it, [`project`] reads a project, [`components`] fetches its
//! sources, [`build`] compiles it, [`rootfs`] and [`dockerfile`] make its root filesystem,
//! [`package`] makes an image, [`transfer`] pulls and pushes it, [`run`] plans a machine.
//!
//! Each module has an error enum of its own. Their messages say what failed; the front end decides
//! the exit code and the hints.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_core::reference::Reference;
//! use kraft_engine::pack::{self, Order};
//! use kraft_engine::package::{self, Package, Strategy};
//! use kraft_engine::images;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().join("runtime");
//! // The head of an arm64 kernel.
//! let kernel = dir.path().join("kernel");
//! let mut image = vec![0; 64];
//! image[56..60].copy_from_slice(b"ARM\x64");
//! std::fs::write(&kernel, image)?;
//!
//! let store = images::open(&context)?;
//! let part = pack::of_kernel(&context, &Order::default(), &kernel)?;
//! let package = Package {
//!     name: "registry.example/hello:v1".parse::<Reference>()?,
//!     strategy: Strategy::Abort,
//!     linux: false,
//!     engines: Vec::new(),
//! };
//! let index = package::assemble(&context, &*store, &package, vec![part])?;
//! let found = images::look_up(&*store, &package.name)?.expect("an image");
//! assert_eq!(found.named.target.digest, index.digest);
//! # Ok(())
//! # }
//! ```

pub mod arguments;
pub mod attach;
pub mod binary;
pub mod boot;
pub mod build;
pub mod builtin;
pub mod candidates;
pub mod catalog;
pub mod components;
pub mod compose;
pub mod context;
pub mod copy;
pub mod copy_archive;
pub mod dockerfile;
pub mod doctor;
pub mod editor;
pub mod epoch;
pub mod export;
pub mod follow;
pub mod images;
pub mod init;
pub mod interrupt;
pub mod kconfig;
pub mod kraftfile;
pub mod kraftkit;
pub mod libraries;
pub mod library;
pub mod listing;
pub mod machines;
pub mod network;
pub mod obtain;
pub mod output;
pub mod pack;
pub mod package;
pub mod pins;
pub mod probe;
pub mod profile;
pub mod progress;
pub mod project;
pub mod recent;
pub mod reconstruct;
pub mod repair;
mod resources;
pub mod rootfs;
pub mod run;
pub mod run_target;
pub mod runtime;
pub mod service;
pub mod settings;
pub mod snapshot_archive;
pub mod snapshots;
pub mod sources;
#[cfg(test)]
mod testing;
pub mod transfer;
pub mod unpacked;
pub mod volumes;
pub mod warm;
pub mod workplace;
