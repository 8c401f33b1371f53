//! Plans a machine: combines the request, the kernel and the abilities of this host into one
//! specification.
//!
//! Planning has no effects, so a plan can be printed, compared and discarded. All errors are
//! returned at once, each naming the flag that caused it.
//!
//! | value | from the first that has one |
//! |---|---|
//! | kernel parameters | `--kernel-arg`; the arguments before a `--`; none |
//! | arguments | typed ones; those of the project or image |
//! | environment | `--env` over that of the project or image, name by name |
//! | architecture | the kernel; `--arch` can only agree |
//! | platform | `--plat`; the one that boots this kind of kernel |
//! | memory | `--memory`; 64Mi, or what the root filesystem needs |
//! | CPUs | `--cpus`; 1 |
//!
//! ```
//! use std::io::Cursor;
//!
//! use kraft_core::arch::Arch;
//! use kraft_core::host::{Host, Kvm, VmmSupport};
//! use kraft_core::kernel::{BootProtocol, identify};
//! use kraft_core::machine::Acceleration;
//! use kraft_core::plan::{Boot, RunRequest, plan};
//! use kraft_core::platform::Platform;
//!
//! let mut image = vec![0; 64];
//! image[56..60].copy_from_slice(b"ARM\x64");
//! let boot = Boot {
//!     origin: "./kernel".to_owned(),
//!     kernel: "/srv/kernel".into(),
//!     image: identify(&mut Cursor::new(&image))?,
//!     abilities: Default::default(),
//!     initrd: None,
//!     mounts_initrd: false,
//!     args: vec!["/server".to_owned()],
//!     workdir: None,
//!     env: Default::default(),
//!     labels: Default::default(),
//! };
//! let host = Host {
//!     arch: Some(Arch::X86_64),
//!     kvm: Kvm::Disabled,
//!     vmms: vec![VmmSupport {
//!         platform: Platform::Qemu,
//!         boots: vec![BootProtocol::Arm64Image],
//!         ipv6_ports: true,
//!         limits: Default::default(),
//!     }],
//! };
//! let request = RunRequest { memory: Some(128 << 20), ..RunRequest::default() };
//! let planned = plan(&request, &boot, &host).expect("a machine that can run");
//! assert_eq!(planned.spec.memory, 128 << 20);
//! assert_eq!(planned.spec.args, ["/server"]);
//! assert_eq!(planned.spec.acceleration, Acceleration::Tcg);
//!
//! // The errors name what contradicts the kernel.
//! let request = RunRequest { arch: Some(Arch::X86_64), ..RunRequest::default() };
//! assert!(plan(&request, &boot, &host).is_err());
//! # Ok::<(), kraft_core::kernel::NotAKernel>(())
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::cmdline::CommandLine;
use crate::host::{Host, Kvm, VmmSupport};
use crate::kernel::abilities::Abilities;
use crate::kernel::{BootProtocol, Guest, KernelImage};
use crate::lifecycle::{Lifecycle, RestartPolicy};
use crate::machine::{self, Acceleration, MachineSpec};
use crate::mount::{self, Volume};
use crate::net::{self, Interface};
use crate::platform::Platform;
use crate::port::PortMapping;
use crate::problem::Problem;
use crate::quantity::{self, MIB};

/// The default memory of a machine, in bytes.
pub const DEFAULT_MEMORY: u64 = 64 * MIB;
/// The minimal memory of a machine, in bytes.
pub const LEAST_MEMORY: u64 = MIB;

/// The request of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRequest {
    /// `--name`.
    pub name: Option<String>,
    /// `--plat`; `None` for `auto`.
    pub platform: Option<Platform>,
    /// `--arch`.
    pub arch: Option<Arch>,
    /// `--memory`, in bytes.
    pub memory: Option<u64>,
    /// `--cpus`.
    pub cpus: Option<u32>,
    /// Every `--port`, in order.
    pub ports: Vec<PortMapping>,
    /// Every `--network`, in order.
    pub networks: Vec<Interface>,
    /// Every volume, of the project and of `--volume`, with absolute sources, in order.
    pub volumes: Vec<Volume>,
    /// `--env`, later ones over earlier ones.
    pub env: BTreeMap<String, String>,
    /// Every `--kernel-arg`; if there is one, they replace those from anywhere else.
    pub kernel_args: Vec<String>,
    /// The arguments after the target, including a literal `--`.
    pub args: Vec<String>,
    /// The directory that the program starts in, over that of the image.
    pub workdir: Option<String>,
    /// `--disable-acceleration`.
    pub disable_acceleration: bool,
    /// `--rm`.
    pub remove_when_ended: bool,
    /// `--label`, over the labels of the project or image.
    pub labels: BTreeMap<String, String>,
    /// `--restart`, `--stop-timeout` and `--health-…`.
    pub lifecycle: Lifecycle,
    /// `--interactive`.
    pub stdin: bool,
    /// `--tty`.
    pub tty: bool,
}

/// The kernel to boot, with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Where the kernel came from, as shown to users: `kernel://FILE`.
    pub origin: String,
    /// Absolute path of the kernel file.
    pub kernel: PathBuf,
    /// What that file is.
    pub image: KernelImage,
    /// What it can do, as far as that is known.
    pub abilities: Abilities,
    /// Absolute path of the root archive, if any.
    pub initrd: Option<PathBuf>,
    /// Whether the kernel needs a parameter to unpack the archive over `/`.
    pub mounts_initrd: bool,
    /// The arguments of the project or image, including a literal `--`.
    pub args: Vec<String>,
    /// The directory that the program of the image starts in.
    pub workdir: Option<String>,
    /// The environment of the project or image.
    pub env: BTreeMap<String, String>,
    /// The labels of the project or image.
    pub labels: BTreeMap<String, String>,
}

/// A machine that can be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The machine.
    pub spec: MachineSpec,
    /// Warnings about it, with hints.
    pub notes: Vec<Problem>,
    /// The warning that it runs without acceleration. It is the same for all machines on this host,
    /// so it is needed once.
    pub unaccelerated: Option<Problem>,
}

/// Plans a machine, or returns all reasons why it cannot run.
pub fn plan(request: &RunRequest, boot: &Boot, host: &Host) -> Result<Planned, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let image = boot.image;
    if let Some(name) = &request.name
        && let Err(error) = machine::check_name(name)
    {
        problems.push(Problem::error(format!("`--name {name}`: {error}")));
    }
    problems.extend(check_arch(request.arch, image.arch));
    let platform = choose_platform(request.platform, image.boot, &host.vmms, &mut problems);
    let memory = choose_memory(request.memory, &mut problems);
    let cpus = choose_cpus(request.cpus, image.guest, &mut problems);
    let vmm = host.vmms.iter().find(|vmm| vmm.platform == platform);
    let networks = choose_networks(&request.networks, &mut problems);
    // On a network kraft itself publishes them.
    let publisher = vmm.filter(|_| networks.is_empty());
    let ports = choose_ports(&request.ports, publisher, &mut problems);
    let volumes = choose_volumes(&request.volumes, boot, &mut problems);
    let env = merge_env(request, boot, &mut problems);
    let (mut kernel_args, args) = choose_args(request, boot);
    kernel_args.extend(working_dir(request, boot));
    let (acceleration, unaccelerated) =
        choose_acceleration(request.disable_acceleration, image.arch, host);
    notes.extend(unmounted(image.boot, &volumes));
    notes.extend(no_working_dir(request, image.guest));
    notes.extend(check_variables(boot, env.len()));
    let mut spec = MachineSpec {
        name: request.name.clone(),
        arch: image.arch,
        platform,
        origin: boot.origin.clone(),
        kernel: boot.kernel.clone(),
        boot: image.boot,
        guest: image.guest,
        initrd: boot.initrd.clone(),
        mounts_initrd: boot.mounts_initrd,
        kernel_args,
        args,
        env,
        labels: merge_labels(request, boot),
        memory,
        cpus,
        ports,
        networks,
        volumes,
        acceleration,
        remove_when_ended: request.remove_when_ended,
        lifecycle: request.lifecycle.clone(),
        stdin: request.stdin,
        tty: request.tty,
    };
    problems.extend(check_lifecycle(request, platform));
    notes.extend(requirements::check(&mut spec, request, boot));
    let line = CommandLine::of(&spec);
    if let Some(vmm) = vmm {
        let length = line.as_ref().map_or(0, |line| line.render().len());
        problems.extend(vmm::check(&spec, vmm, host, length));
        notes.extend(vmm::elsewhere(&spec));
    }
    if let Err(mut wrong) = line {
        problems.append(&mut wrong);
    }
    if problems.is_empty() {
        Ok(Planned {
            spec,
            notes,
            unaccelerated,
        })
    } else {
        Err(problems)
    }
}

/// Warns about a machine with too little memory to load; `kernel` and `initrd` are file sizes in
/// bytes.
///
/// The kernel unpacks the initramfs from memory into memory, so it needs twice its size.
pub fn check_fit(spec: &MachineSpec, kernel: u64, initrd: u64) -> Option<Problem> {
    let needed = kernel.saturating_add(initrd.saturating_mul(2));
    if spec.memory > needed {
        return None;
    }
    let round = needed.saturating_add(16 * MIB).div_ceil(16 * MIB) * 16;
    let memory = quantity::display(spec.memory);
    let size = initrd.div_ceil(MIB);
    Some(
        Problem::warning(format!(
            "{memory} of memory may not hold the kernel and its root filesystem of {size}Mi, which is unpacked into memory"
        ))
        .help(format!("increase it: `--memory {round}Mi`")),
    )
}

/// Returns the memory of a machine for which none is requested, in bytes: enough for its kernel and its
/// root filesystem, and [`DEFAULT_MEMORY`] for the application.
///
/// ```
/// use kraft_core::plan::{DEFAULT_MEMORY, default_memory};
/// use kraft_core::quantity::MIB;
///
/// assert_eq!(default_memory(MIB, 2 * MIB), DEFAULT_MEMORY);
/// assert_eq!(default_memory(MIB, 100 * MIB), 272 * MIB);
/// ```
pub fn default_memory(kernel: u64, initrd: u64) -> u64 {
    let loaded = kernel.saturating_add(initrd.saturating_mul(2));
    // A small root filesystem is a small part of it.
    if loaded <= DEFAULT_MEMORY / 4 {
        return DEFAULT_MEMORY;
    }
    let step = 16 * MIB;
    loaded
        .saturating_add(DEFAULT_MEMORY)
        .div_ceil(step)
        .saturating_mul(step)
}

fn merge_labels(request: &RunRequest, boot: &Boot) -> BTreeMap<String, String> {
    let mut labels = boot.labels.clone();
    labels.extend(request.labels.clone());
    labels
}

/// Checks that a machine that is removed is not restarted, and that a health check reaches its port:
/// published, or in a network.
fn check_lifecycle(request: &RunRequest, platform: Platform) -> Vec<Problem> {
    let mut problems = Vec::new();
    let policy = request.lifecycle.restart;
    if request.remove_when_ended && policy != RestartPolicy::No {
        problems.push(
            Problem::error(format!(
                "`--restart {policy}` does not fit `--rm`, which removes the machine when it ends"
            ))
            .help("leave out one of them"),
        );
    }
    if request.lifecycle.sleep_after_ms.is_some() {
        problems.extend(check_sleep(request, platform));
    }
    if let Some(health) = &request.lifecycle.health {
        let port = health.probe.port();
        let is_published =
            |it: &PortMapping| it.machine_port == port && it.protocol == crate::port::Protocol::Tcp;
        if request.networks.is_empty() && !request.ports.iter().any(is_published) {
            problems.push(
                Problem::error(format!(
                    "the health check cannot reach port {port}: it is not published"
                ))
                .help(format!(
                    "publish it: `--port 127.0.0.1::{port}`, or put the machine into a network"
                )),
            );
        }
    }
    problems
}

/// Checks that a machine that sleeps when it is idle can be saved, and that something can wake it.
fn check_sleep(request: &RunRequest, platform: Platform) -> Option<Problem> {
    let wrong = |why: &str, help: &str| {
        Some(Problem::error(format!("`--sleep-after` {why}")).help(help.to_owned()))
    };
    let is_tcp = |port: &PortMapping| port.protocol == crate::port::Protocol::Tcp;
    if !matches!(platform, Platform::Qemu | Platform::Firecracker) {
        return wrong(
            "needs a machine on QEMU or Firecracker: others are not saved",
            "leave it out, or use `--plat qemu`",
        );
    }
    if !request.volumes.is_empty() {
        return wrong(
            "does not fit volumes: QEMU cannot save what it has open there",
            "leave out one of them",
        );
    }
    if !request.ports.iter().any(is_tcp) {
        return wrong(
            "needs a published TCP port: it shows when the program is ready",
            "publish one, such as `--port 8080:80`",
        );
    }
    None
}

fn check_arch(asked: Option<Arch>, kernel: Arch) -> Option<Problem> {
    let asked = asked.filter(|&asked| asked != kernel)?;
    Some(
        Problem::error(format!(
            "`--arch {asked}` does not fit the kernel, which is built for {kernel}"
        ))
        .help(format!(
            "leave out `--arch`, or give a kernel built for {asked}"
        )),
    )
}

/// Chooses the platform, and reports why it cannot run the kernel.
fn choose_platform(
    asked: Option<Platform>,
    boot: BootProtocol,
    vmms: &[VmmSupport],
    problems: &mut Vec<Problem>,
) -> Platform {
    let native = boot.platform();
    let platform = asked.unwrap_or(native);
    let supported = |platform| vmms.iter().find(|vmm| vmm.platform == platform);
    match supported(platform) {
        Some(vmm) if vmm.boots.contains(&boot) => {}
        Some(_) => problems.push(
            Problem::error(format!(
                "{} cannot load this kernel, which is built for {} ({})",
                platform.title(),
                native.title(),
                boot.format()
            ))
            .help(format!(
                "build the project for {platform} and run that kernel"
            )),
        ),
        None => {
            let why = match asked {
                Some(_) => format!("`--plat {platform}`: there is no driver for {platform} yet"),
                None => {
                    format!("the kernel is built for {platform}, for which there is no driver yet")
                }
            };
            let problem = Problem::error(why);
            problems.push(match (supported(native), vmms.first()) {
                (Some(_), _) => problem.help(format!(
                    "leave out `--plat`: {} boots this kernel",
                    native.title()
                )),
                (None, Some(vmm)) => problem.help(format!(
                    "build the project for {}, which has a driver",
                    vmm.platform
                )),
                (None, None) => problem,
            });
        }
    }
    platform
}

/// Returns the memory rounded to whole MiB, the unit of VMMs, so that the displayed size is the
/// actual one.
fn choose_memory(asked: Option<u64>, problems: &mut Vec<Problem>) -> u64 {
    let bytes = asked.unwrap_or(DEFAULT_MEMORY);
    if bytes < LEAST_MEMORY {
        let shown = quantity::display(bytes);
        problems.push(
            // KraftKit compat: the first half of the message is KraftKit's.
            Problem::error(format!("memory must be at least 1Mi: `--memory` is {shown}"))
                .help("`Mi` means 1024 × 1024 bytes, as in `--memory 64Mi` (a small `m` means thousandths)"),
        );
    }
    bytes / MIB * MIB
}

/// The maximum number of CPUs of a machine.
const MOST_CPUS: u32 = 256;

/// Returns the number of CPUs, and reports one that the kernel cannot use.
fn choose_cpus(asked: Option<u32>, guest: Guest, problems: &mut Vec<Problem>) -> u32 {
    let cpus = asked.unwrap_or(1);
    if cpus == 0 || cpus > MOST_CPUS {
        problems.push(Problem::error(format!(
            "`--cpus {cpus}`: expected 1-{MOST_CPUS}"
        )));
    } else if cpus > 1 && guest == Guest::Runtime {
        problems.push(
            Problem::error(format!(
                "`--cpus {cpus}`: the built-in runtime uses one CPU only"
            ))
            .help("leave out `--cpus`, or name another runtime with `--runtime`"),
        );
    }
    cpus
}

/// Removes duplicates, and reports mappings that listen on the same port or that the VMM cannot
/// publish.
fn choose_ports(
    asked: &[PortMapping],
    vmm: Option<&VmmSupport>,
    problems: &mut Vec<Problem>,
) -> Vec<PortMapping> {
    let mut ports: Vec<PortMapping> = Vec::new();
    for port in asked {
        let shown = port.as_typed();
        if let Some(vmm) = vmm.filter(|vmm| port.host_ip.is_ipv6() && !vmm.ipv6_ports) {
            problems.push(
                Problem::error(format!(
                    "`--port {shown}`: {} publishes ports on IPv4 addresses only",
                    vmm.platform.title()
                ))
                .help("give an IPv4 address, such as 127.0.0.1"),
            );
            continue;
        }
        // Mappings without a host port each get a different one, so only explicit ports can
        // conflict.
        if port.host_port != 0 && ports.contains(port) {
            continue;
        }
        if let Some(other) = ports.iter().find(|other| port.collides(other)) {
            problems.push(
                Problem::error(format!(
                    "`--port {shown}` and `--port {}` both listen on port {} of the host",
                    other.as_typed(),
                    port.host_port
                ))
                .help("give one of them another host port, or each its own address"),
            );
        }
        ports.push(port.clone());
    }
    ports
}

/// Reports networks that no machine can be in at once.
fn choose_networks(asked: &[Interface], problems: &mut Vec<Problem>) -> Vec<Interface> {
    if asked.len() > net::MOST_INTERFACES {
        problems.push(Problem::error(format!(
            "a machine is in at most {} networks, and `--network` is given {} times",
            net::MOST_INTERFACES,
            asked.len()
        )));
    }
    for (at, one) in asked.iter().enumerate() {
        if asked.iter().take(at).any(|it| it.network == one.network) {
            let name = &one.network;
            problems.push(Problem::error(format!(
                "`--network {name}` is given twice: a machine is in a network once"
            )));
        }
    }
    asked.to_vec()
}

/// Normalises the mount points, and reports volumes that cannot be mounted.
fn choose_volumes(asked: &[Volume], boot: &Boot, problems: &mut Vec<Problem>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for volume in asked {
        let source = volume.name.as_ref().map_or(&*volume.source, Path::new);
        let shown = format!("{}:{}", source.display(), volume.destination);
        let refused = |why: String| Problem::error(format!("`--volume {shown}`: {why}"));
        match mount::check_destination(&volume.destination) {
            Ok(destination) => volumes.push(Volume {
                destination,
                ..volume.clone()
            }),
            Err(error) => {
                problems.push(refused(error.to_string()));
                continue;
            }
        }
        if !volume.source.is_absolute() {
            problems.push(refused(
                "the directory on the host is not an absolute path".into(),
            ));
        }
        if let Some((last, before)) = volumes.split_last()
            && let Some((why, help)) = in_the_way(&last.destination, before, boot)
        {
            problems.push(refused(why).help(help));
        }
    }
    volumes
}

/// Returns why a volume cannot be mounted at a path, and a hint. Volumes are mounted in order, each
/// over the former.
fn in_the_way(place: &str, before: &[Volume], boot: &Boot) -> Option<(String, &'static str)> {
    if place == "/"
        && boot.initrd.is_some()
        && (boot.mounts_initrd || boot.image.guest == Guest::Runtime)
    {
        return Some((
            "it would cover the root filesystem".to_owned(),
            "leave out one of the two, or mount the volume below `/`",
        ));
    }
    if before.iter().any(|other| other.destination == place) {
        return Some((
            "another volume is mounted there already".to_owned(),
            "give each volume its own path inside the machine",
        ));
    }
    let covered = before
        .iter()
        .find(|other| is_below(&other.destination, place))?;
    Some((
        format!(
            "it would cover the volume mounted on {} before it",
            covered.destination
        ),
        "give the volume of the outer path first",
    ))
}

/// Returns whether an absolute path is below another.
fn is_below(path: &str, above: &str) -> bool {
    (path.strip_prefix(above)).is_some_and(|rest| above == "/" || rest.starts_with('/'))
}

/// Merges the environments, and reports invalid names.
fn merge_env(
    request: &RunRequest,
    boot: &Boot,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut env = boot.env.clone();
    env.extend(request.env.clone());
    for name in env.keys() {
        let wrong = match name {
            _ if name.is_empty() => "is empty",
            _ if name.contains('=') => "contains `=`",
            _ if name.contains(|c: char| c.is_whitespace() || c.is_control()) => "contains a blank",
            _ if name.contains(['"', '\'', '\\']) => "contains a quote or a backslash",
            _ => continue,
        };
        problems.push(
            Problem::error(format!(
                "the name of environment variable `{}` {wrong}",
                name.escape_debug()
            ))
            .help("write `--env NAME=VALUE`, or `--env NAME` to pass that of this shell"),
        );
    }
    env
}

/// Chooses kernel parameters and arguments; a `--` among the arguments separates the two.
fn choose_args(request: &RunRequest, boot: &Boot) -> (Vec<String>, Vec<String>) {
    let words = if request.args.is_empty() {
        &boot.args
    } else {
        &request.args
    };
    let mut parts = words.splitn(2, |word| word == "--");
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let (before, args) = match second {
        Some(args) => (first, args),
        None => (Default::default(), first),
    };
    let kernel_args = if request.kernel_args.is_empty() {
        before
    } else {
        &request.kernel_args
    };
    (kernel_args.to_vec(), args.to_vec())
}

/// Returns the parameter of the built-in runtime for the working directory.
fn working_dir(request: &RunRequest, boot: &Boot) -> Option<String> {
    let dir = request.workdir.as_ref().or(boot.workdir.as_ref())?;
    let is_needed = boot.image.guest == Guest::Runtime && dir != "/" && !dir.is_empty();
    is_needed.then(|| format!("kraft.workdir={dir}"))
}

/// Warns about a working directory that a kernel has no parameter for.
fn no_working_dir(request: &RunRequest, guest: Guest) -> Option<Problem> {
    let dir = request.workdir.as_ref()?;
    (guest != Guest::Runtime && dir != "/").then(|| {
        Problem::warning(format!(
            "the working directory `{dir}` has no effect: the kernel starts programs in `/`"
        ))
        .help("use the built-in runtime: `runtime: builtin`")
    })
}

/// Chooses the accelerator, and warns where KVM is not available although it was not disabled.
fn choose_acceleration(
    disabled: bool,
    guest: Arch,
    host: &Host,
) -> (Acceleration, Option<Problem>) {
    let without =
        |reason: &str| Problem::warning(format!("running without acceleration: {reason}"));
    match &host.kvm {
        _ if disabled => (Acceleration::Tcg, None),
        Kvm::Disabled => (Acceleration::Tcg, None),
        _ if host.arch != Some(guest) => {
            let this = host.arch.map_or("unknown", Arch::name);
            let reason = format!("the kernel is built for {guest}, and this host is {this}");
            (Acceleration::Tcg, Some(without(&reason)))
        }
        Kvm::Works => (Acceleration::Kvm, None),
        Kvm::Unusable { .. } => {
            let note = without("KVM does not work on this host").help("details: `kraft doctor`");
            (Acceleration::Tcg, Some(note))
        }
    }
}

/// Number of variables that a Unikraft kernel accepts on its command line by default
/// (`CONFIG_LIBPOSIX_ENVIRON_LIBPARAM_MAXCOUNT`); it drops further ones silently.
const USUAL_VARIABLES: usize = 8;

/// Warns about more variables than the kernel accepts, or than most kernels accept if its limit is
/// unknown.
fn check_variables(boot: &Boot, count: usize) -> Option<Problem> {
    let known = boot.abilities.variables;
    let most = known.unwrap_or(USUAL_VARIABLES);
    if boot.image.boot == BootProtocol::LinuxBzImage
        || boot.image.guest == Guest::Runtime
        || count <= most
    {
        return None;
    }
    let message = match known {
        Some(most) => {
            format!("the kernel drops some of the {count} environment variables: it takes {most}")
        }
        None => format!(
            "the kernel may drop some of the {count} environment variables: most take {most}"
        ),
    };
    Some(Problem::warning(message).help(
        "build it with a larger CONFIG_LIBPOSIX_ENVIRON_LIBPARAM_MAXCOUNT, or pass them in a file",
    ))
}

/// Warns that a Linux guest has to mount its volumes itself, since no kernel parameter does it.
fn unmounted(boot: BootProtocol, volumes: &[Volume]) -> Option<Problem> {
    if boot != BootProtocol::LinuxBzImage || volumes.is_empty() {
        return None;
    }
    let mounts: Vec<String> = (volumes.iter().enumerate())
        .map(|(index, volume)| {
            let tag = mount::tag(index);
            format!("`mount -t 9p -o trans=virtio {tag} {}`", volume.destination)
        })
        .collect();
    Some(
        Problem::warning("a Linux kernel does not mount volumes by itself")
            .help(format!("let its init run {}", mounts.join(", "))),
    )
}

mod requirements;
#[cfg(test)]
mod tests;
mod vmm;
