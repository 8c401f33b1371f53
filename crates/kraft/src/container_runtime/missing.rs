//! In place of the runtime on systems without it.

use std::ffi::OsString;
use std::process::ExitCode;

use kraft_config::env::Environment;

use crate::failure::{Failure, Kind};

pub(crate) fn role(_: &OsString, _: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    None
}

pub(crate) fn of(_: &[OsString], _: &Environment) -> Option<ExitCode> {
    None
}

/// Fails.
pub(crate) fn run(_: &[OsString], _: &Environment) -> Result<(), Failure> {
    let text = "not on macOS: container engines and their runtimes need Linux";
    Err(Failure::new(Kind::Failed, text.to_owned()))
}
