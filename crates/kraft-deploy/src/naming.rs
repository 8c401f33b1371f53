//! Names of images on the platform, which have neither a host nor the prefix `official/`.
//!
//! ```text
//! nginx, official/nginx, unikraft.io/official/nginx      nginx:latest
//! anna/web:v1, index.unikraft.io/anna/web:v1             anna/web:v1
//! ```
//!
//! ```
//! use kraft_cloud::token::Token;
//! use kraft_deploy::account::Account;
//! use kraft_deploy::naming::{Error, platform_name};
//!
//! let account = Account {
//!     token: Token::of("anna", "secret")?,
//!     registry: "registry.example".to_owned(),
//!     account: None,
//! };
//! assert_eq!(platform_name(&account, "official/nginx")?, "nginx:latest");
//! assert_eq!(platform_name(&account, "registry.example/anna/web:v1")?, "anna/web:v1");
//! let other = platform_name(&account, "ghcr.io/other/nginx");
//! assert!(matches!(other, Err(Error::OtherRegistry { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::{Duration, Instant};

use kraft_cloud::ErrorKind;
use kraft_cloud::resources::images::{self, Image};
use kraft_core::reference::{DEFAULT_TAG, Reference, ReferenceError};
use kraft_engine::context::Context;

use crate::account::{Account, INDEX};
use crate::cloud::Cloud;
use crate::error::{Interrupted, RequestError};

/// Interval between two polls for a pushed image.
const PAUSE: Duration = Duration::from_millis(250);
/// The prefix of the platform's own images.
const OFFICIAL: &str = "official/";

/// Why an image is not on the platform.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is not a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The image is in another registry.
    #[error("the platform runs images from `{registry}`, and `{name}` is in `{host}`")]
    OtherRegistry {
        /// The name.
        name: String,
        /// The host in the name.
        host: String,
        /// The host of the platform's registry.
        registry: String,
        /// The name of the user's account there.
        account: String,
    },
    /// The platform has no image of that name.
    #[error("the platform has no image `{0}`")]
    NotFound(String),
    /// The platform does not list a pushed image in time.
    #[error("the platform does not list the image `{name}` after {limit:?}")]
    NotListed {
        /// The name.
        name: String,
        /// How long it was awaited.
        limit: Duration,
    },
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<Interrupted> for Error {
    fn from(error: Interrupted) -> Self {
        Self::Request(error.into())
    }
}

/// Returns the platform's name of an image.
///
/// # Errors
///
/// If the name is not a reference, or names another registry.
pub fn platform_name(account: &Account, image: &str) -> Result<String, Error> {
    let name: Reference = image.parse()?;
    let own = [INDEX, "unikraft.io", &account.registry];
    if let Some(host) = name.registry().filter(|host| !own.contains(host)) {
        return Err(Error::OtherRegistry {
            name: image.to_owned(),
            host: host.to_owned(),
            registry: account.registry.clone(),
            account: account.name().to_owned(),
        });
    }
    let path = name.repository();
    let path = path.strip_prefix(OFFICIAL).unwrap_or(path);
    Ok(match name.digest() {
        Some(digest) => format!("{path}@{digest}"),
        None => format!("{path}:{}", name.tag().unwrap_or(DEFAULT_TAG)),
    })
}

/// Finds an image on the platform. A name without an account is also looked up in the user's own
/// account.
///
/// # Errors
///
/// If the name is invalid, or the platform does not have the image or cannot be reached.
pub fn find(cloud: &Cloud, image: &str) -> Result<Image, Error> {
    let name = platform_name(cloud.account(), image)?;
    if let Some(image) = look_up(cloud, &name)? {
        return Ok(image);
    }
    let own = format!("{}/{name}", cloud.account().name());
    if !name.contains('/')
        && let Some(image) = look_up(cloud, &own)?
    {
        return Ok(image);
    }
    Err(Error::NotFound(name))
}

/// Looks up an image by the platform's name; `None` if the platform does not have it.
///
/// # Errors
///
/// If the platform cannot be reached or refuses the request.
pub fn look_up(cloud: &Cloud, name: &str) -> Result<Option<Image>, RequestError> {
    for item in cloud.send(&images::get(name))?.each() {
        match item {
            Ok(image) if matches(&image, name) => return Ok(Some(image)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Returns whether an image has a name: some platforms return all images.
fn matches(image: &Image, name: &str) -> bool {
    let bare = |text: &str| {
        let text = images::without_host(text);
        text.strip_prefix(OFFICIAL).unwrap_or(text).to_owned()
    };
    let same = |text: &str| bare(text) == bare(name);
    same(image.reference()) || image.tags.iter().any(|tag| same(tag))
}

/// Waits until the platform lists an image that was pushed.
///
/// # Errors
///
/// If it does not within the time limit, or a request fails.
pub fn wait(ctx: &Context, cloud: &Cloud, name: &str, limit: Duration) -> Result<Image, Error> {
    let until = Instant::now() + limit;
    let mut reported = false;
    loop {
        if let Some(image) = look_up(cloud, name)? {
            return Ok(image);
        }
        if Instant::now() >= until {
            return Err(Error::NotListed {
                name: name.to_owned(),
                limit,
            });
        }
        if !reported {
            ctx.info(&format!("waiting for the platform to list {name}"));
            reported = true;
        }
        cloud.pause(PAUSE)?;
    }
}

/// Returns the arguments of an instance: none if those of its image apply unchanged.
///
/// An entrypoint replaces the image's arguments; further arguments follow either.
#[must_use]
pub fn arguments(image: &Image, entrypoint: Option<&str>, more: &[String]) -> Vec<String> {
    if entrypoint.is_none() && more.is_empty() {
        return Vec::new();
    }
    let mut all = match entrypoint {
        Some(program) => vec![program.to_owned()],
        // Text that a shell cannot parse is split at spaces.
        None => image.arguments().unwrap_or_else(|text| {
            kraft_core::shell_words::split(text)
                .unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
        }),
    };
    all.extend_from_slice(more);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            token: kraft_cloud::token::Token::of("anna", "secret").unwrap(),
            registry: "registry.example".to_owned(),
            account: None,
        }
    }

    #[test]
    fn platform_names_have_no_host_and_no_official_prefix() {
        for (name, expected) in [
            ("nginx", "nginx:latest"),
            ("official/nginx", "nginx:latest"),
            ("unikraft.io/official/nginx:1.2", "nginx:1.2"),
            ("index.unikraft.io/anna/web:v1", "anna/web:v1"),
            ("registry.example/anna/web", "anna/web:latest"),
        ] {
            assert_eq!(platform_name(&account(), name).unwrap(), expected, "{name}");
        }
        assert!(matches!(
            platform_name(&account(), "ghcr.io/other/nginx"),
            Err(Error::OtherRegistry { host, .. }) if host == "ghcr.io"
        ));
        assert!(matches!(
            platform_name(&account(), "No Image"),
            Err(Error::Reference(_))
        ));
    }

    #[test]
    fn arguments_follow_those_of_the_image_or_the_entrypoint() {
        let image = Image {
            args: "/bin/web --root '/my files'".into(),
            ..Image::default()
        };
        // entrypoint, further arguments, arguments of the instance
        for (entrypoint, more, expected) in [
            (None, &[][..], &[][..]),
            (
                None,
                &["-v"][..],
                &["/bin/web", "--root", "/my files", "-v"][..],
            ),
            (Some("/bin/sh"), &["-v"][..], &["/bin/sh", "-v"][..]),
            (Some("/bin/sh"), &[][..], &["/bin/sh"][..]),
        ] {
            let more: Vec<String> = more.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(arguments(&image, entrypoint, &more), expected);
        }
    }
}
