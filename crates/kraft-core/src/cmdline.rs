//! The boot line: the one text that carries kernel parameters, environment, mounts and arguments into a machine.
//!
//! ```text
//! kernel vfs.fstab=[ "fs1:/data:9pfs:::mkmp" ] env.vars=[ "K=v w" ] -- a "b c" 'd"e'
//! └─────┘└──────────────────────── parameters ─────────────────────┘ │  └─ arguments ─┘
//! program, unless the loader prepends one                            only after a parameter
//! ```
//!
//! [`CommandLine::of`] decides what stands on it and refuses what no line can carry; [`CommandLine::render`] writes
//! it; [`parse`] is our model of what the guest makes of it, so that tests can prove the two to be inverse.

use crate::kernel::BootProtocol;
use crate::machine::MachineSpec;
use crate::mount;
use crate::problem::Problem;

mod guest;
mod limits;
mod linux;
mod param;

pub use guest::{Assignment, Parsed, parse};
pub use limits::{MAX_BYTES, MAX_WORDS, needs_safe_path};
pub use linux::parse as parse_linux;
pub use param::{Param, Value};

/// Whose grammar the line is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Unikraft 0.17: lib/ukargparse splits it into words, lib/uklibparam reads the parameters.
    Unikraft,
    /// Linux: lib/cmdline.c splits it, init/main.c hands what it does not know to init.
    Linux,
}

/// What stands on a boot line, before it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Whose grammar it will be written in.
    pub dialect: Dialect,
    /// The first word, which the guest takes for its own name; `None` if the loader prepends it or there is none.
    pub program: Option<String>,
    /// What the kernel reads, in order.
    pub params: Vec<Param>,
    /// What the application gets, in order.
    pub args: Vec<String>,
}

impl CommandLine {
    /// Decides what stands on the line of a machine, or says everything that it cannot carry.
    ///
    /// The length is counted with the kernel's path in front where QEMU prepends it. A driver that hands QEMU
    /// another path (see [`needs_safe_path`]) is on the safe side as long as that is not longer.
    pub fn of(spec: &MachineSpec) -> Result<Self, Vec<Problem>> {
        let dialect = match spec.boot {
            BootProtocol::Multiboot | BootProtocol::Arm64Image | BootProtocol::Linux64 => {
                Dialect::Unikraft
            }
            BootProtocol::LinuxBzImage => Dialect::Linux,
        };
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
            // An empty list is a parameter that changes nothing.
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

    /// Writes the line, without a blank at its end.
    ///
    /// It is one argument of the monitor (`-append LINE`), where QEMU takes it as it is, commas included.
    pub fn render(&self) -> String {
        self.words().join(" ")
    }

    /// Returns the words of the line, each as it is written: quoted where it must be.
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
        // Unikraft looks for the `--` only behind a parameter: without one it would be an argument itself.
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

/// The kernel's table of file systems (Unikraft 0.17 lib/vfscore).
const FSTAB: &str = "vfs.fstab";
/// The application's environment (Unikraft 0.17 lib/posix-environ).
const ENVIRONMENT: &str = "env.vars";

/// Returns the parameters that the machine's mounts and environment make. The root comes before what is mounted in it.
fn unikraft_params(spec: &MachineSpec) -> Vec<Param> {
    let root =
        (spec.mounts_initrd && spec.initrd.is_some()).then(|| mount::INITRD_ENTRY.to_owned());
    let volumes = spec.volumes.iter().enumerate();
    let fstab: Vec<String> = root
        .into_iter()
        .chain(volumes.map(|(index, volume)| volume.fstab_entry(index)))
        .collect();
    let environment: Vec<String> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    [(FSTAB, fstab), (ENVIRONMENT, environment)]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| Param::list(name, values))
        .collect()
}

/// Returns what a Linux kernel is told beside the user's parameters: where to talk and that a panic is the end,
/// unless the user decided that; the mounts, one word each, for an init that wants them (the kernel itself passes
/// over `vfs.fstab`, taking it for a parameter of a module); and the environment, which init inherits.
fn linux_params(given: &[Param], spec: &MachineSpec) -> Vec<Param> {
    let defaults = [("console", "ttyS0"), ("panic", "-1")].into_iter();
    let mounts = spec.volumes.iter().enumerate();
    defaults
        .filter(|(name, _)| given.iter().all(|param| param.name != *name))
        .map(|(name, value)| Param::one(name, value))
        .chain(mounts.map(|(index, volume)| Param::one(FSTAB, volume.fstab_entry(index))))
        .chain(spec.env.iter().map(|(name, value)| Param::one(name, value)))
        .collect()
}

/// Tells whether the arguments need a `--` in front of them even where there is no parameter.
///
/// The kernel cuts the line at the first bare `--` that has a word before it: of `a -- b` it would keep only `b`.
/// And Firecracker inserts its devices before the `--`, or behind everything if there is none.
fn needs_stop(spec: &MachineSpec) -> bool {
    let first_stop = spec.args.iter().position(|arg| arg == "--");
    first_stop.is_some_and(|at| at > 0)
        || (spec.boot == BootProtocol::Linux64 && !spec.args.is_empty())
}

/// Returns the word that the guest will take for its name, where nobody else prepends one.
///
/// Without it an arm64 kernel loses its first parameter: the parser never looks at the first word.
fn program(spec: &MachineSpec) -> Option<String> {
    match spec.boot {
        BootProtocol::Multiboot | BootProtocol::LinuxBzImage => None,
        BootProtocol::Arm64Image | BootProtocol::Linux64 => Some(
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
