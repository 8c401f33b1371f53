//! Every configuration key: its name in the file, its variable, its flag, its default.
//!
//! This table is the single truth: global flags, help, `kraft config` and the checks of the
//! file are made from it. Names, variables and flags are KraftKit's. Keys that nothing reads
//! yet are accepted all the same, so that existing files, scripts and environments keep
//! working; they are left out of the help.

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
    /// What it can be.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub default: Default,
    /// Whether something reads it.
    pub used: bool,
    /// What it does: the text of the flag's help.
    pub help: &'static str,
}

/// What a key can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Switch,
    /// A text.
    Text(Form),
    /// A path; `~/` at its beginning is the home directory.
    Path,
    /// An amount of bytes such as 64Mi, at least this many.
    Size(u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Several texts; in a variable or a flag they are parted by commas.
    List(Form),
}

/// What a key is when nobody sets it.
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
/// The index that KraftKit reads where nothing else is configured.
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
        help: "Say only what is at least this important",
    },
    Key {
        name: "log.type",
        env: "KRAFTKIT_LOG_TYPE",
        flag: Some("log-type"),
        kind: Kind::Choice(LOG_TYPES),
        default: Default::Text("fancy"),
        used: true,
        help: "Talk in this form; fancy becomes basic where stderr is no terminal",
    },
    Key {
        name: "log.timestamps",
        env: "KRAFTKIT_LOG_TIMESTAMPS",
        flag: Some("log-timestamps"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Begin every line of talk with the time",
    },
    Key {
        name: "no_color",
        env: "KRAFTKIT_NO_COLOR",
        flag: Some("no-color"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Use no colours",
    },
    Key {
        name: "no_prompt",
        env: "KRAFTKIT_NO_PROMPT",
        flag: Some("no-prompt"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Never ask: fail where an answer is needed",
    },
    Key {
        name: "no_parallel",
        env: "KRAFTKIT_NO_PARALLEL",
        flag: Some("no-parallel"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Run one job at a time",
    },
    Key {
        name: "no_emojis",
        env: "KRAFTKIT_NO_EMOJIS",
        flag: Some("no-emojis"),
        kind: Kind::Switch,
        default: Default::Switch(true),
        used: false,
        help: "Use no emojis",
    },
    Key {
        name: "no_check_updates",
        env: "KRAFTKIT_NO_CHECK_UPDATES",
        flag: Some("no-check-updates"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: false,
        help: "Do not look for a newer version",
    },
    Key {
        name: "no_warn_sudo",
        env: "KRAFTKIT_NO_WARN_SUDO",
        flag: Some("no-warn-sudo"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: false,
        help: "Do not warn of running under sudo",
    },
    Key {
        name: "acceleration",
        env: "KRAFTKIT_ACCELERATION",
        flag: None,
        kind: Kind::Choice(&["auto", "off"]),
        default: Default::Text("auto"),
        used: true,
        help: "Run machines with KVM where it works (auto), or never (off)",
    },
    Key {
        name: "qemu",
        env: "KRAFTKIT_QEMU",
        flag: Some("qemu"),
        kind: Kind::Text(Form::Free),
        default: Default::Text(""),
        used: true,
        help: "Run this QEMU, whatever the architecture",
    },
    Key {
        name: "runtime_dir",
        env: "KRAFTKIT_RUNTIME_DIR",
        flag: Some("runtime-dir"),
        kind: Kind::Path,
        default: Default::Data("runtime"),
        used: true,
        help: "Keep machines and images in this directory",
    },
    Key {
        name: "console_limit",
        env: "KRAFTKIT_CONSOLE_LIMIT",
        flag: None,
        kind: Kind::Size(MIN_CONSOLE_LIMIT),
        default: Default::Text("64Mi"),
        used: true,
        help: "Keep at most this much of what each machine prints, at least 1Mi",
    },
    Key {
        name: "offline",
        env: "KRAFTKIT_OFFLINE",
        flag: Some("offline"),
        kind: Kind::Switch,
        default: Default::Switch(false),
        used: true,
        help: "Never open a connection: work with what is on this computer",
    },
    Key {
        name: "insecure",
        env: "KRAFTKIT_INSECURE",
        flag: Some("insecure"),
        kind: Kind::List(Form::Host),
        default: Default::List(&[]),
        used: true,
        help: "Trust these registries (HOST[:PORT]) whatever certificate they have, or none",
    },
    Key {
        name: "ca_file",
        env: "KRAFTKIT_CA_FILE",
        flag: Some("ca-file"),
        kind: Kind::Path,
        default: Default::Text(""),
        used: true,
        help: "Trust registries with certificates signed by those in this PEM file, too",
    },
    Key {
        name: "http_timeout",
        env: "KRAFTKIT_HTTP_TIMEOUT",
        flag: Some("http-timeout"),
        kind: Kind::Text(Form::Seconds),
        default: Default::Text("30"),
        used: true,
        help: "Give up on a server that is silent for so many seconds",
    },
    Key {
        name: "http_retries",
        env: "KRAFTKIT_HTTP_RETRIES",
        flag: Some("http-retries"),
        kind: Kind::Text(Form::Count),
        default: Default::Text("5"),
        used: true,
        help: "Try so often again what a server may yet do",
    },
    Key {
        name: "paths.manifests",
        env: "KRAFTKIT_PATHS_MANIFESTS",
        flag: Some("manifests-dir"),
        kind: Kind::Path,
        default: Default::Data("manifests"),
        used: true,
        help: "Keep the package index in this directory",
    },
    Key {
        name: "paths.sources",
        env: "KRAFTKIT_PATHS_SOURCES",
        flag: Some("sources-dir"),
        kind: Kind::Path,
        default: Default::Data("sources"),
        used: true,
        help: "Keep downloaded sources in this directory",
    },
    Key {
        name: "paths.plugins",
        env: "KRAFTKIT_PATHS_PLUGINS",
        flag: Some("plugins-dir"),
        kind: Kind::Path,
        default: Default::Data("plugins"),
        used: false,
        help: "Look for plugins in this directory",
    },
    Key {
        name: "unikraft.manifests",
        env: "KRAFTKIT_UNIKRAFT_MANIFESTS",
        flag: Some("with-manifest"),
        kind: Kind::List(Form::Free),
        default: Default::List(&[DEFAULT_MANIFEST]),
        used: true,
        help: "Take packages from these indexes and registries",
    },
    Key {
        name: "unikraft.mirrors",
        env: "KRAFTKIT_UNIKRAFT_MIRRORS",
        flag: Some("with-mirror"),
        kind: Kind::List(Form::Free),
        default: Default::List(&[]),
        used: false,
        help: "Fetch from these mirrors",
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
        help: "Keep images in the containerd at this address",
    },
    Key {
        name: "http_unix_socket",
        env: "KRAFTKIT_HTTP_UNIX_SOCKET",
        flag: Some("http-unix-sock"),
        kind: Kind::Text(Form::Free),
        default: Default::Text(""),
        used: false,
        help: "Speak HTTP through this socket",
    },
    Key {
        name: "events_pidfile",
        env: "KRAFTKIT_EVENTS_PIDFILE",
        flag: Some("events-pid-file"),
        kind: Kind::Path,
        default: Default::Data("runtime/events.pid"),
        used: false,
        help: "Keep the process number of the event watcher in this file",
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
        help: "Fetch from Git by this protocol",
    },
    Key {
        name: "pager",
        env: "KRAFTKIT_PAGER",
        flag: Some("pager"),
        kind: Kind::Text(Form::Free),
        default: Default::Text("cat"),
        used: false,
        help: "Page long output through this program",
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
/// What is kept for each host below [`AUTH`].
pub const AUTH_FIELDS: &[&str] = &["user", "token", "endpoint", "verify_ssl"];
/// Mappings that KraftKit knows and nothing reads.
pub const FREE_MAPPINGS: &[&str] = &["aliases"];

/// A key that can be got, set and unset.
#[derive(Debug)]
pub enum Known {
    /// One of the table.
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
    /// Finds what a name means; hosts may hold dots.
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

    /// Returns the keys that lead to it in the file, outermost first.
    pub fn path(&self) -> Vec<Cow<'_, str>> {
        match self {
            Self::Key(key) => key.name.split('.').map(Cow::from).collect(),
            Self::Auth { host, field } => vec![AUTH.into(), host.as_str().into(), (*field).into()],
        }
    }

    /// Returns what it can be.
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
    fn no_name_variable_or_flag_is_given_twice() {
        let distinct = |texts: Vec<&str>| texts.iter().collect::<HashSet<_>>().len() == texts.len();
        assert!(distinct(ALL.iter().map(|key| key.name).collect()));
        assert!(distinct(ALL.iter().map(|key| key.env).collect()));
        assert!(distinct(ALL.iter().filter_map(|key| key.flag).collect()));
    }

    #[test]
    fn a_default_is_of_its_kind() {
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
    fn a_host_with_dots_and_a_port_is_one_word_of_the_path() {
        let known = Known::find("auth.index.unikraft.io:443.token").unwrap();
        assert_eq!(known.path(), ["auth", "index.unikraft.io:443", "token"]);
        assert!(Known::find("auth.token").is_none());
        assert!(Known::find("auth.host.password").is_none());
    }
}
