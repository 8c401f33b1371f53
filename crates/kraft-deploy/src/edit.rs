//! Changes of resources in place, compared with what the platform reports afterwards.
//!
//! ```no_run
//! use kraft_cloud::request::Id;
//! use kraft_cloud::resources::Change;
//! use kraft_deploy::{Cloud, edit};
//! # fn example(cloud: &Cloud) -> Result<(), edit::Error> {
//! let more = Change { prop: "memory_mb".to_owned(), op: "set", value: Some(256.into()) };
//! for changed in edit::apply(cloud, &["instances"], &Id::new("web"), &[more])? {
//!     println!("{}: {:?} -> {:?}", changed.prop, changed.old, changed.new);
//! }
//! # Ok(()) }
//! ```

use kraft_cloud::request::Id;
use kraft_cloud::resources::{self, Change, Known, Named};
use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::RequestError;

/// Properties that the platform does not report, or not to everyone.
const UNREPORTED: &[&str] = &["dependencies", "hostname", "sched_priority"];

/// Why a resource was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The platform accepts the change, and reports the property without it.
    #[error("the platform did not change `{prop}` of `{name}`: it is {value}")]
    Ignored {
        /// Name of the resource.
        name: String,
        /// The property.
        prop: String,
        /// Its value, as JSON.
        value: String,
    },
}

/// A property after its change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The property.
    pub prop: String,
    /// Its value before.
    pub old: Option<Value>,
    /// Its value now.
    pub new: Option<Value>,
    /// What became of the change.
    pub outcome: Outcome,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It applies.
    Applied,
    /// It applies when the instance is restarted.
    Pending,
    /// The platform does not report the property.
    Unreported,
}

/// Changes a resource of a collection, and returns its properties that were to change.
///
/// # Errors
///
/// If the resource does not exist, or the platform refuses or ignores a change; earlier changes of
/// the same call apply.
pub fn apply(
    cloud: &Cloud,
    collection: &[&str],
    id: &Id,
    changes: &[Change],
) -> Result<Vec<Changed>, Error> {
    let before = cloud.one(&resources::get(collection, std::slice::from_ref(id)))?;
    let id = Id::Uuid(before.uuid.clone());
    for change in changes {
        let mut request = resources::edit(collection, &id, change);
        request.doing = format!("change `{}` of `{}`", change.prop, before.title());
        cloud.one(&request)?;
    }
    let after = cloud.one(&resources::get(collection, &[id]))?;
    let mut all: Vec<Changed> = Vec::new();
    for change in changes {
        let (old, new) = (property(&before, change), property(&after, change));
        let outcome = if is_pending(&after, &change.prop) {
            Outcome::Pending
        } else if old.is_none() && new.is_none() && UNREPORTED.contains(&change.prop.as_str()) {
            Outcome::Unreported
        } else if is_applied(old.as_ref(), new.as_ref(), change) {
            Outcome::Applied
        } else {
            return Err(Error::Ignored {
                name: after.title().to_owned(),
                prop: change.prop.clone(),
                value: new.map_or_else(|| "not set".to_owned(), |new| new.to_string()),
            });
        };
        if all.iter().all(|known| known.prop != change.prop) {
            all.push(Changed {
                prop: change.prop.clone(),
                old,
                new,
                outcome,
            });
        }
    }
    Ok(all)
}

/// Returns the value of the property that a change is about.
fn property(one: &Named, change: &Change) -> Option<Value> {
    let value = one.more.get(&change.prop);
    value.filter(|value| !value.is_null()).cloned()
}

/// Returns whether a change of a property waits for a restart.
fn is_pending(one: &Named, prop: &str) -> bool {
    let updates = one.more.get("updates").and_then(Value::as_array);
    let mut updates = updates.into_iter().flatten();
    updates.any(|update| update.get("prop").and_then(Value::as_str) == Some(prop))
}

/// Returns whether a property has a change; what the platform adds to it does not matter.
fn is_applied(old: Option<&Value>, new: Option<&Value>, change: &Change) -> bool {
    // The platform resolves the reference of an image to another one.
    if change.prop == "image" {
        return true;
    }
    let now = new.unwrap_or(&Value::Null);
    match (change.op, &change.value) {
        ("del", Some(gone)) => {
            let gone = gone
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![gone.clone()]);
            !gone.iter().any(|one| has(now, one))
        }
        ("add", Some(more)) => holds(now, more),
        ("set", Some(wanted)) => holds(now, wanted) && is_as_long(now, wanted),
        _ => is_nothing(now) || old.is_none() || old != new,
    }
}

/// Returns whether a list or an object has a member, which is given by its name or its port.
fn has(all: &Value, member: &Value) -> bool {
    match all {
        Value::Array(all) => all.iter().any(|one| {
            let named = ["name", "fqdn", "port"].iter();
            one == member
                || named
                    .filter_map(|key| one.get(key))
                    .any(|own| own == member)
        }),
        Value::Object(all) => member.as_str().is_some_and(|name| all.contains_key(name)),
        _ => false,
    }
}

/// Returns whether a value is what it was set to, or has it within it.
fn holds(now: &Value, wanted: &Value) -> bool {
    match (now, wanted) {
        (Value::Object(now), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| match now.get(key) {
                Some(own) => holds(own, wanted),
                None if key == "name" => is_domain(now.get("fqdn"), wanted),
                None => is_nothing(wanted),
            })
        }
        (Value::Array(now), Value::Array(wanted)) => wanted
            .iter()
            .all(|wanted| now.iter().any(|own| holds(own, wanted))),
        // A command line.
        (Value::Array(now), Value::String(line)) => {
            let now: Vec<&str> = now.iter().filter_map(Value::as_str).collect();
            now.join(" ") == line.split_whitespace().collect::<Vec<_>>().join(" ")
        }
        (now, wanted) => now == wanted || (is_nothing(now) && is_nothing(wanted)),
    }
}

/// Returns whether the whole name of a domain is that of a given one: with a final dot it is whole,
/// else it is below that of the metro.
fn is_domain(fqdn: Option<&Value>, given: &Value) -> bool {
    let (Some(fqdn), Some(given)) = (fqdn.and_then(Value::as_str), given.as_str()) else {
        return false;
    };
    match given.strip_suffix('.') {
        Some(whole) => fqdn.trim_end_matches('.') == whole,
        None => fqdn
            .strip_prefix(given)
            .is_some_and(|rest| rest.starts_with('.')),
    }
}

fn is_as_long(now: &Value, wanted: &Value) -> bool {
    match (now, wanted) {
        (Value::Array(now), Value::Array(wanted)) => now.len() == wanted.len(),
        _ => true,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_ignored_change_is_told_from_one_that_applies() {
        let list = json!(["a", "b"]);
        let group = json!([{"port": 443, "handlers": ["tls"]}, {"port": 80}]);
        // operation, value, property after it, whether it applies
        for (op, value, now, applies) in [
            ("set", json!(256), json!(256), true),
            ("set", json!(256), json!(128), false),
            ("set", json!(false), Value::Null, true),
            ("set", json!(["a"]), list.clone(), false),
            ("set", json!(["b", "a"]), list.clone(), true),
            ("set", json!("a b"), list.clone(), true),
            (
                "set",
                json!({"policy": "on"}),
                json!({"policy": "on", "enabled": true}),
                true,
            ),
            (
                "set",
                json!({"policy": "on"}),
                json!({"policy": "off"}),
                false,
            ),
            ("add", json!(["b"]), list.clone(), true),
            ("add", json!(["c"]), list.clone(), false),
            ("add", json!({"A": "b"}), json!({"A": "b", "C": "d"}), true),
            ("add", json!([{"port": 80}]), group.clone(), true),
            ("del", json!(["c"]), list.clone(), true),
            ("del", json!(["b"]), list.clone(), false),
            ("del", json!([80]), group, false),
            ("del", json!("A"), json!({"A": "b"}), false),
            (
                "add",
                json!([{"name": "shop"}]),
                json!([{"fqdn": "shop.fra"}]),
                true,
            ),
            (
                "add",
                json!([{"name": "a.example."}]),
                json!([{"fqdn": "b.example"}]),
                false,
            ),
        ] {
            let change = Change {
                prop: "p".to_owned(),
                op,
                value: Some(value),
            };
            let now = Some(now).filter(|now| !now.is_null());
            assert_eq!(
                is_applied(None, now.as_ref(), &change),
                applies,
                "{change:?} {now:?}"
            );
        }
        let unset = Change {
            prop: "p".to_owned(),
            op: "del",
            value: None,
        };
        assert!(!is_applied(Some(&list), Some(&list), &unset));
        assert!(is_applied(Some(&list), None, &unset));
    }
}
