//! A bundle → a machine: one pure function.
//!
//! All that an image, an annotation or a label can influence passes through here. It may choose what
//! the guest runs, its environment, and sizes within limits; never a program or a file of the host, nor
//! an option of a VMM.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use kraft_core::arch::Arch;
//! use kraft_core::host::{Host, Kvm};
//! use kraft_core::kernel::abilities::Abilities;
//! use kraft_core::kernel::{BootProtocol, Guest, KernelImage};
//! use kraft_machine::driver::Drivers;
//! use kraft_runu::config::Config;
//! use kraft_runu::decide::{Found, Limits, decide};
//!
//! let config = Config::parse(br#"{"process": {"args": ["/unikraft/bin/kernel", "/server"]},
//!     "linux": {"resources": {"memory": {"limit": 134217728}}}}"#)?;
//! let found = Found {
//!     kernel: "/bundle/rootfs/unikraft/bin/kernel".into(),
//!     image: KernelImage {
//!         arch: Arch::X86_64,
//!         boot: BootProtocol::Pvh,
//!         guest: Guest::Runtime,
//!     },
//!     abilities: Abilities::RUNTIME,
//!     initrd: None,
//!     sources: BTreeMap::new(),
//! };
//! let host = Host {
//!     arch: Some(Arch::X86_64),
//!     kvm: Kvm::Disabled,
//!     vmms: Drivers::default().support(),
//! };
//! let limits = Limits { overhead: 64 << 20, kvm: true, firecracker: false };
//! let decision = decide(&config, &found, &host, limits).expect("a machine");
//! assert_eq!(decision.spec.args, ["/server"]);
//! assert_eq!(decision.spec.memory, 128 << 20);
//! assert_eq!(decision.resources.memory_limit(), Some(192 << 20));
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kraft_core::host::{Host, Kvm};
use kraft_core::kernel::abilities::Abilities;
use kraft_core::kernel::{BootProtocol, Guest, KernelImage};
use kraft_core::machine::MachineSpec;
use kraft_core::mount::Volume;
use kraft_core::plan::{self, Boot, RunRequest};
use kraft_core::platform::Platform;
use kraft_core::quantity::{self, MIB};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Mount, Process, Resources};

/// The path of the kernel in a root file system, which marks it as that of a unikernel.
pub const KERNEL: &str = "unikraft/bin/kernel";
/// The path of its root archive.
pub const INITRD: &str = "unikraft/bin/initrd";
/// The path of what `kraft pkg` notes for this runtime; see [`Metadata`].
pub const METADATA: &str = "unikraft/runu.json";
/// The path of the program that `kraft pkg` adds for engines without this runtime.
pub const STAND_IN: &str = "unikraft/bin/needs-runu";

/// The annotations that count; all others are ignored.
pub const ANNOTATIONS: [&str; 3] = [MEMORY, CPUS, ACCELERATION];
const MEMORY: &str = "org.unikraft.runu.memory";
const CPUS: &str = "org.unikraft.runu.cpus";
const ACCELERATION: &str = "org.unikraft.runu.acceleration";

/// The largest number of processors that an annotation or a limit of processor time can ask for.
const MOST_CPUS: u32 = 32;

/// What `kraft pkg` notes in the image (`/unikraft/runu.json`). Unknown fields are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The version of the format: 1.
    pub version: u32,
    /// The platform that the kernel was built for.
    pub platform: String,
    /// Its architecture.
    pub architecture: String,
    /// The version of its sources.
    pub kernel_version: String,
    /// The options that it was built with: `CONFIG_NAME=y`.
    pub features: Vec<String>,
}

/// What was found in the bundle's root file system and among the sources of its mounts.
#[derive(Clone, Debug)]
pub struct Found {
    /// The absolute path of the kernel.
    pub kernel: PathBuf,
    /// What it is.
    pub image: KernelImage,
    /// What it can do.
    pub abilities: Abilities,
    /// The absolute path of the root archive, if there is one.
    pub initrd: Option<PathBuf>,
    /// What the sources of bind mounts are.
    pub sources: BTreeMap<PathBuf, SourceKind>,
}

/// What the source of a bind mount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// Something else: a device, a socket.
    Other,
}

/// How this host's machines differ.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The memory that a VMM needs beside that of its guest, in bytes.
    pub overhead: u64,
    /// Whether guests may run under KVM.
    pub kvm: bool,
    /// Whether Firecracker is installed.
    pub firecracker: bool,
}

/// A machine that was decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The machine, without its networks: these are known when it starts.
    pub spec: MachineSpec,
    /// Files of the host that the guest gets copies of.
    pub files: Vec<CopiedFile>,
    /// Directories of the guest where the container has a file system in memory.
    pub directories: Vec<String>,
    /// The limits of the control group: those of the guest and of its VMM.
    pub resources: Resources,
    /// What the guest does without, as sentences.
    pub notes: Vec<String>,
}

/// A file of the host that the guest gets a copy of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFile {
    /// Its path on the host.
    pub source: PathBuf,
    /// Its path in the guest.
    pub destination: String,
}

/// Decides which machine a bundle describes.
///
/// # Errors
///
/// Every reason why there is none, as a sentence each.
pub fn decide(
    config: &Config,
    found: &Found,
    host: &Host,
    limits: Limits,
) -> Result<Decision, Vec<String>> {
    let Some(process) = &config.process else {
        return Err(vec!["config.json has no `process`".to_owned()]);
    };
    let mut wrong = Vec::new();
    if !is_supported(&config.oci_version) {
        wrong.push(format!(
            "config.json: `{}` is not a supported `ociVersion`: expected 1.x.y",
            shown(&config.oci_version)
        ));
    }
    let mut notes = Vec::new();
    let (volumes, files) = mounts(config, found, &mut notes);
    let resources = &config.linux.resources;
    let asked = Asked::of(&config.annotations, resources, &mut wrong);
    let disabled = !limits.kvm || asked.translated;
    let request = RunRequest {
        platform: platform(
            found.image.boot,
            host,
            disabled || !limits.firecracker || !volumes.is_empty(),
        ),
        memory: asked.memory.or(resources.memory_limit()),
        cpus: Some(cpus(found.image.guest, &asked, resources)),
        volumes,
        disable_acceleration: disabled,
        stdin: true,
        tty: process.terminal,
        ..RunRequest::default()
    };
    let boot = Boot {
        origin: "oci-bundle".to_owned(),
        kernel: found.kernel.clone(),
        image: found.image,
        abilities: found.abilities,
        mounts_initrd: found.initrd.is_some() && found.image.guest == Guest::Unikraft,
        initrd: found.initrd.clone(),
        args: args(process),
        workdir: Some(process.cwd.clone()).filter(|cwd| !cwd.is_empty()),
        env: env(process),
        labels: BTreeMap::new(),
    };
    let planned = match plan::plan(&request, &boot, host) {
        Ok(planned) if wrong.is_empty() => planned,
        Ok(_) => return Err(wrong),
        Err(problems) => {
            wrong.extend(problems.into_iter().map(|problem| problem.message));
            return Err(wrong);
        }
    };
    notes.extend(planned.notes.into_iter().map(|note| note.message));
    Ok(Decision {
        spec: planned.spec,
        files,
        directories: directories(config),
        resources: with_overhead(resources, limits.overhead),
        notes,
    })
}

/// Returns whether a version of the specification is one whose configurations are understood: those of the
/// first major version are compatible. Some programs leave it out.
fn is_supported(version: &str) -> bool {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = numbers.split('.').map(|number| number.parse::<u32>().ok());
    let [major, minor, patch] = [(); 3].map(|()| numbers.next().flatten());
    let is_first = major == Some(1) && minor.is_some() && patch.is_some();
    version.is_empty() || is_first && numbers.next().is_none()
}

/// The sizes that annotations ask for.
#[derive(Debug, Default)]
struct Asked {
    memory: Option<u64>,
    cpus: Option<u32>,
    translated: bool,
}

impl Asked {
    fn of(
        annotations: &BTreeMap<String, String>,
        resources: &Resources,
        wrong: &mut Vec<String>,
    ) -> Self {
        let mut asked = Self::default();
        if let Some(text) = annotations.get(MEMORY) {
            let most = resources.memory_limit();
            match quantity::parse(text) {
                Ok(bytes) if bytes < MIB => {
                    wrong.push(format!("annotation `{MEMORY}`: expected at least 1Mi"));
                }
                Ok(bytes) if most.is_none_or(|most| bytes <= most) => asked.memory = Some(bytes),
                Ok(_) => wrong.push(format!(
                    "annotation `{MEMORY}`: `{}` is more than the memory limit of the container",
                    shown(text)
                )),
                Err(_) => wrong.push(format!(
                    "annotation `{MEMORY}`: `{}` is not a size, such as 64Mi",
                    shown(text)
                )),
            }
        }
        if let Some(text) = annotations.get(CPUS) {
            match text.parse() {
                Ok(cpus @ 1..=MOST_CPUS) => asked.cpus = Some(cpus),
                _ => wrong.push(format!(
                    "annotation `{CPUS}`: expected 1-{MOST_CPUS}, not `{}`",
                    shown(text)
                )),
            }
        }
        match annotations.get(ACCELERATION).map(String::as_str) {
            None | Some("auto") => {}
            Some("tcg") => asked.translated = true,
            Some(text) => wrong.push(format!(
                "annotation `{ACCELERATION}`: expected auto or tcg, not `{}`",
                shown(text)
            )),
        }
        asked
    }
}

/// Returns a text of unknown origin for a message.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// Chooses the platform: QEMU where a kernel for Firecracker cannot have that; `None` for the kernel's
/// own.
fn platform(boot: BootProtocol, host: &Host, not_firecracker: bool) -> Option<Platform> {
    let firecracker = boot.platform() == Platform::Firecracker;
    (firecracker && (not_firecracker || host.kvm != Kvm::Works)).then_some(Platform::Qemu)
}

/// Returns the number of processors: the annotation's, else as many as the limit of processor time keeps
/// busy. The built-in runtime uses one.
fn cpus(guest: Guest, asked: &Asked, resources: &Resources) -> u32 {
    if guest == Guest::Runtime {
        return 1;
    }
    let by_time = || {
        let cpu = resources.cpu.as_ref()?;
        let quota = u64::try_from(cpu.quota?).ok().filter(|quota| *quota > 0)?;
        let period = cpu.period.filter(|period| *period > 0).unwrap_or(100_000);
        Some(u32::try_from(quota.div_ceil(period)).unwrap_or(MOST_CPUS))
    };
    let cpus = asked.cpus.or_else(by_time).unwrap_or(1);
    cpus.clamp(1, MOST_CPUS)
}

/// Returns the limits of the control group: the limit of memory is that of the guest, so what the VMM
/// needs is added, and a VMM has threads.
pub fn with_overhead(resources: &Resources, overhead: u64) -> Resources {
    let add = |bytes: i64| match bytes {
        ..=0 => bytes,
        bytes => bytes.saturating_add(i64::try_from(overhead).unwrap_or(i64::MAX)),
    };
    let mut all = resources.clone();
    if let Some(memory) = &mut all.memory {
        memory.limit = memory.limit.map(add);
        memory.swap = memory.swap.map(add);
        memory.reservation = memory.reservation.map(add);
    }
    if let Some(limit) = all.pids.as_mut().and_then(|pids| pids.limit.as_mut())
        && *limit > 0
    {
        *limit = (*limit).max(LEAST_PIDS);
    }
    all
}

/// The smallest limit of the number of threads with which a VMM starts.
const LEAST_PIDS: i64 = 64;

/// Programs that engines put in front of the container's own, for `--init`.
const INITS: [&str; 4] = [
    "/sbin/docker-init",
    "/dev/init",
    "/run/podman-init",
    "/catatonit",
];

/// Returns the arguments of the application: without the kernel, or the program in its place, and without a
/// program that reaps processes.
fn args(process: &Process) -> Vec<String> {
    let mut args = process.args.as_slice();
    if let [first, rest @ ..] = args
        && INITS.contains(&first.as_str())
    {
        args = match rest {
            [stop, rest @ ..] if stop == "--" => rest,
            rest => rest,
        };
    }
    if let [first, rest @ ..] = args
        && [KERNEL, STAND_IN].contains(&first.trim_start_matches('/'))
    {
        args = rest;
    }
    let begins_with_parameter = args.first().is_some_and(|first| is_parameter(first));
    if begins_with_parameter {
        return args.to_vec();
    }
    // In front of a `--` are parameters of the kernel, which a container's arguments are not.
    [&["--".to_owned()], args].concat()
}

/// Returns whether an argument is a parameter of a kernel: `library.name=value`.
fn is_parameter(argument: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let name = argument.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.contains('.') && name.chars().all(fine))
}

fn env(process: &Process) -> BTreeMap<String, String> {
    let pairs = process.env.iter().filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Files of the engine that say who the container is: the guest gets copies of them.
const IDENTITY: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"];

/// Places of a container that a machine has none of, or of its own.
const OWN: [&str; 5] = [
    "/proc",
    "/dev",
    "/sys",
    "/run/.containerenv",
    "/sbin/docker-init",
];

/// Sorts the mounts into directories that the guest mounts, and files that it gets copies of.
fn mounts(
    config: &Config,
    found: &Found,
    notes: &mut Vec<String>,
) -> (Vec<Volume>, Vec<CopiedFile>) {
    let (mut volumes, mut files) = (Vec::new(), Vec::new());
    for mount in config.mounts.iter().filter(|mount| mount.is_bind()) {
        let destination = kraft_core::mount::plain_path(Path::new(&mount.destination));
        let Some(destination) = destination.to_str().map(str::to_owned) else {
            continue;
        };
        if is_own(&destination) {
            continue;
        }
        let source = PathBuf::from(&mount.source);
        match found.sources.get(&source) {
            Some(SourceKind::Directory) => volumes.push(Volume {
                name: None,
                source,
                destination,
                read_only: mount.is_read_only(),
            }),
            Some(SourceKind::File) => {
                note_copy(mount, &destination, notes);
                files.push(CopiedFile {
                    source,
                    destination,
                });
            }
            Some(SourceKind::Other) | None => notes.push(format!(
                "`{}` is not mounted: its source is neither a directory nor a file",
                shown(&destination)
            )),
        }
    }
    (volumes, files)
}

/// Returns where the container has file systems in memory (`--tmpfs`). The guest's root is in memory as it
/// is, so it needs the directories only.
fn directories(config: &Config) -> Vec<String> {
    let in_memory = config.mounts.iter().filter(|mount| mount.kind == "tmpfs");
    let paths = in_memory.filter_map(|mount| {
        let path = kraft_core::mount::plain_path(Path::new(&mount.destination));
        path.to_str().map(str::to_owned)
    });
    paths.filter(|path| !is_own(path)).collect()
}

fn is_own(destination: &str) -> bool {
    let inside = |own: &&str| {
        let rest = destination.strip_prefix(*own);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    OWN.iter().any(inside) || destination == "/"
}

/// Notes that a file is copied although the guest could be expected to write it.
fn note_copy(mount: &Mount, destination: &str, notes: &mut Vec<String>) {
    if !mount.is_read_only() && !IDENTITY.contains(&destination) {
        notes.push(format!(
            "`{}` is a copy in the machine: what it writes there stays in the machine",
            shown(destination)
        ));
    }
}

#[cfg(test)]
mod tests;
