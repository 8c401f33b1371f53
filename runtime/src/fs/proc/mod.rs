//! `/proc`: what programs ask of processes and of the machine.

mod process;
mod system;

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::generated::{self, FixedNode, Tree};
use super::{DirectoryEntry, FileSystemStatus, Kind, Metadata, Node, mounts};
use crate::abi::errno::{Errno, Result};
use crate::task;

const MAGIC: u64 = 0x9fa0;
/// The number of the root's node.
const ROOT: u64 = 1;
/// Where the processes begin in the order of the root's entries.
const FIRST_PROCESS: u64 = 1 << 16;

/// The root of `/proc`.
struct Root(Tree);

/// Makes the file system; its root.
pub fn new() -> Rc<dyn Node> {
    Rc::new(Root(Tree {
        device: mounts::next_device(),
        magic: MAGIC,
    }))
}

/// A link to the process or the thread that looks at it.
struct Own {
    tree: Tree,
    of_thread: bool,
}

impl Node for Own {
    fn metadata(&self) -> Metadata {
        let number = ROOT + 1 + u64::from(self.of_thread);
        self.tree.metadata(number, Kind::Link, 0o777)
    }

    fn target(&self) -> Result<Vec<u8>> {
        let thread = task::current();
        let target = if self.of_thread {
            alloc::format!("{}/task/{}", thread.process.id, thread.id())
        } else {
            alloc::format!("{}", thread.process.id)
        };
        Ok(target.into_bytes())
    }

    fn file_system(&self) -> FileSystemStatus {
        self.tree.status()
    }
}

/// The number that a name is: without a sign and without zeros before it.
fn number(name: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(name).ok()?;
    let number = text.parse().ok()?;
    (number >= 0 && alloc::format!("{number}") == text).then_some(number)
}

const OWN: [(&str, bool); 2] = [("self", false), ("thread-self", true)];

impl Node for Root {
    fn metadata(&self) -> Metadata {
        self.0.metadata(ROOT, Kind::Directory, 0o555)
    }

    fn kind(&self) -> Kind {
        Kind::Directory
    }

    fn lookup(&self, name: &[u8]) -> Result<Rc<dyn Node>> {
        if let Some(&(_, of_thread)) = OWN.iter().find(|own| own.0.as_bytes() == name) {
            return Ok(Rc::new(Own {
                tree: self.0,
                of_thread,
            }));
        }
        if let Some(item) = generated::find(system::ITEMS, name) {
            return Ok(FixedNode::new(self.0, item));
        }
        let id = number(name).ok_or(Errno::NOENT)?;
        let process = task::find_process(id)
            .or_else(|| Some(task::find_thread(id)?.process.clone()))
            .ok_or(Errno::NOENT)?;
        Ok(process::directory(self.0, process.id))
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<DirectoryEntry>> {
        let items = system::ITEMS.len() as u64;
        let mut entries = generated::entries(system::ITEMS, from.min(items), most);
        for (index, (name, of_thread)) in (items..).zip(OWN) {
            if index >= from {
                entries.push(DirectoryEntry {
                    name: name.as_bytes().into(),
                    number: ROOT + 1 + u64::from(of_thread),
                    kind: Kind::Link,
                    next: index + 1,
                });
            }
        }
        let processes = task::all_processes();
        let listed = processes
            .iter()
            .filter(|process| FIRST_PROCESS + process.id as u64 >= from);
        entries.extend(
            listed.map(|process| process::entry(process.id, FIRST_PROCESS + process.id as u64 + 1)),
        );
        entries.truncate(most);
        Ok(entries)
    }

    fn file_system(&self) -> FileSystemStatus {
        self.0.status()
    }
}
