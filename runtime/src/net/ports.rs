//! Which ports are taken, and by which addresses.

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use smoltcp::wire::{IpAddress, IpEndpoint};

use super::address::Family;
use super::socket::{Base, REUSE_ADDRESS, REUSE_PORT, V6_ONLY};
use crate::abi::errno::{Errno, Result};
use crate::random;
use crate::sync::Global;

/// The ports that are given to who does not care (`ip_local_port_range`).
const FREE: core::ops::Range<u16> = 32768..61000;

/// The ports of a protocol.
pub struct Ports {
    taken: RefCell<BTreeMap<u16, Vec<Weak<Binding>>>>,
    /// Whether sockets that listen share their port only with `SO_REUSEPORT`.
    listeners_alone: bool,
}

/// The ports of TCP.
pub static TCP: Global<Ports> = Global::new(Ports::new(true));
/// The ports of UDP.
pub static UDP: Global<Ports> = Global::new(Ports::new(false));

/// A port with an address that is taken as long as this lives.
pub struct Binding {
    /// The address and the port; the address may be the unspecified one.
    pub endpoint: IpEndpoint,
    family: Family,
    v6_only: bool,
    reuse_address: bool,
    reuse_port: bool,
    listening: Cell<bool>,
    ports: &'static Ports,
}

impl Binding {
    fn is_dual(&self) -> bool {
        self.family == Family::Inet6 && !self.v6_only
    }

    /// Whether packets for an address are for this one.
    pub fn covers(&self, address: IpAddress) -> bool {
        if !self.endpoint.addr.is_unspecified() {
            return self.endpoint.addr == address;
        }
        match address {
            IpAddress::Ipv4(_) => {
                matches!(self.endpoint.addr, IpAddress::Ipv4(_)) || self.is_dual()
            }
            IpAddress::Ipv6(_) => matches!(self.endpoint.addr, IpAddress::Ipv6(_)),
        }
    }

    /// Whether the address is given, which goes before any.
    pub fn is_specific(&self) -> bool {
        !self.endpoint.addr.is_unspecified()
    }

    fn overlaps(&self, other: &Binding) -> bool {
        let (mine, theirs) = (self.endpoint.addr, other.endpoint.addr);
        if mine.is_unspecified() && theirs.is_unspecified() {
            return mine == theirs || self.is_dual() || other.is_dual();
        }
        self.covers(theirs) || other.covers(mine)
    }

    fn shares(&self, other: &Binding) -> bool {
        let alone = self.ports.listeners_alone && (self.listening.get() || other.listening.get());
        (self.reuse_port && other.reuse_port)
            || (self.reuse_address && other.reuse_address && !alone)
    }

    /// Notes that the socket listens.
    ///
    /// # Errors
    /// `EADDRINUSE` if another one does.
    pub fn listen(&self) -> Result<()> {
        let before = self.listening.replace(true);
        if !before && self.ports.has_conflict(self) {
            self.listening.set(false);
            return Err(Errno::ADDRINUSE);
        }
        Ok(())
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        let mut taken = self.ports.taken.borrow_mut();
        if let Some(list) = taken.get_mut(&self.endpoint.port) {
            list.retain(|other| other.strong_count() > 0);
            if list.is_empty() {
                taken.remove(&self.endpoint.port);
            }
        }
    }
}

impl Ports {
    const fn new(listeners_alone: bool) -> Ports {
        Ports {
            taken: RefCell::new(BTreeMap::new()),
            listeners_alone,
        }
    }

    fn has_conflict(&self, binding: &Binding) -> bool {
        let taken = self.taken.borrow();
        let list = taken.get(&binding.endpoint.port);
        list.is_some_and(|list| {
            list.iter().filter_map(Weak::upgrade).any(|other| {
                !core::ptr::eq(&*other, binding)
                    && other.overlaps(binding)
                    && !other.shares(binding)
            })
        })
    }

    /// Takes a port, or some free one where it is 0 that `usable` has nothing against.
    ///
    /// # Errors
    /// `EADDRINUSE`
    pub fn bind(
        &'static self,
        base: &Base,
        endpoint: IpEndpoint,
        usable: impl Fn(u16) -> bool,
    ) -> Result<Rc<Binding>> {
        let make = |port: u16| {
            let binding = Rc::new(Binding {
                endpoint: IpEndpoint::new(endpoint.addr, port),
                family: base.family,
                v6_only: base.is_on(V6_ONLY),
                reuse_address: base.is_on(REUSE_ADDRESS),
                reuse_port: base.is_on(REUSE_PORT),
                listening: Cell::new(false),
                ports: self,
            });
            if self.has_conflict(&binding) {
                return None;
            }
            self.taken
                .borrow_mut()
                .entry(port)
                .or_default()
                .push(Rc::downgrade(&binding));
            Some(binding)
        };
        if endpoint.port != 0 {
            return make(endpoint.port).ok_or(Errno::ADDRINUSE);
        }
        let count = FREE.end - FREE.start;
        let first = random::number() as u16 % count;
        for step in 0..count {
            let port = FREE.start + (first + step) % count;
            let free = !self.taken.borrow().contains_key(&port);
            if free && usable(port) {
                return make(port).ok_or(Errno::ADDRINUSE);
            }
        }
        Err(Errno::ADDRINUSE)
    }
}
