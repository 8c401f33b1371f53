//! The network of a container: the machine takes over what the engine has set up in its namespace.
//!
//! ```text
//! engine ──veth──► eth0 ──► tap ─► card 1 of the guest     its address, hardware address, routes
//!                  eth1 ──► tap ─► card 2 …
//! supervisor, 169.254.1.1 ── tap ─► last card, 169.254.1.2   name servers on the loopback, probes
//! ```
//!
//! The interface of Docker Swarm's ingress network stays with the namespace; see [`crate::ingress`].
//!
//! Engines answer names on a loopback address (Docker: 127.0.0.11), which a guest has no way to; the
//! supervisor relays them. The same card is the way of health probes to the guest.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kraft_core::net::{Interface, MOST_INTERFACES, Mac};
use kraft_machine::direct::DirectCard;
use kraft_net::takeover::{self, Link, Sharing, Tap};
use rustix::net::{SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::failure::Failure;
use crate::ingress;
use crate::state::Network;

/// The addresses of the supervisor and of the guest on the card between them (RFC 3927 reserves
/// such addresses for one link).
pub(crate) const SUPERVISOR: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 2);
/// The hardware address of the guest there: one of those that everyone may choose.
const GUEST_MAC: Mac = Mac([0x02, 0, 169, 254, 1, 2]);
const PREFIX: u8 = 30;

/// The network namespace of this process.
const OWN: &str = "/proc/self/ns/net";

/// Moves this process into the network namespace of a container.
pub(crate) fn enter(network: &Network) -> Result<(), Failure> {
    match network {
        Network::Host => Ok(()),
        Network::New => {
            kraft_sys::process::leave_network()
                .map_err(|e| Failure::of("cannot make a network namespace", &e))?;
            // Engines expect it, as in every container.
            takeover::start_loopback().map_err(|e| Failure::of("cannot start the loopback", &e))
        }
        Network::Existing(path) => {
            let what = format!("cannot enter the network namespace `{}`", path.display());
            let file = File::open(path).map_err(|e| Failure::of(&what, &e))?;
            move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&file),
                Some(LinkNameSpaceType::Network),
            )
            .map_err(|e| Failure::of(&what, &e))
        }
    }
}

/// Returns whether a path is that of the network namespace of this process, which is the host's before
/// another was entered.
pub(crate) fn is_own(path: &Path) -> bool {
    let inode = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    inode(path).is_some() && inode(path) == inode(Path::new(OWN))
}

/// The cards of a machine that starts, and what has to stay open for it.
#[derive(Debug)]
pub(crate) struct Cards {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) devices: Vec<DirectCard>,
    pub(crate) links: Vec<Link>,
    /// Whether the last card is that between supervisor and guest.
    pub(crate) control: bool,
    /// What does not work, as a sentence.
    pub(crate) note: Option<String>,
    /// Says that a machine runs in this namespace.
    _claim: Option<std::os::fd::OwnedFd>,
}

/// What a machine's network is made from, beside the namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// The name servers of the engine.
    pub(crate) servers: &'a [IpAddr],
    pub(crate) domain: Option<&'a str>,
    pub(crate) hostname: &'a str,
}

impl Cards {
    /// Returns those of a machine without a network.
    pub(crate) fn none() -> Self {
        Self {
            interfaces: Vec::new(),
            devices: Vec::new(),
            links: Vec::new(),
            control: false,
            note: None,
            _claim: None,
        }
    }

    /// Takes over the interfaces of this network namespace, which is not the host's. `most` is the number
    /// of cards that the VMM can have.
    pub(crate) fn take(names: Names<'_>, most: Option<usize>) -> Result<Self, Failure> {
        let failed = |what: &'static str| move |e: std::io::Error| Failure::of(what, &e);
        let claim = claim()?;
        let links = takeover::links().map_err(failed("cannot list the interfaces"))?;
        takeover::clean(&links).map_err(failed("cannot clean the interfaces"))?;
        // Only Docker Swarm has an ingress network, and never as the only one.
        let mesh = match links.len() {
            0 | 1 => Vec::new(),
            _ => ingress::ports(),
        };
        let is_ingress = |link: &Link| mesh.iter().any(|port| port.address == link.address);
        let links: Vec<Link> = links.into_iter().filter(|link| !is_ingress(link)).collect();
        let most = most.map_or(MOST_INTERFACES, |most| most.min(MOST_INTERFACES));
        let needed = links.len() + usize::from(!mesh.is_empty());
        if needed > most {
            return Err(Failure(format!(
                "the container needs {needed} network interfaces, and its machine can have {most}"
            )));
        }
        let mut taken = Self {
            _claim: Some(claim),
            ..Self::none()
        };
        for link in &links {
            let tap = takeover::take_over(link).map_err(|e| {
                Failure::of(
                    &format!("cannot take over the interface `{}`", link.name),
                    &e,
                )
            })?;
            taken.add(tap, interface(link, names, taken.interfaces.is_empty()));
        }
        if !links.is_empty() && links.len() < most {
            let tap = takeover::connect(SUPERVISOR, PREFIX)
                .map_err(failed("cannot make the card of the supervisor"))?;
            let control = Interface {
                network: "control".to_owned(),
                address: Some(GUEST),
                prefix: Some(PREFIX),
                mac: Some(GUEST_MAC),
                ..Interface::default()
            };
            ingress::forward(&mesh, &tap.name)?;
            taken.note = match takeover::share(&links, &tap, (GUEST, GUEST_MAC)) {
                Ok(Sharing::Whole) => None,
                Ok(Sharing::Translated) => Some(
                    "other processes in the network namespace are not reached from outside: the \
                     kernel has no `NET_CLS_BPF`, or does not permit it"
                        .to_owned(),
                ),
                Err(e) => Some(format!(
                    "processes in the network namespace reach the guest at {GUEST} only: {e}"
                )),
            };
            taken.add(tap, control);
            taken.control = true;
        }
        taken.links = links;
        Ok(taken)
    }

    fn add(&mut self, tap: Tap, interface: Interface) {
        self.interfaces.push(interface);
        self.devices.push(DirectCard {
            file: tap.file,
            device: tap.name,
        });
    }

    /// Has a VMM open the cards by their names: they stay until the machine has ended.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        for card in &self.devices {
            takeover::keep(&card.file)
                .map_err(|e| Failure::of(&format!("cannot keep the card `{}`", card.device), &e))?;
        }
        // What stands for them is not used any more.
        for card in &mut self.devices {
            card.file =
                File::open("/dev/null").map_err(|e| Failure::of("cannot open `/dev/null`", &e))?;
        }
        Ok(())
    }
}

/// Returns the connection of the guest that takes over an interface.
fn interface(link: &Link, names: Names<'_>, first: bool) -> Interface {
    let mut dns: Vec<Ipv4Addr> = Vec::new();
    for server in names.servers.iter().filter(|_| first) {
        match server {
            IpAddr::V4(server) if !server.is_loopback() => dns.push(*server),
            // It is relayed.
            IpAddr::V4(_) if !dns.contains(&SUPERVISOR) => dns.push(SUPERVISOR),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
    dns.truncate(2);
    let plain = |name: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        (!name.is_empty() && name.len() <= 253 && name.bytes().all(fine)).then(|| name.to_owned())
    };
    Interface {
        network: link.name.clone(),
        address: Some(link.address),
        prefix: Some(link.prefix.clamp(1, 32)),
        gateway: link.gateway,
        dns,
        hostname: plain(names.hostname).filter(|_| first),
        domain: names.domain.and_then(plain).filter(|_| first),
        mac: Some(link.mac),
        ..Interface::default()
    }
}

/// Claims this namespace for one machine, until the result is closed: two would answer for the same
/// addresses. Names of this kind exist once per network namespace (`unix(7)`).
pub(crate) fn claim() -> Result<std::os::fd::OwnedFd, Failure> {
    let failed = |e: rustix::io::Errno| Failure::of("cannot claim the network namespace", &e);
    let family = rustix::net::AddressFamily::UNIX;
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(failed)?;
    let name = SocketAddrUnix::new_abstract_name(b"kraft-runu").map_err(failed)?;
    match bind(&socket, &name) {
        Ok(()) => Ok(socket),
        Err(rustix::io::Errno::ADDRINUSE) => Err(Failure(
            "another machine runs in this network namespace already: a namespace has addresses for one"
                .to_owned(),
        )),
        Err(e) => Err(failed(e)),
    }
}

/// Returns the name servers and the first search domain of a `resolv.conf`.
pub(crate) fn resolvers(text: &str) -> (Vec<IpAddr>, Option<String>) {
    let (mut servers, mut domain) = (Vec::new(), None);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(server)) => servers.extend(server.parse::<IpAddr>().ok()),
            (Some("search" | "domain"), Some(name)) if domain.is_none() => {
                domain = Some(name.to_owned());
            }
            _ => {}
        }
    }
    (servers, domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_the_addresses_of_the_interface_and_reaches_its_name_servers() {
        let (servers, domain) = resolvers(
            "# x\nsearch a.example b\nnameserver 127.0.0.11\nnameserver 9.9.9.9\noptions x\n",
        );
        assert_eq!(domain.as_deref(), Some("a.example"));
        let link = Link {
            name: "eth0".to_owned(),
            index: 2,
            mac: "02:42:ac:11:00:02".parse().unwrap(),
            mtu: 1500,
            address: Ipv4Addr::new(172, 17, 0, 2),
            prefix: 16,
            gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
        };
        let names = Names {
            servers: &servers,
            domain: domain.as_deref(),
            hostname: "web:1",
        };
        let first = interface(&link, names, true);
        assert_eq!(
            first.parameter().unwrap(),
            "172.17.0.2/16:172.17.0.1:169.254.1.1:9.9.9.9::a.example"
        );
        let second = interface(&link, names, false);
        assert_eq!(second.parameter().unwrap(), "172.17.0.2/16:172.17.0.1::::");
    }

    #[test]
    fn the_namespace_of_this_process_is_recognised() {
        assert!(is_own(Path::new("/proc/thread-self/ns/net")));
        assert!(!is_own(Path::new("/proc/self/ns/uts")));
        assert!(!is_own(Path::new("/no/such/file")));
    }
}
