//! What all sockets have in common.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use bitflags::bitflags;

use super::address::{Address, Family};
use crate::abi::errno::{Errno, Result};
use crate::file::io::{Input, Output};
use crate::file::{Description, File, anonymous};
use crate::signal::{Info, Signal};
use crate::small::SmallMap;
use crate::sync::Global;
use crate::task;

/// How a socket carries what is sent (`SOCK_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
    /// Bytes in order.
    Stream = 1,
    /// Messages on their own.
    Datagram = 2,
    /// Messages as they are on the wire.
    Raw = 3,
    /// Messages in order.
    Sequence = 5,
}

bitflags! {
    /// `MSG_*`
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Message: u32 {
        /// Urgent data.
        const URGENT = 1;
        /// What is received stays.
        const PEEK = 2;
        /// Control messages were cut.
        const CONTROL_CUT = 8;
        /// The message was cut; if asked for, its whole length is the result.
        const CUT = 0x20;
        /// Nothing waits.
        const NO_WAIT = 0x40;
        /// All of the space is to be filled.
        const WAIT_ALL = 0x100;
        /// No `SIGPIPE`.
        const NO_SIGNAL = 0x4000;
        /// `recvmmsg` waits for the first message only.
        const WAIT_FOR_ONE = 0x1_0000;
        /// Descriptors that come are closed when another program is run.
        const CLOSE_ON_EXEC = 0x4000_0000;
        const _ = !0;
    }
}

/// Level and name of an option.
pub type Name = (i32, i32);

/// `SO_REUSEADDR`
pub const REUSE_ADDRESS: Name = (1, 2);
/// `SO_BROADCAST`
pub const BROADCAST: Name = (1, 6);
/// `SO_KEEPALIVE`
pub const KEEP_ALIVE: Name = (1, 9);
/// `SO_REUSEPORT`
pub const REUSE_PORT: Name = (1, 15);
/// `SO_PASSCRED`
pub const PASS_CREDENTIALS: Name = (1, 16);
/// `TCP_NODELAY`
pub const NO_DELAY: Name = (6, 1);
/// `TCP_KEEPIDLE`
pub const KEEP_IDLE: Name = (6, 4);
/// `TCP_USER_TIMEOUT`
pub const USER_TIMEOUT: Name = (6, 18);
/// `IP_MTU_DISCOVER`
pub const MTU_DISCOVERY: Name = (0, 10);
/// `IPV6_MTU_DISCOVER`
pub const MTU_DISCOVERY6: Name = (41, 23);
/// `IPV6_V6ONLY`
pub const V6_ONLY: Name = (41, 26);
/// `SO_SNDBUF` and `SO_RCVBUF`
const SEND_BUFFER: Name = (1, 7);
const RECEIVE_BUFFER: Name = (1, 8);

/// The options that are numbers, and what they are at first. What is accepted without being used
/// anywhere changes nothing, as on a Linux that has nothing to do for it.
const NUMBERS: &[(Name, i32)] = &[
    (REUSE_ADDRESS, 0),
    ((1, 5), 0), // SO_DONTROUTE
    (BROADCAST, 0),
    (SEND_BUFFER, 212_992),
    (RECEIVE_BUFFER, 212_992),
    (KEEP_ALIVE, 0),
    ((1, 10), 0), // SO_OOBINLINE
    ((1, 12), 0), // SO_PRIORITY
    (REUSE_PORT, 0),
    (PASS_CREDENTIALS, 0),
    ((1, 18), 1), // SO_RCVLOWAT
    ((1, 29), 0), // SO_TIMESTAMP
    ((1, 35), 0), // SO_TIMESTAMPNS
    ((1, 36), 0), // SO_MARK
    ((1, 40), 0), // SO_RXQ_OVFL
    ((1, 46), 0), // SO_BUSY_POLL
    ((0, 1), 0),  // IP_TOS
    ((0, 2), 64), // IP_TTL
    ((0, 8), 0),  // IP_PKTINFO
    (MTU_DISCOVERY, 1),
    ((0, 11), 0),   // IP_RECVERR
    ((0, 12), 0),   // IP_RECVTTL
    ((0, 13), 0),   // IP_RECVTOS
    ((0, 15), 0),   // IP_FREEBIND
    ((0, 24), 0),   // IP_BIND_ADDRESS_NO_PORT
    ((0, 33), 1),   // IP_MULTICAST_TTL
    ((0, 34), 1),   // IP_MULTICAST_LOOP
    ((41, 16), 64), // IPV6_UNICAST_HOPS
    ((41, 18), 1),  // IPV6_MULTICAST_HOPS
    ((41, 19), 1),  // IPV6_MULTICAST_LOOP
    (MTU_DISCOVERY6, 1),
    ((41, 25), 0), // IPV6_RECVERR
    (V6_ONLY, 0),
    ((41, 49), 0), // IPV6_RECVPKTINFO
    ((41, 51), 0), // IPV6_RECVHOPLIMIT
    ((41, 66), 0), // IPV6_RECVTCLASS
    ((41, 67), 0), // IPV6_TCLASS
    (NO_DELAY, 0),
    ((6, 2), 1460), // TCP_MAXSEG
    ((6, 3), 0),    // TCP_CORK
    (KEEP_IDLE, 7200),
    ((6, 5), 75), // TCP_KEEPINTVL
    ((6, 6), 9),  // TCP_KEEPCNT
    ((6, 7), 6),  // TCP_SYNCNT
    ((6, 8), 60), // TCP_LINGER2
    ((6, 9), 0),  // TCP_DEFER_ACCEPT
    ((6, 10), 0), // TCP_WINDOW_CLAMP
    ((6, 12), 1), // TCP_QUICKACK
    (USER_TIMEOUT, 0),
    ((6, 23), 0), // TCP_FASTOPEN
    ((6, 25), 0), // TCP_NOTSENT_LOWAT
    ((6, 30), 0), // TCP_FASTOPEN_CONNECT
];

/// What every socket has.
pub struct Base {
    /// Its family.
    pub family: Family,
    /// Its kind.
    pub kind: Kind,
    /// The protocol, as `SO_PROTOCOL` shows it.
    pub protocol: i32,
    /// A number that no other file without a node has.
    pub number: u64,
    /// Nanoseconds that receiving waits (`SO_RCVTIMEO`).
    pub receive_patience: Cell<Option<u64>>,
    /// Nanoseconds that sending waits (`SO_SNDTIMEO`).
    pub send_patience: Cell<Option<u64>>,
    /// Seconds that closing may wait (`SO_LINGER`).
    pub linger: Cell<Option<u32>>,
    /// What went wrong since someone asked.
    pub error: Cell<Option<Errno>>,
    numbers: RefCell<SmallMap<Name, i32>>,
}

impl Base {
    /// Nanoseconds after which sending or receiving gives up.
    pub fn patience(&self, sending: bool) -> Option<u64> {
        if sending {
            self.send_patience.get()
        } else {
            self.receive_patience.get()
        }
    }

    /// A socket without options.
    pub fn new(family: Family, kind: Kind, protocol: i32) -> Base {
        Base {
            family,
            kind,
            protocol,
            number: anonymous::next_number(),
            receive_patience: Cell::new(None),
            send_patience: Cell::new(None),
            linger: Cell::new(None),
            error: Cell::new(None),
            numbers: RefCell::default(),
        }
    }

    /// What a socket that was accepted takes over.
    pub fn child(&self) -> Base {
        let child = Base::new(self.family, self.kind, self.protocol);
        child.receive_patience.set(self.receive_patience.get());
        child.send_patience.set(self.send_patience.get());
        child.linger.set(self.linger.get());
        *child.numbers.borrow_mut() = self.numbers.borrow().clone();
        child
    }

    /// The value of an option that is a number.
    ///
    /// # Errors
    /// `ENOPROTOOPT`
    pub fn number_option(&self, name: Name) -> Result<i32> {
        let first = NUMBERS.iter().find(|(known, _)| *known == name);
        let (_, first) = first.ok_or(Errno::NOPROTOOPT)?;
        Ok(self.numbers.borrow().get(&name).copied().unwrap_or(*first))
    }

    /// Whether an option is on.
    pub fn is_on(&self, name: Name) -> bool {
        self.number_option(name).is_ok_and(|value| value != 0)
    }

    /// Sets an option that is a number.
    ///
    /// # Errors
    /// `ENOPROTOOPT`
    pub fn set_number(&self, name: Name, value: i32) -> Result<()> {
        self.number_option(name)?;
        let value = match name {
            // The kernel's own needs count too: programs expect twice of what they asked for.
            SEND_BUFFER | RECEIVE_BUFFER => value.clamp(1152, 212_992) * 2,
            _ => value,
        };
        let entered = self.numbers.borrow_mut().insert(name, value);
        entered.map_err(|_| Errno::NOBUFS)?;
        Ok(())
    }

    /// Takes the error that happened; none is success.
    ///
    /// # Errors
    /// The error.
    pub fn check(&self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
}

/// What travels beside the bytes of a message.
#[derive(Default)]
pub struct Control {
    /// Open files (`SCM_RIGHTS`).
    pub files: Vec<Rc<Description>>,
    /// Process, user and group of the sender (`SCM_CREDENTIALS`).
    pub credentials: Option<[u32; 3]>,
}

/// Open files that no one received and that are to be closed.
static UNWANTED: Global<RefCell<Vec<Rc<Description>>>> = Global::new(RefCell::new(Vec::new()));
static CLOSING: Global<Cell<bool>> = Global::new(Cell::new(false));

impl Drop for Control {
    /// Closes the files one after the other: a socket among them may have others on their way
    /// in it, and so on, further than the kernel's stack reaches.
    fn drop(&mut self) {
        if self.files.is_empty() {
            return;
        }
        UNWANTED.borrow_mut().append(&mut self.files);
        if CLOSING.replace(true) {
            return;
        }
        loop {
            let Some(file) = UNWANTED.borrow_mut().pop() else {
                break;
            };
            drop(file);
        }
        CLOSING.set(false);
    }
}

impl Control {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.credentials.is_none()
    }
}

/// Process, user and group of the current process.
pub fn own_credentials() -> [u32; 3] {
    let process = task::current_process();
    let credentials = process.credentials.borrow();
    [process.id as u32, credentials.user(), credentials.group()]
}

/// What was received beside the bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes that were put.
    pub length: usize,
    /// Bytes of the whole message.
    pub whole: usize,
    /// Who sent it.
    pub source: Option<Address>,
    /// What came with it.
    pub control: Control,
}

impl Received {
    /// Bytes of a stream.
    pub fn bytes(length: usize) -> Received {
        Received {
            length,
            whole: length,
            ..Received::default()
        }
    }
}

/// What sockets can do beyond files. None of it waits: `EAGAIN` says that the caller has to.
pub trait Socket: File {
    /// What every socket has.
    fn base(&self) -> &Base;

    /// Gives the socket an address.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EINVAL`
    fn bind(&self, address: Address) -> Result<()>;

    /// Lets others connect.
    ///
    /// # Errors
    /// `EOPNOTSUPP`
    fn listen(&self, _backlog: usize) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    /// Takes a connection that someone made: its socket and who that is.
    ///
    /// # Errors
    /// `EAGAIN`, `EINVAL` for a socket that does not listen.
    fn accept(&self) -> Result<(Rc<dyn File>, Address)> {
        Err(Errno::OPNOTSUPP)
    }

    /// Connects to someone.
    ///
    /// # Errors
    /// `EINPROGRESS` if that takes time: [`Socket::connected`] reports its end.
    fn connect(&self, address: Address) -> Result<()>;

    /// Whether the connection is there.
    ///
    /// # Errors
    /// `EAGAIN` while it is not, and why it failed.
    fn connected(&self) -> Result<()> {
        Ok(())
    }

    /// The own address.
    fn local(&self) -> Address;

    /// The address of the other side.
    ///
    /// # Errors
    /// `ENOTCONN`
    fn peer(&self) -> Result<Address>;

    /// Sends; `control` is taken when it goes.
    ///
    /// # Errors
    /// `EAGAIN`, `EPIPE`, `EMSGSIZE`, `EDESTADDRREQ`
    fn send(
        &self,
        input: &mut Input<'_>,
        address: Option<&Address>,
        control: &mut Control,
        flags: Message,
    ) -> Result;

    /// Receives.
    ///
    /// # Errors
    /// `EAGAIN`, `ECONNRESET`, `ENOTCONN`
    fn receive(&self, out: &mut Output<'_>, flags: Message) -> Result<Received>;

    /// Ends one direction or both.
    ///
    /// # Errors
    /// `ENOTCONN`
    fn shutdown(&self, receiving: bool, sending: bool) -> Result<()>;

    /// Whether it listens.
    fn listens(&self) -> bool {
        false
    }

    /// An option that was set has to have its effect.
    fn options_changed(&self) {}

    /// The error that was not reported yet (`SO_ERROR`).
    fn take_error(&self) -> Option<Errno> {
        self.base().error.take()
    }

    /// Who made the other side (`SO_PEERCRED`).
    fn peer_credentials(&self) -> Option<[u32; 3]> {
        None
    }
}

/// The error of sending to where no one reads any more, with its signal.
pub fn broken_pipe(flags: Message) -> Errno {
    if !flags.contains(Message::NO_SIGNAL) {
        task::current_process().send(Info::kernel(Signal::PIPE));
    }
    Errno::PIPE
}
