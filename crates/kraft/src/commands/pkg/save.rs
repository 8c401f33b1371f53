//! `kraft pkg save`.

use std::path::{Path, PathBuf};

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
    let has_end = |path: &Path, end: &str| path.extension().is_some_and(|own| own == end);
    let path = args.output.as_path();
    // KraftKit compat: `.tar.gz` is the name in its example.
    let stem = path.file_stem().map(Path::new);
    let is_compressed = has_end(path, "gz") && stem.is_some_and(|stem| has_end(stem, "tar"));
    let to_tar = (is_compressed || has_end(path, "tar")) && !path.is_dir();
    if is_compressed && to_tar {
        let path = path.display();
        app.ui
            .warn(&format!("`{path}` is not compressed: `gzip` does that"));
    }
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
