//! The networks of one runtime directory: made, listed and removed; and the addresses in them.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use kraft_core::net::{Interface, Mac, check_name};
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::error::Error;
use crate::layout::NetworkDir;
use crate::record::{Active, HolderRecord, Lease, Network, load_leases, store_leases};
use crate::subnet;

/// The maximal size of the host's table of routes that is read, in bytes.
const MAX_ROUTES: u64 = 4 << 20;

/// The networks of one runtime directory.
///
/// Any number of processes and threads may use the same directory at once.
///
/// ```
/// use kraft_core::net::Interface;
/// use kraft_net::{Networks, NewNetwork, Request};
///
/// let dir = tempfile::tempdir()?;
/// let networks = Networks::new(dir.path());
/// networks.create(&NewNetwork {
///     gateway: Some("10.9.0.1/24".parse()?),
///     ..NewNetwork::named("web")
/// })?;
/// let asked = Interface::parse("web")?;
/// let request = Request { machine: "1", name: "alice", interface: &asked };
/// let given = networks.reserve(&request, &|_| true)?;
/// assert_eq!(given.parameter().unwrap(), "10.9.0.2/24:10.9.0.1:10.9.0.1::alice:web");
/// networks.release("1")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Networks {
    root: PathBuf,
}

/// A network to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNetwork<'a> {
    /// Its name.
    pub name: &'a str,
    /// The address of its gateway, with its mask; `None` for a free subnet.
    pub gateway: Option<Ipv4Net>,
    /// Whether it has no way out.
    pub internal: bool,
}

impl<'a> NewNetwork<'a> {
    /// Names a network with the defaults.
    pub fn named(name: &'a str) -> Self {
        Self {
            name,
            gateway: None,
            internal: false,
        }
    }
}

/// A machine that asks for an address.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its id.
    pub machine: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The connection as far as it is decided.
    pub interface: &'a Interface,
}

/// Returns whether a machine of that id exists.
pub(crate) type Present<'a> = &'a dyn Fn(&str) -> bool;

impl Networks {
    /// Uses the networks of a runtime directory, which need not exist.
    pub fn new(runtime_dir: &Path) -> Self {
        Self {
            root: runtime_dir.join("networks"),
        }
    }

    pub(crate) fn dir(&self, name: &str) -> Result<NetworkDir, Error> {
        check_name(name)?;
        Ok(NetworkDir::new(self.root.join(name)))
    }

    /// Makes a network. Nothing of it exists but its record until a machine starts in it.
    ///
    /// # Errors
    ///
    /// If there is one of that name, or no such subnet is free.
    pub fn create(&self, new: &NewNetwork<'_>) -> Result<Network, Error> {
        let dir = self.dir(new.name)?;
        fs::create_dir_all(&self.root, 0o700)?;
        let _lock = Lock::exclusive(&self.root)?;
        self.remove_stale();
        if dir.path().exists() {
            let name = new.name.to_owned();
            return Err(Error::Exists { name });
        }
        let others = self.list()?;
        let gateway = if let Some(asked) = new.gateway {
            subnet::check(asked)?;
            if let Some(other) = others.iter().find(|it| subnet::overlap(asked, it.gateway)) {
                return Err(Error::Overlaps {
                    subnet: asked,
                    other: other.name.clone(),
                    theirs: other.gateway,
                });
            }
            asked
        } else {
            let table = fs::read_file(Path::new("/proc/net/route"), MAX_ROUTES);
            let table = String::from_utf8_lossy(&table.unwrap_or_default()).into_owned();
            let mut taken = subnet::routes(&table);
            taken.extend(others.iter().map(|other| other.gateway));
            subnet::choose(&taken)?
        };
        let network = Network::new(new.name, gateway, new.internal);
        // Complete before it has its name: one that is killed meanwhile leaves nothing in the way.
        let partial = NetworkDir::new(self.root.join(format!("{PARTIAL}{}", network.id)));
        fs::create_dir(partial.path(), 0o700)?;
        network.store(&partial)?;
        fs::replace_file(&partial.start_lock(), b"")?;
        fs::rename(partial.path(), dir.path())?;
        fs::sync_dir(&self.root)?;
        tracing::debug!(name = new.name, %gateway, "made a network");
        Ok(network)
    }

    /// Returns all networks, by name. Directories that are no networks are skipped.
    ///
    /// # Errors
    ///
    /// If a record cannot be read.
    pub fn list(&self) -> Result<Vec<Network>, Error> {
        let names = fs::names(&self.root)?.into_iter();
        let mut networks = Vec::new();
        for name in names.filter(|name| check_name(name).is_ok()) {
            match self.get(&name) {
                Ok(network) => networks.push(network),
                // It was removed meanwhile.
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(networks)
    }

    /// Returns a network.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn get(&self, name: &str) -> Result<Network, Error> {
        let dir = self.dir(name)?;
        Network::load(&dir).map_err(absent(name))
    }

    /// Returns the addresses of machines in a network, those that do not run included.
    ///
    /// # Errors
    ///
    /// If there is no such network.
    pub fn leases(&self, name: &str) -> Result<Vec<Lease>, Error> {
        self.get(name)?;
        load_leases(&self.dir(name)?)
    }

    /// Returns the machines that run in a network.
    ///
    /// # Errors
    ///
    /// If there is no such network.
    pub fn active(&self, name: &str) -> Result<Vec<Active>, Error> {
        self.get(name)?;
        let holder = HolderRecord::load(&self.dir(name)?);
        Ok(holder.map(HolderRecord::living).unwrap_or_default())
    }

    /// Returns how machines of a network reach the host, or why they do not; `None` while no
    /// machine runs in it.
    ///
    /// # Errors
    ///
    /// If there is no such network.
    pub fn way_out(&self, name: &str) -> Result<Option<Result<Ipv4Addr, String>>, Error> {
        self.get(name)?;
        let holder = HolderRecord::load(&self.dir(name)?);
        Ok(holder
            .filter(|holder| holder.process.is_alive())
            .map(|holder| holder.way_out))
    }

    /// Lets machines start in a network, or not.
    ///
    /// # Errors
    ///
    /// If machines run in a network that is taken down.
    pub fn set_up(&self, name: &str, up: bool) -> Result<(), Error> {
        let dir = self.dir(name)?;
        let _lock = lock(&dir, name)?;
        let mut network = Network::load(&dir).map_err(absent(name))?;
        if network.up == up {
            return Ok(());
        }
        let machines: Vec<String> = self.active(name)?.into_iter().map(|it| it.name).collect();
        if !up && !machines.is_empty() {
            let name = name.to_owned();
            return Err(Error::Running { name, machines });
        }
        network.up = up;
        network.store(&dir)
    }

    /// Removes a network. If machines are in it, this is an error, or with `force` they lose it.
    ///
    /// # Errors
    ///
    /// If there is no such network, or a machine is in it.
    pub fn remove(&self, name: &str, force: bool, present: Present<'_>) -> Result<(), Error> {
        let dir = self.dir(name)?;
        self.get(name)?;
        let all = Lock::exclusive(&self.root)?;
        let lock = lock(&dir, name)?;
        let network = Network::load(&dir).map_err(absent(name))?;
        let mut machines: Vec<String> = load_leases(&dir)?
            .into_iter()
            .filter(|lease| present(&lease.machine))
            .map(|lease| lease.name)
            .collect();
        machines.sort_unstable();
        if !machines.is_empty() && !force {
            let name = name.to_owned();
            return Err(Error::InUse { name, machines });
        }
        self.end_holder(name)?;
        let gone = self.root.join(format!("{PARTIAL}{}", network.id));
        fs::rename(dir.path(), &gone)?;
        drop((lock, all));
        Ok(fs::remove_tree(&gone)?)
    }

    /// Removes what killed processes left incomplete. The lock of the directory is held.
    fn remove_stale(&self) {
        let entries = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(PARTIAL)) {
                // If it cannot be removed, it does no harm: it is not a network.
                let _ = fs::remove_tree(&entry.path());
            }
        }
    }

    /// Gives a machine an address, and decides whatever its connection leaves open. The machine
    /// keeps the address until it is [released](Self::release).
    ///
    /// Addresses of machines that are not `present` are free: a process was killed before it had
    /// made them. The caller makes sure that none is being made meanwhile.
    ///
    /// # Errors
    ///
    /// If there is no such network, or no such address is free.
    pub fn reserve(&self, request: &Request<'_>, present: Present<'_>) -> Result<Interface, Error> {
        let name = &request.interface.network;
        let dir = self.dir(name)?;
        let _lock = lock(&dir, name)?;
        let network = Network::load(&dir).map_err(absent(name))?;
        let mut leases = load_leases(&dir)?;
        leases.retain(|it| present(&it.machine) && it.machine != request.machine);
        let decided = decide(&network, &leases, request)?;
        leases.push(decided.lease);
        store_leases(&dir, &leases)?;
        Ok(decided.interface)
    }

    /// Returns what [`reserve`](Self::reserve) would, and reserves nothing.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn preview(&self, request: &Request<'_>) -> Result<Interface, Error> {
        let name = &request.interface.network;
        let network = self.get(name)?;
        let leases = load_leases(&self.dir(name)?)?;
        Ok(decide(&network, &leases, request)?.interface)
    }

    /// Takes the addresses of a machine back, in all networks.
    ///
    /// # Errors
    ///
    /// If a record cannot be read or written.
    pub fn release(&self, machine: &str) -> Result<(), Error> {
        self.each_lease(|lease| (lease.machine != machine).then_some(lease))
    }

    /// Gives a machine another name, in all networks. While it runs, it is found by the one that it was
    /// started with.
    ///
    /// # Errors
    ///
    /// If a record cannot be read or written.
    pub fn rename(&self, machine: &str, name: &str) -> Result<(), Error> {
        self.each_lease(|mut lease| {
            if lease.machine == machine {
                name.clone_into(&mut lease.name);
            }
            Some(lease)
        })
    }

    /// Changes or removes the addresses of machines, in all networks.
    fn each_lease(&self, change: impl Fn(Lease) -> Option<Lease>) -> Result<(), Error> {
        for network in self.list()? {
            let dir = self.dir(&network.name)?;
            let Ok(_lock) = Lock::exclusive(dir.path()) else {
                // It was removed meanwhile.
                continue;
            };
            let before = load_leases(&dir)?;
            let leases: Vec<Lease> = before.iter().cloned().filter_map(&change).collect();
            if leases != before {
                store_leases(&dir, &leases)?;
            }
        }
        Ok(())
    }
}

/// The beginning of directories that are being made or removed: no name begins so.
const PARTIAL: &str = ".partial-";

/// Locks a network.
fn lock(dir: &NetworkDir, name: &str) -> Result<Lock, Error> {
    Lock::exclusive(dir.path()).map_err(|e| absent(name)(e.into()))
}

/// Returns a function that says of a missing file that there is no such network.
pub(crate) fn absent(name: &str) -> impl FnOnce(Error) -> Error {
    let name = name.to_owned();
    move |error| match error {
        Error::File(e) if e.kind() == ErrorKind::NotFound => Error::NotFound { name },
        other => other,
    }
}

/// A decided connection.
struct Decided {
    interface: Interface,
    lease: Lease,
}

/// Decides the addresses of a machine in a network. Pure.
fn decide(network: &Network, leases: &[Lease], request: &Request<'_>) -> Result<Decided, Error> {
    let subnet = network.gateway;
    let asked = request.interface;
    let name = || network.name.clone();
    let address = match asked.address {
        Some(address) if !subnet::is_host(subnet, address) || address == subnet.addr() => {
            let name = name();
            return Err(Error::Outside {
                address,
                name,
                subnet,
            });
        }
        Some(address) => match leases.iter().find(|lease| lease.address == address) {
            Some(lease) => {
                return Err(Error::AddressTaken {
                    address,
                    name: name(),
                    machine: lease.name.clone(),
                });
            }
            None => address,
        },
        None => {
            let taken: BTreeSet<Ipv4Addr> = leases.iter().map(|lease| lease.address).collect();
            subnet::free_address(subnet, &taken).ok_or_else(|| Error::Exhausted {
                name: name(),
                subnet,
            })?
        }
    };
    let mac = asked.mac.unwrap_or_else(|| card_of(address));
    if let Some(lease) = leases.iter().find(|lease| lease.mac == mac) {
        return Err(Error::MacTaken {
            mac,
            name: name(),
            machine: lease.name.clone(),
        });
    }
    let gateway = subnet.addr();
    let interface = Interface {
        network: name(),
        address: Some(address),
        prefix: Some(asked.prefix.unwrap_or_else(|| subnet.prefix_len())),
        // An internal network leads nowhere: another one of the machine may.
        gateway: asked.gateway.or((!network.internal).then_some(gateway)),
        dns: if asked.dns.is_empty() {
            vec![gateway]
        } else {
            asked.dns.clone()
        },
        hostname: Some(
            asked
                .hostname
                .clone()
                .unwrap_or_else(|| request.name.to_owned()),
        ),
        domain: Some(asked.domain.clone().unwrap_or_else(name)),
        mac: Some(mac),
        aliases: asked.aliases.clone(),
    };
    let lease = Lease {
        machine: request.machine.to_owned(),
        name: request.name.to_owned(),
        address,
        mac,
    };
    Ok(Decided { interface, lease })
}

/// Returns the hardware address of the card with an address: KraftKit's prefix and the bytes that
/// differ within any network.
fn card_of(address: Ipv4Addr) -> Mac {
    let [_, b, c, d] = address.octets();
    Mac([0x02, 0xb0, 0xb0, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> (tempfile::TempDir, Networks) {
        let dir = tempfile::tempdir().unwrap();
        let networks = Networks::new(dir.path());
        (dir, networks)
    }

    fn small<'a>(name: &'a str, gateway: &str) -> NewNetwork<'a> {
        NewNetwork {
            gateway: Some(gateway.parse().unwrap()),
            ..NewNetwork::named(name)
        }
    }

    fn reserve(networks: &Networks, machine: &str, text: &str) -> Result<Interface, Error> {
        let interface = Interface::parse(text).unwrap();
        let request = Request {
            machine,
            name: machine,
            interface: &interface,
        };
        networks.reserve(&request, &|_| true)
    }

    #[test]
    fn a_machine_with_another_name_keeps_its_address() {
        let (_dir, networks) = networks();
        networks.create(&small("a", "10.1.0.1/24")).unwrap();
        let [one, two] = ["one", "two"].map(|it| reserve(&networks, it, "a").unwrap());
        networks.rename("one", "other").unwrap();
        let leases = networks.leases("a").unwrap();
        let found: Vec<_> = leases
            .iter()
            .map(|it| (it.machine.as_str(), it.name.as_str(), Some(it.address)))
            .collect();
        assert_eq!(
            found,
            [("one", "other", one.address), ("two", "two", two.address)]
        );
    }

    #[test]
    fn a_name_and_a_subnet_are_given_once() {
        let (_dir, networks) = networks();
        networks.create(&small("a", "10.1.0.1/24")).unwrap();
        for (new, why) in [
            (small("a", "10.2.0.1/24"), "network already exists: a"),
            (
                small("b", "10.1.0.129/25"),
                "the network 10.1.0.128/25 overlaps with that of `a`, 10.1.0.0/24",
            ),
            (small("b", "10.2.0.1/31"), "from /8 to /30"),
            (small("../b", "10.2.0.1/24"), "begins with a letter"),
        ] {
            let error = networks.create(&new).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let first = networks.create(&NewNetwork::named("b")).unwrap();
        let second = networks.create(&NewNetwork::named("c")).unwrap();
        assert!(!subnet::overlap(first.gateway, second.gateway));
        let names: Vec<String> = networks
            .list()
            .unwrap()
            .into_iter()
            .map(|n| n.name)
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn what_a_connection_leaves_open_is_decided_and_the_rest_kept() {
        let (_dir, networks) = networks();
        networks.create(&small("n", "10.1.0.1/24")).unwrap();
        let open = reserve(&networks, "m1", "n").unwrap();
        assert_eq!(
            open.parameter().unwrap(),
            "10.1.0.2/24:10.1.0.1:10.1.0.1::m1:n"
        );
        assert_eq!(open.mac.unwrap().to_string(), "02:b0:b0:01:00:02");
        let whole = "n:10.1.0.9/25:10.1.0.4:1.1.1.1:2.2.2.2:web:example";
        let asked = reserve(&networks, "m2", whole).unwrap();
        assert_eq!(
            asked.parameter().unwrap(),
            whole.strip_prefix("n:").unwrap()
        );
        for (text, why) in [
            ("n:10.1.0.9", "is that of machine `m2`"),
            ("n:10.1.0.1", "is not one for a machine in network `n`"),
            ("n:10.1.0.0", "10.1.0.0/24"),
            ("n:10.1.1.1", "10.1.0.0/24"),
            ("nothing", "no such network: nothing"),
        ] {
            let error = reserve(&networks, "m3", text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        // A second start of the same machine is no second machine.
        assert_eq!(reserve(&networks, "m2", whole).unwrap(), asked);
        networks.release("m2").unwrap();
        reserve(&networks, "m3", "n:10.1.0.9").unwrap();
    }

    #[test]
    fn an_internal_network_is_no_way_to_others() {
        let (_dir, networks) = networks();
        let new = NewNetwork {
            internal: true,
            ..small("n", "10.1.0.1/24")
        };
        networks.create(&new).unwrap();
        let open = reserve(&networks, "m1", "n").unwrap();
        assert_eq!(open.parameter().unwrap(), "10.1.0.2/24::10.1.0.1::m1:n");
        let asked = reserve(&networks, "m2", "n::10.1.0.9").unwrap();
        assert_eq!(asked.gateway, Some(Ipv4Addr::new(10, 1, 0, 9)));
    }

    #[test]
    fn addresses_run_out_and_those_of_machines_that_never_were_are_free() {
        let (_dir, networks) = networks();
        networks.create(&small("n", "10.1.0.1/29")).unwrap();
        for machine in ["a", "b", "c", "d", "e"] {
            reserve(&networks, machine, "n").unwrap();
        }
        let error = reserve(&networks, "f", "n").unwrap_err();
        assert!(matches!(error, Error::Exhausted { .. }), "{error}");
        let interface = Interface::parse("n").unwrap();
        let request = Request {
            machine: "f",
            name: "f",
            interface: &interface,
        };
        let preview = networks.preview(&request).unwrap_err();
        assert!(matches!(preview, Error::Exhausted { .. }), "{preview}");
        let given = networks.reserve(&request, &|id| id != "b").unwrap();
        assert_eq!(given.address, Some(Ipv4Addr::new(10, 1, 0, 3)));
    }

    #[test]
    fn a_network_with_machines_is_removed_by_force_only() {
        let (_dir, networks) = networks();
        networks.create(&small("n", "10.1.0.1/24")).unwrap();
        reserve(&networks, "m", "n").unwrap();
        let error = networks.remove("n", false, &|_| true).unwrap_err();
        assert_eq!(error.to_string(), "network n is in use by machine m");
        networks.remove("n", true, &|_| true).unwrap();
        assert!(networks.list().unwrap().is_empty());
        let error = networks.remove("n", true, &|_| true).unwrap_err();
        assert_eq!(error.to_string(), "no such network: n");
        // Without the machine it is not in use.
        networks.create(&small("n", "10.1.0.1/24")).unwrap();
        reserve(&networks, "m", "n").unwrap();
        networks.remove("n", false, &|_| false).unwrap();
    }

    #[test]
    fn a_network_that_is_down_comes_up_again() {
        let (_dir, networks) = networks();
        networks.create(&small("n", "10.1.0.1/24")).unwrap();
        for up in [false, false, true] {
            networks.set_up("n", up).unwrap();
            assert_eq!(networks.get("n").unwrap().up, up);
        }
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        let (_dir, networks) = networks();
        networks.create(&small("n", "10.1.0.1/24")).unwrap();
        let dir = networks.dir("n").unwrap();
        fs::replace_file(&dir.record(), b"{").unwrap();
        let error = networks.list().unwrap_err().to_string();
        assert!(error.contains("network.json` is damaged"), "{error}");
    }

    #[test]
    fn threads_at_once_get_addresses_that_differ() {
        let (_dir, networks) = networks();
        networks.create(&small("n", "10.1.0.1/24")).unwrap();
        let addresses: BTreeSet<Ipv4Addr> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..20)
                .map(|number| {
                    let networks = &networks;
                    scope.spawn(move || reserve(networks, &number.to_string(), "n").unwrap())
                })
                .collect();
            let given = threads.into_iter().map(|it| it.join().unwrap());
            given.filter_map(|it| it.address).collect()
        });
        assert_eq!(addresses.len(), 20);
        assert_eq!(networks.leases("n").unwrap().len(), 20);
    }
}
