//! The documents of an image: index, manifest and configuration (OCI image specification 1.1, with
//! `KraftKit`'s extensions).
//!
//! Fields are in the order in which Go writes them, and empty ones are omitted: the digest of a
//! document is that of its bytes. Pulled documents are never written again: the raw bytes are
//! authoritative, and these types are only a view of them.
//!
//! ```
//! use kraft_oci::image::{Document, media};
//!
//! let text = br#"{"schemaVersion": 2, "manifests": []}"#;
//! let document = Document::parse(media::INDEX, text)?;
//! assert!(matches!(&document, Document::Index(index) if index.manifests.is_empty()));
//! assert!(Document::parse(media::INDEX, b"{").is_err());
//! # Ok::<(), kraft_oci::image::BadDocument>(())
//! ```

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
    /// Docker's index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

    /// Returns whether it is an index.
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, INDEX | DOCKER_INDEX)
    }

    /// Docker's configuration.
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

    /// Returns whether it is the configuration of an image, rather than of another artifact.
    pub fn is_config(media_type: &str) -> bool {
        matches!(media_type, "" | CONFIG | DOCKER_CONFIG)
    }
}

/// Annotation keys.
pub mod annotation {
    /// The program that wrote it; `KraftKit` ignores an index or descriptor without it.
    pub const WRITER: &str = "sh.kraftkit.version";
    /// The repository without tag.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The reference.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
    /// Creation time.
    pub const CREATED: &str = "org.opencontainers.image.created";
    /// The repository with its registry.
    pub const UNIKRAFT_NAME: &str = "org.unikraft.image.name";
    /// The version of Unikraft.
    pub const KERNEL_VERSION: &str = "org.unikraft.kernel.version";
    /// On a layer: it contains the kernel, at this path.
    pub const KERNEL: &str = "org.unikraft.kernel.image";
    /// On a layer: it contains the kernel with debug information, at this path.
    pub const KERNEL_DEBUG: &str = "org.unikraft.kernel.imagedbg";
    /// On a layer: it contains the root filesystem, at this path.
    pub const INITRD: &str = "org.unikraft.kernel.initrd";
}

/// Maximum size of a document, in bytes: the limit of the reference registry (4 MiB).
pub const LARGEST_DOCUMENT: u64 = 4 << 20;
/// Maximum number of manifests in an index, and of layers in a manifest.
pub const MOST_CHILDREN: usize = 4096;

/// Maximum depth of nested indexes: the target of a name is the first.
pub const DEEPEST: usize = 4;

/// Deserialises `null` as the default: Go writes empty lists and maps as `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Deserialises a list, ignoring `null` entries.
fn without_nulls<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let entries: Vec<Option<T>> = nullable(deserializer)?;
    Ok(entries.into_iter().flatten().collect())
}

/// Deserialises a map, ignoring `null` values.
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

/// The platform of an image.
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

    /// Returns whether it is the platform of a unikernel: not one of containers.
    pub fn is_unikernel(&self) -> bool {
        !matches!(self.os.as_str(), "" | "linux" | "windows" | "unknown")
    }
}

/// Annotation of an index entry that describes another entry and cannot be run (`BuildKit`,
/// docs/attestations/attestation-storage.md).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// A reference to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the blob.
    #[serde(default, deserialize_with = "nullable")]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its stated size in bytes. Unreliable for documents and configurations: `KraftKit` states 32
    /// for manifests that it merges into an index.
    #[serde(default, deserialize_with = "nullable")]
    pub size: u64,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "without_null_values",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Its platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Returns the descriptor of bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, crate::digest::of(bytes), bytes.len() as u64)
    }

    /// Returns a descriptor.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// Returns whether it describes another entry of its index.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key(REFERENCE_TYPE)
    }
}

/// An index: one entry per platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
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
    /// Annotations.
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
    /// Always 2.
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
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "without_null_values",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Returns all blobs of the manifest, with the configuration last.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain(std::iter::once(&self.config))
    }
}

/// How to run an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// The user.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `80/tcp`, with an empty value.
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
    /// The entrypoint.
    #[serde(
        default,
        deserialize_with = "without_nulls",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    /// The default arguments.
    #[serde(
        default,
        deserialize_with = "without_nulls",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cmd: Vec<String>,
    /// Volume paths.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// The working directory.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Labels.
    #[serde(
        default,
        deserialize_with = "without_null_values",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The stop signal.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
}

/// The uncompressed layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default, deserialize_with = "nullable")]
    pub kind: String,
    /// The digests of the uncompressed tars; `null` if there are none.
    #[serde(default)]
    pub diff_ids: Option<Vec<Digest>>,
}

/// The configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Creation time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The author.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    /// Its platform.
    #[serde(flatten)]
    pub platform: Platform,
    /// How to run it.
    #[serde(default, deserialize_with = "nullable")]
    pub config: RunConfig,
    /// Its layers.
    #[serde(default, deserialize_with = "nullable")]
    pub rootfs: RootFs,
    /// History of the layers.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<serde_json::Value>,
}

/// A document, identified by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// An index.
    Index(Index),
    /// A manifest.
    Manifest(Manifest),
}

impl Document {
    /// Returns the media type: the one stated by the referrer, otherwise the document's own.
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

    /// Parses a document; `media_type` is the one stated by the source, if any.
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
        // A document that could be parsed as both types is an attack, as is one whose own media
        // type contradicts its content: another program may interpret it differently.
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

/// Why bytes are not a valid image document.
#[derive(Debug, thiserror::Error)]
pub enum BadDocument {
    /// It is too large; its size in bytes.
    #[error("it has {0} bytes, and at most 4 MiB are taken")]
    TooLong(u64),
    /// It is not JSON, or lacks required fields.
    #[error("it is not a valid document")]
    Json(#[source] serde_json::Error),
    /// Docker's first format, without digests.
    #[error("it is in Docker's obsolete schema 1 format")]
    Schema1,
    /// Both an index and a manifest.
    #[error("it could be read as an index and as a manifest")]
    Ambiguous,
    /// Neither an index nor a manifest.
    #[error("it is neither an index nor a manifest")]
    Neither,
    /// Indexes are nested too deeply.
    #[error("it holds indexes inside indexes, more than {DEEPEST} deep")]
    TooDeep,
    /// It lists too many blobs.
    #[error("it lists {0} blobs, and at most {MOST_CHILDREN} are taken")]
    TooMany(usize),
}

impl BadDocument {
    /// Returns the error with its cause, on one line.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Json(cause) => format!("{self}: {cause}"),
            other => other.to_string(),
        }
    }
}

impl Config {
    /// Parses a configuration.
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
        // The type of a layer or a configuration is required.
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
