//! Programs that keep credentials (docker-credential-helpers): `docker-credential-NAME get` is
//! given a server on stdin and answers with JSON.

use std::path::Path;
use std::time::Duration;

use kraft_core::tame::tame;
use kraft_sys::environment::Inherit;
use kraft_sys::tool::{Tool, ToolError};
use serde::Deserialize;

use super::docker::TOKEN_USER;
use super::{Credential, Error, Secret};
use crate::image::nullable;

/// A helper that takes longer is not waited for: it may ask a question that nobody sees.
const PATIENCE: Duration = Duration::from_secs(30);
/// What every helper says, on stdout, about a server it does not know.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Of what a helper says no more characters are shown.
const LONGEST_WORDS: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default, deserialize_with = "nullable")]
    username: String,
    #[serde(default, deserialize_with = "nullable")]
    secret: String,
}

/// Returns the first line of what a helper that failed wrote, safe to show: helpers write why to
/// stdout, and most other programs to stderr.
fn words(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let line: String = line.chars().take(LONGEST_WORDS).collect();
    Some(tame(&line, &[]))
}

/// Asks a helper; `file` names it.
pub(super) fn get(name: &str, server: &str, file: &Path) -> Result<Option<Credential>, Error> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| Error::Helper {
        program: program.clone(),
        path: file.display().to_string(),
        why,
    };
    // A name, not a way to any program.
    if name.contains('/') || name.starts_with('.') {
        return Err(failed("its name is not that of a helper".to_owned()));
    }
    let run = Tool::new(&program)
        .args(["get"])
        // What it knows its user by is its own affair.
        .inherit(Inherit::WithoutOurs)
        .input(server.as_bytes().to_vec())
        .limit(PATIENCE)
        .output();
    let output = match run {
        Ok(output) => output,
        Err(ToolError::NotFound { .. }) => {
            return Err(failed("there is no such program".to_owned()));
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        if said.to_lowercase().contains(NOT_FOUND) {
            return Ok(None);
        }
        let own = words(&output.stderr).or_else(|| words(&output.stdout));
        let own = own.map_or_else(String::new, |own| format!(": {own}"));
        return Err(failed(format!("it ended with {}{own}", output.status)));
    }
    // What it answered is secret, also in an error.
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("its answer is not the JSON of a helper".to_owned()))?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(if answer.username == TOKEN_USER {
        Credential::IdentityToken(Secret::new(answer.secret))
    } else {
        Credential::Basic {
            user: answer.username,
            password: Secret::new(answer.secret),
        }
    }))
}
