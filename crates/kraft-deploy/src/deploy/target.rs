//! The target of a deployment: an image of the platform, a project, or a root filesystem.

use std::path::Path;

use kraft_cloud::resources::images::Image;
use kraft_engine::components;
use kraft_engine::context::Context;
use kraft_engine::project::{self, Project};
use kraft_engine::workplace::{self, Workplace};

use crate::cloud::Cloud;
use crate::naming;

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The argument is neither a directory nor the name of an image.
    #[error("`{0}` is not a directory")]
    NotADirectory(String),
    /// The argument is not a directory, and the platform has no such image.
    #[error("`{0}` is not a directory, and the platform has no image of that name")]
    NotFound(String),
    /// Without an argument: the current directory contains no project.
    #[error("there is nothing to deploy in this directory")]
    Nothing,
    /// The image cannot be looked up.
    #[error(transparent)]
    Image(#[from] naming::Error),
    /// The project cannot be read.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The template of the project cannot be used.
    #[error(transparent)]
    Components(#[from] components::Error),
    /// The directory of the project cannot be used.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
}

/// What is deployed.
#[derive(Debug)]
pub enum DeployTarget {
    /// An image of the platform.
    Image {
        /// The image.
        image: Box<Image>,
        /// Arguments of its application.
        args: Vec<String>,
    },
    /// A project; `None` deploys the root filesystem of the options.
    Project {
        /// The project.
        project: Option<Box<Project>>,
        /// Arguments of its application.
        args: Vec<String>,
    },
}

/// The kind of a target, where several are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// An image of the platform.
    Image,
    /// A project that runs on an image.
    KraftfileRuntime,
    /// A project that is built from source.
    KraftfileUnikraft,
    /// A root filesystem, or a Dockerfile without a Kraftfile.
    Rootfs,
}

/// Options that select a target.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetOptions<'a> {
    /// Positional arguments: the target, and arguments of its application.
    pub positional: &'a [String],
    /// Arguments of the application after `--`.
    pub more: &'a [String],
    /// The directory of the project.
    pub workdir: Option<&'a Path>,
    /// The Kraftfile.
    pub kraftfile: Option<&'a Path>,
    /// The image to run on.
    pub runtime: Option<&'a str>,
    /// The root filesystem.
    pub rootfs: Option<&'a Path>,
    /// The kind of the target, if it is given.
    pub kind: Option<TargetKind>,
    /// Whether nothing is sent to the platform.
    pub dry_run: bool,
}

/// What the positional arguments select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selection<'a> {
    /// An image of the platform.
    Image { name: &'a str, args: &'a [String] },
    /// A directory.
    Directory { path: &'a Path, args: &'a [String] },
    /// Nothing: the current directory, or that of `--workdir`.
    Default,
    /// An argument that must be a directory and is not.
    NotADirectory { name: &'a str },
}

/// Resolves the target of a deployment.
///
/// The first argument is the directory of a project, or else an image of the platform; without
/// arguments it is the project of the current directory. So a typing error in a name never deploys
/// something else.
///
/// # Errors
///
/// If there is no such directory or image, or the project has errors.
pub fn resolve(
    ctx: &Context,
    cloud: &Cloud,
    options: TargetOptions<'_>,
) -> Result<DeployTarget, Error> {
    let (dir, args) = match select(options, Path::is_dir) {
        Selection::Image { name, args } => {
            return Ok(DeployTarget::Image {
                image: Box::new(image(cloud, name, options.dry_run)?),
                args: [args, options.more].concat(),
            });
        }
        Selection::NotADirectory { name } => return Err(Error::NotADirectory(name.to_owned())),
        Selection::Directory { path, args } => (Some(path), args),
        Selection::Default => (options.workdir, [].as_slice()),
    };
    let project = project_at(ctx, dir, options)?;
    if project.is_none() && options.rootfs.is_none() {
        return Err(Error::Nothing);
    }
    Ok(DeployTarget::Project {
        project: project.map(Box::new),
        args: [args, options.more].concat(),
    })
}

/// Decides what the positional arguments select.
fn select(options: TargetOptions<'_>, is_dir: impl Fn(&Path) -> bool) -> Selection<'_> {
    let Some((name, args)) = options.positional.split_first() else {
        return Selection::Default;
    };
    let path = Path::new(name);
    let is_image = match options.kind {
        Some(TargetKind::Image) => true,
        Some(TargetKind::KraftfileRuntime | TargetKind::KraftfileUnikraft | TargetKind::Rootfs) => {
            false
        }
        None => !is_dir(path) && !name.starts_with(['-', '/', '.', '~']),
    };
    if is_image {
        Selection::Image { name, args }
    } else if is_dir(path) {
        Selection::Directory { path, args }
    } else {
        Selection::NotADirectory { name }
    }
}

/// Returns the image of a name; a dry run does not look it up.
fn image(cloud: &Cloud, name: &str, dry_run: bool) -> Result<Image, Error> {
    if dry_run {
        return Ok(Image {
            digest: naming::platform_name(cloud.account(), name)?,
            ..Image::default()
        });
    }
    naming::find(cloud, name).map_err(|error| match error {
        naming::Error::NotFound(_) => Error::NotFound(name.to_owned()),
        error => error.into(),
    })
}

/// Returns the project in a directory; `None` if there is none of the requested kind.
fn project_at(
    ctx: &Context,
    dir: Option<&Path>,
    options: TargetOptions<'_>,
) -> Result<Option<Project>, Error> {
    if options.kind == Some(TargetKind::Image) {
        return Ok(None);
    }
    let read = project::open_or_lone(ctx, dir, options.kraftfile, options.runtime)?;
    let Some(project) = read else {
        return Ok(None);
    };
    if !is_of_kind(options.kind, project.file.is_some(), project.has_runtime()) {
        return Ok(None);
    }
    let workplace = Workplace::find(ctx, &project)?;
    let complete = components::complete(ctx, project, &workplace)?;
    Ok(Some(complete))
}

/// Returns whether a project, which has a Kraftfile or not and names a runtime or not, is of a kind.
fn is_of_kind(kind: Option<TargetKind>, has_kraftfile: bool, has_runtime: bool) -> bool {
    match kind {
        None | Some(TargetKind::Image) => true,
        Some(TargetKind::KraftfileRuntime) => has_runtime,
        Some(TargetKind::KraftfileUnikraft) => !has_runtime,
        Some(TargetKind::Rootfs) => !has_kraftfile || has_runtime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(positional: &[&str], kind: Option<TargetKind>) -> String {
        let positional: Vec<String> = positional.iter().map(|&text| text.to_owned()).collect();
        let options = TargetOptions {
            positional: &positional,
            kind,
            ..TargetOptions::default()
        };
        // The only directory is `shop`.
        match select(options, |path| path == Path::new("shop")) {
            Selection::Image { name, args } => format!("image {name} {}", args.join(" ")),
            Selection::Directory { path, args } => {
                format!("directory {} {}", path.display(), args.join(" "))
            }
            Selection::Default => "default".to_owned(),
            Selection::NotADirectory { name } => format!("not a directory {name}"),
        }
    }

    #[test]
    fn the_first_argument_is_a_directory_or_an_image() {
        let (image, source) = (TargetKind::Image, TargetKind::KraftfileUnikraft);
        for (positional, kind, expected) in [
            (&[][..], None, "default"),
            (&["shop"][..], None, "directory shop "),
            (&["shop", "a", "b"][..], None, "directory shop a b"),
            (&["nginx:latest", "-v"][..], None, "image nginx:latest -v"),
            (&["shop"][..], Some(image), "image shop "),
            (&["shop"][..], Some(source), "directory shop "),
            (&["shpo"][..], Some(source), "not a directory shpo"),
            (&["./shpo"][..], None, "not a directory ./shpo"),
            (&["/srv/shpo"][..], None, "not a directory /srv/shpo"),
            (&["~/shpo"][..], None, "not a directory ~/shpo"),
            (&["-x"][..], None, "not a directory -x"),
        ] {
            assert_eq!(selected(positional, kind), expected, "{positional:?}");
        }
    }

    #[test]
    fn the_kind_of_a_project_follows_from_its_kraftfile() {
        let (runtime, source, rootfs) = (
            TargetKind::KraftfileRuntime,
            TargetKind::KraftfileUnikraft,
            TargetKind::Rootfs,
        );
        // kind, has a Kraftfile, names a runtime, fits
        for (kind, has_kraftfile, has_runtime, fits) in [
            (None, true, false, true),
            (Some(runtime), true, true, true),
            (Some(runtime), true, false, false),
            (Some(source), true, false, true),
            (Some(source), true, true, false),
            (Some(rootfs), true, true, true),
            (Some(rootfs), true, false, false),
            (Some(rootfs), false, true, true),
        ] {
            assert_eq!(
                is_of_kind(kind, has_kraftfile, has_runtime),
                fits,
                "{kind:?}"
            );
        }
    }
}
