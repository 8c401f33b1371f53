//! What a holder does: connects machines, publishes their ports and knows their names.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use kraft_core::port::PortMapping;
use kraft_sys::fs;
use kraft_sys::lock::Lock;
use kraft_sys::process::{Identity, Process};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::dns::{Dns, Local};
use super::names::Names;
use super::namespace::Namespaces;
use super::netlink::Netlink;
use super::outside::Outside;
use super::proxy::{self, Task};
use super::way_out::WayOut;
use super::{BRIDGE, Refused, cannot, tap};
use crate::layout::{NetworkDir, SOCKET};
use crate::protocol::{Answer, Ask, MAX_LINE, line};
use crate::record::{Active, HolderRecord, Network};

/// How long a holder waits between attempts to end, or to start its way out again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long it waits before it starts a way out again that ended.
const REPAIR: Duration = Duration::from_secs(2);

/// How often, and how long apart, a port is tried that an earlier run may still have.
const ATTEMPTS: usize = 10;
const REBIND: Duration = Duration::from_millis(20);

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

/// What is kept for a machine that is about to run.
struct Prepared {
    machine: String,
    name: String,
    aliases: Vec<String>,
    address: Ipv4Addr,
    ports: Vec<PortMapping>,
    published: Vec<Task>,
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
            let why = "the network is internal".to_owned();
            *self.way_out.borrow_mut() = Err(why);
        } else {
            let started = WayOut::start(self.network.gateway, &self.outside);
            *self.way_out.borrow_mut() = match &started {
                Ok(way) => Ok(way.host),
                Err(why) => Err(why.clone()),
            };
            if let Ok(way) = started {
                let server = self.clone();
                tokio::task::spawn_local(async move { server.keep(way).await });
            }
        }
        self.rename();
        let server = self.clone();
        let local: Local = Rc::new(move |packet| {
            let turn = server.turn.get();
            server.turn.set(turn.wrapping_add(1));
            server.names.borrow().reply(packet, turn)
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

    /// Starts the way out again when it ends.
    async fn keep(self: Rc<Self>, mut way: WayOut) {
        loop {
            if let Some(process) = Identity::of(way.child.id()).as_ref().and_then(end_of) {
                let _ = process.readable().await;
            }
            drop(way);
            way = loop {
                sleep(REPAIR).await;
                match WayOut::start(self.network.gateway, &self.outside) {
                    Ok(way) => break way,
                    Err(why) => {
                        *self.way_out.borrow_mut() = Err(why);
                        let _ = self.record();
                    }
                }
            };
            *self.way_out.borrow_mut() = Ok(way.host);
            self.rename();
            let _ = self.record();
        }
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

    /// Serves one connection.
    fn greet(self: &Rc<Self>, stream: UnixStream) {
        self.sessions.set(self.sessions.get() + 1);
        let server = self.clone();
        tokio::task::spawn_local(async move {
            // A broken connection is that of a process that was killed.
            let _ = server.session(stream).await;
            server.sessions.set(server.sessions.get().saturating_sub(1));
            server.changed.notify_one();
        });
    }

    async fn session(self: &Rc<Self>, mut stream: UnixStream) -> io::Result<()> {
        let mut prepared = None;
        while let Some(ask) = read(&mut stream).await? {
            match ask {
                Ask::Attach {
                    machine,
                    name,
                    aliases,
                    address,
                    ports,
                } => {
                    let asked = Prepared {
                        machine,
                        name,
                        aliases,
                        address,
                        ports,
                        published: Vec::new(),
                    };
                    match self.attach(asked).await {
                        Ok((card, ready)) => {
                            let user = self.namespaces.user.iter().map(AsFd::as_fd);
                            let mut files = vec![card.as_fd(), self.namespaces.network.as_fd()];
                            files.extend(user);
                            answer(&stream, &Answer::Attached, &files).await?;
                            prepared = Some(ready);
                        }
                        Err(failed) => answer(&stream, &failed, &[]).await?,
                    }
                }
                Ask::Running { vmm } => {
                    if let Some(ready) = prepared.take() {
                        let active = Active {
                            machine: ready.machine,
                            name: ready.name,
                            aliases: ready.aliases,
                            address: ready.address,
                            ports: ready.ports,
                            vmm,
                        };
                        self.serve_machine(active, ready.published);
                    }
                    let recorded = match self.record() {
                        Ok(()) => Answer::Done,
                        Err(error) => failed(&error),
                    };
                    answer(&stream, &recorded, &[]).await?;
                }
                Ask::End => {
                    self.machines.borrow_mut().clear();
                    let removed = self.netlink.borrow_mut().remove(self.bridge);
                    self.removed.set(true);
                    let done = removed.map_or_else(|error| failed(&error), |()| Answer::Done);
                    answer(&stream, &done, &[]).await?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Connects a machine: publishes its ports and makes its card.
    async fn attach(&self, mut asked: Prepared) -> Result<(File, Prepared), Answer> {
        // An earlier run of the same machine, whose end was not noticed yet.
        let ended = |it: &Running| !it.active.vmm.is_alive();
        self.machines.borrow_mut().retain(|_, it| !ended(it));
        for port in &asked.ports {
            let mut published = proxy::publish(&self.outside, port, asked.address);
            // That of the earlier run closes when its task is next looked at.
            for _ in 0..ATTEMPTS {
                match &published {
                    Err(error) if error.kind() == ErrorKind::AddrInUse => sleep(REBIND).await,
                    _ => break,
                }
                published = proxy::publish(&self.outside, port, asked.address);
            }
            asked
                .published
                .push(published.map_err(|error| Answer::Port {
                    port: port.clone(),
                    why: why_closed(&error),
                })?);
        }
        let card = || -> io::Result<File> {
            let (card, name) = tap::make()?;
            let mut netlink = self.netlink.borrow_mut();
            let index = netlink.index(&name)?.ok_or(ErrorKind::NotFound)?;
            netlink.start(index, Some(self.bridge))?;
            Ok(card)
        };
        let card = card().map_err(|error| failed(&error))?;
        Ok((card, asked))
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
                ended.then(|| machines.remove(&machine))
            };
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

fn failed(error: &io::Error) -> Answer {
    Answer::Failed {
        why: error.to_string(),
        cure: None,
    }
}

/// Says why a port could not be opened.
fn why_closed(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "only root may listen below port 1024".to_owned(),
        ErrorKind::AddrInUse => "it is in use".to_owned(),
        ErrorKind::AddrNotAvailable => "this host does not have that address".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads a request; `None` at the end of the connection.
async fn read(stream: &mut UnixStream) -> io::Result<Option<Ask>> {
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    // One request is answered before the next is sent: nothing is lost in the buffer.
    let mut reader = BufReader::new(stream.take(limit));
    reader.read_until(b'\n', &mut text).await?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Sends an answer with open files.
async fn answer(stream: &UnixStream, answer: &Answer, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = line(answer);
    let mut sent = 0;
    while let Some(rest) = text.get(sent..).filter(|rest| !rest.is_empty()) {
        stream.writable().await?;
        let once = stream.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if sent == 0 && !files.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(files));
            }
            let parts = [IoSlice::new(rest)];
            Ok(sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL)?)
        });
        match once {
            Ok(length) => sent += length,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
