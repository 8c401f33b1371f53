//! Routes requests by path and method.

pub(crate) mod admin;
mod autoscale;
mod certificates;
mod create;
mod images;
mod instances;
mod life;
mod saved;
mod services;
mod users;
mod volumes;

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::answer::{Code, Fault, items};
use crate::check::{self, Field, ID, Kind, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response, decoded};
use crate::server::Shared;
use crate::world::State;

/// Answers a request below `/v1/`.
pub(crate) fn answer(shared: &Shared, request: &Request, path: &str) -> Response {
    let begun = Instant::now();
    let path: Vec<String> = path.trim_end_matches('/').split('/').map(decoded).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let today = request.today;
    let outcome = match path.as_slice() {
        ["instances", "templates", rest @ ..] if today => {
            saved::answer(shared, request, rest, State::Template)
        }
        ["instances", "checkpoints", rest @ ..] if today => {
            saved::answer(shared, request, rest, State::Checkpoint)
        }
        ["instances", uuid, "plugins", name, ..] if today => {
            return crate::plugins::answer(shared, request, uuid, name);
        }
        ["instances", rest @ ..] => instances::answer(shared, request, rest),
        ["images", "list"] if !today => images::answer(shared, request),
        ["images"] if today => images::today(shared, request, true),
        ["image-store"] if today => images::today(shared, request, false),
        ["healthz"] if today => healthz(request),
        ["services", "autoscale"] => autoscale::answer(shared, request, None, &[]),
        ["services", uuid, "autoscale", rest @ ..] => {
            autoscale::answer(shared, request, Some(uuid), rest)
        }
        ["services", rest @ ..] => services::answer(shared, request, rest),
        ["volumes", rest @ ..] => volumes::answer(shared, request, rest),
        ["certificates", rest @ ..] => certificates::answer(shared, request, rest),
        ["users", rest @ ..] => users::answer(shared, request, rest),
        _ => Err(nowhere()),
    };
    let mut response = outcome.unwrap_or_else(|refused| refused);
    if today {
        finish(&mut response, request, begun.elapsed());
    }
    response
}

/// Completes a response in the form of 2026: the duration, warnings, and the status of an error.
fn finish(response: &mut Response, request: &Request, time: Duration) {
    let status = response.status;
    let Some(body) = response.body.as_object_mut() else {
        return;
    };
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    body.insert("op_time_us".to_owned(), json!(micros));
    if status != 200 {
        // Only 2024 has the code of the error here.
        if let Some(error) = body
            .get_mut("errors")
            .and_then(|all| all.get_mut(0)?.as_object_mut())
        {
            error.insert("status".to_owned(), json!(status));
        }
        return;
    }
    let warnings = warnings(request);
    if !warnings.is_empty() {
        body.insert("warnings".to_owned(), json!(warnings));
    }
    if request.method == "GET" && request.parameter("details") == Some("false") {
        let lists = body.get_mut("data").and_then(Value::as_object_mut);
        let lists = lists.into_iter().flat_map(Map::values_mut);
        for item in lists.filter_map(Value::as_array_mut).flatten() {
            if let Some(item) = item.as_object_mut() {
                item.retain(|key, _| BRIEF.contains(&key.as_str()));
            }
        }
    }
}

/// Fields of a resource that is listed without details.
const BRIEF: &[&str] = &["status", "message", "error", "uuid", "name"];

/// Former names of fields, and their present ones.
const DEPRECATED: &[(&str, &str)] = &[
    ("wait_timeout_ms", "timeout_s"),
    ("timeout_ms", "timeout_s"),
    ("cn", "common_name"),
    ("rom", "image"),
];

/// Returns a warning for each deprecated field of a request.
fn warnings(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut found = Vec::new();
    for (old, new) in DEPRECATED {
        let has = |item: &Value| {
            let plugins = item.get("plugins").and_then(Value::as_array);
            let mut plugins = plugins.into_iter().flatten();
            let is_set = |one: &Value| one.get(old).is_some_and(|value| !value.is_null());
            match *old {
                "rom" => plugins.any(is_set),
                _ => is_set(item),
            }
        };
        let listed = body.as_array().is_some_and(|items| items.iter().any(has));
        if listed || has(&body) || request.parameter(old).is_some() {
            found.push(format!("`{old}` is deprecated: use `{new}`"));
        }
    }
    found
}

/// `/healthz`: whether the platform works.
fn healthz(request: &Request) -> Result<Response, Response> {
    if request.method != "GET" {
        return Err(wrong_method());
    }
    let data = json!({
        "checks": {"images": "healthy", "systemd": "healthy"},
        "versions": {"api": "emulator"},
        "license": {"serial": "0", "valid": true, "features": []},
    });
    Ok(Response::new(
        200,
        json!({"status": "success", "data": data}),
    ))
}

/// A resource of a list.
pub(crate) struct Listed {
    /// UUID.
    pub uuid: String,
    /// Creation time.
    pub created: String,
    /// Tags; `null` if it has none.
    pub tags: Value,
}

/// Returns the selected items of a collection: those of the query or the body, else one page of
/// all. `all` lists them in order of creation.
///
/// The description of 2024 takes a body and no pages, that of 2026 pages and no body.
pub(crate) fn listed(
    request: &Request,
    one: Option<&str>,
    old_parameters: &[&str],
    all: impl FnOnce() -> Vec<Listed>,
) -> Result<Vec<Value>, Response> {
    if !request.today {
        query(request, old_parameters)?;
        let whole = || {
            all()
                .into_iter()
                .map(|one| json!({"uuid": one.uuid}))
                .collect()
        };
        return Ok(asked(request, one, ID)?.unwrap_or_else(whole));
    }
    query(
        request,
        &["details", "count", "from", "order", "sortby", "tags"],
    )?;
    for (name, words) in [
        ("details", ["true", "false"].as_slice()),
        ("order", &["asc", "desc"]),
        ("sortby", &["create_time"]),
    ] {
        one_of(request, name, words)?;
    }
    no_body(request)?;
    if let Some(named) = asked(request, one, ID)? {
        return Ok(named);
    }
    let tags = request.query.iter().filter(|(key, _)| key == "tags");
    let tags: Vec<&str> = tags.flat_map(|(_, tags)| tags.split(',')).collect();
    let tagged = |own: &Value| {
        let own = own.as_array();
        tags.iter()
            .all(|tag| own.is_some_and(|own| own.iter().any(|one| one == tag)))
    };
    let mut all: Vec<Listed> = all().into_iter().filter(|one| tagged(&one.tags)).collect();
    let descending = request.parameter("order") == Some("desc");
    if descending {
        all.reverse();
    }
    let from = match request.parameter("from") {
        // The cursor is inclusive; of one that does not exist, the page is empty.
        Some(cursor) if uuid::Uuid::parse_str(cursor).is_ok() => {
            all.iter().position(|one| one.uuid == cursor)
        }
        Some(time) => {
            let time: jiff::Timestamp = time.parse().map_err(|_| {
                let message = "`from` is neither a UUID nor a time";
                Fault::new(Code::Invalid, message).whole(400)
            })?;
            all.iter().position(|one| {
                let created = one.created.parse::<jiff::Timestamp>();
                created.is_ok_and(|at| if descending { at <= time } else { at >= time })
            })
        }
        None => Some(0),
    };
    let from = from.unwrap_or(all.len());
    let count = match request.parameter("count").map(str::parse::<usize>) {
        // Zero is no limit.
        None | Some(Ok(0)) => usize::MAX,
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            return Err(Fault::new(Code::Invalid, "`count` is not a count").whole(400));
        }
    };
    let page = all.into_iter().skip(from).take(count);
    Ok(page.map(|one| json!({"uuid": one.uuid})).collect())
}

/// Rejects a query parameter that is not one of some words.
fn one_of(request: &Request, name: &str, words: &[&str]) -> Result<(), Response> {
    match request.parameter(name) {
        Some(text) if !words.contains(&text) => {
            let message = format!("`{name}` is not one of {}", words.join(", "));
            Err(Fault::new(Code::Invalid, message).whole(400))
        }
        _ => Ok(()),
    }
}

/// Rejects a body where the description has none.
pub(crate) fn no_body(request: &Request) -> Result<(), Response> {
    match body(request)? {
        Value::Null => Ok(()),
        Value::Array(list) if list.is_empty() => Ok(()),
        _ => Err(Fault::new(Code::Malformed, "this request has no body").whole(400)),
    }
}

/// Fields of a change of one property.
pub(crate) const CHANGE: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("id", Kind::Text(255), false),
    ("prop", Kind::Text(64), true),
    ("op", Kind::Word(&["set", "add", "del"]), true),
    ("value", Kind::Any, false),
];

/// Answers `PATCH`: applies each change whose property is one of `known`.
pub(crate) fn patch(
    request: &Request,
    one: Option<&str>,
    collection: &str,
    known: &[&str],
    mut act: impl FnMut(&Value) -> Result<(String, String), Fault>,
) -> Result<Response, Response> {
    let list = must_ask(request, one, CHANGE)?;
    for item in &list {
        let prop = item.get("prop").and_then(Value::as_str).unwrap_or_default();
        if !known.contains(&prop) {
            let message = format!("`{prop}` is not a property that can be changed");
            return Err(Fault::new(Code::Invalid, message).whole(400));
        }
    }
    Ok(each(collection, list, |item| {
        let (uuid, name) = act(item)?;
        Ok(done(&uuid, &name, json!({"id": item.get("id")})))
    }))
}

/// Returns the response for a path that does not exist.
pub(crate) fn nowhere() -> Response {
    Fault::new(Code::NoSuchEndpoint, "No such endpoint").whole(404)
}

/// Returns the response for a path that exists but does not support the method.
pub(crate) fn wrong_method() -> Response {
    Fault::new(Code::WrongMethod, "Wrong method").whole(405)
}

/// Parses the body as JSON; `Null` if it is empty.
pub(crate) fn body(request: &Request) -> Result<Value, Response> {
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    let malformed = || Fault::new(Code::Malformed, "the body is not JSON").whole(400);
    let body = serde_json::from_slice(&request.body).map_err(|_| malformed())?;
    Ok(if request.today {
        without_nulls(body)
    } else {
        body
    })
}

/// Removes members that are `null`, which are not set (2026); those of a new value of a property are
/// kept.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let set = members.into_iter().filter(|(_, value)| !value.is_null());
            let kept = |name: &str| matches!(name, "value" | "config");
            set.map(|(name, value)| match kept(&name) {
                true => (name, value),
                false => (name, without_nulls(value)),
            })
            .collect::<Map<_, _>>()
            .into()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// Rejects query parameters that the API description does not list.
pub(crate) fn query(request: &Request, known: &[&str]) -> Result<(), Response> {
    let ids = ["uuid", "name"];
    let mut keys = request.query.iter().map(|(key, _)| key.as_str());
    match keys.find(|key| !known.contains(key) && !ids.contains(key)) {
        Some(key) => {
            let message = format!("unknown parameter `{key}`");
            Err(Fault::new(Code::Malformed, message).whole(400))
        }
        None => Ok(()),
    }
}

/// Returns the validated items that a request selects by path, query or body; `None` if it selects
/// none.
pub(crate) fn asked(
    request: &Request,
    path: Option<&str>,
    fields: &[Field],
) -> Result<Option<Vec<Value>>, Response> {
    let ids = request
        .query
        .iter()
        .filter(|(key, _)| key == "uuid" || key == "name");
    let named: Vec<Value> = ids.map(|(key, id)| json!({ key.as_str(): id })).collect();
    let list = match (path, body(request)?) {
        (Some(_), Value::Array(list)) if !list.is_empty() => {
            let message = "the path names one thing, the body others";
            return Err(Fault::new(Code::NotBoth, message).whole(400));
        }
        // In 2024 the path names everything, today the body has the options.
        (Some(uuid), Value::Object(mut options)) if request.today => {
            if options.get("uuid").is_some_and(|other| other != uuid) {
                let message = "the path names one thing, the body another";
                return Err(Fault::new(Code::NotBoth, message).whole(400));
            }
            options.insert("uuid".to_owned(), json!(uuid));
            vec![Value::Object(options)]
        }
        (Some(uuid), _) => vec![json!({"uuid": uuid})],
        (None, Value::Array(list)) if list.is_empty() && !named.is_empty() => named,
        (None, Value::Array(list)) => list,
        (None, Value::Null) if named.is_empty() => return Ok(None),
        (None, Value::Null) => named,
        (None, one @ Value::Object(_)) => vec![one],
        (None, _) => {
            let message = "the body is neither a list nor an object";
            return Err(Fault::new(Code::Malformed, message).whole(400));
        }
    };
    for item in &list {
        check::object(item, fields).map_err(|fault| fault.whole(400))?;
    }
    Ok(Some(list))
}

/// Returns the same as [`asked`], but an error if the request selects no item.
pub(crate) fn must_ask(
    request: &Request,
    path: Option<&str>,
    fields: &[Field],
) -> Result<Vec<Value>, Response> {
    let list = asked(request, path, fields)?;
    list.ok_or_else(|| Fault::new(Code::MissingId, "nothing is named").whole(400))
}

/// Applies an operation to each selected item of a collection and returns the response.
pub(crate) fn each(
    collection: &str,
    list: Vec<Value>,
    mut act: impl FnMut(&Value) -> Result<Value, Fault>,
) -> Response {
    let outcomes = list.into_iter().map(|item| {
        let outcome = act(&item);
        (item, outcome)
    });
    items(collection, outcomes.collect())
}

/// Returns the JSON of a successful item: its UUID, its name, and more fields.
pub(crate) fn done(uuid: &str, name: &str, more: Value) -> Value {
    let mut item = json!({"status": "success", "uuid": uuid, "name": name});
    if let (Some(item), Value::Object(more)) = (item.as_object_mut(), more) {
        item.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
    }
    item
}
