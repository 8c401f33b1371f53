//! The instances of services: find them, remove them, and wait until there are none.
//!
//! ```no_run
//! use kraft_cloud::request::Id;
//! use kraft_deploy::services::wait_empty;
//! # fn example(
//! #     context: &kraft_engine::context::Context,
//! #     cloud: &kraft_deploy::Cloud,
//! # ) -> Result<(), kraft_deploy::RequestError> {
//! wait_empty(context, cloud, &[Id::new("web")])?;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use kraft_cloud::request::Id;
use kraft_cloud::resources::{self, Known, instances, services};
use kraft_engine::context::Context;

use crate::cloud::Cloud;
use crate::error::RequestError;

/// Interval between two polls.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until none of these services has an instance.
///
/// # Errors
///
/// If the platform cannot be reached, or the user interrupts the command.
pub fn wait_empty(ctx: &Context, cloud: &Cloud, ids: &[Id]) -> Result<(), RequestError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut reported = false;
    loop {
        let groups = cloud.all(&services::get(ids))?;
        let Some(busy) = groups.iter().find(|group| !group.instances.is_empty()) else {
            return Ok(());
        };
        if !reported {
            ctx.info(&format!("waiting until {} has no instances", busy.name));
            reported = true;
        }
        cloud.pause(PAUSE)?;
    }
}

/// Returns the instances of services.
///
/// # Errors
///
/// If the platform cannot be reached, or does not have one of the services.
pub fn instances(cloud: &Cloud, services: &[Id]) -> Result<Vec<Id>, RequestError> {
    let groups = cloud.all(&services::get(services))?;
    Ok(resources::ids(
        groups.iter().flat_map(|group| &group.instances),
    ))
}

/// Removes the instances of services, waits until they are gone, and returns their names.
///
/// Instances that are created meanwhile, by a service that is scaled, stay.
///
/// # Errors
///
/// If the platform cannot be reached or refuses, or the user interrupts the command.
pub fn drain(ctx: &Context, cloud: &Cloud, services: &[Id]) -> Result<Vec<String>, RequestError> {
    let ids = instances(cloud, services)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // One that has ended meanwhile may be gone.
    let removed = cloud.found(&instances::remove(&ids))?;
    let mut reported = false;
    while !cloud.found(&instances::get(&ids))?.is_empty() {
        if !reported {
            ctx.info("waiting until the instances are gone");
            reported = true;
        }
        cloud.pause(PAUSE)?;
    }
    Ok(removed.iter().map(|one| one.title().to_owned()).collect())
}
