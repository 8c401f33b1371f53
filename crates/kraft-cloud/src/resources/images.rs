//! Images that the platform can run.

use http::Method;
use kraft_http::text::sanitized;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Form, Id, Request, Scope};

/// Image on the platform.
///
/// ```
/// use kraft_cloud::resources::images::Image;
///
/// let image = Image {
///     url: "oci://index.unikraft.io/anna/web@sha256:00".to_owned(),
///     ..Image::default()
/// };
/// assert_eq!(image.reference(), "anna/web@sha256:00");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Reference by digest (2024): `ACCOUNT/NAME@sha256:…`, without an account for an official
    /// image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Reference by digest (today): `oci://HOST/NAME@sha256:…`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// References by tag, each `ACCOUNT/NAME:TAG`.
    pub tags: Vec<String>,
    /// Size, in bytes.
    pub size_in_bytes: u64,
    /// Arguments of the application: a text with spaces (2024), or a list (today).
    pub args: Value,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Image {
    /// Returns the reference by digest, without a scheme and a host.
    pub fn reference(&self) -> &str {
        match self.digest.as_str() {
            "" => without_host(&self.url),
            digest => without_host(digest),
        }
    }

    /// Returns the arguments of the application: as a list, or as the text of older platforms.
    pub fn arguments(&self) -> Result<Vec<String>, &str> {
        match &self.args {
            Value::Array(all) => Ok(all
                .iter()
                .filter_map(|one| one.as_str().map(str::to_owned))
                .collect()),
            Value::String(text) => Err(text),
            _ => Ok(Vec::new()),
        }
    }

    /// Returns the arguments of the application for display, separated by spaces.
    pub fn command_line(&self) -> String {
        sanitized(&match self.arguments() {
            Ok(list) => list.join(" "),
            Err(text) => text.to_owned(),
        })
    }
}

/// Returns an image reference without the scheme `oci://` and without its host.
pub fn without_host(text: &str) -> &str {
    let text = text.strip_prefix("oci://").unwrap_or(text);
    match text.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => text,
    }
}

/// Lists all images: those of the platform's store.
pub fn list() -> Request<Image> {
    let form = |path: &[&str]| Form::new(Method::GET, path);
    Request::of(form(&["image-store"]), "list the images")
        .or_else(form(&["images"]))
        .or_else(form(&["images", "list"]))
}

/// Gets an image by its reference without a host: `ACCOUNT/NAME:TAG` or `ACCOUNT/NAME@sha256:…`.
///
/// Some platforms answer with all images.
pub fn get(name: &str) -> Request<Image> {
    let by = if name.contains('@') { "digest" } else { "tag" };
    let form = |path: &[&str]| Form::new(Method::GET, path).ask(by, &name);
    let older = Form::new(Method::GET, &["images", "list"]).with(json!([{ by: name }]));
    Request::of(form(&["image-store"]), format!("find the image `{name}`"))
        .or_else(form(&["images"]))
        .or_else(older)
}

/// Lists the images that the nodes of the metro have: those in use, and those that are pinned.
pub fn cached() -> Request<Image> {
    Request::new(Method::GET, &["images"], "list the images of the nodes")
}

/// Pins an image: the nodes pull it within `timeout_s` seconds (-1 for the longest time), and keep
/// it.
pub fn pin(url: &str, timeout_s: i64, more: &Map<String, Value>) -> Request<Named> {
    let mut item = json!({"url": url, "timeout_s": timeout_s});
    if let Some(item) = item.as_object_mut() {
        item.extend(more.clone());
    }
    let request = Request::new(Method::POST, &["images"], format!("pin the image `{url}`"));
    request.with(json!([item])).makes(None)
}

/// Looks up an image that does not exist. A pin has no path of its own: before it is removed, an empty
/// response shows that the platform honors the query of a request.
pub fn look_up_none() -> Request<Image> {
    let none = format!("sha256:{}", "0".repeat(64));
    let form = Form::new(Method::GET, &["images"]).ask("digest", &none);
    let mut request = Request::of(form, "check that only the selected pin is removed");
    request.scope = Scope::Only(vec![Id::Name(none)]);
    request
}

/// Removes the pin with a UUID. [`look_up_none`] comes first.
pub fn unpin(uuid: &str) -> Request<Named> {
    let request = Request::new(Method::DELETE, &["images"], "unpin the image");
    let request = request.only(&[Id::Uuid(uuid.to_owned())]);
    request.with(json!([{ "uuid": uuid }]))
}
