//! Deploy: from a project or an image to an instance that answers.
//!
//! ```text
//! target ─► package ─► push ─► the platform lists it ─► launch ─► it answers
//!    │                                  ▲
//!    └── an image of the platform ──────┘
//! ```

mod image;
mod interruptible;
pub mod target;

use std::time::Duration;

use kraft_cloud::health::HealthCheck;
use kraft_cloud::request::Id;
use kraft_cloud::resources::Known as _;
use kraft_cloud::resources::images::Image;
use kraft_cloud::resources::instances::{CreateInstance, Instance, WantedGroup};
use kraft_cloud::resources::services::{self, Service};
use kraft_core::quantity::MIB;
use kraft_engine::context::Context;
use kraft_engine::network;

pub use self::image::{
    BASE, Error as ImageError, PackageOptions, Packaged, image_name, package, push, runtime,
};
pub use self::interruptible::Error as LocalError;
use self::target::DeployTarget;
use crate::cloud::Cloud;
use crate::created::{Created, Resource};
use crate::error::RequestError;
use crate::launch::{self, Launch, NewVolume};
use crate::readiness::{self, Address, WaitOptions};
use crate::rollout::Rollout;
use crate::{naming, plan};

/// The platform's default memory of an instance, in MiB (cloud description, `memory_mb`).
const DEFAULT_MEMORY: u64 = 128;

/// Why nothing was deployed, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be built, packaged or pushed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The platform does not have the image.
    #[error(transparent)]
    Naming(#[from] naming::Error),
    /// The instance cannot be launched.
    #[error(transparent)]
    Launch(#[from] launch::Error),
    /// The instance does not answer.
    #[error(transparent)]
    NotReady(#[from] readiness::Error),
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// A request to deploy.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The instance, without its image and its arguments.
    pub wanted: CreateInstance,
    /// The program that replaces that of the image.
    pub entrypoint: Option<String>,
    /// Its volumes that are created if they do not exist.
    pub volumes: Vec<NewVolume>,
    /// How older instances are replaced.
    pub rollout: Rollout,
    /// How its image is packaged.
    pub package: PackageOptions,
    /// Time limit for each step that is awaited.
    pub limit: Duration,
    /// Whether to return as soon as the instance is created.
    pub no_wait: bool,
}

/// Outcome of a deployment.
#[derive(Debug)]
pub struct Deployed {
    /// The instance, and its replicas.
    pub instances: Vec<Instance>,
    /// Its published ports.
    pub services: Vec<Service>,
}

/// Deploys a target, and records in `created` what exists if it fails halfway.
///
/// ```no_run
/// use kraft_deploy::deploy::target::DeployTarget;
/// use kraft_deploy::deploy::{self, Deployment};
/// use kraft_deploy::{Cloud, created::Created};
/// # fn example(
/// #     context: &kraft_engine::context::Context,
/// #     cloud: &Cloud,
/// #     target: DeployTarget,
/// #     deployment: Deployment,
/// # ) {
/// let mut created = Created::default();
/// match deploy::deploy(context, cloud, target, deployment, &mut created) {
///     Ok(deployed) => println!("{} instances", deployed.instances.len()),
///     Err(error) => eprintln!("{error}; there is now {:?}", created.summary()),
/// }
/// # }
/// ```
///
/// # Errors
///
/// If a step fails, or the user interrupts the command.
pub fn deploy(
    ctx: &Context,
    cloud: &Cloud,
    target: DeployTarget,
    deployment: Deployment,
    created: &mut Created,
) -> Result<Deployed, Error> {
    let is_project = matches!(target, DeployTarget::Project { .. });
    let (image, args) = match target {
        DeployTarget::Image { image, args } => (*image, args),
        DeployTarget::Project { project, args } => {
            let project = project.map(|project| *project);
            let packaged = package(ctx, cloud, project, &deployment.package)?;
            push(ctx, cloud, &packaged)?;
            created.add(Resource::Image(packaged.tagged()));
            created.next = Some(format!("kraft cloud deploy {}", packaged.tagged()));
            let image = naming::wait(ctx, cloud, &packaged.on_platform(), deployment.limit)?;
            (image, args)
        }
    };
    let wanted = instance(&image, &args, &deployment);
    // A project that did not change is not deployed again.
    if is_project && let Some(same) = plan::unchanged(cloud, &wanted)? {
        ctx.info(&format!(
            "{} runs {} already: nothing changes",
            same.title(),
            image.reference()
        ));
        let instances = vec![same];
        let services = published(cloud, &instances)?;
        return Ok(Deployed {
            instances,
            services,
        });
    }
    start(ctx, cloud, wanted, deployment, created)
}

/// Returns the instance to create.
fn instance(image: &Image, args: &[String], deployment: &Deployment) -> CreateInstance {
    let wanted = deployment.wanted.clone();
    CreateInstance {
        args: naming::arguments(image, deployment.entrypoint.as_deref(), args),
        image: image.reference().to_owned(),
        memory_mb: wanted.memory_mb.or_else(|| memory(image)),
        ..wanted
    }
}

/// Launches an instance of an image, and waits until it answers.
fn start(
    ctx: &Context,
    cloud: &Cloud,
    wanted: CreateInstance,
    deployment: Deployment,
    created: &mut Created,
) -> Result<Deployed, Error> {
    let starts = deployment.wanted.autostart;
    let limit = deployment.limit;
    // An answer proves that the instance runs.
    let stable = if serves_http(&deployment.wanted) {
        Duration::ZERO
    } else {
        launch::STABLE
    };
    let launch = Launch {
        wanted,
        volumes: deployment.volumes,
        rollout: deployment.rollout,
        wait: (!deployment.no_wait).then_some(WaitOptions { limit, stable }),
    };
    let instances = launch::launch(ctx, cloud, created, launch)?;
    let services = published(cloud, &instances)?;
    if let Some(one) = instances.first().filter(|_| starts && !deployment.no_wait)
        && let Some(url) = address(one, &services)
    {
        let check = HealthCheck::new(network::policy(ctx)).map_err(RequestError::from)?;
        let address = Address { url: &url, limit };
        readiness::wait_answering(ctx, cloud, one, &check, address)?;
    }
    Ok(Deployed {
        instances,
        services,
    })
}

/// Returns whether a new instance publishes an HTTP port.
fn serves_http(wanted: &CreateInstance) -> bool {
    let Some(WantedGroup::New(group)) = &wanted.service_group else {
        return false;
    };
    let mut handlers = group.services.iter().flat_map(|one| &one.handlers);
    handlers.any(|handler| handler == "http")
}

/// Returns the memory that a large image needs, in MiB; `None` if the default suffices. The whole
/// image is loaded into memory, and needs some more to run.
fn memory(image: &Image) -> Option<u64> {
    let needed = image.size_in_bytes.div_ceil(MIB).saturating_mul(11) / 10;
    (needed > DEFAULT_MEMORY).then_some(needed)
}

/// Returns the published ports of instances, which share one service.
fn published(cloud: &Cloud, instances: &[Instance]) -> Result<Vec<Service>, RequestError> {
    let group = instances.first().and_then(|one| one.service_group.as_ref());
    let Some(group) = group else {
        return Ok(Vec::new());
    };
    let asked = services::get(&[Id::Uuid(group.uuid.clone())]);
    match cloud.one(&asked) {
        Ok(group) => Ok(group.services),
        // It was removed with its instance.
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns the URL of an instance; `None` if it serves no HTTP.
pub fn address(one: &Instance, services: &[Service]) -> Option<String> {
    let host = one.fqdn()?;
    let has = |service: &Service, handler: &str| service.handlers.iter().any(|one| one == handler);
    let is_site = |service: &&Service| has(service, "http") && !has(service, "redirect");
    let mut sites: Vec<&Service> = services.iter().filter(is_site).collect();
    // Prefer the usual ports.
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

    use super::*;

    fn at(ports: &[&str]) -> Option<String> {
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
        let ports: Vec<String> = ports.iter().map(|&text| text.to_owned()).collect();
        address(&one, &crate::ports::parse(&ports).unwrap())
    }

    #[test]
    fn the_url_is_that_of_the_web_site() {
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
    fn large_images_get_more_memory() {
        let image = |mib: u64| Image {
            size_in_bytes: mib * MIB,
            ..Image::default()
        };
        assert_eq!(memory(&image(20)), None);
        assert_eq!(memory(&image(200)), Some(220));
    }
}
