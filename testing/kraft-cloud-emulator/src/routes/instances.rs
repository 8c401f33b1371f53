//! `/instances`: lists and removes instances, and returns their metrics.

use serde_json::{Value, json};

use super::{asked, create, done, each, life, must_ask, nowhere, query, wrong_method};
use crate::check::ID;
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Instance, State, World, pointer};

pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    path: &[&str],
) -> Result<Response, Response> {
    match (request.method.as_str(), path) {
        ("POST", []) => create::answer(shared, request),
        ("PUT", ["start"]) => life::start(shared, request, None),
        ("PUT", ["stop"]) => life::stop(shared, request, None),
        ("GET" | "PUT", ["wait"]) => life::wait(shared, request),
        ("GET", ["log"]) => life::log(shared, request, None),
        ("GET", ["metrics"]) => metrics(shared, request, None),
        (_, ["start" | "stop" | "wait" | "log" | "metrics"]) => Err(wrong_method()),
        ("PUT", [uuid, "start"]) => life::start(shared, request, Some(uuid)),
        ("PUT", [uuid, "stop"]) => life::stop(shared, request, Some(uuid)),
        ("GET", [uuid, "log"]) => life::log(shared, request, Some(uuid)),
        ("GET", [uuid, "metrics"]) => metrics(shared, request, Some(uuid)),
        ("GET", []) => list(shared, request, None),
        ("GET", [uuid]) => list(shared, request, Some(uuid)),
        ("DELETE", []) => remove(shared, request, None),
        ("DELETE", [uuid]) => remove(shared, request, Some(uuid)),
        (_, [] | [_] | [_, "start" | "stop" | "log" | "metrics"]) => Err(wrong_method()),
        _ => Err(nowhere()),
    }
}

fn list(shared: &Shared, request: &Request, one: Option<&str>) -> Result<Response, Response> {
    query(request, &["details", "metrics"])?;
    let world = shared.world();
    let all = || {
        world
            .instances
            .iter()
            .map(|one| json!({"uuid": one.uuid}))
            .collect()
    };
    let list = asked(request, one, ID)?.unwrap_or_else(all);
    let measured = request.parameter("metrics") == Some("true");
    Ok(each("instances", list, |item| {
        let uuid = world.find_instance(item)?;
        let found = world.instance(&uuid);
        Ok(found
            .map(|one| view(&world, one, measured))
            .unwrap_or_default())
    }))
}

fn remove(shared: &Shared, request: &Request, one: Option<&str>) -> Result<Response, Response> {
    let list = must_ask(request, one, ID)?;
    let answer = each("instances", list, |item| {
        let mut world = shared.world();
        let uuid = world.find_instance(item)?;
        let (name, state) = match world.instance(&uuid) {
            Some(one) => (one.name.clone(), one.state),
            None => return Ok(Value::Null),
        };
        for group in &mut world.groups {
            let master = group
                .autoscale
                .as_ref()
                .and_then(|how| how.pointer("/master/uuid"));
            if master.and_then(Value::as_str) == Some(&uuid) {
                group.autoscale = None;
                group.policies.clear();
            }
        }
        world.remove_instance(&uuid);
        drop(world);
        crate::machine::remove(shared, &uuid);
        Ok(done(&uuid, &name, json!({"previous_state": state.word()})))
    });
    Ok(answer)
}

fn metrics(shared: &Shared, request: &Request, one: Option<&str>) -> Result<Response, Response> {
    query(request, &[])?;
    let world = shared.world();
    let all = || {
        world
            .instances
            .iter()
            .map(|one| json!({"uuid": one.uuid}))
            .collect()
    };
    let list = asked(request, one, ID)?.unwrap_or_else(all);
    Ok(each("instances", list, |item| {
        let uuid = world.find_instance(item)?;
        let found = world.instance(&uuid);
        let measured = found.map(|one| {
            let mut more = measures(one);
            if let Some(more) = more.as_object_mut() {
                more.insert("state".to_owned(), json!(one.state.word()));
                more.insert("start_count".to_owned(), json!(one.starts));
                more.insert("uptime_ms".to_owned(), json!(uptime(one)));
            }
            done(&one.uuid, &one.name, more)
        });
        Ok(measured.unwrap_or_default())
    }))
}

fn measures(one: &Instance) -> Value {
    let live = one.state == State::Running;
    json!({
        "rss_bytes": if live { one.memory << 19 } else { 0 },
        "cpu_time_ms": uptime(one) / 10,
        "rx_bytes": 0, "rx_packets": 0, "tx_bytes": 0, "tx_packets": 0,
        "nconns": 0, "nreqs": 0, "nqueued": 0, "ntotal": 0,
    })
}

fn uptime(one: &Instance) -> u64 {
    let live = one.state != State::Stopped;
    let since = one
        .started
        .as_ref()
        .filter(|_| live)
        .map(|(at, _)| at.elapsed().as_millis());
    u64::try_from(since.unwrap_or(0)).unwrap_or(u64::MAX)
}

/// Returns when an instance restarts automatically, if a restart is due.
fn restart(one: &Instance) -> Option<Value> {
    let (at, _) = one.next.filter(|(_, next)| *next == State::Starting)?;
    let left = at.saturating_duration_since(std::time::Instant::now());
    let then = jiff::Timestamp::now().checked_add(left).ok()?;
    let then = then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Some(json!({"attempt": one.attempts, "next_at": then}))
}

/// Returns the JSON of an instance.
pub(super) fn view(world: &World, one: &Instance, measured: bool) -> Value {
    let asked = |key: &str| one.asked.get(key).cloned();
    let group = one.group.as_ref().and_then(|uuid| {
        let group = world.groups.iter().find(|group| group.uuid == *uuid)?;
        // The API description names the field of a domain `name`, responses of the platform `fqdn`.
        let domains = group.domains.iter().map(|domain| {
            let mut domain = domain.clone();
            let name = domain.get("fqdn").cloned().unwrap_or_default();
            if let Some(domain) = domain.as_object_mut() {
                domain.insert("name".to_owned(), name);
            }
            domain
        });
        let domains: Vec<Value> = domains.collect();
        Some(json!({"uuid": group.uuid, "name": group.name, "domains": domains}))
    });
    let zero = asked("scale_to_zero").map(|zero| {
        json!({
            "policy": zero.get("policy"),
            "stateful": zero.get("stateful").and_then(Value::as_bool).unwrap_or(false),
            "cooldown_time_ms":
                zero.get("cooldown_time_ms").and_then(Value::as_i64).unwrap_or(1000),
        })
    });
    let mounts: Vec<Value> = world
        .volumes
        .iter()
        .flat_map(|volume| {
            let mine = volume
                .attached
                .iter()
                .filter(|(instance, _, _)| *instance == one.uuid);
            mine.map(|(_, at, readonly)| {
                let mut mount = pointer(&volume.uuid, &volume.name);
                if let Some(mount) = mount.as_object_mut() {
                    mount.insert("at".to_owned(), json!(at));
                    mount.insert("readonly".to_owned(), json!(readonly));
                }
                mount
            })
        })
        .collect();
    let octets = one
        .ip
        .split('.')
        .filter_map(|octet| octet.parse::<u8>().ok());
    let mac: String = octets.map(|octet| format!(":{octet:02x}")).collect();
    let image = one.image.strip_prefix("official/").unwrap_or(&one.image);
    let mut item = json!({
        "created_at": one.created,
        "state": one.state.word(),
        "image": image,
        "memory_mb": one.memory,
        "vcpus": 1,
        "args": one.args,
        "env": asked("env").unwrap_or_else(|| json!({})),
        "start_count": one.starts,
        "restart_count": one.attempts,
        "restart": restart(one),
        "restart_policy": asked("restart_policy").unwrap_or_else(|| json!("never")),
        "started_at": one.started.as_ref().map(|(_, stamp)| stamp),
        "stopped_at": one.stopped,
        "uptime_ms": uptime(one),
        "boot_time_us": if one.starts > 0 { 20_000 } else { 0 },
        "net_time_us": if one.starts > 0 { 30_000 } else { 0 },
        "stop_reason": one.reason,
        "exit_code": one.exit,
        "private_fqdn": format!("{}.internal", one.name),
        "private_ip": one.ip,
        "network_interfaces": [
            {"uuid": one.uuid, "private_ip": one.ip, "mac": format!("12:b0{mac}")}
        ],
        "service_group": group,
        "scale_to_zero": zero,
        "volumes": mounts,
    });
    if let (true, Some(item), Value::Object(more)) = (measured, item.as_object_mut(), measures(one))
    {
        item.extend(more);
    }
    done(&one.uuid, &one.name, item)
}
