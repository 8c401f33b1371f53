//! What a program that we start gets of our own environment.
//!
//! A variable holds for every process below it, and `/proc/PID/environ` shows it for as long as
//! that process runs. Programs that have no use for a token must not get one.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// Which variables of our own environment a program inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherit {
    /// Only the listed variables. A name that ends in `*` stands for all that begin like it.
    /// Variables that look like secrets are left out even if a `*` covers them.
    Only(&'static [&'static str]),
    /// Everything but variables that look like secrets ([`is_secret`]), except for the listed
    /// ones, which the program needs (`GH_TOKEN` for a git helper, say).
    WithoutSecrets {
        /// Names that are inherited although they look like secrets.
        keep: &'static [&'static str],
    },
}

impl Inherit {
    /// Restricts a command to these variables. What was set on the command itself before stays.
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
                None => command.env_remove(name),
            };
        }
    }

    /// Returns whether a variable is inherited.
    pub fn allows(self, name: &OsStr) -> bool {
        // A name that is not text cannot be judged.
        let Some(name) = name.to_str() else {
            return false;
        };
        match self {
            Self::Only(names) => names.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start) && !is_secret(name),
                None => name == *pattern,
            }),
            Self::WithoutSecrets { keep } => keep.contains(&name) || !is_secret(name),
        }
    }
}

/// Words in the name of a variable that holds a secret.
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

/// The same words where a name has no separators (`GITHUBTOKEN`).
const SECRET_ENDINGS: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIALS",
    "APIKEY",
];

/// How the variables of services begin that hold little else than secrets.
const SECRET_BEGINNINGS: &[&str] = &["AWS_", "AZURE_", "UKC_", "VAULT_"];

/// Returns whether the name of a variable looks as if it held a secret: a token, a password, a
/// key. Works on names only; `SSH_AUTH_SOCK` (a socket) and `PWD` (a directory) are not secrets.
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
    fn names_of_secrets_are_known() {
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
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_list_lets_through_what_is_on_it_and_no_secret() {
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
    fn what_was_set_on_the_command_itself_stays() {
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
}
