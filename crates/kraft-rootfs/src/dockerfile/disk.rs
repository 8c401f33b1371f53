//! Writes a tree to disk, for commands.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kraft_sys::fs::Error as FileError;
use rustix::fs::{AtFlags, Timespec, Timestamps, XattrFlags};

use crate::Error;
use crate::ids::IdMap;
use crate::newc::PERMISSIONS;
use crate::tree::{Content, Kind, Place, Tree};

/// Writes a tree to an empty directory. With `ids`, the owners of entries are their ids outside of the
/// user namespace of a command.
///
/// Everything is created by its own path, and the tree contains no entry below a link, so nothing
/// leads out of the directory.
pub(super) fn lay_out(tree: &Tree, root: &Path, ids: Option<&IdMap>) -> Result<(), Error> {
    give_to_root(ids, root)?;
    let mut names: HashMap<u64, PathBuf> = HashMap::new();
    let mut directories = Vec::new();
    for (path, node) in tree.entries() {
        let full = root.join(OsStr::from_bytes(&path));
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
                symlink(OsStr::from_bytes(target), &full).map_err(failed)?;
            }
            Kind::Fifo => {
                kraft_sys::fs::make_fifo(&full, node.permissions)?;
            }
            // Devices need privileges to be created; they are added to the tree afterwards.
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } => continue,
        }
        if let Some(ids) = ids {
            ids.give(&full, node.uid, node.gid).map_err(failed)?;
        }
        if let Kind::File(_) = node.kind {
            // After the owner: a change of owner removes setuid.
            let permissions = std::fs::Permissions::from_mode(node.permissions);
            std::fs::set_permissions(&full, permissions).map_err(failed)?;
        }
    }
    // Last and bottom-up: a directory may be read-only.
    for (full, permissions) in directories.into_iter().rev() {
        let permissions = std::fs::Permissions::from_mode(permissions);
        std::fs::set_permissions(&full, permissions).map_err(FileError::on("write", &full))?;
    }
    Ok(())
}

/// Changes the owner of a file or directory to root of the user namespace.
pub(super) fn give_to_root(ids: Option<&IdMap>, path: &Path) -> Result<(), Error> {
    let given = ids.map_or(Ok(()), |ids| ids.give(path, 0, 0));
    Ok(given.map_err(FileError::on("write", path))?)
}

fn write_file(content: &Content, full: &Path) -> Result<(), Error> {
    let mut out = File::create_new(full).map_err(FileError::on("write", full))?;
    content.open()?.copy_to(&mut out, full)
}

/// Copies times and extended attributes to the files of a tree that are from layers below `dir`, so
/// that a command finds those of the previous one.
pub(super) fn preserve(tree: &Tree, root: &Path, dir: &Path) -> Result<(), Error> {
    for (path, node) in tree.entries() {
        let Kind::File(Content { at, .. }) = &node.kind else {
            continue;
        };
        let Place::Below {
            directory,
            path: own,
        } = at
        else {
            continue;
        };
        if !directory.root.path.starts_with(dir) {
            continue;
        }
        let from = directory.full(own);
        let to = root.join(OsStr::from_bytes(&path));
        attributes(&from, &to).map_err(FileError::on("write", &to))?;
    }
    Ok(())
}

fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(from, &mut names).unwrap_or_default();
    let names = names.get(..length).unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|it| !it.is_empty()) {
        let own = [
            b"trusted.overlay.".as_slice(),
            b"user.overlay.",
            b"security.selinux",
        ];
        if own.iter().any(|own| name.starts_with(own)) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(from, name, &mut value)?;
        let value = value.get(..length).unwrap_or_default();
        // An attribute that cannot be set here could not be set by the command either.
        let _ = rustix::fs::lsetxattr(to, name, value, XattrFlags::empty());
    }
    let seconds = std::fs::symlink_metadata(from)?;
    let time = Timespec {
        tv_sec: seconds.mtime(),
        tv_nsec: seconds.mtime_nsec(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        rustix::fs::CWD,
        to,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Makes all entries below a directory of this user readable and removable.
pub(super) fn open_up(root: &Path) -> Result<(), Error> {
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
            }
            if metadata.is_dir() {
                waiting.push(below);
            }
        }
    }
    Ok(())
}
