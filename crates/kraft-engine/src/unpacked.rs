//! The files of an image, unpacked where a machine can boot from them.

use std::path::PathBuf;

use kraft_oci::layer::LayerError;
use kraft_oci::store::Store;
use kraft_oci::unpack::{self, Unpacked};

use super::images;
use super::obtain::Obtained;
use crate::context::Context;

/// Why the files of an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be unpacked.
    #[error("cannot unpack the image `{image}`")]
    Unpack {
        /// The image.
        image: String,
        /// Why not.
        source: Box<LayerError>,
    },
    /// The image has no kernel.
    #[error("the image `{0}` has no kernel")]
    NoKernel(String),
}

/// Unpacks the files of an image that are not unpacked yet.
///
/// # Errors
///
/// If a layer is damaged, or its files cannot be written.
pub fn unpack(ctx: &Context, store: &dyn Store, image: &Obtained) -> Result<Unpacked, Error> {
    let dir = images::unpacked_dir(ctx);
    let _span = tracing::debug_span!("unpack", image = %image.name).entered();
    unpack::unpack(store, &image.manifest, &image.config, &dir).map_err(|source| Error::Unpack {
        image: image.name.to_string(),
        source: Box::new(source),
    })
}

/// Returns the kernel of an image.
///
/// # Errors
///
/// If the image has none.
pub fn kernel(image: &Obtained, unpacked: &Unpacked) -> Result<PathBuf, Error> {
    let kernel = unpacked.kernel.clone();
    kernel.ok_or_else(|| Error::NoKernel(image.name.to_string()))
}
