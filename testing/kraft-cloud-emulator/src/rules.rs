//! Rules for the properties of instances (2026), whether they are new or changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::answer::{Code, Fault};
use crate::calendar::Event;
use crate::check::{self, Field, ID, Kind};

const TEXT: Kind = Kind::Text(8 << 20);
/// Tags, at most [`MOST_TAGS`].
pub(crate) const TAGS: Kind = Kind::List(&Kind::Text(256));
const MOST_TAGS: usize = 16;
const MOST_ANNOTATIONS: usize = 256;
const MOST_PLUGINS: usize = 8;
const FILES: Kind = Kind::List(&Kind::Object(&[
    ("path", Kind::Text(4096), true),
    ("encoding", Kind::Word(&["text", "base64"]), false),
    ("data", TEXT, false),
]));
const ROM: &[Field] = &[
    ("name", Kind::Text(255), true),
    ("image", Kind::Image, false),
    ("files", FILES, false),
    ("at", Kind::Text(4096), false),
];
const PLUGIN: &[Field] = &[
    ("name", Kind::Text(63), true),
    ("image", Kind::Image, false),
    ("rom", Kind::Image, false),
    ("config", Kind::Any, false),
];
const SCHEDULE: &[Field] = &[
    ("name", Kind::Text(255), false),
    ("when", Kind::Text(255), true),
    (
        "action",
        Kind::Word(&["start", "stop", "delete", "exec"]),
        true,
    ),
    ("args", Kind::List(&TEXT), false),
];
const AUTOKILL: &[Field] = &[
    ("time_ms", MILLIS, false),
    ("num_requests", Kind::Number(0, i64::MAX), false),
];
const MILLIS: Kind = Kind::Number(0, i64::MAX);
pub(crate) const SCALE_TO_ZERO: &[Field] = &[
    ("policy", Kind::Word(&["on", "off", "idle"]), false),
    ("stateful", Kind::Flag, false),
    ("cooldown_time_ms", Kind::Number(0, 86_400_000), false),
    ("notify_time_ms", Kind::Number(0, 86_400_000), false),
];
/// Properties that an instance has from its creation, and that can be changed.
const PROPERTIES: &[Field] = &[
    ("image", Kind::Image, false),
    ("args", Kind::List(&TEXT), false),
    ("env", Kind::Texts, false),
    ("memory_mb", Kind::Number(16, 1 << 20), false),
    ("vcpus", Kind::Number(1, 64), false),
    ("scale_to_zero", Kind::Object(SCALE_TO_ZERO), false),
    ("tags", TAGS, false),
    ("delete_lock", Kind::Flag, false),
    ("schedules", Kind::List(&Kind::Object(SCHEDULE)), false),
    ("autokill", Kind::Object(AUTOKILL), false),
    ("template_autokill", IDLE, false),
    ("checkpoint_autokill", IDLE, false),
    ("hostname", Kind::Text(63), false),
    ("roms", Kind::List(&Kind::Object(ROM)), false),
    ("plugins", Kind::List(&Kind::Object(PLUGIN)), false),
    ("dependencies", Kind::List(&Kind::Object(ID)), false),
    (
        "sched_priority",
        Kind::Word(&["normal", "medium", "high", "admin"]),
        false,
    ),
    ("annotations", Kind::Texts, false),
    // Of volumes and service groups.
    ("size_mb", Kind::Number(1, 1_048_576), false),
    ("quota_policy", Kind::Word(&["static", "dynamic"]), false),
    ("services", Kind::List(&Kind::Any), false),
    ("domains", Kind::List(&Kind::Any), false),
    ("soft_limit", Kind::Number(1, 65535), false),
    ("hard_limit", Kind::Number(1, 65535), false),
];
/// `{time_ms}`: the idle time after which something is removed.
pub(crate) const IDLE: Kind = Kind::Object(&[("time_ms", MILLIS, false)]);

/// Checks the properties of a resource that have rules.
pub(crate) fn all(properties: &Value) -> Result<(), Fault> {
    let mut each = properties.as_object().into_iter().flatten();
    each.try_for_each(|(name, value)| property(name, value))
}

/// Checks one property of a resource.
pub(crate) fn property(name: &str, value: &Value) -> Result<(), Fault> {
    if let Some(field) = PROPERTIES.iter().find(|(known, _, _)| *known == name) {
        let mut one = Map::new();
        one.insert(name.to_owned(), value.clone());
        check::object(&Value::Object(one), std::slice::from_ref(field))?;
    }
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    match name {
        "tags" if list.len() > MOST_TAGS => Err(wrong("more than 16 tags")),
        "annotations" => annotations(value),
        "hostname" => match value.as_str() {
            Some(name) if is_label(name) => Ok(()),
            _ => Err(wrong("`hostname` is not a DNS label")),
        },
        "schedules" => {
            unique(list, "schedules")?;
            list.iter().try_for_each(schedule)
        }
        "plugins" if list.len() > MOST_PLUGINS => Err(wrong("more than eight plugins")),
        "plugins" => {
            unique(list, "plugins")?;
            list.iter().try_for_each(plugin)
        }
        "roms" => {
            unique(list, "ROMs")?;
            list.iter().try_for_each(rom)
        }
        _ => Ok(()),
    }
}

fn wrong(message: impl Into<String>) -> Fault {
    Fault::new(Code::Invalid, message)
}

/// Rejects members of a list that have the same name.
fn unique(list: &[Value], what: &str) -> Result<(), Fault> {
    let name = |one: &Value| one.get("name").cloned().filter(|name| !name.is_null());
    for (at, one) in list.iter().enumerate() {
        let earlier = list.get(..at).unwrap_or_default();
        if name(one).is_some() && earlier.iter().any(|other| name(other) == name(one)) {
            return Err(wrong(format!("two {what} have the same name")));
        }
    }
    Ok(())
}

fn is_label(name: &str) -> bool {
    let mid = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(mid)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Checks the keys, `[PREFIX/]NAME` as those of Kubernetes, and that no value has a control
/// character.
fn annotations(value: &Value) -> Result<(), Fault> {
    let Some(map) = value.as_object() else {
        return Ok(());
    };
    if map.len() > MOST_ANNOTATIONS {
        return Err(wrong("more than 256 annotations"));
    }
    for (key, value) in map {
        let (prefix, name) = match key.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, key.as_str()),
        };
        let is_subdomain = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_label);
        let good = name.len() <= 63
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !good || !prefix.is_none_or(is_subdomain) {
            return Err(wrong(format!(
                "'{key}' is not a valid key of an annotation"
            )));
        }
        let text = value.as_str().unwrap_or_default();
        if text.contains(|c: char| c.is_ascii_control()) {
            return Err(wrong(format!(
                "the annotation '{key}' has a control character"
            )));
        }
    }
    Ok(())
}

fn schedule(one: &Value) -> Result<(), Fault> {
    let when = one.get("when").and_then(Value::as_str).unwrap_or_default();
    if Event::parse(when).is_none() {
        return Err(wrong(format!("'{when}' is not a calendar event")));
    }
    let args = one.get("args").and_then(Value::as_array);
    if one.get("action") == Some(&json!("exec")) && args.is_none_or(Vec::is_empty) {
        return Err(wrong("a schedule with the action `exec` needs `args`"));
    }
    Ok(())
}

fn plugin(one: &Value) -> Result<(), Fault> {
    let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(is_good) {
        return Err(wrong(format!("'{name}' is not a valid name of a plugin")));
    }
    if one.get("image").is_some() == one.get("rom").is_some() {
        let message = "exactly one of `image` and `rom` must be set";
        return Err(Fault::new(Code::NotBoth, message));
    }
    Ok(())
}

fn rom(one: &Value) -> Result<(), Fault> {
    if one.get("image").is_some() == one.get("files").is_some() {
        let message = "exactly one of `image` and `files` must be set";
        return Err(Fault::new(Code::NotBoth, message));
    }
    let files = one.get("files").and_then(Value::as_array);
    for file in files.into_iter().flatten() {
        let data = file.get("data").and_then(Value::as_str).unwrap_or_default();
        let is_base64 = file.get("encoding") == Some(&json!("base64"));
        if is_base64 && STANDARD.decode(data).is_err() {
            return Err(wrong("the data of a file is not base64"));
        }
    }
    match one.get("at").and_then(Value::as_str) {
        Some(at) if !is_mount_point(at) => Err(wrong("`at` is not an absolute path")),
        _ => Ok(()),
    }
}

/// Returns whether a path is absolute, and has neither `.` nor `..` nor a colon.
pub(crate) fn is_mount_point(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains(':')
        && !path.split('/').any(|step| step == "." || step == "..")
}
