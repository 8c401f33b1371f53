//! Volumes: disks that persist after an instance is removed.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Form, Id, Request, each};

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
    create_with(wanted)
}

/// Creates a volume from all of its fields.
pub fn create_with(wanted: Value) -> Request<Named> {
    let form = Form::new(Method::POST, &["volumes"]);
    let older = form.clone().with(json!([wanted]));
    let name = wanted
        .get("name")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let request = Request::of(form.with(wanted), "create a volume").or_else(older);
    request.makes(name.as_deref())
}

/// Copies a volume, given by its UUID; `options` may have `vol_name`, `quota_policy`, `tags` and
/// `access_mode`. The response is about the copy.
pub fn duplicate(uuid: &str, options: &[(&str, Value)]) -> Request<Named> {
    let options: Map<String, Value> = options
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let path = ["volumes", uuid, "clone"];
    let name = options.get("vol_name").and_then(Value::as_str);
    let request = Request::new(Method::POST, &path, "copy the volume").makes(name);
    request.with(Value::Object(options))
}

/// Gets templates of volumes; all of them if `ids` is empty.
pub fn templates(ids: &[Id]) -> Request<Volume> {
    let mut request = Request::read(&TEMPLATES, ids, "get templates of volumes");
    // The description of 2024 does not know them.
    request.older.clear();
    request
}

/// Turns volumes into templates.
pub fn make_template(ids: &[Id]) -> Request<Named> {
    let request = Request::new(Method::POST, &TEMPLATES, "make a template");
    request.only(ids).with(json!(ids))
}

/// Removes templates of volumes.
pub fn remove_templates(ids: &[Id]) -> Request<Named> {
    Request::change(Method::DELETE, &TEMPLATES, None, ids, "remove the template")
}

/// Path of the templates.
pub const TEMPLATES: [&str; 2] = ["volumes", "templates"];

/// Gets volumes; all of them if `ids` is empty.
pub fn get(ids: &[Id]) -> Request<Volume> {
    Request::read(&["volumes"], ids, "get volumes")
}

/// Removes volumes.
pub fn remove(ids: &[Id]) -> Request<Named> {
    Request::change(Method::DELETE, &["volumes"], None, ids, "remove the volume")
}

/// Attaches a volume to an instance, mounted at the absolute path `at`.
pub fn attach(volume: &Id, to: &Id, at: &str, readonly: bool) -> Request<Named> {
    let more = [
        ("attach_to", json!(to)),
        ("at", json!(at)),
        ("readonly", json!(readonly)),
    ];
    let doing = format!("attach the volume to `{}`", to.as_str());
    put("attach", volume, &more, doing)
}

fn put(action: &str, volume: &Id, more: &[(&str, Value)], doing: String) -> Request<Named> {
    let ids = std::slice::from_ref(volume);
    let request = Request::change(Method::PUT, &["volumes"], Some(action), ids, doing);
    request.with(each(ids, more))
}

/// Detaches a volume from an instance, or from all instances if `from` is `None`.
pub fn detach(volume: &Id, from: Option<&Id>) -> Request<Named> {
    let more: Vec<(&str, Value)> = from.map(|id| ("from", json!(id))).into_iter().collect();
    put("detach", volume, &more, "detach the volume".to_owned())
}
