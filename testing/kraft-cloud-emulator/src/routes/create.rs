//! `POST /instances`: creates an instance with its volumes and service group, and its replicas.

use std::time::Instant;

use serde_json::{Value, json};

use super::instances::view;
use super::{body, life, query, services, volumes};
use crate::answer::{Code, Fault, items};
use crate::check::{self, Field, ID, Kind, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Instance, State, World, fresh_uuid, random, stamp};

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

pub(super) fn answer(shared: &Shared, request: &Request) -> Result<Response, Response> {
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

/// Creates all replicas or none, and returns their UUIDs.
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
    // Every check comes before the first change of the state.
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
            traffic: crate::sleep::Traffic::default(),
            real: world.settings.kraft.is_some() && !crate::helpers::plays(&image.repository),
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

/// Keeps an image for its instances, even if it is removed from the registry later.
fn remember_image(world: &mut World, image: crate::world::Image) {
    let known = |one: &crate::world::Image| {
        one.repository == image.repository && one.digest == image.digest
    };
    if !world.images.iter().any(known) {
        world.images.push(image);
    }
}

/// Rejects fields that are mutually exclusive.
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

/// A volume to mount: the volume, or the size in MiB of a new one; the path; whether it is
/// read-only.
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

/// Creates the volumes that do not exist yet, and returns for each: UUID, path, whether it is
/// read-only.
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

/// Removes the volumes and groups created for an instance that is rejected after all.
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

/// Returns the service group that the instance joins: an existing one, or one created for it.
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
