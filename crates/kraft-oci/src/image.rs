//! The documents of an image: index, manifest and configuration (OCI image specification 1.1, with
//! the habits of `KraftKit`).
//!
//! Fields stand in the order in which Go writes them, and empty ones are left out: the digest of a
//! document is the digest of its bytes. What was pulled is never written again: its raw bytes are
//! the truth, and these types are only a view of them.

use std::collections::BTreeMap;

use kraft_core::reference::Digest;
use serde::{Deserialize, Deserializer, Serialize};

/// Media types (OCI image specification, media-types.md).
pub mod media {
    /// An index: one entry per platform.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A manifest: configuration and layers.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// A configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer that is a plain tar.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// What docker calls an index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// What docker calls a manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

    /// Returns whether it is an index.
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, INDEX | DOCKER_INDEX)
    }

    /// Returns whether it is a manifest.
    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, MANIFEST | DOCKER_MANIFEST)
    }
}

/// Names of annotations.
pub mod annotation {
    /// Who wrote it; `KraftKit` does not see an index or descriptor without it.
    pub const WRITER: &str = "sh.kraftkit.version";
    /// The repository without tag.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The reference.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
    /// When it was made.
    pub const CREATED: &str = "org.opencontainers.image.created";
    /// The repository with its registry.
    pub const UNIKRAFT_NAME: &str = "org.unikraft.image.name";
    /// The version of Unikraft.
    pub const KERNEL_VERSION: &str = "org.unikraft.kernel.version";
    /// On a layer: it holds the kernel, at this path.
    pub const KERNEL: &str = "org.unikraft.kernel.image";
    /// On a layer: it holds the kernel with debug information, at this path.
    pub const KERNEL_DEBUG: &str = "org.unikraft.kernel.imagedbg";
    /// On a layer: it holds the root filesystem, at this path.
    pub const INITRD: &str = "org.unikraft.kernel.initrd";
}

/// A document is at most this long, in bytes: the limit of the reference registry (4 MiB).
pub const LARGEST_DOCUMENT: u64 = 4 << 20;
/// An index has at most this many manifests, a manifest at most this many layers.
pub const MOST_CHILDREN: usize = 4096;

fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    // Go writes empty lists and maps as `null`.
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `x86_64`, `arm64`; ordinary images say `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// `qemu`, `fc`, `xen`; ordinary images say `linux`.
    #[serde(default)]
    pub os: String,
    /// The version of Unikraft.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// The kernel's options, `KEY=VALUE`, sorted.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// Returns `PLATFORM/ARCH`.
    pub fn pair(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }

    /// Returns whether a unikernel could run on it: every platform but those of containers.
    pub fn is_unikernel(&self) -> bool {
        !matches!(self.os.as_str(), "" | "linux" | "windows" | "unknown")
    }
}

/// Points to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Points to bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, crate::digest::of(bytes), bytes.len() as u64)
    }

    /// Points to a blob.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }
}

/// An index: one entry per platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// [`media::INDEX`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The entries.
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest: configuration and layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// [`media::MANIFEST`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The configuration; `KraftKit` reads the platform from its descriptor.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Returns every blob the manifest needs, its configuration last.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain(std::iter::once(&self.config))
    }
}

/// How to run what is in the layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// Who.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `80/tcp`, with nothing behind it.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// `KEY=VALUE`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    /// The arguments, unless the user gives others.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cmd: Vec<String>,
    /// Paths that want a volume.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// Where the program starts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// What stops it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

/// The layers of an image, before compression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The digests of the plain tars; `null` where there are none.
    #[serde(default)]
    pub diff_ids: Option<Vec<Digest>>,
}

/// The configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// How to run it.
    #[serde(default)]
    pub config: RunConfig,
    /// Its layers.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How the layers came about.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<serde_json::Value>,
}

/// What a document is, told by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// An index.
    Index(Index),
    /// A manifest.
    Manifest(Manifest),
}

impl Document {
    /// Reads a document; `media_type` is what whoever gave it says it is, if anything.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, BadDocument> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Glance {
            #[serde(default)]
            media_type: String,
            #[serde(default)]
            schema_version: Option<u32>,
            #[serde(default)]
            manifests: Option<serde::de::IgnoredAny>,
            #[serde(default)]
            layers: Option<serde::de::IgnoredAny>,
            #[serde(default)]
            config: Option<serde::de::IgnoredAny>,
        }
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(BadDocument::TooLong(bytes.len() as u64));
        }
        let glance: Glance = serde_json::from_slice(bytes).map_err(BadDocument::Json)?;
        if glance.schema_version == Some(1) {
            return Err(BadDocument::Schema1);
        }
        let says_index = media::is_index(&glance.media_type)
            || (media::is_index(media_type) && glance.media_type.is_empty());
        let is_manifest_shaped = glance.config.is_some() || glance.layers.is_some();
        // One that could be read as either is an attack, not an image, and so is one whose name for
        // itself is not what it looks like: the next reader may believe the other half.
        let contradicts = (glance.manifests.is_some() && media::is_manifest(&glance.media_type))
            || (is_manifest_shaped && media::is_index(&glance.media_type));
        if contradicts || (glance.manifests.is_some() && is_manifest_shaped) {
            return Err(BadDocument::Ambiguous);
        }
        if says_index || (glance.manifests.is_some() && !is_manifest_shaped) {
            let index: Index = serde_json::from_slice(bytes).map_err(BadDocument::Json)?;
            check_count(index.manifests.len())?;
            Ok(Self::Index(index))
        } else if is_manifest_shaped {
            let manifest: Manifest = serde_json::from_slice(bytes).map_err(BadDocument::Json)?;
            check_count(manifest.layers.len())?;
            Ok(Self::Manifest(manifest))
        } else {
            Err(BadDocument::Neither)
        }
    }
}

fn check_count(count: usize) -> Result<(), BadDocument> {
    if count > MOST_CHILDREN {
        return Err(BadDocument::TooMany(count));
    }
    Ok(())
}

/// Why bytes are no document of an image.
#[derive(Debug, thiserror::Error)]
pub enum BadDocument {
    /// Longer than any real one; its size in bytes.
    #[error("it has {0} bytes, and at most 4 MiB are taken")]
    TooLong(u64),
    /// Not JSON, or not of the right shape.
    #[error("it is not what it should be")]
    Json(#[source] serde_json::Error),
    /// Docker's first format, without digests.
    #[error("it is of docker's first format, which nobody writes any more")]
    Schema1,
    /// Both an index and a manifest.
    #[error("it could be read as an index and as a manifest")]
    Ambiguous,
    /// Neither an index nor a manifest.
    #[error("it is neither an index nor a manifest")]
    Neither,
    /// More children than any real one has.
    #[error("it lists {0} blobs, and at most {MOST_CHILDREN} are taken")]
    TooMany(usize),
}

/// What a configuration that goes beyond a plain manifest says.
impl Config {
    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadDocument> {
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(BadDocument::TooLong(bytes.len() as u64));
        }
        serde_json::from_slice(bytes).map_err(BadDocument::Json)
    }
}
