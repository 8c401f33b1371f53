//! A dry run: every request that would be sent, printed and not sent.

use kraft_cloud::request::Request;
use serde::Serialize;
use serde_json::Value;

use super::Cloud;
use crate::app::App;
use crate::failure::Failure;

/// A request, as it is printed. Tokens are in its headers, which are not shown.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    method: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

/// The requests of a dry run.
#[derive(Debug, Default)]
pub(crate) struct DryRun {
    steps: Vec<Step>,
}

impl DryRun {
    /// Adds a request.
    pub(crate) fn add<T>(&mut self, cloud: &Cloud, request: &Request<T>) {
        self.steps.push(Step {
            method: request.method.to_string(),
            url: cloud.url(request),
            body: request.body.clone().map(without_key),
        });
    }

    /// Adds a request to somebody else: to a registry, to what was deployed.
    pub(crate) fn add_other(&mut self, method: &str, url: &str) {
        self.steps.push(Step {
            method: method.to_owned(),
            url: url.to_owned(),
            body: None,
        });
    }

    /// Prints the requests: for people, or as JSON.
    pub(crate) fn print(&self, app: &App, json: bool) -> Result<(), Failure> {
        if json {
            return app.ui.json(&self.steps);
        }
        for step in &self.steps {
            app.ui.line(&format!("{} {}", step.method, step.url))?;
            if let Some(body) = &step.body {
                app.ui.json(body)?;
            }
        }
        Ok(())
    }
}

/// Takes the private key out of what would be sent.
fn without_key(mut body: Value) -> Value {
    if let Some(key) = body.get_mut("pkey") {
        *key = Value::String("(not shown)".to_owned());
    }
    body
}
