//! Ports of this host: which are in use, and by which process.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use kraft_core::port::{PortMapping, Protocol};
use serde::{Deserialize, Serialize};

/// A port cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PortError {
    /// It is in use.
    #[error("port {address}/{protocol} is already in use by {owner}")]
    Taken {
        /// The requested address and port.
        address: SocketAddr,
        /// TCP or UDP.
        protocol: Protocol,
        /// What uses it.
        owner: Owner,
    },
    /// This host or this user cannot listen there at all.
    #[error("cannot listen on {address}/{protocol}: {why}")]
    Impossible {
        /// The requested address and port.
        address: SocketAddr,
        /// TCP or UDP.
        protocol: Protocol,
        /// The error of the system.
        why: String,
    },
    /// The VMM cannot publish ports on IPv6 addresses.
    #[error("cannot listen on {address}/{protocol}: {vmm} publishes ports on IPv4 addresses only")]
    NotIpv4 {
        /// The name of the VMM.
        vmm: String,
        /// The requested address and port.
        address: SocketAddr,
        /// TCP or UDP.
        protocol: Protocol,
    },
}

/// What uses a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Another machine.
    Machine(String),
    /// A program of this host.
    Program {
        /// Its name.
        name: String,
        /// Its process id.
        pid: u32,
    },
    /// A program that this user cannot see, for example another user's.
    Unknown,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Machine(name) => write!(f, "the machine `{name}`"),
            Self::Program { name, pid } => write!(f, "the program `{name}` (pid {pid})"),
            Self::Unknown => f.write_str("another user's program"),
        }
    }
}

/// Checks that every port is free and assigns free ones where the host port is 0.
///
/// `others` are the ports of running machines, with the names of the machines. Another program can
/// still take a port before the VMM listens; the VMM then reports that.
///
/// ```
/// use kraft_core::port;
/// use kraft_machine::port::claim;
///
/// let any = port::parse("127.0.0.1:0:80/tcp").unwrap();
/// let claimed = claim(&any, &[]).unwrap();
/// assert_ne!(claimed[0].host_port, 0);
/// ```
pub fn claim(
    wanted: &[PortMapping],
    others: &[(String, PortMapping)],
) -> Result<Vec<PortMapping>, PortError> {
    let mut claimed: Vec<PortMapping> = Vec::with_capacity(wanted.len());
    for port in wanted {
        let port = if port.host_port == 0 {
            allocate(port, others, &claimed)?
        } else {
            check(port, others)?;
            port.clone()
        };
        claimed.push(port);
    }
    Ok(claimed)
}

fn check(port: &PortMapping, others: &[(String, PortMapping)]) -> Result<(), PortError> {
    let address = SocketAddr::new(port.host_ip, port.host_port);
    let taken = |owner| PortError::Taken {
        address,
        protocol: port.protocol,
        owner,
    };
    if let Some((name, _)) = others.iter().find(|(_, other)| overlap(port, other)) {
        return Err(taken(Owner::Machine(name.clone())));
    }
    match listen(address, port.protocol) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(taken(owner(address, port.protocol))),
        Err(e) => Err(impossible(address, port.protocol, &e)),
    }
}

/// Picks a free port. It is not reserved: the system does not offer the same one again soon, and
/// other machines' ports are checked.
fn allocate(
    port: &PortMapping,
    others: &[(String, PortMapping)],
    claimed: &[PortMapping],
) -> Result<PortMapping, PortError> {
    let address = SocketAddr::new(port.host_ip, 0);
    let refused = |e: &io::Error| impossible(address, port.protocol, e);
    for _ in 0..64 {
        let found = listen(address, port.protocol).map_err(|e| refused(&e))?;
        let found = PortMapping {
            host_port: found.port(),
            ..port.clone()
        };
        let ours = others.iter().map(|(_, other)| other).chain(claimed);
        if !ours.into_iter().any(|other| overlap(&found, other)) {
            return Ok(found);
        }
    }
    Err(refused(&io::Error::from(io::ErrorKind::AddrInUse)))
}

fn impossible(address: SocketAddr, protocol: Protocol, error: &io::Error) -> PortError {
    PortError::Impossible {
        address,
        protocol,
        why: match error.kind() {
            io::ErrorKind::PermissionDenied => "only root may listen below port 1024".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this host does not have that address".to_owned(),
            _ => error.to_string(),
        },
    }
}

/// Listens and closes again; returns the address with the port that the system chose.
fn listen(address: SocketAddr, protocol: Protocol) -> io::Result<SocketAddr> {
    match protocol {
        Protocol::Tcp => TcpListener::bind(address)?.local_addr(),
        Protocol::Udp => UdpSocket::bind(address)?.local_addr(),
    }
}

/// Returns whether two mappings use the same port of the host.
fn overlap(a: &PortMapping, b: &PortMapping) -> bool {
    a.protocol == b.protocol
        && a.host_port == b.host_port
        && (a.host_ip == b.host_ip || a.host_ip.is_unspecified() || b.host_ip.is_unspecified())
}

/// Finds the program that listens on an address.
fn owner(address: SocketAddr, protocol: Protocol) -> Owner {
    let tables: [(&str, bool); 2] = match protocol {
        Protocol::Tcp => [("tcp", false), ("tcp6", true)],
        Protocol::Udp => [("udp", false), ("udp6", true)],
    };
    tables
        .iter()
        .filter_map(|(table, v6)| {
            let text = std::fs::read_to_string(format!("/proc/net/{table}")).ok()?;
            inode_of(&text, address, protocol, *v6)
        })
        .find_map(holder_of)
        .unwrap_or(Owner::Unknown)
}

/// Finds the socket that listens on `address` in a table of `/proc/net`, see proc(5). Columns:
/// number, local address, remote address, state, …, inode as the tenth.
fn inode_of(table: &str, address: SocketAddr, protocol: Protocol, v6: bool) -> Option<u64> {
    let listening = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (ip, port) = fields.nth(1)?.split_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let same_port = u16::from_str_radix(port, 16) == Ok(address.port());
        (same_port && state == listening && reaches(ip, address.ip(), v6)).then_some(inode)
    })
}

/// Returns whether a socket bound to `ip` (as in `/proc/net`, in the byte order of the host)
/// prevents others from binding to `wanted`.
fn reaches(ip: &str, wanted: IpAddr, v6: bool) -> bool {
    if v6 {
        // Bound to all addresses, including IPv4, or to an IPv4 address in the form of IPv6.
        return ip.bytes().all(|digit| digit == b'0')
            || ip.get(24..).is_some_and(|low| reaches(low, wanted, false));
    }
    let Ok(number) = u32::from_str_radix(ip, 16) else {
        return false;
    };
    let bound = IpAddr::V4(Ipv4Addr::from(number.to_ne_bytes()));
    bound == wanted || bound.is_unspecified() || wanted.is_unspecified()
}

/// Finds the process that holds a socket.
fn holder_of(inode: u64) -> Option<Owner> {
    let link = format!("socket:[{inode}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|t| t.parse().ok()) else {
            continue;
        };
        let Ok(files) = std::fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        let holds = files
            .flatten()
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == Path::new(&link)));
        if holds {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(Owner::Program {
                name: name.trim().to_owned(),
                pid,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host: [u8; 4], host_port: u16, protocol: Protocol) -> PortMapping {
        PortMapping {
            host_ip: host.into(),
            host_port,
            machine_port: 80,
            protocol,
        }
    }

    #[test]
    fn a_port_of_another_machine_is_refused_with_its_name() {
        let others = [(
            "web".to_owned(),
            mapping([127, 0, 0, 2], 8080, Protocol::Tcp),
        )];
        let error = claim(&[mapping([0, 0, 0, 0], 8080, Protocol::Tcp)], &others).unwrap_err();
        assert_eq!(
            error.to_string(),
            "port 0.0.0.0:8080/tcp is already in use by the machine `web`"
        );
    }

    #[test]
    fn the_same_port_of_another_address_or_protocol_is_free() {
        let tcp = mapping([127, 0, 0, 2], 8080, Protocol::Tcp);
        assert!(!overlap(
            &tcp,
            &mapping([127, 0, 0, 3], 8080, Protocol::Tcp)
        ));
        assert!(!overlap(
            &tcp,
            &mapping([127, 0, 0, 2], 8080, Protocol::Udp)
        ));
        assert!(!overlap(
            &tcp,
            &mapping([127, 0, 0, 2], 8081, Protocol::Tcp)
        ));
        assert!(overlap(&tcp, &mapping([0, 0, 0, 0], 8080, Protocol::Tcp)));
        assert!(overlap(&tcp, &tcp));
    }

    #[test]
    fn a_port_of_a_foreign_program_is_refused_with_its_name_and_pid() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (address, protocol) in [
            (tcp.local_addr().unwrap(), Protocol::Tcp),
            (udp.local_addr().unwrap(), Protocol::Udp),
        ] {
            for ip in [[127, 0, 0, 1], [0, 0, 0, 0]] {
                let wanted = mapping(ip, address.port(), protocol);
                let PortError::Taken { owner, .. } = claim(&[wanted], &[]).unwrap_err() else {
                    panic!("the port was not reported as taken");
                };
                let Owner::Program { pid, .. } = owner else {
                    panic!("{owner:?}");
                };
                assert_eq!(pid, std::process::id());
            }
        }
    }

    #[test]
    fn a_listener_on_every_ipv6_address_has_the_ipv4_port_too() {
        let Ok(listener) = TcpListener::bind("[::]:0") else {
            // This host has no IPv6.
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let error = claim(&[mapping([127, 0, 0, 1], port, Protocol::Tcp)], &[]).unwrap_err();
        assert!(
            matches!(
                error,
                PortError::Taken {
                    owner: Owner::Program { .. },
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn ports_without_a_number_are_assigned_and_differ() {
        let open = mapping([127, 0, 0, 1], 0, Protocol::Tcp);
        let claimed = claim(&[open.clone(), open.clone(), open], &[]).unwrap();
        let mut ports: Vec<u16> = claimed.iter().map(|p| p.host_port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3);
        assert!(!ports.contains(&0));
    }

    #[test]
    fn an_address_of_another_host_is_refused() {
        let error = claim(&[mapping([192, 0, 2, 1], 8080, Protocol::Tcp)], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot listen on 192.0.2.1:8080/tcp: this host does not have that address"
        );
    }
}
