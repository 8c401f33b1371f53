//! A tree as real files, for commands that need them, and back.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use kraft_sys::fs::Error as FileError;

use crate::Error;
use crate::newc::PERMISSIONS;
use crate::source::directory;
use crate::tree::{Content, Kind, Node, Tree};

/// Lays a tree out in an empty directory. With `owners`, entries belong to whom they say.
///
/// Everything is made new and by its own path, and the tree holds no entry below a link, so
/// nothing leads out of the directory.
pub(super) fn lay_out(tree: &Tree, root: &Path, owners: bool) -> Result<(), Error> {
    let mut names: HashMap<u64, PathBuf> = HashMap::new();
    let mut directories = Vec::new();
    for (path, node) in tree.entries() {
        let full = root.join(std::ffi::OsStr::from_bytes(&path));
        let failed = |error: io::Error| Error::from(FileError::on("write", &full)(error));
        match &node.kind {
            Kind::Directory => {
                std::fs::create_dir(&full).map_err(failed)?;
                directories.push((full.clone(), node.permissions));
            }
            Kind::File(content) => {
                if let Some(first) = names.get(&content.identity) {
                    std::fs::hard_link(first, &full).map_err(failed)?;
                    continue;
                }
                write_file(content, &full)?;
                names.insert(content.identity, full.clone());
            }
            Kind::Symlink(target) => {
                symlink(std::ffi::OsStr::from_bytes(target), &full).map_err(failed)?;
            }
            Kind::Fifo => {
                let mode = rustix::fs::Mode::from_raw_mode(node.permissions);
                rustix::fs::mknodat(rustix::fs::CWD, &full, rustix::fs::FileType::Fifo, mode, 0)
                    .map_err(|errno| failed(errno.into()))?;
            }
            // Nobody without privileges makes devices; they are put back afterwards.
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } => continue,
        }
        if owners {
            lchown(&full, Some(node.uid), Some(node.gid)).map_err(failed)?;
        }
        if let Kind::File(_) = node.kind {
            // After the owner: a change of owner takes setuid away.
            let permissions = std::fs::Permissions::from_mode(node.permissions);
            std::fs::set_permissions(&full, permissions).map_err(failed)?;
        }
    }
    // Last and from below: a directory may forbid to write into it.
    for (full, permissions) in directories.into_iter().rev() {
        let permissions = std::fs::Permissions::from_mode(permissions);
        std::fs::set_permissions(&full, permissions).map_err(FileError::on("write", &full))?;
    }
    Ok(())
}

fn write_file(content: &Content, full: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::from(FileError::on("write", full)(error));
    let mut out = File::create_new(full).map_err(failed)?;
    let mut from = content.open()?;
    let copied = io::copy(&mut from, &mut out).map_err(failed)?;
    if copied != content.size {
        return Err(Error::Changed { path: from.name });
    }
    Ok(())
}

/// Reads a directory back after a command. What `before` knew that files on disk cannot show,
/// devices and, without `owners`, to whom they belong, stays as it was.
pub(super) fn take_back(
    root: &Path,
    before: &Tree,
    owners: bool,
    warnings: &mut Vec<String>,
) -> Result<Taken, Error> {
    // Root reads everything; others only what they opened up.
    let locked = if owners {
        HashMap::new()
    } else {
        open_up(root)?
    };
    let mut tree = directory::load(root, root, &|_, _| true, warnings)?;
    if !owners {
        tree.for_each(|path, node| {
            let old = before.get(path).map_or((0, 0), |old| (old.uid, old.gid));
            (node.uid, node.gid) = old;
            if let Some(permissions) = locked.get(path) {
                node.permissions = *permissions;
            }
        });
    }
    for (path, node) in before.entries() {
        let device = matches!(
            node.kind,
            Kind::CharDevice { .. } | Kind::BlockDevice { .. }
        );
        if device && tree.get(&path).is_none() {
            let kept: Result<(), _> = tree.insert(&path, Node::clone(node));
            // Its directory is gone, and so is it.
            drop(kept);
        }
    }
    Ok(Taken {
        tree,
        is_as_left: locked.is_empty(),
    })
}

/// What a command left.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) tree: Tree,
    /// Whether the files on disk still are as it left them.
    pub(super) is_as_left: bool,
}

/// Lets us, who own everything below a directory, read all of it. Returns the permissions that were
/// changed, by the paths of what they belong to.
pub(super) fn open_up(root: &Path) -> Result<HashMap<Vec<u8>, u32>, Error> {
    let mut locked = HashMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let full = root.join(&below);
        for entry in std::fs::read_dir(&full).map_err(FileError::on("read", &full))? {
            let entry = entry.map_err(FileError::on("read", &full))?;
            let path = entry.path();
            // Does not follow links.
            let metadata = entry.metadata().map_err(FileError::on("read", &path))?;
            let needed = if metadata.is_dir() {
                0o700
            } else if metadata.is_file() {
                0o400
            } else {
                continue;
            };
            let below = below.join(entry.file_name());
            let mode = metadata.permissions().mode() & PERMISSIONS;
            if mode & needed != needed {
                let open = std::fs::Permissions::from_mode(mode | needed);
                std::fs::set_permissions(&path, open).map_err(FileError::on("open", &path))?;
                locked.insert(below.as_os_str().as_bytes().to_vec(), mode);
            }
            if metadata.is_dir() {
                waiting.push(below);
            }
        }
    }
    Ok(locked)
}
