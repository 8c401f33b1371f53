//! The build service of the platform, which is the same for all metros.

use http::Method;
use kraft_http::text::sanitized;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::request::Request;

/// Build of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// Identifier.
    pub id: String,
    /// Status: `waiting`, `running`, `succeeded`, `failed` or `cancelled`.
    #[serde(rename = "status")]
    pub status: String,
    /// Creation time.
    pub created_at: String,
    /// Images that were pushed, once it succeeded.
    pub result: Value,
    /// Error, once it failed: `{code, message}`.
    pub error: Value,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Build {
    /// Returns whether the build has ended.
    pub fn has_ended(&self) -> bool {
        !matches!(self.status.as_str(), "waiting" | "running")
    }

    /// Returns the names of the pushed images.
    pub fn images(&self) -> Vec<String> {
        let images = self.result.get("images").and_then(Value::as_array);
        let images = images.into_iter().flatten();
        images
            .filter_map(|image| Some(sanitized(image.get("ref")?.as_str()?)))
            .collect()
    }

    /// Returns why the build did not succeed; `None` if it did, or has not ended.
    pub fn failure(&self) -> Option<String> {
        if !self.has_ended() || self.status == "succeeded" {
            return None;
        }
        let message = self.error.get("message").and_then(Value::as_str);
        Some(sanitized(message.unwrap_or("the platform gave no reason")))
    }
}

/// Begins a build: `contexts`, `output` and the like.
pub fn create(wanted: Value) -> Request<Build> {
    Request::new(Method::POST, &["builds"], "begin the build").with(wanted)
}

/// Lists builds, the latest first.
pub fn list() -> Request<Build> {
    Request::new(Method::GET, &["builds"], "list the builds")
}

/// Gets a build.
pub fn get(id: &str) -> Request<Build> {
    Request::new(Method::GET, &["builds", id], "get the build")
}

/// Cancels a build.
pub fn cancel(id: &str) -> Request<Build> {
    let path = ["builds", id, "cancel"];
    Request::new(Method::POST, &path, format!("cancel the build `{id}`"))
}

/// Removes a build.
pub fn remove(id: &str) -> Request<Build> {
    let path = ["builds", id];
    Request::new(Method::DELETE, &path, format!("remove the build `{id}`"))
}
