//! Registry credentials from kraft, docker and podman, never logged.
//!
//! kraft's own credentials take precedence, then docker's (including helpers), then podman's. They
//! are read only when a registry asks for them. A failing file or helper is reported and skipped:
//! most images need no credentials.
//!
//! ```
//! use kraft_oci::credentials::{Credential, CredentialSource, Keyrings};
//!
//! let own = ("anna".to_owned(), "hush-hush".to_owned());
//! let keyrings = Keyrings {
//!     own: [("registry.example".to_owned(), own)].into(),
//!     ..Keyrings::default()
//! };
//! let found = keyrings.find("registry.example")?;
//! assert!(matches!(&found, Some(Credential::Basic { user, .. }) if user == "anna"));
//! assert!(!format!("{found:?}").contains("hush-hush"));
//! assert!(keyrings.find("other.example")?.is_none());
//! # Ok::<(), kraft_oci::credentials::Error>(())
//! ```

mod docker;
mod helper;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use kraft_core::event::{Event, Reporter};

/// A secret text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Credentials for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password, or a token used as one.
        password: Secret,
    },
    /// A token to be exchanged for access tokens.
    IdentityToken(Secret),
    /// A token that is sent unchanged.
    Bearer(Secret),
}

/// Looks up credentials. May block, and may run other programs.
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// Returns the credentials of a registry, `HOST[:PORT]`, if there are any.
    fn find(&self, host: &str) -> Result<Option<Credential>, Error>;

    /// Returns hints about failed sources of credentials for a registry, one sentence each.
    fn advice(&self, host: &str) -> Vec<String> {
        let _ = host;
        Vec::new()
    }
}

/// The sources of credentials.
#[derive(Clone, Default)]
pub struct Keyrings {
    /// kraft's own: user and token, by host.
    pub own: BTreeMap<String, (String, String)>,
    /// Docker's `config.json`.
    pub docker: Option<PathBuf>,
    /// Podman's `auth.json` files, in order of precedence.
    pub podman: Vec<PathBuf>,
    /// Receives warnings about failing files and helpers.
    pub reporter: Option<Arc<dyn Reporter>>,
    /// Hints about them, by host.
    pub advice: Advice,
}

/// Hints about failed sources of credentials, by host.
#[derive(Clone, Debug, Default)]
pub struct Advice(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl fmt::Debug for Keyrings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyrings")
            .field("own", &self.own.keys())
            .field("docker", &self.docker)
            .field("podman", &self.podman)
            .finish_non_exhaustive()
    }
}

impl Keyrings {
    /// Returns user and password for a registry, if there are any, for other programs.
    pub fn pair(&self, host: &str) -> Option<(String, String)> {
        match self.find(&host_of_key(host)).ok()?? {
            Credential::Basic { user, password } => Some((user, password.reveal().to_owned())),
            Credential::Bearer(_) | Credential::IdentityToken(_) => None,
        }
    }
}

impl CredentialSource for Keyrings {
    fn find(&self, host: &str) -> Result<Option<Credential>, Error> {
        if let Some((user, token)) = self.own.get(host) {
            return Ok(Some(own(user, token)));
        }
        let mut failed = Vec::new();
        let mut files = self.docker.iter().chain(&self.podman);
        let found = files.find_map(|file| match docker::find(file, host, &mut failed) {
            Ok(found) => found,
            Err(error) => {
                failed.push(error);
                None
            }
        });
        for error in failed {
            self.pass_over(host, &error, found.is_some());
        }
        Ok(found)
    }

    fn advice(&self, host: &str) -> Vec<String> {
        let advice = self.advice.0.lock().unwrap_or_else(PoisonError::into_inner);
        advice.get(host).cloned().unwrap_or_default()
    }
}

impl Keyrings {
    /// Reports a failed source, and records a hint.
    fn pass_over(&self, host: &str, error: &Error, found: bool) {
        if let Some(reporter) = &self.reporter {
            let instead = if found {
                "other credentials are used"
            } else {
                "continuing without credentials"
            };
            reporter.report(Event::Warning(format!("{error}; {instead}")));
        }
        let mut advice = self.advice.0.lock().unwrap_or_else(PoisonError::into_inner);
        advice
            .entry(host.to_owned())
            .or_default()
            .extend(error.hint());
    }
}

/// A token without a user may be base64 of `user:token`, as in `KraftKit`.
fn own(user: &str, token: &str) -> Credential {
    if user.is_empty() {
        if let Some((user, password)) = docker::decode_pair(token) {
            return Credential::Basic { user, password };
        }
        return Credential::Bearer(Secret::new(token));
    }
    if user == docker::TOKEN_USER {
        return Credential::IdentityToken(Secret::new(token));
    }
    Credential::Basic {
        user: user.to_owned(),
        password: Secret::new(token),
    }
}

/// Returns the registry of a key in a credential file: a host, or a URL as written by older
/// programs.
pub fn host_of_key(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let host = key.split('/').next().unwrap_or(key).to_ascii_lowercase();
    match host.as_str() {
        "docker.io" | "registry-1.docker.io" => "index.docker.io".to_owned(),
        _ => host,
    }
}

/// Why credentials cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// A file is invalid. Its content is not shown.
    #[error("the credentials in `{path}` cannot be used: {why}")]
    Broken {
        /// The file.
        path: String,
        /// The reason, with the position.
        why: String,
    },
    /// A helper failed.
    #[error("the credential helper `{program}` named in `{path}` failed: {why}")]
    Helper {
        /// The program.
        program: String,
        /// The file that names it.
        path: String,
        /// The reason.
        why: String,
    },
}

impl Error {
    /// Returns a hint for the user.
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Broken { path, .. } => Some(format!("correct `{path}`")),
            Self::Helper { program, path, .. } => Some(format!(
                "make the helper `{program}` work, or remove it (`credsStore`, `credHelpers`) from \
                 `{path}`"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
