//! Calls on extended attributes.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::{files, paths};
use crate::abi::errno::{Errno, Result};
use crate::file::inotify::{self, Changes};
use crate::fs::attributes::{Before, LONGEST_VALUE};
use crate::fs::{Kind, Node, Place, is_permitted};
use crate::mm::user;
use crate::task;

/// The most bytes of a name (`XATTR_NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// Whose attributes a call is about.
pub struct Target {
    node: Rc<dyn Node>,
    place: Option<Rc<Place>>,
}

impl Target {
    /// What a path names.
    pub fn at(path_at: usize, flags: usize) -> Result<Target> {
        let place = paths::place(paths::CURRENT, path_at, flags)?;
        Ok(Target {
            node: place.node.clone(),
            place: Some(place),
        })
    }

    /// What a descriptor stands for.
    pub fn open(fd: i32) -> Result<Target> {
        let description = files::get_open(fd)?;
        let place = description.place.clone();
        // A device is open by another file than its node.
        let named = place.as_ref().map(|place| &place.node);
        let node = description.file.node().or(named);
        let node = node.ok_or(Errno::OPNOTSUPP)?.clone();
        Ok(Target { node, place })
    }

    fn changed(&self) {
        if let Some(place) = &self.place {
            inotify::report_place(place, Changes::METADATA);
        }
    }
}

fn read_name(address: usize) -> Result<Vec<u8>> {
    let name = user::read_string(address, LONGEST_NAME).map_err(|error| match error {
        Errno::NAMETOOLONG => Errno::RANGE,
        other => other,
    })?;
    if name.is_empty() {
        return Err(Errno::RANGE);
    }
    Ok(name)
}

/// Checks that the caller may see or set an attribute: what a name begins with says who may.
///
/// Source: xattr(7).
fn check(node: &Rc<dyn Node>, name: &[u8], write: bool) -> Result<()> {
    let credentials = task::current_process().credentials.borrow().clone();
    let (class, rest) = match name.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&name[..dot], &name[dot + 1..]),
        None => return Err(Errno::OPNOTSUPP),
    };
    let metadata = node.metadata();
    match class {
        b"user" => {
            if !matches!(metadata.kind, Kind::File | Kind::Directory) {
                return Err(if write { Errno::PERM } else { Errno::NODATA });
            }
            let own = credentials.is_root() || metadata.user == credentials.user();
            let sticky = metadata.kind == Kind::Directory && metadata.permissions & 0o1000 != 0;
            if write && sticky && !own {
                return Err(Errno::PERM);
            }
            if !is_permitted(&metadata, &credentials, if write { 2 } else { 4 }) {
                return Err(Errno::ACCES);
            }
        }
        b"trusted" if !credentials.is_root() => {
            return Err(if write { Errno::PERM } else { Errno::NODATA });
        }
        b"security" if write && !credentials.is_root() => return Err(Errno::PERM),
        b"trusted" | b"security" => {}
        // Lists of access rights among them: no one would heed them.
        _ => return Err(Errno::OPNOTSUPP),
    }
    if rest.is_empty() {
        return Err(Errno::INVAL);
    }
    if write {
        paths::check_mount(node)?;
    }
    Ok(())
}

/// Writes what a call gives; without space only its length.
fn give(bytes: &[u8], address: usize, size: usize) -> Result {
    if size > 0 {
        if size < bytes.len() {
            return Err(Errno::RANGE);
        }
        user::write_bytes(address, bytes)?;
    }
    Ok(bytes.len())
}

pub fn get(target: &Target, name_at: usize, value_at: usize, size: usize) -> Result {
    let name = read_name(name_at)?;
    check(&target.node, &name, false)?;
    give(&target.node.attribute(&name)?, value_at, size)
}

pub fn set(target: &Target, name_at: usize, value_at: usize, size: usize, flags: usize) -> Result {
    let before = match flags as u32 {
        0 => Before::Any,
        1 => Before::Missing,
        2 => Before::Present,
        _ => return Err(Errno::INVAL),
    };
    let name = read_name(name_at)?;
    if size > LONGEST_VALUE {
        return Err(Errno::TOO_BIG);
    }
    let mut value = Vec::new();
    value.try_reserve_exact(size).map_err(|_| Errno::NOMEM)?;
    value.resize(size, 0);
    user::read_bytes(value_at, &mut value)?;
    check(&target.node, &name, true)?;
    target.node.set_attribute(&name, value, before)?;
    target.changed();
    Ok(0)
}

pub fn remove(target: &Target, name_at: usize) -> Result {
    let name = read_name(name_at)?;
    check(&target.node, &name, true)?;
    target.node.remove_attribute(&name)?;
    target.changed();
    Ok(0)
}

pub fn list(target: &Target, list_at: usize, size: usize) -> Result {
    let mut names = target.node.attribute_names();
    let credentials = task::current_process().credentials.borrow().clone();
    if !credentials.is_root() {
        let seen = names.split_inclusive(|&byte| byte == 0);
        names = seen
            .filter(|name| !name.starts_with(b"trusted."))
            .collect::<Vec<_>>()
            .concat();
    }
    give(&names, list_at, size)
}
