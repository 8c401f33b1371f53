//! `kraft pkg push`.

use std::path::{Path, PathBuf};

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::{images, project, transfer};

/// Push an image to its registry
///
/// The name of the image contains its registry; `kraft pkg tag` adds a name to an image. Blobs that
/// exist in the registry are not uploaded again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg push registry.example.com/me/hello:v1")]
pub(crate) struct Args {
    /// Image, by name, digest or prefix of the digest; or the directory of a project, whose image has
    /// the name of the project (default: the current directory)
    #[arg(value_name = "IMAGE")]
    image: Option<String>,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// Set the format of the package
    #[arg(short = 'M', long = "as", hide = true, default_value = "auto", value_parser = ["oci", "auto"])]
    format: String,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let image = args
        .image
        .as_ref()
        .filter(|image| !Path::new(image).is_dir());
    let found = if let Some(image) = image {
        images::find(app, &*store, image)?
    } else {
        let dir = args.image.as_deref().map(Path::new);
        let project = project::open(app, dir, args.kraftfile.as_deref())?;
        let name = project.kraftfile.project_name(&project.dir_name);
        images::find(app, &*store, &name).map_err(|error| {
            let hint = "package the project under its full name, and push that: `kraft pkg --name HOST/NAME --push`";
            Failure::from(error).hint(hint)
        })?
    };
    Ok(transfer::push(app, &store, &found.named.name)?)
}
