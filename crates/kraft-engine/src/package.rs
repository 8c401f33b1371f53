//! What `kraft pkg` does: from kernels and root filesystems on disk, or a runtime in the store, to
//! an image with a name.
//!
//! ```text
//! flags, Kraftfile ─ plan ─► Parts (per platform: layers still to be packed) ─ assemble ─► index ─► name
//! ```

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use kraft_core::event::{Event, Reporter};
use kraft_core::reference::Reference;
use kraft_oci::digest::Damage;
use kraft_oci::image::{DEEPEST, Descriptor, Document, Manifest, Platform, RunConfig, media};
use kraft_oci::layer::{self, Role};
use kraft_oci::package::{self, Cover};
use kraft_oci::store::{self, Expect, Hold, Store};
use kraft_rootfs::Source;
use kraft_sys::fs;
use serde_json::Value;

use super::dockerfile::BuildOutput;
use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;

/// What happens to an image that has the name already.
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

/// One manifest that is to be made.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it runs on.
    pub platform: Platform,
    /// What it is made of, lowest first.
    pub layers: Vec<Layer>,
    /// How it is run.
    pub run: RunConfig,
    /// Keeps the root filesystem among its layers, if that was made for it.
    pub made: Option<Arc<BuildOutput>>,
}

/// One layer of a manifest that is to be made.
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
    /// What to do about an image of that name.
    pub strategy: Strategy,
    /// Whether engines of containers are to take it as well.
    pub linux: bool,
}

/// Decides what to do about an image that has the name already: before anything costs time.
pub fn settle(
    ctx: &Context,
    store: &dyn Store,
    name: &Reference,
    strategy: Strategy,
) -> Result<Strategy, Failure> {
    let exists = store.find(name)?.is_some();
    let strategy = match strategy {
        Strategy::Prompt if !exists => Strategy::Merge,
        Strategy::Prompt => {
            let lines = ["abort", "overwrite", "merge"].map(str::to_owned);
            let question = format!("The image {name} exists. How shall it go on?");
            match ctx.select(&question, &lines)? {
                Some(0) => Strategy::Abort,
                Some(1) => Strategy::Overwrite,
                Some(_) => Strategy::Merge,
                None => {
                    return Err(Failure::usage(format!(
                        "the image `{name}` exists, and nobody can be asked what to do about it"
                    ))
                    .hint(
                        "say it: `--strategy overwrite`, `--strategy merge` or `--strategy abort`",
                    ));
                }
            }
        }
        other => other,
    };
    if strategy == Strategy::Abort && exists {
        return Err(
            Failure::new(Kind::Failed, format!("the image `{name}` exists already"))
                .hint("`--strategy merge` adds to it, `--strategy overwrite` replaces it"),
        );
    }
    Ok(strategy)
}

/// Packs everything and gives it its name. Returns the index.
pub fn assemble(
    ctx: &Context,
    store: &dyn Store,
    package: &Package,
    parts: Vec<Part>,
) -> Result<Descriptor, Failure> {
    let cover = Cover {
        name: package.name.clone(),
        writer: env!("CARGO_PKG_VERSION").to_owned(),
        created: created(ctx)?,
    };
    let hold = store.hold()?;
    let mut bench = Bench {
        ctx,
        store,
        hold: &*hold,
        packed: BTreeMap::new(),
        progress: ctx.progress(),
    };
    let mut manifests = Vec::new();
    for part in parts {
        let mut layers = Vec::new();
        for layer in &part.layers {
            layers.push(bench.layer(layer)?);
        }
        let packed = cover.pack(part.platform, part.run, layers);
        store_document(&*hold, &packed.config, &package.name)?;
        store_document(&*hold, &packed.manifest, &package.name)?;
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
            add_linux(store, &*hold, &cover, &mut entries)?;
        }
        let index = cover.index(&entries);
        store_document(&*hold, &index, &package.name)?;
        let expect = match (package.strategy, there) {
            (Strategy::Merge, Some(target)) => Expect::This(target.digest),
            (Strategy::Merge | Strategy::Abort, None) => Expect::Nothing,
            _ => Expect::Anything,
        };
        match store.tag(&package.name, &index.descriptor, &expect) {
            Ok(()) => {
                bench.progress.close(&format!("packaged {}", package.name));
                return Ok(index.descriptor);
            }
            // Somebody packaged something under the same name meanwhile: merge with that.
            Err(store::Error::Moved(_)) if package.strategy == Strategy::Merge => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the time that the image says it was made at: a fixed one, so that the digest tells the
/// content and nothing else.
fn created(ctx: &Context) -> Result<Timestamp, Failure> {
    let seconds = crate::epoch::read(&ctx.env)?.unwrap_or(0);
    Timestamp::from_second(i64::from(seconds)).map_err(|error| Failure::new(Kind::Failed, error))
}

fn store_document(
    hold: &dyn Hold,
    document: &package::Written,
    name: &Reference,
) -> Result<(), Failure> {
    let descriptor = &document.descriptor;
    store::put(hold, &descriptor.media_type, &document.bytes, Some(name))?;
    Ok(())
}

/// Returns the entries of what has the name, to the letter but for sizes that are stated wrongly and
/// for indexes inside it, whose entries stand in their place; a lone manifest is one entry.
fn existing_entries(store: &dyn Store, target: &Descriptor) -> Result<Vec<Value>, Failure> {
    entries_below(store, target, DEEPEST)
}

fn entries_below(
    store: &dyn Store,
    target: &Descriptor,
    depth: usize,
) -> Result<Vec<Value>, Failure> {
    let bytes = store::read(store, target)?;
    let document = Document::parse(&target.media_type, &bytes).map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("the image cannot be merged with: {error}"),
        )
    })?;
    let entries = match document {
        Document::Index(_) => {
            package::entries_of(&bytes).map_err(|error| Failure::new(Kind::Failed, error))?
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
    hold: &dyn Hold,
    cover: &Cover,
    entries: &mut Vec<Value>,
) -> Result<(), Failure> {
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
        let manifest = kraft_oci::listing::manifest(store, &descriptor)?;
        let config = store::config(store, &manifest.config)?;
        if let Some(side) = cover.pack_linux(&manifest, &config) {
            store_document(hold, &side.config, &cover.name)?;
            store_document(hold, &side.manifest, &cover.name)?;
            sides.push(side.manifest.descriptor);
        }
    }
    *entries = package::merge(entries, &sides);
    // Unikernels first, in their own order; then the others.
    entries.sort_by_key(|entry| package::platform_of(entry).is_none_or(|p| !p.is_unikernel()));
    Ok(())
}

/// Packs layers, each file once.
struct Bench<'a> {
    ctx: &'a Context,
    store: &'a dyn Store,
    hold: &'a dyn Hold,
    packed: BTreeMap<(Role, PathBuf), Descriptor>,
    progress: Progress,
}

impl Bench<'_> {
    fn layer(&mut self, layer: &Layer) -> Result<Descriptor, Failure> {
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

    /// Keeps a layer that is here already.
    fn stored(&self, layer: &Descriptor) -> Result<Descriptor, Failure> {
        self.hold.keep(&[&layer.digest])?;
        if self.store.size(&layer.digest)?.is_none() {
            let digest = layer.digest.clone();
            let source = Damage::Missing;
            return Err(store::Error::Damaged { digest, source }.into());
        }
        Ok(layer.clone())
    }

    /// Packs a root filesystem: an archive as it is, anything else by way of a new archive.
    fn rootfs(&mut self, path: &Path) -> Result<Descriptor, Failure> {
        let source = Source::detect(path)?;
        if let Source::Cpio(archive) = &source {
            kraft_rootfs::verify(archive)?;
            return self.file(Role::Initrd, archive, path);
        }
        let built = super::rootfs::build_temporary(self.ctx, &source)?;
        self.file(Role::Initrd, &built.archive, path)
    }

    fn file(&self, role: Role, path: &Path, shown: &Path) -> Result<Descriptor, Failure> {
        let opened = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Failed,
            };
            Failure::new(kind, format!("cannot read `{}`: {error}", shown.display()))
        };
        let mut file = fs::open_file(path)
            .map_err(io::Error::from)
            .map_err(opened)?;
        let metadata = file.metadata().map_err(opened)?;
        if !metadata.is_file() {
            return Err(Failure::usage(format!(
                "`{}` is not a file",
                shown.display()
            )));
        }
        let executable = role != Role::Initrd && metadata.permissions().mode() & 0o111 != 0;
        let task = 2 + self.packed.len() as u64;
        self.progress.report(Event::Started {
            task,
            what: format!("packing {}", shown.display()),
            total: Some(metadata.len()),
        });
        let packed = layer::pack(
            self.hold,
            role,
            executable,
            &mut file,
            metadata.len(),
            &mut |done| self.progress.report(Event::Advanced { task, done }),
        );
        self.progress.report(match packed {
            Ok(_) => Event::Finished { task },
            Err(_) => Event::Failed { task },
        });
        packed.map_err(|error| {
            let failure = Failure::from(error);
            failure.about(&format!("cannot package `{}`", shown.display()))
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
