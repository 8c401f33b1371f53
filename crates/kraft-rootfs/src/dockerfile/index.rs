//! Index of a layer: its entries, recorded when the layer is created. The files on disk are not
//! enough: an ordinary user cannot read everything that a command leaves (a directory of mode
//! 000), and devices and, without privileges, owners are not on disk.

use std::collections::{HashMap, HashSet};
use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kraft_sys::fs::Error as FileError;
use serde::{Deserialize, Serialize};

use super::layers::{HELD, Layer, ROOT};
use crate::ids::IdMap;
use crate::newc::PERMISSIONS;
use crate::tree::{Content, Kind, Node, Place, Tree};
use crate::{Error, path, shown};

/// Extended attribute of an opaque directory: in a mount by root, and in a mount with `userxattr`.
/// Commands cannot set the one that their overlay uses.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// The entries of a layer, directories before their contents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    /// Whether the layer is a complete root that hides all layers below.
    pub(super) complete: bool,
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: Bytes,
    what: What,
    mode: u32,
    uid: u32,
    gid: u32,
}

#[derive(Debug, Serialize, Deserialize)]
enum What {
    /// A directory; an opaque one hides the same directory in lower layers.
    Directory {
        opaque: bool,
    },
    /// A file. Entries with the same `link`, unless 0, are hard links. `held` is the number of a
    /// readable copy if the file itself is not readable.
    File {
        size: u64,
        link: u64,
        held: Option<u64>,
    },
    Symlink {
        target: Bytes,
    },
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
    /// A socket, which no archive can contain.
    Socket,
    /// An entry of a lower layer that was removed.
    Whiteout,
}

/// A path or link target: text if it is UTF-8.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Raw(Vec<u8>),
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Raw(error.into_bytes()),
        }
    }
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }
}

/// Options of [`Index::capture`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Capture<'a> {
    /// Users and groups of files on disk; owners that it does not have come from `before`.
    pub(super) ids: Option<&'a IdMap>,
    /// The tree before the layer.
    pub(super) before: &'a Tree,
    /// Whether the layer is a complete root.
    pub(super) complete: bool,
    /// Whether the layer includes the devices of `before`, which are not created on disk.
    pub(super) devices: bool,
}

impl Index {
    /// Indexes the files of a new layer in `dir`. The files stay unchanged; those that this user
    /// may not read are copied to [`HELD`].
    pub(super) fn capture(dir: &Path, how: &Capture<'_>) -> Result<Self, Error> {
        let mut walk = Walk {
            root: dir.join(ROOT),
            held: dir.join(HELD),
            how,
            index: Self {
                complete: how.complete,
                entries: Vec::new(),
            },
            copies: HashMap::new(),
            locked: Vec::new(),
            hidden: HashSet::new(),
        };
        let walked = walk.all();
        // In reverse order: a directory must stay accessible until its contents are restored.
        for (path, mode) in walk.locked.iter().rev() {
            std::fs::set_permissions(path, Permissions::from_mode(*mode))
                .map_err(FileError::on("set the permissions of", path))?;
        }
        walked?;
        let mut index = walk.index;
        if how.devices {
            index.devices_of(how.before);
        }
        Ok(index)
    }

    /// Adds the devices of a tree whose directories still exist.
    fn devices_of(&mut self, before: &Tree) {
        let mut there: HashMap<&[u8], bool> = HashMap::new();
        for entry in &self.entries {
            let directory = matches!(entry.what, What::Directory { .. });
            there.insert(entry.path.get(), directory);
        }
        let mut devices = Vec::new();
        for (full, node) in before.entries() {
            let what = match node.kind {
                Kind::CharDevice { major, minor } => What::CharDevice { major, minor },
                Kind::BlockDevice { major, minor } => What::BlockDevice { major, minor },
                Kind::Directory | Kind::File(_) | Kind::Symlink(_) | Kind::Fifo => continue,
            };
            let above = path::split(&full).0;
            let stands = above.is_empty() || there.get(above) == Some(&true);
            if stands && !there.contains_key(full.as_slice()) {
                devices.push(Entry {
                    path: full.into(),
                    what,
                    mode: node.permissions,
                    uid: node.uid,
                    gid: node.gid,
                });
            }
        }
        self.entries.extend(devices);
    }

    /// Returns the total size of its files in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let size = |entry: &Entry| match entry.what {
            What::File { size, .. } => size,
            _ => 0,
        };
        self.entries.iter().map(size).sum()
    }
}

struct Walk<'a> {
    root: PathBuf,
    held: PathBuf,
    how: &'a Capture<'a>,
    index: Index,
    /// Number of the copy by inode number.
    copies: HashMap<u64, u64>,
    /// Paths whose mode was changed for the walk, with their original mode.
    locked: Vec<(PathBuf, u32)>,
    /// The directories among them.
    hidden: HashSet<PathBuf>,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let mut waiting = vec![PathBuf::new()];
        while let Some(below) = waiting.pop() {
            let full = self.root.join(&below);
            for entry in std::fs::read_dir(&full).map_err(FileError::on("read", &full))? {
                let entry = entry.map_err(FileError::on("read", &full))?;
                let full = entry.path();
                // Does not follow links.
                let metadata = entry.metadata().map_err(FileError::on("read", &full))?;
                let below = below.join(entry.file_name());
                self.entry(&full, &below, &metadata)?;
                if metadata.is_dir() {
                    waiting.push(below);
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, full: &Path, below: &Path, metadata: &Metadata) -> Result<(), Error> {
        let path = below.as_os_str().as_bytes().to_vec();
        let mode = metadata.mode() & PERMISSIONS;
        let what = self.what(full, mode, metadata)?;
        let old = self.how.before.get(&path);
        let old = old.map_or((0, 0), |old| (old.uid, old.gid));
        let (uid, gid) = owner(self.how.ids, old, (metadata.uid(), metadata.gid()));
        self.index.entries.push(Entry {
            path: path.into(),
            what,
            mode,
            uid,
            gid,
        });
        Ok(())
    }

    fn what(&mut self, full: &Path, mode: u32, metadata: &Metadata) -> Result<What, Error> {
        let kind = metadata.file_type();
        let (major, minor) = kraft_sys::device::numbers(metadata);
        Ok(if kind.is_dir() {
            if self.open_up(full, mode, 0o500)? {
                self.hidden.insert(full.to_owned());
            }
            What::Directory {
                opaque: is_opaque(full, self.how.ids.is_some())
                    .map_err(FileError::on("read", full))?,
            }
        } else if kind.is_file() {
            What::File {
                size: metadata.size(),
                link: if metadata.nlink() > 1 {
                    metadata.ino()
                } else {
                    0
                },
                held: self.lease(full, mode, metadata)?,
            }
        } else if kind.is_symlink() {
            let target = std::fs::read_link(full).map_err(FileError::on("read", full))?;
            What::Symlink {
                target: target.into_os_string().into_vec().into(),
            }
        } else if kind.is_char_device() && (major, minor) == (0, 0) {
            What::Whiteout
        } else if kind.is_char_device() {
            What::CharDevice { major, minor }
        } else if kind.is_block_device() {
            What::BlockDevice { major, minor }
        } else if kind.is_fifo() {
            What::Fifo
        } else {
            What::Socket
        })
    }

    /// Makes an entry readable until the walk ends. Root can read everything anyway.
    fn open_up(&mut self, full: &Path, mode: u32, needed: u32) -> Result<bool, Error> {
        if self.how.ids.is_some() || mode & needed == needed {
            return Ok(false);
        }
        let open = Permissions::from_mode(mode | needed);
        std::fs::set_permissions(full, open).map_err(FileError::on("open", full))?;
        self.locked.push((full.to_owned(), mode));
        Ok(true)
    }

    /// Copies a file that will not be readable later; returns the number of the copy.
    fn lease(&mut self, full: &Path, mode: u32, metadata: &Metadata) -> Result<Option<u64>, Error> {
        // A file in a directory that was made readable for the walk counts as well.
        let hidden = !self.hidden.is_empty()
            && full
                .ancestors()
                .skip(1)
                .any(|above| self.hidden.contains(above));
        if let Some(number) = self.copies.get(&metadata.ino()) {
            return Ok(Some(*number));
        }
        if !self.open_up(full, mode, 0o400)? && !hidden {
            return Ok(None);
        }
        let number = self.copies.len() as u64;
        let copy = self.held.join(number.to_string());
        let write = || -> io::Result<()> {
            std::fs::create_dir_all(&self.held)?;
            let mut from = std::fs::File::open(full)?;
            let mut to = std::fs::File::create_new(&copy)?;
            io::copy(&mut from, &mut to).map(drop)
        };
        write().map_err(FileError::on("write", &copy))?;
        self.copies.insert(metadata.ino(), number);
        Ok(Some(number))
    }
}

/// Returns the owner of an entry whose owner on disk is `now` and was `old` before.
fn owner(ids: Option<&IdMap>, old: (u32, u32), now: (u32, u32)) -> (u32, u32) {
    let Some(ids) = ids else { return old };
    // The owner that cannot be on disk, and that the command did not change.
    if !ids.holds(old.0, old.1) && ids.outside(old.0, old.1) == now {
        return old;
    }
    let (uid, gid) = ids.inside(now.0, now.1);
    (uid.unwrap_or(old.0), gid.unwrap_or(old.1))
}

fn is_opaque(full: &Path, root: bool) -> io::Result<bool> {
    use rustix::io::Errno;
    let [of_root, of_others] = OPAQUE;
    let name = if root { of_root } else { of_others };
    let mut value = [0; 1];
    match rustix::fs::lgetxattr(full, name, &mut value) {
        Ok(count) => Ok(count == 1 && value == *b"y"),
        // Without extended attributes no directory is opaque.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

impl Layer {
    /// Applies the layer to a tree. Files get identities from `numbers` on.
    pub(super) fn put_over(
        &self,
        tree: &mut Tree,
        numbers: &mut u64,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        if self.index.complete {
            *tree = Tree::default();
        }
        let mut links: HashMap<u64, u64> = HashMap::new();
        for entry in &self.index.entries {
            let path = entry.path.get();
            let kind = match &entry.what {
                What::Whiteout => {
                    tree.remove(path);
                    continue;
                }
                What::Socket => {
                    tree.remove(path);
                    warnings.push(format!("left out `{}`: it is a socket", shown(path)));
                    continue;
                }
                What::Directory { opaque } => {
                    if *opaque {
                        tree.remove(path);
                    }
                    Kind::Directory
                }
                What::File { size, link, held } => {
                    let mut next = || {
                        *numbers += 1;
                        *numbers
                    };
                    let identity = match link {
                        0 => next(),
                        link => *links.entry(*link).or_insert_with(next),
                    };
                    Kind::File(Content {
                        size: *size,
                        identity,
                        at: self.place(path, *held),
                    })
                }
                What::Symlink { target } => Kind::Symlink(target.get().into()),
                What::CharDevice { major, minor } => Kind::CharDevice {
                    major: *major,
                    minor: *minor,
                },
                What::BlockDevice { major, minor } => Kind::BlockDevice {
                    major: *major,
                    minor: *minor,
                },
                What::Fifo => Kind::Fifo,
            };
            let node = Node {
                kind,
                permissions: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
            };
            if !node.is_directory() {
                tree.remove(path);
            }
            tree.insert(path, node).map_err(|source| Error::Entry {
                entry: shown(path),
                source,
            })?;
        }
        Ok(())
    }

    fn place(&self, path: &[u8], held: Option<u64>) -> Place {
        let path = match held {
            Some(number) => format!("{HELD}/{number}").into_bytes(),
            None => path::join(ROOT.as_bytes(), path),
        };
        Place::Below {
            directory: Rc::clone(&self.directory),
            path: path.into(),
        }
    }
}
