//! Networks: the connection of a machine to one, as `--network` names it and as the guest gets it.
//!
//! ```text
//! --network NAME[:IP[/MASK][:GATEWAY[:DNS[:DNS[:HOST[:DOMAIN]]]]]]
//! netdev.ip=IP/MASK:GATEWAY:DNS:DNS:HOST:DOMAIN
//! ```
//!
//! ```
//! use kraft_core::net::Interface;
//!
//! let asked = Interface::parse("web:172.18.0.5")?;
//! assert_eq!(asked.network, "web");
//! assert_eq!(asked.parameter(), None, "the network decides what the text leaves open");
//!
//! let whole = Interface::parse("web:172.18.0.5/16:172.18.0.1:::web1:web")?;
//! assert_eq!(whole.parameter().unwrap(), "172.18.0.5/16:172.18.0.1:::web1:web");
//! # Ok::<(), kraft_core::net::InterfaceError>(())
//! ```

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Maximum number of networks of a machine: as many as a Unikraft kernel takes settings for.
pub const MOST_INTERFACES: usize = 4;

/// Maximum length of the name of a network, in characters: that of a label in DNS.
pub const NAME_LIMIT: usize = 63;

/// The driver of networks: bridges.
pub const BRIDGE: &str = "bridge";

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&pairs.join(":"))
    }
}

/// The text is not a hardware address of one machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the hardware address of a machine, such as 02:b0:b0:12:34:01: six pairs of hexadecimal digits, the first one even"
)]
pub struct MacError(pub String);

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let wrong = || MacError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let digits = part.filter(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            *byte = value.ok_or_else(wrong)?;
        }
        let [first, ..] = bytes;
        // An odd first byte means a group of machines.
        if parts.next().is_some() || first & 1 == 1 || bytes == [0; 6] {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The connection of a machine to a network. What is missing is decided when the machine is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The network.
    pub network: String,
    /// The address of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// The number of bits of the address that name the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u8>,
    /// The way to other networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// The name servers, at most two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<Ipv4Addr>,
    /// The name of the machine for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The domain in which it looks for names without a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The hardware address of its card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Further names by which machines of the network find it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// Why a text does not name a connection to a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("network `{text}`: {kind}")]
pub struct InterfaceError {
    /// The invalid text.
    pub text: String,
    /// What is wrong with it.
    pub kind: InterfaceErrorKind,
}

/// What is wrong with the text of a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceErrorKind {
    /// The name of the network is invalid.
    #[error(transparent)]
    Name(#[from] NetworkNameError),
    /// A field is not an IPv4 address.
    #[error("the {what} `{value}` is not an IPv4 address, such as 172.18.0.5")]
    Address {
        /// `address`, `gateway` or `name server`.
        what: &'static str,
        /// The invalid field.
        value: String,
    },
    /// The number of bits is not one of an IPv4 network.
    #[error("the mask `/{0}` is not a number of bits from 1 to 32")]
    Mask(String),
    /// The name of the machine or its domain has characters that no name has.
    #[error("the {what} `{value}` is not made of letters, digits, `.` and `-`")]
    Label {
        /// `host name` or `domain`.
        what: &'static str,
        /// The invalid field.
        value: String,
    },
    /// It has more than seven fields.
    #[error("expected NAME[:IP[/MASK][:GATEWAY[:DNS[:DNS[:HOST[:DOMAIN]]]]]]")]
    Shape,
}

impl Interface {
    /// Parses `NAME[:IP[/MASK][:GATEWAY[:DNS[:DNS[:HOST[:DOMAIN]]]]]]`; fields may be empty.
    ///
    /// # Errors
    ///
    /// If a field is invalid.
    pub fn parse(text: &str) -> Result<Self, InterfaceError> {
        Self::parse_fields(text).map_err(|kind| InterfaceError {
            text: text.to_owned(),
            kind,
        })
    }

    fn parse_fields(text: &str) -> Result<Self, InterfaceErrorKind> {
        let mut fields: Vec<&str> = text.split(':').collect();
        // KraftKit compat: up to 0.7.5, the driver comes first.
        if let [BRIDGE, name, ..] = fields.as_slice()
            && check_name(name).is_ok()
            && !looks_like_address(name)
        {
            fields.remove(0);
        }
        let field = |at: usize| fields.get(at).copied().filter(|field| !field.is_empty());
        let name = fields.first().copied().unwrap_or_default();
        check_name(name)?;
        if fields.len() > 7 {
            return Err(InterfaceErrorKind::Shape);
        }
        let (address, prefix) = match field(1).map(|field| field.split_once('/').ok_or(field)) {
            None => (None, None),
            Some(Err(address)) => (Some(parse_address("address", address)?), None),
            Some(Ok((address, bits))) => (
                Some(parse_address("address", address)?),
                Some(parse_prefix(bits)?),
            ),
        };
        let gateway = field(2).map(|text| parse_address("gateway", text));
        let servers = [3, 4].into_iter().filter_map(field);
        Ok(Self {
            network: name.to_owned(),
            address,
            prefix,
            gateway: gateway.transpose()?,
            dns: servers
                .map(|text| parse_address("name server", text))
                .collect::<Result<_, _>>()?,
            hostname: field(5)
                .map(|text| parse_label("host name", text))
                .transpose()?,
            domain: field(6)
                .map(|text| parse_label("domain", text))
                .transpose()?,
            mac: None,
            aliases: Vec::new(),
        })
    }

    /// Returns the value of the kernel's parameter `netdev.ip`; `None` as long as the address is
    /// open.
    pub fn parameter(&self) -> Option<String> {
        let (address, prefix) = (self.address?, self.prefix?);
        let text = |field: Option<String>| field.unwrap_or_default();
        let server = |at: usize| text(self.dns.get(at).map(ToString::to_string));
        Some(format!(
            "{address}/{prefix}:{}:{}:{}:{}:{}",
            text(self.gateway.map(|it| it.to_string())),
            server(0),
            server(1),
            self.hostname.as_deref().unwrap_or_default(),
            self.domain.as_deref().unwrap_or_default(),
        ))
    }

    /// Returns the value of Linux's parameter `ip`, which its kernel applies to the first card;
    /// `None` as long as the address is open.
    pub fn linux_parameter(&self) -> Option<String> {
        let (address, prefix) = (self.address?, self.prefix?);
        let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0));
        let text = |field: Option<String>| field.unwrap_or_default();
        let server = |at: usize| text(self.dns.get(at).map(ToString::to_string));
        Some(format!(
            "{address}::{}:{mask}:{}:eth0:off:{}:{}",
            text(self.gateway.map(|it| it.to_string())),
            self.hostname.as_deref().unwrap_or_default(),
            server(0),
            server(1),
        ))
    }
}

fn looks_like_address(text: &str) -> bool {
    let address = text.split('/').next().unwrap_or_default();
    address.parse::<Ipv4Addr>().is_ok()
}

fn parse_address(what: &'static str, text: &str) -> Result<Ipv4Addr, InterfaceErrorKind> {
    text.parse().map_err(|_| InterfaceErrorKind::Address {
        what,
        value: text.to_owned(),
    })
}

fn parse_prefix(bits: &str) -> Result<u8, InterfaceErrorKind> {
    let number = bits.parse().ok().filter(|bits| (1..=32).contains(bits));
    number.ok_or_else(|| InterfaceErrorKind::Mask(bits.to_owned()))
}

fn parse_label(what: &'static str, text: &str) -> Result<String, InterfaceErrorKind> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if text.len() <= 253 && text.bytes().all(fine) {
        return Ok(text.to_owned());
    }
    let value = text.to_owned();
    Err(InterfaceErrorKind::Label { what, value })
}

/// Why the name of a network is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkNameError {
    /// It has no characters.
    #[error("a network's name cannot be empty")]
    Empty,
    /// It has more than [`NAME_LIMIT`] characters.
    #[error("a network's name has at most {NAME_LIMIT} characters")]
    TooLong,
    /// It begins with a character other than a letter or digit.
    #[error("a network's name begins with a letter or a digit (A-Z, a-z, 0-9)")]
    Beginning,
    /// It contains a character that is not allowed.
    #[error(
        "a network's name is made of letters, digits, `_`, `.` and `-`, and `{0}` is none of these"
    )]
    Character(char),
}

/// Checks that a text is a valid name of a network.
///
/// # Errors
///
/// The reason if it is not.
pub fn check_name(name: &str) -> Result<(), NetworkNameError> {
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    match name.chars().next() {
        None => Err(NetworkNameError::Empty),
        _ if name.len() > NAME_LIMIT => Err(NetworkNameError::TooLong),
        Some(first) if !first.is_ascii_alphanumeric() => Err(NetworkNameError::Beginning),
        Some(_) => match name.chars().find(odd) {
            Some(c) => Err(NetworkNameError::Character(c)),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_up_to_seven_fields() {
        let ip = |text: &str| text.parse::<Ipv4Addr>().ok();
        let all = Interface::parse("n:10.0.0.5/24:10.0.0.1:1.1.1.1:8.8.8.8:web:a.example").unwrap();
        assert_eq!(all.address, ip("10.0.0.5"));
        assert_eq!((all.prefix, all.gateway), (Some(24), ip("10.0.0.1")));
        assert_eq!(all.dns, [ip("1.1.1.1").unwrap(), ip("8.8.8.8").unwrap()]);
        assert_eq!(all.hostname.as_deref(), Some("web"));
        assert_eq!(all.domain.as_deref(), Some("a.example"));
        for text in ["n", "n:", "n::::::"] {
            let open = Interface::parse(text).unwrap();
            let named = Interface {
                network: "n".to_owned(),
                ..Interface::default()
            };
            assert_eq!(open, named, "{text}");
        }
        let gateway = Interface::parse("n::10.0.0.1").unwrap();
        assert_eq!((gateway.address, gateway.gateway), (None, ip("10.0.0.1")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("", "cannot be empty"),
            ("-n", "begins with"),
            ("a/b", "`/` is none of these"),
            ("n:1.2.3", "the address `1.2.3` is not an IPv4 address"),
            ("n:1.2.3.4/33", "the mask `/33`"),
            ("n:1.2.3.4/0", "the mask `/0`"),
            ("n:1.2.3.4/", "the mask `/`"),
            ("n:1.2.3.4:x", "the gateway `x`"),
            ("n:::x", "the name server `x`"),
            ("n:::::a b", "the host name `a b`"),
            ("n::::::é", "the domain `é`"),
            ("n:::::::", "expected NAME"),
        ] {
            let error = Interface::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Interface::parse("bridge:172.18.0.2").is_ok());
        for (old, new) in [("bridge:n", "n"), ("bridge:n:10.0.0.5", "n:10.0.0.5")] {
            assert_eq!(Interface::parse(old), Interface::parse(new));
        }
    }

    #[test]
    fn a_parameter_has_all_six_fields_as_in_kraftkit() {
        let mut it = Interface::parse("n:172.18.0.2/16:172.18.0.1").unwrap();
        assert_eq!(it.parameter().unwrap(), "172.18.0.2/16:172.18.0.1::::");
        assert_eq!(
            it.linux_parameter().unwrap(),
            "172.18.0.2::172.18.0.1:255.255.0.0::eth0:off::"
        );
        it.prefix = Some(32);
        assert!(it.linux_parameter().unwrap().contains(":255.255.255.255:"));
        it.address = None;
        assert_eq!(it.parameter(), None);
    }

    #[test]
    fn hardware_addresses_are_those_of_one_machine() {
        let mac: Mac = "02:B0:b0:00:0a:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "02:b0:b0:00:0a:ff");
        for wrong in [
            "",
            "02:b0:b0:00:0a",
            "02:b0:b0:00:0a:ff:01",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "2:b0:b0:00:0a:ff",
            "02:b0:b0:00:0a:+f",
            "02:b0:b0:00:0a:fg",
        ] {
            assert_eq!(wrong.parse::<Mac>(), Err(MacError(wrong.to_owned())));
        }
    }
}
