//! TCP sockets. Connections within the machine do without TCP: their ends are channels.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use smoltcp::socket::tcp::{CongestionControl, Socket as Tcp, SocketBuffer, State};
use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpEndpoint};

use super::address::{self, Address, Family};
use super::channel::End;
use super::ports::{self, Binding};
use super::socket::{
    Base, Control, KEEP_ALIVE, KEEP_IDLE, Kind, Message, NO_DELAY, Received, Socket, USER_TIMEOUT,
    broken_pipe,
};
use super::stack::{self, Core, Flow, Station};
use crate::abi::errno::{Errno, Result};
use crate::arch;
use crate::file::io::{Input, Output};
use crate::file::{Events, File};
use crate::fs::{self, Metadata};
use crate::mm::{frames, user};
use crate::task::WaitQueue;
use crate::time::SECOND;

/// The least and the most bytes of a buffer of a connection. A connection takes a certain part
/// of the memory that is free, so that some get large buffers and many still find memory.
const BUFFERS: core::ops::RangeInclusive<usize> = 4 << 10..=64 << 10;
const PART: usize = 1024;
/// The part of the memory of which connections leave all but the least buffers to programs.
const PROGRAMS: usize = 8;
/// A listener's queue is at least that long, whatever it asks for: connections that wait are cheap,
/// and those that find no space come again only after a second.
const LEAST_BACKLOG: usize = 1024;
/// `somaxconn`
const MOST_BACKLOG: usize = 4096;
/// Seconds without an answer that end what no one owns any more.
const CLOSING_PATIENCE: u64 = 60;
/// Seconds without an answer that end the attempt to connect, and a connection.
const CONNECTING_PATIENCE: u64 = 127;
const PATIENCE: u64 = 924;

/// `FIONREAD` and `SIOCOUTQ`
const BYTES_TO_READ: usize = 0x541b;
const BYTES_TO_SEND: usize = 0x5411;

/// A connection over the card.
pub struct Connection {
    core: Core,
    own: IpEndpoint,
    other: IpEndpoint,
    queue: Rc<WaitQueue>,
    /// Who gets it when it is there.
    listener: RefCell<Option<Rc<Listener>>>,
    error: Cell<Option<Errno>>,
    /// Whether the other side refused it or ended it at once.
    reset: Cell<bool>,
    state: Cell<State>,
    /// What was ready when someone was notified last.
    told: Cell<(Events, usize)>,
    /// Whether no one reads any more.
    deaf: Cell<bool>,
    /// Since when no socket has it any more.
    orphan: Cell<Option<u64>>,
    _binding: Option<Rc<Binding>>,
}

/// A socket that listens.
pub struct Listener {
    /// Where.
    pub binding: Rc<Binding>,
    backlog: Cell<usize>,
    queue: Rc<WaitQueue>,
    ready: RefCell<VecDeque<Accepted>>,
    /// Connections that begin.
    pending: Cell<usize>,
    closed: Cell<bool>,
}

enum Accepted {
    Card(Rc<Connection>),
    Local(Rc<Local>),
}

/// A connection within the machine.
struct Local {
    end: End,
    queue: Rc<WaitQueue>,
    own: IpEndpoint,
    other: IpEndpoint,
    _binding: Option<Rc<Binding>>,
}

/// A buffer of a size that fits the memory that is free.
fn buffer() -> Option<SocketBuffer<'static>> {
    super::check_memory().ok()?;
    // What programs need for as many connections is left to them.
    let free = frames::free_bytes().saturating_sub(frames::total_bytes() / PROGRAMS);
    // Memory comes in blocks whose sizes are powers of two.
    let mut size = 1
        << (free / PART)
            .clamp(*BUFFERS.start(), *BUFFERS.end())
            .ilog2();
    let mut bytes = Vec::new();
    while bytes.try_reserve_exact(size).is_err() {
        size /= 2;
        if size < *BUFFERS.start() {
            return None;
        }
    }
    bytes.resize(size, 0);
    Some(SocketBuffer::new(bytes))
}

fn new_socket(patience: u64) -> Option<Tcp<'static>> {
    let mut socket = Tcp::new(buffer()?, buffer()?);
    socket.set_timeout(Some(Duration::from_secs(patience)));
    socket.set_congestion_control(CongestionControl::Reno);
    Some(socket)
}

impl Listener {
    fn has_room(&self) -> bool {
        !self.closed.get() && self.pending.get() + self.ready.borrow().len() < self.backlog.get()
    }
}

impl Connection {
    fn new(
        socket: Tcp<'static>,
        flow: Flow,
        queue: Rc<WaitQueue>,
        listener: Option<Rc<Listener>>,
        binding: Option<Rc<Binding>>,
    ) -> Rc<Connection> {
        Rc::new(Connection {
            state: Cell::new(socket.state()),
            core: Core::new(socket),
            own: flow.0,
            other: flow.1,
            queue,
            listener: RefCell::new(listener),
            error: Cell::new(None),
            reset: Cell::new(false),
            told: Cell::default(),
            deaf: Cell::new(false),
            orphan: Cell::new(None),
            _binding: binding,
        })
    }

    /// A connection that someone asks a listener for, if there is space.
    pub fn incoming(listener: &Rc<Listener>, flow: Flow) -> Option<Rc<Connection>> {
        if !listener.has_room() {
            return None;
        }
        let mut socket = new_socket(PATIENCE)?;
        socket.listen(flow.0).ok()?;
        listener.pending.set(listener.pending.get() + 1);
        let queue = Rc::new(WaitQueue::new());
        Some(Connection::new(
            socket,
            flow,
            queue,
            Some(listener.clone()),
            None,
        ))
    }

    /// Both ends.
    pub fn flow(&self) -> Flow {
        (self.own, self.other)
    }

    /// The other side refused or ended it.
    pub fn see_reset(&self) {
        self.reset.set(true);
    }

    /// Whether it only waits for late packets.
    pub fn is_over(&self) -> bool {
        matches!(self.state.get(), State::TimeWait | State::Closed)
    }

    /// The other side cannot be reached.
    pub fn unreachable(&self, error: Errno) {
        if self.state.get() == State::SynSent {
            self.error.set(Some(error));
            self.core.with(|socket: &mut Tcp<'_>| socket.abort());
        }
    }

    fn is_connecting(&self) -> bool {
        matches!(
            self.state.get(),
            State::SynSent | State::SynReceived | State::Listen
        )
    }

    fn ready(&self) -> Events {
        if self.is_connecting() {
            return Events::empty();
        }
        let mut events = self.core.with(|socket: &mut Tcp<'_>| {
            let mut events = Events::empty();
            let may_receive = socket.may_recv() && !self.deaf.get();
            if socket.can_recv() || !may_receive {
                events |= Events::IN;
            }
            if !may_receive {
                events |= Events::READ_HANG_UP;
            }
            let room = socket.send_capacity() - socket.send_queue();
            if !socket.may_send() || room >= socket.send_capacity() / 3 {
                events |= Events::OUT;
            }
            if !may_receive && !socket.may_send() {
                events |= Events::HANG_UP;
            }
            events
        });
        if self.error.get().is_some() {
            events |= Events::ERROR | Events::IN | Events::OUT;
        }
        events
    }

    /// Why the connection came to its end, if that was an error.
    fn note_end(&self, before: State) {
        let error = match before {
            State::SynSent if self.reset.get() => Errno::CONNREFUSED,
            State::LastAck | State::TimeWait | State::Closing | State::Closed => return,
            _ if self.reset.get() => Errno::CONNRESET,
            _ => Errno::TIMEDOUT,
        };
        if self.error.get().is_none() && self.orphan.get().is_none() {
            self.error.set(Some(error));
        }
    }

    /// A connection that began is there, or has failed.
    fn settle(self: &Rc<Self>, state: State) {
        if state == State::SynReceived {
            return;
        }
        let Some(listener) = self.listener.take() else {
            return;
        };
        listener
            .pending
            .set(listener.pending.get().saturating_sub(1));
        if matches!(state, State::Listen | State::Closed) || listener.closed.get() {
            self.orphan.set(Some(arch::monotonic()));
            self.core.with(|socket: &mut Tcp<'_>| socket.abort());
            stack::remove_connection(self, false);
            return;
        }
        listener
            .ready
            .borrow_mut()
            .push_back(Accepted::Card(self.clone()));
        listener.queue.wake();
    }

    fn receive(self: &Rc<Self>, out: &mut Output<'_>, flags: Message) -> Result<Received> {
        if out.room() == 0 {
            return Ok(Received::default());
        }
        let peek = flags.contains(Message::PEEK);
        let start = out.done();
        let result = self.core.with(|socket: &mut Tcp<'_>| {
            if peek {
                let bytes = socket.peek(out.room()).unwrap_or(&[]);
                return out.put(bytes).map(|_| ());
            }
            // The buffer is a ring: its contents may be in two pieces.
            while out.room() > 0 && socket.can_recv() {
                let mut put = Ok(0);
                let _ = socket.recv(|bytes| {
                    put = out.put(bytes);
                    (put.unwrap_or(0), ())
                });
                put?;
            }
            Ok(())
        });
        let done = out.done() - start;
        if done > 0 {
            if !peek {
                let station: Rc<dyn Station> = self.clone();
                stack::serve(&station);
            }
            return Ok(Received::bytes(done));
        }
        result?;
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let more = self.core.with(|socket: &mut Tcp<'_>| socket.may_recv());
        if self.is_connecting() || (more && !self.deaf.get()) {
            Err(Errno::AGAIN)
        } else {
            Ok(Received::default())
        }
    }

    fn send(self: &Rc<Self>, input: &mut Input<'_>, flags: Message) -> Result {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.is_connecting() {
            return Err(Errno::AGAIN);
        }
        let before = input.left();
        let result = self.core.with(|socket: &mut Tcp<'_>| {
            if !socket.may_send() {
                return Err(Errno::PIPE);
            }
            while input.left() > 0 && socket.can_send() {
                let mut taken = Ok(0);
                let _ = socket.send(|room| {
                    taken = input.take(room);
                    (taken.unwrap_or(0), ())
                });
                taken?;
            }
            Ok(())
        });
        let done = before - input.left();
        if done > 0 {
            let station: Rc<dyn Station> = self.clone();
            stack::serve(&station);
            return Ok(done);
        }
        match result {
            Err(Errno::PIPE) => Err(broken_pipe(flags)),
            Err(error) => Err(error),
            Ok(()) if before == 0 => Ok(0),
            Ok(()) => Err(Errno::AGAIN),
        }
    }

    fn shutdown(self: &Rc<Self>, receiving: bool, sending: bool) {
        if receiving {
            self.deaf.set(true);
        }
        if sending {
            self.core.with(|socket: &mut Tcp<'_>| socket.close());
        }
        let station: Rc<dyn Station> = self.clone();
        stack::serve(&station);
        self.queue.wake();
    }

    /// The socket is gone: the connection ends in the background.
    fn abandon(self: &Rc<Self>, at_once: bool) {
        self.orphan.set(Some(arch::monotonic()));
        self.core.with(|socket: &mut Tcp<'_>| {
            if at_once || socket.can_recv() || socket.state() == State::SynSent {
                socket.abort();
            } else {
                socket.set_timeout(Some(Duration::from_secs(CLOSING_PATIENCE)));
                // A side that neither sends nor ends is asked whether it is there.
                socket.set_keep_alive(Some(Duration::from_secs(CLOSING_PATIENCE / 4)));
                socket.close();
            }
        });
        let station: Rc<dyn Station> = self.clone();
        stack::serve(&station);
    }

    fn apply(&self, base: &Base) {
        let number = |name| base.number_option(name).unwrap_or(0).max(0) as u64;
        let keep_alive = base.is_on(KEEP_ALIVE).then(|| number(KEEP_IDLE).max(1));
        let patience = match number(USER_TIMEOUT) {
            0 => Duration::from_secs(PATIENCE),
            milliseconds => Duration::from_millis(milliseconds),
        };
        self.core.with(|socket: &mut Tcp<'_>| {
            socket.set_nagle_enabled(!base.is_on(NO_DELAY));
            socket.set_keep_alive(keep_alive.map(Duration::from_secs));
            if socket.state() != State::SynSent {
                socket.set_timeout(Some(patience));
            }
        });
    }
}

impl Station for Connection {
    fn core(&self) -> &Core {
        &self.core
    }

    fn card(&self) -> usize {
        stack::card_of(self.own.addr)
    }

    fn changed(self: Rc<Self>) {
        let (state, unread) = self
            .core
            .with(|socket: &mut Tcp<'_>| (socket.state(), socket.recv_queue()));
        let before = self.state.replace(state);
        if state == State::Closed && before != State::Closed {
            self.note_end(before);
        }
        self.settle(state);
        let patience = CLOSING_PATIENCE * SECOND;
        let late = |since: u64| arch::monotonic().saturating_sub(since) >= patience;
        if state == State::FinWait2 && self.orphan.get().is_some_and(late) {
            // The other side is there and does not end: what it sends is refused from now on.
            self.core.with(|socket: &mut Tcp<'_>| socket.abort());
            stack::remove_connection(&self, false);
            return;
        }
        if state == State::Closed || (state == State::TimeWait && self.orphan.get().is_some()) {
            stack::remove_connection(&self, state == State::TimeWait);
        }
        let events = self.ready();
        let told = self.told.replace((events, unread));
        if (events != told.0 || unread > told.1) && !events.is_empty() {
            self.queue.wake();
        }
    }
}

enum Stage {
    Fresh,
    Listening(Rc<Listener>),
    Card(Rc<Connection>),
    Local(Rc<Local>),
}

impl Clone for Stage {
    fn clone(&self) -> Stage {
        match self {
            Stage::Fresh => Stage::Fresh,
            Stage::Listening(listener) => Stage::Listening(listener.clone()),
            Stage::Card(connection) => Stage::Card(connection.clone()),
            Stage::Local(local) => Stage::Local(local.clone()),
        }
    }
}

/// A TCP socket.
pub struct TcpSocket {
    base: Base,
    queue: Rc<WaitQueue>,
    binding: RefCell<Option<Rc<Binding>>>,
    stage: RefCell<Stage>,
    /// Whether someone was notified that the connection is there.
    connected: Cell<bool>,
}

impl TcpSocket {
    /// A socket that is nothing yet.
    pub fn new(family: Family) -> Rc<TcpSocket> {
        Rc::new(TcpSocket {
            base: Base::new(family, Kind::Stream, 6),
            queue: Rc::new(WaitQueue::new()),
            binding: RefCell::default(),
            stage: RefCell::new(Stage::Fresh),
            connected: Cell::new(false),
        })
    }

    fn accepted(base: Base, accepted: Accepted) -> (Rc<TcpSocket>, IpEndpoint) {
        let (queue, other, stage) = match accepted {
            Accepted::Card(connection) => {
                connection.apply(&base);
                let queue = connection.queue.clone();
                (queue, connection.other, Stage::Card(connection))
            }
            Accepted::Local(local) => (local.queue.clone(), local.other, Stage::Local(local)),
        };
        let socket = TcpSocket {
            base,
            queue,
            binding: RefCell::default(),
            stage: RefCell::new(stage),
            connected: Cell::new(true),
        };
        (Rc::new(socket), other)
    }

    fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    /// The binding, made for any address if there is none.
    fn bound(&self, wish: IpAddress, usable: impl Fn(u16) -> bool) -> Result<Rc<Binding>> {
        if let Some(binding) = &*self.binding.borrow() {
            return Ok(binding.clone());
        }
        let binding = ports::TCP.bind(&self.base, IpEndpoint::new(wish, 0), usable)?;
        *self.binding.borrow_mut() = Some(binding.clone());
        Ok(binding)
    }

    fn connect_local(&self, to: IpEndpoint, own: IpEndpoint, binding: Rc<Binding>) -> Result<()> {
        let listener = stack::find_listener(to, own.port).ok_or(Errno::CONNREFUSED)?;
        if listener.ready.borrow().len() >= MOST_BACKLOG {
            return Err(Errno::CONNREFUSED);
        }
        super::check_memory()?;
        let theirs = Rc::new(WaitQueue::new());
        let (end, other) = End::pair(&self.queue, &theirs);
        let there = Local {
            end: other,
            queue: theirs,
            own: to,
            other: own,
            _binding: None,
        };
        *self.stage.borrow_mut() = Stage::Local(Rc::new(Local {
            end,
            queue: self.queue.clone(),
            own,
            other: to,
            _binding: Some(binding),
        }));
        self.connected.set(true);
        listener
            .ready
            .borrow_mut()
            .push_back(Accepted::Local(Rc::new(there)));
        listener.queue.wake();
        self.queue.wake();
        Ok(())
    }

    fn connect_card(&self, to: IpEndpoint, own: IpEndpoint, binding: Rc<Binding>) -> Result<()> {
        let mut socket = new_socket(CONNECTING_PATIENCE).ok_or(Errno::NOBUFS)?;
        let begun = stack::with_network(stack::card_of(own.addr), |network| {
            socket.connect(network.interface.context(), to, own)
        });
        match begun {
            Some(Ok(())) => {}
            Some(Err(_)) => return Err(Errno::ADDRNOTAVAIL),
            None => return Err(Errno::NETUNREACH),
        }
        let connection =
            Connection::new(socket, (own, to), self.queue.clone(), None, Some(binding));
        connection.apply(&self.base);
        *self.stage.borrow_mut() = Stage::Card(connection.clone());
        stack::add_connection(connection.clone());
        let station: Rc<dyn Station> = connection;
        stack::serve(&station);
        Err(Errno::INPROGRESS)
    }

    fn close(&self) {
        match self.stage.replace(Stage::Fresh) {
            Stage::Fresh => {}
            Stage::Listening(listener) => {
                listener.closed.set(true);
                stack::remove_listener(&listener);
                let waiting = core::mem::take(&mut *listener.ready.borrow_mut());
                for accepted in waiting {
                    if let Accepted::Card(connection) = accepted {
                        connection.abandon(true);
                    }
                }
            }
            Stage::Card(connection) => connection.abandon(self.base.linger.get() == Some(0)),
            Stage::Local(local) => {
                if self.base.linger.get() == Some(0) {
                    local.end.outgoing.end(true);
                }
            }
        }
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        self.close();
    }
}

impl File for TcpSocket {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        self.receive(out, Message::empty())
            .map(|received| received.length)
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        self.send(input, None, &mut Control::default(), Message::empty())
    }

    fn ready(&self) -> Events {
        let events = match self.stage() {
            Stage::Fresh => Events::OUT | Events::HANG_UP,
            Stage::Listening(listener) => {
                if listener.ready.borrow().is_empty() {
                    Events::empty()
                } else {
                    Events::IN
                }
            }
            Stage::Card(connection) => connection.ready(),
            Stage::Local(local) => local.end.ready(),
        };
        if self.base.error.get().is_some() {
            events | Events::ERROR
        } else {
            events
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Metadata {
        Metadata::anonymous(fs::Kind::Socket, self.base.number)
    }

    fn control(&self, request: usize, argument: usize) -> Result {
        let (unread, unsent) = match self.stage() {
            Stage::Fresh | Stage::Listening(_) => (0, 0),
            Stage::Card(connection) => connection
                .core
                .with(|socket: &mut Tcp<'_>| (socket.recv_queue(), socket.send_queue())),
            Stage::Local(local) => (
                local.end.incoming.unread(true),
                local.end.outgoing.unread(true),
            ),
        };
        match request {
            BYTES_TO_READ => user::write(argument, &(unread as u32))?,
            BYTES_TO_SEND => user::write(argument, &(unsent as u32))?,
            _ => return super::interfaces::control(request, argument),
        }
        Ok(0)
    }

    fn socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for TcpSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, address: Address) -> Result<()> {
        let endpoint = super::bindable(&self.base, &address)?;
        if self.binding.borrow().is_some() || !matches!(self.stage(), Stage::Fresh) {
            return Err(Errno::INVAL);
        }
        let binding = ports::TCP.bind(&self.base, endpoint, |_| true)?;
        *self.binding.borrow_mut() = Some(binding);
        Ok(())
    }

    fn listen(&self, backlog: usize) -> Result<()> {
        let backlog = backlog.clamp(LEAST_BACKLOG, MOST_BACKLOG);
        match self.stage() {
            Stage::Fresh => {}
            Stage::Listening(listener) => {
                listener.backlog.set(backlog);
                return Ok(());
            }
            _ => return Err(Errno::INVAL),
        }
        let binding = self.bound(address::any(self.base.family), |_| true)?;
        binding.listen()?;
        let listener = Rc::new(Listener {
            binding,
            backlog: Cell::new(backlog),
            queue: self.queue.clone(),
            ready: RefCell::default(),
            pending: Cell::new(0),
            closed: Cell::new(false),
        });
        stack::add_listener(listener.clone());
        *self.stage.borrow_mut() = Stage::Listening(listener);
        Ok(())
    }

    fn accept(&self) -> Result<(Rc<dyn File>, Address)> {
        let Stage::Listening(listener) = self.stage() else {
            return Err(Errno::INVAL);
        };
        super::check_memory()?;
        let accepted = listener.ready.borrow_mut().pop_front();
        let accepted = accepted.ok_or(Errno::AGAIN)?;
        let (socket, other) = TcpSocket::accepted(self.base.child(), accepted);
        Ok((socket, Address::Inet(other)))
    }

    fn connect(&self, address: Address) -> Result<()> {
        match self.stage() {
            Stage::Fresh => {}
            Stage::Listening(_) => return Err(Errno::ISCONN),
            Stage::Local(_) => return Err(Errno::ISCONN),
            Stage::Card(connection) if connection.is_connecting() => return Err(Errno::ALREADY),
            Stage::Card(connection) if self.connected.get() || !connection.is_over() => {
                return if self.connected.replace(true) {
                    Err(Errno::ISCONN)
                } else {
                    Ok(())
                };
            }
            // The last attempt failed.
            Stage::Card(_) => {
                self.connected()?;
                *self.stage.borrow_mut() = Stage::Fresh;
            }
        }
        if address == Address::Unspecified {
            return Ok(());
        }
        let mut to = address.endpoint()?;
        if to.addr.is_unspecified() {
            to.addr = super::loopback(to.addr);
        }
        if to.port == 0 {
            return Err(Errno::CONNREFUSED);
        }
        if to.addr.is_multicast() || to.addr.is_broadcast() {
            return Err(Errno::NETUNREACH);
        }
        super::check_family(&self.base, to.addr)?;
        let source = stack::source_for(to.addr).ok_or(Errno::NETUNREACH)?;
        let binding = self.bound(address::any(self.base.family), |port| {
            !stack::has_connection(&(IpEndpoint::new(source, port), to))
        })?;
        let mut own = binding.endpoint;
        if !binding.is_specific() {
            own.addr = source;
        }
        if stack::is_own(to.addr) {
            return self.connect_local(to, own, binding);
        }
        if stack::has_connection(&(own, to)) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        self.connect_card(to, own, binding)
    }

    fn connected(&self) -> Result<()> {
        let Stage::Card(connection) = self.stage() else {
            return self.base.check();
        };
        if connection.is_connecting() {
            return Err(Errno::AGAIN);
        }
        if let Some(error) = connection.error.take() {
            // Another attempt may follow.
            *self.stage.borrow_mut() = Stage::Fresh;
            return Err(error);
        }
        if !connection.is_over() {
            self.connected.set(true);
        }
        Ok(())
    }

    fn local(&self) -> Address {
        Address::Inet(match self.stage() {
            Stage::Card(connection) => connection.own,
            Stage::Local(local) => local.own,
            _ => match &*self.binding.borrow() {
                Some(binding) => binding.endpoint,
                None => IpEndpoint::new(address::any(self.base.family), 0),
            },
        })
    }

    fn peer(&self) -> Result<Address> {
        match self.stage() {
            Stage::Card(connection) if !connection.is_connecting() => {
                Ok(Address::Inet(connection.other))
            }
            Stage::Local(local) => Ok(Address::Inet(local.other)),
            _ => Err(Errno::NOTCONN),
        }
    }

    fn send(
        &self,
        input: &mut Input<'_>,
        _address: Option<&Address>,
        _control: &mut Control,
        flags: Message,
    ) -> Result {
        match self.stage() {
            Stage::Fresh | Stage::Listening(_) => {
                self.base.check()?;
                Err(broken_pipe(flags))
            }
            Stage::Card(connection) => connection.send(input, flags),
            Stage::Local(local) => local
                .end
                .outgoing
                .write(input, &mut Control::default(), flags),
        }
    }

    fn receive(&self, out: &mut Output<'_>, flags: Message) -> Result<Received> {
        if flags.contains(Message::URGENT) {
            return Err(Errno::INVAL);
        }
        match self.stage() {
            Stage::Fresh | Stage::Listening(_) => {
                self.base.check()?;
                Err(Errno::NOTCONN)
            }
            Stage::Card(connection) => connection.receive(out, flags),
            Stage::Local(local) => local.end.incoming.read(out, flags),
        }
    }

    fn shutdown(&self, receiving: bool, sending: bool) -> Result<()> {
        match self.stage() {
            Stage::Fresh => return Err(Errno::NOTCONN),
            Stage::Listening(_) => {
                // No one can connect any more; what waits in accept ends.
                if receiving {
                    self.close();
                    self.queue.wake();
                }
            }
            Stage::Card(connection) => {
                if connection.is_over() && connection.state.get() == State::Closed {
                    return Err(Errno::NOTCONN);
                }
                connection.shutdown(receiving, sending);
            }
            Stage::Local(local) => local.end.shutdown(receiving, sending),
        }
        Ok(())
    }

    fn listens(&self) -> bool {
        matches!(self.stage(), Stage::Listening(_))
    }

    fn take_error(&self) -> Option<Errno> {
        match self.stage() {
            Stage::Card(connection) => connection.error.take(),
            _ => self.base.error.take(),
        }
    }

    fn options_changed(&self) {
        if let Stage::Card(connection) = self.stage() {
            connection.apply(&self.base);
        }
    }
}
