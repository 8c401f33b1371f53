//! The parts of `config.json` that a machine is made from (OCI runtime specification 1.2).
//!
//! Everything else is about processes of the host's kernel and has no meaning for a machine.
//!
//! ```
//! use kraft_runu::config::Config;
//!
//! let text = br#"{"mounts":[{"destination":"/data","source":"/srv","options":["rbind","ro"]}]}"#;
//! let config = Config::parse(text)?;
//! let mount = &config.mounts[0];
//! assert!(mount.is_bind() && mount.is_read_only());
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The largest `config.json` that is read, in bytes.
pub const LARGEST: u64 = 16 << 20;

/// The configuration of a bundle.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The version of the specification.
    pub oci_version: String,
    /// The root file system.
    pub root: Root,
    /// The program.
    pub process: Option<Process>,
    /// The host name.
    pub hostname: String,
    /// File systems of the container.
    pub mounts: Vec<Mount>,
    /// Programs to run at certain times.
    pub hooks: Hooks,
    /// Values of the engine and the user.
    pub annotations: BTreeMap<String, String>,
    /// What is specific to Linux.
    pub linux: Linux,
}

/// The root file system.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Its path; relative to the bundle unless it is absolute.
    pub path: String,
}

/// The program of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Its arguments, its name first.
    pub args: Vec<String>,
    /// Its environment: `NAME=value`.
    pub env: Vec<String>,
    /// Its working directory.
    pub cwd: String,
}

/// A mount.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Where it appears.
    pub destination: String,
    /// The type of the file system; `bind`, or empty with the option `bind`, for a bind mount.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Its options.
    pub options: Vec<String>,
}

impl Mount {
    /// Returns whether a directory or a file of the host is mounted.
    pub fn is_bind(&self) -> bool {
        let bind = |option: &String| option == "bind" || option == "rbind";
        self.kind == "bind" || self.options.iter().any(bind)
    }

    /// Returns whether it cannot be written.
    pub fn is_read_only(&self) -> bool {
        let last = self.options.iter().rev();
        let mut last = last.filter(|option| *option == "ro" || *option == "rw");
        last.next().is_some_and(|option| option == "ro")
    }
}

/// Programs to run at certain times.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Before the program is started; an old name of the next.
    pub prestart: Vec<Hook>,
    /// When the namespaces exist.
    pub create_runtime: Vec<Hook>,
    /// The same, inside of the container.
    pub create_container: Vec<Hook>,
    /// Before the program is started, inside of the container.
    pub start_container: Vec<Hook>,
    /// When the program was started.
    pub poststart: Vec<Hook>,
    /// When the container was deleted.
    pub poststop: Vec<Hook>,
}

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Its absolute path.
    pub path: String,
    /// Its arguments, its name first.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// The time that it may take, in seconds.
    pub timeout: Option<u64>,
}

/// What is specific to Linux.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// The namespaces: new ones, or existing ones by their paths.
    pub namespaces: Vec<Namespace>,
    /// The control group.
    pub cgroups_path: String,
    /// Limits.
    pub resources: Resources,
}

/// A namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Its kind, such as `network`.
    #[serde(rename = "type")]
    pub kind: String,
    /// An existing one; empty for a new one.
    pub path: String,
}

/// Limits of a container (`LinuxResources`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Time of processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Number of processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
}

/// Limits of memory in bytes; -1 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Memory.
    pub limit: Option<i64>,
    /// Memory and swap.
    pub swap: Option<i64>,
    /// Memory that is left to the container when the host has too little.
    pub reservation: Option<i64>,
    /// How readily memory is swapped, 0 to 100.
    pub swappiness: Option<i64>,
    /// Whether processes wait for memory instead of being killed.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
}

/// Limits of processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// The weight among others; 1024 is the usual one.
    pub shares: Option<u64>,
    /// The time per period, in microseconds; -1 for no limit.
    pub quota: Option<i64>,
    /// The period, in microseconds.
    pub period: Option<u64>,
    /// The processors to run on: `0-3,7`.
    pub cpus: String,
    /// The memory nodes to use.
    pub mems: String,
}

/// The limit of the number of processes; -1 or 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// The limit.
    pub limit: Option<i64>,
}

impl Resources {
    /// Returns the limit of memory in bytes, if there is one.
    pub fn memory_limit(&self) -> Option<u64> {
        let limit = self.memory.as_ref()?.limit?;
        u64::try_from(limit).ok().filter(|limit| *limit > 0)
    }
}

impl Config {
    /// Parses a configuration.
    ///
    /// # Errors
    ///
    /// If it is not JSON, or a field that is used has another type.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut value = serde_json::from_slice(bytes)?;
        remove_nulls(&mut value);
        serde_json::from_value(value)
    }

    /// Returns the namespace of a kind: `None` if the container has that of the host.
    pub fn namespace(&self, kind: &str) -> Option<&Namespace> {
        self.linux.namespaces.iter().find(|it| it.kind == kind)
    }
}

/// Removes fields that are `null`, which other runtimes take as missing.
fn remove_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_null_is_missing() {
        let text = br#"{"process":{"args":["/a"],"env":null},"mounts":null,"hooks":null,
            "annotations":null,"linux":{"namespaces":[{"type":"network","path":null}]}}"#;
        let config = Config::parse(text).unwrap();
        assert_eq!(config.process.unwrap().args, ["/a"]);
        assert_eq!(config.linux.namespaces[0].path, "");
        assert!(Config::parse(br#"{"process":{"args":[null]}}"#).is_err());
    }
}
