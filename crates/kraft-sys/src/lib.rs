//! System access for all crates: files, locks, processes and the clock.
//!
//! Independent of unikernels: atomic file replacement ([`fs`]), small changes of
//! large files ([`amend`]), fast writes ([`bulk`]), paths that stay below a directory ([`beneath`]), locks
//! between processes ([`lock`]), running programs with time limits and error messages ([`tool`]) or
//! reading their output as it comes ([`stream`]), inherited variables ([`environment`]), ending
//! programs with this process ([`guard`]), parallel work ([`parallel`]), process identity
//! ([`process`]) and what processes use ([`usage`]), sockets ([`socket`]), the terminal ([`terminal`]) and time
//! ([`clock`]).
//!
//! Other crates must not use these system interfaces directly; the root `clippy.toml` enforces it.
//!
//! ```
//! use std::time::Duration;
//!
//! use kraft_sys::fs;
//! use kraft_sys::lock::Lock;
//! use kraft_sys::tool::Tool;
//!
//! let dir = tempfile::tempdir()?;
//! let lock = Lock::exclusive(dir.path())?;
//! fs::replace_file(&dir.path().join("state"), b"ready\n")?;
//! drop(lock);
//!
//! let output = Tool::new("cat").args(["state"]).current_dir(dir.path());
//! let output = output.limit(Duration::from_secs(30)).run()?;
//! assert_eq!(output.stdout, b"ready\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod amend;
pub mod beneath;
pub mod bulk;
pub mod clock;
pub mod command_line;
pub mod device;
pub mod environment;
pub mod flush;
pub mod fs;
pub mod guard;
mod host;
pub mod lock;
pub mod parallel;
pub mod process;
pub mod socket;
pub mod stream;
pub mod terminal;
pub mod tool;
pub mod tree;
pub mod usage;
