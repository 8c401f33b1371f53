//! Errors of operations on networks.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use kraft_core::net::{Mac, NetworkNameError};
use kraft_core::port::PortMapping;
use kraft_sys::fs;

/// An operation on networks failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no network of that name.
    #[error("no such network: {name}")]
    NotFound {
        /// The name.
        name: String,
    },
    /// There is a network of that name.
    #[error("network already exists: {name}")]
    Exists {
        /// The name.
        name: String,
    },
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] NetworkNameError),
    /// The subnet has no room for machines, or more than a network can have.
    #[error("the network `{subnet}` cannot be used: its mask has to be from /8 to /30")]
    Size {
        /// The subnet.
        subnet: Ipv4Net,
    },
    /// The gateway is not an address of a host.
    #[error("the gateway `{}` is not the address of a host in its network {}", subnet.addr(), subnet.trunc())]
    Gateway {
        /// The subnet with the gateway.
        subnet: Ipv4Net,
    },
    /// Another network has addresses of the subnet.
    #[error("the network {} overlaps with that of `{other}`, {}", subnet.trunc(), theirs.trunc())]
    Overlaps {
        /// The subnet.
        subnet: Ipv4Net,
        /// The other network.
        other: String,
        /// Its subnet.
        theirs: Ipv4Net,
    },
    /// Every subnet of the pool is in use.
    #[error("unable to find a free network in the network pool")]
    PoolExhausted,
    /// Every address of a network is in use.
    #[error("could not allocate IP address in {}: all are in use", subnet.trunc())]
    Exhausted {
        /// The network.
        name: String,
        /// Its subnet.
        subnet: Ipv4Net,
    },
    /// The address is not one of the network's.
    #[error("the address {address} is not one for a machine in network `{name}`, {}", subnet.trunc())]
    Outside {
        /// The address.
        address: Ipv4Addr,
        /// The network.
        name: String,
        /// Its subnet.
        subnet: Ipv4Net,
    },
    /// A machine has the address.
    #[error("the address {address} in network `{name}` is that of machine `{machine}`")]
    AddressTaken {
        /// The address.
        address: Ipv4Addr,
        /// The network.
        name: String,
        /// The machine.
        machine: String,
    },
    /// A machine has the hardware address.
    #[error("the hardware address {mac} in network `{name}` is that of machine `{machine}`")]
    MacTaken {
        /// The hardware address.
        mac: Mac,
        /// The network.
        name: String,
        /// The machine.
        machine: String,
    },
    /// Machines are in the network.
    #[error("network {name} is in use by machine {}", machines.join(", "))]
    InUse {
        /// The network.
        name: String,
        /// The machines.
        machines: Vec<String>,
    },
    /// Machines run in the network.
    #[error("network {name} carries running machines: {}", machines.join(", "))]
    Running {
        /// The network.
        name: String,
        /// The machines.
        machines: Vec<String>,
    },
    /// The network was taken down.
    #[error("network `{name}` is down")]
    Down {
        /// The network.
        name: String,
    },
    /// A file is not what kraft wrote.
    #[error("the file `{path}` is damaged", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A newer `kraft` wrote the record.
    #[error("the record `{path}` was written by a newer kraft (version {version})", path = path.display())]
    TooNew {
        /// The record.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The host does not let this user make a network.
    #[error("cannot make the network `{name}`: {why}")]
    Host {
        /// The network.
        name: String,
        /// The reason.
        why: String,
        /// What to do about it.
        cure: Option<String>,
    },
    /// A port cannot be published.
    #[error("cannot publish port {port}: {why}")]
    Port {
        /// The port.
        port: PortMapping,
        /// The reason.
        why: String,
    },
    /// A port of a machine cannot be connected to.
    #[error("{why}")]
    Connect {
        /// The reason.
        why: String,
    },
    /// The process of the network does not answer.
    #[error("the holder of network `{name}` does not answer")]
    Holder {
        /// The network.
        name: String,
        /// The reason.
        source: std::io::Error,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}
