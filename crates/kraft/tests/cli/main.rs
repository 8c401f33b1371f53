//! The real binary in an empty home and without QEMU: proves the wiring, not the logic.
//!
//! | module | what it asks |
//! |---|---|
//! | `hidden` | that flags which are not listed work or warn |
//! | `help` | what a user who asks for help gets to read |
//! | `config` | which layer wins, and that editing loses nothing |
//! | `connections` | what is said of servers that cannot be reached |
//! | `log_file` | what a log file holds, and which files are none |
//! | `machines` | machines that were made and never started: listed, found, removed |
//! | `run` | what is refused before anything happens, and dry runs |
//! | `irregular` | FIFOs and devices in place of files |
//! | `init` | projects that are started, and what is never overwritten |
//! | `library` | libraries that are started |
//! | `probe` | what kernels say of themselves, and what is written back from it |
//! | `size` | sizes of kernels, which add up |
//! | `completion` | what shells are told, and that bash takes it |
//! | `screen` | stdout and stderr, colours, forms, broken pipes |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod completion;
mod config;
mod connections;
mod doctor;
mod help;
mod hidden;
mod init;
mod irregular;
mod library;
mod log_file;
mod machines;
mod probe;
mod run;
mod screen;
mod size;
mod support;
