//! List and remove images of the platform's registry.
//!
//! ```
//! use kraft_cloud::resources::images::Image;
//! use kraft_deploy::images::{has_account, name, versions};
//!
//! let image = Image {
//!     digest: format!("anna/web@sha256:{}", "0a".repeat(32)),
//!     tags: vec!["anna/web:v1".to_owned(), "anna/web:latest".to_owned()],
//!     ..Image::default()
//! };
//! assert_eq!(name(&image), "anna/web");
//! assert_eq!(versions(&image), "v1, latest");
//! assert!(has_account(&image));
//! ```

use kraft_cloud::resources::images::{self, Image};
use kraft_core::reference::{Digest, Reference, ReferenceError};
use kraft_engine::context::Context;
use kraft_engine::network;
use kraft_oci::registry::{self, ErrorKind, Registry};

use crate::cloud::Cloud;
use crate::naming;

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be one of the platform.
    #[error(transparent)]
    Name(#[from] naming::Error),
    /// The name is not a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The registry has no such image.
    #[error("`{registry}` has no image `{name}`")]
    NotFound {
        /// The host of the registry.
        registry: String,
        /// The name of the image there.
        name: String,
    },
    /// The registry client cannot be made.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The registry refuses the request.
    #[error(transparent)]
    Registry(registry::Error),
}

/// Returns the name of an image without its version.
pub fn name(image: &Image) -> String {
    image
        .reference()
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
    let digest = image
        .reference()
        .rsplit_once(':')
        .map_or("", |(_, hex)| hex);
    digest.chars().take(7).collect()
}

/// Returns whether an image belongs to an account: the platform's own images belong to none.
pub fn has_account(image: &Image) -> bool {
    name(image).contains('/')
}

/// Returns the names of all images of the account, by digest.
///
/// # Errors
///
/// If the platform cannot be reached or refuses the request.
pub fn own(cloud: &Cloud) -> Result<Vec<String>, crate::RequestError> {
    let prefix = format!("{}/", cloud.account().name());
    let all = cloud.all(&images::list())?;
    let own = all.iter().map(|image| image.reference().to_owned());
    Ok(own.filter(|digest| digest.starts_with(&prefix)).collect())
}

/// Removes a pin, given by its UUID.
///
/// # Errors
///
/// If the platform cannot be reached or refuses, does not have it, or ignores what a request selects.
pub fn unpin(cloud: &Cloud, uuid: &str) -> Result<(), crate::RequestError> {
    // No image, or the refusal of one.
    if let Err(error) = cloud.send(&images::look_up_none())
        && !matches!(
            error,
            crate::RequestError::Platform(kraft_cloud::Error::Status { status: 404, .. })
        )
    {
        return Err(error);
    }
    cloud.one(&images::unpin(uuid))?;
    Ok(())
}

/// Removes an image from the platform's registry: the version in the name, else all versions.
///
/// # Errors
///
/// If the name is invalid, or the registry does not have it or refuses.
pub fn remove(ctx: &Context, cloud: &Cloud, image: &str) -> Result<(), Error> {
    let path = naming::platform_name(cloud.account(), image)?;
    let path = if path.contains('/') {
        path
    } else {
        format!("{}/{path}", cloud.account().name())
    };
    let name: Reference = format!("{}/{path}", cloud.registry()).parse()?;
    let network = cloud.account().network(ctx)?;
    let registry = &network.registry;
    let whole = image.parse::<Reference>()?;
    let whole = whole.tag().is_none() && whole.digest().is_none();
    let removed = network.run(async {
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
        Ok::<_, registry::Error>(true)
    });
    let not_found = || Error::NotFound {
        registry: cloud.registry().to_owned(),
        name: path.clone(),
    };
    match removed {
        Ok(true) => Ok(()),
        Ok(false) => Err(not_found()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(not_found()),
        Err(error) => Err(Error::Registry(error)),
    }
}

/// Returns the digests of every tag of a repository, each once.
async fn versions_of(
    registry: &Registry,
    name: &Reference,
) -> Result<Vec<Digest>, registry::Error> {
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
) -> Result<Option<Digest>, registry::Error> {
    if let Some(digest) = name.digest() {
        return Ok(Some(digest.clone()));
    }
    Ok(registry.head(name).await?.and_then(|head| head.digest))
}
