//! Requests to one device.

use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::message::{ERROR, Fields, HEADER, Request, Type};
use super::node::HostNode;
use crate::abi::errno::{Errno, Result};
use crate::virtio::request::{Exchange, RequestQueue};

/// Bytes of the longest message.
const MESSAGE: usize = 128 << 10;
/// The most fields before the data of a message that reads or writes.
const DATA_HEADER: usize = 32;

/// A device, and the nodes of its tree that are in use.
pub struct Client {
    queue: RefCell<RequestQueue>,
    /// Buffers for the next request, so that there is always memory for one.
    buffers: RefCell<Option<Exchange>>,
    most_data: Cell<usize>,
    next_fid: Cell<u32>,
    free_fids: RefCell<Vec<u32>>,
    /// The nodes by their number.
    pub nodes: RefCell<BTreeMap<u64, Weak<HostNode>>>,
}

/// An answer; its memory goes back to the client.
pub struct Answer<'a> {
    client: &'a Client,
    exchange: Exchange,
    length: usize,
}

impl Answer<'_> {
    /// The fields.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.exchange.answer[HEADER..self.length])
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        let exchange = Exchange {
            request: core::mem::take(&mut self.exchange.request),
            answer: core::mem::take(&mut self.exchange.answer),
        };
        self.client.give_back(exchange);
    }
}

/// Memory for one request, if there is any.
fn new_exchange() -> Result<Exchange> {
    let buffer = |length| {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(length).map_err(|_| Errno::NOMEM)?;
        Ok(buffer)
    };
    let mut answer: Vec<u8> = buffer(MESSAGE)?;
    answer.resize(MESSAGE, 0);
    Ok(Exchange {
        request: buffer(MESSAGE)?,
        answer,
    })
}

impl Client {
    /// A client that has not asked anything.
    pub fn new(queue: RequestQueue) -> Rc<Client> {
        Rc::new(Client {
            queue: RefCell::new(queue),
            buffers: RefCell::new(None),
            most_data: Cell::new(0),
            next_fid: Cell::new(0),
            free_fids: RefCell::default(),
            nodes: RefCell::default(),
        })
    }

    /// The device's interrupt was seen.
    pub fn acknowledge(&self) {
        self.queue.borrow_mut().acknowledge();
    }

    /// Agrees with the host on the protocol.
    ///
    /// # Errors
    /// `EPROTO` if it speaks another one.
    pub fn negotiate(&self) -> Result<()> {
        const VERSION: &[u8] = b"9P2000.L";
        let answer = self.ask(Type::Version, |request| {
            request.u32(MESSAGE as u32).string(VERSION)
        })?;
        let mut fields = answer.fields();
        let size = fields.u32()? as usize;
        if fields.string()? != VERSION || size < 4096 {
            return Err(Errno::PROTO);
        }
        self.most_data.set(size.min(MESSAGE) - DATA_HEADER);
        Ok(())
    }

    /// Bytes that one message reads or writes at most.
    pub fn most_data(&self) -> usize {
        self.most_data.get()
    }

    /// A number by which the host is to know a node.
    pub fn new_fid(&self) -> u32 {
        if let Some(fid) = self.free_fids.borrow_mut().pop() {
            return fid;
        }
        let fid = self.next_fid.get();
        self.next_fid.set(fid + 1);
        fid
    }

    /// Gives a number back that the host does not know.
    pub fn forget_fid(&self, fid: u32) {
        self.free_fids.borrow_mut().push(fid);
    }

    /// Gives a number back.
    pub fn release_fid(&self, fid: u32) {
        // The host forgets the number even if it says that something failed.
        let _ = self.ask(Type::Clunk, |request| request.u32(fid));
        self.forget_fid(fid);
    }

    /// Makes a request, to which `fill` adds the fields.
    ///
    /// # Errors
    /// What the host says; `EIO` if it does not answer as it should.
    pub fn ask(&self, kind: Type, fill: impl FnOnce(Request) -> Request) -> Result<Answer<'_>> {
        let kept = self.buffers.borrow_mut().take();
        let mut exchange = match kept {
            Some(exchange) => exchange,
            None => new_exchange()?,
        };
        let request = core::mem::take(&mut exchange.request);
        exchange.request = fill(Request::new(request, kind)).finish();
        let result = self.queue.borrow_mut().request(&mut exchange);
        let mut answer = Answer {
            client: self,
            exchange,
            length: result?,
        };
        let bytes = &answer.exchange.answer;
        let mut fields = Fields::new(bytes.get(..answer.length).ok_or(Errno::IO)?);
        let size = fields.u32()? as usize;
        let answered = fields.u8()?;
        fields.u16()?;
        if !(HEADER..=answer.length).contains(&size) {
            return Err(Errno::IO);
        }
        answer.length = size;
        if answered == ERROR {
            let error = answer.fields().u32()?;
            // What the kernel keeps for itself must not come from outside.
            return Err(match error {
                1..512 => Errno(error as u16),
                _ => Errno::IO,
            });
        }
        if answered == kind as u8 + 1 {
            Ok(answer)
        } else {
            Err(Errno::IO)
        }
    }

    fn give_back(&self, exchange: Exchange) {
        // A device that is dead has kept them.
        if exchange.answer.len() == MESSAGE {
            let spare = self.buffers.borrow_mut().replace(exchange);
            drop(spare);
        }
    }
}
