//! Images of containers: from the store, else from their registry.

use std::sync::Arc;

use kraft_core::reference::{Digest, Reference};
use kraft_oci::choose::for_linux;
use kraft_oci::image::{Descriptor, Manifest};
use kraft_oci::store::leaves::leaves;
use kraft_oci::store::{self, Hold, Store};
use kraft_oci::{layer, listing, pull};
use kraft_rootfs::Layer;
use kraft_rootfs::dockerfile::{Image, Images};

use crate::context::Context;
use crate::failure::{Failure, Kind, chain};
use crate::images;
use crate::network::Network;

/// An image that is here, for one architecture.
#[derive(Debug)]
pub(super) struct Base {
    store: Arc<dyn Store>,
    name: Reference,
    descriptor: Descriptor,
    manifest: Manifest,
    /// Its configuration: the JSON document.
    pub(super) config: Vec<u8>,
    diff_ids: Vec<Digest>,
    /// Keeps it.
    _hold: Box<dyn Hold>,
}

impl Base {
    /// Returns the digest of its manifest.
    pub(super) fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// Opens a layer by its number, the lowest is 0; `None` behind the last. One that cannot be
    /// opened is one that cannot be read.
    pub(super) fn layer(&self, number: usize) -> Option<Layer<'static>> {
        let descriptor = self.manifest.layers.get(number)?;
        let name = format!("layer {} of {}", descriptor.digest.short(), self.name);
        let tar = layer::open(&*self.store, descriptor, self.diff_ids.get(number));
        Some(Layer {
            name: name.into(),
            tar: tar.unwrap_or_else(|error| Box::new(Unreadable(chain(&error)))),
        })
    }
}

/// A layer that could not be opened.
struct Unreadable(String);

impl std::io::Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other(self.0.clone()))
    }
}

/// Returns the name of an image as Dockerfiles mean it: without a host it is Docker Hub's.
pub(super) fn docker_name(name: &str) -> Result<Reference, Failure> {
    Ok(docker_full_name(name).parse::<Reference>()?.qualified())
}

/// Returns the name of an image with the registry that Docker takes it from.
pub(super) fn docker_full_name(name: &str) -> String {
    let host = name.split_once('/').map_or("", |(host, _)| host);
    let has_host = host == "localhost" || host.contains('.') || host.contains(':');
    if has_host {
        name.to_owned()
    } else if name.contains('/') {
        format!("docker.io/{name}")
    } else {
        format!("docker.io/library/{name}")
    }
}

/// Finds an image for Linux here, or pulls it.
pub(super) fn obtain(ctx: &Context, name: &Reference, arch: &str) -> Result<Base, Failure> {
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
    base.ok_or_else(|| nothing_for(&full, arch))
}

fn nothing_for(name: &Reference, arch: &str) -> Failure {
    Failure::new(
        Kind::NotFound,
        format!("the image `{name}` has nothing for linux/{arch}"),
    )
}

/// Returns the manifest for Linux of an image in the store, if it is whole.
fn in_store(
    store: &Arc<dyn Store>,
    name: &Reference,
    target: &Descriptor,
    arch: &str,
) -> Result<Option<Base>, Failure> {
    let hold = store.hold()?;
    hold.keep(&[&target.digest])?;
    let manifests = leaves(&**store, target)?;
    let Some(&descriptor) = for_linux(&manifests, arch).first() else {
        return Ok(None);
    };
    hold.keep(&[&descriptor.digest])?;
    if store.size(&descriptor.digest)?.is_none() {
        return Ok(None);
    }
    let manifest = listing::manifest(&**store, descriptor)?;
    let blobs: Vec<&Digest> = manifest.blobs().map(|blob| &blob.digest).collect();
    hold.keep(&blobs)?;
    for blob in &blobs {
        if store.size(blob)?.is_none() {
            return Ok(None);
        }
    }
    let config = store::read(&**store, &manifest.config)?;
    let parsed = kraft_oci::image::Config::parse(&config).map_err(|error| {
        Failure::new(Kind::Failed, error)
            .about(&format!("the configuration of `{name}` cannot be used"))
            .hint(format!("`kraft pkg rm {name}` removes the image"))
    })?;
    Ok(Some(Base {
        store: Arc::clone(store),
        name: name.clone(),
        descriptor: descriptor.clone(),
        diff_ids: parsed.rootfs.diff_ids.unwrap_or_default(),
        manifest,
        config,
        _hold: hold,
    }))
}

fn fetch(
    ctx: &Context,
    store: &Arc<dyn Store>,
    name: &Reference,
    arch: &str,
) -> Result<(), Failure> {
    let network = Network::open(ctx)?;
    ctx.info(&format!("pulling {name} for linux/{arch}"));
    let (remote, manifests) = network.run(async {
        let remote = pull::look(&network.registry, name).await?;
        let manifests = remote.manifests(&network.registry, name).await?;
        Ok::<_, pull::PullError>((remote, manifests))
    })?;
    let chosen = for_linux(&manifests, arch).first().copied().cloned();
    let chosen = [chosen.ok_or_else(|| nothing_for(name, arch))?];
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

/// Asks what an image is now: in the store, else, unless `here_only`, at its registry; `None` where
/// nobody can tell.
pub(super) fn digest_now(ctx: &Context, name: &str, here_only: bool) -> Option<String> {
    let typed: Reference = name.parse().ok()?;
    let store = images::open(ctx).ok()?;
    if let Ok(Some(found)) = images::look_up(&*store, &typed) {
        return Some(found.named.target.digest.to_string());
    }
    if here_only || ctx.settings.offline {
        return None;
    }
    let full = docker_name(name).ok()?;
    let network = Network::open(ctx).ok()?;
    let asking = async {
        let patience = std::time::Duration::from_secs(3);
        tokio::time::timeout(patience, network.registry.head(&full)).await
    };
    let head = network.run(asking).ok()?.ok()??;
    head.digest.map(|digest| digest.to_string())
}

/// Images for our own executor.
#[derive(Debug)]
pub(super) struct Shelf<'a> {
    pub(super) ctx: &'a Context,
}

impl Images for Shelf<'_> {
    fn image(
        &self,
        name: &str,
        architecture: &str,
    ) -> Result<Image<'_>, Box<dyn std::error::Error + Send + Sync>> {
        let told = |failure: Failure| failure.message.sentences().join(": ");
        let base = self.find(name, architecture).map_err(told)?;
        let config = base.config.clone();
        let mut numbers = 0..;
        Ok(Image {
            id: base.digest().to_string(),
            config,
            layers: Box::new(move || base.layer(numbers.next()?)),
        })
    }
}

impl Shelf<'_> {
    /// One of the store under the name as it stands, else Docker's meaning of the name.
    fn find(&self, name: &str, arch: &str) -> Result<Base, Failure> {
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
