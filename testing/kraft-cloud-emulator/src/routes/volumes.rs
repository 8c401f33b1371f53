//! `/volumes`, with `attach` and `detach`, which the platform supports beyond its API description.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::instances::{is_locked, locked};
use super::{Listed, body, done, each, listed, must_ask, nowhere, patch, wrong_method};
use crate::answer::{Code, Fault};
use crate::check::{self, Field, ID, Kind, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response};
use crate::rules::{self, TAGS};
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

const CREATE_TODAY: &[Field] = &[
    NAME_FIELD,
    ("size_mb", Kind::Number(1, 1_048_576), false),
    ("template", Kind::Object(ID), false),
    ("host_path", Kind::Text(4096), false),
    QUOTA_POLICY,
    ("filesystem", Kind::Word(&["ext4", "virtiofs"]), false),
    ("tags", TAGS, false),
    ("uid", Kind::Number(0, i64::MAX), false),
    ("gid", Kind::Number(0, i64::MAX), false),
    ACCESS_MODE,
    ("args", Kind::Texts, false),
];
const QUOTA_POLICY: Field = ("quota_policy", Kind::Word(&["static", "dynamic"]), false);
const ACCESS_MODE: Field = ("access_mode", Kind::Word(&["rwo", "rox", "rwx"]), false);
const CLONE: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("vol_name", Kind::Text(255), false),
    QUOTA_POLICY,
    ("tags", TAGS, false),
    ACCESS_MODE,
];
/// Properties of a volume that can be changed; of a template, only the first two.
const PROPERTIES: &[&str] = &["tags", "delete_lock", "size_mb", "quota_policy"];

pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    path: &[&str],
) -> Result<Response, Response> {
    let mut world = shared.world();
    let today = request.today;
    let (templates, path) = match path {
        ["templates", rest @ ..] if today => (true, rest),
        path => (false, path),
    };
    let one = match (request.method.as_str(), path) {
        ("PUT", ["attach"]) if !templates => {
            let list = must_ask(request, None, ATTACH)?;
            return Ok(each("volumes", list, |item| attach(&mut world, item)));
        }
        ("PUT", ["detach"]) if !templates => {
            let list = must_ask(request, None, DETACH)?;
            return Ok(each("volumes", list, |item| detach(&mut world, item)));
        }
        ("PUT", [uuid, "attach"]) if today && !templates => {
            let list = must_ask(request, Some(uuid), ATTACH)?;
            return Ok(each("volumes", list, |item| attach(&mut world, item)));
        }
        ("PUT", [uuid, "detach"]) if today && !templates => {
            let list = must_ask(request, Some(uuid), DETACH)?;
            return Ok(each("volumes", list, |item| detach(&mut world, item)));
        }
        ("POST", ["clone"]) if today && !templates => {
            let list = must_ask(request, None, CLONE)?;
            return Ok(each("volumes", list, |item| duplicate(&mut world, item)));
        }
        ("POST", [uuid, "clone"]) if today && !templates => {
            let list = must_ask(request, Some(uuid), CLONE)?;
            return Ok(each("volumes", list, |item| duplicate(&mut world, item)));
        }
        (_, []) => None,
        (_, [uuid]) => Some(*uuid),
        _ => return Err(nowhere()),
    };
    match (request.method.as_str(), one) {
        ("POST", None) if templates => {
            let list = must_ask(request, None, ID)?;
            Ok(each("volumes", list, |item| turn(&mut world, item)))
        }
        ("POST", None) if today => {
            let body = body(request)?;
            check::object(&body, CREATE_TODAY).map_err(|fault| fault.whole(400))?;
            let outcome = create_today(&mut world, &body);
            Ok(crate::answer::items("volumes", vec![(body, outcome)]))
        }
        ("POST", None) => {
            if !body(request)?.is_array() {
                return Err(Fault::new(Code::Malformed, "the body is not a list").whole(400));
            }
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
            let volumes = world.volumes.iter().filter(|one| one.template == templates);
            let volumes = volumes.map(|one| Listed {
                uuid: one.uuid.clone(),
                created: one.created.clone(),
                tags: one.more.get("tags").cloned().unwrap_or_default(),
            });
            let all = || volumes.collect();
            let list = listed(request, one, &["details"], all)?;
            Ok(each("volumes", list, |item| {
                Ok(view(&world, find(&world, item, templates)?, today))
            }))
        }
        ("DELETE", _) => {
            let list = must_ask(request, one, ID)?;
            Ok(each("volumes", list, |item| {
                let found = find(&world, item, templates)?.clone();
                if is_locked(&Value::Object(found.more.clone())) {
                    return Err(locked());
                }
                if !found.attached.is_empty() {
                    return Err(Fault::new(Code::Attached, "the volume is attached"));
                }
                world.volumes.retain(|one| one.uuid != found.uuid);
                Ok(done(&found.uuid, &found.name, Value::Null))
            }))
        }
        ("PATCH", _) if today => {
            let known = if templates { 2 } else { PROPERTIES.len() };
            let known = PROPERTIES.get(..known).unwrap_or_default();
            patch(request, one, "volumes", known, |item| {
                let uuid = find(&world, item, templates)?.uuid.clone();
                let missing = || Fault::new(Code::NotFound, "it is gone");
                let one = world.volumes.iter_mut().find(|one| one.uuid == uuid);
                let one = one.ok_or_else(missing)?;
                let mut all = one.more.clone();
                all.insert("size_mb".to_owned(), json!(one.size));
                crate::patch::apply(&mut all, item)?;
                let size = all.remove("size_mb").and_then(|size| size.as_i64());
                match size {
                    Some(size) if size >= one.size => one.size = size,
                    _ => {
                        let message = format!("a volume of {} MiB cannot shrink", one.size);
                        return Err(Fault::new(Code::Invalid, message));
                    }
                }
                one.more = all;
                Ok((uuid, one.name.clone()))
            })
        }
        _ => Err(wrong_method()),
    }
}

/// Returns the selected volume, or volume template.
fn find<'a>(world: &'a World, item: &Value, template: bool) -> Result<&'a Volume, Fault> {
    let found = world.find_volume(item)?;
    if found.template == template {
        return Ok(found);
    }
    let what = if template {
        "volume template"
    } else {
        "volume"
    };
    Err(check::Who::of(item)?.missing(what))
}

/// Returns the properties that are only returned unchanged.
pub(super) fn properties(item: &Value) -> Map<String, Value> {
    let mut own = item.as_object().cloned().unwrap_or_default();
    for key in ["uuid", "name", "vol_name", "size_mb", "template"] {
        own.remove(key);
    }
    own
}

fn create_today(world: &mut World, item: &Value) -> Result<Value, Fault> {
    let base = item.get("template");
    let base = base.map(|id| find(world, id, true).cloned()).transpose()?;
    let size = item.get("size_mb").and_then(Value::as_i64);
    let hosted = item.get("host_path").is_some();
    let size = size.or(base.as_ref().map(|base| base.size));
    let Some(size) = size.or(hosted.then_some(1)) else {
        return Err(Fault::new(
            Code::Invalid,
            "`size_mb` or `template` is needed",
        ));
    };
    let name = item.get("name").and_then(Value::as_str);
    let uuid = create(world, name, size, true)?;
    let volume = world.volumes.iter_mut().find(|one| one.uuid == uuid);
    let Some(volume) = volume else {
        return Ok(Value::Null);
    };
    volume.more = properties(item);
    let more = json!({"state": "uninitialized"});
    Ok(done(&uuid, &volume.name, more))
}

/// Copies a volume.
fn duplicate(world: &mut World, item: &Value) -> Result<Value, Fault> {
    let base = find(world, item, false)?.clone();
    let name = item.get("vol_name").and_then(Value::as_str);
    let uuid = create(world, name, base.size, true)?;
    let (from, to) = (world.disks.join(&base.uuid), world.disks.join(&uuid));
    if let Some(imported) = world.imported.get(&base.uuid).cloned() {
        world.imported.insert(uuid.clone(), imported);
    }
    if from.is_dir() {
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(from)
            .arg(to)
            .status();
        if !copied.is_ok_and(|status| status.success()) {
            return Err(Fault::new(Code::Failed, "the volume cannot be copied"));
        }
    }
    let volume = world.volumes.iter_mut().find(|one| one.uuid == uuid);
    let Some(volume) = volume else {
        return Ok(Value::Null);
    };
    volume.more = base.more;
    volume.more.extend(properties(item));
    volume.more.remove("delete_lock");
    let more = json!({"state": "available"});
    Ok(done(&uuid, &volume.name, more))
}

/// Turns a volume into a template.
fn turn(world: &mut World, item: &Value) -> Result<Value, Fault> {
    let found = find(world, item, false)?.clone();
    if !found.attached.is_empty() {
        return Err(Fault::new(Code::Attached, "the volume is attached"));
    }
    if let Some(one) = world.volumes.iter_mut().find(|one| one.uuid == found.uuid) {
        one.template = true;
    }
    Ok(done(&found.uuid, &found.name, json!({"state": "template"})))
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
        template: false,
        more: Map::new(),
    });
    Ok(uuid)
}

fn is_stopped(world: &World, uuid: &str) -> bool {
    world
        .instance(uuid)
        .is_none_or(|one| one.state == State::Stopped)
}

fn attach(world: &mut World, item: &Value) -> Result<Value, Fault> {
    let volume = find(world, item, false)?.clone();
    let instance = world.find_instance(item.get("attach_to").unwrap_or(&Value::Null))?;
    let at = item.get("at").and_then(Value::as_str).unwrap_or_default();
    if !rules::is_mount_point(at) {
        return Err(Fault::new(Code::Invalid, "`at` is not an absolute path"));
    }
    if !volume.is_available(item.get("readonly") == Some(&json!(true))) {
        return Err(Fault::new(Code::Attached, "the volume is not available"));
    }
    if volume.attached.iter().any(|(one, _, _)| *one == instance) {
        return Err(Fault::new(
            Code::Attached,
            "the volume is attached to it already",
        ));
    }
    let mut mounts = world.volumes.iter().flat_map(|one| &one.attached);
    if mounts.any(|(one, path, _)| *one == instance && path == at) {
        let message = format!("another volume is mounted at '{at}'");
        return Err(Fault::new(Code::Invalid, message));
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
    let volume = find(world, item, false)?.clone();
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

fn view(world: &World, one: &Volume, today: bool) -> Value {
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
        _ if one.template => "template",
        (true, _, _) => "uninitialized",
        (false, false, _) => "mounted",
        (false, true, false) => "idle",
        (false, true, true) => "available",
    };
    let mut more = json!({
        "state": state,
        "size_mb": one.size,
        "attached_to": attached.collect::<Vec<_>>(),
        "mounted_by": mounted,
        "persistent": one.persistent,
        "created_at": one.created,
    });
    if let (true, Some(more)) = (today, more.as_object_mut()) {
        more.insert("free_mb".to_owned(), json!(one.size));
        more.extend(one.more.clone());
        more.entry("quota_policy").or_insert(json!("static"));
        more.entry("filesystem").or_insert(json!("ext4"));
        more.entry("access_mode").or_insert(json!("rwo"));
    }
    done(&one.uuid, &one.name, more)
}
