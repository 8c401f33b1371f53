//! `/images/list`: the images that can be deployed.

use serde_json::{Value, json};

use super::{asked, query, wrong_method};
use crate::answer::items;
use crate::check::{Field, Kind};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Image, hostless};

/// The API description names the second field `tagged`, and clients send `tag`.
const FIELDS: &[Field] = &[
    ("digest", Kind::Text(2048), false),
    ("tag", Kind::Text(2048), false),
    ("tagged", Kind::Text(2048), false),
];

pub(super) fn answer(shared: &Shared, request: &Request) -> Result<Response, Response> {
    if request.method != "GET" {
        return Err(wrong_method());
    }
    query(request, &["namespace", "tagged"])?;
    let wanted = asked(request, None, FIELDS)?.filter(|list| !list.is_empty());
    let space = request.parameter("namespace");
    let world = shared.world();
    let images = world.visible_images();
    let found = images.iter().filter(|image| {
        let inside = space.is_none_or(|space| image.repository.starts_with(space));
        let meant = |list: &Vec<Value>| list.iter().any(|item| meets(image, item));
        let tagged = request.parameter("tagged") != Some("true") || !image.tags.is_empty();
        inside && tagged && wanted.as_ref().is_none_or(meant)
    });
    let list = found.map(|image| (Value::Null, Ok(view(image)))).collect();
    Ok(items("images", list))
}

fn meets(image: &Image, item: &Value) -> bool {
    let text = |key: &str| item.get(key).and_then(Value::as_str).map(hostless);
    let digest = text("digest").is_some_and(|wanted| {
        let (name, digest) = wanted
            .split_once('@')
            .unwrap_or((&image.repository, wanted));
        named(image, name.split(':').next().unwrap_or(name)) && image.digest == digest
    });
    let tag = text("tag")
        .or_else(|| text("tagged"))
        .is_some_and(|wanted| {
            let (name, tag) = wanted.split_once(':').unwrap_or((wanted, "latest"));
            named(image, name) && image.tags.iter().any(|one| one == tag)
        });
    digest || tag
}

fn named(image: &Image, name: &str) -> bool {
    shown(image) == name || image.repository == name
}

/// Returns the displayed repository: official images are listed without their namespace.
fn shown(image: &Image) -> &str {
    let repository = image.repository.as_str();
    repository.strip_prefix("official/").unwrap_or(repository)
}

fn view(image: &Image) -> Value {
    let name = shown(image);
    let tags: Vec<String> = image
        .tags
        .iter()
        .map(|tag| format!("{name}:{tag}"))
        .collect();
    json!({
        "status": "success",
        "digest": format!("{name}@{}", image.digest),
        "tags": tags,
        "initrd": false,
        "size_in_bytes": image.size,
        "args": image.args,
        "kernel_args": "",
        "labels": {},
    })
}
