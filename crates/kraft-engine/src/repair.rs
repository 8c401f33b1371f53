//! Repairs a store: removes damaged blobs and pulls the images that need them again.

use std::collections::BTreeSet;
use std::sync::Arc;

use kraft_oci::choose::Wish;
use kraft_oci::digest::Damage;
use kraft_oci::store::verify::Fault;
use kraft_oci::store::{self, Store};

use super::transfer::{self, Extent};
use crate::context::Context;
use crate::failure::Failure;

/// Repairs what can be repaired. An image that cannot be pulled is reported and stays damaged.
///
/// # Errors
///
/// If a damaged blob cannot be removed.
pub fn repair(ctx: &Context, store: &Arc<dyn Store>, faults: &[Fault]) -> Result<(), store::Error> {
    let mut images = BTreeSet::new();
    let lost: Vec<_> = faults.iter().map(|fault| fault.digest.clone()).collect();
    for fault in faults {
        // An unusable document was pulled as it is: pulling it again would not help.
        if !matches!(fault.damage, Damage::Missing | Damage::Unusable(_)) {
            tracing::debug!(digest = %fault.digest, "removing a damaged blob");
            store.discard(&fault.digest)?;
        }
        images.extend(&fault.images);
    }
    for name in images {
        let pulled = transfer::pull(ctx, store, name, &Wish::default(), Extent::Restore(&lost));
        if let Err(error) = pulled {
            let failure = Failure::from(error).about(&format!("cannot fetch `{name}` again"));
            ctx.failure(&failure);
        }
    }
    Ok(())
}
