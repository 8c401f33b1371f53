//! The only door to files, locks, processes and the clock.
//!
//! Everything here is about the operating system and nothing about unikernels: how a file is
//! replaced so that no reader ever sees half of it ([`fs`]) or written fast ([`bulk`]), how two
//! processes keep out of each other's way ([`lock`]), how a program is run, timed and explained when it is
//! missing ([`tool`]) or listened to ([`stream`]), what it inherits ([`environment`]), how it ends with
//! us ([`guard`]), how work is shared among threads ([`parallel`]),
//! what makes a process *that* process ([`process`]) and what time it is ([`clock`]).
//!
//! The rest of the workspace may not open these doors itself; the root `clippy.toml` sees to it.

pub mod bulk;
pub mod clock;
pub mod command_line;
pub mod device;
pub mod environment;
pub mod fs;
pub mod guard;
pub mod lock;
pub mod parallel;
pub mod process;
pub mod settle;
pub mod stream;
pub mod tool;
