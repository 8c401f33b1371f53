//! What a Kraftfile says, whatever version and form it is written in.

use serde::{Serialize, Serializer};

use crate::document::located::Located;

/// A version of the format that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spec {
    /// 0.4: `architecture` and `platform` spelled out.
    V04,
    /// 0.5: the same forms, under `specification`.
    V05,
    /// 0.6: short forms; the format of nearly every file there is.
    V06,
    /// 0.7: scalars always mean a version, nothing is interpolated.
    V07,
}

impl Spec {
    /// The newest version that we read.
    pub const NEWEST: Self = Self::V07;

    /// Returns the name as files spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V04 => "v0.4",
            Self::V05 => "v0.5",
            Self::V06 => "v0.6",
            Self::V07 => "v0.7",
        }
    }
}

impl Serialize for Spec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A Kraftfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kraftfile {
    /// The version it is read as.
    pub spec: Spec,
    /// The name as it is written.
    pub name: Option<Located<String>>,
    /// Where kernels are built.
    pub outdir: Option<Located<String>>,
    /// The Unikraft core.
    pub unikraft: Option<Component>,
    /// External libraries, in the order of the file.
    pub libraries: Vec<Library>,
    /// What to build for.
    pub targets: Vec<Target>,
    /// A project whose settings this one begins with.
    pub template: Option<Component>,
    /// A ready kernel to run on.
    pub runtime: Option<Runtime>,
    /// The root filesystem.
    pub rootfs: Option<Filesystem>,
    /// Further read-only filesystems.
    pub roms: Vec<Filesystem>,
    /// Directories of the host that the machine sees.
    pub volumes: Vec<Volume>,
    /// The arguments, kernel and application still together. `None` where the file is silent.
    pub cmd: Option<Vec<Located<String>>>,
    /// Environment variables in the order of the file, each name once.
    pub env: Vec<EnvVar>,
    /// Labels of the package in the order of the file.
    pub labels: Vec<(Located<String>, Located<String>)>,
    /// Top-level keys that belong to the author alone (`x-…`).
    pub extensions: Vec<(String, serde_json::Value)>,
}

/// One option of the kernel's configuration: the key verbatim, the value as `.config` holds it
/// but without quotes.
pub type KconfigOption = (Located<String>, Located<String>);

/// The core, a library or a template, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// A URL or a path.
    pub source: Option<Located<String>>,
    /// A channel, tag, branch or commit.
    pub version: Option<Located<String>>,
    /// Options it brings.
    pub kconfig: Vec<KconfigOption>,
    /// The scalar it was written as, if it was: up to v0.6 an existing directory
    /// of that name is the source, which only who can look at the disk decides.
    pub short: Option<Located<String>>,
}

/// An external library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name: a file name without `/`.
    pub name: Located<String>,
    /// Where it comes from.
    pub component: Component,
}

/// One thing to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its own name, if it has one.
    pub name: Option<Located<String>>,
    /// The platform by its short name; unknown names are kept.
    pub platform: Located<String>,
    /// The architecture by its usual name; unknown names are kept.
    pub architecture: Located<String>,
    /// Options for this target alone.
    pub kconfig: Vec<KconfigOption>,
    /// Arguments for this target alone.
    pub cmd: Option<Vec<Located<String>>>,
}

/// A ready kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// What it is.
    pub kernel: RuntimeKernel,
    /// Options it must have been built with.
    pub kconfig: Vec<KconfigOption>,
}

/// Where a ready kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeKernel {
    /// A package.
    Package {
        /// Its name without the tag.
        name: Located<String>,
        /// Its tag, or its digest with the algorithm (`sha256:…`).
        version: Option<Located<String>>,
    },
    /// A kernel file.
    File(Located<String>),
}

/// A filesystem to be packed or passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// A path as it is written.
    pub path: Option<Located<String>>,
    /// The Dockerfile, if it was named as such.
    pub dockerfile: Option<Located<String>>,
    /// What the path is, in the author's words.
    pub kind: Option<Located<String>>,
    /// How it is packed, if the author says.
    pub format: Option<Located<FilesystemFormat>>,
}

/// How a filesystem is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesystemFormat {
    /// A newc archive.
    Cpio,
    /// An EROFS image.
    Erofs,
}

/// A directory of the host that the machine sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// A directory or a named volume.
    pub source: Located<String>,
    /// Where the machine sees it.
    pub destination: Located<String>,
    /// Whether the machine may only read it.
    pub read_only: bool,
    /// How it is shared, if the author says.
    pub driver: Option<Located<String>>,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: Located<String>,
    /// Its value; `None` takes that of the host, if it has one.
    pub value: Option<Located<String>>,
}
