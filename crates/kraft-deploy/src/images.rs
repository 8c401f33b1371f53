//! Images of the platform: told apart, and removed from its registry.

use kraft_cloud::resources::images::{self, Image};
use kraft_core::reference::{Digest, Reference};
use kraft_oci::registry::{ErrorKind, Registry};

use super::{Cloud, account, naming};
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};

/// Returns the name of an image without its version.
pub fn name(image: &Image) -> String {
    image
        .digest
        .split('@')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Returns the tags of an image, or the first digits of its digest.
pub fn versions(image: &Image) -> String {
    let tags: Vec<&str> = image
        .tags
        .iter()
        .filter_map(|tag| tag.rsplit_once(':').map(|(_, tag)| tag))
        .collect();
    if !tags.is_empty() {
        return tags.join(", ");
    }
    let digest = image.digest.rsplit_once(':').map_or("", |(_, hex)| hex);
    digest.chars().take(7).collect()
}

/// Returns whether an image belongs to somebody, and not to all.
pub fn has_account(image: &Image) -> bool {
    name(image).contains('/')
}

/// Returns the names of all images of the account, by digest.
pub fn own(cloud: &Cloud) -> Result<Vec<String>, Failure> {
    let prefix = format!("{}/", cloud.token().account());
    let all = cloud.send(&images::list())?.all()?;
    let own = all.into_iter().map(|image| image.digest);
    Ok(own.filter(|digest| digest.starts_with(&prefix)).collect())
}

/// Removes an image from the platform's registry: the version that is named, else all.
pub fn remove(ctx: &Context, cloud: &Cloud, typed: &str) -> Result<(), Failure> {
    let path = naming::of_platform(cloud, typed)?;
    let path = if path.contains('/') {
        path
    } else {
        format!("{}/{path}", cloud.token().account())
    };
    let name: Reference = format!("{}/{path}", cloud.registry()).parse()?;
    let network = account::network(ctx, cloud)?;
    let registry = &network.registry;
    let whole = typed.parse::<Reference>()?;
    let whole = whole.tag().is_none() && whole.digest().is_none();
    let work = network.run(async {
        let digests = if whole {
            versions_of(registry, &name).await?
        } else {
            digest_of(registry, &name).await?.into_iter().collect()
        };
        if digests.is_empty() {
            return Ok(false);
        }
        for digest in digests {
            registry.delete_manifest(&name.with_digest(&digest)).await?;
        }
        Ok::<_, kraft_oci::registry::Error>(true)
    });
    match work {
        Ok(true) => Ok(()),
        Ok(false) => Err(gone(cloud, &path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(gone(cloud, &path)),
        Err(error) => Err(error.into()),
    }
}

fn gone(cloud: &Cloud, path: &str) -> Failure {
    Failure::new(
        Kind::NotFound,
        format!("`{}` has no image `{path}`", cloud.registry()),
    )
}

/// Returns the digests of every tag of a repository, each once.
async fn versions_of(
    registry: &Registry,
    name: &Reference,
) -> Result<Vec<Digest>, kraft_oci::registry::Error> {
    let mut digests = Vec::new();
    for tag in registry.tags(name).await? {
        let Ok(tagged) = format!("{}:{tag}", name.path()).parse::<Reference>() else {
            continue;
        };
        let digest = digest_of(registry, &tagged).await?;
        digests.extend(digest.filter(|digest| !digests.contains(digest)));
    }
    Ok(digests)
}

async fn digest_of(
    registry: &Registry,
    name: &Reference,
) -> Result<Option<Digest>, kraft_oci::registry::Error> {
    if let Some(digest) = name.digest() {
        return Ok(Some(digest.clone()));
    }
    Ok(registry.head(name).await?.and_then(|head| head.digest))
}
