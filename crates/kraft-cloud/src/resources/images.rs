//! Images that the platform can start.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::request::Request;

/// An image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// `ACCOUNT/NAME@sha256:…`, without an account if it is an official one.
    pub digest: String,
    /// `ACCOUNT/NAME:TAG`, each.
    pub tags: Vec<String>,
    /// Whether it has a root filesystem.
    pub initrd: bool,
    /// Its size, in bytes.
    pub size_in_bytes: u64,
    /// The arguments of its program, separated by blanks.
    pub args: String,
    /// The arguments of its kernel.
    pub kernel_args: String,
    /// Its labels.
    pub labels: Map<String, Value>,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Asks for every image.
pub fn list() -> Request<Image> {
    Request::new(Method::GET, &["images", "list"], "list the images")
}

/// Asks for an image by its name without a host: `ACCOUNT/NAME:TAG` or `ACCOUNT/NAME@sha256:…`.
pub fn get(name: &str) -> Request<Image> {
    let by = if name.contains('@') { "digest" } else { "tag" };
    Request::new(
        Method::GET,
        &["images", "list"],
        format!("find the image `{name}`"),
    )
    .with(json!([{ by: name }]))
}
