//! `/users/quotas`: usage and quotas of the account.

use serde_json::json;

use super::{body, nowhere, query, wrong_method};
use crate::answer::items;
use crate::http::{Request, Response};
use crate::server::Shared;

pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    path: &[&str],
) -> Result<Response, Response> {
    let world = shared.world();
    match path {
        ["quotas"] => {}
        [uuid, "quotas"] if *uuid == world.account => {}
        _ => return Err(nowhere()),
    }
    if request.method != "GET" {
        return Err(wrong_method());
    }
    query(request, &[])?;
    body(request)?;
    let live = || world.instances.iter().filter(|one| !one.state.is_at_rest());
    let services: usize = world.groups.iter().map(|group| group.services.len()).sum();
    let hard = world.settings.hard;
    let item = json!({
        "status": "success",
        "uuid": world.account,
        "used": {
            "instances": world.instances.len(),
            "live_instances": live().count(),
            "live_vcpus": live().count(),
            "live_memory_mb": live().map(|one| one.memory).sum::<i64>(),
            "service_groups": world.groups.len(),
            "services": services,
            "volumes": world.volumes.len(),
            "total_volume_mb": world.volumes.iter().map(|one| one.size).sum::<i64>(),
        },
        "hard": {
            "instances": hard.instances,
            "live_vcpus": 64,
            "live_memory_mb": hard.memory,
            "service_groups": hard.groups,
            "services": 253,
            "volumes": hard.volumes,
            "total_volume_mb": 20480,
        },
        "limits": {
            "min_memory_mb": 16, "max_memory_mb": 4096,
            "min_vcpus": 1, "max_vcpus": 1,
            "min_volume_mb": 1, "max_volume_mb": 20480,
            "min_autoscale_size": 1, "max_autoscale_size": 16,
        },
    });
    Ok(items("quotas", vec![(json!(null), Ok(item))]))
}
