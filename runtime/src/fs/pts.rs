//! `/dev/pts`: the terminals that programs have made.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::generated::Tree;
use super::{
    Change, DirectoryEntry, FileSystemStatus, Kind, Metadata, Node, OpenHow, devices, mounts,
};
use crate::abi::errno::{Errno, Result};
use crate::file::{File, terminal};

const MAGIC: u64 = 0x1cd1;
const ROOT: u64 = 1;
const MULTIPLEXER: u64 = 2;

/// The root of the file system.
struct Root(Tree);

/// The node of a terminal, or of `ptmx`.
struct Device {
    tree: Tree,
    /// Which terminal it is; `None` for `ptmx`.
    terminal: Option<u32>,
}

/// Makes the file system; its root.
pub fn new() -> Rc<dyn Node> {
    Rc::new(Root(Tree {
        device: mounts::next_device(),
        magic: MAGIC,
    }))
}

fn number(terminal: u32) -> u64 {
    u64::from(terminal) + MULTIPLEXER + 1
}

impl Node for Root {
    fn metadata(&self) -> Metadata {
        self.0.metadata(ROOT, Kind::Directory, 0o755)
    }

    fn lookup(&self, name: &[u8]) -> Result<Rc<dyn Node>> {
        let terminal = if name == b"ptmx" {
            None
        } else {
            let number = core::str::from_utf8(name)
                .ok()
                .and_then(|text| text.parse().ok());
            let number = number.filter(|number| terminal::open_pairs().contains(number));
            Some(number.ok_or(Errno::NOENT)?)
        };
        Ok(Rc::new(Device {
            tree: self.0,
            terminal,
        }))
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<DirectoryEntry>> {
        let multiplexer = (b"ptmx".to_vec(), MULTIPLEXER);
        let terminals = terminal::open_pairs()
            .into_iter()
            .map(|terminal| (alloc::format!("{terminal}").into_bytes(), number(terminal)));
        Ok(core::iter::once(multiplexer)
            .chain(terminals)
            .filter(|(_, number)| *number >= from)
            .map(|(name, number)| DirectoryEntry {
                name: name.into(),
                number,
                kind: Kind::CharacterDevice,
                next: number + 1,
            })
            .take(most)
            .collect())
    }

    fn file_system(&self) -> FileSystemStatus {
        self.0.status()
    }
}

impl Node for Device {
    fn metadata(&self) -> Metadata {
        let Some(terminal) = self.terminal else {
            let mut metadata = self
                .tree
                .metadata(MULTIPLEXER, Kind::CharacterDevice, 0o666);
            metadata.device_number = devices::number(5, 2);
            return metadata;
        };
        let mut metadata = self
            .tree
            .metadata(number(terminal), Kind::CharacterDevice, 0o620);
        metadata.device_number = devices::number(136, terminal);
        if let Some((user, group, permissions)) = terminal::owner(terminal) {
            (metadata.user, metadata.group) = (user, group);
            metadata.permissions = permissions;
        }
        metadata
    }

    fn change(&self, change: &Change) -> Result<()> {
        let Some(terminal) = self.terminal else {
            return Ok(());
        };
        let metadata = self.metadata();
        terminal::set_owner(
            terminal,
            (
                change.user.unwrap_or(metadata.user),
                change.group.unwrap_or(metadata.group),
                change.permissions.unwrap_or(metadata.permissions),
            ),
        );
        Ok(())
    }

    fn open(self: Rc<Self>, _how: OpenHow) -> Result<Option<Rc<dyn File>>> {
        match self.terminal {
            Some(terminal) => terminal::open_slave(terminal).map(Some),
            None => terminal::open_device(2).map(Some),
        }
    }

    fn file_system(&self) -> FileSystemStatus {
        self.tree.status()
    }
}
