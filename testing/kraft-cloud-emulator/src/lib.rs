//! A test double of the public Unikraft Cloud API: the described endpoints served from memory,
//! with the described refusals, states that take time, and faults on demand.
//!
//! It is written from the platform's public description alone and imports nothing of the client it
//! tests, so that a misreading on one side does not cancel out on the other. Beside the API it
//! has a door of its own, `/_emulator/…`, by which tests look at it and spoil things; see
//! [`routes`](self) for what that door knows.

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
