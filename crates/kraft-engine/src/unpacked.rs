//! The files of an image, where a machine can boot from them.

use std::path::PathBuf;

use kraft_oci::store::Store;
use kraft_oci::unpack::{self, Unpacked};

use super::images;
use super::obtain::Obtained;
use crate::context::Context;
use crate::failure::Failure;

/// Unpacks an image, as far as it is not unpacked yet.
pub fn unpack(ctx: &Context, store: &dyn Store, image: &Obtained) -> Result<Unpacked, Failure> {
    let dir = images::unpacked_dir(ctx);
    unpack::unpack(store, &image.manifest, &image.config, &dir).map_err(|error| {
        let failure = Failure::from(error);
        failure.about(&format!("cannot unpack the image `{}`", image.name))
    })
}

/// Returns the kernel of an image, or says that there is none.
pub fn kernel(image: &Obtained, unpacked: &Unpacked) -> Result<PathBuf, Failure> {
    unpacked.kernel.clone().ok_or_else(|| {
        Failure::new(
            crate::failure::Kind::Failed,
            format!("the image `{}` holds no kernel", image.name),
        )
        .hint("it may be an image for containers, or a root filesystem alone")
    })
}
