//! Runs commands in their own root, without a daemon and without privileges: in Linux namespaces.
//!
//! ```text
//! kraft ── copy of kraft (makes namespaces) ── init ── the command
//!   ▲ lines
//! ```
//!
//! Only a process with one thread can create namespaces, so this program is started again, with a
//! hidden argument ([`ARGUMENT`], [`enter`]), from a sealed copy. A pipe connects it to the process
//! that started it: when that ends, also by SIGKILL, everything inside ends.
//!
//! Root inside is a user without rights on the host ([`IdMap`]). If kraft is started by an ordinary
//! user, there are no other users inside, and `chown` to one fails.

mod command;
mod filter;
mod namespaces;
mod network;
mod outside;
mod root;
mod spec;
mod trees;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kraft_sys::stream::{self, End, Stop};
use kraft_sys::tool::{self, Tool};
use rustix::fs::{MemfdFlags, SealFlags};
use tempfile::NamedTempFile;

use self::network::{Access, Way};
use self::spec::{Overlay, Spec, Step, StepMount, StepSource};
use crate::dockerfile::{Command, Mount, MountSource, Network, Root, RunError, Runner};
use crate::ids::IdMap;

pub use namespaces::enter;

/// The hidden argument that starts this program as the process that creates namespaces.
pub const ARGUMENT: &str = "__step";
/// The exit code of a command that the system call filter killed: 128 and the number of SIGSYS.
const REFUSED: i32 = 128 + 31;
/// The exit code of the sandbox if it could not start the command.
const NOT_STARTED: i32 = 125;
/// Prefix of its message when the overlay cannot be mounted.
const NO_OVERLAY: &str = "no overlay: ";
/// Timeout of the check whether namespaces can be created.
const TRIAL: Duration = Duration::from_secs(10);
/// Name of the host inside, unless the network is the host's.
const HOSTNAME: &str = "kraft-build";

/// Kernel settings that forbid user namespaces: the file, the value, and the command that allows them.
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
///
/// ```no_run
/// use std::path::Path;
///
/// use kraft_rootfs::dockerfile::Network;
/// use kraft_rootfs::sandbox::Sandbox;
///
/// match Sandbox::find(Path::new("/proc/self/exe"), Network::Own) {
///     Ok(sandbox) => println!("{sandbox:?}"),
///     Err(reason) => eprintln!("no sandbox: {reason}"),
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// This program.
    me: PathBuf,
    /// A sealed copy of it, created for the first command: inside, nothing refers to the file on disk.
    copy: Arc<OnceLock<OwnedFd>>,
    /// Directory of files that are mounted for a command.
    scratch: PathBuf,
    /// Users and groups inside; `None` for an ordinary user, who is root there.
    ids: Option<IdMap>,
    network: Access,
    /// Why commands share the network of the host although that was not requested.
    no_way_out: Option<String>,
    deadline: Option<Instant>,
}

impl Sandbox {
    /// Checks whether this host allows it.
    ///
    /// `me` is this program, which calls [`enter`] when it is started with [`ARGUMENT`]. `network` is
    /// the network of commands unless they request less.
    ///
    /// # Errors
    ///
    /// The reason why it does not, and what to do.
    pub fn find(me: &Path, network: Network) -> Result<Self, String> {
        let ids = rustix::process::geteuid()
            .is_root()
            .then(IdMap::of_root)
            .transpose()
            .map_err(|error| format!("cannot read the users of this process: {error}"))?;
        try_out(me, ids.clone())?;
        let (network, no_way_out) = match network {
            Network::Host => (Access::Host, None),
            Network::None => (Access::None, None),
            Network::Own => match Way::find() {
                Ok(way) => (Access::Own(way), None),
                Err(why) => (Access::Host, Some(why)),
            },
        };
        Ok(Self {
            me: me.to_owned(),
            copy: Arc::default(),
            scratch: std::env::temp_dir(),
            ids,
            network,
            no_way_out,
            deadline: None,
        })
    }

    /// Returns the sandbox of one build, with its files in `scratch`. Commands that still run at the
    /// deadline are stopped.
    #[must_use]
    pub fn for_build(mut self, scratch: &Path, deadline: Option<Instant>) -> Self {
        scratch.clone_into(&mut self.scratch);
        self.deadline = deadline;
        self
    }

    /// Returns why commands share the network of the host although their own was requested.
    #[must_use]
    pub fn no_way_out(&self) -> Option<&str> {
        self.no_way_out.as_deref()
    }

    /// Returns the network of a command.
    fn access(&self, asked: Option<Network>) -> Result<Access, RunError> {
        match asked {
            None | Some(Network::Own) => Ok(self.network.clone()),
            Some(Network::None) => Ok(Access::None),
            Some(Network::Host) if self.network == Access::Host => Ok(Access::Host),
            Some(Network::Host) => Err(RunError::Failed {
                how: "requests the network of the host: allow it with `--build-network host`"
                    .to_owned(),
            }),
        }
    }

    fn process(&self) -> io::Result<Process> {
        let copy = if let Some(copy) = self.copy.get() {
            copy
        } else {
            let made = sealed_copy(&self.me)?;
            self.copy.get_or_init(|| made)
        };
        let copy = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let mut process = tool::command(copy);
        process.arg(ARGUMENT);
        Ok(process)
    }

    /// Returns the files with which a command resolves host names, and their owner.
    fn names(&self, access: &Access) -> io::Result<(Vec<StepMount>, Vec<NamedTempFile>)> {
        let mount = |source: PathBuf, target: &str| StepMount {
            source: StepSource::Path(source),
            target: target.to_owned(),
            read_only: true,
            over_links: true,
        };
        match access {
            Access::Host => {
                let files = network::name_files().into_iter();
                let mounts = files.map(|(source, target)| mount(source, target));
                Ok((mounts.collect(), Vec::new()))
            }
            Access::None => Ok((Vec::new(), Vec::new())),
            Access::Own(way) => {
                let hosts = format!("127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost\n");
                let texts = [("/etc/resolv.conf", way.resolver()), ("/etc/hosts", hosts)];
                let (mut mounts, mut files) = (Vec::new(), Vec::new());
                for (target, text) in texts {
                    let mut file = NamedTempFile::new_in(&self.scratch)?;
                    file.write_all(text.as_bytes())?;
                    let readable = std::fs::Permissions::from_mode(0o644);
                    file.as_file().set_permissions(readable)?;
                    mounts.push(mount(file.path().canonicalize()?, target));
                    files.push(file);
                }
                Ok((mounts, files))
            }
        }
    }
}

/// Creates namespaces, to check whether this host allows it.
fn try_out(me: &Path, ids: Option<IdMap>) -> Result<(), String> {
    let mut request = Vec::new();
    let spec = Spec {
        ids,
        network: Access::None,
        step: None,
    };
    spec.write(&mut request)
        .map_err(|error| error.to_string())?;
    let trial = Tool::new(me).args([ARGUMENT]).input(request).limit(TRIAL);
    match trial.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(forbidden(&String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(error.to_string()),
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

/// Exits without running destructors, from any thread.
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "forks exit with this, and the init of a namespace ends everything in it by ending"
)]
fn end_now(code: i32) -> ! {
    std::process::exit(code);
}

/// Returns why namespaces cannot be created.
fn forbidden(output: &str) -> String {
    for (path, value, cure) in FORBIDDEN {
        let now = kraft_sys::fs::read_file(Path::new(path), 64).unwrap_or_default();
        if String::from_utf8_lossy(&now).trim() == value {
            return format!("this system forbids user namespaces; allow them: `sudo {cure}`");
        }
    }
    let reason = output.lines().next_back().unwrap_or("no reason was given");
    format!("this system refuses namespaces ({})", reason.trim())
}

impl Runner for Sandbox {
    fn run(
        &self,
        root: &Root,
        command: &Command,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), RunError> {
        let broken =
            |error: io::Error| RunError::Host(format!("cannot start the command: {error}"));
        let access = self.access(command.network)?;
        let mut step = Step::new(root, command, self.ids.is_some()).map_err(broken)?;
        // They are removed when the command has ended.
        let (names, _files) = self.names(&access).map_err(broken)?;
        step.mounts.splice(0..0, names);
        let mark = step.mark.clone();
        let spec = Spec {
            ids: self.ids.clone(),
            network: access,
            step: Some(step),
        };
        let process = self.process().map_err(broken)?;
        // After the request nothing is written: the end of the stream is the signal.
        let (input, held) = io::pipe().map_err(broken)?;
        let mut ours = None;
        let ended = std::thread::scope(|scope| {
            // If the other end is gone, so is the process, and its exit is handled below.
            scope.spawn(|| spec.write(&held));
            stream::lines_with_input(
                process,
                Stdio::from(input),
                |bytes| {
                    let text = String::from_utf8_lossy(bytes);
                    match text.strip_prefix(&mark) {
                        Some(text) => ours = Some(text.to_owned()),
                        None => line(text.trim_end_matches('\r')),
                    }
                },
                Stop {
                    cancelled: None,
                    deadline: self.deadline,
                },
            )
        });
        drop(held);
        let status = match ended.map_err(broken)? {
            End::Itself(status) => status,
            End::Stopped => {
                let how = "was stopped: the build timed out".to_owned();
                return Err(RunError::Failed { how });
            }
        };
        match (status.code(), ours) {
            (Some(0), _) => Ok(()),
            (Some(NOT_STARTED), Some(why)) => Err(match why.strip_prefix(NO_OVERLAY) {
                Some(why) => RunError::NoOverlay(why.to_owned()),
                None => RunError::Failed { how: why },
            }),
            (Some(REFUSED), _) => Err(RunError::Failed {
                how: format!(
                    "ended with code {REFUSED}: a 32-bit program, or a system call that build \
                     steps must not make; `--builder docker` or `buildkit` may run it"
                ),
            }),
            (Some(code), _) => Err(RunError::Failed {
                how: format!("ended with code {code}"),
            }),
            (None, _) => Err(RunError::Failed {
                how: "was killed".to_owned(),
            }),
        }
    }

    fn ids(&self) -> Option<&IdMap> {
        self.ids.as_ref()
    }

    fn network(&self) -> Network {
        match self.network {
            Access::Host => Network::Host,
            Access::None => Network::None,
            Access::Own(_) => Network::Own,
        }
    }
}

impl Step {
    fn new(root: &Root, command: &Command, has_users: bool) -> io::Result<Self> {
        let mount = |mount: &Mount| -> io::Result<StepMount> {
            let source = match &mount.source {
                MountSource::Path(path) => StepSource::Path(path.canonicalize()?),
                MountSource::Memory { size } => StepSource::Memory(*size),
            };
            Ok(StepMount {
                source,
                target: mount.target.clone(),
                read_only: mount.read_only,
                over_links: false,
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
                let overlay = Overlay {
                    dir: dir.canonicalize()?,
                    lower: lower.clone(),
                    upper: upper.clone(),
                    work: work.clone(),
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
            has_users,
            mounts: command.mounts.iter().map(mount).collect::<Result<_, _>>()?,
        })
    }
}
