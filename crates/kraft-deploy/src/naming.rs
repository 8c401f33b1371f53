//! Names of images on the platform, which knows neither hosts nor the word `official`.
//!
//! ```text
//! nginx, official/nginx, unikraft.io/official/nginx      nginx:latest
//! anna/web:v1, index.unikraft.io/anna/web:v1             anna/web:v1
//! ```

use std::time::{Duration, Instant};

use kraft_cloud::ErrorKind;
use kraft_cloud::resources::images::{self, Image};
use kraft_core::reference::{DEFAULT_TAG, Reference};

use super::Cloud;
use super::account::INDEX;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};

/// Between two looks at whether the platform knows an image.
const PAUSE: Duration = Duration::from_millis(250);
/// The account of images that belong to all.
const OFFICIAL: &str = "official/";

/// Returns the name that the platform has for an image.
pub fn of_platform(cloud: &Cloud, typed: &str) -> Result<String, Failure> {
    let name: Reference = typed.parse()?;
    let ours = [INDEX, "unikraft.io", cloud.registry()];
    if let Some(host) = name.registry().filter(|host| !ours.contains(host)) {
        return Err(Failure::usage(format!(
            "the platform takes images from `{}`, and `{typed}` is at `{host}`",
            cloud.registry()
        ))
        .hint(format!(
            "copy it there: `kraft pkg tag {typed} {}/{}/NAME`, then `kraft pkg push`",
            cloud.registry(),
            cloud.token().account()
        )));
    }
    let path = name.repository();
    let path = path.strip_prefix(OFFICIAL).unwrap_or(path);
    Ok(match name.digest() {
        Some(digest) => format!("{path}@{digest}"),
        None => format!("{path}:{}", name.tag().unwrap_or(DEFAULT_TAG)),
    })
}

/// Finds an image on the platform; one without an account may also be the user's own.
pub fn find(cloud: &Cloud, typed: &str) -> Result<Image, Failure> {
    let name = of_platform(cloud, typed)?;
    if let Some(image) = look(cloud, &name)? {
        return Ok(image);
    }
    let own = format!("{}/{name}", cloud.token().account());
    if !name.contains('/')
        && let Some(image) = look(cloud, &own)?
    {
        return Ok(image);
    }
    Err(Failure::new(
        Kind::NotFound,
        format!("the platform has no image `{name}`"),
    )
    .hint("`kraft cloud image list --all` tells which there are; `kraft cloud deploy` makes one"))
}

/// Looks for an image by the platform's name.
pub fn look(cloud: &Cloud, name: &str) -> Result<Option<Image>, Failure> {
    for item in cloud.send(&images::get(name))?.each() {
        match item {
            Ok(image) if fits(&image, name) => return Ok(Some(image)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Returns whether an answer is about what was asked: some platforms answer with everything.
fn fits(image: &Image, name: &str) -> bool {
    let bare = |text: &str| text.strip_prefix(OFFICIAL).unwrap_or(text).to_owned();
    let same = |text: &str| bare(text) == bare(name);
    same(&image.digest) || image.tags.iter().any(|tag| same(tag))
}

/// Waits until the platform knows an image that was pushed.
pub fn wait(ctx: &Context, cloud: &Cloud, name: &str, limit: Duration) -> Result<Image, Failure> {
    let until = Instant::now() + limit;
    let mut told = false;
    loop {
        if let Some(image) = look(cloud, name)? {
            return Ok(image);
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                Kind::NotFound,
                format!("the platform does not know the image `{name}` after {limit:?}"),
            )
            .hint("it may take a little: try again, or wait longer with `--timeout`"));
        }
        if !told {
            ctx.info(&format!("waiting for the platform to know {name}"));
            told = true;
        }
        cloud.pause(PAUSE)?;
    }
}

/// Returns the arguments of an instance: nothing where those of its image stand as they are.
pub fn arguments(image: &Image, entrypoint: Option<&str>, words: &[String]) -> Vec<String> {
    if entrypoint.is_none() && words.is_empty() {
        return Vec::new();
    }
    let mut all = match entrypoint {
        Some(program) => vec![program.to_owned()],
        // What is no line of a shell is split at blanks.
        None => kraft_core::words::split(&image.args)
            .unwrap_or_else(|_| image.args.split_whitespace().map(str::to_owned).collect()),
    };
    all.extend_from_slice(words);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_those_of_the_image_or_the_entrypoint() {
        let image = Image {
            args: "/bin/web --root '/my files'".to_owned(),
            ..Image::default()
        };
        let words = ["-v".to_owned()];
        assert!(arguments(&image, None, &[]).is_empty());
        assert_eq!(
            arguments(&image, None, &words),
            ["/bin/web", "--root", "/my files", "-v"]
        );
        assert_eq!(
            arguments(&image, Some("/bin/sh"), &words),
            ["/bin/sh", "-v"]
        );
    }
}
