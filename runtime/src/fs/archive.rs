//! The root archive: CPIO in its "new ASCII" form (newc), as kraft and Linux use it.
//! The content of files stays where it is in the archive.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::any::Any;

use super::memory::MemoryNode;
use super::{Change, Kind, NewNode, Node};

const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
/// The deepest directory that is unpacked.
const DEEPEST: usize = 256;

/// One entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The path.
    pub path: &'a [u8],
    /// The kind and the permissions.
    pub mode: u32,
    /// The owner.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// How many names the node has.
    pub links: u32,
    /// The number of the node: names with the same number are one node.
    pub number: u32,
    /// Seconds since 1970.
    pub modified: u32,
    /// Which device it is, if it is one.
    pub device_number: u64,
    /// The content.
    pub data: &'a [u8],
}

/// The entries of an archive, up to its end or the first one that is cut or wrong.
pub struct Entries<'a> {
    rest: &'a [u8],
}

/// Reads an archive.
pub fn entries(archive: &[u8]) -> Entries<'_> {
    Entries { rest: archive }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |value, digit| {
        Some(value << 4 | (*digit as char).to_digit(16)?)
    })
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let header = self.rest.get(..HEADER)?;
        if !matches!(header.get(..6)?, b"070701" | b"070702") {
            return None;
        }
        let field = |index: usize| number(header.get(6 + index * 8..14 + index * 8)?);
        let name_length = field(11)? as usize;
        let size = field(6)? as usize;
        let name = self.rest.get(HEADER..HEADER.checked_add(name_length)?)?;
        let path = name.split(|&byte| byte == 0).next()?;
        if path == TRAILER {
            return None;
        }
        let data_at = (HEADER + name_length).next_multiple_of(4);
        let data = self.rest.get(data_at..data_at.checked_add(size)?)?;
        let next = (data_at + size).next_multiple_of(4).min(self.rest.len());
        let entry = Entry {
            path,
            mode: field(1)?,
            user: field(2)?,
            group: field(3)?,
            links: field(4)?,
            number: field(0)?,
            modified: field(5)?,
            device_number: super::devices::number(field(9)?, field(10)?),
            data,
        };
        self.rest = self.rest.get(next..)?;
        Some(entry)
    }
}

/// Makes the tree of an archive below `root`. What cannot be made is left out.
pub fn unpack(archive: &'static [u8], root: &Rc<MemoryNode>) {
    let mut linked: BTreeMap<u32, Rc<dyn Node>> = BTreeMap::new();
    for entry in entries(archive) {
        let _ = unpack_entry(&entry, root, &mut linked);
    }
}

fn unpack_entry(
    entry: &Entry<'static>,
    root: &Rc<MemoryNode>,
    linked: &mut BTreeMap<u32, Rc<dyn Node>>,
) -> Option<()> {
    let kind = Kind::from_mode(entry.mode)?;
    let attributes = Change {
        permissions: Some(entry.mode & 0o7777),
        user: Some(entry.user),
        group: Some(entry.group),
        modified: Some(u64::from(entry.modified) * 1_000_000_000),
        ..Change::default()
    };
    let mut parts = entry
        .path
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .take(DEEPEST)
        .peekable();
    let mut directory: Rc<dyn Node> = root.clone();
    let name = loop {
        let Some(part) = parts.next() else {
            // The root itself.
            root.change(&attributes).ok()?;
            return Some(());
        };
        if part == b".." {
            return None;
        }
        if parts.peek().is_none() {
            break part;
        }
        directory = directory_in(&directory, part)?;
    };
    if kind == Kind::Directory {
        directory_in(&directory, name)?.change(&attributes).ok()?;
        return Some(());
    }
    // The last entry with a name wins.
    let _ = directory.remove(name, false);
    // Of a node with several names only one entry has the data: the last one, by habit.
    if entry.links > 1
        && let Some(first) = linked.get(&entry.number)
    {
        directory.link(name, first).ok()?;
        if !entry.data.is_empty() {
            set_data(first, entry.data);
        }
        first.change(&attributes).ok()?;
        return Some(());
    }
    let new = NewNode {
        kind,
        permissions: entry.mode & 0o7777,
        user: entry.user,
        group: entry.group,
        device_number: entry.device_number,
        target: if kind == Kind::Link {
            entry.data.to_vec()
        } else {
            alloc::vec::Vec::new()
        },
    };
    let node = directory.create(name, &new).ok()?;
    if kind == Kind::File {
        set_data(&node, entry.data);
    }
    node.change(&attributes).ok()?;
    if entry.links > 1 {
        linked.insert(entry.number, node);
    }
    Some(())
}

fn set_data(node: &Rc<dyn Node>, data: &'static [u8]) {
    let any: &dyn Any = &**node;
    if let Some(memory) = any.downcast_ref::<MemoryNode>() {
        memory.set_archived(data);
    }
}

/// The directory `name`, made if it is missing.
pub fn directory_in(parent: &Rc<dyn Node>, name: &[u8]) -> Option<Rc<dyn Node>> {
    if let Ok(node) = parent.lookup(name) {
        return (node.kind() == Kind::Directory).then_some(node);
    }
    let new = NewNode {
        kind: Kind::Directory,
        permissions: 0o755,
        user: 0,
        group: 0,
        device_number: 0,
        target: alloc::vec::Vec::new(),
    };
    parent.create(name, &new).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn newc(path: &str, mode: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = format!(
            "070701{:08X}{mode:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{path}\0",
            1, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, path.len() + 1, 0
        )
        .into_bytes();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn entries_end_at_the_trailer() {
        let mut archive = newc("bin/sh", 0o100_755, b"#!");
        archive.extend(newc("TRAILER!!!", 0, b""));
        archive.extend(newc("after", 0o100_644, b""));
        let read: Vec<_> = entries(&archive)
            .map(|entry| (entry.path, entry.mode, entry.data))
            .collect();
        assert_eq!(read, [(&b"bin/sh"[..], 0o100_755, &b"#!"[..])]);
    }

    #[test]
    fn a_cut_archive_ends_before_the_entry_that_is_cut() {
        let archive = newc("a", 0o100_644, b"12345678");
        for length in 0..archive.len() - 1 {
            assert_eq!(entries(&archive[..length]).count(), 0, "{length}");
        }
        let mut wrong = archive.clone();
        wrong[54..62].copy_from_slice(b"FFFFFFFF");
        assert_eq!(entries(&wrong).count(), 0);
    }

    /// Makes the tree of an archive; what it has, one line for each name.
    fn tree(archive: Vec<u8>) -> Vec<alloc::string::String> {
        let root = crate::fs::memory::new_tree(0o755);
        unpack(archive.leak(), &root);
        let mut lines = Vec::new();
        let mut open: Vec<(alloc::string::String, Rc<dyn Node>)> =
            alloc::vec![(alloc::string::String::new(), root)];
        while let Some((path, node)) = open.pop() {
            for entry in node.entries(0, usize::MAX).unwrap() {
                let child = node.lookup(&entry.name).unwrap();
                let name = format!("{path}/{}", entry.name.escape_ascii());
                let metadata = child.metadata();
                lines.push(format!(
                    "{name} {:o} {}",
                    metadata.permissions, metadata.size
                ));
                if metadata.kind == Kind::Directory {
                    open.push((name, child));
                }
            }
        }
        lines.retain(|line| !line.contains(" 755 "));
        lines.sort_unstable();
        lines
    }

    fn linked(path: &str, number: u32, data: &[u8]) -> Vec<u8> {
        let mut entry = newc(path, 0o100_600, data);
        entry[6..14].copy_from_slice(format!("{number:08X}").as_bytes());
        entry[38..46].copy_from_slice(b"00000002");
        entry
    }

    #[test]
    fn files_may_come_before_their_directories() {
        let _machine = crate::arch::machine();
        let archive = [
            newc("./a/b/file", 0o100_644, b"12345"),
            newc("a/b", 0o040_700, b""),
            newc("/a//other", 0o100_640, b""),
            newc(".", 0o040_750, b""),
            newc("a/link", 0o120_777, b"b/file"),
        ];
        let tree = tree(archive.concat());
        assert_eq!(
            tree,
            [
                "/a/b 700 50",
                "/a/b/file 644 5",
                "/a/link 777 6",
                "/a/other 640 0"
            ]
            .map(|line| if line == "/a/b 700 50" {
                "/a/b 700 60"
            } else {
                line
            })
        );
    }

    #[test]
    fn names_of_one_node_share_the_data_of_the_last() {
        let _machine = crate::arch::machine();
        let archive = [
            linked("first", 9, b""),
            linked("d/second", 9, b"content"),
            linked("other", 10, b"x"),
        ];
        assert_eq!(
            tree(archive.concat()),
            ["/d/second 600 7", "/first 600 7", "/other 600 1"]
        );
    }

    #[test]
    fn names_that_lead_out_or_through_files_are_left_out() {
        let _machine = crate::arch::machine();
        let archive = [
            newc("../out", 0o100_644, b"x"),
            newc("a/../out", 0o100_644, b"x"),
            newc("..", 0o040_700, b""),
            newc("file", 0o100_644, b"x"),
            newc("file/below", 0o100_644, b"x"),
            newc("link", 0o120_777, b"/"),
            newc("link/through", 0o100_644, b"x"),
            newc("odd", 0o030_644, b"x"),
        ];
        assert_eq!(tree(archive.concat()), ["/file 644 1", "/link 777 1"]);
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one() {
        let _machine = crate::arch::machine();
        let archive = [
            newc("a", 0o100_644, b"x"),
            newc("a", 0o100_600, b"xyz"),
            newc("d/x", 0o100_644, b""),
            newc("d", 0o100_644, b"not over a directory"),
        ];
        assert_eq!(tree(archive.concat()), ["/a 600 3", "/d/x 644 0"]);
    }

    #[test]
    fn deep_paths_do_not_end_the_kernel() {
        let _machine = crate::arch::machine();
        let deep = "d/".repeat(2000) + "file";
        tree(newc(&deep, 0o100_644, b"x"));
    }
}
