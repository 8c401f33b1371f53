//! A dry run: every request that would be sent, printed and not sent.

use kraft_cloud::request::Request;
use serde::Serialize;
use serde_json::Value;

use super::Cloud;

/// A request, as it is printed. Tokens are in its headers, which are not shown.
#[derive(Debug, Serialize)]
pub struct Step {
    /// The HTTP method.
    pub method: String,
    /// The address.
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// The JSON body.
    pub body: Option<Value>,
}

/// The requests of a dry run.
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

    /// Adds a request to somebody else: to a registry, to what was deployed.
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

/// Takes the private key out of what would be sent.
fn without_key(mut body: Value) -> Value {
    if let Some(key) = body.get_mut("pkey") {
        *key = Value::String("(not shown)".to_owned());
    }
    body
}
