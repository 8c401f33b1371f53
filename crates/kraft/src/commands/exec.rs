//! `kraft exec`, which always fails.

use std::ffi::OsString;

use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::{Failure, Kind};
use kraft_engine::machines;

/// Fail, because a machine runs one program
///
/// A unikernel has no second program, and kraft has no agent in its guests that could start one:
/// this command always fails, and prints what to use instead.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Accepted for compatibility with Docker
    #[arg(short, long)]
    interactive: bool,

    /// Accepted for compatibility with Docker
    #[arg(short, long)]
    tty: bool,

    /// Machine, by name, id or unique prefix of either
    #[arg(value_name = MACHINE)]
    machine: String,

    /// The program and its arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let Args {
        interactive: _,
        tty: _,
        machine,
        command: _,
    } = args;
    let name = machines::existing(app).find(machine)?.name;
    Err(Failure::new(
        Kind::Host,
        format!(
            "cannot start a program in the machine `{name}`: a machine runs one program, and nothing \
             in it takes requests for another"
        ),
    )
    .hint(format!("`kraft attach {name}` connects to its console"))
    .hint("start a shell as its program: `kraft run -it IMAGE /bin/sh`"))
}
