//! A bundle on disk: its configuration, and what its root file system holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kraft_core::kernel::abilities::Abilities;
use kraft_core::kernel::object::Object;
use kraft_core::kernel::{Guest, KernelImage, identify, libinfo};
use kraft_sys::fs;

use crate::config::{self, Config};
use crate::decide::{Found, INITRD, KERNEL, METADATA, Metadata, SourceKind};
use crate::failure::Failure;

/// The largest kernel that is read for what it can do, in bytes.
const LARGEST_KERNEL: u64 = 1 << 30;

/// The largest note of `kraft pkg` that is read, in bytes.
const LARGEST_METADATA: u64 = 1 << 20;

/// The part of a configuration by which a unikernel is distinguished from an ordinary container.
#[derive(Default, serde::Deserialize)]
struct OnlyRoot {
    root: config::Root,
}

/// A bundle.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    /// The absolute path of its root file system.
    pub(crate) root: PathBuf,
}

impl Bundle {
    /// Reads the configuration of a bundle.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let path = path.canonicalize().map_err(|e| {
            Failure::of(&format!("cannot open the bundle `{}`", path.display()), &e)
        })?;
        let file = path.join("config.json");
        let bytes = fs::read_file(&file, config::LARGEST)?;
        let parsed = Config::parse(&bytes);
        // What this runtime does not understand may be an ordinary container, whose runtime does.
        let only = || serde_json::from_slice::<OnlyRoot>(&bytes).unwrap_or_default();
        let root = parsed
            .as_ref()
            .map_or_else(|_| only().root, |config| config.root.clone());
        let mut bundle = Self {
            root: path.join(&root.path),
            path,
            config: Config::default(),
        };
        match parsed {
            Ok(config) => bundle.config = config,
            Err(e) if root.path.is_empty() || bundle.has_kernel() => {
                return Err(Failure::of(
                    &format!("`{}` is not valid", file.display()),
                    &e,
                ));
            }
            Err(_) => {}
        }
        Ok(bundle)
    }

    /// Returns whether the root file system is that of a unikernel.
    pub(crate) fn has_kernel(&self) -> bool {
        std::fs::symlink_metadata(self.root.join(KERNEL)).is_ok()
    }

    /// Examines the root file system and the sources of bind mounts.
    pub(crate) fn examine(&self) -> Result<Found, Failure> {
        let kernel = self.inside(KERNEL)?;
        let mut file = fs::open_file(&kernel)?;
        let image = identify(&mut file)
            .map_err(|e| Failure::of(&format!("`/{KERNEL}` of the image cannot be booted"), &e))?;
        let initrd = self.inside(INITRD)?;
        let initrd = match fs::open_file(&initrd) {
            Ok(_) => Some(initrd),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e.into()),
        };
        let binds = self.config.mounts.iter().filter(|mount| mount.is_bind());
        let sources = binds.map(|mount| PathBuf::from(&mount.source));
        let kinds = sources.filter_map(|path| Some((path.clone(), kind(&path)?)));
        Ok(Found {
            abilities: abilities(&kernel, image, &self.metadata()?),
            kernel,
            image,
            initrd,
            sources: kinds.collect::<BTreeMap<_, _>>(),
        })
    }

    /// Reads what `kraft pkg` noted; nothing if another program made the image.
    fn metadata(&self) -> Result<Metadata, Failure> {
        let path = self.inside(METADATA)?;
        match fs::read_file(&path, LARGEST_METADATA) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| Failure::of(&format!("`/{METADATA}` of the image is not valid"), &e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Metadata::default()),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns the path of a file of the root file system, which no link leads out of.
    pub(crate) fn inside(&self, below: &str) -> Result<PathBuf, Failure> {
        inside(&self.root, below)
    }
}

/// Returns the path of a file below a root, which is no symbolic link and which none leads to: an
/// absolute link of an image would mean a file of the host.
pub(crate) fn inside(root: &Path, below: &str) -> Result<PathBuf, Failure> {
    let mut path = root.to_owned();
    for part in below.split('/') {
        path.push(part);
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Err(Failure(format!(
                "`/{below}` of the image is refused: it is, or is behind, a symbolic link"
            )));
        }
    }
    Ok(path)
}

/// Returns what the source of a mount is; `None` if there is none.
fn kind(path: &Path) -> Option<SourceKind> {
    let found = std::fs::metadata(path).ok()?;
    Some(if found.is_dir() {
        SourceKind::Directory
    } else if found.is_file() {
        SourceKind::File
    } else {
        SourceKind::Other
    })
}

/// Returns what a kernel can do: by the options in the image, else by its own records.
fn abilities(kernel: &Path, image: KernelImage, metadata: &Metadata) -> Abilities {
    if image.guest == Guest::Runtime {
        return Abilities::RUNTIME;
    }
    let noted = Abilities::of_options(metadata.features.iter().map(String::as_str));
    noted.or(recorded(kernel).unwrap_or_default())
}

fn recorded(kernel: &Path) -> Option<Abilities> {
    let bytes = fs::read_file(kernel, LARGEST_KERNEL).ok()?;
    let object = Object::parse(&bytes).ok()?;
    let section = object.section(libinfo::SECTION)?;
    let info = libinfo::parse(object.contents(section).ok()?).ok()?;
    let names = info.libraries.iter().filter_map(|lib| lib.name.as_deref());
    Some(Abilities::of_libraries(names))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn bundle(config: &str) -> (tempfile::TempDir, Bundle) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("rootfs/unikraft/bin")).unwrap();
        fs::replace_file(&dir.path().join("config.json"), config.as_bytes()).unwrap();
        let bundle = Bundle::open(dir.path()).unwrap();
        (dir, bundle)
    }

    #[test]
    fn a_root_without_a_kernel_is_an_ordinary_container() {
        let (_dir, bundle) = bundle(r#"{"root":{"path":"rootfs"},"unknown":[1]}"#);
        assert!(!bundle.has_kernel());
        fs::replace_file(&bundle.root.join(KERNEL), b"#!/bin/sh").unwrap();
        assert!(bundle.has_kernel());
        let error = bundle.examine().unwrap_err().to_string();
        assert!(error.contains("it is a script"), "{error}");
    }

    #[test]
    fn only_a_unikernel_needs_a_configuration_that_is_understood() {
        let strange = r#"{"root":{"path":"rootfs"},"hooks":{"prestart":[{"timeout":-1}]}}"#;
        let (dir, bundle) = bundle(strange);
        assert!(!bundle.has_kernel());
        fs::replace_file(&bundle.root.join(KERNEL), b"k").unwrap();
        let error = Bundle::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("config.json` is not valid"), "{error}");
    }

    #[test]
    fn links_of_an_image_lead_nowhere() {
        let (dir, bundle) = bundle(r#"{"root":{"path":"rootfs"}}"#);
        let secret = dir.path().join("secret");
        fs::replace_file(&secret, b"secret").unwrap();
        symlink(&secret, bundle.root.join(KERNEL)).unwrap();
        assert!(
            bundle.has_kernel(),
            "it is not handed to another runtime either"
        );
        let error = bundle.examine().unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
        // Nor a directory on the way.
        std::fs::remove_dir_all(bundle.root.join("unikraft")).unwrap();
        let other = dir.path().join("other");
        std::fs::create_dir_all(other.join("bin")).unwrap();
        fs::replace_file(&other.join("bin/kernel"), b"k").unwrap();
        symlink(&other, bundle.root.join("unikraft")).unwrap();
        assert!(bundle.examine().is_err());
    }
}
