//! Pipes.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::io::{Input, Output};
use super::{Events, File};
use crate::abi::errno::{Errno, Result};
use crate::fs::{Kind, Metadata, Node, OpenHow};
use crate::mm::{frames, user};
use crate::signal::{Info, Signal};
use crate::task::{self, WaitQueue};

/// Bytes that a pipe holds.
const CAPACITY: usize = 64 << 10;
/// The most bytes that a write puts in one piece or not at all (`PIPE_BUF`).
const ATOMIC: usize = 4096;
/// `FIONREAD`
const BYTES_TO_READ: usize = 0x541b;

/// What both ends of a pipe share.
pub struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    capacity: Cell<usize>,
    readers: Cell<usize>,
    writers: Cell<usize>,
    /// How often it was opened to read, and to write.
    openings: Cell<[u64; 2]>,
    queue: WaitQueue,
    number: u64,
}

/// Which end of a pipe an open file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Read,
    Write,
    Both,
}

/// One end of a pipe.
pub struct PipeEnd {
    pipe: Rc<Pipe>,
    end: End,
    node: Option<Rc<dyn Node>>,
}

impl Pipe {
    /// A pipe without ends.
    pub fn new() -> Rc<Pipe> {
        Rc::new(Pipe {
            bytes: RefCell::default(),
            capacity: Cell::new(CAPACITY),
            readers: Cell::new(0),
            writers: Cell::new(0),
            openings: Cell::new([0; 2]),
            queue: WaitQueue::new(),
            number: super::anonymous::next_number(),
        })
    }

    fn open(self: &Rc<Pipe>, end: End, node: Option<Rc<dyn Node>>) -> Rc<PipeEnd> {
        let [mut to_read, mut to_write] = self.openings.get();
        if end != End::Write {
            self.readers.set(self.readers.get() + 1);
            to_read += 1;
        }
        if end != End::Read {
            self.writers.set(self.writers.get() + 1);
            to_write += 1;
        }
        self.openings.set([to_read, to_write]);
        self.queue.wake();
        Rc::new(PipeEnd {
            pipe: self.clone(),
            end,
            node,
        })
    }
}

/// The end of a pipe that a file is.
pub fn end(file: &dyn File) -> Option<&PipeEnd> {
    let any: &dyn core::any::Any = file;
    any.downcast_ref()
}

/// A new pipe: the end to read and the end to write.
pub fn new() -> (Rc<PipeEnd>, Rc<PipeEnd>) {
    let pipe = Pipe::new();
    (pipe.open(End::Read, None), pipe.open(End::Write, None))
}

/// Opens a named pipe: waits for the other side, as POSIX wants it.
///
/// # Errors
/// `ENXIO` to write without waiting when no one reads.
pub fn open_named(pipe: &Rc<Pipe>, node: Rc<dyn Node>, how: OpenHow) -> Result<Rc<dyn File>> {
    let end = match (how.read, how.write) {
        (true, true) => End::Both,
        (false, true) => End::Write,
        _ => End::Read,
    };
    if end == End::Write && how.no_wait && pipe.readers.get() == 0 {
        return Err(Errno::NXIO);
    }
    let opened = pipe.open(end, Some(node));
    if !how.no_wait {
        let (other, index) = if end == End::Write {
            (&pipe.readers, 0)
        } else {
            (&pipe.writers, 1)
        };
        // The other side may have come and gone before this one runs again.
        let before = pipe.openings.get()[index];
        let came = || other.get() > 0 || pipe.openings.get()[index] != before;
        task::wait(&[&pipe.queue], None, || came().then_some(()))?;
    }
    Ok(opened)
}

impl File for PipeEnd {
    fn read(&self, _offset: u64, out: &mut Output<'_>) -> Result {
        if self.end == End::Write {
            return Err(Errno::BADF);
        }
        if out.room() == 0 {
            return Ok(0);
        }
        let mut bytes = self.pipe.bytes.borrow_mut();
        if bytes.is_empty() {
            return if self.pipe.writers.get() == 0 {
                Ok(0)
            } else {
                Err(Errno::AGAIN)
            };
        }
        let mut done = 0;
        while out.room() > 0 {
            let (first, _) = bytes.as_slices();
            if first.is_empty() {
                break;
            }
            let part = match out.put(first) {
                Ok(0) => break,
                Ok(part) => part,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            bytes.drain(..part);
            done += part;
        }
        drop(bytes);
        self.pipe.queue.wake();
        Ok(done)
    }

    fn write(&self, _offset: u64, input: &mut Input<'_>) -> Result {
        if self.end == End::Read {
            return Err(Errno::BADF);
        }
        if self.pipe.readers.get() == 0 {
            let process = task::current_process();
            process.send(Info::kernel(Signal::PIPE));
            return Err(Errno::PIPE);
        }
        let mut bytes = self.pipe.bytes.borrow_mut();
        let room = self.pipe.capacity.get().saturating_sub(bytes.len());
        if room == 0 || (input.left() <= ATOMIC && room < input.left()) {
            return Err(Errno::AGAIN);
        }
        let mut done = 0;
        let mut buffer = [0; 1024];
        let mut result = Ok(());
        while done < room && input.left() > 0 {
            let part = buffer.len().min(room - done);
            // What the pipe has not had before needs memory.
            if bytes.capacity() < bytes.len() + part {
                result = frames::check_spare()
                    .and_then(|()| bytes.try_reserve(part).map_err(|_| Errno::NOMEM));
            }
            let taken = result.and_then(|()| input.take(&mut buffer[..part]));
            match taken {
                Ok(got) => {
                    bytes.extend(&buffer[..got]);
                    done += got;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        drop(bytes);
        if done == 0 {
            result?;
        }
        self.pipe.queue.wake();
        Ok(done)
    }

    fn ready(&self) -> Events {
        let mut events = Events::empty();
        let length = self.pipe.bytes.borrow().len();
        if self.end != End::Write {
            if length > 0 {
                events |= Events::IN;
            }
            if self.pipe.writers.get() == 0 {
                events |= Events::HANG_UP;
            }
        }
        if self.end != End::Read {
            if self.pipe.capacity.get() - length.min(self.pipe.capacity.get()) >= ATOMIC {
                events |= Events::OUT;
            }
            if self.pipe.readers.get() == 0 {
                events |= Events::ERROR;
            }
        }
        events
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.queue)
    }

    fn node(&self) -> Option<&Rc<dyn Node>> {
        self.node.as_ref()
    }

    fn metadata(&self) -> Metadata {
        match &self.node {
            Some(node) => node.metadata(),
            None => Metadata::anonymous(Kind::Pipe, self.pipe.number),
        }
    }

    fn control(&self, request: usize, argument: usize) -> Result {
        match request {
            BYTES_TO_READ => {
                user::write(argument, &(self.pipe.bytes.borrow().len() as u32))?;
                Ok(0)
            }
            _ => Err(Errno::NOTTY),
        }
    }

    fn label(&self) -> &'static str {
        "pipe"
    }
}

impl PipeEnd {
    /// Whether another end is one of the same pipe.
    pub fn has_pipe_of(&self, other: &PipeEnd) -> bool {
        Rc::ptr_eq(&self.pipe, &other.pipe)
    }

    /// What the pipe has, up to `length` bytes, which stay in it.
    ///
    /// # Errors
    /// `EBADF` for an end to write, `EAGAIN` for a pipe in which something may come; `ENOMEM`.
    pub fn peek(&self, length: usize) -> Result<Vec<u8>> {
        if self.end == End::Write {
            return Err(Errno::BADF);
        }
        let bytes = self.pipe.bytes.borrow();
        if bytes.is_empty() && length > 0 && self.pipe.writers.get() > 0 {
            return Err(Errno::AGAIN);
        }
        let mut first = Vec::new();
        let length = length.min(bytes.len());
        first.try_reserve_exact(length).map_err(|_| Errno::NOMEM)?;
        first.extend(bytes.range(..length));
        Ok(first)
    }

    /// Bytes that the pipe holds at most.
    pub fn capacity(&self) -> usize {
        self.pipe.capacity.get()
    }

    /// Changes how many bytes the pipe holds; how many it holds then.
    ///
    /// # Errors
    /// `EBUSY` if more are in it, `EPERM` for more than a megabyte.
    pub fn set_capacity(&self, bytes: usize) -> Result {
        if bytes > 1 << 31 {
            return Err(Errno::INVAL);
        }
        if bytes > 1 << 20 {
            return Err(Errno::PERM);
        }
        let bytes = bytes.max(ATOMIC).next_power_of_two();
        if self.pipe.bytes.borrow().len() > bytes {
            return Err(Errno::BUSY);
        }
        self.pipe.capacity.set(bytes);
        self.pipe.queue.wake();
        Ok(bytes)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.end != End::Write {
            self.pipe.readers.set(self.pipe.readers.get() - 1);
        }
        if self.end != End::Read {
            self.pipe.writers.set(self.pipe.writers.get() - 1);
        }
        self.pipe.queue.wake();
    }
}

#[cfg(test)]
mod tests;
