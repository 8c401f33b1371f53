//! `start`, `pause` and `resume`: requests to the supervisor.

use super::delete;
use crate::control::{self, Request};
use crate::failure::Failure;
use crate::state::{Container, StateDir, Status};
use crate::{Context, hooks};

/// Starts the machine of a container.
pub(crate) fn exec(ctx: &Context<'_>, dir: &StateDir) -> Result<(), Failure> {
    let container = {
        let _lock = dir.lock()?;
        dir.load()?
    };
    let status = dir.status(&container);
    if status != Status::Created {
        return Err(Failure(format!(
            "cannot start container `{}`: it is {}",
            container.id,
            status.name()
        )));
    }
    if !container.hooks.start_container.is_empty() {
        ctx.warn(
            "startContainer hooks are not run: they are programs for the inside of a container",
        );
    }
    ask(dir, &container, Request::Start)?;
    let state = container.oci_state(Status::Running);
    // As with runc, and since version 1.2.1 of the specification: the container is stopped.
    hooks::run(&container.hooks.poststart, "poststart", &state)
        .inspect_err(|_| drop(delete::kill(&container)))
}

/// Pauses the machine of a container.
pub(crate) fn pause(dir: &StateDir) -> Result<(), Failure> {
    ask(dir, &dir.load()?, Request::Pause)
}

/// Resumes the machine of a container.
pub(crate) fn resume(dir: &StateDir) -> Result<(), Failure> {
    ask(dir, &dir.load()?, Request::Resume)
}

fn ask(dir: &StateDir, container: &Container, request: Request) -> Result<(), Failure> {
    control::ask(dir, request)?
        .ok_or_else(|| Failure(format!("container not running: `{}`", container.id)))
}
