//! Port mappings: `[[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL]`, as in Docker.
//!
//! Ranges of the same length are paired (`8000-8002:80-82`), IPv6 addresses are in brackets, and a
//! missing or zero host port selects any free port.
//!
//! ```
//! use kraft_core::port;
//!
//! let ports = port::parse("127.0.0.1:8080-8081:80-81/tcp")?;
//! assert_eq!(ports.len(), 2);
//! assert_eq!(ports[1].as_typed(), "127.0.0.1:8081:81/tcp");
//!
//! let other = port::parse("8080:80")?;
//! assert!(other[0].collides(&ports[0]), "0.0.0.0 includes 127.0.0.1");
//! # Ok::<(), kraft_core::port::PortError>(())
//! ```

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

/// A published port of a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// Host address to listen on; the unspecified address (`0.0.0.0`) listens on all.
    pub host_ip: IpAddr,
    /// Host port; 0 until one is allocated.
    pub host_port: u16,
    /// Port inside the machine.
    pub machine_port: u16,
    /// The forwarded protocol.
    pub protocol: Protocol,
}

impl PortMapping {
    /// Returns whether two mappings would listen on the same address and port.
    ///
    /// An unspecified address occupies the port on every address of its family, and `::` also for
    /// IPv4 (Linux default). Host ports that are not allocated yet never collide.
    pub fn collides(&self, other: &Self) -> bool {
        self.host_port != 0
            && self.host_port == other.host_port
            && self.protocol == other.protocol
            && (self.host_ip == other.host_ip
                || covers(self.host_ip, other.host_ip)
                || covers(other.host_ip, self.host_ip))
    }

    /// Returns the mapping in the syntax of `--port`: `127.0.0.1:8080:80/tcp`.
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
    /// Formats it as in `kraft ps`: `0.0.0.0:8080->80/tcp`.
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

/// An address as written before a colon.
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

/// The text is not a valid port mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port mapping `{text}`: {kind}")]
pub struct PortError {
    /// The invalid text.
    pub text: String,
    /// What is wrong with it.
    pub kind: PortErrorKind,
}

/// Why a port mapping is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortErrorKind {
    /// It has more than three parts.
    #[error(
        "expected [[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL] (with IPv6 addresses in brackets)"
    )]
    Shape,
    /// The host address is not an IP address.
    #[error("the address `{0}` is not an IP address, such as 127.0.0.1 or [::1]")]
    Address(String),
    /// The host address is empty, most likely from an unset variable.
    #[error(
        "the address before the first colon is empty: leave out that colon to listen on every address"
    )]
    NoAddress,
    /// A port is missing or not a 16-bit number.
    #[error("the {side} port `{text}` is not a number from {least} to 65535")]
    Port {
        /// `host` or `guest`.
        side: &'static str,
        /// The invalid text.
        text: String,
        /// The minimum port number.
        least: u16,
    },
    /// A range ends before it begins.
    #[error("the range of {side} ports `{text}` ends before it begins")]
    Backwards {
        /// `host` or `guest`.
        side: &'static str,
        /// The invalid text.
        text: String,
    },
    /// The ranges have different lengths.
    #[error(
        "cannot map {host} host ports to {guest} guest ports: both ranges must have the same length"
    )]
    Lengths {
        /// Number of host ports.
        host: usize,
        /// Number of guest ports.
        guest: usize,
    },
    /// SCTP, which Docker supports.
    #[error("sctp cannot be forwarded, since user-mode networks carry only tcp and udp")]
    Sctp,
    /// An unknown protocol.
    #[error("unknown protocol `{0}`: expected tcp or udp")]
    Protocol(String),
}

/// Parses a mapping, or several for a range; duplicates are removed.
pub fn parse(text: &str) -> Result<Vec<PortMapping>, PortError> {
    parse_parts(text.trim()).map_err(|kind| PortError {
        text: text.to_owned(),
        kind,
    })
}

fn parse_parts(text: &str) -> Result<Vec<PortMapping>, PortErrorKind> {
    let (addresses, protocol) = match text.rsplit_once('/') {
        Some((addresses, protocol)) => (addresses, read_protocol(protocol)?),
        None => (text, Protocol::Tcp),
    };
    let (host_ip, ports) = split_address(addresses)?;
    let (host, guest) = match ports.split_once(':') {
        Some((_, guest)) if guest.contains(':') => return Err(PortErrorKind::Shape),
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
        Some(host) if host.len() != guest.len() => Err(PortErrorKind::Lengths {
            host: host.len(),
            guest: guest.len(),
        }),
        Some(host) => Ok(host.zip(guest).map(|(h, g)| mapping(h, g)).collect()),
        None => Ok(guest.map(|g| mapping(0, g)).collect()),
    }
}

/// Splits the address from `IP:HOST:GUEST`, `[IP]:HOST:GUEST` or a text without one.
fn split_address(text: &str) -> Result<(IpAddr, &str), PortErrorKind> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, ports) = rest.split_once("]:").ok_or(PortErrorKind::Shape)?;
        let ip: Ipv6Addr = address
            .parse()
            .map_err(|_| PortErrorKind::Address(format!("[{address}]")))?;
        // `[::1]:80` has no host port; without a second colon the port is the guest's.
        return Ok((ip.into(), ports));
    }
    match text.split_once(':') {
        Some((address, ports)) if ports.contains(':') => match address {
            "" => Err(PortErrorKind::NoAddress),
            _ if text.parse::<Ipv6Addr>().is_ok() || ports.matches(':').count() > 1 => {
                Err(PortErrorKind::Shape)
            }
            _ => Ok((
                address
                    .parse()
                    .map_err(|_| PortErrorKind::Address(address.to_owned()))?,
                ports,
            )),
        },
        _ => Ok((Ipv4Addr::UNSPECIFIED.into(), text)),
    }
}

fn read_protocol(text: &str) -> Result<Protocol, PortErrorKind> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err(PortErrorKind::Sctp),
        _ => Err(PortErrorKind::Protocol(text.to_owned())),
    }
}

fn read_range(
    side: &'static str,
    text: &str,
    least: u16,
) -> Result<RangeInclusive<u16>, PortErrorKind> {
    let port = |text: &str, least: u16| -> Result<u16, PortErrorKind> {
        Some(text)
            .filter(|text| text.chars().all(|c| c.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|&port| port >= least)
            .ok_or_else(|| PortErrorKind::Port {
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
        return Err(PortErrorKind::Backwards {
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
    fn every_form_of_docker_is_parsed() {
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
    fn errors_name_the_invalid_part() {
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
        port mapping `1.2.3.4:1:2:3`: expected [[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL] (with IPv6 addresses in brackets)
        port mapping `::1:8080:80`: the address before the first colon is empty: leave out that colon to listen on every address
        port mapping `[::1]8080:80`: expected [[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL] (with IPv6 addresses in brackets)
        port mapping `[127.0.0.1]:8080:80`: the address `[127.0.0.1]` is not an IP address, such as 127.0.0.1 or [::1]
        port mapping `[::1`: expected [[HOST_IP:]HOST_PORT:]GUEST_PORT[/PROTOCOL] (with IPv6 addresses in brackets)
        port mapping `82-80`: the range of guest ports `82-80` ends before it begins
        port mapping `8000-8001:80`: cannot map 2 host ports to 1 guest ports: both ranges must have the same length
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
        fn any_text_is_parsed_or_rejected(text in "\\PC*|[0-9:./a-z\\[\\]-]{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn mappings_are_parsed_as_written(
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
