//! Credential helpers (docker-credential-helpers): `docker-credential-NAME get` reads a server from
//! stdin and prints JSON.

use std::path::Path;
use std::time::Duration;

use kraft_core::escape::escape;
use kraft_sys::environment::Inherit;
use kraft_sys::tool::{Tool, ToolError};
use serde::Deserialize;

use super::docker::TOKEN_USER;
use super::{Credential, Error, Secret};
use crate::image::nullable;

/// Time limit of a helper: it may wait for input.
const PATIENCE: Duration = Duration::from_secs(30);
/// The stdout of every helper for an unknown server.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Maximum length of a helper's message, in characters.
const LONGEST_WORDS: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default, deserialize_with = "nullable")]
    username: String,
    #[serde(default, deserialize_with = "nullable")]
    secret: String,
}

/// Returns the first line of the output of a failed helper, sanitised: helpers print errors to
/// stdout, most other programs to stderr.
fn words(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let line: String = line.chars().take(LONGEST_WORDS).collect();
    Some(escape(&line, &[]))
}

/// Queries a helper; `file` is the file that names it.
pub(super) fn get(name: &str, server: &str, file: &Path) -> Result<Option<Credential>, Error> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| Error::Helper {
        program: program.clone(),
        path: file.display().to_string(),
        why,
    };
    // A name, not a path to another program.
    if name.contains('/') || name.starts_with('.') {
        return Err(failed("its name is not that of a helper".to_owned()));
    }
    let run = Tool::new(&program)
        .args(["get"])
        // Helpers may need any variable for their own authentication.
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
    // The output is secret, also in errors.
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
