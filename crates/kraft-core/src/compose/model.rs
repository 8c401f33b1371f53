//! The content of a Compose file, independent of short and long forms.

use crate::document::located::Located;
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
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Position of the name.
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
    pub depends_on: Vec<Located<String>>,
    /// Domain name to publish it under.
    pub domain: Option<String>,
    /// Name of the instance instead of `PROJECT-SERVICE`.
    pub container_name: Option<String>,
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Number of instances.
    pub replicas: Option<u32>,
    /// Restart policy.
    pub restart: Option<Restart>,
    /// Whether its logs are followed when it is not named.
    pub attach: bool,
    /// Its profiles; without one it is always active.
    pub profiles: Vec<String>,
}

impl Service {
    /// Returns whether it is selected by active profiles when it is not named (Compose
    /// specification, "profiles"); `*` activates every profile.
    pub fn is_active(&self, profiles: &[String]) -> bool {
        let is = |own: &String| profiles.iter().any(|one| one == own || one == "*");
        self.profiles.is_empty() || self.profiles.iter().any(is)
    }
}

/// How an image is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The build context, relative to the directory of the Compose file.
    pub context: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// Build arguments.
    pub args: Vec<Variable>,
    /// The target stage.
    pub target: Option<String>,
}

/// A variable; one without a value inherits that of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
}

/// A file with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFile {
    /// Its path, relative to the directory of the Compose file.
    pub path: String,
    /// Whether a missing file is an error.
    pub required: bool,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Public port; by default the same as `target`.
    pub published: Option<u16>,
    /// Port of the service.
    pub target: u16,
    /// `tcp`, `udp`, `tls` …
    pub protocol: String,
    /// Position in the text.
    pub span: Span,
}

/// A mounted volume or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The name of a volume, or the path of a directory.
    pub source: String,
    /// Path inside the service.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Position in the text.
    pub span: Span,
}

impl Mount {
    /// Returns whether the source is a directory on this host.
    pub fn is_directory(&self) -> bool {
        self.source.starts_with(['/', '.', '~'])
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

/// A restart policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    Never,
    /// When it ends.
    Always,
    /// When it fails.
    OnFailure,
}
