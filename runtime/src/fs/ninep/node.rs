//! Nodes of a directory of the host.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use super::client::Client;
use super::message::Type;
use crate::abi::errno::{Errno, Result};
use crate::arch::{self, PAGE};
use crate::file::File;
use crate::file::io::{Input, Output};
use crate::fs::{
    Change, DirectoryEntry, FileSystemStatus, Kind, LONGEST_NAME, Metadata, NewNode, Node, OpenHow,
    devices, mounts,
};
use crate::mm::Frame;
use crate::time::SECOND;

/// No number of a node (`P9_NOFID`).
const NO_FID: u32 = u32::MAX;
/// What `statfs` says if the host does not.
const MAGIC: u64 = 0x0102_1997;
/// Bytes of the longest entry of a directory in a message.
const LONGEST_ENTRY: usize = 24 + LONGEST_NAME;
/// Nanoseconds for which what the host said of a node is not asked again: one system call
/// looks several times.
const FRESH: u64 = 1_000_000;

/// `open`'s flags in the protocol.
mod flags {
    pub const READ: u32 = 0;
    pub const WRITE: u32 = 1;
    pub const READ_AND_WRITE: u32 = 2;
    pub const CREATE: u32 = 0o100;
    pub const EXCLUSIVE: u32 = 0o200;
    pub const LARGE_FILE: u32 = 0o100_000;
    pub const DIRECTORY: u32 = 0o200_000;
}

/// A node that the host has opened.
#[derive(Clone, Copy)]
struct Opened {
    fid: u32,
    read: bool,
    write: bool,
}

/// A page of a shared mapping.
struct Page {
    frame: Frame,
    /// The checksum of what the host has.
    sum: u64,
}

/// A file or directory of the host.
pub struct HostNode {
    client: Rc<Client>,
    device: u64,
    /// The number by which the host knows its path.
    fid: u32,
    number: u64,
    kind: Kind,
    /// Directory and name by which it was found.
    found: RefCell<(u64, Box<[u8]>)>,
    opened: Cell<Option<Opened>>,
    /// What the host said last, and when.
    known: Cell<(Metadata, u64)>,
    pages: RefCell<BTreeMap<u64, Page>>,
}

/// The root of what the client's device shares.
pub fn root(client: &Rc<Client>) -> Result<Rc<dyn Node>> {
    if client.most_data() == 0 {
        client.negotiate()?;
    }
    let fid = client.new_fid();
    let attached = client.ask(Type::Attach, |request| {
        request.u32(fid).u32(NO_FID).string(b"").string(b"").u32(0)
    });
    if let Err(error) = attached {
        client.forget_fid(fid);
        return Err(error);
    }
    drop(attached);
    let device = mounts::next_device();
    Ok(HostNode::new(client, device, fid, (0, b""))?)
}

/// Writes back what shared mappings of a device's files changed.
pub fn sync_all(client: &Client) {
    let nodes: Vec<_> = client
        .nodes
        .borrow()
        .values()
        .filter_map(Weak::upgrade)
        .collect();
    for node in nodes {
        let _ = node.write_back();
    }
}

/// What the host says of a node; its number in the first place.
fn ask_metadata(client: &Client, device: u64, fid: u32) -> Result<Metadata> {
    /// `P9_GETATTR_BASIC`
    const BASIC: u64 = 0x7ff;
    let answer = client.ask(Type::Getattr, |request| request.u32(fid).u64(BASIC))?;
    answer.fields().metadata(device)
}

fn checksum(frame: &Frame) -> u64 {
    frame.with(|page| {
        page.chunks_exact(8)
            .fold(0xcbf2_9ce4_8422_2325, |sum, word| {
                let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
                (sum ^ word)
                    .wrapping_mul(0x0000_0100_0000_01b3)
                    .rotate_left(23)
            })
    })
}

impl HostNode {
    fn new(
        client: &Rc<Client>,
        device: u64,
        fid: u32,
        found: (u64, &[u8]),
    ) -> Result<Rc<HostNode>> {
        let metadata = match ask_metadata(client, device, fid) {
            Ok(metadata) => metadata,
            Err(error) => {
                client.release_fid(fid);
                return Err(error);
            }
        };
        let node = Rc::new(HostNode {
            client: client.clone(),
            device,
            fid,
            number: metadata.number,
            kind: metadata.kind,
            found: RefCell::new((found.0, found.1.into())),
            opened: Cell::new(None),
            known: Cell::new((metadata, arch::monotonic())),
            pages: RefCell::default(),
        });
        let old = client
            .nodes
            .borrow_mut()
            .insert(node.number, Rc::downgrade(&node));
        drop(old);
        Ok(node)
    }

    /// What is known is not true any more.
    fn forget_known(&self) {
        let (known, _) = self.known.get();
        self.known.set((known, 0));
    }

    fn check_directory(&self, name: &[u8]) -> Result<()> {
        if self.kind != Kind::Directory {
            Err(Errno::NOTDIR)
        } else if name.len() > LONGEST_NAME {
            Err(Errno::NAMETOOLONG)
        } else {
            Ok(())
        }
    }

    /// A new number for the node itself or for its entry `name`; the entry's own number.
    fn walk(&self, name: Option<&[u8]>) -> Result<(u32, u64)> {
        let fid = self.client.new_fid();
        let walked = self.client.ask(Type::Walk, |request| {
            let request = request.u32(self.fid).u32(fid);
            match name {
                Some(name) => request.u16(1).string(name),
                None => request.u16(0),
            }
        });
        let number = walked.and_then(|answer| {
            let mut fields = answer.fields();
            let count = fields.u16()?;
            match name {
                Some(_) if count == 1 => fields.qid(),
                Some(_) => Err(Errno::NOENT),
                None => Ok(self.number),
            }
        });
        match number {
            Ok(number) => Ok((fid, number)),
            Err(error) => {
                self.client.forget_fid(fid);
                Err(error)
            }
        }
    }

    fn find(&self, name: &[u8]) -> Result<Rc<HostNode>> {
        self.check_directory(name)?;
        let (fid, number) = self.walk(Some(name))?;
        let known = self
            .client
            .nodes
            .borrow()
            .get(&number)
            .and_then(Weak::upgrade);
        if let Some(node) = known
            && node.device == self.device
            && *node.found.borrow() == (self.number, name.into())
        {
            self.client.release_fid(fid);
            return Ok(node);
        }
        HostNode::new(&self.client, self.device, fid, (self.number, name))
    }

    /// An entry is gone: a new node with its number is another one.
    fn forget_entry(&self, name: &[u8]) {
        let live: Vec<_> = self
            .client
            .nodes
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for node in live {
            if *node.found.borrow() == (self.number, name.into()) {
                self.client.nodes.borrow_mut().remove(&node.number);
            }
        }
    }

    fn open_as(&self, flags: u32) -> Result<u32> {
        let (fid, _) = self.walk(None)?;
        let opened = self
            .client
            .ask(Type::Lopen, |request| request.u32(fid).u32(flags));
        match opened.map(drop) {
            Ok(()) => Ok(fid),
            Err(error) => {
                self.client.release_fid(fid);
                Err(error)
            }
        }
    }

    /// The number for reading or writing.
    fn ready(&self, read: bool, write: bool) -> Result<u32> {
        let now = self.opened.get();
        let has = now.map_or((false, false), |opened| (opened.read, opened.write));
        if let Some(opened) = now
            && (opened.read || !read)
            && (opened.write || !write)
        {
            return Ok(opened.fid);
        }
        let (read, write) = (read || has.0, write || has.1);
        let opened = if self.kind == Kind::Directory {
            self.open_as(flags::READ | flags::DIRECTORY)
                .map(|fid| (fid, true, false))
        } else if write {
            match self.open_as(flags::READ_AND_WRITE | flags::LARGE_FILE) {
                Err(Errno::ACCES) if !read => self
                    .open_as(flags::WRITE | flags::LARGE_FILE)
                    .map(|fid| (fid, false, true)),
                other => other.map(|fid| (fid, true, true)),
            }
        } else {
            self.open_as(flags::READ | flags::LARGE_FILE)
                .map(|fid| (fid, true, false))
        };
        let (fid, read, write) = opened?;
        if let Some(old) = self.opened.replace(Some(Opened { fid, read, write })) {
            self.client.release_fid(old.fid);
        }
        Ok(fid)
    }

    /// The number that still works after the last name is gone, if there is one.
    fn lasting_fid(&self) -> u32 {
        self.opened.get().map_or(self.fid, |opened| opened.fid)
    }

    /// Reads up to the end of `bytes` or of the file, in the kernel.
    fn read_bytes(&self, offset: u64, bytes: &mut [u8]) -> Result {
        let mut out = Output::kernel(bytes);
        self.read_to(offset, &mut out)
    }

    fn read_to(&self, offset: u64, out: &mut Output<'_>) -> Result {
        let fid = self.ready(true, false)?;
        let mut done = 0;
        while out.room() > 0 {
            let part = out.room().min(self.client.most_data());
            let at = offset.checked_add(done as u64).ok_or(Errno::INVAL)?;
            let answer = self.client.ask(Type::Read, |request| {
                request.u32(fid).u64(at).u32(part as u32)
            });
            let put = answer.and_then(|answer| {
                let mut fields = answer.fields();
                let count = fields.u32()? as usize;
                let bytes = fields.bytes(count)?;
                Ok((out.put(&bytes[..count.min(part)])?, count))
            });
            match put {
                Ok((put, count)) => {
                    done += put;
                    if put < part || count == 0 {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes`; how many the host took before it failed.
    fn write_bytes(&self, offset: u64, bytes: &[u8]) -> (usize, Result<()>) {
        let mut done = 0;
        while done < bytes.len() {
            let part = &bytes[done..bytes.len().min(done + self.client.most_data())];
            let written = self.ready(false, true).and_then(|fid| {
                let at = offset.checked_add(done as u64).ok_or(Errno::FBIG)?;
                let answer = self.client.ask(Type::Write, |request| {
                    let request = request.u32(fid).u64(at);
                    request.u32(part.len() as u32).bytes(part)
                })?;
                Ok((answer.fields().u32()? as usize).min(part.len()))
            });
            match written {
                Ok(0) => return (done, Err(Errno::NOSPC)),
                Ok(count) => done += count,
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// Writes changed pages of shared mappings to the host.
    fn write_back(&self) -> Result<()> {
        if self.pages.borrow().is_empty() {
            return Ok(());
        }
        let changed: Vec<(u64, Frame, u64)> = self
            .pages
            .borrow()
            .iter()
            .map(|(&index, page)| (index, page.frame.clone(), checksum(&page.frame)))
            .filter(|(index, _, sum)| {
                self.pages
                    .borrow()
                    .get(index)
                    .is_some_and(|page| page.sum != *sum)
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let size = self.metadata().size;
        let mut bytes = alloc::vec![0; PAGE];
        for (index, frame, sum) in changed {
            let start = index * PAGE as u64;
            let length = size.saturating_sub(start).min(PAGE as u64) as usize;
            frame.read(0, &mut bytes);
            self.write_bytes(start, &bytes[..length]).1?;
            if let Some(page) = self.pages.borrow_mut().get_mut(&index) {
                page.sum = sum;
            }
        }
        self.forget_known();
        Ok(())
    }

    /// Shows programs that map the file what was written to it.
    fn update_pages(&self, offset: u64, bytes: &[u8]) {
        let mut pages = self.pages.borrow_mut();
        if pages.is_empty() {
            return;
        }
        let end = offset.saturating_add(bytes.len() as u64);
        for (&index, page) in pages.range_mut(offset / PAGE as u64..end.div_ceil(PAGE as u64)) {
            let start = index * PAGE as u64;
            let (from, to) = (start.max(offset), end.min(start + PAGE as u64));
            page.frame.write(
                (from - start) as usize,
                &bytes[(from - offset) as usize..(to - offset) as usize],
            );
            page.sum = checksum(&page.frame);
        }
    }

    /// Shows programs that map the file its new end.
    fn cut_pages(&self, size: u64) {
        let gone = {
            let mut pages = self.pages.borrow_mut();
            let gone = pages.split_off(&size.div_ceil(PAGE as u64));
            if !size.is_multiple_of(PAGE as u64)
                && let Some(page) = pages.get_mut(&(size / PAGE as u64))
            {
                page.frame.clear_from((size % PAGE as u64) as usize);
                page.sum = checksum(&page.frame);
            }
            gone
        };
        drop(gone);
    }

    /// A page as the host has it.
    fn load_page(&self, index: u64) -> Result<Frame> {
        if self.kind != Kind::File {
            return Err(Errno::NODEV);
        }
        let offset = index.checked_mul(PAGE as u64).ok_or(Errno::NXIO)?;
        let frame = Frame::new()?;
        let mut bytes = alloc::vec![0; PAGE];
        let length = self.read_bytes(offset, &mut bytes)?;
        if length == 0 {
            return Err(Errno::NXIO);
        }
        frame.write(0, &bytes[..length]);
        Ok(frame)
    }

    fn make(&self, name: &[u8], new: &NewNode) -> Result<()> {
        let mode = new.permissions & 0o7777;
        let made = match new.kind {
            Kind::Directory => self.client.ask(Type::Mkdir, |request| {
                request.u32(self.fid).string(name).u32(mode).u32(new.group)
            }),
            Kind::Link => self.client.ask(Type::Symlink, |request| {
                let request = request.u32(self.fid).string(name);
                request.string(&new.target).u32(new.group)
            }),
            _ => self.client.ask(Type::Mknod, |request| {
                let (major, minor) = devices::parts(new.device_number);
                let request = request.u32(self.fid).string(name);
                let request = request.u32(mode | new.kind as u32).u32(major).u32(minor);
                request.u32(new.group)
            }),
        };
        made.map(drop)
    }

    /// Makes a file; the number by which it is open.
    fn make_file(&self, name: &[u8], new: &NewNode) -> Result<u32> {
        let (fid, _) = self.walk(None)?;
        let made = self.client.ask(Type::Lcreate, |request| {
            let flags =
                flags::READ_AND_WRITE | flags::CREATE | flags::EXCLUSIVE | flags::LARGE_FILE;
            let request = request.u32(fid).string(name).u32(flags);
            request.u32(new.permissions & 0o7777).u32(new.group)
        });
        match made.map(drop) {
            Ok(()) => Ok(fid),
            Err(error) => {
                self.client.release_fid(fid);
                Err(error)
            }
        }
    }
}

impl Drop for HostNode {
    fn drop(&mut self) {
        if self.write_back().is_err() {
            crate::print!("kraft: changes of a mapped file could not be written to the host\n");
        }
        if let Some(opened) = self.opened.take() {
            self.client.release_fid(opened.fid);
        }
        self.client.release_fid(self.fid);
        let mut nodes = self.client.nodes.borrow_mut();
        // Another node may have the number by now.
        if nodes
            .get(&self.number)
            .is_some_and(|node| node.strong_count() == 0)
        {
            nodes.remove(&self.number);
        }
    }
}

/// The node behind a node of the same device.
fn of_client<'a>(node: &'a Rc<dyn Node>, client: &Rc<Client>) -> Result<&'a HostNode> {
    let any: &dyn Any = &**node;
    any.downcast_ref::<HostNode>()
        .filter(|node| Rc::ptr_eq(&node.client, client))
        .ok_or(Errno::XDEV)
}

impl Node for HostNode {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn identity(&self) -> (u64, u64) {
        (self.device, self.number)
    }

    fn metadata(&self) -> Metadata {
        let (known, asked) = self.known.get();
        let now = arch::monotonic();
        if asked != 0 && now.saturating_sub(asked) < FRESH {
            return known;
        }
        // A node whose last name is gone may be unknown to the host.
        match ask_metadata(&self.client, self.device, self.lasting_fid()) {
            Ok(metadata) => {
                self.known.set((metadata, now));
                metadata
            }
            Err(_) => known,
        }
    }

    fn change(&self, change: &Change) -> Result<()> {
        const MODE: u32 = 1;
        const USER: u32 = 2;
        const GROUP: u32 = 4;
        const SIZE: u32 = 8;
        const ACCESSED: u32 = 0x10 | 0x80;
        const MODIFIED: u32 = 0x20 | 0x100;
        self.write_back()?;
        let bits = [
            (change.permissions.is_some(), MODE),
            (change.user.is_some(), USER),
            (change.group.is_some(), GROUP),
            (change.size.is_some(), SIZE),
            (change.accessed.is_some(), ACCESSED),
            (change.modified.is_some(), MODIFIED),
        ];
        let valid = bits
            .iter()
            .fold(0, |valid, &(is, bit)| if is { valid | bit } else { valid });
        let changed = self.client.ask(Type::Setattr, |request| {
            let mut request = request
                .u32(self.lasting_fid())
                .u32(valid)
                .u32(change.permissions.unwrap_or(0))
                .u32(change.user.unwrap_or(u32::MAX))
                .u32(change.group.unwrap_or(u32::MAX))
                .u64(change.size.unwrap_or(0));
            for time in [change.accessed, change.modified] {
                let time = time.unwrap_or(0);
                request = request.u64(time / SECOND).u64(time % SECOND);
            }
            request
        });
        self.forget_known();
        changed.map(drop)?;
        if let Some(size) = change.size {
            self.cut_pages(size);
            let (mut known, _) = self.known.get();
            known.size = size;
            self.known.set((known, 0));
        }
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Rc<dyn Node>> {
        Ok(self.find(name)?)
    }

    fn create(&self, name: &[u8], new: &NewNode) -> Result<Rc<dyn Node>> {
        self.check_directory(name)?;
        let opened = match new.kind {
            Kind::File => Some(self.make_file(name, new)?),
            _ => {
                self.make(name, new)?;
                None
            }
        };
        self.forget_known();
        let node = match self.find(name) {
            Ok(node) => node,
            Err(error) => {
                opened.inspect(|&fid| self.client.release_fid(fid));
                return Err(error);
            }
        };
        if let Some(fid) = opened {
            let opened = Opened {
                fid,
                read: true,
                write: true,
            };
            if let Some(old) = node.opened.replace(Some(opened)) {
                self.client.release_fid(old.fid);
            }
        }
        if new.user != node.metadata().user {
            // A host that keeps owners of its own does not do it, and that is its decision.
            let _ = node.change(&Change {
                user: Some(new.user),
                ..Change::default()
            });
        }
        Ok(node)
    }

    fn link(&self, name: &[u8], node: &Rc<dyn Node>) -> Result<()> {
        self.check_directory(name)?;
        let linked = of_client(node, &self.client)?;
        let made = self.client.ask(Type::Link, |request| {
            request.u32(self.fid).u32(linked.fid).string(name)
        });
        self.forget_known();
        linked.forget_known();
        made.map(drop)
    }

    fn remove(&self, name: &[u8], directory: bool) -> Result<()> {
        const DIRECTORY: u32 = 0x200;
        let node: Rc<dyn Node> = self.find(name)?;
        if directory && mounts::mounted_at(&node).is_some() {
            return Err(Errno::BUSY);
        }
        let removed = self.client.ask(Type::Unlinkat, |request| {
            let flags = if directory { DIRECTORY } else { 0 };
            request.u32(self.fid).string(name).u32(flags)
        });
        removed.map(drop)?;
        self.forget_known();
        self.forget_entry(name);
        let node = of_client(&node, &self.client)?;
        let (mut known, _) = node.known.get();
        known.links = known.links.saturating_sub(if directory { 2 } else { 1 });
        node.known.set((known, 0));
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        to: &Rc<dyn Node>,
        new_name: &[u8],
        exchange: bool,
    ) -> Result<()> {
        let target = of_client(to, &self.client)?;
        target.check_directory(new_name)?;
        if exchange {
            // The protocol cannot.
            return Err(Errno::INVAL);
        }
        let node = self.find(name)?;
        let renamed = self.client.ask(Type::Renameat, |request| {
            let request = request.u32(self.fid).string(name);
            request.u32(target.fid).string(new_name)
        });
        renamed.map(drop)?;
        self.forget_known();
        target.forget_known();
        node.forget_known();
        target.forget_entry(new_name);
        *node.found.borrow_mut() = (target.number, new_name.into());
        Ok(())
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<DirectoryEntry>> {
        if self.kind != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        let fid = self.ready(true, false)?;
        // The two that are left out are alone in an answer only if it has little space.
        let count = most.saturating_mul(LONGEST_ENTRY).max(2 * LONGEST_ENTRY);
        let count = count.min(self.client.most_data()) as u32;
        let mut at = from;
        for _ in 0..3 {
            let answer = self
                .client
                .ask(Type::Readdir, |request| request.u32(fid).u64(at).u32(count))?;
            let mut entries = answer.fields().entries()?;
            let Some(last) = entries.last().map(|entry| entry.next) else {
                break;
            };
            entries.retain(|entry| &*entry.name != b"." && &*entry.name != b"..");
            if !entries.is_empty() {
                entries.truncate(most);
                return Ok(entries);
            }
            at = last;
        }
        Ok(Vec::new())
    }

    fn target(&self) -> Result<Vec<u8>> {
        if self.kind != Kind::Link {
            return Err(Errno::INVAL);
        }
        let answer = self
            .client
            .ask(Type::Readlink, |request| request.u32(self.fid))?;
        Ok(answer.fields().string()?.to_vec())
    }

    fn read(&self, offset: u64, out: &mut Output<'_>) -> Result {
        if self.kind != Kind::File {
            return Err(Errno::INVAL);
        }
        self.write_back()?;
        self.read_to(offset, out)
    }

    fn write(&self, offset: u64, input: &mut Input<'_>) -> Result {
        if self.kind != Kind::File {
            return Err(Errno::INVAL);
        }
        self.write_back()?;
        let mut done = 0;
        let mut buffer = Vec::new();
        let length = input.left().min(self.client.most_data());
        buffer.try_reserve_exact(length).map_err(|_| Errno::NOMEM)?;
        buffer.resize(length, 0);
        while input.left() > 0 {
            let at = offset.checked_add(done as u64).ok_or(Errno::FBIG)?;
            let before = input.clone();
            let length = buffer.len().min(input.left());
            let got = match input.take(&mut buffer[..length]) {
                Ok(got) => got,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            let (written, result) = self.write_bytes(at, &buffer[..got]);
            self.update_pages(at, &buffer[..written]);
            done += written;
            let (mut known, _) = self.known.get();
            known.size = known.size.max(at.saturating_add(written as u64));
            self.known.set((known, 0));
            if let Err(error) = result {
                if done == 0 {
                    return Err(error);
                }
                // What the host did not take is still to be written.
                *input = before;
                input.take(&mut buffer[..written])?;
                break;
            }
        }
        Ok(done)
    }

    fn page(&self, index: u64) -> Result<Frame> {
        if let Some(page) = self.pages.borrow().get(&index) {
            return Ok(page.frame.clone());
        }
        self.load_page(index)
    }

    fn shared_page(&self, index: u64) -> Result<Frame> {
        if let Some(page) = self.pages.borrow().get(&index) {
            return Ok(page.frame.clone());
        }
        let frame = self.load_page(index)?;
        let page = Page {
            frame: frame.clone(),
            sum: checksum(&frame),
        };
        let old = self.pages.borrow_mut().insert(index, page);
        drop(old);
        Ok(frame)
    }

    fn open(self: Rc<Self>, how: OpenHow) -> Result<Option<Rc<dyn File>>> {
        match self.kind {
            Kind::File => {
                // Now, so that the file can be used when its name is gone.
                self.ready(how.read, how.write)?;
                Ok(None)
            }
            Kind::Directory => Ok(None),
            _ => Err(Errno::NXIO),
        }
    }

    fn sync(&self) -> Result<()> {
        self.write_back()?;
        let fid = match self.opened.get() {
            Some(opened) => opened.fid,
            None => self.ready(true, false)?,
        };
        self.client
            .ask(Type::Fsync, |request| request.u32(fid).u32(0))
            .map(drop)
    }

    fn file_system(&self) -> FileSystemStatus {
        let ask = || -> Result<FileSystemStatus> {
            let answer = self
                .client
                .ask(Type::Statfs, |request| request.u32(self.fid))?;
            let mut fields = answer.fields();
            let magic = fields.u32()?.into();
            let block_size = fields.u32()?.into();
            let (blocks, _, free) = (fields.u64()?, fields.u64()?, fields.u64()?);
            Ok(FileSystemStatus {
                magic,
                block_size,
                blocks,
                free,
                nodes: fields.u64()?,
                free_nodes: fields.u64()?,
            })
        };
        ask().unwrap_or(FileSystemStatus {
            magic: MAGIC,
            block_size: PAGE as u64,
            blocks: 0,
            free: 0,
            nodes: 0,
            free_nodes: 0,
        })
    }
}
