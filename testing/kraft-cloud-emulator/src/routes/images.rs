//! `/images/list`: the images that can be deployed.

use serde_json::{Value, json};

use super::{asked, each, must_ask, query, wrong_method};
use crate::answer::{Code, Fault, items};
use crate::check::{Field, Kind, UUID_FIELD};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Image, fresh_uuid, hostless, stamp};

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

const TODAY: &[Field] = &[
    ("digest", Kind::Text(2048), false),
    ("tag", Kind::Text(2048), false),
];
const PIN: &[Field] = &[
    ("url", Kind::Text(2048), true),
    ("timeout_s", Kind::Number(-1, 86_400), true),
    ("credentials", Kind::Text(8 << 20), false),
    ("headers", Kind::Texts, false),
    (
        "pull_policy",
        Kind::Word(&["always", "if_not_present", "never"]),
        false,
    ),
    ("merge_requests", Kind::Flag, false),
    (
        "autokill",
        Kind::Object(&[("time_ms", Kind::Number(0, i64::MAX), true)]),
        false,
    ),
];
const UNPIN: &[Field] = &[("uuid", UUID_FIELD.1, true)];

/// `/images`, the images that the nodes have, and their pins; `/image-store`, all images (2026).
pub(super) fn today(shared: &Shared, request: &Request, nodes: bool) -> Result<Response, Response> {
    let mut world = shared.world();
    match request.method.as_str() {
        "GET" => {
            query(request, &["tag", "digest"])?;
            let named = request
                .query
                .iter()
                .filter(|(key, _)| key == "tag" || key == "digest");
            let mut wanted: Vec<Value> = named
                .map(|(key, text)| json!({ key.as_str(): text }))
                .collect();
            wanted.extend(asked(request, None, TODAY)?.unwrap_or_default());
            let images = world.visible_images();
            let is_pinned = |image: &Image| {
                world.pins.iter().any(|pin| {
                    let url = pin.get("url").cloned().unwrap_or_default();
                    meets(image, &json!({"tag": url})) || meets(image, &json!({"digest": url}))
                })
            };
            let used = |image: &&Image| {
                let name = format!("{}@{}", image.repository, image.digest);
                world.instances.iter().any(|one| one.image == name) || is_pinned(image)
            };
            let found = images.iter().filter(|image| !nodes || used(image));
            let found = found
                .filter(|image| wanted.is_empty() || wanted.iter().any(|item| meets(image, item)));
            let list = found.map(|image| {
                let name = format!("{}@{}", image.repository, image.digest);
                let users = world.instances.iter().filter(|one| one.image == name);
                let users: Vec<&str> = users.map(|one| one.uuid.as_str()).collect();
                let mut item = described(image, &users);
                if let (true, Some(item)) = (nodes && is_pinned(image), item.as_object_mut()) {
                    item.insert("persistent".to_owned(), json!(true));
                }
                (Value::Null, Ok(item))
            });
            Ok(items("images", list.collect()))
        }
        "POST" if nodes => {
            let list = must_ask(request, None, PIN)?;
            Ok(each("images", list, |item| {
                if item.get("timeout_s") == Some(&json!(0)) {
                    return Err(Fault::new(Code::Invalid, "`timeout_s` is 0"));
                }
                let wanted = item.get("url").and_then(Value::as_str).unwrap_or_default();
                let image = world.resolve(wanted)?;
                let name = shown(&image);
                let tags = image.tags.iter().map(|tag| format!("{name}:{tag}"));
                let pin = json!({
                    "status": "success", "uuid": fresh_uuid(), "created_at": stamp(),
                    "name": name, "state": "ready", "persistent": true,
                    "url": url(&format!("{}@{}", image.repository, image.digest)),
                    "tags": tags.collect::<Vec<_>>(),
                });
                world.pins.push(pin.clone());
                Ok(pin)
            }))
        }
        "DELETE" if nodes => {
            let list = must_ask(request, None, UNPIN)?;
            Ok(each("images", list, |item| {
                let at = world
                    .pins
                    .iter()
                    .position(|pin| pin.get("uuid") == item.get("uuid"));
                let missing = || Fault::new(Code::NotFound, "there is no such pin");
                let pin = world.pins.remove(at.ok_or_else(missing)?);
                Ok(json!({
                    "status": "success", "uuid": pin.get("uuid"), "name": pin.get("name"),
                }))
            }))
        }
        _ => Err(wrong_method()),
    }
}

/// Returns the URL of an image by its digest, `oci://HOST/NAME@DIGEST`.
pub(super) fn url(image: &str) -> String {
    format!("oci://index.unikraft.io/{image}")
}

fn described(image: &Image, users: &[&str]) -> Value {
    let (name, args) = (shown(image), image.args.split_whitespace());
    let tags = image.tags.iter().map(|tag| format!("{name}:{tag}"));
    json!({
        "url": url(&format!("{name}@{}", image.digest)),
        "tags": tags.collect::<Vec<_>>(),
        "created_at": "2026-01-01T00:00:00Z",
        "initrd_or_rom": false,
        "size_in_bytes": image.size,
        "args": args.collect::<Vec<_>>(),
        "env": {},
        "users": users,
    })
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
