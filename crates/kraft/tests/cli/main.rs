//! Tests of the real binary in an empty home directory without QEMU: the wiring, not the logic.
//!
//! | module | what it tests |
//! |---|---|
//! | `action` | the steps of the GitHub Action |
//! | `every_command` | every command, once; none is forgotten |
//! | `hidden` | hidden flags, which work or warn |
//! | `help` | help texts |
//! | `config` | precedence of layers, and edits that keep everything else |
//! | `connections` | errors about unreachable servers |
//! | `log_file` | contents of the log file, and refused paths |
//! | `machines` | created machines that were never started: listed, found, removed |
//! | `networks` | networks without a machine that runs: every form of commands and flags |
//! | `run` | errors before the boot, and dry runs |
//! | `kraftkit` | commands and flags of KraftKit, and words of other tools |
//! | `irregular` | FIFOs and devices in place of files |
//! | `init` | new projects, and files that are never overwritten |
//! | `library` | new libraries |
//! | `probe` | library records of kernels, and Kraftfiles generated from them |
//! | `size` | sizes of kernels |
//! | `compose` | exit codes of Docker's Compose, files and names of projects, `config` |
//! | `completion` | completion candidates, and the bash script |
//! | `output_schema` | the commands in the JSON Schema of the output |
//! | `screen` | stdout and stderr, colours, log formats, broken pipes |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod action;
mod completion;
mod compose;
mod config;
mod connections;
mod debug_log;
mod doctor;
mod every_command;
mod help;
mod hidden;
mod init;
mod irregular;
mod kraftkit;
mod library;
mod lifecycle;
mod log_file;
mod machines;
mod networks;
mod output_schema;
mod probe;
mod run;
mod screen;
mod size;
mod support;
