//! Merges concatenated newc archives into one tree, as Linux unpacks them.

use std::collections::HashMap;
use std::io::{self, Read};

use super::tar::Unpacker;
use crate::archive::{self, Entry, Kind as EntryKind, Reader};
use crate::tree::{Kind, Node};
use crate::{Error, shown};

/// Identity of the file of an entry: archive, filesystem, inode number.
type Identity = (u32, (u32, u32), u32);

/// Unpacks all entries of a reader.
pub(crate) fn merge<R: Read>(
    reader: &mut Reader<R>,
    unpacker: &mut Unpacker<'_>,
    fault: &dyn Fn(archive::Error) -> Error,
) -> Result<(), Error> {
    // The names of files with several names; any of them may have the content.
    let mut names: HashMap<Identity, Vec<Vec<u8>>> = HashMap::new();
    while let Some(entry) = reader.next_entry().map_err(fault)? {
        let path = entry.path.clone();
        let at = reader.position();
        let damaged = |source: io::Error| fault(archive::Error::Io { at, source });
        if path.is_empty() {
            continue;
        }
        let Some(mut node) = described(&entry, unpacker)? else {
            continue;
        };
        let (mut first, mut others) = (None, Vec::new());
        if entry.kind == EntryKind::File && entry.nlink > 1 {
            let known = names
                .entry((entry.archive, entry.filesystem, entry.ino))
                .or_default();
            first = known.first().and_then(|first| unpacker.get(first)).cloned();
            if entry.size > 0 {
                others.clone_from(known);
            }
            known.push(path.clone());
        }
        if let Some(first) = first.filter(|_| entry.size == 0) {
            node = first;
            unpacker.put(path, node, None, &damaged)?;
            continue;
        }
        let new = (entry.kind == EntryKind::File).then_some(&mut *reader as &mut dyn Read);
        unpacker.put(path.clone(), node, new, &damaged)?;
        for other in others {
            if let Some(node) = unpacker.get(&path).cloned() {
                unpacker.put(other, node, None, &damaged)?;
            }
        }
    }
    Ok(())
}

fn described(entry: &Entry, unpacker: &mut Unpacker<'_>) -> Result<Option<Node>, Error> {
    let (major, minor) = entry.device;
    let kind = match entry.kind {
        EntryKind::Directory => Kind::Directory,
        EntryKind::File => unpacker.new_file(&entry.path, u64::from(entry.size))?,
        EntryKind::Symlink => Kind::Symlink(entry.target.clone().unwrap_or_default().into()),
        EntryKind::CharDevice => Kind::CharDevice { major, minor },
        EntryKind::BlockDevice => Kind::BlockDevice { major, minor },
        EntryKind::Fifo => Kind::Fifo,
        EntryKind::Socket => {
            unpacker.warn(format!("left out `{}`: it is a socket", shown(&entry.path)));
            return Ok(None);
        }
    };
    Ok(Some(Node {
        kind,
        permissions: entry.permissions,
        uid: entry.uid,
        gid: entry.gid,
    }))
}
