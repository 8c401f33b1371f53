//! Roll-outs: what happens to the instances of a service that a new instance replaces.
//!
//! ```text
//! members of the service ─ decide ─► no old instance │ Plan │ ask the user
//!     new instance runs  ─ finish ─► old ones kept, stopped or removed
//! ```

use std::time::Duration;

use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::instances::{self, CreateInstance, Instance, WantedGroup};
use kraft_cloud::resources::services;
use kraft_cloud::resources::{self, Known, Named};
use kraft_core::error::chain;
use kraft_engine::context::{AskError, Context};

use crate::cloud::Cloud;
use crate::error::RequestError;

/// How long old instances may finish their connections.
const DRAIN: Duration = Duration::from_mins(1);

/// Why a roll-out was not planned or finished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The strategy is to fail if there are old instances.
    #[error("the service `{service}` already has instances: {}", names.join(", "))]
    HasInstances {
        /// The service.
        service: String,
        /// The old instances.
        names: Vec<String>,
    },
    /// The strategy is to ask, and there is no terminal.
    #[error(
        "the service `{service}` already has instances ({}), and there is no terminal to ask what \
         happens to them", names.join(", ")
    )]
    CannotAsk {
        /// The service.
        service: String,
        /// The old instances.
        names: Vec<String>,
    },
    /// The question has no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Some old instances are still there; the new one runs.
    #[error("{failed} of {total} old instances were not {done}")]
    Incomplete {
        /// What was to happen: `stopped` or `removed`.
        done: &'static str,
        /// How many are left.
        failed: usize,
        /// How many there were.
        total: usize,
        /// Why the last of them is left.
        #[source]
        source: RequestError,
    },
}

/// What happens to the old instances, as the user asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Fail if there are any.
    Exit,
    /// Stop them once the new one runs.
    Stop,
    /// Remove them once the new one runs.
    Remove,
    /// Keep them.
    Keep,
    /// Ask.
    Prompt,
}

/// Which instances of the service are old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// Those of the same image, in any version.
    Image,
    /// Those of the same name.
    Name,
    /// All.
    All,
    /// None.
    None,
}

/// How a new instance replaces old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// What happens to the old ones.
    pub strategy: Strategy,
    /// Which they are.
    pub qualifier: Qualifier,
    /// Time limit until the new one runs.
    pub wait: Duration,
}

/// What happens to the old instances, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are kept.
    Keep,
    /// They are stopped.
    Stop,
    /// They are removed.
    Remove,
}

/// The old instances, and what happens to them once the new one runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The old instances.
    pub old: Vec<Instance>,
    /// What happens to them.
    pub action: Action,
}

/// What follows from the instances of a service.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// There are no old instances.
    NoOld,
    /// Old instances are replaced.
    Replace(Plan),
    /// The user must decide about these old instances.
    Ask(Vec<Instance>),
    /// There are old instances, and there must not be.
    Refuse(Vec<Instance>),
}

/// Decides what a new instance replaces among the members of its service.
///
/// ```
/// use std::time::Duration;
///
/// use kraft_cloud::resources::instances::{CreateInstance, Instance};
/// use kraft_deploy::rollout::{self, Decision, Qualifier, Rollout, Strategy};
///
/// let rollout = Rollout {
///     strategy: Strategy::Remove,
///     qualifier: Qualifier::Image,
///     wait: Duration::from_secs(10),
/// };
/// let new = CreateInstance { image: "anna/web:v2".to_owned(), ..CreateInstance::default() };
/// let old = Instance { image: "anna/web:v1".to_owned(), ..Instance::default() };
/// assert!(matches!(
///     rollout::decide(&new, vec![old], &rollout),
///     Decision::Replace(plan) if plan.old.len() == 1
/// ));
/// ```
#[must_use]
pub fn decide(wanted: &CreateInstance, members: Vec<Instance>, rollout: &Rollout) -> Decision {
    let mut old = members;
    old.retain(|one| is_old(one, wanted, rollout.qualifier));
    if old.is_empty() {
        return Decision::NoOld;
    }
    let action = match rollout.strategy {
        Strategy::Exit => return Decision::Refuse(old),
        Strategy::Prompt => return Decision::Ask(old),
        Strategy::Keep => Action::Keep,
        Strategy::Stop => Action::Stop,
        Strategy::Remove => Action::Remove,
    };
    Decision::Replace(Plan { old, action })
}

/// Returns the existing service that a new instance joins, if any.
#[must_use]
pub fn service(wanted: &CreateInstance) -> Option<Id> {
    match wanted.service_group.as_ref()? {
        WantedGroup::Uuid(uuid) => Some(Id::Uuid(uuid.clone())),
        WantedGroup::Name(name) => Some(Id::Name(name.clone())),
        WantedGroup::New(_) => None,
    }
}

/// Finds the old instances and decides what happens to them, before anything is created; `None` if
/// there are none. If an old instance has the name of the new one, the new one is renamed.
///
/// # Errors
///
/// If the platform cannot be asked, the strategy is to fail, or the user cannot be asked.
pub fn plan(
    ctx: &Context,
    cloud: &Cloud,
    wanted: &mut CreateInstance,
    rollout: &Rollout,
) -> Result<Option<Plan>, Error> {
    let Some(service) = service(wanted).filter(|_| wanted.autostart) else {
        return Ok(None);
    };
    if rollout.qualifier == Qualifier::None {
        return Ok(None);
    }
    let group = cloud.one(&services::get(&[service]))?;
    let members = resources::ids(&group.instances);
    if members.is_empty() {
        return Ok(None);
    }
    let members = cloud.all(&instances::get(&members))?;
    let plan = match decide(wanted, members, rollout) {
        Decision::NoOld => return Ok(None),
        Decision::Replace(plan) => plan,
        Decision::Ask(old) => ask(ctx, group.name, old)?,
        Decision::Refuse(old) => return Err(has_instances(group.name, &old)),
    };
    tracing::debug!(old = plan.old.len(), action = ?plan.action, "planned the roll-out");
    if has_name_of(wanted, &plan.old) {
        wanted.rename();
        let name = wanted.name.as_deref().unwrap_or_default();
        ctx.info(&format!(
            "an old instance has that name: the new one is `{name}`"
        ));
    }
    Ok(Some(plan))
}

/// Returns whether one of the old instances has the name of the new one.
fn has_name_of(wanted: &CreateInstance, old: &[Instance]) -> bool {
    old.iter()
        .any(|one| Some(&one.name) == wanted.name.as_ref())
}

/// Returns whether the new instance replaces this one.
fn is_old(one: &Instance, wanted: &CreateInstance, qualifier: Qualifier) -> bool {
    match qualifier {
        Qualifier::None => false,
        Qualifier::All => true,
        Qualifier::Image => base(&one.image) == base(&wanted.image),
        Qualifier::Name => wanted.name.as_deref().is_some_and(|name| {
            let rest = one.name.strip_prefix(name);
            // A renamed instance has a suffix of a dash and five characters.
            rest.is_some_and(|rest| rest.is_empty() || (rest.len() == 6 && rest.starts_with('-')))
        }),
    }
}

/// Returns the name of an image without its version, its host and its scheme.
fn base(image: &str) -> &str {
    let image = image.split_once("://").map_or(image, |(_, rest)| rest);
    let image = image.split('@').next().unwrap_or(image);
    let image = match image.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => image,
    };
    let image = match image.split_once('/') {
        Some((host, rest)) if host.contains('.') => rest,
        _ => image,
    };
    image.strip_prefix("official/").unwrap_or(image)
}

/// Asks the user what happens to the old instances.
fn ask(ctx: &Context, service: String, old: Vec<Instance>) -> Result<Plan, Error> {
    let names = titles(&old);
    let question = format!(
        "The service {service} already has instances ({}).",
        names.join(", ")
    );
    let lines = ["exit", "stop them", "remove them", "keep them"].map(str::to_owned);
    let action = match ctx.ask.select(&question, &lines)? {
        Some(0) => return Err(has_instances(service, &old)),
        Some(1) => Action::Stop,
        Some(2) => Action::Remove,
        Some(_) => Action::Keep,
        None => return Err(Error::CannotAsk { service, names }),
    };
    Ok(Plan { old, action })
}

fn has_instances(service: String, old: &[Instance]) -> Error {
    Error::HasInstances {
        service,
        names: titles(old),
    }
}

fn titles(old: &[Instance]) -> Vec<String> {
    old.iter().map(|one| one.title().to_owned()).collect()
}

/// Returns the request that stops old instances, after they finished their connections.
pub fn stop(old: &[Id]) -> Request<Named> {
    instances::stop(old, false, DRAIN)
}

/// Stops or removes the old instances; the new one runs.
///
/// # Errors
///
/// If the request fails, or some of the instances are left: all but the last error are warnings.
pub fn finish(ctx: &Context, cloud: &Cloud, plan: &Plan) -> Result<(), Error> {
    let ids = resources::ids(&plan.old);
    let (request, done) = match plan.action {
        Action::Stop => (stop(&ids), "stopped"),
        Action::Remove => (instances::remove(&ids), "removed"),
        Action::Keep => return Ok(()),
    };
    let mut failed = 0;
    let mut last: Option<RequestError> = None;
    for item in cloud.send(&request)?.each() {
        match item.map_err(RequestError::from) {
            Ok(one) => ctx.info(&format!("{done} the old instance {}", one.title())),
            // Another process removed it.
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                failed += 1;
                if let Some(before) = last.replace(error) {
                    ctx.warn(&chain(&before));
                }
            }
        }
    }
    match last {
        None => Ok(()),
        Some(source) => Err(Error::Incomplete {
            done,
            failed,
            total: ids.len(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, image: &str) -> Instance {
        Instance {
            name: name.to_owned(),
            image: image.to_owned(),
            ..Instance::default()
        }
    }

    /// The members of the service that the tests replace.
    fn members() -> Vec<Instance> {
        vec![
            member("web", "anna/web@sha256:00"),
            member("web-x7k2p", "oci://unikraft.io/anna/web:v1@sha256:00"),
            member("web-admin-1", "anna/webber@sha256:00"),
            member("db", "berta/web@sha256:00"),
        ]
    }

    fn wanted() -> CreateInstance {
        CreateInstance {
            name: Some("web".to_owned()),
            image: "anna/web:v2".to_owned(),
            ..CreateInstance::default()
        }
    }

    fn decided(strategy: Strategy, qualifier: Qualifier) -> (&'static str, Vec<String>) {
        let rollout = Rollout {
            strategy,
            qualifier,
            wait: Duration::ZERO,
        };
        match decide(&wanted(), members(), &rollout) {
            Decision::NoOld => ("none", Vec::new()),
            Decision::Ask(old) => ("ask", titles(&old)),
            Decision::Refuse(old) => ("refuse", titles(&old)),
            Decision::Replace(Plan { old, action }) => {
                let action = match action {
                    Action::Keep => "keep",
                    Action::Stop => "stop",
                    Action::Remove => "remove",
                };
                (action, titles(&old))
            }
        }
    }

    #[test]
    fn the_strategy_decides_what_happens_to_the_instances_that_the_qualifier_selects() {
        let same_image: &[&str] = &["web", "web-x7k2p"];
        let all: &[&str] = &["web", "web-x7k2p", "web-admin-1", "db"];
        for (strategy, qualifier, action, old) in [
            (Strategy::Exit, Qualifier::Image, "refuse", same_image),
            (Strategy::Prompt, Qualifier::Image, "ask", same_image),
            (Strategy::Stop, Qualifier::Image, "stop", same_image),
            (Strategy::Remove, Qualifier::Image, "remove", same_image),
            (Strategy::Keep, Qualifier::Image, "keep", same_image),
            (Strategy::Stop, Qualifier::Name, "stop", same_image),
            (Strategy::Remove, Qualifier::All, "remove", all),
            (Strategy::Exit, Qualifier::All, "refuse", all),
            (Strategy::Exit, Qualifier::None, "none", &[]),
            (Strategy::Prompt, Qualifier::None, "none", &[]),
            (Strategy::Remove, Qualifier::None, "none", &[]),
        ] {
            let (decided, selected) = decided(strategy, qualifier);
            assert_eq!(decided, action, "{strategy:?} {qualifier:?}");
            assert_eq!(selected, old, "{strategy:?} {qualifier:?}");
        }
    }

    #[test]
    fn a_service_without_matching_members_has_no_old_instances() {
        for strategy in [Strategy::Exit, Strategy::Prompt, Strategy::Remove] {
            let rollout = Rollout {
                strategy,
                qualifier: Qualifier::Image,
                wait: Duration::ZERO,
            };
            for members in [vec![], vec![member("web", "other/web:v1")]] {
                assert_eq!(decide(&wanted(), members, &rollout), Decision::NoOld);
            }
        }
    }

    #[test]
    fn an_unnamed_instance_replaces_none_by_name() {
        let unnamed = CreateInstance {
            name: None,
            ..wanted()
        };
        assert!(!is_old(&member("web", "x"), &unnamed, Qualifier::Name));
        assert!(!has_name_of(&unnamed, &members()));
        assert!(has_name_of(&wanted(), &members()));
    }

    #[test]
    fn images_are_compared_without_host_scheme_and_version() {
        for (image, expected) in [
            ("nginx", "nginx"),
            ("official/nginx:1.2", "nginx"),
            ("anna/web@sha256:00", "anna/web"),
            ("oci://unikraft.io/anna/web:v1@sha256:00", "anna/web"),
            ("localhost.example:5000/anna/web", "anna/web"),
        ] {
            assert_eq!(base(image), expected, "{image}");
        }
    }
}
