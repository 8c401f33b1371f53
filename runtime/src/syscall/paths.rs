//! Calls on paths.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::files;
use crate::abi::errno::{Errno, Result};
use crate::abi::stat;
use crate::file::inotify::{self, Changes, WatchFile};
use crate::file::regular::check_size;
use crate::file::{Description, File, Flags, NodeFile};
use crate::fs::{
    Change, Follow, Kind, LONGEST_PATH, Metadata, NewNode, Node, OpenHow, Place, Walk,
    is_permitted, mounts,
};
use crate::mm::user;
use crate::task::{self, Credentials};
use crate::time::{self, TimeSpec};

/// `AT_FDCWD`
pub const CURRENT: i32 = -100;
/// `AT_SYMLINK_NOFOLLOW`
pub const NO_FOLLOW: usize = 0x100;
/// `AT_REMOVEDIR`
pub const REMOVE_DIRECTORY: usize = 0x200;
/// `AT_SYMLINK_FOLLOW`
const LINK_FOLLOW: usize = 0x400;
/// `AT_EMPTY_PATH`
const EMPTY_PATH: usize = 0x1000;
/// `AT_NO_AUTOMOUNT`
const NO_AUTOMOUNT: usize = 0x800;

mod open_flags {
    pub const ACCESS: usize = 3;
    pub const CREATE: usize = 0o100;
    pub const EXCLUSIVE: usize = 0o200;
    pub const NO_TERMINAL: usize = 0o400;
    pub const TRUNCATE: usize = 0o1000;
    pub const DIRECTORY: usize = if cfg!(target_arch = "aarch64") {
        0o40_000
    } else {
        0o200_000
    };
    pub const NO_FOLLOW: usize = if cfg!(target_arch = "aarch64") {
        0o100_000
    } else {
        0o400_000
    };
    pub const PATH: usize = 0o10_000_000;
    pub const TEMPORARY: usize = 0o20_000_000;
}

/// Who resolves paths and from where.
struct Resolver {
    start: Rc<Place>,
    root: Rc<Place>,
    credentials: Credentials,
}

impl Resolver {
    /// Resolves from the directory behind a descriptor, or the working directory.
    fn new(fd: i32, path: &[u8]) -> Result<Resolver> {
        let process = task::current_process();
        let paths = process.paths();
        let start = if fd == CURRENT || path.first() == Some(&b'/') {
            paths.directory
        } else {
            let description = files::get(fd)?;
            let place = description.place.clone().ok_or(Errno::NOTDIR)?;
            if place.node.kind() != Kind::Directory && !path.is_empty() {
                return Err(Errno::NOTDIR);
            }
            place
        };
        let credentials = process.credentials.borrow().clone();
        Ok(Resolver {
            start,
            root: paths.root,
            credentials,
        })
    }

    fn walk(&self) -> Walk<'_> {
        Walk {
            root: self.root.clone(),
            credentials: &self.credentials,
        }
    }

    fn resolve(&self, path: &[u8], follow: Follow) -> Result<Rc<Place>> {
        self.walk().resolve(&self.start, path, follow)
    }

    /// The directory and the name of an entry that is to be made or removed.
    fn parent(&self, path: &[u8]) -> Result<(Rc<Place>, Vec<u8>)> {
        self.walk().resolve_parent(&self.start, path)
    }

    /// Checks that entries of a directory may be made and removed.
    fn check_writable(&self, directory: &Place) -> Result<()> {
        check_mount(&directory.node)?;
        if is_permitted(&directory.node.metadata(), &self.credentials, 3) {
            Ok(())
        } else {
            Err(Errno::ACCES)
        }
    }

    /// As [`Resolver::parent`], for an entry that is to be made.
    fn new_entry(&self, path: &[u8]) -> Result<(Rc<Place>, Vec<u8>)> {
        let (parent, name) = self.parent(path)?;
        if name.is_empty() || parent.child(&name).is_ok() {
            return Err(Errno::EXIST);
        }
        self.check_writable(&parent)?;
        Ok((parent, name))
    }

    /// Checks that an entry of a directory with the sticky bit is one's own.
    fn check_sticky(&self, directory: &Place, node: &Rc<dyn Node>) -> Result<()> {
        let metadata = directory.node.metadata();
        let user = self.credentials.user();
        let own = user == 0 || metadata.user == user || node.metadata().user == user;
        if metadata.permissions & 0o1000 != 0 && !own {
            Err(Errno::PERM)
        } else {
            Ok(())
        }
    }

    fn new_node(&self, kind: Kind, permissions: u32) -> NewNode {
        NewNode {
            kind,
            permissions,
            user: self.credentials.user(),
            group: self.credentials.group(),
            device_number: 0,
            target: Vec::new(),
        }
    }
}

/// Fails with `EROFS` on a file system that cannot be written.
pub fn check_mount(node: &Rc<dyn Node>) -> Result<()> {
    if mounts::is_read_only(node.identity().0) {
        Err(Errno::ROFS)
    } else {
        Ok(())
    }
}

/// Makes an entry of a directory.
fn create(parent: &Place, name: &[u8], new: &NewNode) -> Result<Rc<dyn Node>> {
    let node = parent.node.create(name, new)?;
    let mut changes = Changes::CREATED;
    changes.set(Changes::DIRECTORY, new.kind == Kind::Directory);
    inotify::report(&parent.node, name, changes, 0);
    Ok(node)
}

fn read_path(address: usize) -> Result<Vec<u8>> {
    user::read_string(address, LONGEST_PATH - 1)
}

fn follow(flags: usize) -> Follow {
    if flags & NO_FOLLOW != 0 {
        Follow::No
    } else {
        Follow::Yes
    }
}

/// The place that a path names; an empty path names the descriptor itself if the flags allow it.
pub fn place(fd: i32, path_at: usize, flags: usize) -> Result<Rc<Place>> {
    let path = if path_at == 0 && flags & EMPTY_PATH != 0 {
        Vec::new()
    } else {
        read_path(path_at)?
    };
    let resolver = Resolver::new(fd, &path)?;
    if path.is_empty() && flags & EMPTY_PATH != 0 {
        return Ok(resolver.start);
    }
    resolver.resolve(&path, follow(flags))
}

/// What is known of what a path names; descriptors without a place too.
fn metadata(fd: i32, path_at: usize, flags: usize) -> Result<Metadata> {
    if flags & EMPTY_PATH != 0 && fd != CURRENT && (path_at == 0 || user::read::<u8>(path_at)? == 0)
    {
        return Ok(files::get(fd)?.metadata());
    }
    Ok(place(fd, path_at, flags)?.node.metadata())
}

/// Checks the flags of a call that takes a path.
fn check_flags(flags: usize, known: usize) -> Result<()> {
    if flags as u32 as usize & !known == 0 {
        Ok(())
    } else {
        Err(Errno::INVAL)
    }
}

pub fn status(fd: i32, path_at: usize, address: usize, flags: usize) -> Result {
    check_flags(flags, NO_FOLLOW | NO_AUTOMOUNT | EMPTY_PATH)?;
    user::write_bytes(address, &stat::stat(&metadata(fd, path_at, flags)?))?;
    Ok(0)
}

pub fn extended_status([fd, path_at, flags, mask, address, _]: [usize; 6]) -> Result {
    /// `AT_STATX_SYNC_TYPE`
    const SYNC: usize = 0x6000;
    /// `STATX__RESERVED`
    const RESERVED: usize = 1 << 31;
    check_flags(flags, NO_FOLLOW | NO_AUTOMOUNT | EMPTY_PATH | SYNC)?;
    check_flags(mask & RESERVED, 0)?;
    let fd = super::descriptor(fd);
    user::write_bytes(address, &stat::statx(&metadata(fd, path_at, flags)?))?;
    Ok(0)
}

pub fn file_system(path_at: usize, address: usize) -> Result {
    let place = place(CURRENT, path_at, 0)?;
    user::write_bytes(address, &stat::statfs(&place.node.file_system()))?;
    Ok(0)
}

pub fn access(fd: i32, path_at: usize, wanted: usize, flags: usize) -> Result {
    if wanted & !7 != 0 {
        return Err(Errno::INVAL);
    }
    let place = place(fd, path_at, flags)?;
    let mut credentials = task::current_process().credentials.borrow().clone();
    // The real user counts, not the effective one, unless AT_EACCESS is given.
    if flags & REMOVE_DIRECTORY == 0 {
        credentials.users[1] = credentials.users[0];
        credentials.groups[1] = credentials.groups[0];
    }
    let metadata = place.node.metadata();
    if wanted & 2 != 0 && metadata.kind != Kind::CharacterDevice {
        check_mount(&place.node)?;
    }
    if is_permitted(&metadata, &credentials, wanted as u32) {
        Ok(0)
    } else {
        Err(Errno::ACCES)
    }
}

/// `openat2`'s `struct open_how`: flags, mode and how to resolve.
pub fn open_how(fd: i32, path_at: usize, how_at: usize, size: usize) -> Result {
    if size < 24 {
        return Err(Errno::INVAL);
    }
    let [flags, mode, resolve]: [usize; 3] = user::read(how_at)?;
    if resolve != 0 {
        return Err(Errno::NOSYS);
    }
    open(fd, path_at, flags, mode)
}

pub fn open(fd: i32, path_at: usize, flags: usize, mode: usize) -> Result {
    let path = read_path(path_at)?;
    let description = open_path(fd, &path, flags, mode)?;
    files::add(description, flags & files::CLOSE_ON_EXEC != 0)
}

fn open_path(fd: i32, path: &[u8], flags: usize, mode: usize) -> Result<Rc<Description>> {
    let resolver = Resolver::new(fd, path)?;
    let access = flags & open_flags::ACCESS;
    let (readable, writable) = (access != 1, access == 1 || access == 2);
    let path_only = flags & open_flags::PATH != 0;
    let wanted_links = if flags & open_flags::NO_FOLLOW != 0 {
        Follow::No
    } else {
        Follow::Yes
    };
    if flags & open_flags::TEMPORARY == open_flags::TEMPORARY && !path_only {
        return open_temporary(&resolver, path, flags, mode);
    }
    let creates = flags & open_flags::CREATE != 0 && !path_only;
    let (place, created) = if creates {
        find_or_create(&resolver, path, flags, mode)?
    } else {
        (resolver.resolve(path, wanted_links)?, false)
    };
    let kind = place.node.kind();
    if kind == Kind::Link && !path_only {
        return Err(Errno::LOOP);
    }
    if flags & open_flags::DIRECTORY != 0 && kind != Kind::Directory {
        return Err(Errno::NOTDIR);
    }
    if !path_only {
        if kind == Kind::Directory && (writable || creates) {
            return Err(Errno::ISDIR);
        }
        let metadata = place.node.metadata();
        let wanted = u32::from(readable) << 2 | u32::from(writable) << 1;
        if !created && !is_permitted(&metadata, &resolver.credentials, wanted) {
            return Err(Errno::ACCES);
        }
        let own = resolver.credentials.is_root() || metadata.user == resolver.credentials.user();
        if flags & Flags::NO_ACCESS_TIME.bits() as usize != 0 && !own {
            return Err(Errno::PERM);
        }
        let changes = writable || flags & open_flags::TRUNCATE != 0;
        if changes && matches!(kind, Kind::File | Kind::Directory) {
            check_mount(&place.node)?;
            if metadata.permissions & 0o111 != 0 && task::is_running(&place.node) {
                return Err(Errno::TXTBSY);
            }
        }
        if flags & open_flags::TRUNCATE != 0 && kind == Kind::File && !created {
            place.node.change(&Change {
                size: Some(0),
                ..Change::default()
            })?;
            inotify::report_place(&place, Changes::WRITTEN);
        }
    }
    let flags_kept = Flags::from_bits_truncate(flags as u32);
    let how = OpenHow {
        read: readable,
        write: writable,
        no_wait: flags_kept.contains(Flags::NO_WAIT),
    };
    let file: Rc<dyn File> = if path_only {
        Rc::new(NodeFile(place.node.clone()))
    } else {
        match place.node.clone().open(how)? {
            Some(file) => file,
            None => Rc::new(NodeFile(place.node.clone())),
        }
    };
    if flags & open_flags::NO_TERMINAL == 0 && !path_only {
        take_terminal(&file);
    }
    if !path_only {
        inotify::report_place(&place, Changes::OPENED);
    }
    Ok(if path_only {
        Description::of_path(file, place)
    } else {
        Description::at(file, Some(place), readable, writable, flags_kept)
    })
}

/// The first terminal that the leader of a session opens becomes the session's.
fn take_terminal(file: &Rc<dyn File>) {
    let any: &dyn core::any::Any = &**file;
    let process = task::current_process();
    if process.session.get() == process.id
        && process.terminal.borrow().is_none()
        && let Some(slave) = any.downcast_ref::<crate::file::terminal::Slave>()
    {
        slave.terminal().attach(&process);
    }
}

/// Finds a file or makes it; whether it was made.
fn find_or_create(
    resolver: &Resolver,
    path: &[u8],
    flags: usize,
    mode: usize,
) -> Result<(Rc<Place>, bool)> {
    const MOST_LINKS: usize = 40;
    let mut start = resolver.start.clone();
    let mut path = path.to_vec();
    let exclusive = flags & open_flags::EXCLUSIVE != 0;
    for _ in 0..MOST_LINKS {
        let (parent, name) = resolver.walk().resolve_parent(&start, &path)?;
        if name.is_empty() {
            return if exclusive {
                Err(Errno::EXIST)
            } else {
                Err(Errno::ISDIR)
            };
        }
        match parent.child(&name) {
            Ok(_) if exclusive => return Err(Errno::EXIST),
            Ok(found) if found.node.kind() == Kind::Link => {
                if flags & open_flags::NO_FOLLOW != 0 {
                    return Err(Errno::LOOP);
                }
                if let Some(place) = found.node.jump() {
                    return Ok((place, false));
                }
                path = found.node.target()?;
                start = parent;
            }
            Ok(found) => return Ok((found, false)),
            Err(Errno::NOENT) => {
                if path.last() == Some(&b'/') {
                    return Err(Errno::ISDIR);
                }
                resolver.check_writable(&parent)?;
                let mask = task::current_process().paths().mask;
                let new = resolver.new_node(Kind::File, mode as u32 & 0o7777 & !mask);
                let node = create(&parent, &name, &new)?;
                return Ok((parent.with(&name, node), true));
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP)
}

/// A file without a name in a directory (`O_TMPFILE`).
fn open_temporary(
    resolver: &Resolver,
    path: &[u8],
    flags: usize,
    mode: usize,
) -> Result<Rc<Description>> {
    let directory = resolver.resolve(path, Follow::Yes)?;
    if directory.node.kind() != Kind::Directory {
        return Err(Errno::NOTDIR);
    }
    resolver.check_writable(&directory)?;
    let mask = task::current_process().paths().mask;
    let new = resolver.new_node(Kind::File, mode as u32 & 0o7777 & !mask);
    let name = alloc::format!("#{:016x}", crate::random::number());
    let node = directory.node.create(name.as_bytes(), &new)?;
    directory.node.remove(name.as_bytes(), false)?;
    let access = flags & open_flags::ACCESS;
    Ok(Description::at(
        Rc::new(NodeFile(node.clone())),
        Some(directory.with(name.as_bytes(), node)),
        access != 1,
        access != 0,
        Flags::from_bits_truncate(flags as u32),
    ))
}

pub fn make_directory(fd: i32, path_at: usize, mode: usize) -> Result {
    let path = read_path(path_at)?;
    let resolver = Resolver::new(fd, &path)?;
    let (parent, name) = resolver.new_entry(&path)?;
    let mask = task::current_process().paths().mask;
    create(
        &parent,
        &name,
        &resolver.new_node(Kind::Directory, mode as u32 & 0o1777 & !mask),
    )?;
    Ok(0)
}

pub fn make_node(fd: i32, path_at: usize, mode: usize, device: usize) -> Result {
    let path = read_path(path_at)?;
    let kind = if mode & 0o170_000 == 0 {
        Some(Kind::File)
    } else {
        Kind::from_mode(mode as u32)
    };
    let kind = kind
        .filter(|kind| !matches!(kind, Kind::Directory | Kind::Link))
        .ok_or(Errno::INVAL)?;
    let resolver = Resolver::new(fd, &path)?;
    if matches!(kind, Kind::CharacterDevice | Kind::BlockDevice) && !resolver.credentials.is_root()
    {
        return Err(Errno::PERM);
    }
    let (parent, name) = resolver.new_entry(&path)?;
    let mask = task::current_process().paths().mask;
    let mut new = resolver.new_node(kind, mode as u32 & 0o7777 & !mask);
    new.device_number = device as u64;
    create(&parent, &name, &new)?;
    Ok(0)
}

/// Makes the entry of a socket that is bound to a path; the socket's node.
pub fn make_socket(path: &[u8]) -> Result<Rc<Place>> {
    let resolver = Resolver::new(CURRENT, path)?;
    let (parent, name) = resolver.new_entry(path).map_err(|error| match error {
        Errno::EXIST => Errno::ADDRINUSE,
        other => other,
    })?;
    let mask = task::current_process().paths().mask;
    let new = resolver.new_node(Kind::Socket, 0o777 & !mask);
    let node = create(&parent, &name, &new)?;
    Ok(parent.with(&name, node))
}

/// Watches what a path names for a file of watches (`inotify_add_watch`).
pub fn watch(fd: i32, path_at: usize, mask: u32) -> Result {
    const ONLY_DIRECTORY: u32 = 0x0100_0000;
    const DO_NOT_FOLLOW: u32 = 0x0200_0000;
    let description = files::get(fd)?;
    let file = WatchFile::of(&description)?;
    let flags = if mask & DO_NOT_FOLLOW != 0 {
        NO_FOLLOW
    } else {
        0
    };
    let place = place(CURRENT, path_at, flags)?;
    if mask & ONLY_DIRECTORY != 0 && place.node.kind() != Kind::Directory {
        return Err(Errno::NOTDIR);
    }
    let process = task::current_process();
    if !is_permitted(&place.node.metadata(), &process.credentials.borrow(), 4) {
        return Err(Errno::ACCES);
    }
    file.watch(&place.node, mask).map(|number| number as usize)
}

/// The place that a path names, for the current process.
pub fn find(path: &[u8]) -> Result<Rc<Place>> {
    Resolver::new(CURRENT, path)?.resolve(path, Follow::Yes)
}

pub fn remove(fd: i32, path_at: usize, flags: usize) -> Result {
    check_flags(flags, REMOVE_DIRECTORY)?;
    let path = read_path(path_at)?;
    let directory = flags & REMOVE_DIRECTORY != 0;
    let resolver = Resolver::new(fd, &path)?;
    let (parent, name) = resolver.parent(&path)?;
    if name.is_empty() {
        let dots = path.ends_with(b"..");
        return Err(if dots && directory {
            Errno::NOTEMPTY
        } else if directory {
            Errno::INVAL
        } else {
            Errno::ISDIR
        });
    }
    let node = parent.node.lookup(&name)?;
    if !directory && path.last() == Some(&b'/') {
        return Err(if node.kind() == Kind::Directory {
            Errno::ISDIR
        } else {
            Errno::NOTDIR
        });
    }
    resolver.check_writable(&parent)?;
    resolver.check_sticky(&parent, &node)?;
    parent.node.remove(&name, directory)?;
    let mut changes = Changes::REMOVED;
    changes.set(Changes::DIRECTORY, directory);
    inotify::report(&parent.node, &name, changes, 0);
    inotify::report_removed(&node);
    Ok(0)
}

/// Whether a place is a directory or below it.
fn is_within(place: &Rc<Place>, directory: &Place) -> bool {
    let mut at = Some(place);
    while let Some(place) = at {
        if place.is(directory) {
            return true;
        }
        at = place.parent();
    }
    false
}

pub fn rename(old_fd: i32, old_at: usize, new_fd: i32, new_at: usize, flags: usize) -> Result {
    const NO_REPLACE: usize = 1;
    const EXCHANGE: usize = 2;
    if flags & !(NO_REPLACE | EXCHANGE) != 0 || flags == NO_REPLACE | EXCHANGE {
        return Err(Errno::INVAL);
    }
    let (old_path, new_path) = (read_path(old_at)?, read_path(new_at)?);
    let from = Resolver::new(old_fd, &old_path)?;
    let to = Resolver::new(new_fd, &new_path)?;
    let (old_parent, old_name) = from.parent(&old_path)?;
    let (new_parent, new_name) = to.parent(&new_path)?;
    if old_name.is_empty() || new_name.is_empty() {
        return Err(Errno::BUSY);
    }
    let node = old_parent.node.lookup(&old_name)?;
    let is_directory = node.kind() == Kind::Directory;
    if !is_directory && (old_path.last() == Some(&b'/') || new_path.last() == Some(&b'/')) {
        return Err(Errno::NOTDIR);
    }
    from.check_writable(&old_parent)?;
    to.check_writable(&new_parent)?;
    from.check_sticky(&old_parent, &node)?;
    let replaced = new_parent.node.lookup(&new_name).ok();
    if let Some(replaced) = &replaced {
        if flags & NO_REPLACE != 0 {
            return Err(Errno::EXIST);
        }
        to.check_sticky(&new_parent, replaced)?;
    }
    // A directory cannot be moved into itself.
    if is_directory && is_within(&new_parent, &old_parent.with(&old_name, node.clone())) {
        return Err(Errno::INVAL);
    }
    if flags & EXCHANGE != 0
        && let Some(replaced) = &replaced
        && is_within(&old_parent, &new_parent.with(&new_name, replaced.clone()))
    {
        return Err(Errno::INVAL);
    }
    old_parent.node.rename(
        &old_name,
        &new_parent.node,
        &new_name,
        flags & EXCHANGE != 0,
    )?;
    if !inotify::is_idle() {
        let cookie = inotify::next_cookie();
        let mut changes = Changes::MOVED_FROM;
        changes.set(Changes::DIRECTORY, is_directory);
        inotify::report(&old_parent.node, &old_name, changes, cookie);
        changes ^= Changes::MOVED_FROM | Changes::MOVED_TO;
        inotify::report(&new_parent.node, &new_name, changes, cookie);
        inotify::report(&node, b"", Changes::SELF_MOVED, 0);
        if let Some(replaced) = replaced.filter(|_| flags & EXCHANGE == 0) {
            inotify::report_removed(&replaced);
        }
    }
    Ok(0)
}

pub fn link(old_fd: i32, old_at: usize, new_fd: i32, new_at: usize, flags: usize) -> Result {
    check_flags(flags, LINK_FOLLOW | EMPTY_PATH)?;
    let follows = if flags & LINK_FOLLOW != 0 {
        0
    } else {
        NO_FOLLOW
    };
    let old = place(old_fd, old_at, flags & EMPTY_PATH | follows)?;
    if old.node.kind() == Kind::Directory {
        return Err(Errno::PERM);
    }
    let path = read_path(new_at)?;
    let resolver = Resolver::new(new_fd, &path)?;
    let (parent, name) = resolver.new_entry(&path)?;
    parent.node.link(&name, &old.node)?;
    inotify::report(&parent.node, &name, Changes::CREATED, 0);
    inotify::report_place(&old, Changes::METADATA);
    Ok(0)
}

pub fn symbolic_link(target_at: usize, fd: i32, path_at: usize) -> Result {
    let target = read_path(target_at)?;
    if target.is_empty() {
        return Err(Errno::NOENT);
    }
    let path = read_path(path_at)?;
    let resolver = Resolver::new(fd, &path)?;
    let (parent, name) = resolver.new_entry(&path)?;
    let mut new = resolver.new_node(Kind::Link, 0o777);
    new.target = target;
    create(&parent, &name, &new)?;
    Ok(0)
}

pub fn read_link(fd: i32, path_at: usize, address: usize, length: usize) -> Result {
    if length as isize <= 0 {
        return Err(Errno::INVAL);
    }
    // An empty path means the link that a descriptor stands for.
    let empty = if fd == CURRENT { 0 } else { EMPTY_PATH };
    let place = place(fd, path_at, NO_FOLLOW | empty)?;
    let target = place.node.target()?;
    let length = target.len().min(length);
    user::write_bytes(address, &target[..length])?;
    Ok(length)
}

pub fn change_permissions(fd: i32, path_at: usize, mode: usize) -> Result {
    let place = place(fd, path_at, 0)?;
    change_permissions_of(&place.node, mode)?;
    inotify::report_place(&place, Changes::METADATA);
    Ok(0)
}

/// Changes the permissions of a node, if it is the caller's.
pub fn change_permissions_of(node: &Rc<dyn Node>, mode: usize) -> Result {
    check_mount(node)?;
    let credentials = task::current_process().credentials.borrow().clone();
    if !credentials.is_root() && node.metadata().user != credentials.user() {
        return Err(Errno::PERM);
    }
    let mut permissions = mode as u32 & 0o7777;
    if !credentials.is_root() && !credentials.has_group(node.metadata().group) {
        // No user makes programs of a group that they are not in.
        permissions &= !0o2000;
    }
    node.change(&Change {
        permissions: Some(permissions),
        ..Change::default()
    })?;
    Ok(0)
}

pub fn change_owner(fd: i32, path_at: usize, user: usize, group: usize, flags: usize) -> Result {
    check_flags(flags, NO_FOLLOW | EMPTY_PATH)?;
    let place = place(fd, path_at, flags)?;
    change_owner_of(&place.node, user as u32, group as u32)?;
    inotify::report_place(&place, Changes::METADATA);
    Ok(0)
}

/// Changes the owner of a node; `u32::MAX` leaves one as it is.
pub fn change_owner_of(node: &Rc<dyn Node>, user: u32, group: u32) -> Result {
    check_mount(node)?;
    let credentials = task::current_process().credentials.borrow().clone();
    let metadata = node.metadata();
    let (user, group) = (
        Some(user).filter(|&user| user != u32::MAX),
        Some(group).filter(|&group| group != u32::MAX),
    );
    if !credentials.is_root() {
        let own = metadata.user == credentials.user()
            && user.is_none_or(|user| user == metadata.user)
            && group.is_none_or(|group| credentials.has_group(group));
        if !own {
            return Err(Errno::PERM);
        }
    }
    // Who owns a program must not inherit the powers of its set-id bits.
    // Without the group's execute bit the group's bit means something else.
    let is_program = metadata.permissions & 0o2010 == 0o2010;
    let cleared = metadata.permissions & if is_program { !0o6000 } else { !0o4000 };
    let permissions =
        (metadata.kind == Kind::File && cleared != metadata.permissions).then_some(cleared);
    node.change(&Change {
        user,
        group,
        permissions,
        ..Change::default()
    })?;
    Ok(0)
}

/// Sets both times; `None` is now.
fn set_times_of(place: &Place, times: Option<[Option<u64>; 2]>) -> Result {
    check_mount(&place.node)?;
    let credentials = task::current_process().credentials.borrow().clone();
    let metadata = place.node.metadata();
    let own = credentials.is_root() || metadata.user == credentials.user();
    if !own && (times.is_some() || !is_permitted(&metadata, &credentials, 2)) {
        return Err(if times.is_some() {
            Errno::PERM
        } else {
            Errno::ACCES
        });
    }
    let now = time::wall_clock();
    let [accessed, modified] = times.unwrap_or([Some(now), Some(now)]);
    place.node.change(&Change {
        accessed,
        modified,
        ..Change::default()
    })?;
    inotify::report_place(place, Changes::METADATA);
    Ok(0)
}

pub fn set_times(fd: i32, path_at: usize, times_at: usize, flags: usize) -> Result {
    const NOW: i64 = (1 << 30) - 1;
    const KEEP: i64 = (1 << 30) - 2;
    let place = if path_at == 0 {
        let description = files::get(fd)?;
        match &description.place {
            Some(place) => place.clone(),
            None => return Err(Errno::INVAL),
        }
    } else {
        place(fd, path_at, flags)?
    };
    if times_at == 0 {
        return set_times_of(&place, None);
    }
    let specs: [TimeSpec; 2] = user::read(times_at)?;
    let mut times = [None; 2];
    for (time, spec) in times.iter_mut().zip(specs) {
        *time = match spec.nanoseconds {
            NOW => Some(time::wall_clock()),
            KEEP => None,
            _ => Some(spec.to_nanoseconds()?),
        };
    }
    set_times_of(&place, Some(times))
}

pub fn set_times_micro(fd: i32, path_at: usize, times_at: usize) -> Result {
    let place = place(fd, path_at, 0)?;
    if times_at == 0 {
        return set_times_of(&place, None);
    }
    let values: [[i64; 2]; 2] = user::read(times_at)?;
    let nanoseconds = |[seconds, micros]: [i64; 2]| {
        TimeSpec {
            seconds,
            nanoseconds: micros.wrapping_mul(1000),
        }
        .to_nanoseconds()
        .map(Some)
    };
    set_times_of(
        &place,
        Some([nanoseconds(values[0])?, nanoseconds(values[1])?]),
    )
}

pub fn set_times_whole(path_at: usize, times_at: usize) -> Result {
    let place = place(CURRENT, path_at, 0)?;
    if times_at == 0 {
        return set_times_of(&place, None);
    }
    let values: [u64; 2] = user::read(times_at)?;
    set_times_of(
        &place,
        Some(values.map(|seconds| Some(seconds.saturating_mul(time::SECOND)))),
    )
}

pub fn truncate(path_at: usize, length: i64) -> Result {
    let size = u64::try_from(length).map_err(|_| Errno::INVAL)?;
    let place = place(CURRENT, path_at, 0)?;
    let metadata = place.node.metadata();
    let credentials = task::current_process().credentials.borrow().clone();
    if metadata.kind == Kind::Directory {
        return Err(Errno::ISDIR);
    }
    if !is_permitted(&metadata, &credentials, 2) {
        return Err(Errno::ACCES);
    }
    check_mount(&place.node)?;
    check_size(size)?;
    place.node.change(&Change {
        size: Some(size),
        ..Change::default()
    })?;
    inotify::report_place(&place, Changes::WRITTEN);
    Ok(0)
}

fn enter(place: Rc<Place>) -> Result<Rc<Place>> {
    let metadata = place.node.metadata();
    if metadata.kind != Kind::Directory {
        return Err(Errno::NOTDIR);
    }
    let process = task::current_process();
    let permitted = is_permitted(&metadata, &process.credentials.borrow(), 1);
    if permitted {
        Ok(place)
    } else {
        Err(Errno::ACCES)
    }
}

pub fn change_directory(path_at: usize) -> Result {
    let place = enter(place(CURRENT, path_at, 0)?)?;
    task::current_process().change_paths(|paths| paths.directory = place);
    Ok(0)
}

pub fn change_directory_to(fd: i32) -> Result {
    let place = files::get(fd)?.place.clone().ok_or(Errno::NOTDIR)?;
    let place = enter(place)?;
    task::current_process().change_paths(|paths| paths.directory = place);
    Ok(0)
}

pub fn change_root(path_at: usize) -> Result {
    let place = enter(place(CURRENT, path_at, 0)?)?;
    let process = task::current_process();
    if !process.credentials.borrow().is_root() {
        return Err(Errno::PERM);
    }
    process.change_paths(|paths| paths.root = place);
    Ok(0)
}

pub fn current_directory(address: usize, length: usize) -> Result {
    let paths = task::current_process().paths();
    let mut path = paths.directory.path_from(&paths.root);
    path.push(0);
    if path.len() > LONGEST_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    if path.len() > length {
        return Err(Errno::RANGE);
    }
    user::write_bytes(address, &path)?;
    Ok(path.len())
}

pub fn set_mask(mask: u32) -> Result {
    let process = task::current_process();
    let old = process.paths().mask;
    process.change_paths(|paths| paths.mask = mask & 0o777);
    Ok(old as usize)
}
