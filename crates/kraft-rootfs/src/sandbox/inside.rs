//! What happens inside the new namespaces, where this program is the init: mounts, the new root,
//! and the command as a child.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kraft_sys::tool;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::{NOT_STARTED, OURS, Spec};

/// Where the old root is while mounts are made.
const OLD: &str = ".kraft-old-root";
/// Devices a command may expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links that stand beside them.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];
/// What a command of a container can do as root (moby, `oci/caps/defaults.go`); with it, nobody
/// gets out of a root.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Runs what a description says, and returns the code to end with. `words` are those after the
/// hidden one.
pub fn enter(words: impl IntoIterator<Item = OsString>) -> i32 {
    let Some(path) = words.into_iter().next() else {
        return NOT_STARTED;
    };
    match run(Path::new(&path)) {
        Ok(code) => code,
        Err(what) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "{OURS}{what}");
            NOT_STARTED
        }
    }
}

fn run(path: &Path) -> Result<i32, String> {
    let told = |doing: &str| {
        let doing = doing.to_owned();
        move |error: io::Error| format!("could not be started: cannot {doing}: {error}")
    };
    let spec = Spec::read(path).map_err(told("read its description"))?;
    hold_on_to_life();
    let mut room = Room::default();
    room.build(&spec)
        .map_err(|(doing, error)| told(&doing)(error))?;
    let ended = start(&spec);
    room.leave();
    ended
}

/// Ends everything inside when who started us is gone.
fn hold_on_to_life() {
    std::thread::spawn(|| {
        let mut byte = [0];
        // Nobody writes: whatever comes is the end.
        let _ = io::stdin().read(&mut byte);
        end_now();
    });
}

#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "the init of a namespace ends everything in it by ending, from whichever thread"
)]
fn end_now() -> ! {
    std::process::exit(NOT_STARTED);
}

/// What was made in the root only to mount something there, in order.
#[derive(Debug, Default)]
struct Room {
    made: Vec<PathBuf>,
    mounted: Vec<PathBuf>,
}

type Done<T = ()> = Result<T, (String, io::Error)>;

fn doing<T>(what: &str, done: Result<T, impl Into<io::Error>>) -> Done<T> {
    done.map_err(|error| (what.to_owned(), error.into()))
}

impl Room {
    fn build(&mut self, spec: &Spec) -> Done {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        doing("keep its mounts to itself", mount_change("/", private))?;
        doing(
            "mount its root",
            mount_bind_recursive(&spec.root, &spec.root),
        )?;
        let old = spec.root.join(OLD);
        doing("make room for the old root", std::fs::create_dir(&old))?;
        doing("go into its root", rustix::process::chdir(&spec.root))?;
        doing("change its root", rustix::process::pivot_root(".", OLD))?;
        doing("go into its root", rustix::process::chdir("/"))?;
        let old = Path::new("/").join(OLD);
        self.standard(&old, spec.network)?;
        for (source, target, read_only) in &spec.mounts {
            let source = old.join(source.strip_prefix("/").unwrap_or(source));
            self.bind(&source, Path::new(target), *read_only)?;
        }
        doing("leave the old root", unmount(&old, UnmountFlags::DETACH))?;
        doing("leave the old root", std::fs::remove_dir(&old))?;
        self.directory(Path::new(&spec.directory))?;
        // That one stays: the step begins there.
        self.made
            .retain(|made| !Path::new(&spec.directory).starts_with(made));
        Ok(())
    }

    /// `/proc`, `/dev`, `/sys`, and how names are resolved.
    fn standard(&mut self, old: &Path, network: bool) -> Done {
        let proc = Path::new("/proc");
        self.directory(proc)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if mount("proc", proc, "proc", flags, None).is_err() {
            // Inside a container with a masked /proc only that one is to be had.
            doing("mount /proc", mount_bind_recursive(old.join("proc"), proc))?;
        }
        self.mounted.push(proc.to_owned());
        let dev = Path::new("/dev");
        self.directory(dev)?;
        doing(
            "mount /dev",
            mount(
                "tmpfs",
                dev,
                "tmpfs",
                MountFlags::NOSUID,
                Some(c"mode=0755"),
            ),
        )?;
        self.mounted.push(dev.to_owned());
        for device in DEVICES {
            let from = old.join("dev").join(device);
            let to = dev.join(device);
            if from.exists() && File::create(&to).is_ok() {
                // One that is missing is missed by few.
                let _ = mount_bind(&from, &to);
            }
        }
        for (target, name) in LINKS {
            doing("fill /dev", symlink(target, dev.join(name)))?;
        }
        doing("fill /dev", std::fs::create_dir(dev.join("shm")))?;
        let sys = Path::new("/sys");
        self.directory(sys)?;
        if mount_bind_recursive(old.join("sys"), sys).is_ok() {
            let _ = mount_remount(sys, MountFlags::BIND | MountFlags::RDONLY, c"");
            self.mounted.push(sys.to_owned());
        }
        if network {
            for file in ["etc/resolv.conf", "etc/hosts"] {
                // It may be a link out of /etc, which is meant from the old root.
                let source = std::fs::canonicalize(old.join(file));
                if let Ok(source) = source
                    && source.starts_with(old)
                    && Path::new("/etc").is_dir()
                {
                    self.bind(&source, &Path::new("/").join(file), true)?;
                }
            }
        }
        Ok(())
    }

    fn bind(&mut self, source: &Path, target: &Path, read_only: bool) -> Done {
        let what = format!("mount `{}`", target.display());
        if source.is_dir() {
            self.directory(target)?;
        } else {
            self.file(target)?;
        }
        doing(&what, mount_bind_recursive(source, target))?;
        self.mounted.push(target.to_owned());
        if read_only {
            let flags = MountFlags::BIND | MountFlags::RDONLY;
            // Where the source has locked flags of its own, it is read-only or stays as it is.
            let locked = flags | MountFlags::NOSUID | MountFlags::NODEV;
            if mount_remount(target, flags, c"").is_err() {
                doing(&what, mount_remount(target, locked, c""))?;
            }
        }
        Ok(())
    }

    /// Makes a directory and those above it; what was made is known.
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

    /// Takes away what was only made to be mounted on, unless the command put something there.
    fn leave(&mut self) {
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

/// Starts the command, and returns the code to end with.
fn start(spec: &Spec) -> Result<i32, String> {
    let Some((program, words)) = spec.words.split_first() else {
        return Err("has no words".to_owned());
    };
    // Programs are looked up by its own variables.
    let environment = |name: &str| {
        let mut pairs = spec.environment.iter();
        pairs
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    };
    let search = environment("PATH").map(std::ffi::OsStr::new);
    let Some(found) = tool::find(program.as_ref(), search) else {
        return Err(format!(
            "could not be started: there is no `{program}` in the image"
        ));
    };
    let user = user(&spec.user)?;
    let mut command = tool::command(&found);
    command
        .arg0(program)
        .args(words)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.directory)
        .stdin(Stdio::null());
    if environment("HOME").is_none() {
        command.env("HOME", user.home);
    }
    if let Some((uid, gid)) = user.ids {
        if spec.root_outside {
            command.uid(uid).gid(gid);
        } else {
            let name = &spec.user;
            // It is talk about the step, and so stands among its lines.
            let _ = writeln!(
                io::stderr(),
                "(running as root: `{name}` is nobody without privileges)"
            );
        }
    }
    if spec.root_outside {
        restrict();
    }
    let mut child = command.spawn().map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::NOEXEC.raw_os_error() => format!(
            "could not be started: `{program}` is for another processor, and this system emulates \
             none (on Debian: `apt install qemu-user-static`)"
        ),
        _ => format!("could not be started: `{program}`: {error}"),
    })?;
    let status = child.wait().map_err(|error| format!("is lost: {error}"))?;
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Takes from our children what a container has not. What cannot be taken was not there.
fn restrict() {
    for capability in CapabilitySet::all().iter() {
        if !KEPT.contains(capability) {
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
}

/// Somebody of the root.
struct User {
    /// Numbers of the user and the group; `None` for root.
    ids: Option<(u32, u32)>,
    home: String,
}

/// Reads `USER[:GROUP]` by the files of the root.
fn user(text: &str) -> Result<User, String> {
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    };
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let known = known.filter(|fields| fields.len() >= 6);
    let number = name.parse::<u32>().ok();
    let entry = known.into_iter().find(|fields| {
        let uid = fields.get(2).and_then(|uid| uid.parse::<u32>().ok());
        let wanted = if name.is_empty() { Some(0) } else { number };
        fields.first() == Some(&name) || (uid.is_some() && uid == wanted)
    });
    let field = |at: usize| entry.as_ref().and_then(|fields| fields.get(at).copied());
    let home = field(5).filter(|home| !home.is_empty()).unwrap_or("/root");
    let home = home.to_owned();
    if name.is_empty() || name == "root" || name == "0" {
        return Ok(User { ids: None, home });
    }
    let uid = number.or_else(|| field(2)?.parse().ok());
    let uid =
        uid.ok_or_else(|| format!("could not be started: `/etc/passwd` knows no `{name}`"))?;
    let gid = match group {
        Some(group) => group_number(group)?,
        None => field(3).and_then(|gid| gid.parse().ok()).unwrap_or(0),
    };
    Ok(User {
        ids: Some((uid, gid)),
        home,
    })
}

fn group_number(group: &str) -> Result<u32, String> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let line = groups
        .lines()
        .find(|line| line.split(':').next() == Some(group));
    line.and_then(|line| line.split(':').nth(2)?.parse().ok())
        .ok_or_else(|| format!("could not be started: `/etc/group` knows no `{group}`"))
}
