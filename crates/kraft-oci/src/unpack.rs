//! Unpacks images to files that machines boot from.
//!
//! ```text
//! DIR/LAYER/ROLE-SUM    a file of a layer; SUM is its own SHA-256
//!     new-ID/           one that is being unpacked, locked
//! ```
//!
//! A layer is unpacked once for all users: machines link to its files. A cached file is hashed
//! again before it is used, so that changes on disk are detected.
//!
//! ```
//! use kraft_oci::image::{Config, Descriptor, Manifest, media};
//! use kraft_oci::layer::{Role, pack};
//! use kraft_oci::store::{Store, layout::Layout};
//! use kraft_oci::unpack::unpack;
//!
//! let dir = tempfile::tempdir()?;
//! let store = Layout::open(&dir.path().join("store"))?;
//! let lease = store.lease()?;
//! let layer = pack(&*lease, Role::Kernel, true, &mut &b"kernel"[..], 6, &mut |_| {})?;
//! let manifest = Manifest {
//!     schema_version: 2,
//!     media_type: media::MANIFEST.to_owned(),
//!     config: Descriptor::of(media::CONFIG, b"{}"),
//!     layers: vec![layer],
//!     annotations: Default::default(),
//! };
//! let config = Config::parse(br#"{"architecture": "x86_64", "os": "qemu"}"#)?;
//! let files = unpack(&store, &manifest, &config, &dir.path().join("cache"))?;
//! assert_eq!(std::fs::read(files.kernel.expect("a kernel"))?, b"kernel");
//! assert_eq!(files.initrd, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kraft_archive::compression::read_some;
use kraft_core::reference::Digest;
use kraft_sys::bulk::Bulk;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use crate::digest::{self, Damage, Hasher};
use crate::image::{Config, Descriptor, Manifest};
use crate::layer::{self, Found, LayerError, Role};
use crate::store::{self, Store, open_verified};
use crate::unique::unique;

/// The files of an image in the cache: read or link them, but never change them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// The kernel.
    pub kernel: Option<PathBuf>,
    /// The kernel with debug information.
    pub kernel_debug: Option<PathBuf>,
    /// The root filesystem.
    pub initrd: Option<PathBuf>,
}

impl Unpacked {
    fn put(&mut self, role: Role, path: PathBuf) {
        let place = match role {
            Role::Kernel => &mut self.kernel,
            Role::KernelDebug => &mut self.kernel_debug,
            Role::Initrd => &mut self.initrd,
        };
        *place = Some(path);
    }
}

/// Unpacks the layers of a manifest into the cache at `dir`, unless they are cached. Files of later
/// layers replace those of earlier ones.
pub fn unpack(
    store: &dyn Store,
    manifest: &Manifest,
    config: &Config,
    dir: &Path,
) -> Result<Unpacked, LayerError> {
    let mut unpacked = Unpacked::default();
    let diff_ids = config.rootfs.diff_ids.as_deref().unwrap_or_default();
    if diff_ids.len() != manifest.layers.len() && !diff_ids.is_empty() {
        return Err(LayerError::Taking(io::Error::other(format!(
            "the manifest has {} layers, but the configuration lists {}",
            manifest.layers.len(),
            diff_ids.len()
        ))));
    }
    for (at, layer) in manifest.layers.iter().enumerate() {
        let place = dir.join(layer.digest.hex());
        let files = if let Some(files) = cached(&place)? {
            files
        } else {
            unpack_layer(store, layer, diff_ids.get(at), dir, &place)?;
            listed(&place)?
        };
        for (role, path) in files {
            unpacked.put(role, path);
        }
    }
    Ok(unpacked)
}

/// Returns the cached files of a layer, if all of them are unchanged.
fn cached(place: &Path) -> Result<Option<Vec<(Role, PathBuf)>>, LayerError> {
    if !place.is_dir() {
        return Ok(None);
    }
    let files = listed(place)?;
    for (_, path) in &files {
        if !is_whole(path).map_err(store::Error::from)? {
            fs::remove_tree(place).map_err(store::Error::from)?;
            return Ok(None);
        }
    }
    Ok(Some(files))
}

/// Returns the files in a directory of the cache.
fn listed(place: &Path) -> Result<Vec<(Role, PathBuf)>, LayerError> {
    let entries = std::fs::read_dir(place)
        .map_err(|error| LayerError::Store(fs::Error::on("read", place)(error).into()))?;
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let role = Role::ALL.into_iter().find(|role| {
            name.rsplit_once('-')
                .is_some_and(|(start, _)| start == word(*role))
        });
        if let Some(role) = role {
            files.push((role, entry.path()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Returns the name of a role in file names.
fn word(role: Role) -> &'static str {
    match role {
        Role::Kernel => "kernel",
        Role::KernelDebug => "kernel-debug",
        Role::Initrd => "initrd",
    }
}

/// Returns the digest of a file in the cache, which is part of its name; `None` if the path is not that of
/// such a file. [`unpack`] has verified it.
///
/// ```
/// use kraft_oci::unpack::digest;
///
/// let path = format!("cache/0f/kernel-{:064x}", 7);
/// assert_eq!(digest(path.as_ref()).unwrap().hex(), format!("{:064x}", 7));
/// assert_eq!(digest("kernel".as_ref()), None);
/// ```
#[must_use]
pub fn digest(path: &Path) -> Option<Digest> {
    let (_, sum) = path.file_name()?.to_str()?.rsplit_once('-')?;
    format!("sha256:{sum}").parse().ok()
}

/// Returns whether a cached file matches the digest in its name.
fn is_whole(path: &Path) -> Result<bool, fs::Error> {
    let Some(expected) = digest(path) else {
        return Ok(false);
    };
    Ok(digest::of_file(path)? == expected)
}

/// Unpacks a layer to a temporary directory, and renames it after verification.
fn unpack_layer(
    store: &dyn Store,
    layer: &Descriptor,
    diff_id: Option<&Digest>,
    dir: &Path,
    place: &Path,
) -> Result<(), LayerError> {
    fs::create_dir_all(dir, 0o755).map_err(store::Error::from)?;
    let temporary = dir.join(format!("new-{}", unique()));
    fs::create_dir(&temporary, 0o755).map_err(store::Error::from)?;
    let lock = Lock::exclusive(&temporary).map_err(store::Error::from)?;
    let outcome = fill(store, layer, diff_id, &temporary);
    let moved = outcome.and_then(|()| {
        match fs::rename(&temporary, place) {
            Ok(()) => Ok(()),
            // Another process was faster.
            Err(_) if place.is_dir() => Ok(()),
            Err(error) => Err(LayerError::Store(error.into())),
        }
    });
    drop(lock);
    // After the rename nothing is left.
    let _ = fs::remove_tree(&temporary);
    moved
}

/// Writes the files of a layer into a directory.
fn fill(
    store: &dyn Store,
    layer: &Descriptor,
    diff_id: Option<&Digest>,
    dir: &Path,
) -> Result<(), LayerError> {
    let mut blob = open_verified(store, layer)?;
    let mut take = |mut file: Found<'_>| take(&mut file, dir);
    let found = layer::read(&mut blob, &mut take).map_err(|error| match error {
        // The blob is damaged, rather than the tar.
        LayerError::Read(error)
            if error
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Damage>) =>
        {
            LayerError::Store(store::Error::reading(&layer.digest, error))
        }
        error => error,
    })?;
    match diff_id {
        Some(expected) if *expected != found => Err(LayerError::Content {
            layer: layer.digest.clone(),
            expected: expected.clone(),
            found,
        }),
        _ => Ok(()),
    }
}

fn take(file: &mut Found<'_>, dir: &Path) -> io::Result<()> {
    let temporary = dir.join(word(file.role));
    // The last of several files with the same name wins.
    let out = File::create(&temporary)?;
    let mut bulk = Bulk::new(out);
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = read_some(file.content, &mut buffer)?;
        if count == 0 {
            break;
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        hasher.update(bytes);
        bulk.write_all(bytes)?;
    }
    if hasher.size() != file.size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bulk.finish()?;
    let sum = hasher.finish();
    let name = format!("{}-{}", word(file.role), sum.hex());
    fs::rename(&temporary, &dir.join(name)).map_err(io::Error::other)
}

/// Removes cached files that belong to no blob of the store and are not being unpacked. Returns the
/// number of bytes freed, or that `dry_run` would free.
pub fn sweep(store: &dyn Store, dir: &Path, dry_run: bool) -> Result<u64, store::Error> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(0);
    };
    let mut bytes = 0;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let of_layer = Digest::from_str(&format!("sha256:{name}")).ok();
        if let Some(digest) = of_layer
            && store.size(&digest)?.is_some()
        {
            continue;
        }
        // The unpacking process holds its lock.
        let Ok(Some(_lock)) = Lock::try_exclusive(&path) else {
            continue;
        };
        bytes += size_of(&path);
        if !dry_run {
            fs::remove_tree(&path)?;
        }
    }
    Ok(bytes)
}

fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}
