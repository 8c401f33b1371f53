//! The runtime, its supervisor and its probe.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use kraft_config::env::Environment;

use crate::failure::{Failure, Kind};

/// Runs as a process of the runtime, if its first argument is that of one.
pub(crate) fn role(role: &OsString, rest: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let code = if role == kraft_runu::supervisor::ARGUMENT {
        kraft_runu::supervisor::main(rest)
    } else if role == kraft_runu::PROBE {
        kraft_runu::probe_main(rest)
    } else {
        return None;
    };
    Some(ExitCode::from(code))
}

/// Runs as the runtime, if this is one by its name, or by the first argument: these arguments are not parsed as
/// those of other commands.
pub(crate) fn of(args: &[OsString], env: &Environment) -> Option<ExitCode> {
    let args = arguments(args)?;
    Some(ExitCode::from(kraft_runu::main(args, &environment(env))))
}

fn arguments(args: &[OsString]) -> Option<&[OsString]> {
    let (program, rest) = args.split_first()?;
    let name = Path::new(program).file_name();
    if name.is_some_and(|name| name == kraft_runu::NAME) {
        return Some(rest);
    }
    let (first, rest) = rest.split_first()?;
    // The help of `kraft runu` is that of a command of kraft.
    let is_help = rest
        .first()
        .is_some_and(|arg| arg == "-h" || arg == "--help");
    (first == kraft_runu::NAME && !is_help).then_some(rest)
}

/// Runs the command `kraft runu`.
///
/// # Errors
///
/// If the runtime fails, which has said why.
pub(crate) fn run(args: &[OsString], env: &Environment) -> Result<(), Failure> {
    match kraft_runu::main(args, &environment(env)) {
        0 => Ok(()),
        status => Err(Failure::reported(Kind::Guest(status))),
    }
}

fn environment(env: &Environment) -> kraft_runu::Environment {
    kraft_runu::Environment {
        runtime_dir: env.path("XDG_RUNTIME_DIR"),
    }
}
