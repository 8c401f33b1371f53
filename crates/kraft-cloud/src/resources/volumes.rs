//! Volumes: disks that outlive instances.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Id, Request, each};

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// `available`, `mounted`, `error` …
    pub state: String,
    /// Its size, in MiB.
    pub size_mb: u64,
    /// The instances that have it.
    pub attached_to: Vec<Named>,
    /// The instances that use it now.
    pub mounted_by: Vec<Mounted>,
    /// Whether it stays when its instance goes.
    pub persistent: bool,
    /// When it was made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// An instance that uses a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mounted {
    /// The instance's UUID.
    pub uuid: String,
    /// The instance's name.
    pub name: String,
    /// Whether it cannot write to it.
    pub readonly: bool,
}

/// Makes a volume; the size is in MiB.
pub fn create(name: Option<&str>, size_mb: u64) -> Request<Named> {
    let mut wanted = json!({ "size_mb": size_mb });
    if let (Some(name), Some(wanted)) = (name, wanted.as_object_mut()) {
        wanted.insert("name".to_owned(), json!(name));
    }
    Request::new(Method::POST, &["volumes"], "create a volume").with(json!([wanted]))
}

/// Asks for volumes; without ids for all.
pub fn get(ids: &[Id]) -> Request<Volume> {
    // The description has no call for a single one.
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

/// Gives a volume to an instance, below an absolute path.
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

/// Takes a volume from an instance, or from all.
pub fn detach(volume: &Id, from: Option<&Id>) -> Request<Named> {
    let more: Vec<(&str, Value)> = from.map(|id| ("from", json!(id))).into_iter().collect();
    let body = each(std::slice::from_ref(volume), &more);
    Request::new(Method::PUT, &["volumes", "detach"], "detach the volume").with(body)
}
