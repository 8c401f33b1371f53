//! The keyring of the desktop: tokens of profiles in the Secret Service, by the program `secret-tool`
//! of libsecret.
//!
//! A server has no such keyring: without a session bus or the program, it is not asked at all. The
//! token goes through stdin and stdout, never through arguments, which all users can read.
//!
//! ```
//! use kraft_deploy::keyring::Error;
//!
//! let error = Error::Missing("work".to_owned());
//! assert!(error.to_string().contains("kraft cloud login"));
//! ```

use std::ffi::OsStr;
use std::time::Duration;

use kraft_core::escape::escape;
use kraft_engine::context::Context;
use kraft_sys::environment::Inherit;
use kraft_sys::tool::{Tool, ToolError};

const PROGRAM: &str = "secret-tool";
/// Variable with the address of the session bus, without which there is no keyring.
const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";
/// Time limit of the program: the user may have to unlock the keyring.
const PATIENCE: Duration = Duration::from_mins(1);
/// Maximum length of its message, in characters.
const LONGEST: usize = 200;

/// Why the keyring was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This host has none.
    #[error("this host has no keyring")]
    None,
    /// The program failed.
    #[error("`{PROGRAM}` failed: {0}")]
    Failed(String),
    /// The keyring has no token of the profile.
    #[error("the keyring has no token of the profile `{0}`: log in with `kraft cloud login`")]
    Missing(String),
}

/// Saves the token of a profile.
pub(crate) fn store(ctx: &Context, profile: &str, token: &str) -> Result<(), Error> {
    let label = format!("--label=kraft cloud: {profile}");
    run(ctx, &["store", &label], profile, token)?.ok_or(Error::None)?;
    Ok(())
}

/// Returns the token of a profile.
pub(crate) fn find(ctx: &Context, profile: &str) -> Result<String, Error> {
    let missing = || Error::Missing(profile.to_owned());
    let token = run(ctx, &["lookup"], profile, "")?.ok_or_else(missing)?;
    let token = token.trim();
    if token.is_empty() {
        return Err(missing());
    }
    Ok(token.to_owned())
}

/// Removes the token of a profile, if there is one.
pub(crate) fn clear(ctx: &Context, profile: &str) -> Result<(), Error> {
    run(ctx, &["clear"], profile, "").map(drop)
}

/// Runs the program for a profile; returns its output, or `None` if it ends without a message and
/// without success: it has no such token.
fn run(
    ctx: &Context,
    action: &[&str],
    profile: &str,
    input: &str,
) -> Result<Option<String>, Error> {
    if ctx.env.text(BUS).is_none() {
        return Err(Error::None);
    }
    let attributes = ["service", "kraft-cloud", "profile", profile];
    let args = action.iter().chain(&attributes).map(OsStr::new);
    let run = Tool::new(PROGRAM)
        .args(args)
        .inherit(Inherit::WithoutOurs)
        .input(input.as_bytes().to_vec())
        .limit(PATIENCE)
        .output();
    let output = match run {
        Ok(output) => output,
        Err(ToolError::NotFound { .. }) => return Err(Error::None),
        Err(error) => return Err(Error::Failed(error.to_string())),
    };
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => {
            let line: String = line.chars().take(LONGEST).collect();
            Err(Error::Failed(escape(&line, &[])))
        }
        None => Ok(None),
    }
}
