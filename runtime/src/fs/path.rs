//! Paths: from names to nodes.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::{Kind, Metadata, Node, mounts};
use crate::abi::errno::{Errno, Result};
use crate::task::Credentials;

/// The longest name of an entry.
pub const LONGEST_NAME: usize = 255;
/// The longest path (`PATH_MAX`).
pub const LONGEST_PATH: usize = 4096;
/// The most symbolic links on one path.
const MOST_LINKS: u32 = 40;

/// A node where it is in the tree.
pub struct Place {
    /// The node.
    pub node: Rc<dyn Node>,
    /// The directory that it is in; none for the root of the tree.
    parent: Option<Rc<Place>>,
    name: Box<[u8]>,
}

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// It is.
    Yes,
    /// The link itself is wanted.
    No,
}

/// What a walk along a path needs to know.
pub struct Walk<'a> {
    /// What `/` is.
    pub root: Rc<Place>,
    /// Who walks.
    pub credentials: &'a Credentials,
}

impl Place {
    /// The root of a tree.
    pub fn root(node: Rc<dyn Node>) -> Rc<Place> {
        Rc::new(Place {
            node,
            parent: None,
            name: Box::default(),
        })
    }

    /// A place that is not in the tree, such as a memory file's.
    pub fn detached(node: Rc<dyn Node>, name: &[u8]) -> Rc<Place> {
        Rc::new(Place {
            node,
            parent: None,
            name: name.into(),
        })
    }

    /// The directory that the place is in.
    pub fn parent(&self) -> Option<&Rc<Place>> {
        self.parent.as_ref()
    }

    /// The last part of its path.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The entry `name` of this directory, or what is mounted there.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`
    pub fn child(self: &Rc<Place>, name: &[u8]) -> Result<Rc<Place>> {
        let node = self.node.lookup(name)?;
        let node = mounts::mounted_at(&node).unwrap_or(node);
        Ok(self.with(name, node))
    }

    /// The place that `node` has as the entry `name` of this directory.
    pub fn with(self: &Rc<Place>, name: &[u8], node: Rc<dyn Node>) -> Rc<Place> {
        Rc::new(Place {
            node,
            parent: Some(self.clone()),
            name: name.into(),
        })
    }

    /// Whether both are the same node.
    pub fn is(&self, other: &Place) -> bool {
        self.node.identity() == other.node.identity()
    }

    /// The path from `root`; the path from the tree's root where it is not below it.
    pub fn path_from(&self, root: &Place) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut at = self;
        while let Some(parent) = &at.parent {
            if at.is(root) {
                break;
            }
            parts.push(&at.name);
            at = parent;
        }
        let mut path = Vec::new();
        for part in parts.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(part);
        }
        if path.is_empty() {
            if self.parent.is_none() && !self.name.is_empty() {
                return self.name.to_vec();
            }
            path.push(b'/');
        }
        path
    }
}

/// Whether someone may do with a node what the bits say (4 read, 2 write, 1 execute).
pub fn is_permitted(metadata: &Metadata, credentials: &Credentials, wanted: u32) -> bool {
    if credentials.is_root() {
        return wanted & 1 == 0
            || metadata.kind == Kind::Directory
            || metadata.permissions & 0o111 != 0;
    }
    let shift = if metadata.user == credentials.user() {
        6
    } else if metadata.group == credentials.group() || credentials.others.contains(&metadata.group)
    {
        3
    } else {
        0
    };
    metadata.permissions >> shift & wanted == wanted
}

impl Walk<'_> {
    /// The place that a path leads to from `start`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `EACCES`, `ENAMETOOLONG`
    pub fn resolve(&self, start: &Rc<Place>, path: &[u8], follow: Follow) -> Result<Rc<Place>> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        self.walk(start, path, follow, &mut 0)
    }

    /// The directory in which the last part of a path is, and that part. The part may be
    /// missing in it; it is empty when the path leads to a root, `.` or `..`.
    ///
    /// # Errors
    /// As [`Walk::resolve`].
    pub fn resolve_parent(&self, start: &Rc<Place>, path: &[u8]) -> Result<(Rc<Place>, Vec<u8>)> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let trimmed = trim_slashes(path);
        let (directory, name) = match trimmed.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&trimmed[..=slash], &trimmed[slash + 1..]),
            None => (&b"."[..], trimmed),
        };
        if name.len() > LONGEST_NAME {
            return Err(Errno::NAMETOOLONG);
        }
        if name.is_empty() || name == b"." || name == b".." {
            return Ok((self.resolve(start, path, Follow::Yes)?, Vec::new()));
        }
        let parent = self.walk(start, directory, Follow::Yes, &mut 0)?;
        self.check_directory(&parent)?;
        Ok((parent, name.to_vec()))
    }

    fn check_directory(&self, place: &Place) -> Result<()> {
        let metadata = place.node.metadata();
        if metadata.kind != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        if !is_permitted(&metadata, self.credentials, 1) {
            return Err(Errno::ACCES);
        }
        Ok(())
    }

    fn walk(
        &self,
        start: &Rc<Place>,
        path: &[u8],
        follow: Follow,
        links: &mut u32,
    ) -> Result<Rc<Place>> {
        if path.len() > LONGEST_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        let mut at = if path.first() == Some(&b'/') {
            self.root.clone()
        } else {
            start.clone()
        };
        let must_be_directory = path.last() == Some(&b'/');
        let mut parts = path
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
            .peekable();
        while let Some(part) = parts.next() {
            self.check_directory(&at)?;
            if part == b"." {
                continue;
            }
            if part == b".." {
                if !at.is(&self.root)
                    && let Some(parent) = &at.parent
                {
                    at = parent.clone();
                }
                continue;
            }
            if part.len() > LONGEST_NAME {
                return Err(Errno::NAMETOOLONG);
            }
            let next = at.child(part)?;
            let last = parts.peek().is_none();
            if next.node.kind() == Kind::Link
                && (!last || follow == Follow::Yes || must_be_directory)
            {
                *links += 1;
                if *links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                at = match next.node.jump() {
                    Some(place) => place,
                    None => {
                        let target = next.node.target()?;
                        if target.is_empty() {
                            return Err(Errno::NOENT);
                        }
                        self.walk(&at, &target, Follow::Yes, links)?
                    }
                };
            } else {
                at = next;
            }
        }
        if must_be_directory && at.node.kind() != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        Ok(at)
    }
}

/// A path without the slashes at its end; the root keeps one.
fn trim_slashes(path: &[u8]) -> &[u8] {
    let mut trimmed = path;
    while let [rest @ .., b'/'] = trimmed
        && !rest.is_empty()
    {
        trimmed = rest;
    }
    trimmed
}

#[cfg(test)]
mod tests;
