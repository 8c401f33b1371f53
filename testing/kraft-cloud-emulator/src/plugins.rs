//! `/instances/UUID/plugins/NAME/PATH` (2026): requests that the platform passes on to a plugin in
//! an instance.
//!
//! A test sets the address of a plugin with `POST /_emulator/backends`. Of the others, `sandbox` is
//! emulated (see [`sandbox`]), and any other one answers with what it received:
//! `{plugin, method, path, query, body, config}`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::answer::{Code, Fault};
use crate::http::{self, Request, Response};
use crate::sandbox::{self, Sandbox};
use crate::server::Shared;
use crate::sleep::Guest;
use crate::world::State;

/// Headers that belong to the connection with the platform, and are not passed on.
const OWN: &[&str] = &["authorization", "connection", "content-length", "host"];

/// Answers a request to a plugin of an instance, given by its UUID.
pub(crate) fn answer(shared: &Shared, request: &Request, uuid: &str, name: &str) -> Response {
    let missing = |what: &str| Fault::new(Code::NotFound, format!("No {what}")).whole(404);
    let (plugin, address) = {
        let world = shared.world();
        let Some(one) = world.instance(uuid) else {
            return missing(&format!("instance with uuid '{uuid}'"));
        };
        let plugins = one.asked.get("plugins").and_then(Value::as_array);
        let mut plugins = plugins.into_iter().flatten();
        let Some(plugin) = plugins.find(|plugin| plugin["name"] == *name) else {
            return missing(&format!("plugin with name '{name}'"));
        };
        if !matches!(one.state, State::Running | State::Standby) {
            let message = format!("The instance is {}", one.state.word());
            return Fault::new(Code::WrongState, message).whole(503);
        }
        (plugin.clone(), one.plugins.get(name).copied())
    };
    // A request wakes the instance, and keeps it awake.
    let _guest = Guest::of(shared, uuid);
    let marker = format!("/plugins/{name}");
    let rest = request.target.split_once(&marker).map(|(_, rest)| rest);
    let target = match rest {
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        Some(rest) => format!("/{rest}"),
        None => "/".to_owned(),
    };
    if address.is_none() && name == sandbox::NAME {
        return match sandbox_of(shared, uuid) {
            Ok(sandbox) => sandbox.answer(request, target.split('?').next().unwrap_or_default()),
            Err(error) => Fault::new(Code::Failed, error.to_string()).whole(502),
        };
    }
    let Some(address) = address else {
        let text = String::from_utf8_lossy(&request.body);
        let body = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
        return Response::new(
            200,
            json!({
                "plugin": name, "method": request.method, "query": request.query,
                "path": target.split('?').next(), "body": body, "config": plugin.get("config"),
            }),
        );
    };
    let mut headers = request.headers.clone();
    headers.retain(|name, _| !OWN.contains(&name.as_str()));
    let what = format!("{} {target}", request.method);
    match http::exchange(address, &what, &headers, &request.body) {
        Some((status, headers, body)) => {
            let kind = headers.get("content-type").map(String::as_str);
            Response::text(status, kind.unwrap_or("application/octet-stream"), body)
        }
        None => Fault::new(Code::Failed, "The plugin does not answer").whole(502),
    }
}

/// Returns the sandbox of an instance, which is another one after each start.
fn sandbox_of(shared: &Shared, uuid: &str) -> std::io::Result<Arc<Sandbox>> {
    let mut world = shared.world();
    let starts = world.instance(uuid).map_or(0, |one| one.starts);
    let known = world.sandboxes.get(uuid).filter(|one| one.starts == starts);
    if let Some(known) = known {
        return Ok(Arc::clone(known));
    }
    let new = Arc::new(Sandbox::new(starts)?);
    world.sandboxes.insert(uuid.to_owned(), Arc::clone(&new));
    Ok(new)
}
