//! Emulator of the public Unikraft Cloud API: its documented endpoints, served from memory, with
//! the documented errors, state transitions that take time, and injected errors.
//!
//! It is written from the platform's public API description alone and shares no code with the
//! client it tests, so that a misreading on one side does not cancel out on the other. Besides the
//! API it serves a control API under `/_emulator/…`, with which tests inspect the emulator and
//! inject errors; the documentation of the admin module in [`routes`](self) lists its endpoints.

mod answer;
mod check;
mod door;
mod fault;
mod front;
mod helpers;
mod http;
mod images;
mod machine;
mod proxy;
mod routes;
mod server;
mod sleep;
mod world;

pub use crate::server::Emulator;
pub use crate::world::{Hard, Settings};
