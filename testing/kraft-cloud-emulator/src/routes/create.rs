//! `POST /instances`: creates an instance with its volumes and service group, and its replicas.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::instances::view;
use super::{body, life, query, services, volumes};
use crate::answer::{Code, Fault, items};
use crate::check::{self, Field, ID, Kind, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response};
use crate::rules;
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

const CREATE_TODAY: &[Field] = &[
    NAME_FIELD,
    ("image", Kind::Image, false),
    ("args", Kind::List(&TEXT), false),
    ("env", Kind::Texts, false),
    ("memory_mb", Kind::Number(16, 1 << 20), false),
    ("vcpus", Kind::Number(1, 64), false),
    (
        "restart_policy",
        Kind::Word(&["always", "on-failure", "never"]),
        false,
    ),
    ("scale_to_zero", Kind::Object(rules::SCALE_TO_ZERO), false),
    ("volumes", Kind::List(&Kind::Object(VOLUME_TODAY)), false),
    ("service_group", Kind::Object(GROUP_TODAY), false),
    ("autostart", Kind::Flag, false),
    ("replicas", Kind::Number(0, 253), false),
    ("wait_timeout_ms", Kind::Number(-1, 2_147_483_647), false),
    ("timeout_s", Kind::Number(-1, 2_147_483), false),
    (
        "features",
        Kind::List(&Kind::Word(&["delete-on-stop", "nested-virt"])),
        false,
    ),
];
const VOLUME_TODAY: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("size_mb", Kind::Number(1, 1_048_576), false),
    ("at", Kind::Text(4096), true),
    ("readonly", Kind::Flag, false),
    ("host_path", Kind::Text(4096), false),
    ("quota_policy", Kind::Word(&["static", "dynamic"]), false),
    ("filesystem", Kind::Word(&["ext4", "virtiofs"]), false),
    ("tags", rules::TAGS, false),
    ("uid", Kind::Number(0, i64::MAX), false),
    ("gid", Kind::Number(0, i64::MAX), false),
    ("access_mode", Kind::Word(&["rwo", "rox", "rwx"]), false),
    ("args", Kind::Texts, false),
];
const GROUP_TODAY: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    (
        "services",
        Kind::List(&Kind::Object(services::MAPPING_TODAY)),
        false,
    ),
    (
        "domains",
        Kind::List(&Kind::Object(services::DOMAIN)),
        false,
    ),
    ("soft_limit", Kind::Number(1, 65535), false),
    ("hard_limit", Kind::Number(1, 65535), false),
];
const RELAY: &[Field] = &[UUID_FIELD, NAME_FIELD, ("relay_dns", Kind::Flag, false)];
const NIC: &[Field] = &[
    ("name", Kind::Text(255), false),
    ("tap_name", Kind::Text(255), false),
    ("ip", Kind::Text(255), false),
    ("mac", Kind::Text(255), false),
    ("autoconfig", Kind::Flag, false),
    ("relay", Kind::Object(RELAY), false),
];
/// The template of a new instance, and how it is made if it does not exist.
const ORIGIN: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("prepare", Kind::Flag, false),
    ("create_args", Kind::Any, false),
    ("prepare_timeout_s", Kind::Number(-1, 86_400), false),
    ("autokill", rules::IDLE, false),
];
/// Fields of a new instance that 2024 did not have.
const TODAY: &[Field] = &[
    ("template", Kind::Object(ORIGIN), false),
    ("branch_from", Kind::Object(ID), false),
    ("checkpoint", Kind::Object(ID), false),
    // These have rules of their own.
    ("roms", Kind::Any, false),
    ("plugins", Kind::Any, false),
    ("tags", Kind::Any, false),
    ("annotations", Kind::Any, false),
    ("schedules", Kind::Any, false),
    ("autokill", Kind::Any, false),
    ("hostname", Kind::Any, false),
    ("dependencies", Kind::Any, false),
    ("gateway", Kind::Text(255), false),
    ("nameserver", Kind::Text(255), false),
    ("network_interfaces", Kind::List(&Kind::Object(NIC)), false),
    ("type", Kind::Word(&["micro", "full"]), false),
    ("gpus", Kind::Number(0, 1), false),
    (
        "sched_priority",
        Kind::Word(&["normal", "medium", "high", "admin"]),
        false,
    ),
];

pub(super) fn answer(shared: &Shared, request: &Request) -> Result<Response, Response> {
    query(request, &[])?;
    let body = body(request)?;
    let fields: Vec<Field> = match request.today {
        true => [CREATE_TODAY, TODAY].concat(),
        false => CREATE.to_vec(),
    };
    check::object(&body, &fields).map_err(|fault| fault.whole(400))?;
    // The properties of 2024 have no other rules than their types.
    let made = rules::all(&body).and_then(|()| prepare(shared, &body));
    let made = made.and_then(|()| {
        let mut world = shared.world();
        make(&mut world, &body)
    });
    let made = match made {
        Ok(made) => made,
        Err(fault) => return Ok(items("instances", vec![(body, Err(fault))])),
    };
    let made: Vec<(String, String)> = {
        let world = shared.world();
        let named = made.iter().filter_map(|uuid| world.instance(uuid));
        named
            .map(|one| (one.uuid.clone(), one.name.clone()))
            .collect()
    };
    crate::proxy::publish(shared);
    let starts = body
        .get("autostart")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    if starts {
        let uuids: Vec<String> = made.iter().map(|(uuid, _)| uuid.clone()).collect();
        uuids.iter().for_each(|uuid| life::begin(shared, uuid));
        life::until_running(shared, &uuids, life::timeout(&body, "wait_timeout_ms"));
    }
    let waited = starts && life::timeout(&body, "wait_timeout_ms").unwrap_or(0) != 0;
    let world = shared.world();
    let views = made.into_iter().filter_map(|(uuid, name)| {
        if let (true, Some(fault)) = (
            waited && request.today,
            life::not_running(&world, &uuid, &name),
        ) {
            return Some((Value::Null, Err(fault)));
        }
        let view = view(&world, world.instance(&uuid)?, false, request.today);
        Some((Value::Null, Ok(view)))
    });
    Ok(items("instances", views.collect()))
}

/// What a new instance starts from: an image, or a saved or running instance.
struct Source {
    image: crate::world::Image,
    args: Option<Vec<String>>,
    memory: i64,
    asked: Map<String, Value>,
    history: Vec<Value>,
}

/// Returns the reference of an image that is given as text or as an object.
pub(super) fn image_name(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("url")?.as_str());
    text.map(str::to_owned)
}

/// Returns the UUID and the name of an object without its other fields.
fn only_id(value: &Value) -> Value {
    let mut id = Map::new();
    for key in ["uuid", "name"] {
        id.extend(value.get(key).map(|text| (key.to_owned(), text.clone())));
    }
    Value::Object(id)
}

fn source(world: &World, body: &Value) -> Result<Source, Fault> {
    let from = ["image", "template", "branch_from", "checkpoint"];
    let given: Vec<&str> = from
        .into_iter()
        .filter(|key| body.get(key).is_some())
        .collect();
    let id = |key: &str| only_id(body.get(key).unwrap_or(&Value::Null));
    let base = match given.as_slice() {
        ["image"] => {
            let name = body.get("image").and_then(image_name).unwrap_or_default();
            return Ok(Source {
                image: world.resolve(&name)?,
                args: None,
                memory: 128,
                asked: Map::new(),
                history: Vec::new(),
            });
        }
        [key @ "template"] => world.find_saved(&id(key), State::Template)?,
        [key @ "checkpoint"] => world.find_saved(&id(key), State::Checkpoint)?,
        [key] => world.find_instance(&id(key))?,
        _ => {
            let message = "exactly one of `image`, `template`, `branch_from` and `checkpoint` \
                           must be set";
            return Err(Fault::new(Code::NotBoth, message));
        }
    };
    let missing = || Fault::new(Code::NotFound, "its source is gone");
    let base = world.instance(&base).ok_or_else(missing)?;
    is_micro(base)?;
    let mut asked = base.asked.as_object().cloned().unwrap_or_default();
    for own in [
        "name",
        "service_group",
        "volumes",
        "tags",
        "delete_lock",
        "replicas",
        "template_autokill",
        "checkpoint_autokill",
    ] {
        asked.remove(own);
    }
    let mut history = base.history.clone();
    if base.state == State::Checkpoint {
        history.insert(
            0,
            json!({"uuid": base.uuid, "name": base.name, "created_at": base.created}),
        );
    }
    Ok(Source {
        image: world.image_of(&base.image).ok_or_else(missing)?,
        args: Some(base.args.clone()),
        memory: base.memory,
        asked,
        history,
    })
}

/// Rejects an instance that cannot be saved or copied.
pub(super) fn is_micro(one: &Instance) -> Result<(), Fault> {
    if one.asked.get("type") == Some(&json!("full")) {
        let message = "an instance of type `full` has no templates, branches and checkpoints";
        return Err(Fault::new(Code::NotBoth, message));
    }
    Ok(())
}

/// Makes the template of a new instance, if it does not exist and the request says how.
fn prepare(shared: &Shared, body: &Value) -> Result<(), Fault> {
    let Some(template) = body.get("template") else {
        return Ok(());
    };
    let mut world = shared.world();
    let how = template
        .get("create_args")
        .filter(|_| template.get("prepare") == Some(&json!(true)));
    let name = template.get("name");
    let (Some(how), Some(name)) = (how, name) else {
        return Ok(());
    };
    if world
        .find_saved(&json!({"name": name}), State::Template)
        .is_ok()
    {
        return Ok(());
    }
    let mut new = how.clone();
    if let Some(new) = new.as_object_mut() {
        new.insert("name".to_owned(), name.clone());
    }
    if let (Some(kill), Some(new)) = (template.get("autokill"), new.as_object_mut()) {
        new.insert("template_autokill".to_owned(), kill.clone());
    }
    rules::all(&new)?;
    for uuid in make(&mut world, &new)? {
        world.enter(&uuid, State::Template);
    }
    Ok(())
}

/// Creates all replicas or none, and returns their UUIDs.
fn make(world: &mut World, body: &Value) -> Result<Vec<String>, Fault> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let number = |key: &str, default| body.get(key).and_then(Value::as_i64).unwrap_or(default);
    exclusions(body)?;
    let source = source(world, body)?;
    let image = source.image;
    let app = image
        .repository
        .rsplit('/')
        .next()
        .unwrap_or("app")
        .to_owned();
    let copies = usize::try_from(number("replicas", 0)).unwrap_or(0) + 1;
    let memory = number("memory_mb", source.memory);
    quota(world, copies, memory, body)?;
    if let Some(name) = text("name")
        && world.instances.iter().any(|one| one.name == name)
    {
        let message = format!("An instance named '{name}' exists");
        return Err(Fault::new(Code::Exists, message));
    }
    let needed = body.get("dependencies").and_then(Value::as_array);
    for id in needed.into_iter().flatten() {
        world.find_instance(id)?;
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
        None if source.args.is_some() => source.args.unwrap_or_default(),
        None => image.args.split_whitespace().map(str::to_owned).collect(),
    };
    let mut asked = source.asked;
    let inherited = asked.get("annotations").and_then(Value::as_object).cloned();
    asked.extend(body.as_object().cloned().unwrap_or_default());
    if let Some(mut all) = inherited {
        let own = asked.get("annotations").and_then(Value::as_object).cloned();
        all.extend(own.unwrap_or_default());
        asked.insert("annotations".to_owned(), Value::Object(all));
    }
    for origin in ["template", "checkpoint"] {
        let used = body
            .get(origin)
            .and_then(|id| world.find_instance(&only_id(id)).ok());
        if let Some(base) = used.and_then(|uuid| world.instance_mut(&uuid)) {
            base.idle = Instant::now();
        }
    }
    let asked = Value::Object(asked);
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
            asked: asked.clone(),
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
            plugins: std::collections::BTreeMap::new(),
            history: source.history.clone(),
            updates: Vec::new(),
            idle: Instant::now(),
            scheduled: jiff::Timestamp::now(),
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
pub(super) fn remember_image(world: &mut World, image: crate::world::Image) {
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
    let waits = life::timeout(body, "wait_timeout_ms").unwrap_or(0);
    let full = body.get("type").and_then(Value::as_str) == Some("full");
    let gpus = body.get("gpus").and_then(Value::as_i64).unwrap_or(0);
    if full && zero != "off" {
        return clash("`type: full` and `scale_to_zero` exclude each other");
    }
    let copied = ["template", "checkpoint", "branch_from"];
    if full && copied.iter().any(|origin| body.get(origin).is_some()) {
        return clash("`type: full` and a template, a checkpoint or a branch exclude each other");
    }
    if gpus > 0 && !full {
        return clash("`gpus` needs `type: full`");
    }
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
    let live = world.instances.iter().filter(|one| !one.state.is_at_rest());
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

/// A volume to mount: the volume, or what a new one is like; the path; whether it is read-only.
struct Mount(Result<String, New>, String, bool);

/// A volume to create with an instance.
struct New {
    name: Option<String>,
    size: i64,
    more: Map<String, Value>,
}

fn mounts(world: &World, body: &Value) -> Result<Vec<Mount>, Fault> {
    let asked = body.get("volumes").and_then(Value::as_array);
    let mounts = asked.into_iter().flatten().map(|one| {
        let at = one
            .get("at")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if !rules::is_mount_point(&at) {
            return Err(Fault::new(Code::Invalid, "`at` is not an absolute path"));
        }
        let readonly = one
            .get("readonly")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        if let (Some(size), None) = (one.get("size_mb").and_then(Value::as_i64), one.get("uuid")) {
            let name = one.get("name").and_then(Value::as_str);
            let mut more = volumes::properties(one);
            more.retain(|key, _| !["at", "readonly"].contains(&key.as_str()));
            let new = New {
                name: name.map(str::to_owned),
                size,
                more,
            };
            return Ok(Mount(Err(new), at, readonly));
        }
        let volume = world.find_volume(one)?;
        if !volume.is_available(readonly) {
            return Err(Fault::new(Code::Attached, "the volume is not available"));
        }
        Ok(Mount(Ok(volume.uuid.clone()), at, readonly))
    });
    let mounts: Vec<Mount> = mounts.collect::<Result<_, _>>()?;
    for (position, Mount(_, at, _)) in mounts.iter().enumerate() {
        let mut earlier = mounts.iter().take(position);
        if earlier.any(|Mount(_, path, _)| path == at) {
            let message = format!("two volumes are mounted at '{at}'");
            return Err(Fault::new(Code::Invalid, message));
        }
    }
    Ok(mounts)
}

/// Creates the volumes that do not exist yet, and returns for each: UUID, path, whether it is
/// read-only.
fn volumes_of(world: &mut World, mounts: Vec<Mount>) -> Result<Vec<(String, String, bool)>, Fault> {
    let mut found = Vec::with_capacity(mounts.len());
    for Mount(which, at, readonly) in mounts {
        let uuid = match which {
            Ok(uuid) => uuid,
            Err(new) => {
                let uuid = volumes::create(world, new.name.as_deref(), new.size, false)?;
                let volume = world.volumes.iter_mut().find(|one| one.uuid == uuid);
                if let Some(volume) = volume {
                    volume.more = new.more;
                }
                uuid
            }
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
        check::object(&new, services::CREATE_TODAY)?;
        return services::create(world, &new, false).map(Some);
    }
    let uuid = world.find_group(asked)?.uuid.clone();
    if let Some(group) = world.groups.iter_mut().find(|one| one.uuid == uuid) {
        group.persistent = true;
    }
    Ok(Some(uuid))
}
