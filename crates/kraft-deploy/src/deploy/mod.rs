//! Deploying: from what the user points at to an instance that answers.
//!
//! ```text
//! subject ─► package ─► push ─► the platform knows it ─► launch ─► it answers
//!    │          │                        ▲
//!    └ an image of the platform ─────────┘
//! ```

mod image;
mod local;
pub mod subject;

use std::time::Duration;

use kraft_cloud::ErrorKind;
use kraft_cloud::request::Id;
use kraft_cloud::resources::images::Image;
use kraft_cloud::resources::instances::{CreateInstance, Instance, WantedGroup};
use kraft_cloud::resources::services::{self, Service};
use kraft_cloud::visit::Visitor;
use kraft_core::quantity::MIB;

pub use self::image::{BASE, Package, Packaged, name as image_name, package, push};
use self::subject::Subject;
use super::arrival::Patience;
use super::launch::{self, Launch, NewVolume};
use super::rollout::Rollout;
use super::trail::{Thing, Trail};
use super::{Cloud, arrival, naming};
use kraft_engine::context::Context;
use kraft_engine::failure::Failure;
use kraft_engine::network;

/// An instance has so much memory if nobody says how much, in MiB (cloud description, `memory_mb`).
const USUAL_MEMORY: u64 = 128;

/// What is deployed, and how.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The instance; its image and its arguments are still to come.
    pub wanted: CreateInstance,
    /// The program instead of the image's.
    pub entrypoint: Option<String>,
    /// Its volumes that are made if they are not there.
    pub volumes: Vec<NewVolume>,
    /// What becomes of the ones before it.
    pub rollout: Rollout,
    /// How its image is packaged.
    pub package: Package,
    /// How long each thing may take that is waited for.
    pub limit: Duration,
    /// Whether to return as soon as the instance is made.
    pub no_wait: bool,
}

/// What came out.
#[derive(Debug)]
pub struct Deployed {
    /// The instance, and its copies.
    pub instances: Vec<Instance>,
    /// Its published ports.
    pub services: Vec<Service>,
}

/// Deploys a subject.
pub fn deploy(
    ctx: &Context,
    cloud: &Cloud,
    subject: Subject,
    deployment: Deployment,
    trail: &mut Trail,
) -> Result<Deployed, Failure> {
    let (image, words) = match subject {
        Subject::Image { image, words } => (*image, words),
        Subject::Project { project, words } => {
            let project = project.map(|project| *project);
            let packaged = package(ctx, cloud, project, (&deployment.package, trail))?;
            push(ctx, cloud, &packaged)?;
            trail.add(Thing::Image(packaged.shown()));
            trail.next = Some(format!("kraft cloud deploy {}", packaged.shown()));
            let image = naming::wait(ctx, cloud, &packaged.on_platform(), deployment.limit)?;
            (image, words)
        }
    };
    start(ctx, cloud, &image, (&words, deployment), trail)
}

/// Launches an instance of an image, and waits until it answers.
fn start(
    ctx: &Context,
    cloud: &Cloud,
    image: &Image,
    (words, deployment): (&[String], Deployment),
    trail: &mut Trail,
) -> Result<Deployed, Failure> {
    let starts = deployment.wanted.autostart;
    let limit = deployment.limit;
    // One that answers has shown that it runs.
    let settling = if answers(&deployment.wanted) {
        Duration::ZERO
    } else {
        launch::SETTLING
    };
    let launch = Launch {
        wanted: CreateInstance {
            args: naming::arguments(image, deployment.entrypoint.as_deref(), words),
            image: image.digest.clone(),
            memory_mb: deployment.wanted.memory_mb.or_else(|| memory(image)),
            ..deployment.wanted
        },
        volumes: deployment.volumes,
        rollout: deployment.rollout,
        patience: (!deployment.no_wait).then_some(Patience { limit, settling }),
    };
    let instances = launch::launch(ctx, cloud, trail, launch)?;
    let services = published(cloud, &instances)?;
    if let Some(one) = instances.first().filter(|_| starts && !deployment.no_wait)
        && let Some(url) = address(one, &services)
    {
        let visitor = Visitor::new(network::policy(ctx))?;
        arrival::answering(ctx, cloud, one, &visitor, (&url, limit))?;
    }
    Ok(Deployed {
        instances,
        services,
    })
}

/// Returns whether a wanted instance is to answer HTTP.
fn answers(wanted: &CreateInstance) -> bool {
    let Some(WantedGroup::New(group)) = &wanted.service_group else {
        return false;
    };
    let mut handlers = group.services.iter().flat_map(|one| &one.handlers);
    handlers.any(|handler| handler == "http")
}

/// Returns how much memory an image needs that does not fit into the usual one: the image lies in
/// it as a whole, and needs some more to run.
fn memory(image: &Image) -> Option<u64> {
    let needed = image.size_in_bytes.div_ceil(MIB).saturating_mul(11) / 10;
    (needed > USUAL_MEMORY).then_some(needed)
}

/// Returns the published ports of instances, which are all behind one service.
fn published(cloud: &Cloud, instances: &[Instance]) -> Result<Vec<Service>, Failure> {
    let group = instances.first().and_then(|one| one.service_group.as_ref());
    let Some(group) = group else {
        return Ok(Vec::new());
    };
    let asked = services::get(&[Id::Uuid(group.uuid.clone())]);
    match cloud.send(&asked)?.one() {
        Ok(group) => Ok(group.services),
        // It went with its instance.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Returns where an instance answers HTTP, if it does.
pub fn address(one: &Instance, services: &[Service]) -> Option<String> {
    let host = one.fqdn()?;
    let has = |service: &Service, handler: &str| service.handlers.iter().any(|one| one == handler);
    let speaks = |service: &&Service| has(service, "http") && !has(service, "redirect");
    let mut sites: Vec<&Service> = services.iter().filter(speaks).collect();
    // The site that people mean, if there are several.
    sites.sort_by_key(|service| (service.port != 443, service.port != 80, service.port));
    let site = sites.first()?;
    let scheme = if has(site, "tls") { "https" } else { "http" };
    Some(match (scheme, site.port) {
        ("https", 443) | ("http", 80) => format!("{scheme}://{host}"),
        (_, port) => format!("{scheme}://{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use kraft_cloud::resources::instances::InstanceGroup;
    use kraft_cloud::resources::services::Domain;

    use super::super::ports;
    use super::*;

    fn at(typed: &[&str]) -> Option<String> {
        let one = Instance {
            service_group: Some(InstanceGroup {
                domains: vec![Domain {
                    fqdn: "web.example".to_owned(),
                    certificate: None,
                }],
                ..InstanceGroup::default()
            }),
            ..Instance::default()
        };
        let typed: Vec<String> = typed.iter().map(|&text| text.to_owned()).collect();
        address(&one, &ports::parse(&typed).unwrap())
    }

    #[test]
    fn the_address_is_that_of_the_web_site() {
        assert_eq!(at(&["443:8080"]).as_deref(), Some("https://web.example"));
        assert_eq!(at(&["80:80/http"]).as_deref(), Some("http://web.example"));
        assert_eq!(
            at(&["8443:80/http+tls"]).as_deref(),
            Some("https://web.example:8443")
        );
        assert_eq!(at(&["6379:6379/tls"]), None);
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn an_image_that_does_not_fit_gets_more_memory() {
        let image = |mib: u64| Image {
            size_in_bytes: mib * MIB,
            ..Image::default()
        };
        assert_eq!(memory(&image(20)), None);
        assert_eq!(memory(&image(200)), Some(220));
    }
}
