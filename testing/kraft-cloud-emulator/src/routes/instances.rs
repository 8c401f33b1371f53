//! `/instances`: lists and removes instances, and returns their metrics.

use serde_json::{Value, json};

use super::{
    Listed, asked, create, done, each, life, listed, must_ask, no_body, nowhere, query,
    wrong_method,
};
use crate::answer::{Code, Fault};
use crate::check::{Field, ID, Kind, NAME_FIELD, UUID_FIELD};
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
        ("PATCH", []) if request.today => change(shared, request, None),
        ("GET", ["wait"]) => life::wait(shared, request, None),
        ("PUT", ["wait"]) if !request.today => life::wait(shared, request, None),
        ("PUT", ["suspend"]) if request.today => life::suspend(shared, request, None),
        ("GET", ["history"]) if request.today => super::saved::history(shared, request, None, None),
        ("GET", ["log"]) => life::log(shared, request, None),
        ("GET", ["metrics"]) => metrics(shared, request, None),
        (_, ["start" | "stop" | "wait" | "log" | "metrics"]) => Err(wrong_method()),
        (_, ["suspend" | "history"]) if request.today => Err(wrong_method()),
        ("GET", [uuid, "wait"]) if request.today => life::wait(shared, request, Some(uuid)),
        ("PUT", [uuid, "suspend"]) if request.today => life::suspend(shared, request, Some(uuid)),
        ("GET", [uuid, "history"]) if request.today => {
            super::saved::history(shared, request, Some(uuid), None)
        }
        ("PATCH", [uuid]) if request.today => change(shared, request, Some(uuid)),
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
    let world = shared.world();
    let all = || of_state(&world, |state| !is_saved(state));
    let list = listed(request, one, &["details", "metrics"], all)?;
    let measured = !request.today && request.parameter("metrics") == Some("true");
    Ok(each("instances", list, |item| {
        let uuid = world.find_instance(item)?;
        let found = world.instance(&uuid);
        Ok(found
            .map(|one| view(&world, one, measured, request.today))
            .unwrap_or_default())
    }))
}

/// Returns whether an instance is a template or a checkpoint, which are listed by themselves.
fn is_saved(state: State) -> bool {
    matches!(state, State::Template | State::Checkpoint)
}

/// Returns the instances in some states.
pub(super) fn of_state(world: &World, wanted: impl Fn(State) -> bool) -> Vec<Listed> {
    let found = world.instances.iter().filter(|one| wanted(one.state));
    found
        .map(|one| Listed {
            uuid: one.uuid.clone(),
            created: one.created.clone(),
            tags: one.asked.get("tags").cloned().unwrap_or_default(),
        })
        .collect()
}

/// Properties of an instance that can be changed.
const PROPERTIES: &[&str] = &[
    "image",
    "args",
    "env",
    "memory_mb",
    "vcpus",
    "scale_to_zero",
    "tags",
    "delete_lock",
    "schedules",
    "autokill",
    "hostname",
    "roms",
    "dependencies",
    "sched_priority",
    "plugins",
    "annotations",
];

fn change(shared: &Shared, request: &Request, one: Option<&str>) -> Result<Response, Response> {
    let mut world = shared.world();
    super::patch(request, one, "instances", PROPERTIES, |item| {
        let uuid = world.find_instance(item)?;
        let mut item = item.clone();
        if item.get("prop") == Some(&json!("image"))
            && let Some(name) = item.get("value").and_then(create::image_name)
        {
            let image = world.resolve(&name)?;
            let name = format!("{}@{}", image.repository, image.digest);
            if let Some(item) = item.as_object_mut() {
                item.insert("value".to_owned(), json!(name));
            }
            create::remember_image(&mut world, image);
        }
        let one = world.instance_mut(&uuid);
        let one = one.ok_or_else(|| Fault::new(Code::NotFound, "it is gone"))?;
        crate::patch::change(one, &item)?;
        Ok((uuid, one.name.clone()))
    })
}

/// Fields of an instance to remove (2026).
const REMOVE: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("timeout_s", Kind::Number(-1, 86_400), false),
    ("dont_retain", Kind::Flag, false),
];

/// Returns whether a resource is protected from its removal.
pub(super) fn is_locked(properties: &Value) -> bool {
    properties.get("delete_lock") == Some(&json!(true))
}

/// Returns the error for a resource that is protected from its removal.
pub(super) fn locked() -> Fault {
    Fault::new(Code::WrongState, "it is locked: unset `delete_lock` first")
}

pub(super) fn remove(
    shared: &Shared,
    request: &Request,
    one: Option<&str>,
) -> Result<Response, Response> {
    let fields = if request.today { REMOVE } else { ID };
    let list = must_ask(request, one, fields)?;
    let answer = each("instances", list, |item| {
        let mut world = shared.world();
        let uuid = world.find_instance(item)?;
        let (name, state) = match world.instance(&uuid) {
            Some(one) if is_locked(&one.asked) => return Err(locked()),
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
        let event = world
            .instance(&uuid)
            .map(|one| crate::audit::moved(one, state, &world.account));
        world.events.extend(event);
        world.remove_instance(&uuid);
        drop(world);
        crate::machine::remove(shared, &uuid);
        Ok(done(&uuid, &name, json!({"previous_state": state.word()})))
    });
    Ok(answer)
}

fn metrics(shared: &Shared, request: &Request, one: Option<&str>) -> Result<Response, Response> {
    query(request, &[])?;
    if request.today {
        no_body(request)?;
    }
    let world = shared.world();
    let all = || of_state(&world, |state| !is_saved(state));
    let all = || all().into_iter().map(|one| json!({"uuid": one.uuid}));
    let list = asked(request, one, ID)?.unwrap_or_else(|| all().collect());
    Ok(each("instances", list, |item| {
        let uuid = world.find_instance(item)?;
        let found = world.instance(&uuid);
        let measured = found.map(|one| {
            let mut more = measures(one);
            let of_dialect = match request.today {
                true => boot_times(one),
                false => json!({
                    "state": one.state.word(),
                    "start_count": one.starts,
                    "uptime_ms": uptime(one),
                }),
            };
            if let (Some(more), Value::Object(own)) = (more.as_object_mut(), of_dialect) {
                more.extend(own);
            }
            done(&one.uuid, &one.name, more)
        });
        Ok(measured.unwrap_or_default())
    }))
}

fn measures(one: &Instance) -> Value {
    let live = one.state == State::Running;
    let (open, total) = (one.traffic.open(), one.traffic.total);
    json!({
        "rss_bytes": if live { one.memory << 19 } else { 0 },
        "cpu_time_ms": uptime(one) / 10,
        "rx_bytes": 0, "rx_packets": 0, "tx_bytes": 0, "tx_packets": 0,
        "nconns": open, "nreqs": 0, "nqueued": 0, "ntotal": total,
    })
}

fn boot_times(one: &Instance) -> Value {
    let time = |us: u32| if one.starts > 0 { us } else { 0 };
    json!({"boot_time_us": time(20_000), "net_time_us": time(30_000)})
}

fn uptime(one: &Instance) -> u64 {
    let live = !one.state.is_at_rest();
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

/// Properties of 2026 that are returned as they were set.
const SHOWN: &[&str] = &[
    "tags",
    "annotations",
    "delete_lock",
    "features",
    "roms",
    "plugins",
    "schedules",
    "autokill",
    "template_autokill",
    "checkpoint_autokill",
    "sched_priority",
    "gateway",
    "nameserver",
    "type",
];

/// Returns a published port in short form, such as `tls:443`.
fn described(service: &Value) -> String {
    let handlers = service.get("handlers").and_then(Value::as_array);
    let first = handlers.and_then(|handlers| handlers.first()?.as_str());
    let port = service
        .get("port")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    format!("{}:{port}", first.unwrap_or("tcp"))
}

/// Completes the network interfaces of an instance by those that it was created with.
fn interfaces(one: &Instance, item: &mut serde_json::Map<String, Value>) {
    let asked = one
        .asked
        .get("network_interfaces")
        .and_then(Value::as_array);
    let Some(all) = item
        .get_mut("network_interfaces")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    let own = all.first().cloned().unwrap_or_default();
    for (at, new) in asked.into_iter().flatten().enumerate() {
        let mut nic = own.clone();
        if let (Some(nic), Some(new)) = (nic.as_object_mut(), new.as_object()) {
            let name = format!("{}-eth{at}", one.name);
            nic.insert("name".to_owned(), json!(name));
            nic.extend(new.clone());
            if let Some(ip) = nic.remove("ip") {
                let ip = ip.as_str().unwrap_or_default();
                let bare = ip.split('/').next().unwrap_or_default().to_owned();
                nic.insert("private_ip".to_owned(), json!(bare));
            }
        }
        if at == 0 {
            all.clear();
        }
        all.push(nic);
    }
}

/// Returns the JSON of an instance.
pub(super) fn view(world: &World, one: &Instance, measured: bool, today: bool) -> Value {
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
    let image = match today {
        true => super::images::url(&one.image),
        false => {
            let image = one.image.strip_prefix("official/");
            image.unwrap_or(&one.image).to_owned()
        }
    };
    let mut item = json!({
        "created_at": one.created,
        "state": one.state.word(),
        "image": image,
        "memory_mb": one.memory,
        "vcpus": asked("vcpus").unwrap_or_else(|| json!(1)),
        "args": one.args,
        "env": asked("env").unwrap_or_else(|| json!({})),
        "start_count": one.starts,
        "restart_count": one.attempts,
        "restart": restart(one),
        "restart_policy": asked("restart_policy").unwrap_or_else(|| json!("never")),
        "started_at": one.started.as_ref().map(|(_, stamp)| stamp),
        "stopped_at": one.stopped,
        "uptime_ms": uptime(one),
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
    if let (Some(item), Value::Object(times)) = (item.as_object_mut(), boot_times(one)) {
        item.extend(times);
    }
    if let (true, Some(item)) = (today, item.as_object_mut()) {
        if one.state == State::Running {
            item.remove("stopped_at");
        }
        for key in SHOWN {
            if let Some(value) = asked(key) {
                item.insert((*key).to_owned(), value);
            }
        }
        if !one.updates.is_empty() {
            item.insert("updates".to_owned(), json!(one.updates));
        }
        for (list, keys) in [("plugins", ["rom", "image"]), ("roms", ["image", "image"])] {
            let list = item.get_mut(list).and_then(Value::as_array_mut);
            for one in list.into_iter().flatten().filter_map(Value::as_object_mut) {
                let image = keys.into_iter().find_map(|key| one.remove(key));
                let image = image.as_ref().and_then(create::image_name);
                one.extend(image.map(|image| ("image".to_owned(), json!(image))));
            }
        }
        let schedules = item.get_mut("schedules").and_then(Value::as_array_mut);
        for schedule in schedules.into_iter().flatten() {
            let next = crate::world::next_of(schedule, jiff::Timestamp::now());
            if let (Some(next), Some(schedule)) = (next, schedule.as_object_mut()) {
                let next = next.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                schedule.insert("next_at".to_owned(), json!(next));
            }
        }
        interfaces(one, item);
        let gpus = asked("gpus").and_then(|count| count.as_u64()).unwrap_or(0);
        let gpu = |_| json!({"uuid": one.uuid, "model": "10de:20b5"});
        if gpus > 0 {
            item.insert("gpus".to_owned(), (0..gpus).map(gpu).collect());
        }
        let group = one
            .group
            .as_ref()
            .and_then(|uuid| world.groups.iter().find(|group| group.uuid == *uuid));
        let services = group.into_iter().flat_map(|group| &group.services);
        let services: Vec<String> = services.map(described).collect();
        item.insert("services".to_owned(), json!(services));
        if let Some(zero) = item.get_mut("scale_to_zero").and_then(Value::as_object_mut) {
            zero.retain(|_, value| !value.is_null());
            let on = zero.get("policy").is_some_and(|policy| policy != "off");
            zero.insert("enabled".to_owned(), json!(on));
            let notify = one.asked.pointer("/scale_to_zero/notify_time_ms");
            zero.extend(notify.map(|time| ("notify_time_ms".to_owned(), time.clone())));
        }
    }
    if let (true, Some(item), Value::Object(more)) = (measured, item.as_object_mut(), measures(one))
    {
        item.extend(more);
    }
    done(&one.uuid, &one.name, item)
}
