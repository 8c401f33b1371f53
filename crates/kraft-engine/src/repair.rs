//! Repairs a store: removes damaged blobs and pulls the images that need them again.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::{images, repair};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().to_owned();
//! let store = images::open(&context)?;
//! let damaged = kraft_oci::store::verify::verify(&*store, &|_| {})?.damaged;
//! repair::repair(&context, &store, &damaged)?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use kraft_core::reference::Reference;
use kraft_oci::choose::PlatformFilter;
use kraft_oci::digest::Damage;
use kraft_oci::store::verify::DamagedBlob;
use kraft_oci::store::{self, Store};

use super::transfer::{self, Extent};
use crate::context::Context;

/// An image that stays damaged, because it cannot be pulled again.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch `{image}` again")]
pub struct Unrepaired {
    /// The image.
    pub image: Reference,
    /// Why it cannot be pulled.
    pub source: transfer::Error,
}

/// Repairs what can be repaired, and returns an error for each image that stays damaged.
///
/// # Errors
///
/// If a damaged blob cannot be removed.
pub fn repair(
    ctx: &Context,
    store: &Arc<dyn Store>,
    damaged: &[DamagedBlob],
) -> Result<Vec<Unrepaired>, store::Error> {
    let mut images = BTreeSet::new();
    let lost: Vec<_> = damaged.iter().map(|blob| blob.digest.clone()).collect();
    for blob in damaged {
        // An unusable document was pulled as it is: pulling it again would not help.
        if !matches!(blob.damage, Damage::Missing | Damage::Unusable(_)) {
            tracing::debug!(digest = %blob.digest, "removing a damaged blob");
            store.discard(&blob.digest)?;
        }
        images.extend(&blob.images);
    }
    let mut unrepaired = Vec::new();
    for name in images {
        tracing::debug!(%name, "pulling a damaged image again");
        let pulled = transfer::pull(
            ctx,
            store,
            name,
            &PlatformFilter::default(),
            Extent::Restore(&lost),
        );
        if let Err(source) = pulled {
            unrepaired.push(Unrepaired {
                image: name.clone(),
                source,
            });
        }
    }
    Ok(unrepaired)
}
