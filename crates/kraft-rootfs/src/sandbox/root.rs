//! The root of a step: its mounts, and the parts of the host that they hide.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
};

use serde::{Deserialize, Serialize};

use super::spec::{Step, StepSource};
use super::trees::{HostTree, Trees};

/// Maximum number of links that are followed for one path, as in Linux (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Parts of `/proc` that belong to the whole host and may be read (moby, `oci/defaults.go`).
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// Files and directories of it that may not even be read (the same).
const HIDDEN: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
/// The same of `/sys`.
const HIDDEN_OF_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];
/// Links beside the devices.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];
/// Flags of mounts without programs and devices.
const DATA: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Files and directories that were created in the root only as mount points, in order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Root {
    made: Vec<PathBuf>,
    mounted: Vec<PathBuf>,
}

type Done<T = ()> = Result<T, (String, io::Error)>;

fn doing<T>(what: &str, done: Result<T, impl Into<io::Error>>) -> Done<T> {
    done.map_err(|error| (what.to_owned(), error.into()))
}

/// Forbids devices in a mount, and writing to one that is read-only.
fn fasten(path: &Path, read_only: bool) -> rustix::io::Result<()> {
    let mut flags = MountFlags::BIND | MountFlags::NODEV;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    // Flags of a mount outside cannot be removed inside, and must be named again.
    let locked = [
        MountFlags::empty(),
        MountFlags::NOSUID,
        MountFlags::NOSUID | MountFlags::NOEXEC,
        MountFlags::RDONLY,
        MountFlags::RDONLY | MountFlags::NOSUID,
        MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC,
    ];
    let mut outcome = Ok(());
    for more in locked {
        outcome = mount_remount(path, flags | more, c"");
        if outcome != Err(rustix::io::Errno::PERM) {
            break;
        }
    }
    outcome
}

/// Resolves a path whose last name is a link; the target need not exist.
fn followed(path: &Path) -> Done<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = std::fs::read_link(&path) else {
            return Ok(path);
        };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    let what = format!("find `{}`", path.display());
    doing(&what, Err(rustix::io::Errno::LOOP))
}

/// Hides a file or directory.
fn hide(path: &Path) -> Done {
    let what = format!("hide `{}`", path.display());
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => doing(
            &what,
            mount("tmpfs", path, "tmpfs", DATA | MountFlags::RDONLY, None),
        ),
        Ok(_) => doing(&what, mount_bind("/dev/null", path)),
        Err(_) => Ok(()),
    }
}

/// Hides the parts of `/proc` and `/sys` that belong to the whole host.
fn hide_host() -> Done {
    for name in HIDDEN {
        hide(&Path::new("/proc").join(name))?;
    }
    for name in HIDDEN_OF_SYS {
        hide(&Path::new("/sys").join(name))?;
    }
    Ok(())
}

impl Root {
    /// Checks whether namespaces like this one can have their own root.
    ///
    /// # Errors
    ///
    /// What cannot be done, as a step reports it.
    pub(super) fn try_out() -> Result<(), String> {
        let tried = doing("mount /dev", mount("tmpfs", "/dev", "tmpfs", DATA, None))
            .and_then(|()| doing("mount /proc", mount("proc", "/proc", "proc", DATA, None)));
        tried.map_err(|(doing, error)| format!("cannot {doing}: {error}"))
    }

    /// Sends it to the process that cleans up, which sees the same mounts.
    pub(super) fn write(&self, pipe: io::PipeWriter) -> io::Result<()> {
        Ok(serde_json::to_writer(pipe, self)?)
    }

    /// Receives what [`write`](Self::write) sent; it is empty if the root was not built.
    pub(super) fn read(pipe: io::PipeReader) -> Self {
        serde_json::from_reader(pipe).unwrap_or_default()
    }

    /// Builds the root and enters it.
    pub(super) fn build(&mut self, step: &Step, trees: Trees) -> Done {
        // Any directory that every host has: it is used only until the root is changed.
        let place = Path::new("/dev");
        doing("mount its root", trees.root.mount(place))?;
        // Devices of an image cannot be opened.
        doing("mount its root", fasten(place, false))?;
        doing("go into its root", rustix::process::chdir(place))?;
        // The old root is then mounted over the new one (pivot_root(2)): paths begin below it.
        doing("change its root", rustix::process::pivot_root(".", "."))?;
        self.proc()?;
        self.sys()?;
        doing("leave the old root", unmount(".", UnmountFlags::DETACH))?;
        doing("go into its root", rustix::process::chdir("/"))?;
        self.dev(trees.devices)?;
        hide_host()?;
        for (tree, mount) in trees.mounts {
            let target = if mount.over_links {
                followed(Path::new(&mount.target))?
            } else {
                PathBuf::from(&mount.target)
            };
            // An image without `/etc` resolves no names.
            if mount.over_links && !target.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match (tree, mount.source) {
                (Some(tree), _) => self.bind(tree, &target, mount.read_only)?,
                (None, StepSource::Memory(size)) => self.memory(&target, size, mount.read_only)?,
                (None, StepSource::Path(_)) => {}
            }
        }
        self.directory(Path::new(&step.directory))?;
        // That one is kept: the step begins there.
        self.made
            .retain(|made| !Path::new(&step.directory).starts_with(made));
        Ok(())
    }

    /// Creates a directory of the root for a mount of the system; a link there could lead elsewhere
    /// (the class of CVE-2026-41579).
    fn system(&mut self, path: &Path) -> Done {
        let what = format!("mount `{}`", path.display());
        if path.is_symlink() {
            let link = io::Error::other("it is a symbolic link in the image");
            return doing(&what, Err(link));
        }
        self.directory(path)
    }

    /// Mounts `/proc` of the new PID namespace.
    fn proc(&mut self) -> Done {
        let proc = Path::new("/proc");
        self.system(proc)?;
        doing("mount /proc", mount("proc", proc, "proc", DATA, None))?;
        self.mounted.push(proc.to_owned());
        for name in READ_ONLY {
            let path = proc.join(name);
            if path.exists() {
                let what = format!("protect `{}`", path.display());
                doing(&what, mount_bind_recursive(&path, &path))?;
                doing(&what, fasten(&path, true))?;
            }
        }
        Ok(())
    }

    /// Mounts `/sys` of the new network namespace; an empty one if that of the host is shared.
    fn sys(&mut self) -> Done {
        let sys = Path::new("/sys");
        self.system(sys)?;
        let flags = DATA | MountFlags::RDONLY;
        let made = mount("sysfs", sys, "sysfs", flags, None);
        let made = made.or_else(|_| mount("tmpfs", sys, "tmpfs", flags, None));
        doing("mount /sys", made)?;
        self.mounted.push(sys.to_owned());
        Ok(())
    }

    fn dev(&mut self, devices: Vec<(&'static str, HostTree)>) -> Done {
        let dev = Path::new("/dev");
        self.system(dev)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let mode = Some(c"mode=0755");
        doing("mount /dev", mount("tmpfs", dev, "tmpfs", flags, mode))?;
        self.mounted.push(dev.to_owned());
        for (name, tree) in devices {
            let to = dev.join(name);
            doing("fill /dev", File::create_new(&to))?;
            doing("fill /dev", tree.mount(&to))?;
        }
        for (target, name) in LINKS {
            doing("fill /dev", symlink(target, dev.join(name)))?;
        }
        let shared = dev.join("shm");
        doing("fill /dev", std::fs::create_dir(&shared))?;
        let everybody = std::fs::Permissions::from_mode(0o1777);
        doing("fill /dev", std::fs::set_permissions(&shared, everybody))
    }

    fn bind(&mut self, tree: HostTree, target: &Path, read_only: bool) -> Done {
        let what = format!("mount `{}`", target.display());
        if tree.is(FileType::Directory) {
            self.directory(target)?;
        } else {
            self.file(target)?;
        }
        doing(&what, tree.mount(target))?;
        self.mounted.push(target.to_owned());
        doing(&what, fasten(target, read_only))
    }

    /// Mounts an empty directory in memory.
    fn memory(&mut self, target: &Path, size: u64, read_only: bool) -> Done {
        let what = format!("mount `{}`", target.display());
        self.directory(target)?;
        let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
        if read_only {
            flags |= MountFlags::RDONLY;
        }
        let options = CString::new(format!("size={size}")).unwrap_or_default();
        let options = (size > 0).then_some(options.as_c_str());
        doing(&what, mount("tmpfs", target, "tmpfs", flags, options))?;
        self.mounted.push(target.to_owned());
        Ok(())
    }

    /// Creates a directory and its parents, and records what was created.
    fn directory(&mut self, path: &Path) -> Done {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.directory(above)?;
        }
        let what = format!("make `{}`", path.display());
        doing(&what, std::fs::create_dir(path))?;
        self.made.push(path.to_owned());
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Done {
        if path.exists() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.directory(above)?;
        }
        let what = format!("make `{}`", path.display());
        doing(
            &what,
            OpenOptions::new().write(true).create_new(true).open(path),
        )?;
        self.made.push(path.to_owned());
        Ok(())
    }

    /// Removes what was created only as a mount point, unless the command put something there.
    pub(super) fn leave(&self) {
        for mounted in self.mounted.iter().rev() {
            let _ = unmount(mounted, UnmountFlags::DETACH);
        }
        for made in self.made.iter().rev() {
            let empty = std::fs::metadata(made).is_ok_and(|found| found.len() == 0);
            if std::fs::remove_dir(made).is_err() && empty && made.is_file() {
                let _ = std::fs::remove_file(made);
            }
        }
    }
}
