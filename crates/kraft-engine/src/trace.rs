//! What an artefact was made from, written beside it: so that it is not made again for nothing.

use std::path::Path;

use kraft_build::state::Product;
use kraft_build::trees;
use kraft_sys::fs;

use crate::context::Context;
use crate::failure::Failure;

/// A trace is not longer than this, in bytes.
const LARGEST: u64 = 4096;

/// The trace of an artefact is beside it, under its name with this ending.
const ENDING: &str = ".from";

/// Returns the fingerprint of a root filesystem's source: nothing in it is read.
pub(crate) fn of_rootfs(ctx: &Context, source: &Path) -> Result<String, Failure> {
    let epoch = ctx.env.text("SOURCE_DATE_EPOCH").unwrap_or_default();
    let print = if source.is_dir() {
        trees::look(&[source], &[])?.all
    } else {
        let product = Product::of(source).map_err(fs::Error::on("look at", source))?;
        format!("{product:?}")
    };
    let version = env!("CARGO_PKG_VERSION");
    Ok(trees::of_texts([
        version.as_bytes(),
        epoch.as_bytes(),
        print.as_bytes(),
    ]))
}

/// Returns whether an artefact is there, whole, and made from this.
pub(crate) fn is_current(artefact: &Path, print: &str) -> bool {
    let Ok(product) = Product::of(artefact) else {
        return false;
    };
    fs::read_file(&fs::beside(artefact, ENDING), LARGEST)
        .is_ok_and(|found| found == text(print, &product).as_bytes())
}

/// Remembers what an artefact was made from.
pub(crate) fn keep(artefact: &Path, print: &str) -> Result<(), Failure> {
    let product = Product::of(artefact).map_err(fs::Error::on("look at", artefact))?;
    Ok(fs::replace_file(
        &fs::beside(artefact, ENDING),
        text(print, &product).as_bytes(),
    )?)
}

fn text(print: &str, product: &Product) -> String {
    format!("{print} {} {}\n", product.size, product.time)
}
