//! Autoscaling of groups of services, and the policies that decide about it.

use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Id, Request, millis};

/// One step of a policy: what is done while the metric is between two bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// From here on; everything below the other bound if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_bound: Option<i64>,
    /// Up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_bound: Option<i64>,
    /// So many instances, or percent of them.
    pub adjustment: i64,
}

/// A policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its sort: `step`.
    #[serde(rename = "type")]
    pub sort: String,
    /// What is measured: `cpu`, in thousandths of a processor per instance.
    pub metric: String,
    /// What the adjustment means: `change`, `exact` or `percent`.
    pub adjustment_type: String,
    /// The steps, sorted and without gaps.
    pub steps: Vec<Step>,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// How a group is scaled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Autoscale {
    /// The group's UUID.
    pub uuid: String,
    /// The group's name.
    pub name: String,
    /// Whether it is scaled.
    pub enabled: bool,
    /// At least so many instances.
    pub min_size: u64,
    /// At most so many instances.
    pub max_size: u64,
    /// How long a new instance counts as starting, in milliseconds.
    pub warmup_time_ms: u64,
    /// How long nothing more is changed after a change, in milliseconds.
    pub cooldown_time_ms: u64,
    /// The instance that is copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<Named>,
    /// What decides.
    pub policies: Vec<Policy>,
    /// What else the platform tells.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// How a group is to be scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAutoscale {
    /// The group.
    pub group: Id,
    /// The instance that is copied.
    pub master: Id,
    /// At least so many instances.
    pub min_size: u32,
    /// At most so many instances.
    pub max_size: u32,
    /// How long a new instance counts as starting.
    pub warmup: Duration,
    /// How long nothing more is changed after a change.
    pub cooldown: Duration,
}

/// Begins to scale a group.
pub fn create(wanted: &CreateAutoscale) -> Request<Named> {
    let mut body = json!(wanted.group);
    if let Some(body) = body.as_object_mut() {
        body.insert("min_size".to_owned(), json!(wanted.min_size));
        body.insert("max_size".to_owned(), json!(wanted.max_size));
        body.insert("warmup_time_ms".to_owned(), json!(millis(wanted.warmup)));
        body.insert(
            "cooldown_time_ms".to_owned(),
            json!(millis(wanted.cooldown)),
        );
        body.insert("master".to_owned(), json!(wanted.master));
    }
    let doing = format!("scale the service `{}`", wanted.group.as_str());
    Request::new(Method::POST, &["services", "autoscale"], doing).with(body)
}

/// Asks how groups are scaled.
pub fn get(ids: &[Id]) -> Request<Autoscale> {
    let doing = "get how services are scaled";
    Request::about(Method::GET, ("services", Some("autoscale")), ids, doing)
}

/// Ceases to scale groups.
pub fn reset(ids: &[Id]) -> Request<Named> {
    let doing = "cease to scale the service";
    Request::about(Method::DELETE, ("services", Some("autoscale")), ids, doing)
}

/// Adds a policy to a group, which is named by its UUID.
pub fn add_policy(group: &str, policy: &Policy) -> Request<Named> {
    let path = ["services", group, "autoscale", "policies"];
    Request::new(
        Method::POST,
        &path,
        format!("add the policy `{}`", policy.name),
    )
    .with(json!(policy))
}

/// Asks for policies of a group, which is named by its UUID; without names for all.
pub fn policies(group: &str, names: &[String]) -> Request<Policy> {
    of_policies(Method::GET, group, names, "get the policies")
}

/// Removes policies of a group, which is named by its UUID.
pub fn remove_policies(group: &str, names: &[String]) -> Request<Named> {
    of_policies(Method::DELETE, group, names, "remove the policy")
}

/// A single policy stands in the path, several go into a document.
fn of_policies<T>(method: Method, group: &str, names: &[String], doing: &str) -> Request<T> {
    let mut path = vec!["services", group, "autoscale", "policies"];
    match names {
        [] => Request::new(method, &path, doing),
        [name] => {
            path.push(name);
            Request::new(method, &path, doing)
        }
        several => {
            let ids: Vec<Id> = several.iter().cloned().map(Id::Name).collect();
            Request::new(method, &path, doing).with(json!(ids))
        }
    }
}
