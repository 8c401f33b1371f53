//! The kernel command line, which carries kernel parameters, environment, mounts and application
//! arguments.
//!
//! ```text
//! kernel vfs.fstab=[ "fs1:/data:9pfs:::mkmp" ] env.vars=[ "K=v w" ] -- a "b c" 'd"e'
//! └─────┘└──────────────────────── parameters ─────────────────────┘ │  └─ arguments ─┘
//! program, unless the loader prepends one                            only after a parameter
//! ```
//!
//! [`CommandLine::of`] decides the content and rejects what a command line cannot represent;
//! [`CommandLine::render`] writes it; [`parse`] models how the guest reads it, so that tests can
//! check that the two are inverse.
//!
//! ```
//! let parsed = kraft_core::cmdline::parse(r#"kernel netdev.ip=10.0.0.2 -- /server "a b""#);
//! assert_eq!(parsed.values("netdev.ip"), ["10.0.0.2"]);
//! assert_eq!(parsed.args, ["/server", "a b"]);
//! ```

use crate::kernel::{BootProtocol, Guest};
use crate::machine::MachineSpec;
use crate::mount;
use crate::net::Interface;
use crate::problem::Problem;

mod guest;
mod limits;
mod linux;
mod param;

pub use guest::{Assignment, Parsed, parse};
pub use limits::{MAX_BYTES, MAX_WORDS, needs_safe_path};
pub use linux::parse as parse_linux;
pub use param::{Param, Value};

/// The grammar of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Unikraft 0.17: lib/ukargparse splits the line, lib/uklibparam reads the parameters.
    Unikraft,
    /// Linux: lib/cmdline.c splits the line, init/main.c passes unknown parameters to init.
    Linux,
}

/// The content of a kernel command line before it is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The grammar it is rendered in.
    pub dialect: Dialect,
    /// The first argument, which the guest uses as its program name; `None` if the loader prepends
    /// it or there is none.
    pub program: Option<String>,
    /// Kernel parameters, in order.
    pub params: Vec<Param>,
    /// Application arguments, in order.
    pub args: Vec<String>,
}

impl Dialect {
    /// Returns how the kernel of a machine reads its command line.
    pub(crate) fn of(spec: &MachineSpec) -> Self {
        match spec.boot {
            BootProtocol::Multiboot | BootProtocol::Arm64Image | BootProtocol::Linux64 => {
                Self::Unikraft
            }
            // Without a mark it is most likely an uncompressed Linux kernel.
            BootProtocol::Pvh if spec.guest == Guest::Other => Self::Linux,
            BootProtocol::Pvh => Self::Unikraft,
            BootProtocol::LinuxBzImage => Self::Linux,
        }
    }
}

impl CommandLine {
    /// Returns the command line of a machine, or every reason why it cannot be represented.
    ///
    ///
    /// The length includes the kernel's path where QEMU prepends it. A driver that passes another
    /// path to QEMU (see [`needs_safe_path`]) is safe as long as that path is not longer.
    pub fn of(spec: &MachineSpec) -> Result<Self, Vec<Problem>> {
        let dialect = Dialect::of(spec);
        let mut problems = limits::check_texts(dialect, spec);
        let mut params = match param::read_all(dialect, &spec.kernel_args) {
            Ok(params) => params,
            Err(mut wrong) => {
                problems.append(&mut wrong);
                Vec::new()
            }
        };
        match dialect {
            Dialect::Unikraft => params.extend(unikraft_params(spec)),
            Dialect::Linux => params.extend(linux_params(&params, spec)),
        }
        if dialect == Dialect::Unikraft && params.is_empty() && needs_stop(spec) {
            // An empty list is a parameter without effect.
            params.push(Param::list(ENVIRONMENT, Vec::new()));
        }
        let line = Self {
            dialect,
            program: program(spec),
            params,
            args: spec.args.clone(),
        };
        if problems.is_empty() {
            problems = limits::check_line(&line, spec);
        }
        if problems.is_empty() {
            Ok(line)
        } else {
            Err(problems)
        }
    }

    /// Renders the line, without a trailing blank.
    ///
    /// It is one argument of the VMM (`-append LINE`); QEMU takes it unchanged, commas included.
    pub fn render(&self) -> String {
        self.words().join(" ")
    }

    /// Returns the arguments of the line, each quoted where necessary.
    fn words(&self) -> Vec<String> {
        let write = match self.dialect {
            Dialect::Unikraft => guest::quote,
            Dialect::Linux => linux::quote,
        };
        let mut words: Vec<String> = self.program.iter().map(|name| write(name)).collect();
        for param in &self.params {
            match self.dialect {
                Dialect::Unikraft => param.write_unikraft(&mut words),
                Dialect::Linux => words.push(linux::quote(&param.as_word())),
            }
        }
        // Unikraft looks for the `--` only after a parameter: without a parameter, `--` would be an
        // argument itself.
        let stop = match self.dialect {
            Dialect::Unikraft => !self.params.is_empty(),
            Dialect::Linux => !self.args.is_empty(),
        };
        if stop {
            words.push("--".to_owned());
        }
        words.extend(self.args.iter().map(|arg| write(arg)));
        words
    }
}

/// The kernel's parameter for the addresses of one card (Unikraft 0.17 lib/uknetdev).
const ADDRESS: &str = "netdev.ip";
/// The kernel's parameter for the table of file systems (Unikraft 0.17 lib/vfscore).
const FSTAB: &str = "vfs.fstab";
/// The kernel's parameter for the application's environment (Unikraft 0.17 lib/posix-environ).
const ENVIRONMENT: &str = "env.vars";

/// Returns the parameters for the machine's networks, mounts and environment. The root file system comes
/// before volumes mounted in it.
fn unikraft_params(spec: &MachineSpec) -> Vec<Param> {
    let root =
        (spec.mounts_initrd && spec.initrd.is_some()).then(|| mount::INITRD_ENTRY.to_owned());
    let volumes = spec.volumes.iter().enumerate();
    let fstab: Vec<String> = root
        .into_iter()
        .chain(volumes.map(|(index, volume)| volume.fstab_entry(index, spec.guest)))
        .collect();
    let environment: Vec<String> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let addresses = spec.networks.iter().filter_map(Interface::parameter);
    let lists = [(FSTAB, fstab), (ENVIRONMENT, environment)]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| Param::list(name, values));
    addresses
        .map(|value| Param::one(ADDRESS, value))
        .chain(lists)
        .collect()
}

/// Returns the parameters of a Linux kernel besides the user's: the console and `panic`, unless the
/// user set them; the mounts, one parameter each, for an init that reads them (the kernel itself
/// ignores `vfs.fstab`, which it takes for a module parameter); and the environment, which init
/// inherits.
fn linux_params(given: &[Param], spec: &MachineSpec) -> Vec<Param> {
    let defaults = [("console", "ttyS0"), ("panic", "-1")].into_iter();
    let mounts = spec.volumes.iter().enumerate();
    let first = spec.networks.first().and_then(Interface::linux_parameter);
    let address = first.map(|value| Param::one("ip", value));
    defaults
        .filter(|(name, _)| given.iter().all(|param| param.name != *name))
        .map(|(name, value)| Param::one(name, value))
        .chain(address)
        .chain(
            mounts.map(|(index, volume)| Param::one(FSTAB, volume.fstab_entry(index, spec.guest))),
        )
        .chain(spec.env.iter().map(|(name, value)| Param::one(name, value)))
        .collect()
}

/// Returns whether the arguments need a `--` before them even without a parameter.
///
/// The kernel cuts the line at the first bare `--` that follows another argument: of `a -- b` it
/// would keep only `b`. Firecracker inserts its devices before the `--`, or at the end if there is
/// none. The built-in runtime always gets one.
fn needs_stop(spec: &MachineSpec) -> bool {
    let first_stop = spec.args.iter().position(|arg| arg == "--");
    first_stop.is_some_and(|at| at > 0)
        || (spec.boot == BootProtocol::Linux64 && !spec.args.is_empty())
        || (spec.guest == Guest::Runtime && !spec.args.is_empty())
}

/// Returns the program name to prepend if the loader does not prepend one.
///
/// Without it an arm64 kernel loses its first parameter: the parser always skips the first
/// argument.
fn program(spec: &MachineSpec) -> Option<String> {
    match spec.boot {
        BootProtocol::Multiboot | BootProtocol::LinuxBzImage => None,
        BootProtocol::Pvh if spec.guest == Guest::Other => None,
        BootProtocol::Arm64Image | BootProtocol::Linux64 | BootProtocol::Pvh => Some(
            (spec.kernel.file_name())
                .and_then(|name| name.to_str())
                .filter(|name| !name.contains(char::is_control))
                .unwrap_or("kernel")
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests;
