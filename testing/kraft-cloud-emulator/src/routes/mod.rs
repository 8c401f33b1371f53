//! Routes requests by path and method.

pub(crate) mod admin;
mod autoscale;
mod certificates;
mod create;
mod images;
mod instances;
mod life;
mod services;
mod users;
mod volumes;

use serde_json::{Value, json};

use crate::answer::{Code, Fault, items};
use crate::check::{self, Field};
use crate::http::{Request, Response, decoded};
use crate::server::Shared;

/// Answers a request below `/v1/`.
pub(crate) fn answer(shared: &Shared, request: &Request, path: &str) -> Response {
    let path: Vec<String> = path.trim_end_matches('/').split('/').map(decoded).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let outcome = match path.as_slice() {
        ["instances", rest @ ..] => instances::answer(shared, request, rest),
        ["images", "list"] => images::answer(shared, request),
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
    outcome.unwrap_or_else(|refused| refused)
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
    serde_json::from_slice(&request.body).map_err(|_| malformed())
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
        (Some(uuid), _) => vec![json!({"uuid": uuid})],
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
