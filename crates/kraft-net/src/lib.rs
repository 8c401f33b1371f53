//! Networks between the machines of this host, for root and for ordinary users alike.
//!
//! ```text
//! kraft, monitors ──► Networks ──► networks/NAME/   records and leases, each changed under a lock
//!                        │ attach
//!                        ▼
//!   host's network   holder │ network of its own         one holder per network with machines
//!   ───────────────────     │ ──────────────────────
//!   listeners of ports ─► proxy ─► bridge ── taps ── VMMs (each gets its tap as an open file)
//!   name servers     ◄── names ◄─┘   │
//!   the internet     ◄── slirp4netns ┘
//! ```
//!
//! A network is a network namespace with a bridge. Nothing of it appears in the host's network:
//! ports are published by a proxy, and the way out is a program that carries packets as an ordinary
//! user's connections. A process, the [`holder`], keeps the namespace while machines run in it, and
//! ends with the last of them. If it is killed, the machines continue, and the next `kraft` that looks
//! at one starts another holder, which finds the namespace by the VMMs.
//!
//! ```
//! use kraft_net::{Networks, NewNetwork};
//!
//! let dir = tempfile::tempdir()?;
//! let networks = Networks::new(dir.path());
//! let network = networks.create(&NewNetwork::named("web"))?;
//! assert!(network.gateway.prefix_len() >= 16);
//! assert_eq!(networks.list()?.len(), 1);
//! networks.remove("web", false, &|_| true)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// What only holders use.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

mod attach;
mod error;
#[cfg(target_os = "linux")]
pub mod holder;
#[cfg(not(target_os = "linux"))]
#[path = "no_holder.rs"]
pub mod holder;
pub mod host;
mod layout;
mod networks;
mod protocol;
mod record;
mod subnet;
#[cfg(target_os = "linux")]
pub mod takeover;
mod traffic;

pub use attach::{Attachment, Wanted};
pub use error::Error;
pub use networks::{Networks, NewNetwork, Request};
pub use record::{Active, Lease, Network};
pub use traffic::Traffic;
