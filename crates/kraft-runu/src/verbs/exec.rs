//! `exec`: only a probe, because a unikernel has one program and no shell.

use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;

use kraft_sys::process::own_program;
use kraft_sys::{fs, tool};

use crate::config::Process;
use crate::failure::Failure;
use crate::state::{StateDir, Status};
use crate::{Context, probe};

/// The largest description of a process that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Runs a probe, or refuses; returns the exit code.
pub(crate) fn exec(ctx: &Context<'_>, dir: &StateDir) -> Result<u8, Failure> {
    let container = dir.load()?;
    if dir.status(&container) != Status::Running {
        return Err(Failure(format!(
            "container not running: `{}`",
            container.id
        )));
    }
    let command = command(ctx)?;
    let Some(probe) = probe::understand(&command) else {
        return Err(Failure(
            "exec is not possible: a unikernel has one program and no shell; health checks can use \
             `runu-probe tcp PORT` or `runu-probe http PORT/PATH`"
                .to_owned(),
        ));
    };
    let failed = |e: std::io::Error| Failure::of("cannot start the probe", &e);
    let mut child = tool::command(own_program())
        .arg0(crate::NAME)
        .arg(probe::ARGUMENT)
        .arg(dir.path())
        .args(probe::words(&probe))
        .spawn()
        .map_err(failed)?;
    if let Some(path) = &ctx.arguments.flags.pid_file {
        fs::replace_file(path, child.id().to_string().as_bytes())?;
    }
    if ctx.arguments.flags.detach {
        return Ok(0);
    }
    let status = child.wait().map_err(failed)?;
    let code = status.code().unwrap_or(128 + status.signal().unwrap_or(0));
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Returns the command: of a file, or of the command line.
fn command(ctx: &Context<'_>) -> Result<Vec<String>, Failure> {
    if let Some(path) = &ctx.arguments.flags.process {
        let bytes = fs::read_file(path, LARGEST)?;
        let process: Process = serde_json::from_slice(&bytes)
            .map_err(|e| Failure::of(&format!("`{}` is not valid", path.display()), &e))?;
        return Ok(process.args);
    }
    let words = ctx.arguments.rest.iter().skip(1);
    Ok(words.map(|it| it.to_string_lossy().into_owned()).collect())
}
