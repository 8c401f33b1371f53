//! `kraft pkg load`.

use std::path::PathBuf;

use kraft_oci::{archive, listing};

use super::pack::full_name;
use crate::app::App;
use crate::failure::Failure;
use kraft_engine::images;

/// Import images from a file or a directory
///
/// The source is an OCI image layout, as a directory or a tar, as written by `kraft pkg save`,
/// skopeo and podman. Prints the names of the images.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg load -i hello.tar")]
pub(crate) struct Args {
    /// Read this tar or directory
    #[arg(short, long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    input: PathBuf,

    /// Set the name of the image; the layout must have exactly one image
    #[arg(short, long, value_name = "IMAGE")]
    name: Option<String>,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let name = args.name.as_deref().map(full_name).transpose()?;
    let store = images::open(app)?;
    let progress = app.progress();
    let what = format!("loading {}", args.input.display());
    let loaded = progress.run(what, None, |_| {
        archive::load(&args.input, name.as_ref(), &*store)
    })?;
    images::warn_misstated(app, &loaded.misstated);
    for name in &loaded.names {
        app.ui.line(&name.to_string())?;
        if let Some(named) = store.find(name)?
            && listing::candidates_of(&*store, &named.target)?.is_empty()
        {
            app.ui.info(&format!(
                "`{name}` does not contain a unikernel: `kraft pkg ls` does not list it, and a Dockerfile can \
                 be based on it"
            ));
        }
    }
    progress.close(&format!("loaded {}", args.input.display()));
    Ok(())
}
