//! Autoscaling of service groups, and its policies.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Named;
use crate::request::{Form, Id, Request, Scope, millis};

/// Step of a policy: the adjustment while the metric is between two bounds.
///
/// As text it is `FROM:TO/ADJUSTMENT`; one of both bounds may be left out.
///
/// ```
/// use kraft_cloud::resources::autoscale::Step;
///
/// let step: Step = "800:/50".parse()?;
/// assert_eq!((step.lower_bound, step.upper_bound, step.adjustment), (Some(800), None, 50));
/// assert_eq!(step.to_string(), "800:/50");
/// # Ok::<(), kraft_cloud::resources::autoscale::StepError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Lower bound of the metric; if `None`, the step covers everything below the upper bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_bound: Option<i64>,
    /// Upper bound of the metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_bound: Option<i64>,
    /// Number of instances, or a percentage of them: see [`Policy::adjustment_type`].
    pub adjustment: i64,
}

/// The text is not a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid step")]
pub struct StepError(pub String);

impl FromStr for Step {
    type Err = StepError;

    fn from_str(text: &str) -> Result<Self, StepError> {
        let wrong = || StepError(text.to_owned());
        let (bounds, adjustment) = text.split_once('/').ok_or_else(wrong)?;
        let (from, to) = bounds.split_once(':').ok_or_else(wrong)?;
        let bound = |text: &str| match text {
            "" => Ok(None),
            number => number.parse().map(Some).map_err(|_| wrong()),
        };
        let step = Self {
            lower_bound: bound(from)?,
            upper_bound: bound(to)?,
            adjustment: adjustment.parse().map_err(|_| wrong())?,
        };
        match (step.lower_bound, step.upper_bound) {
            (None, None) => Err(wrong()),
            (Some(from), Some(to)) if from >= to => Err(wrong()),
            _ => Ok(step),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |bound: Option<i64>| bound.map(|one| one.to_string()).unwrap_or_default();
        let (from, to) = (bound(self.lower_bound), bound(self.upper_bound));
        write!(f, "{from}:{to}/{}", self.adjustment)
    }
}

/// Autoscaling policy of a service group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Name of the policy.
    pub name: String,
    /// Type of the policy: `step`; today's platform has no other and does not report it.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub sort: String,
    /// Metric: `cpu`, in thousandths of a CPU (millicores) per instance.
    pub metric: String,
    /// Meaning of [`Step::adjustment`]: `change`, `exact` or `percent`; today's
    /// platform reports `percentage`.
    pub adjustment_type: String,
    /// Steps, sorted and without gaps.
    pub steps: Vec<Step>,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Autoscaling configuration of a service group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Autoscale {
    /// UUID of the group.
    pub uuid: String,
    /// Name of the group.
    pub name: String,
    /// Whether autoscaling is enabled.
    pub enabled: bool,
    /// Minimum number of instances.
    pub min_size: u64,
    /// Maximum number of instances.
    pub max_size: u64,
    /// Warm-up time during which a new instance counts as starting, in milliseconds.
    pub warmup_time_ms: u64,
    /// Cooldown time after a change during which nothing else is changed, in milliseconds.
    pub cooldown_time_ms: u64,
    /// Instance that new instances are cloned from; today's platform has a template instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<Named>,
    /// Template that new instances are cloned from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Named>,
    /// Policies that determine the number of instances.
    pub policies: Vec<Policy>,
    /// Other fields that the platform returns.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Parameters of an autoscaling configuration to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAutoscale {
    /// Service group to scale.
    pub group: Id,
    /// Instance that new instances are cloned from.
    pub master: Id,
    /// Minimum number of instances.
    pub min_size: u32,
    /// Maximum number of instances.
    pub max_size: u32,
    /// Warm-up time during which a new instance counts as starting.
    pub warmup: Duration,
    /// Cooldown time after a change during which nothing else is changed.
    pub cooldown: Duration,
}

/// Enables autoscaling of a service group, of which instances are cloned from a template. The
/// description of 2024 has an instance instead: see [`create`].
pub fn create_from(template: &Id, wanted: &CreateAutoscale) -> Request<Named> {
    let mut body = create(wanted).body.unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.remove("master");
        body.insert("create_args".to_owned(), json!({"template": template}));
    }
    let doing = "scale the service";
    let group = std::slice::from_ref(&wanted.group);
    if let Id::Uuid(uuid) = &wanted.group {
        let mut request = Request::new(Method::POST, &["services", uuid, "autoscale"], doing);
        request.scope = Scope::Only(group.to_vec());
        return request.with(body);
    }
    let request = Request::new(Method::POST, &["services", "autoscale"], doing);
    request.only(group).with(json!([body]))
}

/// Enables autoscaling of a service group.
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
    let doing = "scale the service";
    let mut request = Request::new(Method::POST, &["services", "autoscale"], doing).with(body);
    request.scope = Scope::Only(vec![wanted.group.clone()]);
    request
}

/// Gets the autoscaling configuration of service groups.
pub fn get(ids: &[Id]) -> Request<Autoscale> {
    let doing = "get how services are scaled";
    let path = match ids {
        [Id::Uuid(uuid)] => vec!["services", uuid, "autoscale"],
        _ => vec!["services", "autoscale"],
    };
    let form = Form::new(Method::GET, &path);
    let mut request = match ids {
        [] | [Id::Uuid(_)] => Request::of(form, doing),
        ids => {
            let form = form.named(ids);
            Request::of(form.clone(), doing).or_else(form.with(json!(ids)))
        }
    };
    if !ids.is_empty() {
        request.scope = Scope::Only(ids.to_vec());
    }
    request
}

/// Disables autoscaling of service groups.
pub fn reset(ids: &[Id]) -> Request<Named> {
    let doing = "stop scaling the service";
    let collection = ["services", "autoscale"];
    Request::change(Method::DELETE, &collection, None, ids, doing)
}

/// Adds a policy to a service group, given by its UUID.
pub fn add_policy(group: &str, policy: &Policy) -> Request<Named> {
    let path = ["services", group, "autoscale", "policies"];
    let older = json!(policy);
    let mut today = older.clone();
    if let Some(today) = today.as_object_mut() {
        today.remove("type");
        today.insert("enabled".to_owned(), json!(true));
        if policy.adjustment_type == "percent" {
            today.insert("adjustment_type".to_owned(), json!("percentage"));
        }
    }
    let form = Form::new(Method::POST, &path);
    let doing = format!("add the policy `{}`", policy.name);
    let today = form
        .clone()
        .with(json!({"name": policy.name, "type": today}));
    let request = Request::of(today, doing).or_else(form.with(older));
    request.makes(Some(&policy.name))
}

/// Gets a policy of a service group, given by its UUID.
pub fn policy(group: &str, name: &str) -> Request<Policy> {
    of_policy(Method::GET, group, name, "get the policy")
}

/// Removes a policy of a service group, given by its UUID.
pub fn remove_policy(group: &str, name: &str) -> Request<Named> {
    of_policy(Method::DELETE, group, name, "remove the policy")
}

/// Creates a request about a policy, whose name goes into the path.
fn of_policy<T>(method: Method, group: &str, name: &str, doing: &str) -> Request<T> {
    let path = ["services", group, "autoscale", "policies", name];
    let mut request = Request::new(method, &path, doing);
    request.scope = Scope::Only(vec![Id::Name(name.to_owned())]);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_round_trip() {
        for text in ["600:800/2", ":200/-1", "800:/50", "-5:0/1"] {
            assert_eq!(text.parse::<Step>().unwrap().to_string(), text);
        }
        for bad in [
            "", "1:2", ":/1", "2:1/1", "1:1/1", "a:b/1", "1:2/x", "1/2", "1:2/", "1:2/3/4",
        ] {
            assert_eq!(bad.parse::<Step>(), Err(StepError(bad.to_owned())));
        }
    }
}
