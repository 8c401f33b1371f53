//! The processes that kraft starts of its own program: each has a hidden first argument.

use std::ffi::OsString;
use std::process::ExitCode;

use kraft_engine::machines::MONITOR;
use kraft_net::holder;
use kraft_rootfs::sandbox;

use crate::container_runtime;

/// Runs as such a process, and returns its exit code; `None` if the arguments are those of a user.
pub(crate) fn of(args: &[OsString]) -> Option<ExitCode> {
    let role = args.get(1)?;
    let rest = args.iter().skip(2).cloned();
    let code = if role == MONITOR {
        kraft_machine::monitor::main(rest)
    } else if role == holder::ARGUMENT {
        holder::main(rest)
    } else if role == sandbox::ARGUMENT {
        sandbox::enter()
    } else {
        return container_runtime::role(role, rest);
    };
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
