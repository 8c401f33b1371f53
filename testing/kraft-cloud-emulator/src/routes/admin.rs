//! `/_emulator/…`: the control API for tests. It requires no token, as it is served only locally.
//!
//! | method and path | effect |
//! |---|---|
//! | `GET requests` | returns the recorded requests: `{method, path, query, headers, body, status, answer, fault}` |
//! | `DELETE requests` | clears the recorded requests |
//! | `POST faults` | injects an error, or a list of them, into later requests |
//! | `POST images` | adds an image: `{name, args?, size?, output?, crash?, delay_ms?}` |
//! | `POST console` | prints on an instance's console: `{name, text}` |
//! | `POST backends` | sets the address of an instance's port, or of its plugin: `{name, port, address}`, `{name, plugin, address}` |
//! | `PUT settings` | changes settings: `{start_ms?, stop_ms?, volume_ms?, instances?, groups?, volumes?, memory_mb?}` |
//! | `PUT helpers` | injects errors into helpers: `{slots?, refusal?, control_ms?, complaint?: {at, text}, hang_up?}` |
//! | `GET volumes/UUID` | returns the imported entries: `{path, type, mode, size, sha256, target}` |
//! | `GET addresses` | returns the published ports: `{fqdn, port, address}` |
//! | `GET ca` | returns the CA certificate for published ports: `{pem}` |

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fault::Planned;
use crate::helpers::Spoilt;
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Image, World, hostless};

/// Answers a request to the control API.
pub(crate) fn answer(shared: &Shared, request: &Request, path: &str) -> Response {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut world = shared.world();
    let outcome = match (request.method.as_str(), path) {
        ("GET", "requests") => Some(json!(world.journal)),
        ("DELETE", "requests") => {
            world.journal.clear();
            Some(json!({}))
        }
        ("POST", "faults") => faults(&mut world, &body),
        ("POST", "images") => image(&mut world, &body),
        ("POST", "console") => console(&mut world, &body),
        ("POST", "backends") => backend(&mut world, &body),
        ("PUT", "settings") => settings(&mut world, &body),
        ("PUT", "helpers") => {
            world.spoilt = spoilt(&body);
            Some(json!({}))
        }
        ("GET", path) if path.starts_with("volumes/") => {
            let uuid = path.strip_prefix("volumes/").unwrap_or_default();
            world.imported.get(uuid).cloned()
        }
        ("GET", "ca") => {
            let authority = world.authority.as_ref();
            authority.map(|authority| json!({"pem": authority.pem()}))
        }
        ("GET", "addresses") => {
            drop(world);
            Some(crate::proxy::addresses(shared))
        }
        _ => return Response::new(404, json!({"error": "no such control endpoint"})),
    };
    match outcome {
        Some(body) => Response::new(200, body),
        None => Response::new(
            400,
            json!({"error": "this body is not valid for this path"}),
        ),
    }
}

fn faults(world: &mut World, body: &Value) -> Option<Value> {
    let list = match body {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let planned: Option<Vec<Planned>> = list.iter().map(Planned::of).collect();
    world.faults.extend(planned?);
    Some(json!({}))
}

fn image(world: &mut World, body: &Value) -> Option<Value> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let name = hostless(text("name")?);
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let hash = Sha256::digest(body.to_string().as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = text("digest").map_or_else(|| format!("sha256:{hash}"), str::to_owned);
    let delay = body.get("delay_ms").and_then(Value::as_u64).unwrap_or(0);
    for other in world
        .images
        .iter_mut()
        .filter(|one| one.repository == repository)
    {
        other.tags.retain(|one| one != tag);
    }
    world.images.push(Image {
        repository: repository.to_owned(),
        digest: digest.clone(),
        tags: vec![tag.to_owned()],
        size: body.get("size").and_then(Value::as_u64).unwrap_or(1 << 20),
        args: text("args").unwrap_or_default().to_owned(),
        from: Instant::now() + Duration::from_millis(delay),
        crash: text("crash").map(str::to_owned),
        output: text("output").unwrap_or_default().to_owned(),
    });
    Some(json!({"digest": digest}))
}

fn console(world: &mut World, body: &Value) -> Option<Value> {
    let name = body.get("name")?;
    let uuid = world.find_instance(&json!({"name": name})).ok()?;
    let one = world.instance_mut(&uuid)?;
    one.print(body.get("text")?.as_str()?.as_bytes());
    Some(json!({}))
}

fn backend(world: &mut World, body: &Value) -> Option<Value> {
    let name = body.get("name")?;
    let uuid = world.find_instance(&json!({"name": name})).ok()?;
    let address = body.get("address")?.as_str()?.parse().ok()?;
    let one = world.instance_mut(&uuid)?;
    if let Some(plugin) = body.get("plugin").and_then(Value::as_str) {
        one.plugins.insert(plugin.to_owned(), address);
        return Some(json!({}));
    }
    let port = u16::try_from(body.get("port")?.as_u64()?).ok()?;
    one.backends.insert(port, address);
    Some(json!({}))
}

fn spoilt(body: &Value) -> Spoilt {
    let number = |key: &str| body.get(key).and_then(Value::as_i64);
    let complaint = body.get("complaint").and_then(|complaint| {
        let text = complaint.get("text")?.as_str()?.to_owned();
        Some((complaint.get("at")?.as_u64()?, text))
    });
    Spoilt {
        slots: number("slots").and_then(|number| usize::try_from(number).ok()),
        refusal: number("refusal").and_then(|number| i16::try_from(number).ok()),
        control_ms: number("control_ms").and_then(|number| u64::try_from(number).ok()),
        complaint,
        hang_up: number("hang_up").and_then(|number| u64::try_from(number).ok()),
    }
}

fn settings(world: &mut World, body: &Value) -> Option<Value> {
    let settings = &mut world.settings;
    for (key, value) in body.as_object()? {
        let number = value.as_u64()?;
        let span = Duration::from_millis(number);
        let count = usize::try_from(number).ok()?;
        match key.as_str() {
            "start_ms" => settings.start = span,
            "stop_ms" => settings.stop = span,
            "volume_ms" => settings.volume = span,
            "instances" => settings.hard.instances = count,
            "groups" => settings.hard.groups = count,
            "volumes" => settings.hard.volumes = count,
            "memory_mb" => settings.hard.memory = i64::try_from(number).ok()?,
            _ => return None,
        }
    }
    Some(json!({}))
}
