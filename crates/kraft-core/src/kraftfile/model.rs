//! The content of a Kraftfile, independent of version and form.

use serde::{Serialize, Serializer};

use crate::document::located::Located;

/// A supported version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spec {
    /// 0.4: `architecture` and `platform` spelled out.
    V04,
    /// 0.5: the same forms, under `specification`.
    V05,
    /// 0.6: short forms; used by nearly all existing files.
    V06,
    /// 0.7: scalars always are versions, variables are not expanded.
    V07,
}

impl Spec {
    /// The newest supported version.
    pub const NEWEST: Self = Self::V07;

    /// Returns the name as written in files.
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
    /// The version of its format.
    pub spec: Spec,
    /// The name as written.
    pub name: Option<Located<String>>,
    /// The output directory for kernels.
    pub outdir: Option<Located<String>>,
    /// The Unikraft core.
    pub unikraft: Option<Component>,
    /// External libraries, in the order of the file.
    pub libraries: Vec<Library>,
    /// The build targets.
    pub targets: Vec<Target>,
    /// A template: a project whose settings this one inherits.
    pub template: Option<Component>,
    /// A prebuilt kernel to run on.
    pub runtime: Option<Runtime>,
    /// The root filesystem.
    pub rootfs: Option<Filesystem>,
    /// Additional read-only filesystems.
    pub roms: Vec<Filesystem>,
    /// Named volumes and host directories mounted in the machine.
    pub volumes: Vec<Volume>,
    /// The arguments, of kernel and application together. `None` if not specified.
    pub cmd: Option<Vec<Located<String>>>,
    /// Environment variables in the order of the file, without duplicates.
    pub env: Vec<EnvVar>,
    /// Labels of the package in the order of the file.
    pub labels: Vec<(Located<String>, Located<String>)>,
    /// Top-level extension keys (`x-…`).
    pub extensions: Vec<(String, serde_json::Value)>,
}

/// A Kconfig option: the name as written, and its value as in `.config` but without quotes.
pub type KconfigOption = (Located<String>, Located<String>);

/// The source of the core, a library or a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// A URL or a path.
    pub source: Option<Located<String>>,
    /// A channel, tag, branch or commit.
    pub version: Option<Located<String>>,
    /// Its Kconfig options.
    pub kconfig: Vec<KconfigOption>,
    /// The scalar in short form: up to v0.6 it is the source if a directory of that name exists,
    /// which only code with access to the disk can decide.
    pub short: Option<Located<String>>,
}

/// An external library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name: a file name without `/`.
    pub name: Located<String>,
    /// Its source.
    pub component: Component,
}

/// A build target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<Located<String>>,
    /// The platform by its short name; unknown names are kept.
    pub platform: Located<String>,
    /// The architecture by its canonical name; unknown names are kept.
    pub architecture: Located<String>,
    /// Kconfig options for this target.
    pub kconfig: Vec<KconfigOption>,
    /// Arguments for this target.
    pub cmd: Option<Vec<Located<String>>>,
}

/// A prebuilt kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// The kernel.
    pub kernel: RuntimeKernel,
    /// Kconfig options that it must have been built with.
    pub kconfig: Vec<KconfigOption>,
}

/// The source of a prebuilt kernel.
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

/// A filesystem to be packed, or passed unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// A path as written.
    pub path: Option<Located<String>>,
    /// The Dockerfile, if specified as such.
    pub dockerfile: Option<Located<String>>,
    /// The type of the path, as written.
    pub kind: Option<Located<String>>,
    /// The format to pack it in, if specified.
    pub format: Option<Located<FilesystemFormat>>,
}

/// The format of a packed filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesystemFormat {
    /// A newc CPIO archive.
    Cpio,
    /// An EROFS image.
    Erofs,
}

/// A host directory mounted in the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// A directory or a named volume.
    pub source: Located<String>,
    /// Mount point in the machine.
    pub destination: Located<String>,
    /// Whether it is read-only.
    pub read_only: bool,
    /// The driver that shares it, if specified.
    pub driver: Option<Located<String>>,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: Located<String>,
    /// Its value; `None` inherits that of the host, if it is set.
    pub value: Option<Located<String>>,
}
