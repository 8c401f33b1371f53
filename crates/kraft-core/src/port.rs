//! Port mappings: `[[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL]`, as Docker writes them.
//!
//! Ranges of the same length pair up (`8000-8002:80-82`), an IPv6 address stands in brackets, and a host port that is
//! left out or 0 asks for any free one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

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

impl PortMapping {
    /// Tells whether both would listen at the same place of the host.
    ///
    /// An unspecified address takes the port on every address of its family, and `::` takes it for IPv4 as well
    /// (Linux listens on both unless told otherwise). Ports still to be allocated are never the same.
    pub fn collides(&self, other: &Self) -> bool {
        self.host_port != 0
            && self.host_port == other.host_port
            && self.protocol == other.protocol
            && (self.host_ip == other.host_ip
                || covers(self.host_ip, other.host_ip)
                || covers(other.host_ip, self.host_ip))
    }

    /// Returns the mapping as it is typed after `--port`: `127.0.0.1:8080:80/tcp`.
    pub fn as_typed(&self) -> String {
        let Self {
            host_port,
            machine_port,
            protocol,
            ..
        } = self;
        let host = Bracketed(self.host_ip);
        match host_port {
            0 => format!("{host}::{machine_port}/{protocol}"),
            _ => format!("{host}:{host_port}:{machine_port}/{protocol}"),
        }
    }
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
        let host = Bracketed(*host_ip);
        write!(f, "{host}:{host_port}->{machine_port}/{protocol}")
    }
}

/// An address as it stands before a colon.
struct Bracketed(IpAddr);

impl fmt::Display for Bracketed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    match wide {
        IpAddr::V4(_) => wide.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(_) => wide.is_unspecified(),
    }
}

/// A text that is no port mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port mapping `{text}`: {fault}")]
pub struct PortError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub fault: PortFault,
}

/// What can be wrong with a port mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortFault {
    /// There are more parts than three.
    #[error(
        "expected [[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL] (an IPv6 address stands in brackets)"
    )]
    Shape,
    /// The address is no IP address.
    #[error("the address `{0}` is not an IP address, such as 127.0.0.1 or [::1]")]
    Address(String),
    /// An address separator without an address: an unset variable, most likely.
    #[error(
        "the address before the first colon is empty: leave out that colon to listen on every address"
    )]
    NoAddress,
    /// A port is no number of 16 bits, or is missing.
    #[error("the {side} port `{text}` is not a number from {least} to 65535")]
    Port {
        /// `host` or `guest`.
        side: &'static str,
        /// What stands there.
        text: String,
        /// The least number that may stand there.
        least: u16,
    },
    /// A range runs backwards.
    #[error("the {side} ports `{text}` run backwards")]
    Backwards {
        /// `host` or `guest`.
        side: &'static str,
        /// What stands there.
        text: String,
    },
    /// The two ranges differ in length.
    #[error(
        "{host} host ports cannot lead to {guest} guest ports: both ranges need the same length"
    )]
    Lengths {
        /// Number of ports on the host's side.
        host: usize,
        /// Number of ports on the guest's side.
        guest: usize,
    },
    /// SCTP, which Docker knows.
    #[error("sctp cannot be forwarded, since user-mode networks carry only tcp and udp")]
    Sctp,
    /// No protocol at all.
    #[error("unknown protocol `{0}`: expected tcp or udp")]
    Protocol(String),
}

/// Returns the mappings that a text stands for: several for a range, and never twice the same.
pub fn parse(text: &str) -> Result<Vec<PortMapping>, PortError> {
    parse_parts(text.trim()).map_err(|fault| PortError {
        text: text.to_owned(),
        fault,
    })
}

fn parse_parts(text: &str) -> Result<Vec<PortMapping>, PortFault> {
    let (addresses, protocol) = match text.rsplit_once('/') {
        Some((addresses, protocol)) => (addresses, read_protocol(protocol)?),
        None => (text, Protocol::Tcp),
    };
    let (host_ip, ports) = split_address(addresses)?;
    let (host, guest) = match ports.split_once(':') {
        Some((_, guest)) if guest.contains(':') => return Err(PortFault::Shape),
        Some(("", guest)) => (None, guest),
        Some((host, guest)) => (Some(host), guest),
        None => (None, ports),
    };
    let guest = read_range("guest", guest, 1)?;
    let host = host.map(|host| read_range("host", host, 0)).transpose()?;
    let mapping = |host_port, machine_port| PortMapping {
        host_ip,
        host_port,
        machine_port,
        protocol,
    };
    match host {
        Some(host) if host.len() != guest.len() => Err(PortFault::Lengths {
            host: host.len(),
            guest: guest.len(),
        }),
        Some(host) => Ok(host.zip(guest).map(|(h, g)| mapping(h, g)).collect()),
        None => Ok(guest.map(|g| mapping(0, g)).collect()),
    }
}

/// Splits the address off `IP:HOST:GUEST`, `[IP]:HOST:GUEST` or a text without one.
fn split_address(text: &str) -> Result<(IpAddr, &str), PortFault> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, ports) = rest.split_once("]:").ok_or(PortFault::Shape)?;
        let ip: Ipv6Addr = address
            .parse()
            .map_err(|_| PortFault::Address(format!("[{address}]")))?;
        // `[::1]:80` names no host port; without a second colon it is the guest's.
        return Ok((ip.into(), ports));
    }
    match text.split_once(':') {
        Some((address, ports)) if ports.contains(':') => match address {
            "" => Err(PortFault::NoAddress),
            _ if text.parse::<Ipv6Addr>().is_ok() || ports.matches(':').count() > 1 => {
                Err(PortFault::Shape)
            }
            _ => Ok((
                address
                    .parse()
                    .map_err(|_| PortFault::Address(address.to_owned()))?,
                ports,
            )),
        },
        _ => Ok((Ipv4Addr::UNSPECIFIED.into(), text)),
    }
}

fn read_protocol(text: &str) -> Result<Protocol, PortFault> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err(PortFault::Sctp),
        _ => Err(PortFault::Protocol(text.to_owned())),
    }
}

fn read_range(
    side: &'static str,
    text: &str,
    least: u16,
) -> Result<RangeInclusive<u16>, PortFault> {
    let port = |text: &str, least: u16| -> Result<u16, PortFault> {
        Some(text)
            .filter(|text| text.chars().all(|c| c.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|&port| port >= least)
            .ok_or_else(|| PortFault::Port {
                side,
                text: text.to_owned(),
                least,
            })
    };
    let range = match text.split_once('-') {
        // A range cannot begin with "any port".
        Some((from, to)) => port(from, 1)?..=port(to, 1)?,
        None => port(text, least).map(|only| only..=only)?,
    };
    if range.is_empty() {
        return Err(PortFault::Backwards {
            side,
            text: text.to_owned(),
        });
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(text: &str) -> String {
        match parse(text) {
            Ok(mappings) => mappings
                .iter()
                .map(PortMapping::as_typed)
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_form_that_docker_knows_is_read() {
        let forms = [
            "80",
            "8080:80",
            "8080:80/udp",
            "8080:80/TCP",
            "127.0.0.2:5353:53/udp",
            "127.0.0.1::80",
            ":80",
            "0:80",
            "[::1]:8080:80",
            "[::1]::80",
            "[::]:80",
            "8000-8002:80-82",
            "127.0.0.1:8000-8001:80-81/udp",
            "80-81",
            "65535:65535",
        ];
        insta::assert_snapshot!(
            forms.map(|form| format!("{form} = {}", typed(form))).join("\n"),
            @"
        80 = 0.0.0.0::80/tcp
        8080:80 = 0.0.0.0:8080:80/tcp
        8080:80/udp = 0.0.0.0:8080:80/udp
        8080:80/TCP = 0.0.0.0:8080:80/tcp
        127.0.0.2:5353:53/udp = 127.0.0.2:5353:53/udp
        127.0.0.1::80 = 127.0.0.1::80/tcp
        :80 = 0.0.0.0::80/tcp
        0:80 = 0.0.0.0::80/tcp
        [::1]:8080:80 = [::1]:8080:80/tcp
        [::1]::80 = [::1]::80/tcp
        [::]:80 = [::]::80/tcp
        8000-8002:80-82 = 0.0.0.0:8000:80/tcp 0.0.0.0:8001:81/tcp 0.0.0.0:8002:82/tcp
        127.0.0.1:8000-8001:80-81/udp = 127.0.0.1:8000:80/udp 127.0.0.1:8001:81/udp
        80-81 = 0.0.0.0::80/tcp 0.0.0.0::81/tcp
        65535:65535 = 0.0.0.0:65535:65535/tcp
        "
        );
    }

    #[test]
    fn every_fault_names_the_part_that_is_wrong() {
        let forms = [
            "",
            "http",
            "8080:",
            "8080:0",
            "8080:65536",
            "+1:80",
            "80/",
            "80/sctp",
            "80/icmp",
            "localhost:8080:80",
            ":8080:80",
            "1.2.3.4:1:2:3",
            "::1:8080:80",
            "[::1]8080:80",
            "[127.0.0.1]:8080:80",
            "[::1",
            "82-80",
            "8000-8001:80",
            "8000-:80",
            "a-b:80-81",
        ];
        insta::assert_snapshot!(forms.map(typed).join("\n"), @"
        port mapping ``: the guest port `` is not a number from 1 to 65535
        port mapping `http`: the guest port `http` is not a number from 1 to 65535
        port mapping `8080:`: the guest port `` is not a number from 1 to 65535
        port mapping `8080:0`: the guest port `0` is not a number from 1 to 65535
        port mapping `8080:65536`: the guest port `65536` is not a number from 1 to 65535
        port mapping `+1:80`: the host port `+1` is not a number from 0 to 65535
        port mapping `80/`: unknown protocol ``: expected tcp or udp
        port mapping `80/sctp`: sctp cannot be forwarded, since user-mode networks carry only tcp and udp
        port mapping `80/icmp`: unknown protocol `icmp`: expected tcp or udp
        port mapping `localhost:8080:80`: the address `localhost` is not an IP address, such as 127.0.0.1 or [::1]
        port mapping `:8080:80`: the address before the first colon is empty: leave out that colon to listen on every address
        port mapping `1.2.3.4:1:2:3`: expected [[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL] (an IPv6 address stands in brackets)
        port mapping `::1:8080:80`: the address before the first colon is empty: leave out that colon to listen on every address
        port mapping `[::1]8080:80`: expected [[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL] (an IPv6 address stands in brackets)
        port mapping `[127.0.0.1]:8080:80`: the address `[127.0.0.1]` is not an IP address, such as 127.0.0.1 or [::1]
        port mapping `[::1`: expected [[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL] (an IPv6 address stands in brackets)
        port mapping `82-80`: the guest ports `82-80` run backwards
        port mapping `8000-8001:80`: 2 host ports cannot lead to 1 guest ports: both ranges need the same length
        port mapping `8000-:80`: the host port `` is not a number from 1 to 65535
        port mapping `a-b:80-81`: the host port `a` is not a number from 1 to 65535
        ");
    }

    #[test]
    fn an_unspecified_address_takes_the_port_everywhere() {
        let collide = |a: &str, b: &str| {
            let (a, b) = (&parse(a).unwrap()[0], &parse(b).unwrap()[0]);
            assert_eq!(a.collides(b), b.collides(a), "collisions have no direction");
            a.collides(b)
        };
        assert!(collide("8080:80", "8080:81"));
        assert!(collide("8080:80", "127.0.0.1:8080:80"));
        assert!(collide("[::]:8080:80", "127.0.0.1:8080:80"));
        assert!(!collide("[::1]:8080:80", "8080:80"));
        assert!(!collide("127.0.0.1:8080:80", "127.0.0.2:8080:80"));
        assert!(!collide("8080:80", "8080:80/udp"));
        assert!(!collide("80", "80"), "any free port is never the same");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*|[0-9:./a-z\\[\\]-]{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_typed_is_read_back(
            ip: IpAddr, host: u16, guest in 1..=u16::MAX, udp: bool,
        ) {
            let mapping = PortMapping {
                host_ip: ip,
                host_port: host,
                machine_port: guest,
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
            };
            prop_assert_eq!(parse(&mapping.as_typed()), Ok(vec![mapping]));
        }
    }
}
