//! Machines as flows meet them: opened by the settings, and the command line of their VMM.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_core::machine::EndReason;
//! use kraft_engine::machines::{how_it_ended, readable};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().to_owned();
//! assert!(readable(&context).is_empty());
//! assert!(how_it_ended(&EndReason::Exited { code: 3 }).contains('3'));
//! # Ok(())
//! # }
//! ```

use std::ffi::OsString;

use kraft_core::machine::{EndReason, MachineSpec};
use kraft_core::platform::Platform;
use kraft_machine::driver::{Drivers, NoDriver};
use kraft_machine::{Listed, Machine, Machines, Settings, Unreadable};
use kraft_sys::process::own_program;

use crate::context::Context;

/// The hidden first word that makes this program the monitor of a machine.
pub const MONITOR: &str = "__monitor";

/// Returns the settings of machines, from the configuration.
pub fn settings(ctx: &Context) -> Settings {
    Settings {
        runtime_dir: ctx.settings.runtime_dir.clone(),
        // This very program, also when the file it was started from has been replaced.
        monitor: vec![own_program().into(), OsString::from(MONITOR)],
        drivers: drivers(ctx),
        console_limit: ctx.settings.console_limit,
    }
}

/// Returns the drivers with the programs that are configured for them.
fn drivers(ctx: &Context) -> Drivers {
    let programs = [
        (Platform::Qemu, &ctx.settings.qemu),
        (Platform::Firecracker, &ctx.settings.firecracker),
    ];
    let configured = programs
        .into_iter()
        .filter_map(|(platform, program)| Some((platform, program.as_ref()?)));
    configured.fold(Drivers::default(), |drivers, (platform, program)| {
        drivers.with_program(platform, program)
    })
}

/// Opens the machines to make one: their directory is made if it is missing.
///
/// # Errors
///
/// If the directory cannot be created.
pub fn open(ctx: &Context) -> Result<Machines, kraft_machine::Error> {
    tracing::debug!(dir = %ctx.runtime_dir().display(), "opening the machines");
    Machines::open(settings(ctx))
}

/// Opens the machines to end one: the directory it was made in may be gone, and is made again, for
/// the lock. Where that is not possible, there are the machines there are.
pub fn ending(ctx: &Context) -> Machines {
    open(ctx).unwrap_or_else(|_| existing(ctx))
}

/// Opens the machines there are. Nothing is written: there may be no directory, nor a place where
/// one could be made.
pub fn existing(ctx: &Context) -> Machines {
    Machines::existing(settings(ctx))
}

/// Returns the machines that can be read, and nothing where none can.
pub fn readable(ctx: &Context) -> Vec<Machine> {
    existing(ctx)
        .list()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|listed| match listed {
            Listed::Machine(machine) => Some(*machine),
            Listed::Unreadable(_) => None,
        })
        .collect()
}

/// Says that the record of a machine cannot be read.
pub fn warn_of(ctx: &Context, unreadable: &Unreadable) {
    let why = kraft_core::error::chain(&unreadable.error);
    if unreadable.error.is_foreign() {
        ctx.warn(&format!("skipped: {why}; remove it yourself"));
        return;
    }
    ctx.warn(&format!(
        "cannot read the state of the machine in `{}`: {why}",
        unreadable.path.display(),
    ));
}

/// Returns the command line of the VMM of a machine, without making one.
///
/// # Errors
///
/// If no VMM of kraft runs its platform.
pub fn argv(ctx: &Context, spec: &MachineSpec, line: &str) -> Result<Vec<OsString>, NoDriver> {
    existing(ctx).preview(spec, line)
}

/// Says in a few words how a machine ended.
pub fn how_it_ended(reason: &EndReason) -> String {
    match reason {
        EndReason::PoweredOff => "powered off".to_owned(),
        EndReason::Exited { code } => format!("exited with status {code}"),
        EndReason::Crashed { what } => format!("crashed: {what}"),
        EndReason::Stopped => "was stopped".to_owned(),
        EndReason::Suspended => "was suspended".to_owned(),
        EndReason::Killed { signal: Some(9) } => "was killed (SIGKILL)".to_owned(),
        EndReason::Killed {
            signal: Some(signal),
        } => format!("was killed by signal {signal}"),
        EndReason::Killed { signal: None } => "was killed".to_owned(),
        EndReason::MonitorFailed { message, .. } if message.is_empty() => {
            "ended because its VMM failed".to_owned()
        }
        EndReason::MonitorFailed { message, .. } => {
            format!("ended because its VMM failed: {message}")
        }
        EndReason::HostDown => "ended when the host was shut down".to_owned(),
        EndReason::Vanished => "is gone without a recorded reason".to_owned(),
    }
}
