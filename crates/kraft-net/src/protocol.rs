//! What a holder is asked, and what it answers: one line of JSON each, over its socket.
//!
//! ```text
//! ──► attach            ◄── attached, with the tap and the namespaces as open files
//! ──► running           ◄── done            the VMM runs: from now on it decides
//! ──► connect           ◄── done, with a connection to a port of a machine as an open file
//! ──► open_udp          ◄── done, with a socket as an open file
//! ──► end               ◄── done            the network is removed
//! ```
//!
//! A connection that closes after `attach` and before `running` undoes it.

use std::net::Ipv4Addr;

use kraft_core::port::PortMapping;
use kraft_sys::process::Identity;
use serde::{Deserialize, Serialize};

/// The maximal length of a line in bytes.
pub(crate) const MAX_LINE: usize = 256 << 10;

/// The first word of the report of a holder that starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It is ready.
    Ready,
    /// The host does not allow it.
    Refused { why: String, cure: Option<String> },
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Connects a machine that is about to start, and publishes its ports.
    Attach {
        machine: String,
        name: String,
        aliases: Vec<String>,
        address: Ipv4Addr,
        ports: Vec<PortMapping>,
        others: Vec<String>,
    },
    /// Says that the machine of this connection runs.
    Running { vmm: Identity },
    /// Connects to a port of a machine that runs.
    Connect { machine: String, port: u16 },
    /// Opens a socket for packets of UDP to and from a port of a machine that runs.
    OpenUdp { machine: String, port: u16 },
    /// Ends the holder and the network.
    End,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The machine is connected; the files come with the line.
    Attached,
    /// It is done.
    Done,
    /// A port cannot be published.
    Port { port: PortMapping, why: String },
    /// It cannot be done.
    Failed { why: String, cure: Option<String> },
}

/// Returns a value as a line.
pub(crate) fn line<T: Serialize>(value: &T) -> Vec<u8> {
    // INVARIANT: serialising cannot fail, because all keys of maps are strings.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
