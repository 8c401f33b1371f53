//! Environment variables inherited by child processes.
//!
//! A variable is inherited by every descendant, and visible in `/proc/PID/environ` while the
//! process runs. Programs that do not need a token must not get it: [`crate::tool`] passes no
//! secrets unless the caller names them.
//!
//! ```
//! use std::ffi::OsStr;
//!
//! use kraft_sys::environment::{Inherit, is_secret};
//!
//! let inherit = Inherit::WithoutSecrets { keep: &["REGISTRY_TOKEN"] };
//! assert!(inherit.allows(OsStr::new("PATH")));
//! assert!(inherit.allows(OsStr::new("REGISTRY_TOKEN")));
//! assert!(!inherit.allows(OsStr::new("GITHUB_TOKEN")));
//! assert!(is_secret("DB_PASSWORD"));
//! ```

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// The variables that a child process inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherit {
    /// Only the listed variables. A name that ends in `*` is a prefix; variables that look like
    /// secrets are excluded even if a prefix matches them.
    Only(&'static [&'static str]),
    /// All variables except for those that look like secrets ([`is_secret`]), and in addition the
    /// listed ones, which the program needs (for example `GH_TOKEN` for a git helper). A name that
    /// ends in `*` is a prefix.
    WithoutSecrets {
        /// Names that are inherited although they look like secrets.
        keep: &'static [&'static str],
    },
    /// All variables except for kraft's own secrets, for programs that handle credentials of any
    /// service, such as credential helpers and container engines.
    WithoutOurs,
}

/// The variables that git needs for remotes: its own (`GIT_CONFIG_KEY_0`), and those for the
/// credential helpers of forges.
pub const GIT: Inherit = Inherit::WithoutSecrets {
    keep: &[
        "GIT_*",
        "SSH_*",
        "GCM_*",
        "GH_TOKEN",
        "GH_ENTERPRISE_TOKEN",
        "GITHUB_TOKEN",
        "GITHUB_ENTERPRISE_TOKEN",
        "GITLAB_TOKEN",
    ],
};

impl Inherit {
    /// Restricts a command to these variables. Variables set on the command itself are kept.
    pub fn apply(self, command: &mut Command) {
        let set: Vec<(OsString, Option<OsString>)> = command
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(OsStr::to_owned)))
            .collect();
        command.env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| self.allows(name)));
        for (name, value) in set {
            match value {
                Some(value) => command.env(name, value),
                // Secrets removed by default are added again if this allows them.
                None if is_secret(&name.to_string_lossy()) && self.allows(&name) => command,
                None => command.env_remove(name),
            };
        }
    }

    /// Removes variables that look like secrets from the environment of a new command.
    pub(crate) fn nothing_secret(command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if is_secret(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
    }

    /// Returns whether a variable is inherited.
    pub fn allows(self, name: &OsStr) -> bool {
        // Names that are not UTF-8 are not inherited.
        let Some(name) = name.to_str() else {
            return false;
        };
        match self {
            Self::Only(names) => names.iter().any(|pattern| {
                fits(name, pattern) && (!pattern.ends_with('*') || !is_secret(name))
            }),
            Self::WithoutSecrets { keep } => {
                !is_secret(name) || keep.iter().any(|pattern| fits(name, pattern))
            }
            Self::WithoutOurs => !is_ours(name),
        }
    }
}

/// Returns whether a name matches a pattern, which may be a prefix with `*`.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// Prefixes of kraft's own variables.
const OUR_BEGINNINGS: &[&str] = &[
    "UKC_",
    "UNIKRAFTCLOUD_",
    "KRAFTCLOUD_",
    "KC_",
    "KRAFTKIT_",
    "KRAFT_",
];

/// Returns whether the name of a variable is that of a secret of kraft.
fn is_ours(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    is_secret(&name) && OUR_BEGINNINGS.iter().any(|start| name.starts_with(start))
}

/// Words in names of variables that contain secrets.
const SECRET_WORDS: &[&str] = &[
    "TOKEN",
    "TOKENS",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PASSPHRASE",
    "PASS",
    "PWD",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "APIKEY",
    "KEY",
    "KEYS",
    "PAT",
    "AUTH",
    "JWT",
    "COOKIE",
];

/// Suffixes of such names without separators (`GITHUBTOKEN`).
const SECRET_ENDINGS: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIALS",
    "APIKEY",
];

/// Prefixes of variables of services that mostly contain secrets. This includes git configuration,
/// which may be a header with a password: count, keys and values belong together.
const SECRET_BEGINNINGS: &[&str] = &[
    "AWS_",
    "AZURE_",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_KEY_",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_VALUE_",
    "UKC_",
    "VAULT_",
];

/// Returns whether a variable is likely to contain a secret (token, password, key), by its name
/// only. `SSH_AUTH_SOCK` (a socket) and `PWD` (a directory) are not secrets.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if matches!(name.as_str(), "PWD" | "OLDPWD" | "SSH_AUTH_SOCK") {
        return false;
    }
    SECRET_BEGINNINGS
        .iter()
        .any(|start| name.starts_with(start))
        || SECRET_ENDINGS.iter().any(|end| name.ends_with(end))
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| SECRET_WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_recognised() {
        for name in [
            "UKC_TOKEN",
            "KRAFTKIT_TOKEN",
            "kraftkit_token",
            "GITHUB_TOKEN",
            "GITHUBTOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_PROFILE",
            "DB_PASSWORD",
            "PGPASSWORD",
            "MYSQL_PWD",
            "NPM_CONFIG__AUTH",
            "OPENAI_API_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "registry-password",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_VALUE_0",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "PWD",
            "OLDPWD",
            "SSH_AUTH_SOCK",
            "LANG",
            "KEYBOARD",
            "PATTERN",
            "MONKEY",
            "TOKENIZERS_PARALLELISM",
            "GIT_AUTHOR_NAME",
            "GIT_CONFIG_GLOBAL",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn lists_allow_their_entries_and_no_secrets() {
        let only = Inherit::Only(&["PATH", "QEMU_*", "THE_TOKEN"]);
        for (name, allowed) in [
            ("PATH", true),
            ("PATHS", false),
            ("QEMU_AUDIO", true),
            ("QEMU_TOKEN", false),
            ("THE_TOKEN", true),
            ("HOME", false),
        ] {
            assert_eq!(only.allows(OsStr::new(name)), allowed, "{name}");
        }
        let most = Inherit::WithoutSecrets {
            keep: &["GIT_TOKEN"],
        };
        for (name, allowed) in [("HOME", true), ("A_TOKEN", false), ("GIT_TOKEN", true)] {
            assert_eq!(most.allows(OsStr::new(name)), allowed, "{name}");
        }
    }

    #[test]
    fn variables_of_the_command_are_kept() {
        let mut command = crate::tool::command("sh");
        command.env("A_TOKEN", "own").env_remove("PATH");
        Inherit::Only(&["PATH", "HOME"]).apply(&mut command);
        let set: Vec<_> = command.get_envs().collect();
        assert!(set.contains(&(OsStr::new("A_TOKEN"), Some(OsStr::new("own")))));
        assert!(
            set.iter()
                .all(|(name, value)| *name != "PATH" || value.is_none())
        );
    }

    #[test]
    fn git_gets_its_variables_and_helpers_all_but_kraft_secrets() {
        for (name, git, helper) in [
            ("GIT_CONFIG_KEY_0", true, true),
            ("SSH_AUTH_SOCK", true, true),
            ("GITHUB_TOKEN", true, true),
            ("AWS_SECRET_ACCESS_KEY", false, true),
            ("DB_PASSWORD", false, true),
            ("UKC_TOKEN", false, false),
            ("UKC_METRO", false, false),
            ("KRAFTKIT_TOKEN", false, false),
            ("KRAFTKIT_LOG_LEVEL", true, true),
            ("KC_TOKEN", false, false),
        ] {
            assert_eq!(GIT.allows(OsStr::new(name)), git, "git: {name}");
            let allowed = Inherit::WithoutOurs.allows(OsStr::new(name));
            assert_eq!(allowed, helper, "helper: {name}");
        }
    }

    #[test]
    fn excluded_secrets_can_be_requested() {
        let mut command = crate::tool::command("sh");
        command.env_remove("GH_TOKEN").env_remove("A_TOKEN");
        GIT.apply(&mut command);
        let left_out: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name)
            .collect();
        assert!(!left_out.contains(&OsStr::new("GH_TOKEN")));
    }
}
