//! `/build/v1/builds…`: the build service (2026), which has no envelope.
//!
//! A build ends at once: its image is listed by the platform under the requested name.

use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http::{Request, Response, decoded};
use crate::server::Shared;
use crate::world::{Image, World, fresh_uuid, hostless, stamp};

/// Answers a request below `/build/v1/`.
pub(crate) fn answer(shared: &Shared, request: &Request, path: &str) -> Response {
    let path: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let mut world = shared.world();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["builds"]) => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            create(&mut world, &body)
        }
        ("GET", ["builds"]) => {
            let wanted = request.parameter("status");
            let limit = request
                .parameter("limit")
                .and_then(|text| text.parse().ok());
            let builds = world.builds.iter().rev();
            let builds = builds.filter(|one| wanted.is_none_or(|wanted| one["status"] == wanted));
            let builds: Vec<&Value> = builds.take(limit.unwrap_or(usize::MAX)).collect();
            Response::new(200, json!({"builds": builds}))
        }
        (method, ["builds", id, rest @ ..]) => {
            let Some(at) = world.builds.iter().position(|one| one["id"] == *id) else {
                return refusal(404, "not_found", "there is no such build");
            };
            match (method, rest) {
                ("GET", []) => {
                    Response::new(200, world.builds.get(at).cloned().unwrap_or_default())
                }
                ("DELETE", []) => {
                    world.builds.remove(at);
                    Response::new(204, Value::Null)
                }
                ("GET", ["logs"]) => {
                    let build = world.builds.get(at).cloned().unwrap_or_default();
                    let mut response = Response::new(200, json!({"result": build.get("result")}));
                    response.event = true;
                    response
                }
                ("POST", ["cancel"]) => refusal(409, "conflict", "the build has ended"),
                _ => refusal(404, "not_found", "there is no such endpoint"),
            }
        }
        _ => refusal(404, "not_found", "there is no such endpoint"),
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Response {
    Response::new(status, json!({"error": {"code": code, "message": message}}))
}

fn create(world: &mut World, body: &Value) -> Response {
    let sources = body
        .get("contexts")
        .and_then(|contexts| contexts.get("context"));
    let is_source = |source: &Value| source.get("git").or(source.get("url")).is_some();
    if !sources.is_some_and(is_source) {
        return refusal(
            400,
            "invalid",
            "`contexts.context` names neither `git` nor `url`",
        );
    }
    let outputs = body.get("output").and_then(Value::as_array);
    let outputs: Vec<&str> = outputs
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("image")?.as_str())
        .collect();
    if outputs.is_empty() {
        return refusal(400, "invalid", "`output` names no image");
    }
    let mut images = Vec::new();
    for name in outputs {
        let path = hostless(name);
        let (repository, tag) = path.split_once(':').unwrap_or((path, "latest"));
        let hash = Sha256::digest(format!("{name}{body}").as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        images.push(json!({"ref": name, "digest": format!("sha256:{hash}"),
            "platforms": ["kraftcloud/x86_64"]}));
        world.images.push(Image {
            repository: repository.to_owned(),
            digest: format!("sha256:{hash}"),
            tags: vec![tag.to_owned()],
            size: 1 << 20,
            args: String::new(),
            from: Instant::now(),
            crash: None,
            output: String::new(),
        });
    }
    let build = json!({
        "id": fresh_uuid(), "status": "succeeded", "builder": "default", "created_at": stamp(),
        "started_at": stamp(), "finished_at": stamp(), "result": {"images": images, "volumes": []},
    });
    world.builds.push(build.clone());
    Response::new(201, build)
}
