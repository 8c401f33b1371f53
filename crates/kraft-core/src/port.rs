//! Port mappings: `[[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL]`.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A transport protocol that can be forwarded to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port of the host that leads to one port of the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// Address of the host that listens; unspecified (`0.0.0.0`) means every one.
    pub host_ip: IpAddr,
    /// Port of the host; 0 until one is allocated for a mapping that names none.
    pub host_port: u16,
    /// Port inside the machine.
    pub machine_port: u16,
    /// What is forwarded.
    pub protocol: Protocol,
}

impl fmt::Display for PortMapping {
    /// Writes the form `kraft ps` shows: `0.0.0.0:8080->80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host_ip,
            host_port,
            machine_port,
            protocol,
        } = self;
        match host_ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{host_port}->{machine_port}/{protocol}"),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{host_port}->{machine_port}/{protocol}"),
        }
    }
}
