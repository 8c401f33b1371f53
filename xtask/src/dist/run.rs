//! Programs that are run, with what they print if they fail.

use std::process::{Command, Stdio};

/// Runs a program; what it prints is shown only if it fails.
pub(super) fn run(command: &mut Command) -> Result<(), Vec<String>> {
    output(command).map(drop)
}

/// Runs a program and returns what it prints.
pub(super) fn output(command: &mut Command) -> Result<String, Vec<String>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| vec![format!("cannot run `{name}`: {error}")])?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(vec![format!(
        "`{name}` failed: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )])
}

/// Returns whether a program is installed.
pub(super) fn is_installed(program: &str) -> bool {
    output(Command::new(program).arg("--version")).is_ok()
}
