//! What one socket of the machine sends to another one of it, without a network between them.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::address::Address;
use super::socket::{Control, Message, Received, broken_pipe};
use crate::abi::errno::{Errno, Result};
use crate::file::Events;
use crate::file::io::{Input, Output};
use crate::task::WaitQueue;

/// Bytes that a channel holds.
pub const CAPACITY: usize = 208 << 10;
/// The most bytes of a stream that are kept in one piece.
const PIECE: usize = 32 << 10;
/// What a message counts beside its bytes, so that empty ones do not pile up.
const OVERHEAD: usize = 256;
/// The most open files that are on their way in one channel.
const MOST_FILES: usize = 1024;

/// A message, or some bytes of a stream.
struct Packet {
    bytes: Vec<u8>,
    read: usize,
    source: Option<Address>,
    control: Control,
}

/// One direction of a connection, or what a datagram socket receives.
pub struct Channel {
    packets: RefCell<VecDeque<Packet>>,
    bytes: Cell<usize>,
    files: Cell<usize>,
    /// Nothing more comes.
    ended: Cell<bool>,
    /// No one reads any more.
    refused: Cell<bool>,
    /// The other side went away without having read everything.
    reset: Cell<bool>,
    /// Whether the reader wants to know who writes (`SO_PASSCRED`).
    pub wants_credentials: Cell<bool>,
    /// Whom to notify of what comes.
    reader: Rc<WaitQueue>,
    /// Whom to notify of space.
    writer: RefCell<Option<Rc<WaitQueue>>>,
    /// Those who wait once for space.
    waiting: RefCell<Vec<Rc<WaitQueue>>>,
}

impl Channel {
    /// An empty channel whose reader waits at `reader`.
    pub fn new(reader: Rc<WaitQueue>, writer: Option<Rc<WaitQueue>>) -> Rc<Channel> {
        Rc::new(Channel {
            packets: RefCell::default(),
            bytes: Cell::new(0),
            files: Cell::new(0),
            ended: Cell::new(false),
            refused: Cell::new(false),
            reset: Cell::new(false),
            wants_credentials: Cell::new(false),
            reader,
            writer: RefCell::new(writer),
            waiting: RefCell::default(),
        })
    }

    /// Bytes that can be put.
    pub fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.bytes.get())
    }

    /// Bytes that can be read; of the first message only where messages stay apart.
    pub fn unread(&self, stream: bool) -> usize {
        let packets = self.packets.borrow();
        let most = if stream { usize::MAX } else { 1 };
        packets
            .iter()
            .take(most)
            .map(|packet| packet.bytes.len() - packet.read)
            .sum()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.packets.borrow().is_empty()
    }

    /// Whether nothing more comes.
    pub fn is_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether no one reads any more.
    pub fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Whether the other side went away without having read everything.
    pub fn is_reset(&self) -> bool {
        self.reset.get()
    }

    fn wake_writers(&self) {
        let writer = self.writer.borrow().clone();
        if let Some(writer) = writer {
            writer.wake();
        }
        let waiting = core::mem::take(&mut *self.waiting.borrow_mut());
        for queue in waiting {
            queue.wake();
        }
    }

    /// Notifies `queue` once when there is space.
    pub fn notify(&self, queue: &Rc<WaitQueue>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|other| Rc::ptr_eq(other, queue)) {
            waiting.push(queue.clone());
        }
    }

    /// The writer puts nothing more.
    pub fn end(&self, reset: bool) {
        self.ended.set(true);
        self.reset.set(self.reset.get() || reset);
        self.reader.wake();
    }

    /// The reader does not read any more; whether something was left.
    pub fn refuse(&self) -> bool {
        self.refused.set(true);
        let left = core::mem::take(&mut *self.packets.borrow_mut());
        self.bytes.set(0);
        self.files.set(0);
        self.wake_writers();
        // Files that were on their way are closed here, outside of all borrows.
        !left.is_empty()
    }

    fn push(&self, packet: Packet) {
        let size = packet.bytes.len() + OVERHEAD;
        self.bytes.set(self.bytes.get().saturating_add(size));
        self.files
            .set(self.files.get() + packet.control.files.len());
        self.packets.borrow_mut().push_back(packet);
        self.reader.wake();
    }

    fn check_files(&self, control: &Control) -> Result<()> {
        if self.files.get() + control.files.len() > MOST_FILES {
            Err(Errno::AGAIN)
        } else {
            Ok(())
        }
    }

    /// Puts bytes of a stream.
    ///
    /// # Errors
    /// `EAGAIN`, `EPIPE`
    pub fn write(&self, input: &mut Input<'_>, control: &mut Control, flags: Message) -> Result {
        if self.refused.get() || self.ended.get() {
            return Err(broken_pipe(flags));
        }
        if input.left() == 0 {
            return Ok(0);
        }
        self.check_files(control)?;
        let mut done = 0;
        while input.left() > 0 {
            // Something that is large enough to be worth it.
            let room = self.room().saturating_sub(OVERHEAD);
            if room == 0 {
                break;
            }
            let length = input.left().min(room).min(PIECE);
            let mut bytes = Vec::new();
            let memory = super::check_memory()
                .and_then(|()| bytes.try_reserve_exact(length).map_err(|_| Errno::NOBUFS));
            match memory {
                Ok(()) => bytes.resize(length, 0),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            let got = match input.take(&mut bytes) {
                Ok(got) => got,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            bytes.truncate(got);
            done += got;
            if got == 0 {
                break;
            }
            self.append(bytes, core::mem::take(control));
        }
        if done == 0 {
            return Err(Errno::AGAIN);
        }
        Ok(done)
    }

    /// Adds bytes to the last piece where that is small, so that many small writes do not
    /// become as many pieces.
    fn append(&self, bytes: Vec<u8>, control: Control) {
        let joined = {
            let mut packets = self.packets.borrow_mut();
            match packets.back_mut() {
                Some(last)
                    if control.is_empty()
                        && last.control.is_empty()
                        && last.bytes.len() + bytes.len() <= 4096 =>
                {
                    last.bytes.extend_from_slice(&bytes);
                    true
                }
                _ => false,
            }
        };
        if joined {
            self.bytes.set(self.bytes.get() + bytes.len());
            self.reader.wake();
        } else {
            self.push(Packet {
                bytes,
                read: 0,
                source: None,
                control,
            });
        }
    }

    /// Puts a message.
    ///
    /// # Errors
    /// `EAGAIN`, `EMSGSIZE`; `EPIPE` when no one reads any more.
    pub fn send(
        &self,
        input: &mut Input<'_>,
        source: Option<Address>,
        control: &mut Control,
    ) -> Result {
        if self.refused.get() || self.ended.get() {
            return Err(Errno::PIPE);
        }
        let length = input.left();
        if length + OVERHEAD > CAPACITY {
            return Err(Errno::MSGSIZE);
        }
        if self.room() < length + OVERHEAD {
            return Err(Errno::AGAIN);
        }
        self.check_files(control)?;
        super::check_memory()?;
        let bytes = input.take_all(CAPACITY)?;
        self.push(Packet {
            bytes,
            read: 0,
            source,
            control: core::mem::take(control),
        });
        Ok(length)
    }

    /// Puts a message that the kernel has; it is lost when there is no space.
    pub fn deliver(&self, bytes: Vec<u8>, source: Address) {
        let room = self.room() >= bytes.len() + OVERHEAD && super::check_memory().is_ok();
        if room && !self.refused.get() {
            self.push(Packet {
                bytes,
                read: 0,
                source: Some(source),
                control: Control::default(),
            });
        }
    }

    /// Nothing is there: why.
    fn nothing(&self) -> Result<Received> {
        if self.reset.replace(false) {
            return Err(Errno::CONNRESET);
        }
        if self.ended.get() {
            return Ok(Received::default());
        }
        Err(Errno::AGAIN)
    }

    /// Reads bytes of a stream. What came with files is not read in one go with what follows.
    ///
    /// # Errors
    /// `EAGAIN`, `ECONNRESET`
    pub fn read(&self, out: &mut Output<'_>, flags: Message) -> Result<Received> {
        if self.is_empty() {
            return self.nothing();
        }
        let peek = flags.contains(Message::PEEK);
        let mut received = Received::default();
        let mut freed = 0;
        let mut result = Ok(0);
        {
            let mut packets = self.packets.borrow_mut();
            let mut index = 0;
            while out.room() > 0
                && let Some(packet) = packets.get_mut(index)
            {
                if received.length > 0 && !packet.control.is_empty() {
                    break;
                }
                result = out.put(&packet.bytes[packet.read..]);
                let Ok(part) = result else { break };
                received.length += part;
                if peek {
                    received.control.credentials = packet.control.credentials;
                    received.control.files = packet.control.files.clone();
                    if packet.read + part < packet.bytes.len() {
                        break;
                    }
                    index += 1;
                    continue;
                }
                packet.read += part;
                let had_control = !packet.control.is_empty();
                if had_control {
                    received.control = core::mem::take(&mut packet.control);
                }
                if packet.read < packet.bytes.len() {
                    break;
                }
                freed += packet.bytes.len() + OVERHEAD;
                packets.pop_front();
                if had_control {
                    break;
                }
            }
        }
        if received.length == 0 {
            result?;
        }
        received.whole = received.length;
        if freed > 0 {
            self.free(freed, received.control.files.len());
        }
        Ok(received)
    }

    fn free(&self, bytes: usize, files: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
        self.files.set(self.files.get().saturating_sub(files));
        self.wake_writers();
    }

    /// Takes a message; what does not fit is lost.
    ///
    /// # Errors
    /// `EAGAIN`, `ECONNRESET`
    pub fn receive(&self, out: &mut Output<'_>, flags: Message) -> Result<Received> {
        if flags.contains(Message::PEEK) {
            let packets = self.packets.borrow();
            let Some(packet) = packets.front() else {
                drop(packets);
                return self.nothing();
            };
            let length = if packet.bytes.is_empty() {
                0
            } else {
                out.put(&packet.bytes)?
            };
            return Ok(Received {
                length,
                whole: packet.bytes.len(),
                source: packet.source.clone(),
                control: Control {
                    files: packet.control.files.clone(),
                    credentials: packet.control.credentials,
                },
            });
        }
        let Some(packet) = self.packets.borrow_mut().pop_front() else {
            return self.nothing();
        };
        self.free(packet.bytes.len() + OVERHEAD, packet.control.files.len());
        let length = if packet.bytes.is_empty() {
            0
        } else {
            out.put(&packet.bytes)?
        };
        Ok(Received {
            length,
            whole: packet.bytes.len(),
            source: packet.source,
            control: packet.control,
        })
    }
}

/// One end of a connection within the machine.
pub struct End {
    /// What the other side sends.
    pub incoming: Rc<Channel>,
    /// What this side sends.
    pub outgoing: Rc<Channel>,
}

impl End {
    /// Both ends of a new connection, for sockets that wait at these queues.
    pub fn pair(first: &Rc<WaitQueue>, second: &Rc<WaitQueue>) -> (End, End) {
        let to_first = Channel::new(first.clone(), Some(second.clone()));
        let to_second = Channel::new(second.clone(), Some(first.clone()));
        let end = End {
            incoming: to_first.clone(),
            outgoing: to_second.clone(),
        };
        let other = End {
            incoming: to_second,
            outgoing: to_first,
        };
        (end, other)
    }

    /// What can be done now.
    pub fn ready(&self) -> Events {
        let mut events = Events::empty();
        let (incoming, outgoing) = (&self.incoming, &self.outgoing);
        let gone = outgoing.is_refused();
        if incoming.is_ended() {
            events |= Events::READ_HANG_UP | Events::IN;
        }
        if incoming.is_ended() && (gone || outgoing.is_ended()) {
            events |= Events::HANG_UP;
        }
        if incoming.is_reset() {
            events |= Events::ERROR;
        }
        if !incoming.is_empty() {
            events |= Events::IN;
        }
        if gone || outgoing.is_ended() || outgoing.room() >= CAPACITY / 4 {
            events |= Events::OUT;
        }
        events
    }

    /// Ends one direction or both.
    pub fn shutdown(&self, receiving: bool, sending: bool) {
        if receiving {
            self.incoming.end(false);
            self.incoming.refuse();
        }
        if sending {
            self.outgoing.end(false);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let unread = self.incoming.refuse();
        self.outgoing.end(unread);
        self.incoming.reader.wake();
    }
}
