//! The command line of an OCI runtime, as engines write it.
//!
//! It is that of runc. It is parsed leniently: flags may come in any order, `--flag value` and
//! `--flag=value` are the same, switches may have a value, and what is not known is kept for the
//! runtime that ordinary containers are handed to.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) global: Global,
    /// The command; `None` if there is none.
    pub(crate) verb: Option<String>,
    pub(crate) flags: Flags,
    /// What follows the flags of the command: the id first.
    pub(crate) rest: Vec<OsString>,
    /// All arguments without those that only this runtime knows.
    pub(crate) plain: Vec<OsString>,
}

/// The flags in front of the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Global {
    pub(crate) root: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_json: bool,
    pub(crate) systemd_cgroup: bool,
    pub(crate) version: bool,
    pub(crate) help: bool,
    /// The runtime for ordinary containers, which only this runtime knows.
    pub(crate) delegate: Option<OsString>,
}

/// The flags of all commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) process: Option<PathBuf>,
    pub(crate) format: Option<String>,
    pub(crate) resources: Option<PathBuf>,
    pub(crate) all: bool,
    pub(crate) force: bool,
    pub(crate) detach: bool,
    pub(crate) stats: bool,
    pub(crate) quiet: bool,
    pub(crate) help: bool,
}

/// Flags in front of the command that have a value.
const GLOBAL_VALUES: [&str; 7] = [
    "root",
    "log",
    "log-format",
    "log-level",
    "criu",
    "rootless",
    "delegate",
];

/// Flags of commands that have a value (runc 1.2). Only `-f` is a switch elsewhere.
const VALUES: [&str; 38] = [
    "bundle",
    "b",
    "pid-file",
    "console-socket",
    "process",
    "p",
    "format",
    "f",
    "resources",
    "r",
    "preserve-fds",
    "cwd",
    "env",
    "e",
    "user",
    "u",
    "additional-gids",
    "g",
    "process-label",
    "apparmor",
    "cap",
    "c",
    "cgroup",
    "interval",
    "blkio-weight",
    "cpu-period",
    "cpu-quota",
    "cpu-burst",
    "cpu-share",
    "cpuset-cpus",
    "cpuset-mems",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "memory",
    "memory-reservation",
    "memory-swap",
    "pids-limit",
    "pidfd-socket",
];

/// Switches of commands (runc 1.2).
const SWITCHES: [&str; 16] = [
    "all",
    "a",
    "force",
    "f",
    "detach",
    "d",
    "stats",
    "quiet",
    "q",
    "help",
    "h",
    "keep",
    "no-pivot",
    "no-new-keyring",
    "no-subreaper",
    "pidfd",
];

/// Commands whose arguments behind the id are those of another program.
const OTHERS: [&str; 2] = ["exec", "ps"];

impl Arguments {
    /// Parses arguments, without the program's name.
    pub(crate) fn parse(args: &[OsString]) -> Self {
        let mut parsed = Self {
            global: Global::default(),
            verb: None,
            flags: Flags::default(),
            rest: Vec::new(),
            plain: Vec::new(),
        };
        let mut left = args.iter();
        while let Some(arg) = left.next() {
            let Some((name, joined)) = flag(arg).filter(|(name, _)| parsed.takes(name)) else {
                parsed.plain.push(arg.clone());
                match &parsed.verb {
                    None => parsed.verb = Some(arg.to_string_lossy().into_owned()),
                    Some(_) => parsed.rest.push(arg.clone()),
                }
                continue;
            };
            let separate = joined.is_none() && parsed.has_value(&name);
            let value = if separate {
                left.next().cloned()
            } else {
                joined
            };
            let ours = parsed.verb.is_none() && name == "delegate";
            if !ours {
                parsed.plain.push(arg.clone());
                parsed
                    .plain
                    .extend(value.iter().filter(|_| separate).cloned());
            }
            match parsed.verb {
                None => parsed.global.set(&name, value),
                Some(_) => parsed.flags.set(&name, value),
            }
        }
        parsed
    }

    /// Returns whether a flag at this place is one of this program: behind the id only those are that
    /// are known, as `kill ID -9` is no flag.
    fn takes(&self, name: &str) -> bool {
        let Some(verb) = &self.verb else { return true };
        let known = VALUES.contains(&name) || SWITCHES.contains(&name);
        self.rest.is_empty() || known && !OTHERS.contains(&verb.as_str())
    }

    /// Returns whether a flag at this place has a value.
    fn has_value(&self, name: &str) -> bool {
        match self.verb.as_deref() {
            None => GLOBAL_VALUES.contains(&name),
            Some("delete") if name == "f" => false,
            Some(_) => VALUES.contains(&name),
        }
    }

    /// Returns the id, which follows the command.
    pub(crate) fn id(&self) -> Option<&str> {
        self.rest.first()?.to_str()
    }
}

/// Returns the name and the joined value of a flag: `--name`, `-n` or `--name=value`.
fn flag(arg: &OsStr) -> Option<(String, Option<OsString>)> {
    let text = arg.to_string_lossy();
    let body = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    if body.is_empty() {
        return None;
    }
    Some(match body.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(OsString::from(value))),
        None => (body.to_owned(), None),
    })
}

/// Returns the value of a switch: `--debug`, `--debug=false`.
fn is_on(value: Option<&OsString>) -> bool {
    value.is_none_or(|value| value != "false" && value != "0")
}

impl Global {
    fn set(&mut self, name: &str, value: Option<OsString>) {
        match name {
            "root" => self.root = value.map(PathBuf::from),
            "log" => self.log = value.map(PathBuf::from),
            "log-format" => self.log_json = value.is_some_and(|value| value == "json"),
            "systemd-cgroup" => self.systemd_cgroup = is_on(value.as_ref()),
            "version" | "v" => self.version = true,
            "help" | "h" => self.help = true,
            "delegate" => self.delegate = value,
            _ => {}
        }
    }
}

impl Flags {
    fn set(&mut self, name: &str, value: Option<OsString>) {
        let text = || value.as_ref().map(|it| it.to_string_lossy().into_owned());
        match name {
            "bundle" | "b" => self.bundle = value.map(PathBuf::from),
            "pid-file" => self.pid_file = value.map(PathBuf::from),
            "console-socket" => self.console_socket = value.map(PathBuf::from),
            "process" | "p" => self.process = value.map(PathBuf::from),
            "format" => self.format = text(),
            // `delete -f` and `list -f FORMAT`.
            "f" => {
                self.format = text();
                self.force = true;
            }
            "resources" | "r" => self.resources = value.map(PathBuf::from),
            "all" | "a" => self.all = is_on(value.as_ref()),
            "force" => self.force = is_on(value.as_ref()),
            "detach" | "d" => self.detach = is_on(value.as_ref()),
            "stats" => self.stats = is_on(value.as_ref()),
            "quiet" | "q" => self.quiet = is_on(value.as_ref()),
            "help" | "h" => self.help = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn the_line_of_docker_is_parsed() {
        let line = "--systemd-cgroup=false --debug --root /r/moby --log /b/log.json \
                    --log-format json create --bundle /b --pid-file /b/init.pid \
                    --console-socket /p/pty.sock abc";
        let parsed = parse(line);
        assert_eq!(parsed.global.root.as_deref(), Some("/r/moby".as_ref()));
        assert!(parsed.global.log_json && !parsed.global.systemd_cgroup);
        assert_eq!(parsed.verb.as_deref(), Some("create"));
        assert_eq!(parsed.flags.bundle.as_deref(), Some("/b".as_ref()));
        assert_eq!(parsed.id(), Some("abc"));
        let plain: Vec<_> = parsed.plain.iter().map(|it| it.to_str().unwrap()).collect();
        assert_eq!(plain.join(" "), line);
    }

    #[test]
    fn what_only_this_runtime_knows_is_not_handed_on() {
        for line in [
            "--delegate crun --root /r state x",
            "--delegate=crun --root /r state x",
        ] {
            let parsed = parse(line);
            assert_eq!(parsed.global.delegate.as_deref(), Some("crun".as_ref()));
            assert_eq!(parsed.plain, ["--root", "/r", "state", "x"]);
        }
    }

    #[test]
    fn flags_of_commands_may_come_in_any_order() {
        let parsed = parse("kill --all=true x 15");
        assert!(parsed.flags.all);
        assert_eq!(parsed.rest, ["x", "15"]);
        assert!(parse("delete --force x").flags.force);
        let short = parse("delete -f x");
        assert!(short.flags.force && short.id() == Some("x"));
        assert!(!parse("delete --force=false x").flags.force);
        assert!(parse("--version").global.version);
        let update = parse("update --resources - x");
        assert_eq!(update.flags.resources.as_deref(), Some("-".as_ref()));
        assert_eq!(update.id(), Some("x"));
        let ps = parse("ps --format json x -ef");
        assert_eq!(ps.rest, ["x", "-ef"]);
        let behind = parse("create x --bundle /b --pid-file=/p");
        assert_eq!(behind.flags.bundle.as_deref(), Some("/b".as_ref()));
        assert_eq!(behind.flags.pid_file.as_deref(), Some("/p".as_ref()));
        assert_eq!(behind.rest, ["x"]);
        assert_eq!(parse("kill x -9").rest, ["x", "-9"]);
        assert_eq!(parse("exec x ls --all").rest, ["x", "ls", "--all"]);
    }
}
