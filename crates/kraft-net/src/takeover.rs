//! A machine in place of a container: it takes over the interfaces of a network namespace that an
//! engine of containers has set up.
//!
//! ```text
//!   eth0 (address, routes)  ──ingress──► redirect ──► tap ── VMM    the guest has the address and
//!        ◄── redirect ◄──ingress──                                  the hardware address of eth0
//! ```
//!
//! Every packet of the machine's tap leaves by the interface (`tc-u32(8)`, `tc-mirred(8)`). The interface
//! keeps its address, which is how engines find it. What arrives there goes to the tap, except for
//! packets to sockets of processes in the namespace, such as those of the other containers of a Pod ([`Sharing`]).
//! Where the kernel has no programs for packets, everything goes to the tap.
//!
//! All of it concerns the network namespace of this process, which must not be that of the host.
//!
//! ```no_run
//! use kraft_net::takeover;
//!
//! let links = takeover::links()?;
//! takeover::clean(&links)?;
//! for link in &links {
//!     let tap = takeover::take_over(link)?;
//!     println!("a VMM with the address {} reads packets from {}", link.address, tap.name);
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;

use kraft_core::net::Mac;
use rustix::net::{SocketFlags, SocketType, socket_with};

use crate::holder::{Netlink, tap};

mod program;
mod sharing;
mod translation;

/// The name of the device of a machine's card; the kernel adds a number.
const CARD: &str = "runu%d";
/// The loopback.
const LOOPBACK: &str = "lo";
/// What their names begin with.
const PREFIX: &str = "runu";

/// The largest table of the kernel that is read, in bytes.
const LARGEST_TABLE: u64 = 4 << 20;

/// An interface with an IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its hardware address.
    pub mac: Mac,
    /// The largest packet that it carries, in bytes.
    pub mtu: i32,
    /// Its address.
    pub address: Ipv4Addr,
    /// The number of bits of the address that name the network.
    pub prefix: u8,
    /// The way to other networks, if it is by this interface.
    pub gateway: Option<Ipv4Addr>,
}

/// The device of a machine's card.
#[derive(Debug)]
pub struct Tap {
    /// The device; it is gone when this is closed everywhere, unless it is [kept](keep).
    pub file: File,
    /// Its name.
    pub name: String,
}

/// Keeps a device until [`clean`], for a VMM that opens it by its name.
///
/// # Errors
///
/// If the system refuses.
pub fn keep(device: &File) -> io::Result<()> {
    tap::keep(device)
}

/// Returns the interfaces that are up and have an IPv4 address, in the order in which they were made,
/// without the loopback.
///
/// # Errors
///
/// If the tables of the kernel cannot be read.
pub fn links() -> io::Result<Vec<Link>> {
    let socket = Socket::open()?;
    let gateways = gateways(&table("route")?);
    let mut links = Vec::new();
    for name in names(&table("dev")?) {
        if name == LOOPBACK || name.starts_with(PREFIX) {
            continue;
        }
        // An interface may vanish, and need not have an address.
        if let Some(link) = socket.link(&name, &gateways)? {
            links.push(link);
        }
    }
    links.sort_by_key(|link| link.index);
    Ok(links)
}

/// What processes of this namespace reach, beside a machine that has taken over its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They have servers and clients of their own; at ports without a server, their own addresses are those of
    /// the machine.
    Whole,
    /// Packets to them go to the machine. They reach it at the addresses that it has taken over.
    Translated,
}

/// Has processes of this namespace share the addresses of a machine, which [`connect`] has given a card `between`
/// them with the address and hardware address `machine`.
///
/// # Errors
///
/// If the system refuses: it has neither programs for packets (`NET_CLS_BPF`) nor a translation of addresses
/// (`nf_tables`).
pub fn share(links: &[Link], between: &Tap, machine: (Ipv4Addr, Mac)) -> io::Result<Sharing> {
    let own = Socket::open()?.link(&between.name, &[])?;
    let own = own.ok_or(io::ErrorKind::NotFound)?;
    if share_loopback(links, &own, machine).is_ok() {
        return Ok(Sharing::Whole);
    }
    let addresses: Vec<Ipv4Addr> = links.iter().map(|link| link.address).collect();
    translation::add(&addresses, own.address, machine.0)?;
    Ok(Sharing::Translated)
}

/// Has packets of processes to their own addresses go to the machine if they have no socket for them.
fn share_loopback(links: &[Link], own: &Link, machine: (Ipv4Addr, Mac)) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let loopback = existing(&netlink, LOOPBACK)?;
    let between = sharing::Between {
        index: own.index,
        own: (own.address, own.mac),
        machine,
    };
    let mut addresses = vec![Ipv4Addr::LOCALHOST];
    addresses.extend(links.iter().map(|link| link.address));
    let there = sharing::of_loopback(&addresses, between)?;
    let back = sharing::of_card(&addresses, between, loopback)?;
    // The answers are packets from an own address, and from that of the loopback.
    for setting in ["accept_local", "route_localnet"] {
        let path = format!("/proc/sys/net/ipv4/conf/{LOOPBACK}/{setting}");
        File::options().write(true).open(path)?.write_all(b"1")?;
    }
    for (interface, program) in [(own.index, back), (loopback, there)] {
        netlink.raw(libc::RTM_NEWQDISC, ingress(interface), true)?;
        let filter = sharing::filter(interface, &program);
        netlink.raw(libc::RTM_NEWTFILTER, filter, true)?;
    }
    Ok(())
}

/// Removes what a machine left behind that was killed: redirections, kept devices and translations.
///
/// # Errors
///
/// If the interfaces cannot be listed.
pub fn clean(links: &[Link]) -> io::Result<()> {
    // There is none, as a rule.
    let _ = translation::remove();
    let mut netlink = Netlink::open()?;
    let loopback = netlink.index(LOOPBACK)?;
    for index in links.iter().map(|link| link.index).chain(loopback) {
        // There is none, as a rule.
        let _ = netlink.raw(libc::RTM_DELQDISC, ingress(index), false);
    }
    for name in names(&table("dev")?) {
        if name.starts_with(PREFIX)
            && let Some(index) = netlink.index(&name)?
        {
            netlink.remove(index)?;
        }
    }
    Ok(())
}

/// Makes a device for a machine's card that takes over an interface.
///
/// # Errors
///
/// If the system refuses: it has no `/dev/net/tun`, or no traffic control.
pub fn take_over(link: &Link) -> io::Result<Tap> {
    let (file, name) = tap::make(CARD)?;
    let mut netlink = Netlink::open()?;
    let index = existing(&netlink, &name)?;
    Socket::open()?.set_mtu(&name, link.mtu)?;
    netlink.start(index, None)?;
    for interface in [link.index, index] {
        netlink.raw(libc::RTM_NEWQDISC, ingress(interface), true)?;
    }
    netlink.raw(libc::RTM_NEWTFILTER, redirect(index, link.index), true)?;
    let shared = sharing::of_interface(index).and_then(|program| {
        let filter = sharing::filter(link.index, &program);
        netlink.raw(libc::RTM_NEWTFILTER, filter, true)
    });
    if shared.is_err() {
        // Without programs, everything is for the machine.
        netlink.raw(libc::RTM_NEWTFILTER, redirect(link.index, index), true)?;
    }
    Ok(Tap { file, name })
}

/// Makes a device for a machine's card that connects it with this namespace alone, which has the
/// address there.
///
/// # Errors
///
/// If the system refuses.
pub fn connect(address: Ipv4Addr, prefix: u8) -> io::Result<Tap> {
    let (file, name) = tap::make(CARD)?;
    let socket = Socket::open()?;
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    socket.set_address(&name, libc::SIOCSIFADDR, address)?;
    socket.set_address(&name, libc::SIOCSIFNETMASK, mask.into())?;
    let mut netlink = Netlink::open()?;
    let index = existing(&netlink, &name)?;
    netlink.start(index, None)?;
    Ok(Tap { file, name })
}

/// Starts the loopback.
///
/// # Errors
///
/// If the system refuses.
pub fn start_loopback() -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let index = existing(&netlink, LOOPBACK)?;
    netlink.start(index, None)
}

fn existing(netlink: &Netlink, name: &str) -> io::Result<u32> {
    netlink.index(name)?.ok_or(io::ErrorKind::NotFound.into())
}

/// Reads a table of the kernel about this network namespace.
fn table(name: &str) -> io::Result<String> {
    let path = format!("/proc/self/net/{name}");
    let bytes = kraft_sys::fs::read_file(Path::new(&path), LARGEST_TABLE).map_err(|e| e.source)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the names in `/proc/net/dev`: two lines of headings, then `  eth0: 12 0 …`.
fn names(dev: &str) -> Vec<String> {
    let lines = dev.lines().skip(2);
    let name = |line: &str| Some(line.split_once(':')?.0.trim().to_owned());
    lines.filter_map(name).collect()
}

/// Returns the default routes in `/proc/net/route`, by interface: `eth0 00000000 0101A8C0 0003 …`.
fn gateways(route: &str) -> Vec<(String, Ipv4Addr)> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, destination, gateway, _, _, _, _, mask, ..] = fields[..] else {
            return None;
        };
        let number = |text| u32::from_str_radix(text, 16).ok();
        let is_default = number(destination)? == 0 && number(mask)? == 0;
        // In the order of bytes that the network has, as a number of this host.
        let gateway = Ipv4Addr::from(number(gateway)?.to_ne_bytes());
        (is_default && !gateway.is_unspecified()).then(|| (name.to_owned(), gateway))
    };
    route.lines().skip(1).filter_map(of_line).collect()
}

/// A socket by which interfaces are examined and changed (`netdevice(7)`).
struct Socket(std::os::fd::OwnedFd);

impl Socket {
    fn open() -> io::Result<Self> {
        let family = rustix::net::AddressFamily::INET;
        let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self(socket))
    }

    /// Returns an interface; `None` if it is down, has no IPv4 address or is gone.
    fn link(&self, name: &str, gateways: &[(String, Ipv4Addr)]) -> io::Result<Option<Link>> {
        let Some(flags) = self.get(name, libc::SIOCGIFFLAGS)? else {
            return Ok(None);
        };
        let Some(address) = self.get(name, libc::SIOCGIFADDR)? else {
            return Ok(None);
        };
        let (Some(mask), Some(hardware), Some(mtu), Some(index)) = (
            self.get(name, libc::SIOCGIFNETMASK)?,
            self.get(name, libc::SIOCGIFHWADDR)?,
            self.get(name, libc::SIOCGIFMTU)?,
            self.get(name, libc::SIOCGIFINDEX)?,
        ) else {
            return Ok(None);
        };
        // SAFETY: each request was answered, and so wrote the field that belongs to it.
        #[expect(unsafe_code, reason = "the answers are in a union")]
        let (flags, address, mask, hardware, mtu, index) = unsafe {
            (
                flags.ifr_ifru.ifru_flags,
                socket_address(&address.ifr_ifru.ifru_addr),
                socket_address(&mask.ifr_ifru.ifru_netmask),
                hardware.ifr_ifru.ifru_hwaddr,
                mtu.ifr_ifru.ifru_mtu,
                index.ifr_ifru.ifru_ifindex,
            )
        };
        if i32::from(flags) & libc::IFF_UP == 0 || hardware.sa_family != libc::ARPHRD_ETHER {
            return Ok(None);
        }
        let mut mac = [0; 6];
        for (place, byte) in mac.iter_mut().zip(hardware.sa_data) {
            *place = tap::from_char(byte);
        }
        Ok(Some(Link {
            name: name.to_owned(),
            index: index.cast_unsigned(),
            mac: Mac(mac),
            mtu,
            address,
            prefix: u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32),
            gateway: gateways
                .iter()
                .find(|(of, _)| of == name)
                .map(|(_, gateway)| *gateway),
        }))
    }

    fn set_mtu(&self, name: &str, mtu: i32) -> io::Result<()> {
        let mut request = request(name);
        request.ifr_ifru.ifru_mtu = mtu;
        self.ask(libc::SIOCSIFMTU, &mut request)
    }

    fn set_address(&self, name: &str, what: libc::c_ulong, address: Ipv4Addr) -> io::Result<()> {
        let mut request = request(name);
        let mut data = [0; 14];
        // Behind a port of two bytes.
        for (place, byte) in data.iter_mut().skip(2).zip(address.octets()) {
            *place = tap::to_char(byte);
        }
        request.ifr_ifru.ifru_addr = libc::sockaddr {
            sa_family: u16::try_from(libc::AF_INET).unwrap_or_default(),
            sa_data: data,
        };
        self.ask(what, &mut request)
    }

    /// Returns an answer about an interface; `None` if there is none.
    fn get(&self, name: &str, what: libc::c_ulong) -> io::Result<Option<libc::ifreq>> {
        let mut request = request(name);
        match self.ask(what, &mut request) {
            Ok(()) => Ok(Some(request)),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENODEV | libc::EADDRNOTAVAIL)) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn ask(&self, what: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: the request is a whole `ifreq`, which these calls read and write
        // (`netdevice(7)`).
        #[expect(unsafe_code, reason = "no library examines interfaces")]
        let answered = unsafe { libc::ioctl(self.0.as_raw_fd(), what as _, &raw mut *request) };
        if answered < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

fn request(name: &str) -> libc::ifreq {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_addr: libc::sockaddr {
                sa_family: 0,
                sa_data: [0; 14],
            },
        },
    };
    let last = request.ifr_name.len() - 1;
    for (place, byte) in request.ifr_name.iter_mut().take(last).zip(name.as_bytes()) {
        *place = tap::to_char(*byte);
    }
    request
}

/// Returns the address in a socket address: four bytes behind a port of two.
fn socket_address(address: &libc::sockaddr) -> Ipv4Addr {
    let [_, _, a, b, c, d, ..] = address.sa_data.map(tap::from_char);
    Ipv4Addr::new(a, b, c, d)
}

/// The number of the queue of what arrives (`TC_H_INGRESS`), and what filters are attached to.
const INGRESS: u32 = 0xffff_fff1;
const INGRESS_HANDLE: u32 = 0xffff_0000;

/// Attributes of traffic control (`linux/rtnetlink.h`, `linux/pkt_cls.h`, `linux/tc_act/`).
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const U32_SELECTOR: u16 = 5;
const U32_ACTIONS: u16 = 7;
const FIRST_ACTION: u16 = 1;
const MIRRED_PARAMETERS: u16 = 2;

/// A selector that ends the search (`TC_U32_TERMINAL`).
const TERMINAL: u8 = 1;
/// The packet is not used any further here (`TC_ACT_STOLEN`).
const STOLEN: u32 = 4;
/// The packet leaves by another interface (`TCA_EGRESS_REDIR`).
const REDIRECT: u32 = 1;
/// Every protocol (`ETH_P_ALL`).
const EVERY_PROTOCOL: u16 = 3;

/// Returns a description of the queue of what arrives at an interface.
fn ingress(interface: u32) -> Vec<u8> {
    let mut message = head(interface, INGRESS_HANDLE, INGRESS, 0);
    attribute(&mut message, KIND, b"ingress\0");
    message
}

/// Returns a description of a filter that sends everything that arrives at an interface out of another
/// one.
fn redirect(from: u32, to: u32) -> Vec<u8> {
    let priority = 1 << 16;
    let info = priority | u32::from(EVERY_PROTOCOL.to_be());
    let mut message = head(from, 0, INGRESS_HANDLE, info);
    attribute(&mut message, KIND, b"u32\0");
    // One key, whose mask is 0: it matches every packet.
    let mut selector = vec![TERMINAL, 0, 1];
    selector.resize(32, 0);
    let mut parameters = Vec::new();
    // Index, capabilities, what happens, two counts, how, and where.
    for number in [0, 0, STOLEN, 0, 0, REDIRECT, to] {
        parameters.extend(number.to_ne_bytes());
    }
    let mut action = Vec::new();
    attribute(&mut action, KIND, b"mirred\0");
    attribute(
        &mut action,
        OPTIONS,
        &nested(MIRRED_PARAMETERS, &parameters),
    );
    let mut options = nested(U32_SELECTOR, &selector);
    attribute(&mut options, U32_ACTIONS, &nested(FIRST_ACTION, &action));
    attribute(&mut message, OPTIONS, &options);
    message
}

/// Returns a `tcmsg`.
fn head(interface: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    // Family and padding.
    let mut message = vec![0; 4];
    for number in [interface, handle, parent, info] {
        message.extend(number.to_ne_bytes());
    }
    message
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut outer = Vec::new();
    attribute(&mut outer, kind, value);
    outer
}

/// Appends an attribute: its length, its kind and its value, padded to four bytes.
fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_kernel_are_read() {
        let dev = "Inter-|   Receive\n face |bytes\n    lo:  0 0\n  eth0: 12 1\nbad\n";
        assert_eq!(names(dev), ["lo", "eth0"]);
        let route = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                     odd\t00000000\n";
        let expected = Ipv4Addr::from(0x0100_11AC_u32.to_ne_bytes());
        assert_eq!(gateways(route), [("eth0".to_owned(), expected)]);
    }

    #[test]
    fn the_loopback_is_no_interface_of_a_machine() {
        assert!(links().unwrap().iter().all(|link| link.name != "lo"));
    }

    #[test]
    fn a_filter_matches_everything_and_names_the_other_interface() {
        let message = redirect(3, 7);
        assert_eq!(message.len() % 4, 0);
        assert_eq!(message.get(4..8), Some(&3_u32.to_ne_bytes()[..]));
        assert!(message.windows(4).any(|it| it == 7_u32.to_ne_bytes()));
        assert!(message.windows(7).any(|it| it == b"mirred\0"));
    }
}
