//! Open files: what is behind a file descriptor.

pub mod anonymous;
pub mod epoll;
pub mod eventfd;
pub mod inotify;
pub mod io;
pub mod locks;
pub mod message_queue;
pub mod pidfd;
pub mod pipe;
pub mod regular;
pub mod signalfd;
mod table;
pub mod terminal;
pub mod timerfd;

use alloc::rc::Rc;
use core::any::Any;
use core::cell::Cell;

use bitflags::bitflags;

use crate::abi::errno::{Errno, Result};
use crate::arch::{self, PAGE};
use crate::fs::{Metadata, Node, Place};
use crate::net::Socket;
use crate::task::{self, WaitQueue};
use io::{Input, Output};

pub use regular::NodeFile;
pub use table::FileTable;

bitflags! {
    /// What may be done with a file without waiting (`POLL*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Events: u32 {
        /// Reading.
        const IN = 1;
        /// Reading of urgent data.
        const URGENT = 2;
        /// Writing.
        const OUT = 4;
        /// There was an error.
        const ERROR = 8;
        /// The other side is gone.
        const HANG_UP = 0x10;
        /// The descriptor is none.
        const INVALID = 0x20;
        /// Reading, by another name (`POLLRDNORM`).
        const READ_NORMAL = 0x40;
        /// Writing, by another name (`POLLWRNORM`).
        const WRITE_NORMAL = 0x100;
        /// The other side does not send any more.
        const READ_HANG_UP = 0x2000;
    }
}

bitflags! {
    /// `O_*` of an open file that can be changed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Flags: u32 {
        /// Writing begins at the end.
        const APPEND = 0o2000;
        /// Nothing waits.
        const NO_WAIT = 0o4000;
        /// Signals notify of events (`O_ASYNC`).
        const ASYNC = 0o20_000;
        /// `O_DIRECT`
        const DIRECT = 0o40_000;
        /// `O_NOATIME`
        const NO_ACCESS_TIME = 0o1_000_000;
    }
}

/// Something that can be read, written, waited for. None of its functions waits: what would
/// have to fails with `EAGAIN`, and the caller waits for [`File::queue`].
pub trait File: Any {
    /// Reads; `offset` counts for what is seekable.
    ///
    /// # Errors
    /// `EAGAIN` when there is nothing yet.
    fn read(&self, _offset: u64, _out: &mut Output<'_>) -> Result {
        Err(Errno::INVAL)
    }

    /// Writes; `offset` counts for what is seekable.
    ///
    /// # Errors
    /// `EAGAIN` when there is no space yet.
    fn write(&self, _offset: u64, _input: &mut Input<'_>) -> Result {
        Err(Errno::INVAL)
    }

    /// What can be done now.
    fn ready(&self) -> Events {
        Events::IN | Events::OUT
    }

    /// Where to wait for changes of [`File::ready`]; none for what is always ready.
    fn queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// The node behind it.
    fn node(&self) -> Option<&Rc<dyn Node>> {
        None
    }

    /// What `fstat` reports.
    fn metadata(&self) -> Metadata;

    /// Whether it has positions.
    fn is_seekable(&self) -> bool {
        false
    }

    /// Controls a device.
    ///
    /// # Errors
    /// `ENOTTY`
    fn control(&self, _request: usize, _argument: usize) -> Result {
        Err(Errno::NOTTY)
    }

    /// Whether a mapping of it shows zeros (`/dev/zero`).
    fn zeros_when_mapped(&self) -> bool {
        false
    }

    /// The socket that it is.
    fn socket(&self) -> Option<&dyn Socket> {
        None
    }

    /// Nanoseconds after which reading or writing gives up (`SO_RCVTIMEO`, `SO_SNDTIMEO`).
    fn patience(&self, writing: bool) -> Option<u64> {
        self.socket()?.base().patience(writing)
    }

    /// What `/proc/self/fd` shows for something without a path, such as `pipe`.
    fn label(&self) -> &'static str {
        if self.socket().is_some() {
            "socket"
        } else {
            "anon_inode:[file]"
        }
    }
}

/// An open file: what descriptors that were copied from each other share.
pub struct Description {
    /// What is open.
    pub file: Rc<dyn File>,
    /// Where it was found.
    pub place: Option<Rc<Place>>,
    /// Whether it may be read.
    pub readable: bool,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether it only names a place (`O_PATH`).
    pub path_only: bool,
    /// The flags that can be changed.
    pub flags: Cell<Flags>,
    /// Where reading and writing continue.
    pub offset: Cell<u64>,
    /// Who gets signals (`F_SETOWN`).
    pub owner: Cell<i32>,
    /// The epoll files that watch it.
    pub watchers: epoll::Watchers,
}

impl Drop for Description {
    fn drop(&mut self) {
        self.watchers.leave(&*self.file);
        locks::description_closed(self);
        inotify::report_closed(self);
    }
}

impl Description {
    /// An open file without a path.
    pub fn new(
        file: Rc<dyn File>,
        readable: bool,
        writable: bool,
        flags: Flags,
    ) -> Rc<Description> {
        Description::at(file, None, readable, writable, flags)
    }

    /// An open file that was found at a place.
    pub fn at(
        file: Rc<dyn File>,
        place: Option<Rc<Place>>,
        readable: bool,
        writable: bool,
        flags: Flags,
    ) -> Rc<Description> {
        Rc::new(Description {
            file,
            place,
            readable,
            writable,
            path_only: false,
            flags: Cell::new(flags),
            offset: Cell::new(0),
            owner: Cell::new(0),
            watchers: epoll::Watchers::default(),
        })
    }

    /// A place that is named, but neither read nor written (`O_PATH`).
    pub fn of_path(file: Rc<dyn File>, place: Rc<Place>) -> Rc<Description> {
        Rc::new(Description {
            file,
            place: Some(place),
            readable: false,
            writable: false,
            path_only: true,
            flags: Cell::default(),
            offset: Cell::new(0),
            owner: Cell::new(0),
            watchers: epoll::Watchers::default(),
        })
    }

    /// Which of the wanted events there are; errors and the end of the other side always count.
    pub fn events(&self, wanted: Events) -> Events {
        let mut ready = self.file.ready();
        ready.set(Events::READ_NORMAL, ready.contains(Events::IN));
        ready.set(Events::WRITE_NORMAL, ready.contains(Events::OUT));
        ready & (wanted | Events::ERROR | Events::HANG_UP)
    }

    /// What `fstat` reports: a device has the metadata of the node by which it was opened.
    pub fn metadata(&self) -> Metadata {
        match &self.place {
            Some(place) => place.node.metadata(),
            None => self.file.metadata(),
        }
    }

    /// `O_*` as `fcntl(F_GETFL)` returns them.
    pub fn open_flags(&self) -> usize {
        /// `O_PATH`
        const PATH: usize = 0o10_000_000;
        /// `O_LARGEFILE`
        const LARGE_FILE: usize = 0o100_000;
        let access = match (self.readable, self.writable) {
            (true, true) => 2,
            (false, true) => 1,
            _ => 0,
        };
        let path = if self.path_only { PATH } else { LARGE_FILE };
        access | path | self.flags.get().bits() as usize
    }

    /// Whether nothing waits.
    pub fn no_wait(&self) -> bool {
        self.flags.get().contains(Flags::NO_WAIT)
    }

    /// When reading or writing gives up.
    pub fn deadline(&self, writing: bool) -> Option<u64> {
        let patience = self.file.patience(writing)?;
        Some(arch::monotonic().saturating_add(patience))
    }

    /// Tries something until it does not fail with `EAGAIN`, waiting in between unless the
    /// file is open without waiting.
    ///
    /// # Errors
    /// Those of `attempt`; [`Errno::RESTART`] when a signal came first; `EAGAIN` after
    /// `deadline`.
    pub fn wait_for<T>(
        &self,
        deadline: Option<u64>,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let queue = self.file.queue();
        if self.no_wait() || queue.is_none() {
            return attempt();
        }
        let attempt = || match attempt() {
            Err(Errno::AGAIN) => None,
            other => Some(other),
        };
        let queues: &[&WaitQueue] = match &queue {
            Some(queue) => &[queue],
            None => &[],
        };
        task::wait(queues, deadline, attempt)?.unwrap_or(Err(Errno::AGAIN))
    }

    /// Reads at the file's own position.
    ///
    /// # Errors
    /// `EBADF` for a file that is not open for reading, and what the file says.
    pub fn read(&self, out: &mut Output<'_>) -> Result {
        if !self.readable {
            return Err(Errno::BADF);
        }
        let offset = self.offset.get();
        let done = self.wait_for(self.deadline(false), || self.file.read(offset, out))?;
        self.advance(offset, done);
        self.report(inotify::Changes::READ);
        Ok(done)
    }

    /// Writes at the file's own position.
    ///
    /// # Errors
    /// `EBADF` for a file that is not open for writing, and what the file says.
    pub fn write(&self, input: &mut Input<'_>) -> Result {
        if !self.writable {
            return Err(Errno::BADF);
        }
        let mut offset = self.offset.get();
        if self.flags.get().contains(Flags::APPEND) && self.file.is_seekable() {
            offset = self.file.metadata().size;
        }
        let done = self.write_all(offset, input)?;
        self.advance(offset, done);
        Ok(done)
    }

    /// Writes everything at an offset, however often the file takes only a part.
    ///
    /// # Errors
    /// What the file says about the first part.
    pub fn write_all(&self, offset: u64, input: &mut Input<'_>) -> Result {
        if let Some(most) = regular::check_room(&*self.file, offset, input.left())? {
            let bytes = input.take_first(most)?;
            return self.write_pieces(offset, &mut Input::kernel(&bytes));
        }
        self.write_pieces(offset, input)
    }

    fn write_pieces(&self, offset: u64, input: &mut Input<'_>) -> Result {
        let total = input.left();
        let result = self.wait_for(self.deadline(true), || {
            loop {
                let done = total - input.left();
                let part = self.file.write(offset + done as u64, input)?;
                if input.left() == 0 || part == 0 {
                    return Ok(());
                }
            }
        });
        self.report(inotify::Changes::WRITTEN);
        match (result, total - input.left()) {
            (Err(error), 0) => Err(error),
            (_, done) => Ok(done),
        }
    }

    /// Reports what happened to those who watch the file.
    fn report(&self, changes: inotify::Changes) {
        if let Some(place) = &self.place {
            inotify::report_place(place, changes);
        }
    }

    fn advance(&self, offset: u64, done: usize) {
        if self.file.is_seekable() {
            self.offset.set(offset + done as u64);
        }
    }

    /// The path or a label, as `/proc/self/fd` shows it.
    pub fn describe(&self, root: &Place) -> alloc::vec::Vec<u8> {
        match &self.place {
            Some(place) => place.path_from(root),
            None => {
                let label = self.file.label();
                let number = self.file.metadata().number;
                if label.starts_with("anon_inode") || label.starts_with('/') {
                    label.as_bytes().to_vec()
                } else {
                    alloc::format!("{label}:[{number}]").into_bytes()
                }
            }
        }
    }
}

/// The most bytes that one call reads or writes, as on Linux.
pub const MOST_BYTES: usize = 0x7fff_f000;
const _: () = assert!(MOST_BYTES.is_multiple_of(PAGE));
