//! `delete`: nothing of a container is left.

use std::time::Duration;

use kraft_net::takeover;
use kraft_sys::process::Process;
use rustix::process::Signal;

use crate::failure::Failure;
use crate::state::{Container, Network, StateDir, Status};
use crate::{Context, hooks, network};

/// How long a supervisor may take to end that was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deletes a container, by force if that is asked for.
pub(crate) fn exec(ctx: &Context<'_>, dir: &StateDir) -> Result<(), Failure> {
    delete(ctx, dir, ctx.arguments.flags.force)
}

/// Deletes a container, even if it runs.
pub(super) fn forced(ctx: &Context<'_>, dir: &StateDir) -> Result<(), Failure> {
    delete(ctx, dir, true)
}

fn delete(ctx: &Context<'_>, dir: &StateDir, force: bool) -> Result<(), Failure> {
    let _lock = dir.lock()?;
    let container = dir.load()?;
    let status = dir.status(&container);
    match status {
        Status::Running | Status::Paused if !force => {
            return Err(Failure(format!(
                "cannot delete container {} that is not stopped: {}",
                container.id,
                status.name()
            )));
        }
        Status::Running | Status::Paused | Status::Created => kill(&container)?,
        Status::Stopped | Status::Creating => {}
    }
    container.cgroup.remove()?;
    dir.remove()?;
    run_poststop(ctx, &container);
    clean_network(&container);
    Ok(())
}

/// Runs the hooks of a container that is gone.
pub(super) fn run_poststop(ctx: &Context<'_>, container: &Container) {
    let state = container.oci_state(Status::Stopped);
    for hook in &container.hooks.poststop {
        if let Err(failure) = hooks::run(std::slice::from_ref(hook), "poststop", &state) {
            // The specification wants a warning only.
            ctx.warn(&failure.0);
        }
    }
}

/// Kills the supervisor of a container, and with it the machine.
pub(super) fn kill(container: &Container) -> Result<(), Failure> {
    let Some(supervisor) = &container.supervisor else {
        return Ok(());
    };
    let failed = |e: std::io::Error| Failure::of("cannot kill the supervisor", &e);
    let Some(process) = Process::open(supervisor).map_err(failed)? else {
        return Ok(());
    };
    process.signal(Signal::KILL).map_err(failed)?;
    if process.wait(Some(PATIENCE)).map_err(failed)? {
        return Ok(());
    }
    Err(Failure(format!(
        "the supervisor of container {} does not end (pid {})",
        container.id, supervisor.pid
    )))
}

/// Removes what a supervisor that was killed has left in a namespace of an engine, unless another
/// machine has started there. This process is in that namespace afterwards.
fn clean_network(container: &Container) {
    if let Network::Existing(path) = &container.network
        && path.exists()
        && !network::is_own(path)
        && network::enter(&container.network).is_ok()
        && let Ok(_claim) = network::claim()
        && let Ok(links) = takeover::links()
    {
        let _ = takeover::clean(&links);
    }
}
