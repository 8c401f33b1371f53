//! Builds kernels: from component sources to a configured and compiled kernel.
//!
//! ```text
//! Plan (pure: make's arguments) ─► tools (all installed?) ─► configure (defconfig ─► .config)
//!   ─► make (lines ─► progress, log, first error) ─► Products (printed by the build)
//! state records the inputs of a kernel, so that unchanged ones are not rebuilt
//! ```
//!
//! Independent of images and machines.
//!
//! ```
//! use kraft_build::make::{Call, Error};
//! use kraft_build::plan::Plan;
//! use kraft_sys::stream::Stop;
//!
//! # if std::process::Command::new("make").arg("-v").output().is_err() { return Ok(()); }
//! // A core is a directory with a Makefile.
//! let dir = tempfile::tempdir()?;
//! let core = dir.path().join("core");
//! std::fs::create_dir(&core)?;
//! std::fs::write(core.join("Makefile"), "name:\n\t@echo \"building $(N)\"\n")?;
//!
//! let plan = Plan {
//!     name: "web".to_owned(),
//!     core,
//!     app: dir.path().join("app"),
//!     libraries: Vec::new(),
//!     out: dir.path().join("out"),
//!     config: dir.path().join("config"),
//!     cross: None,
//!     date: "Thu Jan  1 00:00:00 UTC 1970".to_owned(),
//! };
//! let log = dir.path().join("build.log");
//! let call = Call {
//!     plan: &plan,
//!     program: "make".as_ref(),
//!     jobs: None,
//!     extra: Vec::new(),
//!     offline: true,
//!     log: &log,
//!     stop: Stop::default(),
//! };
//! assert_eq!(call.targets(&["name"])?, ["building web"]);
//! assert!(matches!(call.targets(&["nothing"]), Err(Error::Failed { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod catalog;
pub mod configure;
pub mod make;
pub mod menu;
pub mod names;
pub mod pipeline;
pub mod plan;
pub mod shadow;
pub mod sources;
pub mod state;
pub mod symbols;
pub mod tools;
pub mod trees;
