//! Volumes: disks that persist after an instance is removed.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Id, Request, each};

/// Persistent volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// UUID of the volume.
    pub uuid: String,
    /// Name of the volume.
    pub name: String,
    /// State: `available`, `mounted`, `error` …
    pub state: String,
    /// Size, in MiB.
    pub size_mb: u64,
    /// Instances that the volume is attached to.
    pub attached_to: Vec<Named>,
    /// Instances that currently mount the volume.
    pub mounted_by: Vec<Mounted>,
    /// Whether the volume is kept when its instance is removed.
    pub persistent: bool,
    /// Creation time.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Instance that mounts a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mounted {
    /// UUID of the instance.
    pub uuid: String,
    /// Name of the instance.
    pub name: String,
    /// Whether the mount is read-only.
    pub readonly: bool,
}

/// Creates a volume; the size is in MiB.
pub fn create(name: Option<&str>, size_mb: u64) -> Request<Named> {
    let mut wanted = json!({ "size_mb": size_mb });
    if let (Some(name), Some(wanted)) = (name, wanted.as_object_mut()) {
        wanted.insert("name".to_owned(), json!(name));
    }
    Request::new(Method::POST, &["volumes"], "create a volume").with(json!([wanted]))
}

/// Gets volumes; all of them if `ids` is empty.
pub fn get(ids: &[Id]) -> Request<Volume> {
    // The cloud description has no call for a single volume.
    let request = Request::new(Method::GET, &["volumes"], "get volumes");
    if ids.is_empty() {
        request
    } else {
        request.with(json!(ids))
    }
}

/// Removes volumes.
pub fn remove(ids: &[Id]) -> Request<Named> {
    Request::new(Method::DELETE, &["volumes"], "remove the volume").with(json!(ids))
}

/// Attaches a volume to an instance, mounted at the absolute path `at`.
pub fn attach(volume: &Id, to: &Id, at: &str, readonly: bool) -> Request<Named> {
    let more = [
        ("attach_to", json!(to)),
        ("at", json!(at)),
        ("readonly", json!(readonly)),
    ];
    let body = each(std::slice::from_ref(volume), &more);
    let doing = format!("attach the volume to `{}`", to.as_str());
    Request::new(Method::PUT, &["volumes", "attach"], doing).with(body)
}

/// Detaches a volume from an instance, or from all instances if `from` is `None`.
pub fn detach(volume: &Id, from: Option<&Id>) -> Request<Named> {
    let more: Vec<(&str, Value)> = from.map(|id| ("from", json!(id))).into_iter().collect();
    let body = each(std::slice::from_ref(volume), &more);
    Request::new(Method::PUT, &["volumes", "detach"], "detach the volume").with(body)
}
