//! `/controlplane/v1/…`: the control plane (2026): metros, login, the catalogue of images, nodes.
//!
//! The platform serves it on a host of its own; here it has a path of its own.

use serde_json::{Value, json};

use crate::answer::{Code, Fault};
use crate::http::{Request, Response, decoded};
use crate::server::Shared;
use crate::world::{World, fresh_uuid, stamp};

/// Answers a request below `/controlplane/v1/`.
pub(crate) fn answer(shared: &Shared, request: &Request, path: &str, known: bool) -> Response {
    let path: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let method = request.method.as_str();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (method, path.as_slice()) {
        // A login begins without a token.
        ("POST", ["auth", "signin"]) => return signin(shared, request, &body),
        ("POST", ["auth", "check"]) => return check(shared, request, &body),
        ("GET", ["auth", "confirm", id]) => return confirm(shared, id),
        _ if !known => return Fault::new(Code::Failed, "unauthorized").whole(401),
        _ => {}
    }
    let mut world = shared.world();
    match (method, path.as_slice()) {
        ("GET", ["metros"]) => success(json!({"metros": metros(&world, request)})),
        ("GET", ["auth"]) => success(organisation(&world)),
        ("GET", ["images"]) => success(json!({"images": images(&world, request)})),
        ("GET", ["nodes"] | ["nodes", "wait"]) => nodes(&world, request),
        ("GET", ["nodes", "providers", provider, "regions"]) => match *provider {
            "aws" => success(json!({"regions": [{"name": "eu-central-1", "iata": "FRA"}]})),
            "manual" => success(json!({"regions": []})),
            _ => missing("provider"),
        },
        ("GET", ["nodes", "providers", provider, "types"]) => match *provider {
            "aws" => success(json!({"machine_types": [{
                "name": "c7i.metal-24xl", "description": "bare metal", "vcpus": 96,
                "memory_mib": 196_608, "category": "compute",
                "available_regions": ["eu-central-1"], "nested_virtualization": false,
            }]})),
            "manual" => success(json!({"machine_types": []})),
            _ => missing("provider"),
        },
        ("POST", ["nodes", "activate"]) => match body.get("csr").and_then(Value::as_str) {
            Some(_) => success(json!({"license": "emulated"})),
            None => Fault::new(Code::Malformed, "the body misses `csr`").whole(400),
        },
        ("POST", ["nodes", "deactivate"]) => match body.get("serial").and_then(Value::as_str) {
            Some(_) => success(Value::Null),
            None => Fault::new(Code::Malformed, "the body misses `serial`").whole(400),
        },
        ("GET", ["nodes", uuid] | ["nodes", uuid, "wait"]) => {
            let found: Vec<&Value> = world.nodes.iter().filter(|n| n["uuid"] == *uuid).collect();
            match found.as_slice() {
                [] => missing("node"),
                found => success(json!({"total_count": 1, "nodes": found})),
            }
        }
        ("POST", ["nodes"]) => {
            if body.get("ssh_keys").and_then(Value::as_array).is_none() {
                return Fault::new(Code::Malformed, "the body misses `ssh_keys`").whole(400);
            }
            let node = node(&body);
            world.nodes.push(node.clone());
            success(json!({"node": node}))
        }
        ("DELETE" | "PATCH", ["nodes", rest @ ..]) if rest.len() <= 1 => {
            let ids = match rest.first() {
                Some(uuid) => vec![json!({"uuid": uuid})],
                None => body.as_array().cloned().unwrap_or_default(),
            };
            let changes = match rest.first() {
                Some(_) => body.as_array().cloned().unwrap_or_default(),
                None => changes(request),
            };
            change_nodes(&mut world, &ids, (method == "PATCH").then_some(&changes))
        }
        _ => Fault::new(Code::NoSuchEndpoint, "No such endpoint").whole(404),
    }
}

fn success(data: Value) -> Response {
    Response::new(200, json!({"status": "success", "data": data}))
}

fn missing(what: &str) -> Response {
    Fault::new(Code::NotFound, format!("No such {what}")).whole(404)
}

fn metros(world: &World, request: &Request) -> Vec<Value> {
    // The address that the client used reaches this server from where the client is.
    let host = request.headers.get("host").cloned().unwrap_or_default();
    world
        .settings
        .metros
        .iter()
        .map(|(name, endpoint)| {
            let endpoint = match endpoint.as_str() {
                "" => format!("http://{host}/v1"),
                other => other.to_owned(),
            };
            json!({
                "uuid": world.account, "endpoint": endpoint, "name": name,
                "iata_code": name.to_ascii_uppercase(), "country": "ZZ",
            })
        })
        .collect()
}

fn organisation(world: &World) -> Value {
    json!({
        "organization_name": world.settings.user,
        "organization_display_name": format!("{} (emulated)", world.settings.user),
        "organization_uuid": world.account,
        "registry": "index.unikraft.io",
    })
}

/// Returns the catalogue of the registry: one entry for each repository.
fn images(world: &World, request: &Request) -> Vec<Value> {
    let spaces: Vec<&str> = request
        .query
        .iter()
        .filter(|(key, _)| key == "namespace")
        .flat_map(|(_, spaces)| spaces.split(','))
        .collect();
    let mut found: Vec<Value> = Vec::new();
    for image in world.visible_images() {
        let name = match image.repository.contains('/') {
            true => image.repository.clone(),
            false => format!("official/{}", image.repository),
        };
        let space = name.split('/').next().unwrap_or_default().to_owned();
        if !spaces.is_empty() && !spaces.contains(&space.as_str()) {
            continue;
        }
        let brief = request.parameter("details") == Some("false");
        let tags: Vec<Value> = image
            .tags
            .iter()
            .map(|tag| {
                json!({"name": tag, "digest": image.digest, "size": image.size,
                    "push_time": "2026-01-01T00:00:00Z"})
            })
            .collect();
        let same = |one: &&mut Value| one.get("name").and_then(Value::as_str) == Some(&name);
        match found
            .iter_mut()
            .find(same)
            .and_then(|one| one.get_mut("tags"))
        {
            Some(Value::Array(known)) => known.extend(tags),
            _ if brief => found.push(json!({"name": name})),
            _ => found.push(json!({"name": name, "tags": tags})),
        }
    }
    found
}

/// Answers one page of the nodes that a request selects.
fn nodes(world: &World, request: &Request) -> Response {
    let number = |name: &str| match request.parameter(name).map(str::parse::<usize>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => {
            let message = format!("`{name}` is not a number");
            Err(Fault::new(Code::Invalid, message).whole(400))
        }
    };
    let (limit, offset) = match (number("limit"), number("offset")) {
        (Ok(limit), Ok(offset)) => (limit.filter(|limit| *limit > 0), offset),
        (Err(refused), _) | (_, Err(refused)) => return refused,
    };
    let all = world.nodes.iter().filter(|node| meets(node, request));
    let all: Vec<&Value> = all.collect();
    let page = all
        .iter()
        .skip(offset.unwrap_or(0))
        .take(limit.unwrap_or(usize::MAX));
    success(json!({"total_count": all.len(), "nodes": page.collect::<Vec<_>>()}))
}

/// Returns the changes in the query of a request: `property`, `operation` and `value` repeat.
fn changes(request: &Request) -> Vec<Value> {
    let all = |name: &str| -> Vec<&str> {
        let pairs = request.query.iter().filter(|(key, _)| key == name);
        pairs.map(|(_, value)| value.as_str()).collect()
    };
    let (operations, values) = (all("operation"), all("value"));
    let each = all("property").into_iter().enumerate();
    each.map(|(at, property)| {
        json!({"property": property, "operation": operations.get(at), "value": values.get(at)})
    })
    .collect()
}

/// Changes or, without changes, removes nodes; all of them must exist.
fn change_nodes(world: &mut World, ids: &[Value], changes: Option<&Vec<Value>>) -> Response {
    let is = |node: &Value, id: &Value| {
        ["uuid", "name"]
            .iter()
            .any(|key| id.get(key).is_some() && id.get(key) == node.get(key))
    };
    if ids.is_empty() {
        return Fault::new(Code::MissingId, "nothing is named").whole(400);
    }
    if !ids
        .iter()
        .all(|id| world.nodes.iter().any(|node| is(node, id)))
    {
        return missing("node");
    }
    let mut found = Vec::new();
    for node in &mut world.nodes {
        if !ids.iter().any(|id| is(node, id)) {
            continue;
        }
        if changes.is_none() && node.get("delete_lock") == Some(&json!(true)) {
            return Fault::new(Code::WrongState, "the node is locked").whole(409);
        }
        for change in changes.into_iter().flatten() {
            let text = |key: &str| change.get(key).and_then(Value::as_str).unwrap_or_default();
            // Values are JSON as a text.
            let value =
                serde_json::from_str(text("value")).unwrap_or_else(|_| json!(text("value")));
            let change = json!({"prop": text("property"), "op": text("operation"), "value": value});
            let Some(own) = node.as_object_mut() else {
                continue;
            };
            // Tags of nodes have values, which those of instances do not have.
            if let Err(fault) = crate::patch::apply_unchecked(own, &change) {
                return fault.whole(400);
            }
        }
        found.push(node.clone());
    }
    if changes.is_none() {
        world
            .nodes
            .retain(|node| !ids.iter().any(|id| is(node, id)));
    }
    success(json!({"nodes": found}))
}

fn meets(node: &Value, request: &Request) -> bool {
    ["uuid", "name", "cloudprovider", "state", "metro"]
        .iter()
        .all(|key| {
            let mut wanted = request
                .query
                .iter()
                .filter(|(name, _)| name == key)
                .peekable();
            let value = node.get(*key).and_then(Value::as_str).unwrap_or_default();
            wanted.peek().is_none() || wanted.any(|(_, wanted)| wanted == value)
        })
}

fn node(body: &Value) -> Value {
    let own = |key: &str| body.get(key).cloned().unwrap_or_default();
    json!({
        "uuid": fresh_uuid(), "name": own("name"), "created_at": stamp(), "updated_at": stamp(),
        "state": "ready", "cloudprovider": own("cloudprovider"), "metro": own("metro"),
        "ssh_keys": own("ssh_keys"), "tags": own("tags"), "vcpus": 4, "memory_mib": 8192,
        "ready_at": stamp(), "uptime_seconds": 1, "delete_lock": false,
    })
}

fn signin(shared: &Shared, request: &Request, body: &Value) -> Response {
    if body.get("hostname").and_then(Value::as_str).is_none() {
        return Fault::new(Code::Malformed, "the body misses `hostname`").whole(400);
    }
    let id = fresh_uuid();
    shared.world().logins.push((id.clone(), false));
    let host = request.headers.get("host").cloned().unwrap_or_default();
    success(json!({
        "authorization_url": format!("http://{host}/controlplane/v1/auth/confirm/{id}"),
        "request_id": id,
    }))
}

/// Confirms a login, as the user does in a browser.
fn confirm(shared: &Shared, id: &str) -> Response {
    let mut world = shared.world();
    match world.logins.iter_mut().find(|(known, _)| known == id) {
        Some((_, confirmed)) => {
            *confirmed = true;
            success(json!({}))
        }
        None => missing("login"),
    }
}

/// Returns the token of a login, once it is confirmed. The answer is a stream of one event.
fn check(shared: &Shared, request: &Request, body: &Value) -> Response {
    let id = body
        .get("request_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let world = shared.world();
        match world.logins.iter().find(|(known, _)| known == id) {
            None => return missing("login"),
            Some((_, true)) => {
                let mut data = organisation(&world);
                if let (Some(data), Some(token)) =
                    (data.as_object_mut(), world.settings.tokens.first())
                {
                    data.insert("token".to_owned(), json!(token));
                    data.insert("user_uuid".to_owned(), json!(world.account));
                }
                let mut response = success(data);
                let accept = request.headers.get("accept");
                response.event = accept.is_some_and(|accept| accept.contains("event-stream"));
                return response;
            }
            Some(_) if std::time::Instant::now() > patience => {
                return Fault::new(Code::TimedOut, "the login is not confirmed").whole(408);
            }
            Some(_) => {}
        }
        drop(world);
        std::thread::sleep(crate::server::LOOK);
    }
}
