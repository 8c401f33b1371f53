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
        ("POST", ["builds"]) => match serde_json::from_slice(&request.body) {
            Ok(body) => create(&mut world, &body).unwrap_or_else(|refused| refused),
            Err(_) => refusal(400, "invalid", "the body is not JSON"),
        },
        ("GET", ["builds"]) => {
            let wanted = request.parameter("status");
            let statuses = ["waiting", "running", "succeeded", "failed", "cancelled"];
            if wanted.is_some_and(|wanted| !statuses.contains(&wanted)) {
                return refusal(400, "invalid", "`status` is not a status");
            }
            let limit = match request.parameter("limit").map(str::parse) {
                None => None,
                Some(Ok(limit)) => Some(limit),
                Some(Err(_)) => return refusal(400, "invalid", "`limit` is not a number"),
            };
            let builds = world.builds.iter().rev();
            let builds = builds.filter(|one| wanted.is_none_or(|wanted| one["status"] == wanted));
            let builds: Vec<&Value> = builds.take(limit.unwrap_or(usize::MAX)).collect();
            Response::new(200, json!({"builds": builds}))
        }
        (method, ["builds", id, rest @ ..]) => {
            let Some(at) = world.builds.iter().position(|one| one["id"] == *id) else {
                return refusal(404, "not_found", "there is no such build");
            };
            let build = world.builds.get(at).cloned().unwrap_or_default();
            match (method, rest) {
                ("GET", []) => Response::new(200, build),
                ("DELETE", []) => {
                    world.builds.remove(at);
                    Response::new(204, Value::Null)
                }
                ("GET", ["logs"]) => logs(request, &build),
                // A build that has ended is left as it is.
                ("POST", ["cancel"]) => Response::new(200, build),
                _ => refusal(404, "not_found", "there is no such endpoint"),
            }
        }
        _ => refusal(404, "not_found", "there is no such endpoint"),
    }
}

/// Returns the response for a request that is rejected.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Response {
    Response::new(status, json!({"error": {"code": code, "message": message}}))
}

/// Answers the progress of a build: as lines of JSON, or as text.
fn logs(request: &Request, build: &Value) -> Response {
    let accepted = request.headers.get("accept");
    let accepts = |kind: &str| accepted.is_some_and(|accepted| accepted.contains(kind));
    let field = |key: &str| build.get(key).filter(|value| !value.is_null());
    let last = match field("error") {
        Some(error) => json!({"error": error}),
        None => json!({"result": field("result")}),
    };
    if !accepts("text/plain") {
        let step = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
        let started =
            json!({"digest": step, "name": "load the source", "started": field("started_at")});
        let mut completed = started.clone();
        if let Some(completed) = completed.as_object_mut() {
            completed.insert("completed".to_owned(), json!(field("finished_at")));
        }
        let lines = [
            json!({"vertexes": [started]}),
            json!({"vertexes": [completed]}),
            last,
        ];
        let lines = lines.iter().map(|line| format!("{line}\n"));
        return Response::text(200, "application/x-ndjson", lines.collect::<String>());
    }
    let mut text = "#1 load the source\n#1 DONE 0.0s\n".to_owned();
    if let Some(message) = last.pointer("/error/message").and_then(Value::as_str) {
        text.push_str(&format!("error: {message}\n"));
    }
    let images = last.pointer("/result/images").and_then(Value::as_array);
    for image in images.into_iter().flatten() {
        let part = |key: &str| image.get(key).and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("pushed {}@{}\n", part("ref"), part("digest")));
    }
    Response::text(200, "text/plain; charset=utf-8", text)
}

/// Checks where the files of a build come from: exactly one place that the builder can fetch.
fn source(place: &str, source: &Value, names_file: bool) -> Result<(), Response> {
    let invalid = |why: String| Err(refusal(400, "invalid", &why));
    let has = |key: &str| source.get(key).is_some();
    let kinds = ["session", "git", "url"]
        .into_iter()
        .filter(|kind| has(kind))
        .count();
    if kinds != 1 {
        return invalid(format!(
            "`{place}` needs exactly one of `session`, `git` and `url`"
        ));
    }
    if has("session") {
        let why = format!("`session` of `{place}` is not supported yet");
        return Err(refusal(400, "unsupported", &why));
    }
    let url = source
        .get("git")
        .or(source.get("url"))
        .and_then(Value::as_str);
    if !url.is_some_and(|url| url.starts_with("https://")) {
        return invalid(format!("the source of `{place}` is not an HTTPS URL"));
    }
    if has("ref") && !has("git") {
        return invalid(format!("`ref` of `{place}` needs `git`"));
    }
    if has("filename") && !names_file {
        return invalid(format!("`filename` is not valid in `{place}`"));
    }
    Ok(())
}

/// Rejects what the service does not support yet.
fn unsupported(body: &Value) -> Result<(), Response> {
    let has_session = |key: &str| {
        let all = body.get(key).and_then(Value::as_object);
        all.is_some_and(|all| all.values().any(|one| one.get("session").is_some()))
    };
    let has_volume = body
        .get("output")
        .and_then(Value::as_array)
        .is_some_and(|all| all.iter().any(|one| one.get("volume").is_some()));
    for (is_used, what) in [
        (body.get("builder").is_some(), "`builder`"),
        (body.get("ssh").is_some(), "`ssh`"),
        (has_session("secrets"), "`session` of a secret"),
        (has_session("registries"), "`session` of a registry"),
        (has_volume, "`volume` of an output"),
    ] {
        if is_used {
            let why = format!("{what} is not supported yet");
            return Err(refusal(400, "unsupported", &why));
        }
    }
    Ok(())
}

fn create(world: &mut World, body: &Value) -> Result<Response, Response> {
    let contexts = body.get("contexts").and_then(Value::as_object);
    let Some(contexts) = contexts.filter(|contexts| contexts.contains_key("context")) else {
        return Err(refusal(400, "invalid", "`contexts.context` is missing"));
    };
    unsupported(body)?;
    for (name, one) in contexts {
        source(&format!("contexts.{name}"), one, name == "dockerfile")?;
    }
    if let Some(kraftfile) = body.get("kraftfile").filter(|one| {
        let kinds = ["session", "git", "url"];
        kinds.iter().any(|kind| one.get(kind).is_some())
    }) {
        source("kraftfile", kraftfile, true)?;
    }
    let outputs = body.get("output").and_then(Value::as_array);
    let outputs: Vec<&str> = outputs
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("image")?.as_str())
        .collect();
    if outputs.is_empty() {
        return Err(refusal(400, "invalid", "`output` names no image"));
    }
    let mut build = json!({
        "id": fresh_uuid(), "builder": "default", "created_at": stamp(),
        "started_at": stamp(), "finished_at": stamp(),
    });
    let Some(own) = build.as_object_mut() else {
        return Err(refusal(500, "internal", "the build is not an object"));
    };
    // The domain `invalid` never resolves (RFC 2606).
    let unknown = contexts.values().find_map(|one| {
        let url = one.get("git").or(one.get("url"))?.as_str()?;
        let host = url.split('/').nth(2)?;
        host.ends_with(".invalid").then(|| host.to_owned())
    });
    if let Some(host) = unknown {
        own.insert("status".to_owned(), json!("failed"));
        let why = format!("the source cannot be fetched: there is no host `{host}`");
        own.insert(
            "error".to_owned(),
            json!({"code": "failed", "message": why}),
        );
    } else {
        own.insert("status".to_owned(), json!("succeeded"));
        let images = push(world, body, &outputs);
        own.insert(
            "result".to_owned(),
            json!({"images": images, "volumes": []}),
        );
    }
    world.builds.push(build.clone());
    Ok(Response::new(201, build))
}

/// Adds the images of a build to the platform, and returns them.
fn push(world: &mut World, body: &Value, outputs: &[&str]) -> Vec<Value> {
    let mut images = Vec::new();
    for name in outputs {
        let path = hostless(name);
        let (repository, tag) = path.split_once(':').unwrap_or((path, "latest"));
        let hash = Sha256::digest(format!("{name}{body}").as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        images.push(json!({"ref": name, "digest": format!("sha256:{hash}"),
            "platforms": ["kraftcloud/x86_64"]}));
        // A tag moves to the newest image.
        for other in &mut world.images {
            if other.repository == repository {
                other.tags.retain(|one| one != tag);
            }
        }
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
    images
}
