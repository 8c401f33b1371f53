//! `/instances`: making, listing, measuring and removing them.

use std::time::Instant;

use serde_json::{Value, json};

use super::wrong_method;
use super::{asked, body, done, each, life, must_ask, nowhere, query, services, volumes};
use crate::answer::{Code, Fault, items};
use crate::check::{self, Field, ID, Kind, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Instance, State, World, fresh_uuid, pointer, random, stamp};

const TEXT: Kind = Kind::Text(8 << 20);
const SCALE_TO_ZERO: &[Field] = &[
    ("policy", Kind::Word(&["on", "off", "idle"]), true),
    ("stateful", Kind::Flag, false),
    ("cooldown_time_ms", Kind::Number(0, 86_400_000), false),
];
const VOLUME: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("size_mb", Kind::Number(1, 1_048_576), false),
    ("at", Kind::Text(4096), true),
    ("readonly", Kind::Flag, false),
];
const GROUP: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    (
        "services",
        Kind::List(&Kind::Object(&[
            ("port", Kind::Number(1, 65535), true),
            ("destination_port", Kind::Number(1, 65535), false),
            ("handlers", Kind::List(&TEXT), false),
        ])),
        false,
    ),
    (
        "domains",
        Kind::List(&Kind::Object(&[
            ("name", Kind::Text(255), true),
            ("certificate", Kind::Object(ID), false),
        ])),
        false,
    ),
];
const CREATE: &[Field] = &[
    NAME_FIELD,
    ("image", Kind::Text(8 << 20), true),
    ("args", Kind::List(&TEXT), false),
    ("env", Kind::Texts, false),
    ("memory_mb", Kind::Number(16, 4096), false),
    ("vcpus", Kind::Number(1, 1), false),
    (
        "restart_policy",
        Kind::Word(&["always", "on-failure", "never"]),
        false,
    ),
    ("scale_to_zero", Kind::Object(SCALE_TO_ZERO), false),
    ("volumes", Kind::List(&Kind::Object(VOLUME)), false),
    ("service_group", Kind::Object(GROUP), false),
    ("autostart", Kind::Flag, false),
    ("replicas", Kind::Number(0, 253), false),
    ("wait_timeout_ms", Kind::Number(-1, 2_147_483_647), false),
    (
        "features",
        Kind::List(&Kind::Word(&["scale-to-zero", "delete-on-stop"])),
        false,
    ),
];

pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    path: &[&str],
) -> Result<Response, Response> {
    match (request.method.as_str(), path) {
        ("POST", []) => create_all(shared, request),
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

fn create_all(shared: &Shared, request: &Request) -> Result<Response, Response> {
    query(request, &[])?;
    let body = body(request)?;
    check::object(&body, CREATE).map_err(|fault| fault.whole(400))?;
    let made = {
        let mut world = shared.world();
        make(&mut world, &body)
    };
    let made = match made {
        Ok(made) => made,
        Err(fault) => return Ok(items("instances", vec![(body, Err(fault))])),
    };
    crate::proxy::publish(shared);
    let starts = body
        .get("autostart")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    if starts {
        made.iter().for_each(|uuid| life::begin(shared, uuid));
        life::until_running(
            shared,
            &made,
            body.get("wait_timeout_ms").and_then(Value::as_i64),
        );
    }
    let world = shared.world();
    let views = made.into_iter().filter_map(|uuid| {
        let view = view(&world, world.instance(&uuid)?, false);
        Some((Value::Null, Ok(view)))
    });
    Ok(items("instances", views.collect()))
}

/// Makes every copy or none, and returns their UUIDs.
fn make(world: &mut World, body: &Value) -> Result<Vec<String>, Fault> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let number = |key: &str, default| body.get(key).and_then(Value::as_i64).unwrap_or(default);
    exclusions(body)?;
    let image = world.resolve(text("image").unwrap_or_default())?;
    let app = image
        .repository
        .rsplit('/')
        .next()
        .unwrap_or("app")
        .to_owned();
    let copies = usize::try_from(number("replicas", 0)).unwrap_or(0) + 1;
    let memory = number("memory_mb", 128);
    quota(world, copies, memory, body)?;
    if let Some(name) = text("name")
        && world.instances.iter().any(|one| one.name == name)
    {
        let message = format!("An instance named '{name}' exists");
        return Err(Fault::new(Code::Exists, message));
    }
    let mounts = mounts(world, body)?;
    let group = group(world, body)?;
    // All that can be refused comes before the first thing that stays.
    let volumes = match volumes_of(world, mounts) {
        Ok(volumes) => volumes,
        Err(fault) => {
            drop_unused(world);
            return Err(fault);
        }
    };
    let given = body.get("args").and_then(Value::as_array);
    let given = given.map(|args| args.iter().filter_map(Value::as_str).map(str::to_owned));
    let args: Vec<String> = match given {
        Some(args) => args.collect(),
        None => image.args.split_whitespace().map(str::to_owned).collect(),
    };
    let mut made = Vec::with_capacity(copies);
    for copy in 0..copies {
        let uuid = fresh_uuid();
        let name = match (text("name"), copy) {
            (Some(name), 0) => name.to_owned(),
            (Some(name), _) => format!("{name}-{}", random(5)),
            (None, _) => format!("{app}-{}", random(5)),
        };
        world.addresses += 1;
        let [_, _, high, low] = (world.addresses + 1).to_be_bytes();
        world.instances.push(Instance {
            uuid: uuid.clone(),
            name,
            state: State::Stopped,
            next: None,
            image: format!("{}@{}", image.repository, image.digest),
            asked: body.clone(),
            memory,
            args: args.clone(),
            group: group.clone(),
            ip: format!("172.16.{high}.{low}"),
            created: stamp(),
            started: None,
            stopped: None,
            starts: 0,
            attempts: 0,
            reason: None,
            exit: None,
            console: Vec::new(),
            forgotten: 0,
            backends: std::collections::BTreeMap::new(),
            real: world.settings.kraft.is_some(),
        });
        made.push(uuid);
    }
    remember_image(world, image);
    for (uuid, at, readonly) in volumes {
        let volume = world.volumes.iter_mut().find(|one| one.uuid == uuid);
        if let (Some(volume), Some(first)) = (volume, made.first()) {
            volume.attached.push((first.clone(), at, readonly));
        }
    }
    Ok(made)
}

/// An image that may leave the registry again is kept as long as its instances.
fn remember_image(world: &mut World, image: crate::world::Image) {
    let known = |one: &crate::world::Image| {
        one.repository == image.repository && one.digest == image.digest
    };
    if !world.images.iter().any(known) {
        world.images.push(image);
    }
}

/// What may not be asked for together.
fn exclusions(body: &Value) -> Result<(), Fault> {
    let clash = |message: &str| Err(Fault::new(Code::NotBoth, message));
    let features = body.get("features").and_then(Value::as_array);
    let deletes = features.is_some_and(|list| list.iter().any(|one| one == "delete-on-stop"));
    let policy = body
        .get("restart_policy")
        .and_then(Value::as_str)
        .unwrap_or("never");
    let zero = body
        .pointer("/scale_to_zero/policy")
        .and_then(Value::as_str)
        .unwrap_or("off");
    let starts = body
        .get("autostart")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let waits = body
        .get("wait_timeout_ms")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    if deletes && policy != "never" {
        return clash("`delete-on-stop` and a restart policy exclude each other");
    }
    if deletes && zero != "off" {
        return clash("`delete-on-stop` and `scale_to_zero` exclude each other");
    }
    if zero != "off" && body.get("service_group").is_none() {
        return Err(Fault::new(
            Code::Invalid,
            "`scale_to_zero` needs a `service_group`",
        ));
    }
    if waits != 0 && !starts {
        return Err(Fault::new(
            Code::Invalid,
            "`wait_timeout_ms` needs `autostart`",
        ));
    }
    Ok(())
}

fn quota(world: &World, copies: usize, memory: i64, body: &Value) -> Result<(), Fault> {
    let hard = world.settings.hard;
    if world.instances.len() + copies > hard.instances {
        return Err(Fault::new(Code::Quota, "no more instances are allowed"));
    }
    let live = world
        .instances
        .iter()
        .filter(|one| one.state != State::Stopped);
    let used: i64 = live.map(|one| one.memory).sum();
    let more = memory.saturating_mul(i64::try_from(copies).unwrap_or(i64::MAX));
    let starts = body
        .get("autostart")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    if starts && used.saturating_add(more) > hard.memory {
        return Err(Fault::new(Code::Quota, "no more memory is allowed"));
    }
    Ok(())
}

/// A volume to mount: which one, or the MiB of a new one; where; only to read.
struct Mount(Result<String, i64>, String, bool);

fn mounts(world: &World, body: &Value) -> Result<Vec<Mount>, Fault> {
    let asked = body.get("volumes").and_then(Value::as_array);
    let mounts = asked.into_iter().flatten().map(|one| {
        let at = one
            .get("at")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if !at.starts_with('/') {
            return Err(Fault::new(Code::Invalid, "`at` is not an absolute path"));
        }
        let readonly = one
            .get("readonly")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        if let (Some(size), None) = (one.get("size_mb").and_then(Value::as_i64), one.get("uuid")) {
            return Ok(Mount(Err(size), at, readonly));
        }
        let volume = world.find_volume(one)?;
        if volume.ready > Instant::now() || !volume.attached.is_empty() {
            return Err(Fault::new(Code::Attached, "the volume is not available"));
        }
        Ok(Mount(Ok(volume.uuid.clone()), at, readonly))
    });
    mounts.collect()
}

/// Makes the volumes that are not there yet: UUID, path, only to read.
fn volumes_of(world: &mut World, mounts: Vec<Mount>) -> Result<Vec<(String, String, bool)>, Fault> {
    let mut found = Vec::with_capacity(mounts.len());
    for Mount(which, at, readonly) in mounts {
        let uuid = match which {
            Ok(uuid) => uuid,
            Err(size) => volumes::create(world, None, size, false)?,
        };
        found.push((uuid, at, readonly));
    }
    Ok(found)
}

/// Takes back what was made for an instance that is refused after all.
fn drop_unused(world: &mut World) {
    world
        .volumes
        .retain(|one| one.persistent || !one.attached.is_empty());
    let members = |uuid: &String| {
        world
            .instances
            .iter()
            .any(|one| one.group.as_ref() == Some(uuid))
    };
    let kept: Vec<bool> = world
        .groups
        .iter()
        .map(|one| one.persistent || members(&one.uuid))
        .collect();
    let mut kept = kept.into_iter();
    world.groups.retain(|_| kept.next().unwrap_or(true));
}

/// The group the instance joins: one that is there, or one made for it.
fn group(world: &mut World, body: &Value) -> Result<Option<String>, Fault> {
    let Some(asked) = body.get("service_group") else {
        return Ok(None);
    };
    let creates = asked.get("services").is_some()
        || asked.get("domains").is_some()
        || (asked.get("uuid").is_none() && asked.get("name").is_none());
    if creates {
        if asked.get("uuid").is_some() {
            let message = "`uuid` and `services` exclude each other";
            return Err(Fault::new(Code::NotBoth, message));
        }
        let mut new = asked.clone();
        if let Some(new) = new.as_object_mut() {
            new.entry("services").or_insert_with(|| json!([]));
        }
        check::object(&new, services::CREATE)?;
        return services::create(world, &new, false).map(Some);
    }
    let uuid = world.find_group(asked)?.uuid.clone();
    if let Some(group) = world.groups.iter_mut().find(|one| one.uuid == uuid) {
        group.persistent = true;
    }
    Ok(Some(uuid))
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

/// An instance as it is shown.
pub(super) fn view(world: &World, one: &Instance, measured: bool) -> Value {
    let asked = |key: &str| one.asked.get(key).cloned();
    let group = one.group.as_ref().and_then(|uuid| {
        let group = world.groups.iter().find(|group| group.uuid == *uuid)?;
        // The description calls a domain's name `name`, answers of the platform `fqdn`.
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
