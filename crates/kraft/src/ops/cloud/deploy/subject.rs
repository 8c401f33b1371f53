//! What the user points at: an image of the platform, a project, or a root filesystem.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use kraft_cloud::resources::images::Image;
use kraft_core::reference::Reference;

use super::super::naming;
use super::Cloud;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ops::components;
use crate::ops::project::{self, Project};
use crate::ops::workplace::Workplace;

/// What is deployed.
#[derive(Debug)]
pub(crate) enum Subject {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum As {
    /// An image of the platform
    #[value(alias = "image-name")]
    Image,
    /// A project that runs on an image
    #[value(alias = "runtime")]
    KraftfileRuntime,
    /// A project that is built from source
    #[value(alias = "unikraft")]
    KraftfileUnikraft,
    /// A root filesystem, or a Dockerfile without a Kraftfile
    Rootfs,
}

/// How a subject is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<'a> {
    /// The words that were typed.
    pub(crate) words: &'a [String],
    /// The directory of the project.
    pub(crate) workdir: Option<&'a Path>,
    /// The Kraftfile that was named.
    pub(crate) kraftfile: Option<&'a Path>,
    /// The image that was typed to run on.
    pub(crate) runtime: Option<&'a str>,
    /// The root filesystem that was typed.
    pub(crate) rootfs: Option<&'a Path>,
    /// What it is to be taken for.
    pub(crate) taken_as: Option<As>,
    /// Whether the platform is not asked for images: nothing is sent.
    pub(crate) dry: bool,
}

/// Finds out what is meant.
///
/// A first word that is a directory is that of the project; one that the platform has an image of
/// is that image. If both an image and a project could be meant, the user decides.
pub(crate) fn find(app: &App, cloud: &Cloud, look: Look<'_>) -> Result<Subject, Failure> {
    let (dir, words) = match look.words.split_first() {
        Some((first, rest)) if Path::new(first).is_dir() => (Some(PathBuf::from(first)), rest),
        _ => (look.workdir.map(Path::to_owned), look.words),
    };
    let project = project_at(app, dir.as_deref(), look)?;
    let image = match words.split_first() {
        Some((first, rest)) if dir.is_none() || look.workdir.is_some() => {
            image_of(cloud, first, look, project.is_some())?.map(|image| (image, rest))
        }
        _ => None,
    };
    let project_subject = |project| Subject::Project {
        project,
        words: words.to_vec(),
    };
    match (image, project) {
        (Some((image, rest)), None) => Ok(Subject::Image {
            image: Box::new(image),
            words: rest.to_vec(),
        }),
        (Some((image, rest)), Some(project)) => {
            if asked_for_image(app, &image)? {
                return Ok(Subject::Image {
                    image: Box::new(image),
                    words: rest.to_vec(),
                });
            }
            Ok(project_subject(Some(Box::new(project))))
        }
        (None, Some(project)) => Ok(project_subject(Some(Box::new(project)))),
        (None, None) if look.rootfs.is_some() => Ok(project_subject(None)),
        (None, None) => Err(nothing(words.first())),
    }
}

fn nothing(word: Option<&String>) -> Failure {
    let failure = match word {
        Some(word) => Failure::new(
            Kind::NotFound,
            format!("`{word}` is no directory, and the platform has no image of that name"),
        ),
        None => Failure::usage("there is nothing to deploy here"),
    };
    failure.hint(
        "go to the directory of a project, name it, or name an image of the platform: \
         `kraft cloud deploy WHAT`",
    )
}

/// Asks which of both is meant.
fn asked_for_image(app: &App, image: &Image) -> Result<bool, Failure> {
    let lines = [
        format!("the image {}", image.digest),
        "the project of this directory".to_owned(),
    ];
    match app.ui.select("What shall be deployed?", &lines)? {
        Some(at) => {
            app.ui.info("`--as` says it without being asked");
            Ok(at == 0)
        }
        None => Err(Failure::usage(
            "both an image of the platform and the project of this directory could be meant",
        )
        .hint("say which: `--as image`, or `--as kraftfile-runtime`")),
    }
}

/// Returns the image that a word names, if the platform has it.
fn image_of(
    cloud: &Cloud,
    word: &str,
    look: Look<'_>,
    in_project: bool,
) -> Result<Option<Image>, Failure> {
    let wanted = look.taken_as.is_none_or(|taken| taken == As::Image);
    let is_name = word.parse::<Reference>().is_ok() && !word.starts_with(['-', '/', '.', '~']);
    if !wanted || !is_name {
        return Ok(None);
    }
    if look.dry {
        // Nobody is asked: outside of a project it can be nothing else.
        let digest = naming::of_platform(cloud, word)?;
        return Ok((!in_project || look.taken_as.is_some()).then(|| Image {
            digest,
            ..Image::default()
        }));
    }
    match naming::find(cloud, word) {
        Ok(image) => Ok(Some(image)),
        // It may be an argument of the project's application.
        Err(failure)
            if look.taken_as.is_none()
                && in_project
                && matches!(failure.kind, Kind::NotFound | Kind::Usage) =>
        {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Returns the project in a directory, if there is one that may be meant.
fn project_at(app: &App, dir: Option<&Path>, look: Look<'_>) -> Result<Option<Project>, Failure> {
    if look.taken_as == Some(As::Image) {
        return Ok(None);
    }
    let read = project::read_or_lone(app, dir, look.kraftfile, look.runtime);
    let project = match read {
        Ok(project) => project::sound(app, project)?,
        Err(failure) if failure.kind == Kind::NotFound && look.kraftfile.is_none() => {
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    let kraftfile = project.kraftfile.as_ref();
    let has_runtime = kraftfile.is_some_and(|kraftfile| kraftfile.runtime.is_some());
    let is = match look.taken_as {
        None | Some(As::Image) => true,
        Some(As::KraftfileRuntime) => has_runtime,
        Some(As::KraftfileUnikraft) => !has_runtime,
        Some(As::Rootfs) => project.file.is_none() || has_runtime,
    };
    if !is {
        return Ok(None);
    }
    let workplace = Workplace::find(app, &project)?;
    components::complete(app, project, &workplace).map(Some)
}
