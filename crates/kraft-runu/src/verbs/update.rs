//! `update`: other limits for a container that runs.

use std::path::Path;

use kraft_sys::fs;

use crate::config::Resources;
use crate::decide::with_overhead;
use crate::failure::Failure;
use crate::state::StateDir;
use crate::{Context, failure};

/// The largest description of limits that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Changes the limits of the control group. The guest keeps the memory that it has.
pub(crate) fn exec(ctx: &Context<'_>, dir: &StateDir) -> Result<(), Failure> {
    let container = dir.load()?;
    let Some(path) = &ctx.arguments.flags.resources else {
        ctx.warn("`runu update` without `--resources` changes nothing");
        return Ok(());
    };
    let bytes = if path == Path::new("-") {
        fs::read_to_end(std::io::stdin().lock(), LARGEST)
            .map_err(|e| Failure::of("cannot read the limits", &e))?
    } else {
        fs::read_file(path, LARGEST)?
    };
    let resources: Resources =
        serde_json::from_slice(&bytes).map_err(|e| Failure::of("the limits are not valid", &e))?;
    match resources.memory_limit() {
        Some(limit) if limit < container.spec.memory => {
            return Err(Failure(format!(
                "cannot limit the memory to {}: the guest has {}",
                kraft_core::quantity::display(limit),
                kraft_core::quantity::display(container.spec.memory)
            )));
        }
        Some(limit) if limit > container.spec.memory => failure::log(
            &ctx.arguments.global,
            "warning",
            "the guest keeps its memory: a machine gets more when its container is created again",
        ),
        _ => {}
    }
    let limits = with_overhead(&resources, ctx.settings.overhead());
    container.cgroup.update(&limits)
}
