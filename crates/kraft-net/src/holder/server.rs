//! What a holder does: connects machines, publishes their ports and knows their names.

mod session;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::{Identity, Process};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::dns::{Dns, Local};
use super::names::Names;
use super::namespace::Namespaces;
use super::netlink::Netlink;
use super::outside::Outside;
use super::proxy::{self, Task};
use super::way_out::WayOut;
use super::{BRIDGE, Refused, cannot};
use crate::layout::{NetworkDir, SOCKET};
use crate::record::{Active, HolderRecord, Network};

/// How long a holder waits between attempts to end.
const AGAIN: Duration = Duration::from_millis(100);
/// How long it waits before it starts a way out again that ended; twice as long after each failure,
/// up to the second.
const REPAIR: Duration = Duration::from_secs(2);
const SLOWEST_REPAIR: Duration = Duration::from_mins(1);

/// The holder of a network.
pub(super) struct Server {
    dir: NetworkDir,
    network: Network,
    me: Identity,
    namespaces: Namespaces,
    outside: Outside,
    netlink: RefCell<Netlink>,
    bridge: u32,
    way_out: RefCell<Result<Ipv4Addr, String>>,
    /// Whether it is known if there is a way out: no machine starts before.
    settled: watch::Sender<bool>,
    machines: RefCell<BTreeMap<String, Running>>,
    names: RefCell<Names>,
    turn: Cell<usize>,
    /// The connections that are open.
    sessions: Cell<usize>,
    /// Notified when a connection or a machine ends.
    changed: Notify,
    /// Whether the network is being removed.
    removed: Cell<bool>,
}

/// A machine that runs, with what is there for it.
struct Running {
    active: Active,
    _ports: Vec<Task>,
    _watch: Task,
}

impl Server {
    /// Makes the bridge, unless it is there from an earlier holder. This thread must be in the
    /// network's namespace.
    pub(super) fn new(
        dir: NetworkDir,
        network: Network,
        me: Identity,
        namespaces: Namespaces,
        outside: Outside,
    ) -> Result<Rc<Self>, Refused> {
        let mut netlink = Netlink::open().map_err(cannot("reach the kernel"))?;
        let failed = |error: io::Error| Refused::new(format!("cannot make a bridge: {error}"));
        let gateway = (network.gateway.addr(), network.gateway.prefix_len());
        let bridge = if let Some(bridge) = netlink.index(BRIDGE).map_err(failed)? {
            bridge
        } else {
            // Only IPv4 is given out; without this the bridge would send IPv6 packets to itself.
            let quiet = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
            if let Ok(mut file) = File::options().write(true).open(quiet) {
                let _ = io::Write::write_all(&mut file, b"1");
            }
            let alias = network.id.to_string();
            let made = netlink.make_bridge(BRIDGE, &alias, gateway);
            made.map_err(failed)?
        };
        if let Some(loopback) = netlink.index("lo").map_err(failed)? {
            netlink.start(loopback, None).map_err(failed)?;
        }
        let names = RefCell::new(Names::new(&network.name, None, network.internal));
        Ok(Rc::new(Self {
            dir,
            network,
            me,
            namespaces,
            outside,
            netlink: RefCell::new(netlink),
            bridge,
            way_out: RefCell::new(Err("it is not there yet".to_owned())),
            settled: watch::Sender::new(false),
            machines: RefCell::default(),
            names,
            turn: Cell::new(0),
            sessions: Cell::new(0),
            changed: Notify::new(),
            removed: Cell::new(false),
        }))
    }

    /// Starts the way out, the name server and the socket.
    pub(super) async fn open(self: &Rc<Self>) -> Result<UnixListener, Refused> {
        if self.network.internal {
            *self.way_out.borrow_mut() = Err("the network is internal".to_owned());
            self.settled.send_replace(true);
        } else {
            tokio::task::spawn_local(self.clone().keep_way_out());
        }
        self.rename();
        let server = self.clone();
        let local: Local = Rc::new(move |packet, from| {
            let turn = server.turn.get();
            server.turn.set(turn.wrapping_add(1));
            match server.names_of_others(from) {
                Some(names) => names.reply(packet, turn),
                None => server.names.borrow().reply(packet, turn),
            }
        });
        let address = self.network.gateway.addr();
        let dns = Dns::start(address, local, self.outside.clone())
            .await
            .map_err(cannot("start the name server of the network"))?;
        // It serves as long as this process lives.
        std::mem::forget(dns);
        fs::remove_file(&self.dir.socket())
            .map_err(cannot("remove the socket of an earlier holder"))?;
        let listener = UnixListener::bind(SOCKET).map_err(cannot("open its socket"))?;
        self.record().map_err(cannot("record the holder"))?;
        Ok(listener)
    }

    /// Keeps a way out: starts it, and again when it ends. Machines are served meanwhile.
    async fn keep_way_out(self: Rc<Self>) {
        let mut pause = REPAIR;
        loop {
            match WayOut::start(self.network.gateway, &self.outside).await {
                Ok(way) => {
                    pause = REPAIR;
                    self.settle(Ok(way.host));
                    if let Some(process) = way.identity().as_ref().and_then(end_of) {
                        let _ = process.readable().await;
                    }
                    drop(way);
                }
                Err(why) => {
                    self.settle(Err(why));
                    pause = SLOWEST_REPAIR.min(pause * 2);
                }
            }
            sleep(pause).await;
        }
    }

    /// Notes whether there is a way out.
    fn settle(&self, way_out: Result<Ipv4Addr, String>) {
        let before = self.way_out.replace(way_out);
        if before != *self.way_out.borrow() {
            self.rename();
            let _ = self.record();
        }
        self.settled.send_replace(true);
    }

    /// Serves machines whose holder was killed. Ports that cannot be published any more stay closed.
    pub(super) fn take_over(self: &Rc<Self>, machines: Vec<Active>) {
        for active in machines {
            let publish = |port| proxy::publish(&self.outside, port, active.address).ok();
            let published = active.ports.iter().filter_map(publish).collect();
            self.serve_machine(active, published);
        }
        let _ = self.record();
    }

    /// Serves until no machine runs and no process asks for anything.
    pub(super) async fn serve(self: &Rc<Self>, listener: UnixListener) {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.greet(stream),
                    Err(_) => sleep(AGAIN).await,
                },
                () = self.changed.notified() => {}
                () = sleep(AGAIN), if self.is_idle() => {}
            }
            if self.removed.get() && self.sessions.get() == 0 {
                self.remove_files();
                return;
            }
            if self.is_idle() && self.leave(&listener) {
                return;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.sessions.get() == 0 && self.machines.borrow().is_empty()
    }

    /// Ends the service unless a process is about to ask for something; returns whether it did.
    fn leave(self: &Rc<Self>, listener: &UnixListener) -> bool {
        let Ok(Some(_lock)) = Lock::try_exclusive(&self.dir.start_lock()) else {
            // A process connects, or the network is removed.
            return !self.dir.path().is_dir();
        };
        let Ok(stream) = rustix::net::accept(listener.as_fd()) else {
            self.remove_files();
            return true;
        };
        let stream = std::os::unix::net::UnixStream::from(stream);
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream));
        if let Ok(stream) = stream {
            self.greet(stream);
        }
        false
    }

    fn remove_files(&self) {
        let _ = fs::remove_file(&self.dir.socket());
        let _ = fs::remove_file(&self.dir.holder());
    }

    /// Serves a machine until its VMM ends.
    fn serve_machine(self: &Rc<Self>, active: Active, published: Vec<Task>) {
        let Some(process) = end_of(&active.vmm) else {
            return;
        };
        let (server, machine, vmm) = (self.clone(), active.machine.clone(), active.vmm.clone());
        let watch = Task::spawn(async move {
            let _ = process.readable().await;
            let ended = |it: &Running| it.active.vmm == vmm;
            let gone = {
                let mut machines = server.machines.borrow_mut();
                let ended = machines.get(&machine).is_some_and(ended);
                ended.then(|| machines.remove(&machine)).flatten()
            };
            server.remove_card(gone.as_ref().and_then(|it| it.active.index));
            server.rename();
            let _ = server.record();
            server.changed.notify_one();
            // The last: this very task is in it.
            drop(gone);
        });
        let running = Running {
            active,
            _ports: published,
            _watch: watch,
        };
        let machine = running.active.machine.clone();
        self.machines.borrow_mut().insert(machine, running);
        self.rename();
    }

    /// Returns the names for a machine that is in other networks as well: also those of the machines
    /// there. `None` for any other machine.
    fn names_of_others(&self, from: IpAddr) -> Option<Names> {
        let machines = self.machines.borrow();
        let mut asking = machines.values().map(|it| &it.active);
        let asking = asking.find(|it| IpAddr::V4(it.address) == from && !it.others.is_empty())?;
        let mut names = self.names.borrow().clone();
        for network in &asking.others {
            let Some(dir) = self.dir.sibling(network) else {
                continue;
            };
            let living = HolderRecord::load(&dir).map(HolderRecord::living);
            names.add_domain(network);
            for active in living.into_iter().flatten() {
                for name in std::iter::once(&active.name).chain(&active.aliases) {
                    names.add_in(network, name, active.address);
                }
            }
        }
        Some(names)
    }

    /// Makes the names those of the machines that run.
    fn rename(&self) {
        let host = self.way_out.borrow().as_ref().ok().copied();
        let mut names = Names::new(&self.network.name, host, self.network.internal);
        for running in self.machines.borrow().values() {
            let active = &running.active;
            for name in std::iter::once(&active.name).chain(&active.aliases) {
                names.add(name, active.address);
            }
        }
        self.names.replace(names);
    }

    /// Writes what the next holder has to know.
    fn record(&self) -> Result<(), io::Error> {
        let (network, user) = self.namespaces.inodes()?;
        let machines = self.machines.borrow();
        let record = HolderRecord {
            process: self.me.clone(),
            network,
            user,
            way_out: self.way_out.borrow().clone(),
            active: machines.values().map(|it| it.active.clone()).collect(),
        };
        record.store(&self.dir).map_err(io::Error::other)
    }
}

/// Returns a file that becomes readable when a process ends; `None` if it has.
fn end_of(process: &Identity) -> Option<AsyncFd<OwnedFd>> {
    let process = Process::open(process).ok()??;
    let file = process.as_fd().try_clone_to_owned().ok()?;
    // SAFETY: the file is owned by the result alone, which ends its registration before it closes it.
    #[expect(
        unsafe_code,
        reason = "the trait of files does not promise that they stay the same"
    )]
    let watched = unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) };
    watched.ok()
}
