//! Builds packages: configuration, manifest and index, from layers.
//!
//! Everything is a function of the arguments: the same layers, name and time give the same bytes.
//! The fields are those of `KraftKit`; `docs/images.md` shows them.
//!
//! ```
//! use jiff::Timestamp;
//! use kraft_oci::image::{Platform, RunConfig};
//! use kraft_oci::package::{Cover, entries_of, platform_of};
//!
//! let cover = Cover {
//!     name: "example.com/web:1.0".parse()?,
//!     writer: "example".to_owned(),
//!     created: Timestamp::UNIX_EPOCH,
//! };
//! let platform = Platform {
//!     os: "qemu".to_owned(),
//!     architecture: "x86_64".to_owned(),
//!     ..Platform::default()
//! };
//! let run = RunConfig { cmd: vec!["/server".to_owned()], ..RunConfig::default() };
//! let packed = cover.pack(platform.clone(), run.clone(), Vec::new());
//! assert_eq!(packed, cover.pack(platform, run, Vec::new()), "the same bytes");
//!
//! let index = cover.index(&[serde_json::to_value(&packed.manifest.descriptor)?]);
//! let entries = entries_of(&index.bytes)?;
//! assert_eq!(platform_of(&entries[0]).expect("a platform").pair(), "qemu/x86_64");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use jiff::Timestamp;
use kraft_core::reference::Reference;
use serde_json::Value;

use crate::image::{Config, Descriptor, Manifest, Platform, RootFs, RunConfig, annotation, media};
use crate::json::to_vec;
use crate::linux;

/// Platforms in order of precedence for the Linux manifest of an architecture.
const RANK: [&str; 3] = ["qemu", "fc", "xen"];

/// Properties shared by all manifests of a package.
#[derive(Clone, Debug)]
pub struct Cover {
    /// The full name.
    pub name: Reference,
    /// The version of the program that writes it.
    pub writer: String,
    /// Creation time, fixed for reproducible digests.
    pub created: Timestamp,
}

/// A document and its descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its descriptor; with the platform for a manifest.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A manifest and its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The configuration.
    pub config: Written,
    /// The manifest.
    pub manifest: Written,
}

impl Cover {
    /// Returns the annotations of the index.
    fn index_annotations(&self) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let mut put = |key: &str, value: String| map.insert(key.to_owned(), value);
        put(annotation::IMAGE_NAME, self.name.to_string());
        put(annotation::REF_NAME, self.name.path());
        put(annotation::WRITER, self.writer.clone());
        map
    }

    /// Returns the annotations of a manifest.
    fn manifest_annotations(&self, platform: &Platform) -> BTreeMap<String, String> {
        let mut map = self.index_annotations();
        let mut put = |key: &str, value: String| map.insert(key.to_owned(), value);
        put(annotation::UNIKRAFT_NAME, self.name.path());
        put(annotation::CREATED, seconds(self.created));
        if !platform.os_version.is_empty() {
            put(annotation::KERNEL_VERSION, platform.os_version.clone());
        }
        map
    }

    /// Returns the manifest of one platform.
    ///
    /// Features are sorted, and duplicates removed.
    pub fn pack(&self, mut platform: Platform, run: RunConfig, layers: Vec<Descriptor>) -> Packed {
        platform.os_features.sort_unstable();
        platform.os_features.dedup();
        let annotations = self.manifest_annotations(&platform);
        packed(platform, run, layers, annotations)
    }

    /// Returns the manifest with which container engines use the same layers, and the bytes of the layer
    /// that is [added](crate::linux) for them. It lacks the writer's annotation, so `KraftKit` ignores
    /// it. `engines` are those for which it has more than for others.
    pub fn pack_linux(
        &self,
        manifest: &Manifest,
        config: &Config,
        engines: &[linux::Engine],
    ) -> Option<(Packed, Vec<u8>)> {
        let platform = Platform {
            architecture: linux_arch(&config.platform.architecture)?.to_owned(),
            os: "linux".to_owned(),
            ..Platform::default()
        };
        let mut run = config.config.clone();
        // Container engines require a command.
        run.entrypoint = vec![linux::entrypoint(&config.platform)];
        let is_for_urunc = engines.contains(&linux::Engine::Urunc);
        let urunc = is_for_urunc
            .then(|| linux::urunc(manifest, config))
            .flatten();
        let added = linux::layer(&config.platform, urunc.as_deref());
        let mut layers = manifest.layers.clone();
        layers.push(Descriptor::of(media::LAYER, &added));
        let mut annotations = self.manifest_annotations(&config.platform);
        annotations.remove(annotation::WRITER);
        Some((packed(platform, run, layers, annotations), added))
    }

    /// Returns the index.
    ///
    /// `entries` are descriptors as in an index, new ones or those of an existing index, which are
    /// kept unchanged.
    pub fn index(&self, entries: &[Value]) -> Written {
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media::INDEX,
            "manifests": entries,
            "annotations": self.index_annotations(),
        });
        let bytes = to_vec(&index);
        Written {
            descriptor: Descriptor::of(media::INDEX, &bytes),
            bytes,
        }
    }
}

fn packed(
    platform: Platform,
    run: RunConfig,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
) -> Packed {
    let rootfs = if layers.is_empty() {
        RootFs::default()
    } else {
        RootFs {
            kind: "layers".to_owned(),
            diff_ids: Some(layers.iter().map(|layer| layer.digest.clone()).collect()),
        }
    };
    let config = Config {
        platform: platform.clone(),
        config: run,
        rootfs,
        ..Config::default()
    };
    let config = to_vec(&config);
    let mut config_descriptor = Descriptor::of(media::CONFIG, &config);
    config_descriptor.platform = Some(platform.clone());
    let manifest = Manifest {
        schema_version: 2,
        media_type: media::MANIFEST.to_owned(),
        config: config_descriptor.clone(),
        layers,
        annotations: annotations.clone(),
    };
    let manifest = to_vec(&manifest);
    let descriptor = Descriptor {
        annotations,
        platform: Some(platform),
        ..Descriptor::of(media::MANIFEST, &manifest)
    };
    Packed {
        config: Written {
            descriptor: config_descriptor,
            bytes: config,
        },
        manifest: Written {
            descriptor,
            bytes: manifest,
        },
    }
}

/// Merges new entries into an existing index: an entry for the same platform, version and features
/// is replaced in its position, others are kept unchanged.
pub fn merge(existing: &[Value], new: &[Descriptor]) -> Vec<Value> {
    let mut entries = existing.to_vec();
    for descriptor in new {
        let same = |entry: &Value| {
            platform_of(entry)
                .is_some_and(|platform| Some(&platform) == descriptor.platform.as_ref())
        };
        let value = serde_json::to_value(descriptor).unwrap_or_default();
        match entries.iter().position(same) {
            Some(at) => {
                if let Some(entry) = entries.get_mut(at) {
                    *entry = value;
                }
                // The index may have been written by a program that does not detect duplicates.
                let mut seen = false;
                entries.retain(|entry| !same(entry) || !std::mem::replace(&mut seen, true));
            }
            None => entries.push(value),
        }
    }
    entries
}

/// Returns the platform of an entry, with sorted features and without duplicates.
pub fn platform_of(entry: &Value) -> Option<Platform> {
    let mut platform: Platform = serde_json::from_value(entry.get("platform")?.clone()).ok()?;
    platform.os_features.sort_unstable();
    platform.os_features.dedup();
    Some(platform)
}

/// Returns the precedence of a platform for the Linux manifest of its architecture; lower is first.
pub fn rank(os: &str) -> usize {
    RANK.iter()
        .position(|&known| known == os)
        .unwrap_or(RANK.len())
}

/// Returns the name that container engines use for an architecture.
pub fn linux_arch(arch: &str) -> Option<&'static str> {
    match arch {
        "x86_64" | "amd64" => Some("amd64"),
        "arm64" | "aarch64" => Some("arm64"),
        "arm" => Some("arm"),
        _ => None,
    }
}

/// Parses an index, keeping its entries unchanged.
pub fn entries_of(index: &[u8]) -> Result<Vec<Value>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Entries {
        #[serde(default)]
        manifests: Option<Vec<Value>>,
    }
    let entries: Entries = serde_json::from_slice(index)?;
    Ok(entries.manifests.unwrap_or_default())
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover() -> Cover {
        Cover {
            name: "unikraft.org/t:latest".parse().unwrap(),
            writer: "0.9.4".to_owned(),
            created: "2024-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn layer(hex: &str, role: crate::layer::Role) -> Descriptor {
        let mut layer =
            Descriptor::new(media::LAYER, format!("sha256:{hex}").parse().unwrap(), 2048);
        layer
            .annotations
            .insert(role.annotation().to_owned(), format!("/{}", role.path()));
        layer
    }

    fn layers() -> Vec<Descriptor> {
        vec![
            layer(
                "67ca3871fc380b31798fd54e83f58b56cf118f4cac56ae1213bef1be1480d9ac",
                crate::layer::Role::Kernel,
            ),
            layer(
                "a8238fcbfafc8dc65444a8ead1b9bd1844da94ed7b5c9630eb9d1595dde08829",
                crate::layer::Role::Initrd,
            ),
        ]
    }

    fn platform() -> Platform {
        Platform {
            architecture: "x86_64".to_owned(),
            os: "qemu".to_owned(),
            os_version: "0.17.0".to_owned(),
            os_features: vec![
                "CONFIG_PLAT_KVM=y".to_owned(),
                "CONFIG_ARCH_X86_64=y".to_owned(),
                "CONFIG_PLAT_KVM=y".to_owned(),
            ],
            variant: String::new(),
        }
    }

    fn run() -> RunConfig {
        RunConfig {
            cmd: vec!["-c".to_owned(), "a&b".to_owned()],
            env: vec!["A=1".to_owned()],
            ..RunConfig::default()
        }
    }

    #[test]
    fn documents_have_the_sizes_and_digests_of_the_test_vectors() {
        let packed = cover().pack(platform(), run(), layers());
        let config = &packed.config.descriptor;
        assert_eq!(config.size, 355);
        assert_eq!(
            config.digest.hex(),
            "03e5760f43314cf4ae1abe6e7a5df8159d6b7a9b8a5b24c64f441159641c3b5d"
        );
        let manifest = &packed.manifest.descriptor;
        assert_eq!(
            manifest.size,
            1102,
            "{}",
            String::from_utf8_lossy(&packed.manifest.bytes)
        );
        assert_eq!(
            manifest.digest.hex(),
            "4b4cbd061903d59a1895f82695ff049e51221fc11fbf384df2e0095a7b8e369a"
        );
        let entries = merge(&[], std::slice::from_ref(manifest));
        let index = cover().index(&entries);
        assert_eq!(index.descriptor.size, 811);
        assert_eq!(
            index.descriptor.digest.hex(),
            "c0d2f088e20c63fcbfa1dd310a93528562a94d3f421cec05dd6aec63cddd6276"
        );
    }

    #[test]
    fn what_is_written_is_read_back_to_the_letter() {
        let packed = cover().pack(platform(), run(), layers());
        let manifest: Manifest = serde_json::from_slice(&packed.manifest.bytes).unwrap();
        assert_eq!(to_vec(&manifest), packed.manifest.bytes);
        let config = Config::parse(&packed.config.bytes).unwrap();
        assert_eq!(to_vec(&config), packed.config.bytes);
        let none = cover().pack(Platform::default(), RunConfig::default(), Vec::new());
        let text = String::from_utf8(none.config.bytes).unwrap();
        assert!(
            text.ends_with(r#""rootfs":{"type":"","diff_ids":null}}"#),
            "{text}"
        );
    }

    #[test]
    fn merging_replaces_the_same_platform_and_keeps_others_to_the_letter() {
        let strange = serde_json::json!({
            "mediaType": media::MANIFEST, "digest": layers()[0].digest, "size": 1,
            "urls": ["x"], "platform": {"architecture": "x86_64", "os": "fc"}, "zzz": 1
        });
        let first = cover()
            .pack(platform(), run(), layers())
            .manifest
            .descriptor;
        let entries = merge(std::slice::from_ref(&strange), std::slice::from_ref(&first));
        assert_eq!(entries.len(), 2);
        let second = cover().pack(platform(), RunConfig::default(), layers());
        let second = second.manifest.descriptor;
        assert_ne!(first.digest, second.digest);
        let entries = merge(&entries, std::slice::from_ref(&second));
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0], strange);
        assert_eq!(entries[1]["digest"], second.digest.as_str());
    }

    #[test]
    fn the_linux_side_has_the_same_layers_one_more_and_no_mark() {
        let packed = cover().pack(platform(), run(), layers());
        let manifest: Manifest = serde_json::from_slice(&packed.manifest.bytes).unwrap();
        let config = Config::parse(&packed.config.bytes).unwrap();
        let (linux, added) = cover().pack_linux(&manifest, &config, &[]).unwrap();
        let platform = linux.manifest.descriptor.platform.clone().unwrap();
        assert_eq!(
            (platform.os.as_str(), platform.architecture.as_str()),
            ("linux", "amd64")
        );
        assert!(platform.os_features.is_empty());
        let annotations = &linux.manifest.descriptor.annotations;
        assert!(!annotations.contains_key(annotation::WRITER));
        let linux: Manifest = serde_json::from_slice(&linux.manifest.bytes).unwrap();
        let (last, same) = linux.layers.split_last().unwrap();
        assert_eq!(same, manifest.layers);
        assert_eq!(*last, Descriptor::of(media::LAYER, &added));
    }

    #[test]
    fn the_linux_side_for_urunc_names_the_kernel_and_its_arguments_in_base64() {
        let packed = cover().pack(platform(), run(), layers());
        let manifest: Manifest = serde_json::from_slice(&packed.manifest.bytes).unwrap();
        let config = Config::parse(&packed.config.bytes).unwrap();
        let side = |engines: &[_]| cover().pack_linux(&manifest, &config, engines).unwrap();
        let (first, added) = side(&[linux::Engine::Urunc]);
        assert_eq!(
            (first.clone(), added.clone()),
            side(&[linux::Engine::Urunc])
        );
        assert_ne!(first, side(&[]).0);
        let text = String::from_utf8_lossy(&added);
        let json = text
            .split(['\0'])
            .find(|part| part.contains("com.urunc"))
            .unwrap();
        let values: BTreeMap<String, String> = serde_json::from_str(json).unwrap();
        let decoded = |key: &str| {
            use base64::Engine as _;
            let value = values.get(&format!("com.urunc.unikernel.{key}"))?;
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(value)
                .ok()?;
            String::from_utf8(bytes).ok()
        };
        assert_eq!(decoded("unikernelType").as_deref(), Some("unikraft"));
        assert_eq!(
            decoded("hypervisor").as_deref(),
            linux::urunc_monitor(&config.platform)
        );
        assert_eq!(decoded("binary").as_deref(), Some("/unikraft/bin/kernel"));
        assert_eq!(decoded("cmdline"), Some(config.config.cmd.join(" ")));
    }
}
