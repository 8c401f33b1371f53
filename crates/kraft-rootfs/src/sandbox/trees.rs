//! Files of the host that a step can access, opened before its root is changed: from then on, paths
//! are those of the image, and nothing is looked up on the host.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use super::NO_OVERLAY;
use super::spec::{Overlay, Step, StepMount, StepSource};

/// Devices a command may expect.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// A copy of a mount of the host that is not mounted yet (`open_tree(2)`).
#[derive(Debug)]
pub(super) struct HostTree(OwnedFd);

/// All files of the host that a step can access.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) root: HostTree,
    /// Devices, by their names in `/dev`.
    pub(super) devices: Vec<(&'static str, HostTree)>,
    /// What is mounted; without a tree, a directory in memory.
    pub(super) mounts: Vec<(Option<HostTree>, StepMount)>,
}

impl Trees {
    /// Opens all of them, in a mount namespace of this process.
    ///
    /// # Errors
    ///
    /// What cannot be opened, as a step reports it.
    pub(super) fn open(step: &Step) -> Result<Self, String> {
        let open = |path: &Path| {
            HostTree::open(path).map_err(|errno| {
                let path = path.display();
                format!("could not be started: cannot open `{path}`: {errno}")
            })
        };
        let device = |name: &&'static str| {
            // Few commands need a device that is missing.
            let tree = HostTree::open(&Path::new("/dev").join(name)).ok()?;
            tree.is(FileType::CharacterDevice).then_some((*name, tree))
        };
        let mount = |mount: &StepMount| {
            let tree = match &mount.source {
                StepSource::Path(path) => Some(open(path)?),
                StepSource::Memory(_) => None,
            };
            Ok((tree, mount.clone()))
        };
        if let Some(overlay) = &step.overlay {
            put_over(overlay, &step.root, step.has_users)
                .map_err(|error| format!("{NO_OVERLAY}{error}"))?;
        }
        Ok(Self {
            root: open(&step.root)?,
            devices: DEVICES.iter().filter_map(device).collect(),
            mounts: step
                .mounts
                .iter()
                .map(mount)
                .collect::<Result<_, String>>()?,
        })
    }
}

/// Mounts an overlay at the root. The names of its directories are short and relative to the directory
/// that contains them: the options of a mount must fit in one page.
fn put_over(overlay: &Overlay, root: &Path, privileged: bool) -> io::Result<()> {
    // Without these a directory that is moved, or a file whose mode changes, would not be whole
    // in the upper directory.
    let mut options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=nofollow",
        overlay.lower.join(":"),
        overlay.upper,
        overlay.work
    );
    if !privileged {
        options.push_str(",userxattr");
    }
    let options = CString::new(options).map_err(io::Error::other)?;
    rustix::process::chdir(&overlay.dir)?;
    let flags = MountFlags::NODEV;
    mount("overlay", root, "overlay", flags, Some(&*options))?;
    Ok(rustix::process::chdir("/")?)
}

impl HostTree {
    fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        open_tree(CWD, path, flags).map(Self)
    }

    /// Returns whether it is a file of a kind.
    pub(super) fn is(&self, kind: FileType) -> bool {
        let found = rustix::fs::fstat(&self.0);
        found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == kind)
    }

    /// Mounts it.
    pub(super) fn mount(self, target: &Path) -> rustix::io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&self.0, "", CWD, target, flags)
    }
}
