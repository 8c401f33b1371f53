//! What happens inside the new namespaces, where this program is the init: mounts, the new root,
//! and the command as a child.

use std::ffi::{CString, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kraft_sys::tool;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set, set_no_new_privs};

use super::{NO_OVERLAY, NOT_STARTED, Overlay, Spec, filter};

/// How the name begins where the old root is while mounts are made. Its end cannot be known before,
/// so no link of an image leads there.
const OLD: &str = ".kraft-old-root-";
/// `/etc/passwd` and `/etc/group` of an image are not longer than this, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;
/// So many links are followed for one path, as Linux does (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// What of `/proc` is for the whole host and may be read (moby, `oci/defaults.go`).
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// What of it not even that.
const HIDDEN: [&str; 5] = [
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "sched_debug",
];
/// Devices a command may expect.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Links that stand beside them.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];
/// What a command of a container can do as root (moby, `oci/caps/defaults.go`). It gives no way out
/// of a root whose mounts hold no devices.
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
        Err((mark, what)) => {
            // There is no other way to report it if this fails.
            let _ = writeln!(io::stderr(), "{mark}{what}");
            NOT_STARTED
        }
    }
}

/// Reads the description and runs it; an error comes with the mark of its line.
fn run(path: &Path) -> Result<i32, (String, String)> {
    let unread = |error: io::Error| (String::new(), format!("cannot read the step: {error}"));
    // What kraft was started with open is not the step's, nor is the copy of this program.
    close_inherited().map_err(unread)?;
    let spec = Spec::read(path).map_err(unread)?;
    run_spec(&spec).map_err(|what| (spec.mark, what))
}

/// Closes every descriptor but stdin, stdout and stderr.
fn close_inherited() -> io::Result<()> {
    // SAFETY: nothing in this process owns a descriptor above 2 yet: it has just begun.
    #[expect(
        unsafe_code,
        reason = "no library closes descriptors that it did not open"
    )]
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Gives this process and its children a keyring of their own.
fn leave_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    let unnamed = std::ptr::null::<libc::c_char>();
    // SAFETY: the call reads no memory when the name is null (keyctl_join_session_keyring(3)).
    #[expect(unsafe_code, reason = "no library of ours knows keyrings")]
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, unnamed) };
    let error = io::Error::last_os_error();
    // A kernel without keyrings has nothing to leave.
    if joined >= 0 || error.raw_os_error() == Some(libc::ENOSYS) {
        return Ok(());
    }
    Err(error)
}

fn run_spec(spec: &Spec) -> Result<i32, String> {
    let told = |doing: &str| {
        let doing = doing.to_owned();
        move |error: io::Error| format!("could not be started: cannot {doing}: {error}")
    };
    rustix::process::setsid().map_err(|errno| told("leave the terminal")(errno.into()))?;
    leave_keyring().map_err(told("leave the keyring"))?;
    // Whoever is inside cannot look into us, who hold what is outside.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| told("hide itself")(errno.into()))?;
    hold_on_to_life();
    let mut room = Room::default();
    room.build(spec).map_err(|(doing, error)| {
        if doing == NO_OVERLAY {
            return format!("{NO_OVERLAY}{error}");
        }
        told(&doing)(error)
    })?;
    let ended = start(spec);
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

/// Takes from a mount what could serve to get out: devices, and writing where it is not wanted.
fn fasten(path: &Path, read_only: bool) -> rustix::io::Result<()> {
    let mut flags = MountFlags::BIND | MountFlags::NODEV;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    // Flags that a mount outside has cannot be taken off inside, and must be named again.
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

/// Returns the files by which names of hosts are resolved, where they really are, and where they
/// are looked for. Links are followed here, outside.
fn name_files() -> Vec<(PathBuf, &'static Path)> {
    let files = ["/etc/resolv.conf", "/etc/hosts"].map(Path::new);
    let real = |file: &'static Path| Some((std::fs::canonicalize(file).ok()?, file));
    files.into_iter().filter_map(real).collect()
}

/// Returns where a path leads when its last name is a link, also to what is not there.
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

/// Mounts the overlay at the root. The names are short and relative to the current directory,
/// because the options of a mount must fit in one page.
fn put_over(overlay: &Overlay, spec: &Spec) -> Done {
    // Otherwise a renamed directory, or a file with a new mode, would be incomplete in the upper
    // directory.
    let mut options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=nofollow",
        overlay.lower.join(":"),
        overlay.upper,
        overlay.work
    );
    if !spec.root_outside {
        options.push_str(",userxattr");
    }
    let options = CString::new(options).map_err(io::Error::other);
    let options = doing("mount its root", options)?;
    doing("mount its root", rustix::process::chdir(&overlay.dir))?;
    let flags = MountFlags::NODEV;
    let mounted = mount("overlay", &spec.root, "overlay", flags, Some(&*options));
    doing(NO_OVERLAY, mounted)
}

impl Room {
    fn build(&mut self, spec: &Spec) -> Done {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        doing("keep its mounts to itself", mount_change("/", private))?;
        match &spec.overlay {
            Some(overlay) => put_over(overlay, spec)?,
            None => doing(
                "mount its root",
                mount_bind_recursive(&spec.root, &spec.root),
            )?,
        }
        // Devices that a command makes are files that nobody can open.
        if spec.root_outside && spec.overlay.is_none() {
            doing("mount its root", fasten(&spec.root, false))?;
        }
        let names = if spec.network {
            name_files()
        } else {
            Vec::new()
        };
        let old = tempfile::Builder::new().prefix(OLD).tempdir_in(&spec.root);
        let old = doing("make room for the old root", old)?.keep();
        doing("go into its root", rustix::process::chdir(&spec.root))?;
        let name = old.file_name().map(PathBuf::from).unwrap_or_default();
        doing("change its root", rustix::process::pivot_root(".", &name))?;
        doing("go into its root", rustix::process::chdir("/"))?;
        let old = Path::new("/").join(name);
        self.proc(&old)?;
        self.dev(&old)?;
        self.sys(&old)?;
        if Path::new("/etc").is_dir() {
            for (source, target) in names {
                let source = old.join(source.strip_prefix("/").unwrap_or(&source));
                self.bind(&source, &followed(target)?, true)?;
            }
        }
        for mount in &spec.mounts {
            let target = Path::new(&mount.target);
            match &mount.source {
                Some(source) => {
                    let source = old.join(source.strip_prefix("/").unwrap_or(source));
                    self.bind(&source, target, mount.read_only)?;
                }
                None => self.memory(target, mount.size, mount.read_only)?,
            }
        }
        doing("leave the old root", unmount(&old, UnmountFlags::DETACH))?;
        doing("leave the old root", std::fs::remove_dir(&old))?;
        self.directory(Path::new(&spec.directory))?;
        // That one stays: the step begins there.
        self.made
            .retain(|made| !Path::new(&spec.directory).starts_with(made));
        Ok(())
    }

    /// `/proc`, without what in it belongs to the whole host: root inside may be root outside.
    fn proc(&mut self, old: &Path) -> Done {
        let proc = Path::new("/proc");
        self.directory(proc)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if mount("proc", proc, "proc", flags, None).is_err() {
            // Inside a container with a masked /proc only that one is to be had.
            doing("mount /proc", mount_bind_recursive(old.join("proc"), proc))?;
        }
        self.mounted.push(proc.to_owned());
        for name in READ_ONLY {
            let path = proc.join(name);
            if path.exists() {
                let what = format!("protect `{}`", path.display());
                doing(&what, mount_bind_recursive(&path, &path))?;
                doing(&what, fasten(&path, true))?;
            }
        }
        for name in HIDDEN {
            let path = proc.join(name);
            if path.exists() {
                let what = format!("hide `{}`", path.display());
                doing(&what, mount_bind(old.join("dev/null"), &path))?;
            }
        }
        Ok(())
    }

    fn dev(&mut self, old: &Path) -> Done {
        let dev = Path::new("/dev");
        self.directory(dev)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let mode = Some(c"mode=0755");
        doing("mount /dev", mount("tmpfs", dev, "tmpfs", flags, mode))?;
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
        let shared = dev.join("shm");
        doing("fill /dev", std::fs::create_dir(&shared))?;
        let everybody = std::fs::Permissions::from_mode(0o1777);
        doing("fill /dev", std::fs::set_permissions(&shared, everybody))
    }

    /// `/sys` as it is outside, and nothing that is mounted in it: of that, some could be written.
    /// Where only all of it can be had, as without privileges, it is empty.
    fn sys(&mut self, old: &Path) -> Done {
        let sys = Path::new("/sys");
        self.directory(sys)?;
        let outside = old.join("sys");
        if mount_bind(&outside, sys).is_ok() {
            self.mounted.push(sys.to_owned());
            return doing("protect `/sys`", fasten(sys, true));
        }
        let flags =
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
        doing("mount /sys", mount("tmpfs", sys, "tmpfs", flags, None))?;
        self.mounted.push(sys.to_owned());
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
    // A name with a slash is meant from where the command begins.
    let path = if program.contains('/') {
        Path::new(&spec.directory).join(program).into_os_string()
    } else {
        OsString::from(program)
    };
    let Some(found) = tool::find(&path, search) else {
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
    let mut child = restricted(&mut command)?.map_err(|error| match error.raw_os_error() {
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

/// Starts a command with what a container may do. What takes it away holds for a thread and its
/// children, and this process goes on: so a thread starts it.
fn restricted(command: &mut Command) -> Result<io::Result<Child>, String> {
    let lost = |what: String| format!("could not be started: cannot give up privileges: {what}");
    let filters = filter::programs().map_err(lost)?;
    let start = || -> Result<io::Result<Child>, String> {
        restrict()?;
        let no_core = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, no_core).map_err(|errno| lost(errno.to_string()))?;
        set_no_new_privs(true).map_err(|errno| lost(errno.to_string()))?;
        for filter in &filters {
            seccompiler::apply_filter(filter).map_err(|error| lost(error.to_string()))?;
        }
        Ok(command.spawn())
    };
    std::thread::scope(|scope| scope.spawn(start).join())
        .unwrap_or_else(|_| Err(lost("the thread died".to_owned())))
}

/// Takes from our children what a container has not.
fn restrict() -> Result<(), String> {
    for capability in CapabilitySet::all().iter() {
        if KEPT.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // This kernel does not know the capability, so nobody has it.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => {
                return Err(format!(
                    "could not be started: cannot drop a capability: {errno}"
                ));
            }
        }
    }
    Ok(())
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
    let passwd = small_text("/etc/passwd")?;
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

/// Reads a file of the image; one that is missing is empty. It may be anything, and a link to
/// anything inside.
fn small_text(path: &str) -> Result<String, String> {
    match kraft_sys::fs::read_file(Path::new(path), LARGEST_TEXT) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(String::new())
        }
        Err(error) => Err(format!("could not be started: {error}: {}", error.source)),
    }
}

fn group_number(group: &str) -> Result<u32, String> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = small_text("/etc/group")?;
    let line = groups
        .lines()
        .find(|line| line.split(':').next() == Some(group));
    line.and_then(|line| line.split(':').nth(2)?.parse().ok())
        .ok_or_else(|| format!("could not be started: `/etc/group` knows no `{group}`"))
}
