//! `PATCH`: changes of single properties (2026): `{prop, op: set|add|del, value}`.

use serde_json::{Map, Value, json};

use crate::answer::{Code, Fault};
use crate::world::Instance;

/// Properties of an instance that a running guest does not see before it is restarted.
const AT_RESTART: &[&str] = &[
    "image",
    "args",
    "env",
    "memory_mb",
    "vcpus",
    "hostname",
    "roms",
    "plugins",
];

/// Applies a change to the properties of a resource, if the result keeps the rules for it.
pub(crate) fn apply(properties: &mut Map<String, Value>, change: &Value) -> Result<(), Fault> {
    let mut changed = properties.clone();
    apply_unchecked(&mut changed, change)?;
    let name = change.get("prop").and_then(Value::as_str);
    if let Some((name, value)) = name.and_then(|name| changed.get_key_value(name)) {
        crate::rules::property(name, value)?;
    }
    *properties = changed;
    Ok(())
}

/// Applies a change, whatever the rules for the property are.
pub(crate) fn apply_unchecked(
    properties: &mut Map<String, Value>,
    change: &Value,
) -> Result<(), Fault> {
    let text = |key: &str| change.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, value) = (
        text("prop"),
        change.get("value").filter(|one| !one.is_null()),
    );
    let wrong = |why: &str| Fault::new(Code::Invalid, format!("`{name}`: {why}"));
    match (text("op"), value) {
        // A command line may be a text.
        ("set", Some(Value::String(line))) if name == "args" => {
            let args: Vec<&str> = line.split_whitespace().collect();
            properties.insert(name.to_owned(), json!(args));
        }
        ("set", Some(value)) => {
            properties.insert(name.to_owned(), value.clone());
        }
        ("add", Some(value)) => match (properties.get_mut(name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => {
                for one in more {
                    if !list.contains(one) {
                        list.push(one.clone());
                    }
                }
            }
            (Some(Value::Object(map)), Value::Object(more)) => map.extend(more.clone()),
            (None, Value::Array(_) | Value::Object(_)) => {
                properties.insert(name.to_owned(), value.clone());
            }
            _ => return Err(wrong("only members of a list or an object can be added")),
        },
        ("add", None) => return Err(wrong("`add` needs a value")),
        // Clients remove a property by either.
        ("set" | "del", None) => {
            properties.remove(name);
        }
        ("del", Some(value)) => {
            // A member is selected by itself, or by what names it.
            let is = |one: &Value, wanted: &Value| {
                let same = |key: &str| {
                    let own = one.get(key).filter(|own| !own.is_null());
                    own.is_some_and(|own| own == wanted || wanted.get(key) == Some(own))
                };
                one == wanted || ["name", "fqdn", "port", "uuid"].into_iter().any(same)
            };
            let gone = |one: &Value| match value {
                Value::Array(wanted) => wanted.iter().any(|wanted| is(one, wanted)),
                Value::Object(wanted) if one.is_string() => {
                    one.as_str().is_some_and(|key| wanted.contains_key(key))
                }
                wanted => is(one, wanted),
            };
            match properties.get_mut(name) {
                Some(Value::Array(list)) => list.retain(|one| !gone(one)),
                Some(Value::Object(map)) => map.retain(|key, _| !gone(&json!(key))),
                None if value.is_array() || value.is_string() || value.is_object() => {}
                _ => return Err(wrong("it has no members to remove")),
            }
        }
        (op, _) => return Err(wrong(&format!("`{op}` is not an operation"))),
    }
    Ok(())
}

/// Applies a change to an instance: at once, or when it stops.
pub(crate) fn change(one: &mut Instance, change: &Value) -> Result<(), Fault> {
    let name = change
        .get("prop")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // The image is resolved by the caller.
    if AT_RESTART.contains(&name) && !one.state.is_at_rest() {
        let mut copy = properties(one);
        apply(&mut copy, change)?;
        let mut pending = change.clone();
        if let Some(pending) = pending.as_object_mut() {
            pending.insert("status".to_owned(), json!("pending"));
            for key in ["uuid", "name", "id"] {
                pending.remove(key);
            }
        }
        one.updates.push(pending);
        return Ok(());
    }
    let mut changed = properties(one);
    apply(&mut changed, change)?;
    store(one, changed);
    Ok(())
}

/// Applies the changes that waited until an instance stopped.
pub(crate) fn apply_pending(one: &mut Instance) {
    for pending in std::mem::take(&mut one.updates) {
        let mut changed = properties(one);
        if apply(&mut changed, &pending).is_ok() {
            store(one, changed);
        }
    }
}

fn properties(one: &Instance) -> Map<String, Value> {
    let mut all = one.asked.as_object().cloned().unwrap_or_default();
    all.insert("args".to_owned(), json!(one.args));
    all.insert("memory_mb".to_owned(), json!(one.memory));
    all.insert("image".to_owned(), json!(one.image));
    all
}

fn store(one: &mut Instance, all: Map<String, Value>) {
    let args = all.get("args").and_then(Value::as_array);
    one.args = args
        .into_iter()
        .flatten()
        .filter_map(|arg| arg.as_str().map(str::to_owned))
        .collect();
    one.memory = all.get("memory_mb").and_then(Value::as_i64).unwrap_or(128);
    if let Some(image) = all.get("image").and_then(Value::as_str) {
        image.clone_into(&mut one.image);
    }
    one.asked = Value::Object(all);
}
