//! Plans the machine of `kraft run`.
//!
//! ```text
//! target ──► Boot ────────────────┐
//! flags ─► RunRequest             ├─ core::plan ─► MachineSpec ─► create ─► start ─► follow
//! machine::host::probe ─► Host    ┘                └─ --dry-run prints it
//! ```

use std::fmt::Write as _;

use kraft_core::arch::Arch;
use kraft_core::host::{Host, Kvm};
use kraft_core::kernel::KernelImage;
use kraft_core::machine::MachineSpec;
use kraft_core::plan::{self, Boot, Planned, RunRequest};
use kraft_core::problem::Problem;
use kraft_sys::{clock, fs};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::failure::{Failure, Kind};

/// Plans the machine, and reports what the user should know about it.
pub fn plan(
    ctx: &Context,
    request: &RunRequest,
    boot: &Boot,
    kernel_size: u64,
) -> Result<MachineSpec, Failure> {
    let host = host(ctx, request, boot.image);
    let Planned {
        spec,
        notes,
        unaccelerated,
    } = plan::plan(request, boot, &host)
        .map_err(|problems| Failure::problems(Kind::Usage, problems))?;
    if let Some(note) = unaccelerated.filter(|note| is_new(ctx, &note.message)) {
        tell(ctx, &note);
    }
    for note in &notes {
        tell(ctx, note);
    }
    let archive = spec.initrd.as_ref();
    let archive = archive.and_then(|path| std::fs::metadata(path).ok());
    let archive_size = archive.map_or(0, |metadata| metadata.len());
    let tight = plan::check_fit(&spec, kernel_size, archive_size);
    if let Some(note) = tight {
        tell(ctx, &note);
    }
    Ok(spec)
}

/// The notes that were reported since the host was started.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    boot: String,
    messages: Vec<String>,
}

/// Returns whether a message was not reported since the host was started, and records it if the
/// directory of machines exists.
fn is_new(ctx: &Context, message: &str) -> bool {
    let runtime_dir = &ctx.settings.runtime_dir;
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
        // If that fails, it is reported again.
        let _ = fs::replace_file(&path, &json);
    }
    true
}

/// Reports a note of a plan in one line, with its help.
fn tell(ctx: &Context, note: &Problem) {
    let mut line = note.message.clone();
    for help in &note.help {
        let _ = write!(line, " ({})", help.trim_end_matches('.'));
    }
    ctx.warn(&line);
}

/// Probes what the host can do, unless the plan does not depend on it.
fn host(ctx: &Context, request: &RunRequest, kernel: KernelImage) -> Host {
    let settings = super::machines::settings(ctx);
    if request.disable_acceleration {
        return kraft_machine::host::facts(&settings, Kvm::Disabled);
    }
    if Arch::host() != Some(kernel.arch) {
        let kvm = Kvm::Unusable {
            reason: "it was not tried, because the guest is of another architecture".to_owned(),
            cure: None,
        };
        return kraft_machine::host::facts(&settings, kvm);
    }
    let platform = request.platform.unwrap_or(kernel.boot.platform());
    kraft_machine::host::probe(&settings, platform)
}
