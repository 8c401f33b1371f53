//! Roll-outs: what becomes of the instances of a service that a new one takes the place of.

use std::time::Duration;

use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::instances::{self, CreateInstance, Instance, WantedGroup};
use kraft_cloud::resources::services;
use kraft_cloud::resources::{self, Known, Named};

use super::Cloud;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::tally::Tally;

/// The old instances get so long to finish with their connections.
const DRAIN: Duration = Duration::from_mins(1);

/// What becomes of the old instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Make nothing if there are any
    Exit,
    /// Stop them once the new one runs
    Stop,
    /// Remove them once the new one runs
    Remove,
    /// Leave them as they are
    Keep,
    /// Ask
    Prompt,
}

/// Which instances of the service are old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// Those of the same image, in whatever version
    Image,
    /// Those of the same name
    Name,
    /// All
    All,
    /// None
    None,
}

/// How a new instance takes the place of old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// What becomes of the old ones.
    pub strategy: Strategy,
    /// Which they are.
    pub qualifier: Qualifier,
    /// How long the new one may take until it runs.
    pub wait: Duration,
}

/// The old instances, and what is to be done to them.
#[derive(Debug)]
pub struct Plan {
    /// The old instances.
    pub old: Vec<Instance>,
    /// What becomes of them; decided.
    pub strategy: Strategy,
}

/// Returns the service that a new instance joins, if it is one that is there.
pub fn service(wanted: &CreateInstance) -> Option<Id> {
    match wanted.service_group.as_ref()? {
        WantedGroup::Uuid(uuid) => Some(Id::Uuid(uuid.clone())),
        WantedGroup::Name(name) => Some(Id::Name(name.clone())),
        WantedGroup::New(_) => None,
    }
}

/// Finds the old instances and decides about them, before anything is made. Without a service that
/// is there, there are none. A new instance whose name an old one has gets another.
pub fn plan(
    ctx: &Context,
    cloud: &Cloud,
    wanted: &mut CreateInstance,
    rollout: &Rollout,
) -> Result<Option<Plan>, Failure> {
    let Some(service) = service(wanted).filter(|_| wanted.autostart) else {
        return Ok(None);
    };
    if rollout.qualifier == Qualifier::None {
        return Ok(None);
    }
    let group = cloud.send(&services::get(&[service]))?.one()?;
    let members = resources::ids(&group.instances);
    if members.is_empty() {
        return Ok(None);
    }
    let mut old = cloud.send(&instances::get(&members))?.all()?;
    old.retain(|one| is_old(one, wanted, rollout.qualifier));
    if old.is_empty() {
        return Ok(None);
    }
    let strategy = decide(ctx, &group.name, &old, rollout.strategy)?;
    if old
        .iter()
        .any(|one| Some(&one.name) == wanted.name.as_ref())
    {
        wanted.rename();
        let name = wanted.name.as_deref().unwrap_or_default();
        ctx.info(&format!(
            "an old instance has that name: the new one is `{name}`"
        ));
    }
    Ok(Some(Plan { old, strategy }))
}

/// Returns whether an instance is one that the wanted one takes the place of.
fn is_old(one: &Instance, wanted: &CreateInstance, qualifier: Qualifier) -> bool {
    match qualifier {
        Qualifier::None => false,
        Qualifier::All => true,
        Qualifier::Image => base(&one.image) == base(&wanted.image),
        Qualifier::Name => wanted.name.as_deref().is_some_and(|name| {
            let rest = one.name.strip_prefix(name);
            // A new version of a name has five characters behind it.
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

fn decide(
    ctx: &Context,
    service: &str,
    old: &[Instance],
    strategy: Strategy,
) -> Result<Strategy, Failure> {
    let names: Vec<&str> = old.iter().map(Instance::title).collect();
    let names = names.join(", ");
    match strategy {
        Strategy::Exit => Err(Failure::new(
            Kind::Failed,
            format!("the service `{service}` has instances already: {names}"),
        )
        .hint("`--rollout remove`, `stop` or `keep` says what becomes of them")),
        Strategy::Prompt => {
            let question = format!("The service {service} has instances already ({names}).");
            let lines = ["exit", "stop them", "remove them", "keep them"].map(str::to_owned);
            match ctx.select(&question, &lines)? {
                Some(0) => decide(ctx, service, old, Strategy::Exit),
                Some(1) => Ok(Strategy::Stop),
                Some(2) => Ok(Strategy::Remove),
                Some(_) => Ok(Strategy::Keep),
                None => Err(Failure::usage(format!(
                    "the service `{service}` has instances already ({names}), and nobody can be \
                     asked what becomes of them"
                ))
                .hint("say it: `--rollout remove`, `stop`, `keep` or `exit`")),
            }
        }
        decided => Ok(decided),
    }
}

/// Stops old instances, which may finish with their connections.
pub fn stop(old: &[Id]) -> Request<Named> {
    instances::stop(old, false, DRAIN)
}

/// Does to the old instances what was decided; the new one runs.
pub fn finish(ctx: &Context, cloud: &Cloud, plan: &Plan) -> Result<(), Failure> {
    let ids = resources::ids(&plan.old);
    let (request, done) = match plan.strategy {
        Strategy::Stop => (stop(&ids), "stopped"),
        Strategy::Remove => (instances::remove(&ids), "removed"),
        Strategy::Keep | Strategy::Exit | Strategy::Prompt => return Ok(()),
    };
    let mut tally = Tally::default();
    for item in cloud.send(&request)?.each() {
        let item = match item {
            // Somebody else was faster.
            Err(error) if error.kind() == kraft_cloud::ErrorKind::NotFound => continue,
            item => item,
        };
        let told = item.map_err(Failure::from).map(|one| {
            ctx.info(&format!("{done} the old instance {}", one.title()));
        });
        tally.count(ctx, told)?;
    }
    tally.outcome()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(name: &str, image: &str) -> Instance {
        Instance {
            name: name.to_owned(),
            image: image.to_owned(),
            ..Instance::default()
        }
    }

    #[test]
    fn old_instances_are_told_by_image_or_name() {
        let wanted = CreateInstance {
            name: Some("web".to_owned()),
            image: "anna/web:v2".to_owned(),
            ..CreateInstance::default()
        };
        let is = |name, image, qualifier| is_old(&old(name, image), &wanted, qualifier);
        assert!(is("x", "anna/web@sha256:00", Qualifier::Image));
        assert!(is(
            "x",
            "oci://unikraft.io/anna/web:v1@sha256:00",
            Qualifier::Image
        ));
        assert!(!is("x", "anna/webber@sha256:00", Qualifier::Image));
        assert!(!is("x", "berta/web@sha256:00", Qualifier::Image));
        assert!(is("web", "other", Qualifier::Name));
        assert!(is("web-x7k2p", "other", Qualifier::Name));
        assert!(!is("web-admin-1", "other", Qualifier::Name));
        assert!(is("x", "other", Qualifier::All));
        assert!(!is("web", "anna/web", Qualifier::None));
    }
}
