//! Waiting until services have no instances any more.

use std::time::Duration;

use kraft_cloud::request::Id;
use kraft_cloud::resources::services;

use super::Cloud;
use kraft_engine::context::Context;
use kraft_engine::failure::Failure;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits until no service of these has an instance.
pub fn wait(ctx: &Context, cloud: &Cloud, ids: &[Id]) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut told = false;
    loop {
        let groups = cloud.send(&services::get(ids))?.all()?;
        let Some(busy) = groups.iter().find(|group| !group.instances.is_empty()) else {
            return Ok(());
        };
        if !told {
            ctx.info(&format!(
                "waiting for {} to have no instances any more",
                busy.name
            ));
            told = true;
        }
        cloud.pause(PAUSE)?;
    }
}
