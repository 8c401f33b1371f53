//! `kill`: a signal for a container.

use kraft_sys::process::Process;
use rustix::process::Signal;

use crate::Context;
use crate::control::{self, Request};
use crate::failure::Failure;
use crate::state::{StateDir, Status};

/// Sends a signal to a container. Those that a machine has no equivalent for are accepted and have no
/// effect, as for a program that ignores them.
pub(crate) fn exec(ctx: &Context<'_>, dir: &StateDir) -> Result<(), Failure> {
    let signal = match ctx.arguments.rest.get(1) {
        Some(text) => parse(&text.to_string_lossy())?,
        None => Kind::End(Signal::TERM),
    };
    let container = dir.load()?;
    if dir.status(&container) == Status::Stopped {
        // Engines look for these words.
        return if ctx.arguments.flags.all {
            Ok(())
        } else {
            Err(Failure("container not running".to_owned()))
        };
    }
    match signal {
        Kind::End(signal) => {
            let supervisor = container.supervisor.as_ref().map(Process::open);
            let process = supervisor
                .transpose()
                .map_err(|e| Failure::of("cannot open the supervisor", &e))?
                .flatten();
            let Some(process) = process else {
                return Err(Failure("container not running".to_owned()));
            };
            process
                .signal(signal)
                .map_err(|e| Failure::of("cannot send the signal", &e))
        }
        Kind::Pause => control::ask(dir, Request::Pause).map(drop),
        Kind::Resume => control::ask(dir, Request::Resume).map(drop),
        Kind::None => Ok(()),
    }
}

/// What a signal means for a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    End(Signal),
    Pause,
    Resume,
    None,
}

/// The signals of Linux that are the same on every processor that is supported, by their numbers.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The last number of a signal of Linux.
const LAST: usize = 64;

/// Parses a signal: a number, or a name with or without `SIG`.
fn parse(text: &str) -> Result<Kind, Failure> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match text.parse::<usize>() {
        Ok(number) if number <= LAST => number,
        Ok(_) => usize::MAX,
        Err(_) => NAMES
            .iter()
            .position(|it| *it == name)
            .map_or(usize::MAX, |at| at + 1),
    };
    Ok(match number {
        2 => Kind::End(Signal::INT),
        3 => Kind::End(Signal::QUIT),
        9 => Kind::End(Signal::KILL),
        15 => Kind::End(Signal::TERM),
        18 => Kind::Resume,
        19 => Kind::Pause,
        0..=LAST => Kind::None,
        _ => return Err(Failure(format!("`{text}` is not a signal"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers_and_names() {
        for (text, kind) in [
            ("15", Kind::End(Signal::TERM)),
            ("SIGTERM", Kind::End(Signal::TERM)),
            ("kill", Kind::End(Signal::KILL)),
            ("USR1", Kind::None),
            ("0", Kind::None),
            ("STOP", Kind::Pause),
            ("34", Kind::None),
        ] {
            assert_eq!(parse(text).unwrap(), kind, "{text}");
        }
        for wrong in ["", "65", "-9", "SIGNOTHING", "9 9"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
