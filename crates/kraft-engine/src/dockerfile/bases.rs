//! Images to build on: from the store, else from their registry.

use std::sync::Arc;

use kraft_core::error::chain;
use kraft_core::reference::{Digest, Reference, ReferenceError};
use kraft_oci::choose::for_linux;
use kraft_oci::image::{Config, Descriptor, Manifest};
use kraft_oci::store::leaves::leaves;
use kraft_oci::store::{self, Lease, Store};
use kraft_oci::{layer, listing, pull};
use kraft_rootfs::Layer;
use kraft_rootfs::dockerfile::{Image, Images};

use super::error::Error;
use super::names::docker_full_name;
use crate::context::Context;
use crate::images;
use crate::network::Network;

/// How long to wait for a registry that is asked for the digest of a base, in seconds.
const DIGEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

/// An image in the store, for one architecture.
#[derive(Debug)]
pub(super) struct Base {
    store: Arc<dyn Store>,
    name: Reference,
    descriptor: Descriptor,
    manifest: Manifest,
    /// Its configuration: the JSON document.
    pub(super) config: Vec<u8>,
    diff_ids: Vec<Digest>,
    /// Keeps its blobs from being removed.
    _lease: Box<dyn Lease>,
}

impl Base {
    /// Returns its name.
    pub(super) fn name(&self) -> &Reference {
        &self.name
    }

    /// Returns the digest of its manifest.
    pub(super) fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// Opens a layer by its number, the lowest is 0; `None` after the last. The error of a layer
    /// that cannot be opened is returned when it is read.
    pub(super) fn layer(&self, number: usize) -> Option<Layer<'static>> {
        let descriptor = self.manifest.layers.get(number)?;
        let name = format!("layer {} of {}", descriptor.digest.short(), self.name);
        let tar = layer::open(&*self.store, descriptor, self.diff_ids.get(number));
        Some(Layer {
            name: name.into(),
            tar: tar.unwrap_or_else(|error| Box::new(Unreadable(Some(error)))),
        })
    }
}

/// A layer that could not be opened: the first read returns the error.
struct Unreadable(Option<layer::LayerError>);

impl std::io::Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(match self.0.take() {
            Some(error) => std::io::Error::other(error),
            None => std::io::ErrorKind::UnexpectedEof.into(),
        })
    }
}

/// Returns the name of an image as Dockerfiles use it: without a host, it is Docker Hub's.
pub(super) fn docker_name(name: &str) -> Result<Reference, ReferenceError> {
    Ok(docker_full_name(name).parse::<Reference>()?.qualified())
}

/// Returns an image for Linux from the store, else pulls it. `arch` is as OCI names it.
pub(super) fn obtain(ctx: &Context, name: &Reference, arch: &str) -> Result<Base, Error> {
    let store = images::open(ctx)?;
    if let Some(found) = images::look_up(&*store, name)?
        && let Some(base) = in_store(&store, &found.named.name, &found.named.target, arch)?
    {
        return Ok(base);
    }
    let full = name.qualified();
    fetch(ctx, &store, &full, arch)?;
    let named = store.find(&full)?;
    let base = match named {
        Some(named) => in_store(&store, &named.name, &named.target, arch)?,
        None => None,
    };
    base.ok_or_else(|| no_manifest(&full, arch))
}

fn no_manifest(name: &Reference, arch: &str) -> Error {
    Error::NoManifest {
        name: name.clone(),
        arch: arch.to_owned(),
    }
}

/// Returns the manifest for Linux of an image in the store; `None` unless all its blobs are there.
fn in_store(
    store: &Arc<dyn Store>,
    name: &Reference,
    target: &Descriptor,
    arch: &str,
) -> Result<Option<Base>, Error> {
    let lease = store.lease()?;
    lease.keep(&[&target.digest])?;
    let manifests = leaves(&**store, target)?;
    let Some(&descriptor) = for_linux(&manifests, arch).first() else {
        return Ok(None);
    };
    lease.keep(&[&descriptor.digest])?;
    if store.size(&descriptor.digest)?.is_none() {
        return Ok(None);
    }
    let manifest = listing::manifest(&**store, descriptor)?;
    let blobs: Vec<&Digest> = manifest.blobs().map(|blob| &blob.digest).collect();
    lease.keep(&blobs)?;
    for blob in &blobs {
        if store.size(blob)?.is_none() {
            return Ok(None);
        }
    }
    let config = store::read(&**store, &manifest.config)?;
    let parsed = Config::parse(&config).map_err(|source| Error::ImageConfig {
        name: name.clone(),
        source,
    })?;
    Ok(Some(Base {
        store: Arc::clone(store),
        name: name.clone(),
        descriptor: descriptor.clone(),
        diff_ids: parsed.rootfs.diff_ids.unwrap_or_default(),
        manifest,
        config,
        _lease: lease,
    }))
}

fn fetch(ctx: &Context, store: &Arc<dyn Store>, name: &Reference, arch: &str) -> Result<(), Error> {
    let network = Network::open(ctx)?;
    ctx.info(&format!("pulling {name} for linux/{arch}"));
    let (remote, manifests) = network.run(async {
        let remote = pull::look(&network.registry, name).await?;
        let manifests = remote.manifests(&network.registry, name).await?;
        Ok::<_, pull::PullError>((remote, manifests))
    })?;
    let chosen = for_linux(&manifests, arch).first().copied().cloned();
    let chosen = [chosen.ok_or_else(|| no_manifest(name, arch))?];
    let progress = ctx.progress();
    let work = pull::pull(
        &network.registry,
        Arc::clone(store),
        name,
        &remote,
        &chosen,
        &progress,
    );
    if network.run(work)?.misstated > 0 {
        images::warn_misstated(ctx, [name]);
    }
    Ok(())
}

/// Returns the current digest of an image: from the store, else, unless `local_only`, from its
/// registry; `None` if neither has it.
pub(super) fn current_digest(ctx: &Context, name: &str, local_only: bool) -> Option<String> {
    let typed: Reference = name.parse().ok()?;
    let store = images::open(ctx).ok()?;
    if let Ok(Some(found)) = images::look_up(&*store, &typed) {
        return Some(found.named.target.digest.to_string());
    }
    if local_only || ctx.settings.offline {
        return None;
    }
    let full = docker_name(name).ok()?;
    let network = Network::open(ctx).ok()?;
    let head = async {
        let head = network.registry.head(&full);
        tokio::time::timeout(DIGEST_TIMEOUT, head).await
    };
    let head = network.run(head).ok()?.ok()??;
    head.digest.map(|digest| digest.to_string())
}

/// Images of the store and of registries, for kraft's own executor.
#[derive(Debug)]
pub(super) struct StoreImages<'a> {
    pub(super) ctx: &'a Context,
}

impl Images for StoreImages<'_> {
    fn image(
        &self,
        name: &str,
        architecture: &str,
    ) -> Result<Image<'_>, Box<dyn std::error::Error + Send + Sync>> {
        let base = self.find(name, architecture);
        let base = base.map_err(|error| chain(&error))?;
        let config = base.config.clone();
        let mut numbers = 0..;
        Ok(Image {
            id: base.digest().to_string(),
            config,
            layers: Box::new(move || base.layer(numbers.next()?)),
        })
    }
}

impl StoreImages<'_> {
    /// Returns the image of that name in the store, else the one that Docker would use.
    fn find(&self, name: &str, arch: &str) -> Result<Base, Error> {
        let typed: Reference = name.parse()?;
        let store = images::open(self.ctx)?;
        if let Some(found) = images::look_up(&*store, &typed)?
            && let Some(base) = in_store(&store, &found.named.name, &found.named.target, arch)?
        {
            return Ok(base);
        }
        obtain(self.ctx, &docker_name(name)?, arch)
    }
}
