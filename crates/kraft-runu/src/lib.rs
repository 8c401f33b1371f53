//! `runu`: an OCI runtime that boots the unikernel of an image as a machine, and hands every other
//! container to an ordinary runtime.
//!
//! ```text
//! docker, containerd, podman, kubelet ──► runu create, start, kill, delete …
//!                                           │
//!            no /unikraft/bin/kernel ◄──────┼──────► a unikernel
//!            exec runc, crun or youki       │        decide: config.json → MachineSpec
//!                                           ▼
//!                                  supervisor, the container's process ──► VMM
//! ```
//!
//! Its command line, exit codes, log file and pid file are those of runc, so engines use it unchanged.
//! What an image may decide is in [`mod@decide`], a pure function.
//!
//! ```
//! use kraft_core::host::{Host, Kvm};
//! use kraft_runu::config::Config;
//!
//! let config = Config::parse(br#"{"ociVersion":"1.0.2","process":{"args":["/server"]}}"#)?;
//! assert_eq!(config.process.as_ref().map(|it| it.args.len()), Some(1));
//! assert!(config.namespace("network").is_none());
//! # Ok::<(), serde_json::Error>(())
//! ```

mod arguments;
mod bundle;
mod cgroup;
pub mod config;
mod console;
mod control;
pub mod decide;
mod delegate;
mod failure;
mod hooks;
mod ingress;
mod network;
mod probe;
mod settings;
mod state;
pub mod supervisor;
mod verbs;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

pub use probe::{ARGUMENT as PROBE, main as probe_main};

use arguments::Arguments;
use failure::Failure;
use settings::Settings;

/// The name of the program under which a command line is one of this runtime.
pub const NAME: &str = "runu";

/// What this runtime takes from the environment of its process.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `XDG_RUNTIME_DIR`, where the containers of a user other than root are.
    pub runtime_dir: Option<PathBuf>,
}

impl Environment {
    /// Returns a directory for what does not outlive this boot: below that of the user, unless this
    /// is the host's root. Engines without root run this program as the root of a user namespace.
    fn dir(&self, name: &str) -> PathBuf {
        match &self.runtime_dir {
            Some(dir) if !rustix::process::geteuid().is_root() || in_user_namespace() => {
                dir.join(name)
            }
            _ => PathBuf::from("/run").join(name),
        }
    }
}

/// Returns whether this process is in a user namespace other than the first (`user_namespaces(7)`).
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mut numbers = map.split_ascii_whitespace();
    let all = [Some("0"), Some("0"), Some("4294967295")];
    !map.is_empty() && all.into_iter().any(|number| number != numbers.next())
}

/// Runs a command line, without the program's name, and returns the exit code.
///
/// ```
/// let environment = kraft_runu::Environment::default();
/// assert_eq!(kraft_runu::main(&["--version".into()], &environment), 0);
/// ```
pub fn main(args: &[OsString], environment: &Environment) -> u8 {
    let arguments = Arguments::parse(args);
    match verbs::run(&arguments, environment) {
        Ok(code) => code,
        Err(failure) => {
            failure::log(&arguments.global, "error", &failure.0);
            // As with runc: with a log, engines look for certain words, else users read it.
            let label = if arguments.global.log.is_none() {
                "error: "
            } else {
                ""
            };
            // Nothing is left to report to, if this fails.
            let _ = writeln!(std::io::stderr(), "{label}{failure}");
            1
        }
    }
}

/// What the commands need.
struct Context<'a> {
    arguments: &'a Arguments,
    environment: &'a Environment,
    settings: Settings,
    /// The directory of the containers.
    root: PathBuf,
}

impl<'a> Context<'a> {
    fn new(arguments: &'a Arguments, environment: &'a Environment) -> Result<Self, Failure> {
        let own = || environment.dir(NAME);
        let root = arguments.global.root.clone().unwrap_or_else(own);
        let root = std::path::absolute(&root)
            .map_err(|e| Failure::of(&format!("cannot use `{}`", root.display()), &e))?;
        Ok(Self {
            arguments,
            environment,
            settings: Settings::load()?,
            root,
        })
    }

    /// Logs a sentence that is no failure.
    fn warn(&self, sentence: &str) {
        failure::log(&self.arguments.global, "warning", sentence);
    }
}

/// Prints a line.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|e| Failure::of("cannot print", &e))
}
