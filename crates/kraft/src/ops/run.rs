//! What `kraft run` does, from the words of the user to the end of the machine.
//!
//! ```text
//! subject ─► Boot ────────────────┐
//! flags ─► RunRequest             ├─ core::plan ─► MachineSpec ─► create ─► start ─► follow
//! machine::host::probe ─► Host    ┘                └─ --dry-run prints it
//! ```

use std::fmt::Write as _;

use kraft_core::arch::Arch;
use kraft_core::host::{Host, Kvm};
use kraft_core::machine::{EndReason, MachineSpec};
use kraft_core::plan::{self, Boot, Planned, RunRequest};
use kraft_core::problem::Problem;
use kraft_sys::{clock, fs};
use serde::{Deserialize, Serialize};

use kraft_machine::{Error, LogsOptions, Machines, StopOptions, Watch};

use super::follow::{self, Console, Stopped};
use super::interrupt::Interrupt;
use super::machines::how_it_ended;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// Decides what machine to make, and tells what the user should know about it.
pub(crate) fn plan(
    app: &App,
    request: &RunRequest,
    boot: &Boot,
    kernel_size: u64,
) -> Result<MachineSpec, Failure> {
    let host = host(app, request, boot.image.arch);
    let Planned {
        spec,
        notes,
        unaccelerated,
    } = plan::plan(request, boot, &host)
        .map_err(|problems| Failure::problems(Kind::Usage, problems))?;
    if let Some(note) = unaccelerated.filter(|note| is_new(app, &note.message)) {
        tell(app, &note);
    }
    for note in &notes {
        tell(app, note);
    }
    let archive = spec.initrd.as_ref();
    let archive = archive.and_then(|path| std::fs::metadata(path).ok());
    let archive_size = archive.map_or(0, |metadata| metadata.len());
    let tight = plan::check_fit(&spec, kernel_size, archive_size);
    if let Some(note) = tight {
        tell(app, &note);
    }
    Ok(spec)
}

/// What was told since the host was started.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    boot: String,
    messages: Vec<String>,
}

/// Returns whether a message was not told yet since the host was started, and remembers it where
/// machines are kept already.
fn is_new(app: &App, message: &str) -> bool {
    let runtime_dir = app.config.runtime_dir();
    let path = runtime_dir.join("told.json");
    let stored = fs::read_file(&path, 64 << 10).ok();
    let mut told: Told = stored
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let boot = clock::boot_id();
    if told.boot != boot {
        told = Told {
            boot,
            messages: Vec::new(),
        };
    }
    if told.messages.iter().any(|told| told == message) {
        return false;
    }
    told.messages.push(message.to_owned());
    if let Ok(json) = serde_json::to_vec(&told)
        && runtime_dir.is_dir()
    {
        // Else it is told again, which does no harm.
        let _ = fs::replace_file(&path, &json);
    }
    true
}

/// Tells a note of a plan in one line, with what would help.
fn tell(app: &App, note: &Problem) {
    let mut line = note.message.clone();
    for help in &note.help {
        let _ = write!(line, " ({})", help.trim_end_matches('.'));
    }
    app.ui.warn(&line);
}

/// Asks what this computer can do, unless the answer would make no difference.
fn host(app: &App, request: &RunRequest, guest: Arch) -> Host {
    let arch = std::env::consts::ARCH.parse().ok();
    if request.disable_acceleration {
        let kvm = Kvm::Disabled;
        return Host { arch, kvm };
    }
    if arch != Some(guest) {
        let kvm = Kvm::Unusable {
            reason: "it was not tried, because the guest is of another architecture".to_owned(),
            cure: None,
        };
        return Host { arch, kvm };
    }
    kraft_machine::host::probe(&super::machines::settings(app))
}

/// A machine that was started just now, under watch.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its name.
    pub(crate) name: String,
    /// Knows its end, even if it removes itself.
    pub(crate) watch: Watch,
}

/// Shows what machines print until they end; an interrupt stops them.
///
/// The interrupt is listened for since before the first of them was made: whenever it comes, no
/// machine is left to run unseen.
/// The first that did not end well decides the failure.
pub(crate) fn foreground(
    app: &App,
    machines: &Machines,
    started: &[Started],
    prefixes: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut named = Vec::new();
    for machine in started {
        named.push((
            machine.name.as_str(),
            machine.watch.logs(LogsOptions::default())?,
        ));
    }
    let consoles = if prefixes && started.len() > 1 {
        follow::prefixed(app, named)
    } else {
        named
            .into_iter()
            .map(|(_, logs)| Console::plain(logs))
            .collect()
    };
    match follow::follow(app, consoles, interrupt) {
        Ok(Stopped::AllEnded) => {
            let mut outcome = Ok(());
            for machine in started {
                let ending = machine.watch.wait()?;
                outcome = outcome.and(judge(&machine.name, &ending.reason));
            }
            outcome
        }
        Ok(Stopped::Interrupted) => {
            stop_all(app, machines, started);
            Err(Failure::told(Kind::Interrupted))
        }
        Err(failure) => {
            // Nobody sees the machines any more, and nobody asked for them to go on unseen.
            stop_all(app, machines, started);
            Err(failure)
        }
    }
}

fn stop_all(app: &App, machines: &Machines, started: &[Started]) {
    for machine in started {
        match machines.stop(&machine.watch.id(), StopOptions::default()) {
            // It ended by itself meanwhile, and perhaps removed itself.
            Ok(_) | Err(Error::NotRunning { .. } | Error::NotFound { .. }) => {}
            Err(error) => app.ui.failure(&error.into()),
        }
    }
}

/// Returns whether a machine in the foreground ended as it should.
fn judge(name: &str, reason: &EndReason) -> Result<(), Failure> {
    match reason {
        EndReason::PoweredOff | EndReason::Stopped => Ok(()),
        EndReason::Exited { code } => Err(Failure::told(Kind::Guest(*code))),
        EndReason::Crashed { .. }
        | EndReason::Killed { .. }
        | EndReason::MonitorFailed { .. }
        | EndReason::HostDown
        | EndReason::Vanished => Err(Failure::new(
            Kind::Crashed,
            format!("the machine `{name}` {}", how_it_ended(reason)),
        )),
    }
}
