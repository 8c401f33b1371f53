//! Wait until services have no instances.
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
