//! `run`: create and start at once.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use kraft_sys::process::Process;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{create, delete, start};
use crate::Context;
use crate::bundle::Bundle;
use crate::failure::Failure;
use crate::state::StateDir;

/// Creates and starts a container. Unless it is detached, waits for its end, deletes it and returns its
/// exit code.
pub(crate) fn exec(ctx: &Context<'_>, bundle: &Bundle) -> Result<u8, Failure> {
    create::exec(ctx, bundle)?;
    let id = ctx.arguments.id().unwrap_or_default();
    let dir = StateDir::new(&ctx.root, id)?;
    let container = dir.load()?;
    if let Err(failure) = start::exec(ctx, &dir) {
        let _ = delete::forced(ctx, &dir);
        return Err(failure);
    }
    if ctx.arguments.flags.detach {
        return Ok(0);
    }
    let failed = |e: std::io::Error| Failure::of("cannot wait for the container", &e);
    let Some(supervisor) = &container.supervisor else {
        return Err(Failure(
            "the supervisor of the container has ended".to_owned(),
        ));
    };
    // It is a child of this process.
    if let Some(process) = Process::open(supervisor).map_err(failed)? {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT]).map_err(failed)?;
        let handle = signals.handle();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for signal in signals.forever() {
                    if let Some(signal) = Signal::from_named_raw(signal) {
                        let _ = process.signal(signal);
                    }
                }
            });
            let waited = process.wait(None::<Duration>);
            handle.close();
            waited
        })
        .map_err(failed)?;
    }
    let pid = i32::try_from(supervisor.pid).ok().and_then(Pid::from_raw);
    let waited = waitpid(pid, WaitOptions::empty()).map_err(|e| failed(e.into()))?;
    let status = waited.map(|(_, status)| std::process::ExitStatus::from_raw(status.as_raw()));
    delete::forced(ctx, &dir)?;
    let code = status.and_then(|it| it.code().or_else(|| Some(128 + it.signal()?)));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
