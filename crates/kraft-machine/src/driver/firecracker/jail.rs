//! Firecracker inside its jailer: a root directory of its own, another user, control groups.
//!
//! The configured program is then `jailer --exec-file FIRECRACKER --uid N --gid N …`; kraft adds the id
//! and where the jail is. The jailer makes the jail, so the files of the machine are put there once it
//! has started:
//!
//! ```text
//! jail/firecracker/ID/root/             the root directory of Firecracker
//! ├── control.sock ◄── control.sock     a link in the machine's directory
//! ├── vmm.log      ──► vmm.log          the same file
//! ├── kernel, initrd                    copies
//! ├── saved/memory, saved/state         copies, if the guest is restored
//! └── saving-memory, saving-state       the same files as outside, while the guest is saved
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, chown, fchown};
use std::path::{Path, PathBuf};

use kraft_sys::fs;

use super::memory::copy_sparse;
use crate::driver::{Launch, Saved, Vmm};
use crate::layout::MachineDir;

/// The directory of jails in that of a machine.
pub(super) const BASE: &str = "jail";

/// Returns whether the configured program is the jailer.
pub(super) fn is_jailer(program: &[String]) -> bool {
    let first = program.first().map(Path::new);
    first
        .and_then(Path::file_name)
        .is_some_and(|name| name == "jailer")
}

/// Returns the Firecracker that a jailer runs, which has to be a path.
pub(super) fn exec_file(program: &[String]) -> Option<&String> {
    let at = program.iter().position(|word| word == "--exec-file")?;
    program.get(at + 1)
}

/// Removes the jail of the last run, which the jailer would not use, and makes room for the next.
pub(super) fn empty(dir: &MachineDir) -> Result<(), fs::Error> {
    let base = dir.path().join(BASE);
    fs::remove_tree(&base)?;
    fs::create_dir(&base, 0o700)
}

/// Returns the root directory of a Firecracker, relative to the machine's directory.
fn root(dir: &MachineDir, program: &[String]) -> Option<PathBuf> {
    // The jailer takes the name of the file that a link leads to.
    let file = Path::new(exec_file(program)?).canonicalize().ok()?;
    let id = dir.path().file_name()?;
    Some(
        [
            Path::new(BASE),
            Path::new(file.file_name()?),
            Path::new(id),
            Path::new("root"),
        ]
        .iter()
        .collect(),
    )
}

/// Links the socket to where it will be.
pub(super) fn link_socket(dir: &MachineDir, program: &[String]) -> io::Result<()> {
    let root =
        root(dir, program).ok_or_else(|| io::Error::other("the jailer has no `--exec-file`"))?;
    Ok(fs::replace_link(
        &dir.control(),
        &root.join("control.sock"),
    )?)
}

/// Puts the files of a machine into its jail, for the user that Firecracker runs as.
pub(super) fn furnish(vmm: &Vmm<'_>, launch: &Launch<'_>) -> io::Result<()> {
    let (dir, spec) = (vmm.dir, launch.spec);
    let Some(root) = root(dir, launch.program).map(|root| dir.path().join(root)) else {
        return Ok(());
    };
    // The socket belongs to the user that Firecracker has become.
    let user = std::fs::metadata(root.join("control.sock"))?;
    let log = root.join("vmm.log");
    std::fs::hard_link(dir.vmm_log(), &log)?;
    chown(&log, Some(user.uid()), Some(user.gid()))?;
    if let Some(saved) = launch.saved {
        let inside = root.join(&saved.dir);
        fs::create_dir(&inside, 0o755)?;
        for name in [Saved::STATE, Saved::MEMORY] {
            let from = fs::open_file(&dir.path().join(&saved.dir).join(name))?;
            let to = fs::create_private(&inside.join(name))?;
            copy_sparse(&from, &to)?;
            fchown(&to, Some(user.uid()), Some(user.gid()))?;
        }
        return Ok(());
    }
    let files = [
        (Some(&spec.kernel), "kernel"),
        (spec.initrd.as_ref(), "initrd"),
    ];
    for (from, name) in files {
        let Some(from) = from else { continue };
        let to = root.join(name);
        // A copy: the file itself keeps its owner.
        std::fs::copy(from, &to)?;
        chown(&to, Some(user.uid()), Some(user.gid()))?;
    }
    Ok(())
}

/// Files that Firecracker may write until this is dropped: by links in its jail.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    /// The root directory of Firecracker, from outside.
    root: PathBuf,
    files: &'a [(&'a str, &'a File)],
}

/// Lends files of the directory `of` to the Firecracker of a machine. `None` if it has no jail.
pub(super) fn lend<'a>(
    dir: &MachineDir,
    of: &Path,
    files: &'a [(&'a str, &'a File)],
) -> io::Result<Option<Lent<'a>>> {
    let Ok(socket) = std::fs::read_link(dir.control()) else {
        return Ok(None);
    };
    let socket = dir.path().join(socket);
    // The guest may have taken over Firecracker: nothing in the jail is followed.
    let user = std::fs::symlink_metadata(&socket)?;
    let root = socket.parent().unwrap_or(dir.path()).to_owned();
    let jail = Lent { root, files };
    for (name, file) in files {
        let inside = jail.root.join(lent(name));
        fs::remove_file(&inside)?;
        std::fs::hard_link(of.join(name), &inside)?;
        fchown(file, Some(user.uid()), Some(user.gid()))?;
    }
    Ok(Some(jail))
}

/// Returns the path of a file that was lent, as Firecracker sees it.
pub(super) fn lent(name: &str) -> String {
    format!("saving-{name}")
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let me = (rustix::process::geteuid(), rustix::process::getegid());
        for (name, file) in self.files {
            // If one stays in the jail, it is removed with that.
            let _ = fs::remove_file(&self.root.join(lent(name)));
            let _ = fchown(file, Some(me.0.as_raw()), Some(me.1.as_raw()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jailer_is_recognised_and_its_firecracker_found() {
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        let jailed = words("/opt/jailer --uid 1000 --gid 1000 --exec-file /opt/firecracker");
        assert!(is_jailer(&jailed));
        assert_eq!(exec_file(&jailed).unwrap(), "/opt/firecracker");
        assert!(!is_jailer(&words("/opt/jailer/firecracker --level Info")));
        assert_eq!(exec_file(&words("jailer --exec-file")), None);
    }
}
