//! `kraft pkg save`.

use std::path::PathBuf;

use kraft_oci::archive;
use kraft_oci::store::Named;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::images;

/// Save images to a file or a directory
///
/// The result is an OCI image layout: a tar if the path ends in `.tar`, else a directory, which is
/// created or extended. `kraft pkg load`, skopeo and podman read it. Manifests of platforms that
/// were not pulled are omitted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg save hello:latest -o hello.tar")]
pub(crate) struct Args {
    /// Images, by name, digest or prefix of the digest
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// Write to this file (`.tar`) or directory
    #[arg(short, long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    output: PathBuf,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let mut images: Vec<Named> = Vec::new();
    for word in &args.images {
        let named = images::find(app, &*store, word)?.named;
        if !images.contains(&named) {
            images.push(named);
        }
    }
    let to_tar = args.output.extension().is_some_and(|end| end == "tar") && !args.output.is_dir();
    let progress = app.progress();
    let what = format!("writing {}", args.output.display());
    progress.run(what, None, |task| {
        if to_tar {
            let mut report = |done| task.advanced(done);
            archive::save_tar(&*store, &images, &args.output, &mut report)
        } else {
            archive::save_dir(&*store, &images, &args.output)
        }
    })?;
    progress.close(&format!("saved {}", args.output.display()));
    Ok(())
}
