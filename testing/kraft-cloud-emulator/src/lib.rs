//! Emulator of the public Unikraft Cloud API: its documented endpoints, served from memory, with
//! the documented errors, state transitions that take time, and injected errors.
//!
//! It is written from the platform's public API description alone and shares no code with the
//! client it tests, so that a misreading on one side does not cancel out on the other. Besides the
//! API it serves a control API under `/_emulator/…`, with which tests inspect the emulator and
//! inject errors; the documentation of the admin module in [`routes`](self) lists its endpoints.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use kraft_cloud_emulator::{Emulator, Settings};
//!
//! let emulator = Emulator::start("127.0.0.1:0".parse()?, Settings::default())?;
//! let mut connection = TcpStream::connect(emulator.address())?;
//! write!(connection, "GET /v1/instances HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! connection.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 401"), "a request without a token");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod audit;
mod builds;
mod calendar;
mod check;
mod control;
mod domains;
mod fault;
mod helpers;
mod http;
mod images;
mod machine;
mod patch;
mod plugins;
mod proxy;
mod routes;
mod rules;
mod sandbox;
mod server;
mod sleep;
mod tls;
mod world;

pub use crate::server::Emulator;
pub use crate::world::{Dialect, Hard, Settings};
