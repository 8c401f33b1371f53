//! `/instances/templates` and `/instances/checkpoints` (2026): saved instances, and `history`.

use serde_json::{Value, json};

use super::instances::{self, of_state, view};
use super::{asked, done, each, listed, must_ask, nowhere, patch, wrong_method};
use crate::answer::{Code, Fault};
use crate::check::{Field, ID, Kind, NAME, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{State, World, fresh_uuid, pointer, random, stamp};

const TIME: Kind = Kind::Number(-1, 86_400);
const AUTOKILL: Kind = crate::rules::IDLE;
const TEMPLATE: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("timeout_s", TIME, false),
    ("autokill", AUTOKILL, false),
];
const CHECKPOINT: &[Field] = &[
    ("from", Kind::Object(ID), true),
    ("name", NAME, false),
    ("timeout_s", TIME, false),
    ("tags", Kind::List(&Kind::Text(256)), false),
    ("autokill", AUTOKILL, false),
];
/// Properties of a saved instance that can be changed.
const PROPERTIES: &[&str] = &["tags", "delete_lock", "autokill"];

/// Answers a request below the path of one kind of saved instances.
pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    path: &[&str],
    kind: State,
) -> Result<Response, Response> {
    let one = match path {
        [] => None,
        ["history"] if kind == State::Checkpoint => {
            return history(shared, request, None, Some(kind));
        }
        [uuid, "history"] if kind == State::Checkpoint => {
            return history(shared, request, Some(uuid), Some(kind));
        }
        [uuid] => Some(*uuid),
        _ => return Err(nowhere()),
    };
    match (request.method.as_str(), one) {
        ("POST", None) if kind == State::Template => {
            let list = must_ask(request, None, TEMPLATE)?;
            Ok(each("instances", list, |item| turn(shared, item)))
        }
        ("POST", None) => {
            let list = must_ask(request, None, CHECKPOINT)?;
            Ok(each("instances", list, |item| {
                save(&mut shared.world(), item)
            }))
        }
        ("GET", _) => {
            let world = shared.world();
            let all = || of_state(&world, |state| state == kind);
            let list = listed(request, one, &[], all)?;
            Ok(each("instances", list, |item| {
                let uuid = world.find_saved(item, kind)?;
                let found = world.instance(&uuid);
                Ok(found
                    .map(|one| view(&world, one, false, true))
                    .unwrap_or_default())
            }))
        }
        ("DELETE", _) => {
            let list = must_ask(request, one, ID)?;
            Ok(each("instances", list, |item| {
                let mut world = shared.world();
                let uuid = world.find_saved(item, kind)?;
                let Some(found) = world.instance(&uuid) else {
                    return Ok(Value::Null);
                };
                if instances::is_locked(&found.asked) {
                    return Err(instances::locked());
                }
                let name = found.name.clone();
                world.remove_instance(&uuid);
                Ok(done(&uuid, &name, Value::Null))
            }))
        }
        ("PATCH", _) => {
            let mut world = shared.world();
            patch(request, one, "instances", PROPERTIES, |item| {
                let uuid = world.find_saved(item, kind)?;
                let mut item = item.clone();
                if item.get("prop") == Some(&json!("autokill"))
                    && let Some(item) = item.as_object_mut()
                {
                    item.insert("prop".to_owned(), json!(autokill(kind)));
                }
                let one = world.instance_mut(&uuid);
                let one = one.ok_or_else(|| Fault::new(Code::NotFound, "it is gone"))?;
                crate::patch::change(one, &item)?;
                Ok((uuid, one.name.clone()))
            })
        }
        _ => Err(wrong_method()),
    }
}

/// Returns the property that holds when a saved instance is removed.
fn autokill(kind: State) -> &'static str {
    match kind {
        State::Template => "template_autokill",
        _ => "checkpoint_autokill",
    }
}

/// Turns an instance into a template; its machine ends.
fn turn(shared: &Shared, item: &Value) -> Result<Value, Fault> {
    let (uuid, name) = {
        let mut world = shared.world();
        let uuid = world.find_instance(item)?;
        let Some(one) = world.instance_mut(&uuid) else {
            return Ok(Value::Null);
        };
        if matches!(one.state, State::Template | State::Checkpoint) {
            return Err(Fault::new(Code::WrongState, "it is saved already"));
        }
        super::create::is_micro(one)?;
        one.next = None;
        let (kill, name) = (item.get("autokill").cloned(), one.name.clone());
        if let (Some(kill), Some(asked)) = (kill, one.asked.as_object_mut()) {
            asked.insert(autokill(State::Template).to_owned(), kill);
        }
        world.enter(&uuid, State::Template);
        (uuid, name)
    };
    crate::machine::remove(shared, &uuid);
    let state = State::Template.word();
    Ok(done(&uuid, &name, json!({"state": state})))
}

/// Saves a checkpoint of an instance, which continues to run.
fn save(world: &mut World, item: &Value) -> Result<Value, Fault> {
    let from = item.get("from").cloned().unwrap_or_default();
    let from = world.find_instance(&from)?;
    let Some(mut copy) = world.instance(&from).cloned() else {
        return Ok(Value::Null);
    };
    if matches!(copy.state, State::Template | State::Checkpoint) {
        return Err(Fault::new(Code::WrongState, "it is saved already"));
    }
    super::create::is_micro(&copy)?;
    crate::rules::all(item)?;
    let name = item.get("name").and_then(Value::as_str);
    let name = name.map_or_else(|| format!("{}-{}", copy.name, random(5)), str::to_owned);
    if world.instances.iter().any(|one| one.name == name) {
        let message = format!("An instance named '{name}' exists");
        return Err(Fault::new(Code::Exists, message));
    }
    let uuid = fresh_uuid();
    let now = stamp();
    let mut entry = pointer(&uuid, &name);
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("created_at".to_owned(), json!(now));
    }
    if let Some(asked) = copy.asked.as_object_mut() {
        asked.remove("tags");
        asked.remove("delete_lock");
        if let Some(tags) = item.get("tags") {
            asked.insert("tags".to_owned(), tags.clone());
        }
        if let Some(kill) = item.get("autokill") {
            asked.insert(autokill(State::Checkpoint).to_owned(), kill.clone());
        }
    }
    (copy.uuid, copy.name, copy.created) = (uuid.clone(), name.clone(), now);
    (copy.state, copy.next, copy.group) = (State::Checkpoint, None, None);
    copy.idle = std::time::Instant::now();
    copy.backends.clear();
    // What the instance came from is also what its checkpoint came from.
    world.instances.push(copy);
    if let Some(one) = world.instance_mut(&from) {
        one.history.insert(0, entry);
    }
    Ok(done(
        &uuid,
        &name,
        json!({"state": State::Checkpoint.word()}),
    ))
}

/// Answers which checkpoints instances came from.
pub(super) fn history(
    shared: &Shared,
    request: &Request,
    one: Option<&str>,
    kind: Option<State>,
) -> Result<Response, Response> {
    if request.method != "GET" {
        return Err(wrong_method());
    }
    super::query(request, &[])?;
    super::no_body(request)?;
    let world = shared.world();
    let wanted = |state| match kind {
        Some(kind) => state == kind,
        None => !matches!(state, State::Template | State::Checkpoint),
    };
    let all = of_state(&world, wanted).into_iter();
    let all = || all.map(|one| json!({"uuid": one.uuid})).collect();
    let list = asked(request, one, ID)?.unwrap_or_else(all);
    Ok(each("instances", list, |item| {
        let uuid = match kind {
            Some(kind) => world.find_saved(item, kind)?,
            None => world.find_instance(item)?,
        };
        let found = world
            .instance(&uuid)
            .map(|one| done(&one.uuid, &one.name, json!({"history": one.history})));
        Ok(found.unwrap_or_default())
    }))
}
