//! `/users/quotas`: usage and quotas of the account.

use serde_json::{Value, json};

use super::{body, nowhere, query, wrong_method};
use crate::answer::items;
use crate::check::{self, ID, Who};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::Instance;

pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    path: &[&str],
) -> Result<Response, Response> {
    let world = shared.world();
    match path {
        ["quotas"] => {}
        [uuid, "quotas"] if *uuid == world.account => {}
        [uuid, "quotas"] if request.today && request.method == "GET" => {
            let asked = json!({"uuid": uuid});
            check::object(&asked, ID).map_err(|fault| fault.whole(400))?;
            let missing = Who::of(&asked).map(|who| who.missing("user"));
            return Ok(items("quotas", vec![(asked, missing.and_then(Err))]));
        }
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
    let vcpus = |one: &Instance| {
        let asked = one.asked.get("vcpus").and_then(Value::as_i64);
        asked.unwrap_or(1)
    };
    let most = match request.today {
        true => (1 << 20, 64),
        false => (4096, 1),
    };
    let item = json!({
        "status": "success",
        "uuid": world.account,
        "used": {
            "instances": world.instances.len(),
            "live_instances": live().count(),
            "live_vcpus": live().map(vcpus).sum::<i64>(),
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
            "min_memory_mb": 16, "max_memory_mb": most.0,
            "min_vcpus": 1, "max_vcpus": most.1,
            "min_volume_mb": 1, "max_volume_mb": 20480,
            "min_autoscale_size": 1, "max_autoscale_size": 16,
        },
    });
    Ok(items("quotas", vec![(json!(null), Ok(item))]))
}
