//! Wait until services have no instances.

use std::time::Duration;

use kraft_cloud::request::Id;
use kraft_cloud::resources::services;
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
