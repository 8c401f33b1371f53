//! Images that the platform can run.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::request::Request;

/// Image on the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Reference by digest: `ACCOUNT/NAME@sha256:…`, without an account for an official image.
    pub digest: String,
    /// References by tag, each `ACCOUNT/NAME:TAG`.
    pub tags: Vec<String>,
    /// Whether the image has a root filesystem (initrd).
    pub initrd: bool,
    /// Size, in bytes.
    pub size_in_bytes: u64,
    /// Arguments of the application, separated by spaces.
    pub args: String,
    /// Arguments of the kernel.
    pub kernel_args: String,
    /// Labels of the image.
    pub labels: Map<String, Value>,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Lists all images.
pub fn list() -> Request<Image> {
    Request::new(Method::GET, &["images", "list"], "list the images")
}

/// Gets an image by its reference without a host: `ACCOUNT/NAME:TAG` or `ACCOUNT/NAME@sha256:…`.
pub fn get(name: &str) -> Request<Image> {
    let by = if name.contains('@') { "digest" } else { "tag" };
    Request::new(
        Method::GET,
        &["images", "list"],
        format!("find the image `{name}`"),
    )
    .with(json!([{ by: name }]))
}
