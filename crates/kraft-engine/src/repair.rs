//! Heals a store: what is damaged is taken away, and the images that need it are fetched again.

use std::collections::BTreeSet;
use std::sync::Arc;

use kraft_oci::choose::Wish;
use kraft_oci::digest::Damage;
use kraft_oci::store::Store;
use kraft_oci::store::verify::Fault;

use super::transfer::{self, Extent};
use crate::context::Context;
use crate::failure::Failure;

/// Heals what can be healed; what cannot is told, and stays damaged.
pub fn repair(ctx: &Context, store: &Arc<dyn Store>, faults: &[Fault]) -> Result<(), Failure> {
    let mut images = BTreeSet::new();
    let lost: Vec<_> = faults.iter().map(|fault| fault.digest.clone()).collect();
    for fault in faults {
        // What makes no sense is what was stored: to fetch the same again would not help.
        if !matches!(fault.damage, Damage::Missing | Damage::Unusable(_)) {
            store.discard(&fault.digest)?;
        }
        images.extend(&fault.images);
    }
    for name in images {
        let healed = transfer::pull(ctx, store, name, &Wish::default(), Extent::Here(&lost));
        if let Err(failure) = healed {
            ctx.failure(&failure.about(&format!("cannot fetch `{name}` again")));
        }
    }
    Ok(())
}
