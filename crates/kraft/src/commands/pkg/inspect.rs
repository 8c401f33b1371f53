//! `kraft pkg inspect`.

use kraft_core::reference::{Digest, Reference};
use kraft_oci::image::{Config, Descriptor, Document, Manifest, Platform};
use kraft_oci::store::leaves::leaves;
use kraft_oci::store::{self, Store};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::DocumentFormat;
use kraft_engine::images;

/// Show details of an image
///
/// Show the stored digests, annotations, platforms, layers and configurations of an image. With
/// --raw, print the index itself, byte for byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: kraft pkg inspect unikraft.org/nginx:latest | jq '.manifests[].platform'")]
pub(crate) struct Args {
    /// Image, by name, digest or prefix of the digest
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    output: DocumentFormat,

    /// Print the stored index, or the manifest if its digest was given, byte for byte
    #[arg(long, conflicts_with = "output")]
    raw: bool,
}

/// An image; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Shown {
    name: Reference,
    media_type: String,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<String, String>,
    manifests: Vec<ShownManifest>,
}

#[derive(Debug, Serialize)]
struct ShownManifest {
    digest: Digest,
    size: u64,
    platform: Option<Platform>,
    annotations: BTreeMap<String, String>,
    /// Whether the manifest and all its blobs exist locally.
    here: bool,
    config: Option<ShownConfig>,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Serialize)]
struct ShownConfig {
    digest: Digest,
    size: u64,
    content: Config,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let found = images::find(app, &*store, &args.image)?;
    let target = &found.named.target;
    if args.raw {
        let bytes = match &found.manifest {
            None => store::read(&*store, target)?,
            Some(digest) => {
                let size = store.size(digest)?.unwrap_or_default();
                store::read(&*store, &Descriptor::new("", digest.clone(), size))?
            }
        };
        return app.ui.document(&bytes);
    }
    let annotations = match store::document(&*store, target)? {
        Document::Index(index) => index.annotations,
        Document::Manifest(manifest) => manifest.annotations,
    };
    let mut manifests = Vec::new();
    for child in leaves(&*store, target)? {
        if found
            .manifest
            .as_ref()
            .is_none_or(|meant| *meant == child.digest)
        {
            manifests.push(shown(&*store, child)?);
        }
    }
    if manifests.is_empty() && found.manifest.is_some() {
        return Err(Failure::new(
            Kind::NotFound,
            "the image has no such manifest",
        ));
    }
    let shown = Shown {
        name: found.named.name.clone(),
        media_type: target.media_type.clone(),
        digest: target.digest.clone(),
        size: target.size,
        annotations,
        manifests,
    };
    match args.output {
        DocumentFormat::Json => app.ui.json(&shown),
        DocumentFormat::Yaml => app.ui.yaml(&shown),
    }
}

fn shown(store: &dyn Store, entry: Descriptor) -> Result<ShownManifest, Failure> {
    // The size in an index may be wrong.
    let stored = store.size(&entry.digest)?;
    let manifest: Option<Manifest> = match stored {
        Some(_) => match store::document(store, &entry)? {
            Document::Manifest(manifest) => Some(manifest),
            Document::Index(_) => None,
        },
        None => None,
    };
    let config = match &manifest {
        Some(manifest) if store.size(&manifest.config.digest)?.is_some() => Some(ShownConfig {
            digest: manifest.config.digest.clone(),
            size: store
                .size(&manifest.config.digest)?
                .unwrap_or(manifest.config.size),
            content: store::config(store, &manifest.config)?,
        }),
        _ => None,
    };
    let platform = entry
        .platform
        .or_else(|| manifest.as_ref().and_then(|m| m.config.platform.clone()));
    Ok(ShownManifest {
        digest: entry.digest,
        size: stored.unwrap_or(entry.size),
        platform,
        annotations: match &manifest {
            Some(manifest) => manifest.annotations.clone(),
            None => entry.annotations,
        },
        here: manifest.is_some(),
        config,
        layers: manifest.map(|manifest| manifest.layers).unwrap_or_default(),
    })
}
