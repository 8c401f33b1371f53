//! `/volumes`, with `attach` and `detach`, which the platform supports beyond its API description.

use std::time::Instant;

use serde_json::{Value, json};

use super::{asked, done, each, must_ask, nowhere, query, wrong_method};
use crate::answer::{Code, Fault};
use crate::check::{Field, ID, Kind, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{State, Volume, World, fresh_uuid, pointer, random, stamp};

const CREATE: &[Field] = &[NAME_FIELD, ("size_mb", Kind::Number(1, 1_048_576), true)];
const ATTACH: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("attach_to", Kind::Object(ID), true),
    ("at", Kind::Text(4096), true),
    ("readonly", Kind::Flag, false),
];
const DETACH: &[Field] = &[UUID_FIELD, NAME_FIELD, ("from", Kind::Object(ID), false)];

pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    path: &[&str],
) -> Result<Response, Response> {
    let mut world = shared.world();
    let one = match (request.method.as_str(), path) {
        ("PUT", ["attach"]) => {
            let list = must_ask(request, None, ATTACH)?;
            return Ok(each("volumes", list, |item| attach(&mut world, item)));
        }
        ("PUT", ["detach"]) => {
            let list = must_ask(request, None, DETACH)?;
            return Ok(each("volumes", list, |item| detach(&mut world, item)));
        }
        (_, []) => None,
        (_, [uuid]) => Some(*uuid),
        _ => return Err(nowhere()),
    };
    match (request.method.as_str(), one) {
        ("POST", None) => {
            let list = must_ask(request, None, CREATE)?;
            Ok(each("volumes", list, |item| {
                let size = item
                    .get("size_mb")
                    .and_then(Value::as_i64)
                    .unwrap_or_default();
                let name = item.get("name").and_then(Value::as_str);
                let uuid = create(&mut world, name, size, true)?;
                let volume = world.find_volume(&json!({"uuid": uuid}))?;
                Ok(done(&uuid, &volume.name, Value::Null))
            }))
        }
        ("GET", _) => {
            query(request, &["details"])?;
            let all = || {
                world
                    .volumes
                    .iter()
                    .map(|one| json!({"uuid": one.uuid}))
                    .collect()
            };
            let list = asked(request, one, ID)?.unwrap_or_else(all);
            Ok(each("volumes", list, |item| {
                Ok(view(&world, world.find_volume(item)?))
            }))
        }
        ("DELETE", _) => {
            let list = must_ask(request, one, ID)?;
            Ok(each("volumes", list, |item| {
                let found = world.find_volume(item)?.clone();
                if !found.attached.is_empty() {
                    return Err(Fault::new(Code::Attached, "the volume is attached"));
                }
                world.volumes.retain(|one| one.uuid != found.uuid);
                Ok(done(&found.uuid, &found.name, Value::Null))
            }))
        }
        _ => Err(wrong_method()),
    }
}

/// Creates a volume and returns its UUID.
pub(super) fn create(
    world: &mut World,
    name: Option<&str>,
    size: i64,
    persistent: bool,
) -> Result<String, Fault> {
    if world.volumes.len() >= world.settings.hard.volumes {
        return Err(Fault::new(Code::Quota, "no more volumes are allowed"));
    }
    let name = name.map_or_else(|| format!("vol-{}", random(5)), str::to_owned);
    if world.volumes.iter().any(|one| one.name == name) {
        return Err(Fault::new(
            Code::Exists,
            format!("A volume named '{name}' exists"),
        ));
    }
    let uuid = fresh_uuid();
    world.volumes.push(Volume {
        uuid: uuid.clone(),
        name,
        size,
        created: stamp(),
        ready: Instant::now() + world.settings.volume,
        persistent,
        attached: Vec::new(),
    });
    Ok(uuid)
}

fn is_stopped(world: &World, uuid: &str) -> bool {
    world
        .instance(uuid)
        .is_none_or(|one| one.state == State::Stopped)
}

fn attach(world: &mut World, item: &Value) -> Result<Value, Fault> {
    let volume = world.find_volume(item)?.clone();
    let instance = world.find_instance(item.get("attach_to").unwrap_or(&Value::Null))?;
    let at = item.get("at").and_then(Value::as_str).unwrap_or_default();
    if !at.starts_with('/') {
        return Err(Fault::new(Code::Invalid, "`at` is not an absolute path"));
    }
    if volume.ready > Instant::now() || !volume.attached.is_empty() {
        return Err(Fault::new(Code::Attached, "the volume is not available"));
    }
    if !is_stopped(world, &instance) {
        return Err(Fault::new(Code::WrongState, "the instance is not stopped"));
    }
    let readonly = item
        .get("readonly")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    if let Some(one) = world.volumes.iter_mut().find(|one| one.uuid == volume.uuid) {
        one.attached.push((instance, at.to_owned(), readonly));
    }
    Ok(done(&volume.uuid, &volume.name, Value::Null))
}

fn detach(world: &mut World, item: &Value) -> Result<Value, Fault> {
    let volume = world.find_volume(item)?.clone();
    let from = item
        .get("from")
        .map(|from| world.find_instance(from))
        .transpose()?;
    let meant = |instance: &String| from.as_ref().is_none_or(|from| from == instance);
    let mut leaving = volume
        .attached
        .iter()
        .map(|(instance, _, _)| instance)
        .filter(|i| meant(i));
    if leaving.clone().next().is_none() {
        return Err(Fault::new(Code::NotAttached, "the volume is not attached"));
    }
    if leaving.any(|instance| !is_stopped(world, instance)) {
        return Err(Fault::new(Code::WrongState, "the instance is not stopped"));
    }
    if let Some(one) = world.volumes.iter_mut().find(|one| one.uuid == volume.uuid) {
        one.attached.retain(|(instance, _, _)| !meant(instance));
        one.persistent = true;
    }
    Ok(done(&volume.uuid, &volume.name, Value::Null))
}

fn view(world: &World, one: &Volume) -> Value {
    let named = |uuid: &str| {
        let name = world.instance(uuid).map(|one| one.name.clone());
        pointer(uuid, &name.unwrap_or_default())
    };
    let attached = one.attached.iter().map(|(uuid, _, _)| named(uuid));
    let mounted = one
        .attached
        .iter()
        .filter(|(uuid, _, _)| !is_stopped(world, uuid));
    let mounted: Vec<Value> = mounted
        .map(|(uuid, _, readonly)| {
            let name = world.instance(uuid).map(|one| one.name.as_str());
            json!({"uuid": uuid, "name": name, "readonly": readonly})
        })
        .collect();
    let state = match (
        one.ready > Instant::now(),
        mounted.is_empty(),
        one.attached.is_empty(),
    ) {
        (true, _, _) => "uninitialized",
        (false, false, _) => "mounted",
        (false, true, false) => "idle",
        (false, true, true) => "available",
    };
    let more = json!({
        "state": state,
        "size_mb": one.size,
        "attached_to": attached.collect::<Vec<_>>(),
        "mounted_by": mounted,
        "persistent": one.persistent,
        "created_at": one.created,
    });
    done(&one.uuid, &one.name, more)
}
