//! Commands in a root of their own, without a daemon and without privileges: Linux namespaces, as
//! util-linux's `unshare` makes them.
//!
//! ```text
//! kraft ── unshare (namespaces, user map) ── kraft WORD SPEC (init of the new pid namespace)
//!   ▲ lines                                    mounts, pivots, then starts the command
//! ```
//!
//! Namespaces are for processes with one thread only, so what happens inside is done by this very
//! program, started anew by a hidden word ([`enter`]). It holds a pipe to who started it: whoever
//! kills that, also without mercy, ends everything inside.
//!
//! Who is root maps nobody: files keep their owners. Everybody else is root inside and nobody else,
//! so a command that gives files away fails.

mod filter;
mod inside;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kraft_sys::stream::{self, End};
use kraft_sys::tool::{self, Tool};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};

use crate::dockerfile::{Command, Mount, MountSource, Network, Root, RunFault, Runner};

pub use inside::enter;

/// The hidden word that starts this program inside.
pub const WORD: &str = "__step";
/// How the inside ends when it could not start the command.
const NOT_STARTED: i32 = 125;
/// Prefix of its message when the overlay cannot be mounted.
const NO_OVERLAY: &str = "no overlay: ";
/// What the namespaces' trial may take.
const TRIAL: Duration = Duration::from_secs(10);

/// Settings of the kernel that forbid user namespaces: where, what they are then, and the cure.
const FORBIDDEN: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "sysctl user.max_user_namespaces=10000",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

/// Runs commands in namespaces.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// This program.
    me: PathBuf,
    /// A sealed copy of it, made for the first command: inside, nothing leads back to the file on
    /// disk.
    copy: Arc<OnceLock<OwnedFd>>,
    /// Where the descriptions of commands are laid down.
    scratch: PathBuf,
    root: bool,
    network: Network,
}

/// What the inside is told. It is never shown: variables may be secrets.
#[derive(Serialize, Deserialize)]
struct Spec {
    /// What a line begins with that the inside writes itself. A command cannot know it.
    mark: String,
    root: PathBuf,
    overlay: Option<Overlay>,
    words: Vec<String>,
    environment: Vec<(String, String)>,
    directory: String,
    user: String,
    network: bool,
    mounts: Vec<SpecMount>,
    /// Whether files keep their owners.
    root_outside: bool,
}

/// The overlay to mount at the root.
#[derive(Serialize, Deserialize)]
struct Overlay {
    /// The directory that the other names are relative to.
    dir: PathBuf,
    lower: Vec<String>,
    upper: String,
    work: String,
}

/// A mount over the root.
#[derive(Serialize, Deserialize)]
struct SpecMount {
    /// Where it is outside; `None` for a directory in memory.
    source: Option<PathBuf>,
    /// Largest size of a directory in memory in bytes; 0 is the default of the kernel.
    size: u64,
    target: String,
    read_only: bool,
}

impl Sandbox {
    /// Finds out whether this host lets us run commands so; otherwise says why not, and what to do.
    /// `me` is this program, which calls [`enter`] when it is started with [`WORD`].
    /// `network` is what commands see of the network unless they ask for less themselves.
    pub fn find(me: &Path, scratch: &Path, network: Network) -> Result<Self, String> {
        let root = rustix::process::geteuid().is_root();
        if tool::locate("unshare".as_ref()).is_none() {
            return Err("the program `unshare` is missing; install util-linux".to_owned());
        }
        let trial = Tool::new("unshare")
            .args(flags(root, true))
            .args(["true"])
            .limit(TRIAL)
            .output();
        match trial {
            Ok(output) if output.status.success() => Ok(Self {
                me: me.to_owned(),
                copy: Arc::default(),
                scratch: scratch.to_owned(),
                root,
                network,
            }),
            Ok(output) => Err(forbidden(&String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(error.to_string()),
        }
    }

    fn process(&self, spec: &Path, network: bool) -> io::Result<Process> {
        let copy = if let Some(copy) = self.copy.get() {
            copy
        } else {
            let made = sealed_copy(&self.me)?;
            self.copy.get_or_init(|| made)
        };
        let mut process = tool::command("unshare");
        process.args(flags(self.root, network));
        let copy = format!("/proc/self/fd/{}", copy.as_raw_fd());
        process.arg("--").arg(copy).arg(WORD).arg(spec);
        Ok(process)
    }
}

/// Copies a program into memory that is sealed against writing. Children inherit the descriptor.
///
/// A step that was started from the program on disk could change its mode or owner through
/// `/proc/self/exe` (the class of CVE-2019-5736).
fn sealed_copy(program: &Path) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create("kraft-step", flags)?;
    let mut copy = File::from(copy);
    io::copy(&mut File::open(program)?, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

fn flags(root: bool, network: bool) -> Vec<&'static str> {
    let mut flags = vec![
        "--fork",
        "--kill-child",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
    ];
    if !root {
        flags.extend(["--user", "--map-root-user"]);
    }
    if !network {
        flags.push("--net");
    }
    flags
}

/// Says why namespaces are not to be had.
fn forbidden(said: &str) -> String {
    for (path, value, cure) in FORBIDDEN {
        let now = kraft_sys::fs::read_file(Path::new(path), 64).unwrap_or_default();
        if String::from_utf8_lossy(&now).trim() == value {
            return format!("this system forbids user namespaces; allow them: `sudo {cure}`");
        }
    }
    let said = said.lines().next_back().unwrap_or("no reason was given");
    format!("this system gives us no namespaces ({})", said.trim())
}

impl Runner for Sandbox {
    fn run(
        &self,
        root: &Root,
        command: &Command,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), RunFault> {
        let broken =
            |error: io::Error| RunFault::Host(format!("cannot start the command: {error}"));
        let network = [self.network, command.network] == [Network::Host; 2];
        let spec = Spec::new(root, command, self.root, network).map_err(broken)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.scratch).map_err(broken)?;
        serde_json::to_writer(&mut file, &spec).map_err(|error| broken(error.into()))?;
        file.flush().map_err(broken)?;
        // Nothing is ever written: its end is the news.
        let (lifeline, held) = io::pipe().map_err(broken)?;
        let process = self.process(file.path(), network).map_err(broken)?;
        let mut ours = None;
        let ended = stream::lines_with_input(
            process,
            Stdio::from(lifeline),
            |bytes| {
                let text = String::from_utf8_lossy(bytes);
                match text.strip_prefix(&spec.mark) {
                    Some(text) => ours = Some(text.to_owned()),
                    None => line(text.trim_end_matches('\r')),
                }
            },
            || false,
        );
        drop(held);
        let status = match ended.map_err(broken)? {
            End::Itself(status) => status,
            End::Stopped => return Err(RunFault::Host("the command was stopped".to_owned())),
        };
        match (status.code(), ours) {
            (Some(0), _) => Ok(()),
            (Some(NOT_STARTED), Some(why)) => Err(match why.strip_prefix(NO_OVERLAY) {
                Some(why) => RunFault::NoOverlay(why.to_owned()),
                None => RunFault::Failed { how: why },
            }),
            (Some(code), _) => Err(RunFault::Failed {
                how: format!("ended with code {code}"),
            }),
            (None, _) => Err(RunFault::Failed {
                how: "was killed".to_owned(),
            }),
        }
    }

    fn keeps_owners(&self) -> bool {
        self.root
    }

    fn network(&self) -> Network {
        self.network
    }
}

impl Spec {
    fn new(root: &Root, command: &Command, root_outside: bool, network: bool) -> io::Result<Self> {
        let mount = |mount: &Mount| -> io::Result<SpecMount> {
            let (source, size) = match &mount.source {
                MountSource::Path(path) => (Some(path.canonicalize()?), 0),
                MountSource::Memory { size } => (None, *size),
            };
            Ok(SpecMount {
                source,
                size,
                target: mount.target.clone(),
                read_only: mount.read_only,
            })
        };
        let (root, overlay) = match root {
            Root::Directory(root) => (root.canonicalize()?, None),
            Root::Layers {
                dir,
                lower,
                upper,
                work,
                at,
            } => {
                let dir = dir.canonicalize()?;
                let overlay = Overlay {
                    lower: lower.clone(),
                    upper: upper.clone(),
                    work: work.clone(),
                    dir,
                };
                (overlay.dir.join(at), Some(overlay))
            }
        };
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(Self {
            mark: format!("kraft-{:032x}: ", u128::from_ne_bytes(random)),
            root,
            overlay,
            words: command.words.clone(),
            environment: command.environment.clone().into_iter().collect(),
            directory: command.directory.clone(),
            user: command.user.clone(),
            network,
            mounts: command.mounts.iter().map(mount).collect::<Result<_, _>>()?,
            root_outside,
        })
    }

    fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_reader(File::open(path)?)?)
    }
}
