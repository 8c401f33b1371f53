//! The files of an image, unpacked where a machine can boot from them.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_core::reference::Reference;
//! # use kraft_engine::context::{Context, NoPrompt};
//! # use kraft_engine::pack::{self, Order};
//! # use kraft_engine::package::{self, Package, Strategy};
//! use kraft_engine::{images, obtain, unpacked};
//! use kraft_oci::choose::PlatformFilter;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().join("runtime");
//! # let kernel = dir.path().join("kernel");
//! # let mut image = vec![0; 64];
//! # image[56..60].copy_from_slice(b"ARM\x64");
//! # std::fs::write(&kernel, &image)?;
//! # let store = images::open(&context)?;
//! # let name: Reference = "registry.example/hello:v1".parse()?;
//! # let strategy = Strategy::Abort;
//! # let package = Package { name: name.clone(), strategy, linux: false, engines: Vec::new() };
//! # let part = pack::of_kernel(&context, &Order::default(), &kernel)?;
//! # package::assemble(&context, &*store, &package, vec![part])?;
//! let found = images::find(&context, &*store, "registry.example/hello:v1")?;
//! let image = obtain::select(&context, &*store, &found, &PlatformFilter::default())?;
//! let files = unpacked::unpack(&context, &*store, &image)?;
//! assert_eq!(std::fs::read(unpacked::kernel(&image, &files)?)?, std::fs::read(&kernel)?);
//! # Ok(())
//! # }
//! ```

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
