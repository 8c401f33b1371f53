//! An address from a server of the network (DHCP), for the first card.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use smoltcp::socket::dhcpv4::{Event, Socket as Dhcp};
use smoltcp::wire::{IpAddress, IpCidr};

use super::settings::{self, Setting};
use super::stack::{self, Core, Station};
use crate::arch;
use crate::fs::Place;
use crate::sync::Global;
use crate::task;

/// How long the program waits for an address when it starts. Servers on the same machine
/// answer within a millisecond; later answers count, too.
const WAIT: u64 = 50_000_000;

/// The card that gets an address.
const CARD: usize = 0;

/// Waits for an address.
pub struct Lease {
    core: Core,
    root: Rc<Place>,
    has_address: Cell<bool>,
}

static LEASE: Global<RefCell<Option<Rc<Lease>>>> = Global::new(RefCell::new(None));

/// Asks for an address.
pub fn begin(root: &Rc<Place>) {
    let lease = Rc::new(Lease {
        core: Core::new(Dhcp::new()),
        root: root.clone(),
        has_address: Cell::new(false),
    });
    *LEASE.borrow_mut() = Some(lease.clone());
    stack::set_lease(lease.clone());
    let station: Rc<dyn Station> = lease;
    stack::serve(&station);
}

/// Waits a little until the address is there.
pub fn wait() {
    let Some(lease) = LEASE.borrow().clone() else {
        return;
    };
    let deadline = arch::monotonic() + WAIT;
    stack::poll();
    while !lease.has_address.get() && arch::monotonic() < deadline {
        task::arm(deadline);
        arch::wait_for_interrupt();
        stack::poll();
    }
}

impl Station for Lease {
    fn core(&self) -> &Core {
        &self.core
    }

    fn card(&self) -> usize {
        CARD
    }

    fn changed(self: Rc<Self>) {
        let mut lost = false;
        let setting = self.core.with(|socket: &mut Dhcp<'_>| match socket.poll() {
            Some(Event::Configured(configuration)) => Some(Setting {
                address: Some(IpCidr::Ipv4(configuration.address)),
                gateway: configuration.router.map(IpAddress::Ipv4),
                servers: configuration
                    .dns_servers
                    .iter()
                    .map(|&server| IpAddress::Ipv4(server))
                    .collect::<Vec<_>>(),
                ..Setting::default()
            }),
            Some(Event::Deconfigured) => {
                lost = true;
                None
            }
            None => None,
        });
        if lost && self.has_address.replace(false) {
            settings::remove_ipv4(CARD);
        }
        if let Some(setting) = setting {
            self.has_address.set(true);
            settings::apply(CARD, &setting, &self.root);
        }
    }
}
