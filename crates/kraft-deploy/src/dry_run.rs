//! A dry run: the requests that a command would send, recorded instead of sent.

use kraft_cloud::request::Request;
use serde::Serialize;
use serde_json::Value;

use crate::cloud::Cloud;

/// A request as it is printed. The token is in its headers, which are left out.
#[derive(Debug, Serialize)]
pub struct Step {
    /// The HTTP method.
    pub method: String,
    /// The address.
    pub url: String,
    /// The JSON body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// The requests of a dry run.
///
/// ```
/// use kraft_deploy::dry_run::DryRun;
///
/// let mut run = DryRun::default();
/// run.add_other("PUSH", "index.unikraft.io/anna/web:latest");
/// assert_eq!(run.steps()[0].method, "PUSH");
/// ```
#[derive(Debug, Default)]
pub struct DryRun {
    steps: Vec<Step>,
}

impl DryRun {
    /// Adds a request.
    pub fn add<T>(&mut self, cloud: &Cloud, request: &Request<T>) {
        self.steps.push(Step {
            method: request.method.to_string(),
            url: cloud.url(request),
            body: request.body.clone().map(without_key),
        });
    }

    /// Adds a request to another server: a registry, or the deployed application.
    pub fn add_other(&mut self, method: &str, url: &str) {
        self.steps.push(Step {
            method: method.to_owned(),
            url: url.to_owned(),
            body: None,
        });
    }

    /// Returns the requests in the order in which they would be sent.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// Replaces the private key of a certificate in a body.
fn without_key(mut body: Value) -> Value {
    if let Some(key) = body.get_mut("pkey") {
        *key = Value::String("(not shown)".to_owned());
    }
    body
}
