//! Every configuration key: its name in the file, its variable, its flag, its default.
//!
//! This table is the single source of truth: global flags, help, `kraft config` and the validation
//! of the file are derived from it. Names, variables and flags are KraftKit's. Unused keys are
//! accepted, so that existing files, scripts and environments keep working; the help omits them.
//!
//! ```
//! use kraft_config::keys::{ALL, Known};
//!
//! let Some(Known::Key(key)) = Known::find("log.level") else {
//!     panic!("a key");
//! };
//! assert_eq!(key.env, "KRAFTKIT_LOG_LEVEL");
//! assert!(ALL.iter().any(|other| other.name == key.name));
//!
//! let token = Known::find("auth.example.com.token").expect("a key of a host");
//! assert_eq!(token.path(), ["auth", "example.com", "token"]);
//! assert!(Known::find("log.colour").is_none());
//! ```

use std::borrow::Cow;

use kraft_machine::MIN_CONSOLE_LIMIT;

use super::forms::Form;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name, dotted: `log.level` is the key `level` in the mapping `log`.
    pub name: &'static str,
    /// The environment variable that sets it.
    pub env: &'static str,
    /// The global flag that sets it, without the dashes.
    pub flag: Option<&'static str>,
    /// The type of its values.
    pub kind: Kind,
    /// Its value when it is not set.
    pub default: Default,
    /// Whether kraft uses it.
    pub used: bool,
    /// The help of the flag.
    pub help: &'static str,
}

/// The type of a key's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Switch,
    /// A text.
    Text(Form),
    /// A path; `~/` at its beginning is the home directory.
    Path,
    /// A size in bytes such as 64Mi, with this minimum.
    Size(u64),
    /// One of these values.
    Choice(&'static [&'static str]),
    /// Several texts; separated by commas in a variable or a flag.
    List(Form),
}

/// The value of a key that is not set.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// A switch.
    Switch(bool),
    /// A text, also of paths and choices.
    Text(&'static str),
    /// A path below the data directory.
    Data(&'static str),
    /// A list.
    List(&'static [&'static str]),
}

/// The levels of `log.level`, most important first.
pub const LEVELS: &[&str] = &["panic", "fatal", "error", "warn", "info", "debug", "trace"];
/// The types of `log.type`.
pub const LOG_TYPES: &[&str] = &["fancy", "basic", "json", "quiet"];
/// The values of `compat`.
pub const COMPATS: &[&str] = &["none", "kraftkit"];
/// The index that KraftKit reads by default.
pub const DEFAULT_MANIFEST: &str = "https://manifests.kraftkit.sh/index.yaml";

/// Every key, in the order `kraft config` shows them.
pub const ALL: &[Key] = &[
    Key {
        name: "log.level",
        env: "KRAFTKIT_LOG_LEVEL",
        flag: Some("log-level"),
        kind: Kind::Choice(LEVELS),
        default: Default::Text("info"),
        used: true,
        help: "Set the minimum level of log messages",
    },
    Key {
        name: "log.type",
        env: "KRAFTKIT_LOG_TYPE",
        flag: Some("log-type"),
        kind: Kind::Choice(LOG_TYPES),
        default: Default::Text("fancy"),
        used: true,
        help: "Set the log format; fancy falls back to basic without a terminal",
    },
    Key {
        name: "log.timestamps",
        env: "KRAFTKIT_LOG_TIMESTAMPS",
        flag: Some("log-timestamps"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Prefix log lines with a timestamp",
    },
    Key {
        name: "no_color",
        env: "KRAFTKIT_NO_COLOR",
        flag: Some("no-color"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Disable colours",
    },
    Key {
        name: "no_prompt",
        env: "KRAFTKIT_NO_PROMPT",
        flag: Some("no-prompt"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Never prompt; fail if an answer is required",
    },
    Key {
        name: "no_parallel",
        env: "KRAFTKIT_NO_PARALLEL",
        flag: Some("no-parallel"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Run jobs one at a time",
    },
    Key {
        name: "compat",
        env: "KRAFTKIT_COMPAT",
        flag: Some("compat"),
        kind: Kind::Choice(COMPATS),
        default: Default::Text("none"),
        used: true,
        help: "Print listings as JSON and YAML with the keys of this program",
    },
    Key {
        name: "no_emojis",
        env: "KRAFTKIT_NO_EMOJIS",
        flag: Some("no-emojis"),
        kind: Kind::Switch,
        default: Default::Switch(true),
        used: false,
        help: "Disable emojis",
    },
    Key {
        name: "no_check_updates",
        env: "KRAFTKIT_NO_CHECK_UPDATES",
        flag: Some("no-check-updates"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: false,
        help: "Do not check for a newer version",
    },
    Key {
        name: "no_warn_sudo",
        env: "KRAFTKIT_NO_WARN_SUDO",
        flag: Some("no-warn-sudo"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: false,
        help: "Do not warn about running under sudo",
    },
    Key {
        name: "acceleration",
        env: "KRAFTKIT_ACCELERATION",
        flag: None,
        kind: Kind::Choice(&["auto", "off"]),
        default: Default::Text("auto"),
        used: true,
        help: "Set hardware acceleration: auto uses KVM if it works, off never does",
    },
    Key {
        name: "default_runtime",
        env: "KRAFTKIT_DEFAULT_RUNTIME",
        flag: None,
        kind: Kind::Text(Form::Free),
        default: Default::Text("builtin"),
        used: true,
        help: "Run programs, Dockerfiles and projects that name no runtime on this image",
    },
    Key {
        name: "qemu",
        env: "KRAFTKIT_QEMU",
        flag: Some("qemu"),
        kind: Kind::Text(Form::Free),
        default: Default::Text(""),
        used: true,
        help: "Use this QEMU binary for every architecture",
    },
    Key {
        name: "firecracker",
        env: "KRAFTKIT_FIRECRACKER",
        flag: None,
        kind: Kind::Text(Form::Free),
        default: Default::Text(""),
        used: true,
        help: "Use this Firecracker binary",
    },
    Key {
        name: "runtime_dir",
        env: "KRAFTKIT_RUNTIME_DIR",
        flag: Some("runtime-dir"),
        kind: Kind::Path,
        default: Default::Data("runtime"),
        used: true,
        help: "Store machines and images in this directory",
    },
    Key {
        name: "console_limit",
        env: "KRAFTKIT_CONSOLE_LIMIT",
        flag: None,
        kind: Kind::Size(MIN_CONSOLE_LIMIT),
        default: Default::Text("64Mi"),
        used: true,
        help: "Limit the stored console output of each machine (at least 1Mi)",
    },
    Key {
        name: "offline",
        env: "KRAFTKIT_OFFLINE",
        flag: Some("offline"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Work offline: never open a network connection",
    },
    Key {
        name: "insecure",
        env: "KRAFTKIT_INSECURE",
        flag: Some("insecure"),
        kind: Kind::List(Form::Host),
        default: Default::List(&[]),
        used: true,
        help: "Allow plain HTTP and unverified certificates for these registries (HOST[:PORT])",
    },
    Key {
        name: "ca_file",
        env: "KRAFTKIT_CA_FILE",
        flag: Some("ca-file"),
        kind: Kind::Path,
        default: Default::Text(""),
        used: true,
        help: "Trust the CA certificates in this PEM file, too",
    },
    Key {
        name: "http_timeout",
        env: "KRAFTKIT_HTTP_TIMEOUT",
        flag: Some("http-timeout"),
        kind: Kind::Text(Form::Seconds),
        default: Default::Text("30"),
        used: true,
        help: "Set the timeout of an idle connection, in seconds",
    },
    Key {
        name: "http_retries",
        env: "KRAFTKIT_HTTP_RETRIES",
        flag: Some("http-retries"),
        kind: Kind::Text(Form::Count),
        default: Default::Text("5"),
        used: true,
        help: "Set the number of retries for a failed request",
    },
    Key {
        name: "paths.manifests",
        env: "KRAFTKIT_PATHS_MANIFESTS",
        flag: Some("manifests-dir"),
        kind: Kind::Path,
        default: Default::Data("manifests"),
        used: true,
        help: "Store the package index in this directory",
    },
    Key {
        name: "paths.sources",
        env: "KRAFTKIT_PATHS_SOURCES",
        flag: Some("sources-dir"),
        kind: Kind::Path,
        default: Default::Data("sources"),
        used: true,
        help: "Store downloaded sources in this directory",
    },
    Key {
        name: "paths.plugins",
        env: "KRAFTKIT_PATHS_PLUGINS",
        flag: Some("plugins-dir"),
        kind: Kind::Path,
        default: Default::Data("plugins"),
        used: false,
        help: "Load plugins from this directory",
    },
    Key {
        name: "unikraft.manifests",
        env: "KRAFTKIT_UNIKRAFT_MANIFESTS",
        flag: Some("with-manifest"),
        kind: Kind::List(Form::Free),
        default: Default::List(&[DEFAULT_MANIFEST]),
        used: true,
        help: "Use packages of these indexes and registries",
    },
    Key {
        name: "unikraft.mirrors",
        env: "KRAFTKIT_UNIKRAFT_MIRRORS",
        flag: Some("with-mirror"),
        kind: Kind::List(Form::Free),
        default: Default::List(&[]),
        used: false,
        help: "Download from these mirrors",
    },
    Key {
        name: "buildkit_host",
        env: "KRAFTKIT_BUILDKIT_HOST",
        flag: Some("buildkit-host"),
        kind: Kind::Text(Form::Buildkit),
        default: Default::Text(""),
        used: true,
        help: "Build Dockerfiles with the BuildKit at this address",
    },
    Key {
        name: "containerd_addr",
        env: "KRAFTKIT_CONTAINERD_ADDR",
        flag: Some("containerd-addr"),
        kind: Kind::Text(Form::Containerd),
        default: Default::Text(""),
        used: true,
        help: "Store images in the containerd at this address",
    },
    Key {
        name: "http_unix_socket",
        env: "KRAFTKIT_HTTP_UNIX_SOCKET",
        flag: Some("http-unix-sock"),
        kind: Kind::Text(Form::Free),
        default: Default::Text(""),
        used: false,
        help: "Send HTTP through this socket",
    },
    Key {
        name: "events_pidfile",
        env: "KRAFTKIT_EVENTS_PIDFILE",
        flag: Some("events-pid-file"),
        kind: Kind::Path,
        default: Default::Data("runtime/events.pid"),
        used: false,
        help: "Store the PID of the event watcher in this file",
    },
    Key {
        name: "editor",
        env: "KRAFTKIT_EDITOR",
        flag: Some("editor"),
        kind: Kind::Text(Form::Free),
        default: Default::Text(""),
        used: false,
        help: "Edit files with this program",
    },
    Key {
        name: "git_protocol",
        env: "KRAFTKIT_GIT_PROTOCOL",
        flag: Some("git-protocol"),
        kind: Kind::Text(Form::Free),
        default: Default::Text("https"),
        used: false,
        help: "Use this protocol for Git",
    },
    Key {
        name: "pager",
        env: "KRAFTKIT_PAGER",
        flag: Some("pager"),
        kind: Kind::Text(Form::Free),
        default: Default::Text("cat"),
        used: false,
        help: "Use this pager for long output",
    },
    Key {
        name: "default_plat",
        env: "KRAFTKIT_DEFAULT_PLAT",
        flag: None,
        kind: Kind::Text(Form::Free),
        default: Default::Text(""),
        used: false,
        help: "Prefer this platform",
    },
    Key {
        name: "default_arch",
        env: "KRAFTKIT_DEFAULT_ARCH",
        flag: None,
        kind: Kind::Text(Form::Free),
        default: Default::Text(""),
        used: false,
        help: "Prefer this architecture",
    },
];

/// The mapping of credentials, by host.
pub const AUTH: &str = "auth";
/// The fields of each host below [`AUTH`].
pub const AUTH_FIELDS: &[&str] = &["user", "token", "endpoint", "verify_ssl"];
/// Mappings of KraftKit that kraft does not use.
pub const FREE_MAPPINGS: &[&str] = &["aliases"];

/// A key that can be read, set and unset.
#[derive(Debug)]
pub enum Known {
    /// A key of the table.
    Key(&'static Key),
    /// `auth.HOST.FIELD`.
    Auth {
        /// The host, with its port if it has one.
        host: String,
        /// One of [`AUTH_FIELDS`].
        field: &'static str,
    },
}

impl Known {
    /// Finds the key of a name; hosts may contain dots.
    pub fn find(name: &str) -> Option<Self> {
        if let Some(key) = ALL.iter().find(|key| key.name == name) {
            return Some(Self::Key(key));
        }
        let (host, field) = name.strip_prefix("auth.")?.rsplit_once('.')?;
        let field = AUTH_FIELDS.iter().find(|known| **known == field)?;
        (!host.is_empty()).then(|| Self::Auth {
            host: host.to_owned(),
            field,
        })
    }

    /// Returns its path in the file, outermost key first.
    pub fn path(&self) -> Vec<Cow<'_, str>> {
        match self {
            Self::Key(key) => key.name.split('.').map(Cow::from).collect(),
            Self::Auth { host, field } => vec![AUTH.into(), host.as_str().into(), (*field).into()],
        }
    }

    /// Returns the type of its values.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Key(key) => key.kind,
            Self::Auth { field, .. } if *field == "verify_ssl" => Kind::Switch,
            Self::Auth { .. } => Kind::Text(Form::Free),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_variables_and_flags_are_unique() {
        let distinct = |texts: Vec<&str>| texts.iter().collect::<HashSet<_>>().len() == texts.len();
        assert!(distinct(ALL.iter().map(|key| key.name).collect()));
        assert!(distinct(ALL.iter().map(|key| key.env).collect()));
        assert!(distinct(ALL.iter().filter_map(|key| key.flag).collect()));
    }

    #[test]
    fn a_default_has_the_type_of_its_key() {
        for key in ALL {
            let fits = match (key.kind, key.default) {
                (Kind::Switch, Default::Switch(_))
                | (Kind::List(_), Default::List(_))
                | (Kind::Text(_) | Kind::Path, Default::Text(_))
                | (Kind::Path, Default::Data(_)) => true,
                (Kind::Choice(words), Default::Text(word)) => words.contains(&word),
                (Kind::Size(least), Default::Text(size)) => {
                    kraft_core::quantity::parse(size).is_ok_and(|size| size >= least)
                }
                _ => false,
            };
            assert!(fits, "{}", key.name);
        }
    }

    #[test]
    fn a_host_with_dots_and_a_port_is_one_part_of_the_path() {
        let known = Known::find("auth.index.unikraft.io:443.token").unwrap();
        assert_eq!(known.path(), ["auth", "index.unikraft.io:443", "token"]);
        assert!(Known::find("auth.token").is_none());
        assert!(Known::find("auth.host.password").is_none());
    }
}
