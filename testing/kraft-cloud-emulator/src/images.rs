//! Lists the images of a registry on this host over the registry API.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use crate::http;
use crate::world::Image;

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Returns every image that has a tag in the registry.
pub(crate) fn of_registry(registry: SocketAddr) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    for repository in list(registry, "/v2/_catalog?n=1000", "repositories") {
        for tag in list(registry, &format!("/v2/{repository}/tags/list"), "tags") {
            let Some(image) = image(registry, &repository, &tag) else {
                continue;
            };
            let same =
                |one: &&mut Image| one.repository == image.repository && one.digest == image.digest;
            match images.iter_mut().find(same) {
                Some(known) => known.tags.push(tag),
                None => images.push(image),
            }
        }
    }
    images
}

fn json(registry: SocketAddr, path: &str) -> Option<(Option<String>, Value)> {
    let (status, headers, body) = http::get(registry, path, MANIFESTS)?;
    let digest = headers.get("docker-content-digest").cloned();
    let value = serde_json::from_slice(&body).ok()?;
    (status == 200).then_some((digest, value))
}

fn list(registry: SocketAddr, path: &str, key: &str) -> Vec<String> {
    let names = json(registry, path).and_then(|(_, value)| value.get(key)?.as_array().cloned());
    let names = names.unwrap_or_default().into_iter();
    names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

fn image(registry: SocketAddr, repository: &str, tag: &str) -> Option<Image> {
    let manifests = format!("/v2/{repository}/manifests");
    let (digest, top) = json(registry, &format!("{manifests}/{tag}"))?;
    // Of an index, use the first manifest, as a platform of a single architecture would.
    let first = top.pointer("/manifests/0/digest").and_then(Value::as_str);
    let manifest = match first {
        Some(first) => json(registry, &format!("{manifests}/{first}"))?.1,
        None => top,
    };
    let layers = manifest.get("layers").and_then(Value::as_array);
    let sizes = layers
        .into_iter()
        .flatten()
        .filter_map(|layer| layer.get("size")?.as_u64());
    Some(Image {
        repository: repository.to_owned(),
        digest: digest?,
        tags: vec![tag.to_owned()],
        size: sizes.sum(),
        args: arguments(registry, repository, &manifest).unwrap_or_default(),
        from: Instant::now(),
        crash: None,
        output: String::new(),
    })
}

fn arguments(registry: SocketAddr, repository: &str, manifest: &Value) -> Option<String> {
    let digest = manifest.pointer("/config/digest")?.as_str()?;
    let (_, config) = json(registry, &format!("/v2/{repository}/blobs/{digest}"))?;
    let words = config.pointer("/config/Cmd")?.as_array()?;
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    Some(words.join(" "))
}
