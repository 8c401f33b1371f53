//! What a Compose file says, whatever form it is written in.

use crate::document::located::Located;
use crate::problem::Span;

/// A Compose file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compose {
    /// The name of the project; without it, that of its directory.
    pub name: Option<String>,
    /// The services, in the order of the file.
    pub services: Vec<Service>,
    /// The volumes that are declared.
    pub volumes: Vec<Volume>,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where that stands.
    pub span: Span,
    /// Its image.
    pub image: Option<String>,
    /// What its image is built from.
    pub build: Option<Build>,
    /// The image that what is built runs on (`x-runtime`, or KraftKit's `runtime`).
    pub runtime: Option<String>,
    /// The arguments of its program.
    pub command: Option<Vec<String>>,
    /// Its program.
    pub entrypoint: Option<Vec<String>>,
    /// Its variables.
    pub environment: Vec<Variable>,
    /// Files with more of them, which count less.
    pub env_files: Vec<EnvFile>,
    /// Its published ports.
    pub ports: Vec<Port>,
    /// What it sees of volumes and directories.
    pub volumes: Vec<Mount>,
    /// The services that are started before it.
    pub depends_on: Vec<Located<String>>,
    /// The name that it is published under.
    pub domain: Option<String>,
    /// What its instance is called instead of `PROJECT-SERVICE`.
    pub container_name: Option<String>,
    /// Its memory, in bytes.
    pub memory: Option<u64>,
    /// So many of it.
    pub replicas: Option<u32>,
    /// When it is started again.
    pub restart: Option<Restart>,
    /// Whether its log is followed without its being named.
    pub attach: bool,
    /// The profiles that it belongs to; without one it belongs to all.
    pub profiles: Vec<String>,
}

impl Service {
    /// Returns whether it is meant when profiles are active and nobody names it (Compose
    /// specification, "profiles"); `*` is every profile.
    pub fn is_active(&self, profiles: &[String]) -> bool {
        let is = |own: &String| profiles.iter().any(|one| one == own || one == "*");
        self.profiles.is_empty() || self.profiles.iter().any(is)
    }
}

/// What an image is built from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The directory, relative to that of the file.
    pub context: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// Build arguments.
    pub args: Vec<Variable>,
    /// The stage.
    pub target: Option<String>,
}

/// A variable; one without a value has that of the environment.
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
    /// Whether it must be there.
    pub required: bool,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What the world sees; the same as inside where it is left out.
    pub published: Option<u16>,
    /// The port of the service.
    pub target: u16,
    /// `tcp`, `udp`, `tls` …
    pub protocol: String,
    /// Where it stands.
    pub span: Span,
}

/// What a service sees of a volume or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The name of a volume, or the path of a directory.
    pub source: String,
    /// Where the service sees it.
    pub target: String,
    /// Whether it may not write to it.
    pub read_only: bool,
    /// Where it stands.
    pub span: Span,
}

impl Mount {
    /// Returns whether the source is a directory of this computer.
    pub fn is_directory(&self) -> bool {
        self.source.starts_with(['/', '.', '~'])
    }
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// What services call it.
    pub key: String,
    /// What it is called instead.
    pub name: Option<String>,
    /// Its size, in bytes.
    pub size: Option<u64>,
    /// Whether somebody else makes it.
    pub external: bool,
}

/// When a service is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    Never,
    /// Whenever it ends.
    Always,
    /// When it crashes.
    OnFailure,
}
