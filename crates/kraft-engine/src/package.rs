//! What `kraft pkg` does: from kernels and root filesystems on disk, or a runtime in the store, to
//! an image with a name.
//!
//! ```text
//! flags, Kraftfile ─ plan ─► Parts (per platform: layers still to be packed) ─ assemble ─► index ─► name
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::images;
//! use kraft_engine::package::{Error, Package, Strategy, assemble, resolve_strategy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().to_owned();
//! let store = images::open(&context)?;
//! let package = Package {
//!     name: "registry.example/hello:v1".parse()?,
//!     strategy: Strategy::Abort,
//!     linux: false,
//!     engines: Vec::new(),
//! };
//! let strategy = || resolve_strategy(&context, &*store, &package.name, package.strategy);
//! strategy()?;
//! assemble(&context, &*store, &package, Vec::new())?;
//! assert!(matches!(strategy(), Err(Error::Exists(_))), "now it exists");
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use kraft_core::reference::Reference;
use kraft_oci::digest::Damage;
use kraft_oci::image::{
    BadDocument, DEEPEST, Descriptor, Document, Manifest, Platform, RunConfig, media,
};
use kraft_oci::layer::{self, LayerError, Role};
use kraft_oci::linux;
use kraft_oci::package::{self, Cover};
use kraft_oci::store::{self, Expect, Lease, Store};
use kraft_rootfs::Source;
use kraft_sys::fs;
use serde_json::Value;

use super::dockerfile::BuildOutput;
use crate::context::{AskError, Context};
use crate::epoch;
use crate::progress::Progress;
use crate::rootfs;

/// What happens to an image that already has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Put a new image in its place
    Overwrite,
    /// Add to it; the same platform is replaced
    Merge,
    /// Fail
    Abort,
    /// Ask
    Prompt,
}

/// A manifest to make.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it runs on.
    pub platform: Platform,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// How it is run.
    pub run: RunConfig,
    /// The lease on the root filesystem among its layers, if that was built for it.
    pub made: Option<Arc<BuildOutput>>,
}

/// A layer of a manifest to make.
#[derive(Clone, Debug)]
pub enum Layer {
    /// It is in the store already.
    Stored(Box<Descriptor>),
    /// A file to be packed.
    File(Role, PathBuf),
    /// A root filesystem to be built and packed.
    Rootfs(PathBuf),
}

/// What all parts share.
#[derive(Clone, Debug)]
pub struct Package {
    /// The full name.
    pub name: Reference,
    /// What happens to an image that already has the name.
    pub strategy: Strategy,
    /// Whether container engines can pull it as well.
    pub linux: bool,
    /// The engines for which their manifests have more than for others.
    pub engines: Vec<linux::Engine>,
}

/// Why an image was not packaged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken.
    #[error("the image `{0}` already exists")]
    Exists(String),
    /// The name is taken, and there is no terminal to prompt.
    #[error("the image `{0}` already exists, and there is no terminal to prompt")]
    NoPrompt(String),
    /// The question what to do about an image of that name was not answered.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The image of that name is not one to merge with.
    #[error("cannot merge with the image")]
    Merge(#[source] BadDocument),
    /// `SOURCE_DATE_EPOCH` is not a time.
    #[error(transparent)]
    Epoch(#[from] epoch::Error),
    /// `SOURCE_DATE_EPOCH` is too far in the future.
    #[error("`SOURCE_DATE_EPOCH` is out of range")]
    Time(#[source] jiff::Error),
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory or a device is where a file must be.
    #[error("`{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    /// A file cannot be packed.
    #[error("cannot package `{}`", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<LayerError>,
    },
    /// urunc does not run machines of a platform.
    #[error(
        "cannot package for urunc: it has no monitor for the platform `{0}`, only for qemu and fc"
    )]
    Urunc(String),
    /// A layer cannot be packed again for another owner.
    #[error("cannot package for KubeVirt")]
    Kubevirt(#[source] Box<LayerError>),
    /// A root filesystem is not valid.
    #[error(transparent)]
    Archive(#[from] kraft_rootfs::Error),
    /// A root filesystem cannot be built.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
}

/// What a strategy means for a name that is taken or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Continue with this strategy.
    Proceed(Strategy),
    /// Ask first.
    Ask,
    /// Fail.
    Refuse,
}

fn plan(strategy: Strategy, exists: bool) -> Plan {
    match (strategy, exists) {
        (Strategy::Prompt, false) => Plan::Proceed(Strategy::Merge),
        (Strategy::Prompt, true) => Plan::Ask,
        (Strategy::Abort, true) => Plan::Refuse,
        (Strategy::Overwrite | Strategy::Merge | Strategy::Abort, _) => Plan::Proceed(strategy),
    }
}

/// Resolves what to do about an image that already has the name, before anything is built.
///
/// # Errors
///
/// If the name is taken and the strategy or the user refuses that, or no user can be asked.
pub fn resolve_strategy(
    ctx: &Context,
    store: &dyn Store,
    name: &Reference,
    strategy: Strategy,
) -> Result<Strategy, Error> {
    let exists = store.find(name)?.is_some();
    match plan(strategy, exists) {
        Plan::Proceed(strategy) => Ok(strategy),
        Plan::Refuse => Err(Error::Exists(name.to_string())),
        Plan::Ask => {
            let lines = ["abort", "overwrite", "merge"].map(str::to_owned);
            let question = format!("The image {name} already exists. What should happen to it?");
            match ctx.ask.select(&question, &lines)? {
                Some(0) => Err(Error::Exists(name.to_string())),
                Some(1) => Ok(Strategy::Overwrite),
                Some(_) => Ok(Strategy::Merge),
                None => Err(Error::NoPrompt(name.to_string())),
            }
        }
    }
}

/// Packs all parts and tags the index with the name. Returns the index.
pub fn assemble(
    ctx: &Context,
    store: &dyn Store,
    package: &Package,
    parts: Vec<Part>,
) -> Result<Descriptor, Error> {
    let cover = Cover {
        name: package.name.clone(),
        writer: env!("CARGO_PKG_VERSION").to_owned(),
        created: created(ctx)?,
    };
    let lease = store.lease()?;
    let mut worker = LayerPacker {
        ctx,
        store,
        lease: &*lease,
        packed: BTreeMap::new(),
        progress: ctx.progress(),
    };
    let mut manifests = Vec::new();
    for part in parts {
        let mut layers = Vec::new();
        for layer in &part.layers {
            layers.push(worker.layer(layer)?);
        }
        let packed = cover.pack(part.platform, part.run, layers);
        store_document(&*lease, &packed.config, &package.name)?;
        store_document(&*lease, &packed.manifest, &package.name)?;
        manifests.push(packed.manifest.descriptor);
    }
    loop {
        let there = match package.strategy {
            Strategy::Merge => store.find(&package.name)?.map(|named| named.target),
            Strategy::Overwrite | Strategy::Abort | Strategy::Prompt => None,
        };
        let existing = match &there {
            Some(target) => existing_entries(store, target)?,
            None => Vec::new(),
        };
        let mut entries = package::merge(&existing, &manifests);
        if package.linux {
            add_linux(store, &*lease, &cover, &package.engines, &mut entries)?;
        }
        let index = cover.index(&entries);
        store_document(&*lease, &index, &package.name)?;
        let expect = match (package.strategy, there) {
            (Strategy::Merge, Some(target)) => Expect::This(target.digest),
            (Strategy::Merge | Strategy::Abort, None) => Expect::Nothing,
            _ => Expect::Anything,
        };
        match store.tag(&package.name, &index.descriptor, &expect) {
            Ok(()) => {
                worker.progress.close(&format!("packaged {}", package.name));
                return Ok(index.descriptor);
            }
            // Another process packaged an image under the same name meanwhile: merge with that.
            Err(store::Error::Moved(_)) if package.strategy == Strategy::Merge => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the creation time of the image: a fixed one, so that the digest depends on the content
/// alone.
fn created(ctx: &Context) -> Result<Timestamp, Error> {
    let seconds = epoch::read(&ctx.env)?.unwrap_or(0);
    Timestamp::from_second(i64::from(seconds)).map_err(Error::Time)
}

fn store_document(
    lease: &dyn Lease,
    document: &package::Written,
    name: &Reference,
) -> Result<(), Error> {
    let descriptor = &document.descriptor;
    store::put(lease, &descriptor.media_type, &document.bytes, Some(name))?;
    Ok(())
}

/// Returns the entries of the image that has the name, unchanged except for wrong sizes and for
/// indexes inside it, which are replaced by their entries; a single manifest is one entry.
fn existing_entries(store: &dyn Store, target: &Descriptor) -> Result<Vec<Value>, Error> {
    entries_below(store, target, DEEPEST)
}

fn entries_below(
    store: &dyn Store,
    target: &Descriptor,
    depth: usize,
) -> Result<Vec<Value>, Error> {
    let bytes = store::read(store, target)?;
    let document = Document::parse(&target.media_type, &bytes).map_err(Error::Merge)?;
    let entries = match document {
        Document::Index(_) => {
            package::entries_of(&bytes).map_err(|error| Error::Merge(BadDocument::Json(error)))?
        }
        Document::Manifest(manifest) => {
            let mut entry = target.clone();
            entry.annotations = manifest.annotations;
            entry.platform = manifest.config.platform;
            return Ok(vec![serde_json::to_value(entry).unwrap_or_default()]);
        }
    };
    let mut all = Vec::new();
    for mut entry in entries {
        let Ok(descriptor) = serde_json::from_value::<Descriptor>(entry.clone()) else {
            continue;
        };
        let stored = store.size(&descriptor.digest)?;
        if media::is_index(&descriptor.media_type) && stored.is_some() && depth > 1 {
            for mut inner in entries_below(store, &descriptor, depth - 1)? {
                if package::platform_of(&inner).is_none()
                    && let (Some(platform), Some(fields)) =
                        (entry.get("platform"), inner.as_object_mut())
                {
                    fields.insert("platform".to_owned(), platform.clone());
                }
                all.push(inner);
            }
            continue;
        }
        if let (Some(size), Some(fields)) = (stored, entry.as_object_mut()) {
            fields.insert("size".to_owned(), size.into());
        }
        all.push(entry);
    }
    Ok(all)
}

/// Gives every architecture its manifest for engines of containers, over the layers of the
/// platform that stands for it.
fn add_linux(
    store: &dyn Store,
    lease: &dyn Lease,
    cover: &Cover,
    engines: &[linux::Engine],
    entries: &mut Vec<Value>,
) -> Result<(), Error> {
    let mut best: BTreeMap<&str, (usize, Descriptor)> = BTreeMap::new();
    for entry in entries.iter() {
        let (Some(platform), Ok(descriptor)) = (
            package::platform_of(entry),
            serde_json::from_value::<Descriptor>(entry.clone()),
        ) else {
            continue;
        };
        let Some(arch) = package::linux_arch(&platform.architecture) else {
            continue;
        };
        let rank = package::rank(&platform.os);
        let better = best.get(arch).is_none_or(|(other, _)| rank < *other);
        if platform.is_unikernel() && better {
            best.insert(arch, (rank, descriptor));
        }
    }
    let mut sides = Vec::new();
    for (_, descriptor) in best.into_values() {
        // Of a platform that was not pulled, nothing is known: its side stays as it is.
        if store.size(&descriptor.digest)?.is_none() {
            continue;
        }
        let mut manifest = kraft_oci::listing::manifest(store, &descriptor)?;
        let config = store::config(store, &manifest.config)?;
        let is_for = |engine| engines.contains(&engine);
        if is_for(linux::Engine::Urunc) && linux::urunc_monitor(&config.platform).is_none() {
            return Err(Error::Urunc(config.platform.os));
        }
        if is_for(linux::Engine::Kubevirt) {
            let mut layers = Vec::new();
            for layer in &manifest.layers {
                let owned = layer::repack(store, lease, layer, linux::KUBEVIRT_USER);
                layers.extend(owned.map_err(|error| Error::Kubevirt(Box::new(error)))?);
            }
            manifest.layers = layers;
        }
        if let Some((side, layer)) = cover.pack_linux(&manifest, &config, engines) {
            store::put(lease, media::LAYER, &layer, None)?;
            store_document(lease, &side.config, &cover.name)?;
            store_document(lease, &side.manifest, &cover.name)?;
            sides.push(side.manifest.descriptor);
        }
    }
    *entries = package::merge(entries, &sides);
    // Unikernels first, in their own order; then the others.
    entries.sort_by_key(|entry| package::platform_of(entry).is_none_or(|p| !p.is_unikernel()));
    Ok(())
}

/// Packs layers, each file once.
struct LayerPacker<'a> {
    ctx: &'a Context,
    store: &'a dyn Store,
    lease: &'a dyn Lease,
    packed: BTreeMap<(Role, PathBuf), Descriptor>,
    progress: Progress,
}

impl LayerPacker<'_> {
    fn layer(&mut self, layer: &Layer) -> Result<Descriptor, Error> {
        let (role, path) = match layer {
            Layer::Stored(descriptor) => return self.stored(descriptor),
            Layer::File(role, path) => (*role, path),
            Layer::Rootfs(path) => (Role::Initrd, path),
        };
        let key = (role, path.clone());
        if let Some(packed) = self.packed.get(&key) {
            return Ok(packed.clone());
        }
        let packed = match layer {
            Layer::Rootfs(path) => self.rootfs(path)?,
            Layer::File(..) | Layer::Stored(_) => self.file(role, path, path)?,
        };
        self.packed.insert(key, packed.clone());
        Ok(packed)
    }

    /// Leases a layer that is already in the store.
    fn stored(&self, layer: &Descriptor) -> Result<Descriptor, Error> {
        self.lease.keep(&[&layer.digest])?;
        if self.store.size(&layer.digest)?.is_none() {
            let digest = layer.digest.clone();
            let source = Damage::Missing;
            return Err(store::Error::Damaged { digest, source }.into());
        }
        Ok(layer.clone())
    }

    /// Packs a root filesystem: an archive as it is, anything else by way of a new archive.
    fn rootfs(&mut self, path: &Path) -> Result<Descriptor, Error> {
        let source = Source::detect(path)?;
        if let Source::Cpio(archive) = &source {
            kraft_rootfs::verify(archive)?;
            return self.file(Role::Initrd, archive, path);
        }
        let built = rootfs::build_temporary(self.ctx, &source)?;
        self.file(Role::Initrd, &built.archive, path)
    }

    fn file(&self, role: Role, path: &Path, shown: &Path) -> Result<Descriptor, Error> {
        let opened = |source| Error::Read {
            path: shown.to_owned(),
            source,
        };
        let mut file = fs::open_file(path)
            .map_err(io::Error::from)
            .map_err(opened)?;
        let metadata = file.metadata().map_err(opened)?;
        if !metadata.is_file() {
            return Err(Error::NotAFile(shown.to_owned()));
        }
        let executable = role != Role::Initrd && metadata.permissions().mode() & 0o111 != 0;
        let size = metadata.len();
        let what = format!("packing {}", shown.display());
        let packed = self.progress.run(what, Some(size), |task| {
            let mut report = |done| task.advanced(done);
            layer::pack(self.lease, role, executable, &mut file, size, &mut report)
        });
        packed.map_err(|source| Error::Pack {
            path: shown.to_owned(),
            source: Box::new(source),
        })
    }
}

/// Returns the parts of a manifest that a package on top of it is made from: its layers without
/// the root filesystem that is replaced, and without debug information if that is not wanted.
pub fn layers_below(manifest: &Manifest, new_rootfs: bool, debug: bool) -> Vec<Layer> {
    manifest
        .layers
        .iter()
        .filter(|layer| match Role::of_layer(layer) {
            Some(Role::Initrd) => !new_rootfs,
            Some(Role::KernelDebug) => debug,
            Some(Role::Kernel) | None => true,
        })
        .map(|layer| Layer::Stored(Box::new(layer.clone())))
        .collect()
}

/// Returns the options that a platform implies, as they stand among the features of an image.
pub fn implied_features(os: &str, arch: &str) -> Vec<String> {
    let mut features = Vec::new();
    match arch {
        "x86_64" => features.push("CONFIG_ARCH_X86_64=y"),
        "arm64" => features.push("CONFIG_ARCH_ARM_64=y"),
        "arm" => features.push("CONFIG_ARCH_ARM_32=y"),
        _ => {}
    }
    match os {
        "qemu" => features.extend(["CONFIG_KVM_VMM_QEMU=y", "CONFIG_PLAT_KVM=y"]),
        "fc" => features.extend(["CONFIG_KVM_VMM_FIRECRACKER=y", "CONFIG_PLAT_KVM=y"]),
        "xen" => features.push("CONFIG_PLAT_XEN=y"),
        _ => {}
    }
    features.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images;
    use crate::testing::{Script, context, image};

    #[test]
    fn a_strategy_decides_by_whether_the_name_is_taken() {
        for (strategy, free, taken) in [
            (
                Strategy::Overwrite,
                Plan::Proceed(Strategy::Overwrite),
                Plan::Proceed(Strategy::Overwrite),
            ),
            (
                Strategy::Merge,
                Plan::Proceed(Strategy::Merge),
                Plan::Proceed(Strategy::Merge),
            ),
            (
                Strategy::Abort,
                Plan::Proceed(Strategy::Abort),
                Plan::Refuse,
            ),
            (Strategy::Prompt, Plan::Proceed(Strategy::Merge), Plan::Ask),
        ] {
            assert_eq!(plan(strategy, false), free, "{strategy:?}");
            assert_eq!(plan(strategy, true), taken, "{strategy:?}");
        }
    }

    #[test]
    fn the_answer_to_the_prompt_is_the_strategy() {
        let home = tempfile::tempdir().unwrap();
        let name = "a.example/app:1";
        for (answers, expected) in [
            (&[0][..], Err("already exists")),
            (&[1], Ok(Strategy::Overwrite)),
            (&[2], Ok(Strategy::Merge)),
            (&[], Err("no terminal")),
        ] {
            let ctx = context(home.path(), &Script::choosing(answers));
            let store = images::open(&ctx).unwrap();
            image(&ctx, &*store, name, &["qemu/x86_64"]);
            let name = name.parse().unwrap();
            match (
                resolve_strategy(&ctx, &*store, &name, Strategy::Prompt),
                expected,
            ) {
                (Ok(strategy), Ok(expected)) => assert_eq!(strategy, expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (resolved, _) => panic!("{answers:?}: {resolved:?}"),
            }
        }
    }

    #[test]
    fn a_merge_keeps_other_platforms_and_an_overwrite_does_not() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let store = images::open(&ctx).unwrap();
        for (strategy, expected) in [
            (Strategy::Merge, vec!["fc/x86_64", "qemu/x86_64"]),
            (Strategy::Overwrite, vec!["qemu/x86_64"]),
        ] {
            let existing = image(&ctx, &*store, "a.example/app:1", &["fc/x86_64"]);
            assert_eq!(platforms(&*store, &existing), ["fc/x86_64"]);
            let package = Package {
                name: "a.example/app:1".parse().unwrap(),
                strategy,
                linux: false,
                engines: Vec::new(),
            };
            let part = Part {
                platform: Platform {
                    os: "qemu".to_owned(),
                    architecture: "x86_64".to_owned(),
                    ..Platform::default()
                },
                layers: Vec::new(),
                run: RunConfig::default(),
                made: None,
            };
            let index = assemble(&ctx, &*store, &package, vec![part]).unwrap();
            assert_eq!(platforms(&*store, &index), expected, "{strategy:?}");
        }
    }

    fn platforms(store: &dyn Store, index: &Descriptor) -> Vec<String> {
        let candidates = kraft_oci::listing::candidates_of(store, index).unwrap();
        let mut pairs: Vec<String> = candidates.iter().map(|one| one.platform.pair()).collect();
        pairs.sort();
        pairs
    }
}
