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

    /// What docker calls a configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

    /// Returns whether it is a manifest.
    pub fn is_manifest(media_type: &str) -> bool {
        matches!(media_type, MANIFEST | DOCKER_MANIFEST)
    }

    /// Returns whether it may be an index or a manifest: where a descriptor does not say, the
    /// document does.
    pub fn is_document(media_type: &str) -> bool {
        media_type.is_empty() || is_index(media_type) || is_manifest(media_type)
    }

    /// Returns whether it is the configuration of an image, and not that of another artifact.
    pub fn is_config(media_type: &str) -> bool {
        matches!(media_type, "" | CONFIG | DOCKER_CONFIG)
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

/// Indexes inside indexes are followed this deep: the target of a name is the first.
pub const DEEPEST: usize = 4;

/// Reads `null` as an absent value: Go writes empty lists and maps as `null`, and reads it so.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a list without its `null` entries.
fn without_nulls<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let entries: Vec<Option<T>> = nullable(deserializer)?;
    Ok(entries.into_iter().flatten().collect())
}

/// Reads a map without its `null` values.
pub(crate) fn without_null_values<'de, D, T>(
    deserializer: D,
) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let entries: BTreeMap<String, Option<T>> = nullable(deserializer)?;
    Ok(entries
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect())
}

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `x86_64`, `arm64`; ordinary images say `amd64`.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// `qemu`, `fc`, `xen`; ordinary images say `linux`.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// The version of Unikraft.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// The kernel's options, `KEY=VALUE`, sorted.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "without_nulls",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the architecture.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
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

/// On an entry of an index that describes another entry, and is nothing to run (`BuildKit`,
/// docs/attestations/attestation-storage.md).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// Points to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default, deserialize_with = "nullable")]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as stated. Of documents and configurations it is not to be relied on:
    /// `KraftKit` states 32 for manifests that it merges into an index.
    #[serde(default, deserialize_with = "nullable")]
    pub size: u64,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "without_null_values",
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

    /// Returns whether it only describes another entry of its index.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key(REFERENCE_TYPE)
    }
}

/// An index: one entry per platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    #[serde(default, deserialize_with = "nullable")]
    pub schema_version: u32,
    /// [`media::INDEX`].
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// The entries.
    #[serde(default, deserialize_with = "without_nulls")]
    pub manifests: Vec<Descriptor>,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "without_null_values",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest: configuration and layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    #[serde(default, deserialize_with = "nullable")]
    pub schema_version: u32,
    /// [`media::MANIFEST`].
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// The configuration; `KraftKit` reads the platform from its descriptor.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "without_null_values",
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
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
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
        deserialize_with = "without_nulls",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(
        default,
        deserialize_with = "without_nulls",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    /// The arguments, unless the user gives others.
    #[serde(
        default,
        deserialize_with = "without_nulls",
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
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Notes.
    #[serde(
        default,
        deserialize_with = "without_null_values",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// What stops it.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
}

/// The layers of an image, before compression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type", default, deserialize_with = "nullable")]
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
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// How to run it.
    #[serde(default, deserialize_with = "nullable")]
    pub config: RunConfig,
    /// Its layers.
    #[serde(default, deserialize_with = "nullable")]
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
    /// Returns what it is: what it was said to be, if that is known, else what it says itself.
    pub fn media_type<'a>(&'a self, said: &'a str) -> &'a str {
        let (own, usual) = match self {
            Self::Index(index) => (index.media_type.as_str(), media::INDEX),
            Self::Manifest(manifest) => (manifest.media_type.as_str(), media::MANIFEST),
        };
        [said, own]
            .into_iter()
            .find(|media_type| !media_type.is_empty())
            .unwrap_or(usual)
    }

    /// Reads a document; `media_type` is what whoever gave it says it is, if anything.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, BadDocument> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Glance {
            #[serde(default, deserialize_with = "nullable")]
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
    /// More indexes inside indexes than any real one has.
    #[error("it holds indexes inside indexes, more than {DEEPEST} deep")]
    TooDeep,
    /// More children than any real one has.
    #[error("it lists {0} blobs, and at most {MOST_CHILDREN} are taken")]
    TooMany(usize),
}

impl BadDocument {
    /// Returns it with its cause, in one line.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Json(cause) => format!("{self}: {cause}"),
            other => other.to_string(),
        }
    }
}

impl Config {
    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadDocument> {
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(BadDocument::TooLong(bytes.len() as u64));
        }
        serde_json::from_slice(bytes).map_err(BadDocument::Json)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Sets each field of a JSON value, at any depth, to `null` in turn.
    fn each_null(value: &serde_json::Value) -> Vec<(String, serde_json::Value)> {
        let mut changed = vec![(String::new(), serde_json::Value::Null)];
        let inner: Vec<(String, serde_json::Value)> = match value {
            serde_json::Value::Object(fields) => fields.clone().into_iter().collect(),
            serde_json::Value::Array(entries) => entries
                .iter()
                .enumerate()
                .map(|(at, entry)| (at.to_string(), entry.clone()))
                .collect(),
            _ => Vec::new(),
        };
        for (key, below) in inner {
            for (path, null) in each_null(&below) {
                let mut whole = value.clone();
                match &mut whole {
                    serde_json::Value::Array(entries) => {
                        entries[key.parse::<usize>().unwrap()] = null;
                    }
                    other => other[&key] = null,
                }
                changed.push((format!("{key}/{path}"), whole));
            }
        }
        changed
    }

    fn refused(value: &serde_json::Value, parses: impl Fn(&[u8]) -> bool) -> Vec<String> {
        each_null(value)
            .into_iter()
            .filter(|(_, changed)| !parses(changed.to_string().as_bytes()))
            .map(|(path, _)| path)
            .collect()
    }

    #[test]
    fn null_is_an_absent_value_in_every_document() {
        let platform = json!({"architecture": "amd64", "os": "linux", "os.version": "1",
            "os.features": ["a", "b"], "variant": "v2"});
        let digest = crate::digest::of(b"a");
        let descriptor = json!({"mediaType": media::MANIFEST, "digest": digest, "size": 1,
            "annotations": {"a": "b"}, "platform": platform, "urls": ["u"]});
        let index = json!({"schemaVersion": 2, "mediaType": media::INDEX,
            "manifests": [descriptor], "annotations": {"a": "b"}, "subject": descriptor});
        let manifest = json!({"schemaVersion": 2, "mediaType": media::MANIFEST,
            "config": descriptor, "layers": [descriptor], "annotations": {"a": "b"}});
        let mut config = json!({"created": "2024-01-01T00:00:00Z", "author": "a",
            "config": {"User": "a", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"],
                "Entrypoint": ["/a"], "Cmd": ["b"], "Volumes": {"/v": {}}, "WorkingDir": "/",
                "Labels": {"a": "b"}, "StopSignal": "SIGTERM", "Healthcheck": {"Test": ["a"]}},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
            "history": [{"created_by": "a"}]});
        for (key, value) in platform.as_object().unwrap() {
            config[key] = value.clone();
        }
        let document = |bytes: &[u8]| Document::parse("", bytes).is_ok();
        assert_eq!(
            refused(&index, |bytes| Document::parse(media::INDEX, bytes).is_ok()),
            ["", "manifests/0/digest/"],
        );
        // What a layer or a configuration is cannot be left out.
        assert_eq!(
            refused(&manifest, document),
            [
                "",
                "config/",
                "config/digest/",
                "layers/0/",
                "layers/0/digest/"
            ],
        );
        let parses = |bytes: &[u8]| Config::parse(bytes).is_ok();
        assert_eq!(refused(&config, parses), ["", "rootfs/diff_ids/0/"]);
    }

    #[test]
    fn null_entries_of_lists_and_maps_are_left_out() {
        let config = json!({"config": {"Env": [null, "A=b"], "Labels": {"a": null, "b": "c"}}});
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        assert_eq!(config.config.env, ["A=b"]);
        assert_eq!(config.config.labels.len(), 1);
    }
}
