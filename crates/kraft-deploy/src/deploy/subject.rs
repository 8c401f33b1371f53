//! What the user points at: an image of the platform, a project, or a root filesystem.

use std::path::Path;

use kraft_cloud::resources::images::Image;

use super::super::naming;
use super::Cloud;
use kraft_engine::components;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::project::{self, Project};
use kraft_engine::workplace::Workplace;

/// What is deployed.
#[derive(Debug)]
pub enum Subject {
    /// An image that the platform has.
    Image {
        /// The image.
        image: Box<Image>,
        /// The arguments of its application.
        words: Vec<String>,
    },
    /// A project; without one, what was typed about the root filesystem is all.
    Project {
        /// The project.
        project: Option<Box<Project>>,
        /// The arguments of its application.
        words: Vec<String>,
    },
}

/// What a subject is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// An image of the platform
    Image,
    /// A project that runs on an image
    KraftfileRuntime,
    /// A project that is built from source
    KraftfileUnikraft,
    /// A root filesystem, or a Dockerfile without a Kraftfile
    Rootfs,
}

/// How a subject is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The words that were typed: what is deployed, and arguments behind it.
    pub words: &'a [String],
    /// The arguments of the application that were typed as such.
    pub more: &'a [String],
    /// The directory of the project.
    pub workdir: Option<&'a Path>,
    /// The Kraftfile that was named.
    pub kraftfile: Option<&'a Path>,
    /// The image that was typed to run on.
    pub runtime: Option<&'a str>,
    /// The root filesystem that was typed.
    pub rootfs: Option<&'a Path>,
    /// What it is to be taken for.
    pub taken_as: Option<As>,
    /// Whether the platform is not asked for images: nothing is sent.
    pub dry: bool,
}

/// Finds out what is meant.
///
/// The first word is the directory of a project, or else an image of the platform; without a word it
/// is what there is in the current directory. So a name that is mistyped deploys nothing else.
pub fn find(ctx: &Context, cloud: &Cloud, look: Look<'_>) -> Result<Subject, Failure> {
    let args = |words: &[String]| [words, look.more].concat();
    let (dir, words) = match look.words.split_first() {
        Some((first, rest)) if is_image(first, look) => {
            return Ok(Subject::Image {
                image: Box::new(image_of(cloud, first, look)?),
                words: args(rest),
            });
        }
        Some((first, rest)) => {
            if !Path::new(first).is_dir() {
                return Err(
                    Failure::new(Kind::NotFound, format!("`{first}` is no directory")).hint(AFTER),
                );
            }
            (Some(Path::new(first)), rest)
        }
        None => (look.workdir, [].as_slice()),
    };
    let project = project_at(ctx, dir, look)?;
    if project.is_none() && look.rootfs.is_none() {
        return Err(Failure::usage("there is nothing to deploy here").hint(
            "go to the directory of a project, name it, or name an image of the platform: \
             `kraft cloud deploy WHAT`",
        ));
    }
    Ok(Subject::Project {
        project: project.map(Box::new),
        words: args(words),
    })
}

/// Where arguments are typed.
const AFTER: &str = "what is deployed comes first; arguments of its application come after `--`";

/// Returns whether a word is the name of an image.
fn is_image(word: &str, look: Look<'_>) -> bool {
    match look.taken_as {
        Some(As::Image) => true,
        Some(_) => false,
        None => !Path::new(word).is_dir() && !word.starts_with(['-', '/', '.', '~']),
    }
}

/// Returns the image that a word names.
fn image_of(cloud: &Cloud, word: &str, look: Look<'_>) -> Result<Image, Failure> {
    if look.dry {
        return Ok(Image {
            digest: naming::of_platform(cloud, word)?,
            ..Image::default()
        });
    }
    naming::find(cloud, word).map_err(|failure| match failure.kind {
        Kind::NotFound => Failure::new(
            Kind::NotFound,
            format!("`{word}` is no directory, and the platform has no image of that name"),
        )
        .hint("`kraft cloud image list --all` tells which there are")
        .hint(AFTER),
        _ => failure,
    })
}

/// Returns the project in a directory, if there is one that may be meant.
fn project_at(
    ctx: &Context,
    dir: Option<&Path>,
    look: Look<'_>,
) -> Result<Option<Project>, Failure> {
    if look.taken_as == Some(As::Image) {
        return Ok(None);
    }
    let read = project::open_or_lone(ctx, dir, look.kraftfile, look.runtime)?;
    let Some(project) = read else {
        return Ok(None);
    };
    let has_runtime = project.has_runtime();
    let is = match look.taken_as {
        None | Some(As::Image) => true,
        Some(As::KraftfileRuntime) => has_runtime,
        Some(As::KraftfileUnikraft) => !has_runtime,
        Some(As::Rootfs) => project.file.is_none() || has_runtime,
    };
    if !is {
        return Ok(None);
    }
    let workplace = Workplace::find(ctx, &project)?;
    components::complete(ctx, project, &workplace).map(Some)
}
