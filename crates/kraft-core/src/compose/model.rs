//! The content of a Compose file, independent of short and long forms.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::Serialize;

use crate::document::located::Located;
use crate::lifecycle::{HealthProbe, RestartPolicy};
use crate::net::Mac;
use crate::problem::Span;

/// A Compose file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compose {
    /// The name of the project; by default that of its directory.
    pub name: Option<String>,
    /// The services, in the order of the file.
    pub services: Vec<Service>,
    /// The declared volumes.
    pub volumes: Vec<Volume>,
    /// The declared networks.
    pub networks: Vec<Network>,
    /// The declared configs.
    pub configs: Vec<FileSource>,
    /// The declared secrets.
    pub secrets: Vec<FileSource>,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Position of the name.
    #[serde(skip)]
    pub span: Span,
    /// Its image.
    pub image: Option<String>,
    /// The build section.
    pub build: Option<Build>,
    /// The image to run the built filesystem on (`x-runtime`, or KraftKit's `runtime`).
    pub runtime: Option<String>,
    /// Arguments of its program.
    pub command: Option<Vec<String>>,
    /// Its program.
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables.
    pub environment: Vec<Variable>,
    /// Files with more variables, of lower precedence.
    pub env_files: Vec<EnvFile>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Mounted volumes and directories.
    pub volumes: Vec<Mount>,
    /// Services to start before it.
    pub depends_on: Vec<Dependency>,
    /// Domain name to publish it under.
    pub domain: Option<String>,
    /// Name of the instance instead of `PROJECT-SERVICE`.
    pub container_name: Option<String>,
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Number of instances.
    pub replicas: Option<u32>,
    /// Restart policy.
    pub restart: Option<RestartPolicy>,
    /// Whether its logs are followed when it is not named.
    pub attach: bool,
    /// Its profiles; without one it is always active.
    pub profiles: Vec<String>,
    /// The networks it is in, the one with the highest priority first; `None` for the default one.
    pub networks: Option<Vec<ServiceNetwork>>,
    /// Whether it is in no network at all (`network_mode: none`).
    pub isolated: bool,
    /// Its name for itself.
    pub hostname: Option<String>,
    /// The directory that its program starts in.
    pub working_dir: Option<String>,
    /// Its name servers instead of that of the network.
    pub dns: Vec<Ipv4Addr>,
    /// How its health is checked.
    pub health: Option<Health>,
    /// How long it is idle before it sleeps until the next connection; `None` for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep_after: Option<Duration>,
    /// Time that it may take to shut down.
    pub stop_grace_period: Option<Duration>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its virtual processors, rounded up.
    pub cpus: Option<u32>,
    /// Files that it gets: configs, and secrets below `/run/secrets`.
    pub files: Vec<FileMount>,
    /// The architecture that it needs.
    pub platform: Option<Located<String>>,
    /// When its image is pulled.
    pub pull_policy: PullPolicy,
    /// Whether its console takes input.
    pub stdin_open: bool,
    /// Whether its console is a terminal.
    pub tty: bool,
    /// Names that it finds in its `/etc/hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<ExtraHost>,
    /// What `watch` does when files change.
    #[serde(skip)]
    pub watch: Vec<WatchRule>,
}

/// A name in the `/etc/hosts` of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: HostAddress,
}

/// The address of a name in `/etc/hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostAddress {
    /// This one.
    Ip(IpAddr),
    /// That of the host (`host-gateway`).
    Host,
}

/// What happens when files of this host change (Compose Develop specification).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRule {
    /// The file or directory, relative to the directory of the project.
    pub path: String,
    /// What is done.
    pub action: WatchAction,
    /// Where changed files are copied, in the service.
    pub target: Option<String>,
    /// Patterns of files that do not count, relative to `path`.
    pub ignore: Vec<String>,
    /// Patterns of the files that count; all if there are none.
    pub include: Vec<String>,
    /// Position in the text.
    pub span: Span,
}

/// What is done when a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchAction {
    /// The service is built and created again.
    Rebuild,
    /// Its machines are restarted.
    Restart,
    /// The file is copied into a volume.
    Sync,
    /// Both.
    SyncRestart,
}

impl Service {
    /// Returns whether it needs another service, directly.
    pub fn needs(&self, service: &str) -> bool {
        self.depends_on.iter().any(|need| need.service == service)
    }

    /// Returns whether it is selected by active profiles when it is not named (Compose
    /// specification, "profiles"); `*` activates every profile.
    pub fn is_active(&self, profiles: &[String]) -> bool {
        let is = |own: &String| profiles.iter().any(|one| one == own || one == "*");
        self.profiles.is_empty() || self.profiles.iter().any(is)
    }
}

/// A service that another one needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// Its name.
    pub service: String,
    /// Position of the name.
    #[serde(skip)]
    pub span: Span,
    /// What it waits for.
    pub condition: Condition,
    /// Whether the service cannot start without the other one.
    pub required: bool,
    /// Whether it is restarted when the other one is.
    #[serde(skip)]
    pub restart: bool,
}

/// What a service waits for before it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// That the other one was started.
    #[default]
    ServiceStarted,
    /// That the other one is healthy.
    ServiceHealthy,
    /// That the other one ended with exit code 0.
    ServiceCompletedSuccessfully,
}

/// The connection of a service to a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServiceNetwork {
    /// The key of the network.
    pub network: String,
    /// Position of the key.
    #[serde(skip)]
    pub span: Span,
    /// Further names of the service in it.
    pub aliases: Vec<String>,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// Its hardware address.
    pub mac: Option<Mac>,
}

/// How the health of a service is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// What is tried; `None` if the check runs a program, which nothing outside of the machine can do.
    pub probe: Option<HealthProbe>,
    /// Time between two checks.
    pub interval: Option<Duration>,
    /// How long a check may take.
    pub timeout: Option<Duration>,
    /// How long after the start failures do not count.
    pub start_period: Option<Duration>,
    /// The number of failures in a row that make it unhealthy.
    pub retries: Option<u32>,
}

/// When the image of a service is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Whenever it is created.
    Always,
    /// When it is not stored locally.
    #[default]
    Missing,
    /// Never.
    Never,
    /// It is built, also if there is one.
    Build,
}

/// A config or a secret of a service: a file that it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileMount {
    /// The key of the config or the secret.
    pub source: String,
    /// Whether it is a secret.
    pub secret: bool,
    /// Absolute path inside the service.
    pub target: String,
    /// Its permissions.
    pub mode: u32,
    /// Position in the text.
    #[serde(skip)]
    pub span: Span,
}

/// A config or a secret of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Its key in the Compose file.
    pub key: String,
    /// Where its content is; `None` if it is managed outside of the project.
    pub content: Option<FileContent>,
    /// Position of the key.
    pub span: Span,
}

/// Where the content of a config or a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// In this file, relative to the directory of the project.
    File(String),
    /// In this environment variable.
    Variable(String),
    /// In the Compose file.
    Text(String),
}

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its key in the Compose file.
    pub key: String,
    /// Position of the key.
    pub span: Span,
    /// Its name, if it is not `PROJECT_KEY`.
    pub name: Option<String>,
    /// The address of its gateway and its mask, `172.23.0.1/16`; or the address of the network.
    pub subnet: Option<Located<String>>,
    /// The address of its gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether it is managed outside of the project.
    pub external: bool,
}

/// How an image is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The build context, relative to the directory of the Compose file.
    pub context: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// The text of the Dockerfile, instead of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_inline: Option<String>,
    /// Build arguments.
    pub args: Vec<Variable>,
    /// The target stage.
    pub target: Option<String>,
}

/// A variable; one without a value inherits that of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
}

/// A file with variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvFile {
    /// Its path, relative to the directory of the Compose file.
    pub path: String,
    /// Whether a missing file is an error.
    pub required: bool,
    /// Whether values are taken as they are (`format: raw`).
    #[serde(skip)]
    pub raw: bool,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Address of the host; by default all.
    pub host_ip: Option<String>,
    /// Public port; in the cloud by default the same as `target`, on this host a free one.
    pub published: Option<u16>,
    /// The last of several public ports, from `published` on, of which a free one is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_to: Option<u16>,
    /// Port of the service.
    pub target: u16,
    /// `tcp`, `udp`, `tls` …
    pub protocol: String,
    /// Position in the text.
    #[serde(skip)]
    pub span: Span,
}

/// A mounted volume or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// What `source` is.
    pub kind: MountKind,
    /// The name of a volume, or the path of a directory; empty for memory.
    pub source: String,
    /// Path inside the service.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Position in the text.
    #[serde(skip)]
    pub span: Span,
}

/// What a mount shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A volume.
    Volume,
    /// A directory of this host.
    Bind,
    /// A volume without a name, which belongs to the service.
    Anonymous,
    /// Memory, as the whole root filesystem of a unikernel is: a tmpfs.
    Memory,
}

impl Mount {
    /// Returns whether the source is a directory on this host.
    pub fn is_directory(&self) -> bool {
        self.kind == MountKind::Bind
    }

    /// Returns whether the source is a volume.
    pub fn is_volume(&self) -> bool {
        self.kind == MountKind::Volume
    }
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its key in the Compose file.
    pub key: String,
    /// Its name, if it differs from the key.
    pub name: Option<String>,
    /// Its size, in bytes.
    pub size: Option<u64>,
    /// Whether it is managed outside of the project.
    pub external: bool,
}
