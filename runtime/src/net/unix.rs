//! Unix sockets: between programs of this machine, by paths, by names, or in pairs.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::address::{Address, Family};
use super::channel::{CAPACITY, Channel, End};
use super::socket::{
    Base, Control, Kind, Message, PASS_CREDENTIALS, Received, Socket, broken_pipe, own_credentials,
};
use crate::abi::errno::{Errno, Result};
use crate::file::io::{Input, Output};
use crate::file::{Events, File};
use crate::fs::{self, Metadata, Place};
use crate::mm::user;
use crate::sync::Global;
use crate::syscall::paths;
use crate::task::{self, WaitQueue};

/// `FIONREAD` and `SIOCOUTQ`
const BYTES_TO_READ: usize = 0x541b;
const BYTES_TO_SEND: usize = 0x5411;
/// The most connections that wait for `accept`.
const MOST_BACKLOG: usize = 4096;

/// What names a socket: a node of a file system, or a name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Node(u64, u64),
    Abstract(Vec<u8>),
}

/// A socket that has a name.
struct Bound {
    key: Key,
    address: Address,
    kind: Kind,
    listener: RefCell<Option<Rc<Listener>>>,
    /// What a datagram socket receives.
    inbox: Rc<Channel>,
    /// The node is there as long as the socket, so that its number names nothing else.
    _place: Option<Rc<Place>>,
}

struct Listener {
    backlog: Cell<usize>,
    ready: RefCell<VecDeque<Connection>>,
    queue: Rc<WaitQueue>,
    waiting: RefCell<Vec<Rc<WaitQueue>>>,
    credentials: [u32; 3],
}

/// One end of a connection that no one has accepted yet.
struct Connection {
    end: Rc<End>,
    queue: Rc<WaitQueue>,
    peer: Address,
    credentials: [u32; 3],
}

static BOUND: Global<RefCell<BTreeMap<Key, Weak<Bound>>>> =
    Global::new(RefCell::new(BTreeMap::new()));

impl Drop for Bound {
    fn drop(&mut self) {
        BOUND.borrow_mut().remove(&self.key);
    }
}

fn key_of(place: &Place) -> Key {
    let metadata = place.node.metadata();
    Key::Node(metadata.device, metadata.number)
}

/// The socket with an address.
fn find(address: &Address) -> Result<Rc<Bound>> {
    let key = match address {
        Address::Path(path) => {
            let place = paths::find(path)?;
            let metadata = place.node.metadata();
            if metadata.kind != fs::Kind::Socket {
                return Err(Errno::CONNREFUSED);
            }
            let process = task::current_process();
            if !fs::is_permitted(&metadata, &process.credentials.borrow(), 2) {
                return Err(Errno::ACCES);
            }
            key_of(&place)
        }
        Address::Abstract(name) => Key::Abstract(name.clone()),
        _ => return Err(Errno::INVAL),
    };
    let bound = BOUND.borrow().get(&key).and_then(Weak::upgrade);
    bound.ok_or(Errno::CONNREFUSED)
}

enum Stage {
    Fresh,
    Listening(Rc<Listener>),
    Connected(Rc<End>),
}

/// A Unix socket.
pub struct UnixSocket {
    base: Base,
    queue: Rc<WaitQueue>,
    stage: RefCell<Stage>,
    bound: RefCell<Option<Rc<Bound>>>,
    /// The own address where it came with the connection.
    address: RefCell<Address>,
    peer: RefCell<Address>,
    peer_credentials: Cell<Option<[u32; 3]>>,
    /// What a datagram socket receives.
    inbox: Rc<Channel>,
    /// Where a connected datagram socket sends.
    target: RefCell<Option<Weak<Channel>>>,
    shut: Cell<(bool, bool)>,
}

impl UnixSocket {
    fn new(base: Base, queue: Rc<WaitQueue>) -> UnixSocket {
        UnixSocket {
            base,
            inbox: Channel::new(queue.clone(), None),
            queue,
            stage: RefCell::new(Stage::Fresh),
            bound: RefCell::default(),
            address: RefCell::new(Address::Unnamed),
            peer: RefCell::new(Address::Unnamed),
            peer_credentials: Cell::new(None),
            target: RefCell::default(),
            shut: Cell::new((false, false)),
        }
    }

    fn fresh(kind: Kind) -> UnixSocket {
        UnixSocket::new(Base::new(Family::Unix, kind, 0), Rc::new(WaitQueue::new()))
    }

    fn end(&self) -> Option<Rc<End>> {
        match &*self.stage.borrow() {
            Stage::Connected(end) => Some(end.clone()),
            _ => None,
        }
    }

    fn listener(&self) -> Option<Rc<Listener>> {
        match &*self.stage.borrow() {
            Stage::Listening(listener) => Some(listener.clone()),
            _ => None,
        }
    }

    fn connect_datagrams(&self, address: &Address) -> Result<()> {
        let bound = find(address)?;
        if bound.kind != Kind::Datagram {
            return Err(Errno::PROTOTYPE);
        }
        *self.target.borrow_mut() = Some(Rc::downgrade(&bound.inbox));
        *self.peer.borrow_mut() = bound.address.clone();
        Ok(())
    }

    fn connect_stream(&self, address: &Address) -> Result<()> {
        match &*self.stage.borrow() {
            Stage::Fresh => {}
            Stage::Listening(_) => return Err(Errno::INVAL),
            Stage::Connected(_) => return Err(Errno::ISCONN),
        }
        let bound = find(address)?;
        if bound.kind != self.base.kind {
            return Err(Errno::PROTOTYPE);
        }
        let listener = bound.listener.borrow().clone().ok_or(Errno::CONNREFUSED)?;
        if listener.ready.borrow().len() > listener.backlog.get() {
            let mut waiting = listener.waiting.borrow_mut();
            if !waiting.iter().any(|queue| Rc::ptr_eq(queue, &self.queue)) {
                waiting.push(self.queue.clone());
            }
            return Err(Errno::AGAIN);
        }
        super::check_memory()?;
        let theirs = Rc::new(WaitQueue::new());
        let (end, other) = End::pair(&self.queue, &theirs);
        *self.stage.borrow_mut() = Stage::Connected(Rc::new(end));
        *self.peer.borrow_mut() = bound.address.clone();
        self.peer_credentials.set(Some(listener.credentials));
        self.options_changed();
        listener.ready.borrow_mut().push_back(Connection {
            end: Rc::new(other),
            queue: theirs,
            peer: self.local(),
            credentials: own_credentials(),
        });
        listener.queue.wake();
        self.queue.wake();
        Ok(())
    }

    fn send_datagram(
        &self,
        input: &mut Input<'_>,
        address: Option<&Address>,
        control: &mut Control,
    ) -> Result {
        let target = match address {
            Some(address) if *address != Address::Unspecified => {
                let bound = find(address)?;
                if bound.kind != Kind::Datagram {
                    return Err(Errno::PROTOTYPE);
                }
                bound.inbox.clone()
            }
            _ => {
                let target = self.target.borrow();
                let target = target.as_ref().ok_or(Errno::NOTCONN)?;
                target.upgrade().ok_or(Errno::CONNREFUSED)?
            }
        };
        self.note_sender(&target, control);
        match target.send(input, Some(self.local()), control) {
            Err(Errno::AGAIN) => {
                target.notify(&self.queue);
                Err(Errno::AGAIN)
            }
            Err(Errno::PIPE) => Err(Errno::CONNREFUSED),
            other => other,
        }
    }

    /// Says who sends, if the other side wants to know.
    fn note_sender(&self, target: &Channel, control: &mut Control) {
        let wanted = target.wants_credentials.get() || self.base.is_on(PASS_CREDENTIALS);
        if wanted && control.credentials.is_none() {
            control.credentials = Some(own_credentials());
        }
    }
}

/// Makes a Unix socket.
///
/// # Errors
/// `ESOCKTNOSUPPORT`
pub fn new_socket(kind: Kind) -> Result<Rc<dyn File>> {
    match kind {
        // As on Linux.
        Kind::Raw => Ok(Rc::new(UnixSocket::fresh(Kind::Datagram))),
        kind => Ok(Rc::new(UnixSocket::fresh(kind))),
    }
}

/// Makes two sockets that are connected with each other.
///
/// # Errors
/// `EOPNOTSUPP` for other families, `ESOCKTNOSUPPORT` for other kinds.
pub fn pair(family: usize, kind: usize, protocol: usize) -> Result<[Rc<dyn File>; 2]> {
    if family != Family::Unix as usize {
        // What cannot be a socket is refused for that first.
        super::new_socket(family, kind, protocol)?;
        return Err(Errno::OPNOTSUPP);
    }
    super::check_memory()?;
    if !matches!(protocol, 0 | 1) {
        return Err(Errno::PROTONOSUPPORT);
    }
    let kind = match kind {
        1 => Kind::Stream,
        2 | 3 => Kind::Datagram,
        5 => Kind::Sequence,
        _ => return Err(Errno::SOCKTNOSUPPORT),
    };
    let sockets = [UnixSocket::fresh(kind), UnixSocket::fresh(kind)];
    for socket in &sockets {
        socket.peer_credentials.set(Some(own_credentials()));
    }
    let [first, second] = &sockets;
    if kind == Kind::Datagram {
        *first.target.borrow_mut() = Some(Rc::downgrade(&second.inbox));
        *second.target.borrow_mut() = Some(Rc::downgrade(&first.inbox));
    } else {
        let (end, other) = End::pair(&first.queue, &second.queue);
        *first.stage.borrow_mut() = Stage::Connected(Rc::new(end));
        *second.stage.borrow_mut() = Stage::Connected(Rc::new(other));
    }
    Ok(sockets.map(|socket| Rc::new(socket) as Rc<dyn File>))
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.inbox.refuse();
        if let Some(bound) = self.bound.take() {
            bound.listener.take();
        }
        if let Stage::Listening(listener) = self.stage.replace(Stage::Fresh) {
            let waiting = core::mem::take(&mut *listener.waiting.borrow_mut());
            for queue in waiting {
                queue.wake();
            }
            let ready = core::mem::take(&mut *listener.ready.borrow_mut());
            for connection in ready {
                connection.end.outgoing.end(true);
            }
        }
    }
}

impl File for UnixSocket {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        self.receive(out, Message::empty())
            .map(|received| received.length)
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        self.send(input, None, &mut Control::default(), Message::empty())
    }

    fn ready(&self) -> Events {
        if let Some(end) = self.end() {
            return end.ready();
        }
        if let Some(listener) = self.listener() {
            return if listener.ready.borrow().is_empty() {
                Events::empty()
            } else {
                Events::IN
            };
        }
        if self.base.kind != Kind::Datagram {
            return Events::OUT | Events::HANG_UP;
        }
        let mut events = Events::empty();
        if !self.inbox.is_empty() || self.shut.get().0 {
            events |= Events::IN;
        }
        let target = self.target.borrow().as_ref().and_then(Weak::upgrade);
        match target {
            Some(target) if !target.is_refused() && target.room() < CAPACITY / 4 => {
                target.notify(&self.queue);
            }
            _ => events |= Events::OUT,
        }
        events
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(fs::Kind::Socket, self.base.number)
    }

    fn control(&self, request: usize, argument: usize) -> Result {
        let stream = self.base.kind == Kind::Stream;
        let end = self.end();
        let bytes = match request {
            BYTES_TO_READ => match end {
                Some(end) => end.incoming.unread(stream),
                None => self.inbox.unread(false),
            },
            BYTES_TO_SEND => end.map_or(0, |end| end.outgoing.unread(true)),
            _ => return Err(Errno::NOTTY),
        };
        user::write(argument, &(bytes as u32))?;
        Ok(0)
    }

    fn socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for UnixSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, address: Address) -> Result<()> {
        if self.bound.borrow().is_some() {
            return Err(Errno::INVAL);
        }
        let (key, address, place) = match address {
            Address::Path(path) if path.is_empty() => return Err(Errno::INVAL),
            Address::Path(path) => {
                let place = paths::make_socket(&path)?;
                (key_of(&place), Address::Path(path), Some(place))
            }
            Address::Abstract(name) => (Key::Abstract(name.clone()), Address::Abstract(name), None),
            // Any name that is free.
            Address::Unnamed => {
                let name = alloc::format!("{:05x}", self.base.number & 0xf_ffff).into_bytes();
                (Key::Abstract(name.clone()), Address::Abstract(name), None)
            }
            _ => return Err(Errno::INVAL),
        };
        let taken = BOUND.borrow().contains_key(&key);
        if taken {
            return Err(Errno::ADDRINUSE);
        }
        let bound = Rc::new(Bound {
            key: key.clone(),
            address,
            kind: self.base.kind,
            listener: RefCell::default(),
            inbox: self.inbox.clone(),
            _place: place,
        });
        BOUND.borrow_mut().insert(key, Rc::downgrade(&bound));
        *self.bound.borrow_mut() = Some(bound);
        Ok(())
    }

    fn listen(&self, backlog: usize) -> Result<()> {
        if self.base.kind == Kind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let bound = self.bound.borrow().clone().ok_or(Errno::INVAL)?;
        let backlog = backlog.min(MOST_BACKLOG);
        if let Some(listener) = self.listener() {
            listener.backlog.set(backlog);
            return Ok(());
        }
        if self.end().is_some() {
            return Err(Errno::INVAL);
        }
        let listener = Rc::new(Listener {
            backlog: Cell::new(backlog),
            ready: RefCell::default(),
            queue: self.queue.clone(),
            waiting: RefCell::default(),
            credentials: own_credentials(),
        });
        *bound.listener.borrow_mut() = Some(listener.clone());
        *self.stage.borrow_mut() = Stage::Listening(listener);
        Ok(())
    }

    fn accept(&self) -> Result<(Rc<dyn File>, Address)> {
        if self.base.kind == Kind::Datagram {
            return Err(Errno::OPNOTSUPP);
        }
        let listener = self.listener().ok_or(Errno::INVAL)?;
        if self.shut.get().0 {
            return Err(Errno::INVAL);
        }
        super::check_memory()?;
        let connection = listener.ready.borrow_mut().pop_front();
        let connection = connection.ok_or(Errno::AGAIN)?;
        let waiting = core::mem::take(&mut *listener.waiting.borrow_mut());
        for queue in waiting {
            queue.wake();
        }
        let socket = UnixSocket::new(self.base.child(), connection.queue);
        *socket.stage.borrow_mut() = Stage::Connected(connection.end);
        *socket.address.borrow_mut() = self.local();
        *socket.peer.borrow_mut() = connection.peer.clone();
        socket.peer_credentials.set(Some(connection.credentials));
        socket.options_changed();
        Ok((Rc::new(socket), connection.peer))
    }

    fn connect(&self, address: Address) -> Result<()> {
        if self.base.kind != Kind::Datagram {
            return self.connect_stream(&address);
        }
        if address == Address::Unspecified {
            *self.target.borrow_mut() = None;
            *self.peer.borrow_mut() = Address::Unnamed;
            return Ok(());
        }
        self.connect_datagrams(&address)
    }

    fn local(&self) -> Address {
        match &*self.bound.borrow() {
            Some(bound) => bound.address.clone(),
            None => self.address.borrow().clone(),
        }
    }

    fn peer(&self) -> Result<Address> {
        if self.end().is_some() || self.target.borrow().is_some() {
            Ok(self.peer.borrow().clone())
        } else {
            Err(Errno::NOTCONN)
        }
    }

    fn send(
        &self,
        input: &mut Input<'_>,
        address: Option<&Address>,
        control: &mut Control,
        flags: Message,
    ) -> Result {
        if self.base.kind == Kind::Datagram {
            if self.shut.get().1 {
                return Err(broken_pipe(flags));
            }
            return self.send_datagram(input, address, control);
        }
        if address.is_some() && self.base.kind == Kind::Stream {
            return Err(if self.end().is_some() {
                Errno::ISCONN
            } else {
                Errno::OPNOTSUPP
            });
        }
        let end = self.end().ok_or(Errno::NOTCONN)?;
        self.note_sender(&end.outgoing, control);
        if self.base.kind == Kind::Stream {
            return end.outgoing.write(input, control, flags);
        }
        match end.outgoing.send(input, None, control) {
            Err(Errno::PIPE) => Err(broken_pipe(flags)),
            other => other,
        }
    }

    fn receive(&self, out: &mut Output<'_>, flags: Message) -> Result<Received> {
        if flags.contains(Message::URGENT) {
            return Err(Errno::OPNOTSUPP);
        }
        let mut received = match (self.base.kind, self.end()) {
            (Kind::Datagram, _) => match self.inbox.receive(out, flags) {
                Err(Errno::AGAIN) if self.shut.get().0 => Ok(Received::default()),
                other => other,
            },
            (Kind::Stream, Some(end)) => end.incoming.read(out, flags),
            (_, Some(end)) => end.incoming.receive(out, flags),
            (Kind::Stream, None) => Err(Errno::INVAL),
            _ => Err(Errno::NOTCONN),
        }?;
        if !self.base.is_on(PASS_CREDENTIALS) {
            received.control.credentials = None;
        }
        Ok(received)
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<()> {
        let shut = self.shut.get();
        if let Some(end) = self.end() {
            end.shutdown(receiving, sending);
        } else if self.listener().is_none() && self.target.borrow().is_none() {
            return Err(Errno::NOTCONN);
        }
        self.shut.set((shut.0 || receiving, shut.1 || sending));
        self.queue.wake();
        Ok(())
    }

    fn listens(&self) -> bool {
        self.listener().is_some()
    }

    fn options_changed(&self) {
        let wants = self.base.is_on(PASS_CREDENTIALS);
        self.inbox.wants_credentials.set(wants);
        if let Some(end) = self.end() {
            end.incoming.wants_credentials.set(wants);
        }
    }

    fn peer_credentials(&self) -> Option<[u32; 3]> {
        self.peer_credentials.get()
    }
}
