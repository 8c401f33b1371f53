//! What a deployment would change, and whether it would change anything.
//!
//! ```no_run
//! use kraft_cloud::resources::instances::CreateInstance;
//! use kraft_deploy::plan::unchanged;
//! # fn example(cloud: &kraft_deploy::Cloud) -> Result<(), kraft_deploy::RequestError> {
//! let image = format!("anna/web@sha256:{}", "0a".repeat(32));
//! let wanted = CreateInstance { image, autostart: true, ..CreateInstance::default() };
//! if let Some(same) = unchanged(cloud, &wanted)? {
//!     println!("{} runs it already", same.name);
//! }
//! # Ok(()) }
//! ```

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance};
use kraft_cloud::resources::{services, volumes};
use serde::Serialize;

use crate::cloud::Cloud;
use crate::compose::change::is_up_to_date;
use crate::error::RequestError;
use crate::launch::NewVolume;
use crate::rollout::{self, Decision, Rollout};

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What happens: `keep`, `create`, `push`, `stop`, `remove` or `ask`.
    pub action: &'static str,
    /// Kind of the resource: `image`, `service`, `volume` or `instance`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What is there, or what it will be.
    pub detail: String,
}

impl Step {
    fn new(action: &'static str, kind: &'static str, name: &str, detail: &str) -> Self {
        Self {
            action,
            kind,
            name: name.to_owned(),
            detail: detail.to_owned(),
        }
    }
}

/// Returns whether an instance runs and has the name and the size that a deployment would give it.
fn is_like(there: &Instance, wanted: &CreateInstance) -> bool {
    // Of fields that only today's platform knows, each that is set must be returned as it is.
    let rest = serde_json::to_value(there).unwrap_or_default();
    let mut rest = wanted
        .more
        .iter()
        .map(|(name, value)| rest.get(name) == Some(value));
    wanted.name.as_ref().is_none_or(|name| *name == there.name)
        && wanted
            .vcpus
            .is_none_or(|vcpus| u64::from(vcpus) == there.vcpus)
        && matches!(there.state.as_str(), "running" | "standby" | "starting")
        && rest.all(|same| same)
}

/// Finds an instance that is already what a deployment of an image would create.
///
/// # Errors
///
/// If the platform cannot be asked.
pub fn unchanged(cloud: &Cloud, wanted: &CreateInstance) -> Result<Option<Instance>, RequestError> {
    if wanted.replicas.is_some() || !wanted.autostart {
        return Ok(None);
    }
    let all = match (&wanted.name, rollout::service(wanted)) {
        (Some(name), _) => cloud.found(&instances::get(&[Id::Name(name.clone())]))?,
        (None, _) => cloud.all(&instances::get(&[]))?,
    };
    for one in all {
        let group = one.service_group.as_ref();
        let joined = match rollout::service(wanted) {
            Some(Id::Uuid(uuid)) => group.is_some_and(|group| group.uuid == uuid),
            Some(Id::Name(name)) => group.is_some_and(|group| group.name == name),
            None => true,
        };
        if joined && is_like(&one, wanted) && is_up_to_date(cloud, &one, wanted)? {
            return Ok(Some(one));
        }
    }
    Ok(None)
}

/// Returns what a deployment would change. Changes nothing.
///
/// # Errors
///
/// If the platform cannot be asked, or a service that the deployment names does not exist.
pub fn steps(
    cloud: &Cloud,
    wanted: &CreateInstance,
    new_volumes: &[NewVolume],
    rollout: &Rollout,
    pushed: bool,
) -> Result<Vec<Step>, RequestError> {
    let mut steps = Vec::new();
    let there = crate::naming::look_up(cloud, &wanted.image)?;
    let image = match (&there, pushed) {
        (Some(_), true) => Step::new("push", "image", &wanted.image, "replaces the image there"),
        (None, true) => Step::new("push", "image", &wanted.image, "does not exist yet"),
        (Some(image), false) => Step::new("keep", "image", &wanted.image, image.reference()),
        (None, false) => Step::new("keep", "image", &wanted.image, ""),
    };
    steps.push(image);
    for volume in new_volumes {
        let id = Id::new(&volume.name);
        let found = cloud.found(&volumes::get(&[id]))?;
        let size = format!("{} MiB", volume.size_mb);
        steps.push(match found.first() {
            Some(there) => {
                let size = format!("{} MiB", there.size_mb);
                Step::new("keep", "volume", &volume.name, &size)
            }
            None => Step::new("create", "volume", &volume.name, &size),
        });
    }
    let is_new = |name: &str| new_volumes.iter().any(|volume| volume.name == name);
    let named = wanted.volumes.iter().map(|volume| &volume.id);
    for id in named.filter(|id| !is_new(id.as_str())) {
        let there = cloud.one(&volumes::get(std::slice::from_ref(id)))?;
        let size = format!("{} MiB", there.size_mb);
        steps.push(Step::new("keep", "volume", &there.name, &size));
    }
    let same = match (&there, pushed) {
        (Some(image), false) => {
            let pinned = CreateInstance {
                image: image.reference().to_owned(),
                ..wanted.clone()
            };
            unchanged(cloud, &pinned)?
        }
        _ => None,
    };
    if let Some(service) = rollout::service(wanted) {
        let group = cloud.one(&services::get(&[service]))?;
        steps.push(Step::new("keep", "service", &group.name, ""));
    } else if wanted.service_group.is_some() {
        let there = same.as_ref().and_then(|same| same.service_group.as_ref());
        steps.push(match there {
            Some(there) => Step::new("keep", "service", &there.name, ""),
            None => Step::new("create", "service", "", "with the instance"),
        });
    }
    if let Some(same) = same {
        steps.push(Step::new("keep", "instance", &same.name, "unchanged"));
        return Ok(steps);
    }
    let name = wanted.name.as_deref().unwrap_or_default();
    let memory = wanted.memory_mb.map(|memory| format!("{memory} MiB"));
    let memory = memory.unwrap_or_default();
    steps.push(Step::new("create", "instance", name, &memory));
    steps.extend(replaced(cloud, wanted, rollout)?);
    Ok(steps)
}

/// Returns what happens to the older instances of the service.
fn replaced(
    cloud: &Cloud,
    wanted: &CreateInstance,
    rollout: &Rollout,
) -> Result<Vec<Step>, RequestError> {
    let Some(service) = rollout::service(wanted).filter(|_| wanted.autostart) else {
        return Ok(Vec::new());
    };
    let group = cloud.one(&services::get(&[service]))?;
    let members = kraft_cloud::resources::ids(&group.instances);
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let members = cloud.all(&instances::get(&members))?;
    let (old, action) = match rollout::decide(wanted, members, rollout) {
        Decision::NoOld => return Ok(Vec::new()),
        Decision::Replace(plan) => {
            let action = match plan.action {
                rollout::Action::Keep => "keep",
                rollout::Action::Stop => "stop",
                rollout::Action::Remove => "remove",
            };
            (plan.old, action)
        }
        Decision::Ask(old) => (old, "ask"),
        Decision::Refuse(old) => (old, "refuse"),
    };
    let steps = old
        .iter()
        .map(|one| Step::new(action, "instance", &one.name, &one.state));
    Ok(steps.collect())
}
