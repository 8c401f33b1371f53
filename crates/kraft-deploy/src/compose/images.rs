//! The images of services: built, wrapped, or found on the platform.

use std::collections::BTreeMap;
use std::path::Path;

use kraft_cloud::resources::images::Image;
use kraft_core::compose::{Build, Service};
use kraft_core::reference::Reference;

use super::super::deploy::{self, Package, Packaged};
use super::super::naming;
use super::super::trail::{Thing, Trail};
use super::{Cloud, Stack};
use kraft_engine::context::Context;
use kraft_engine::dockerfile::BuildOptions;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::pack::Order;
use kraft_engine::package::Strategy;
use kraft_engine::project::{self, Project};
use kraft_engine::{components, workplace::Workplace};

/// The registry of names that have none, among images of containers.
const CONTAINERS: &str = "docker.io";

/// How images are made.
#[derive(Clone, Debug, Default)]
pub struct Making {
    /// Whether nothing is built: what is there is taken.
    pub no_build: bool,
    /// The runtime of services, by their names.
    pub runtimes: BTreeMap<String, String>,
    /// How Dockerfiles are built.
    pub building: BuildOptions,
    /// How long the platform may take to know an image.
    pub limit: std::time::Duration,
}

impl Making {
    /// Returns the image that a service runs on, if anybody says.
    fn runtime(&self, service: &Service) -> Option<String> {
        let typed = self.runtimes.get(&service.name);
        let typed = typed.or_else(|| self.runtimes.get(""));
        typed.cloned().or_else(|| service.runtime.clone())
    }
}

impl Stack {
    /// Returns the image that a service runs: what it is built from, packaged and pushed; what the
    /// platform has under its name; or an image of containers, on a kernel of the platform.
    pub fn image(
        &self,
        ctx: &Context,
        cloud: &Cloud,
        service: &Service,
        making: &Making,
        trail: &mut Trail,
    ) -> Result<Image, Failure> {
        if service.build.is_some() && !making.no_build {
            let packaged = self.build(ctx, cloud, service, (making, trail))?;
            return pushed(ctx, cloud, &packaged, making, trail);
        }
        let named = self.name_of_image(service);
        if let Some(image) = there(cloud, &named)? {
            return Ok(image);
        }
        match &service.image {
            Some(_) if !making.no_build => {
                let packaged = self.wrap(ctx, cloud, service, (making, trail))?;
                pushed(ctx, cloud, &packaged, making, trail)
            }
            _ => Err(Failure::new(
                Kind::NotFound,
                format!(
                    "the platform has no image `{named}` for the service `{}`",
                    service.name
                ),
            )
            .hint("`kraft cloud compose build --push` makes it")),
        }
    }

    /// Packages what a service is built from.
    pub fn build(
        &self,
        ctx: &Context,
        cloud: &Cloud,
        service: &Service,
        (making, trail): (&Making, &Trail),
    ) -> Result<Packaged, Failure> {
        let build = service.build.clone().unwrap_or_default();
        ctx.info(&format!("building the service {}", service.name));
        let runtime = making.runtime(service);
        let project = self.project_of(ctx, &build, runtime.as_deref())?;
        let package = self.package(ctx, service, making, &build, runtime);
        deploy::package(ctx, cloud, Some(project), (&package, trail))
    }

    /// Packages an image of containers, on a kernel of the platform.
    fn wrap(
        &self,
        ctx: &Context,
        cloud: &Cloud,
        service: &Service,
        (making, trail): (&Making, &Trail),
    ) -> Result<Packaged, Failure> {
        let name = service.image.as_deref().unwrap_or_default();
        let typed: Reference = name.parse()?;
        let full = match (typed.registry(), typed.repository().contains('/')) {
            (Some(_), _) => name.to_owned(),
            (None, true) => format!("{CONTAINERS}/{name}"),
            (None, false) => format!("{CONTAINERS}/library/{name}"),
        };
        ctx.info(&format!(
            "the platform has no image {name}: packaging {full} for it"
        ));
        let runtime = making.runtime(service);
        let mut package = self.package(ctx, service, making, &Build::default(), runtime);
        package.order.rootfs = Some(format!("oci://{full}").into());
        // The name of the image belongs to somebody else.
        package.name = Some(self.own(&service.name));
        deploy::package(ctx, cloud, None, (&package, trail))
    }

    fn package(
        &self,
        ctx: &Context,
        service: &Service,
        making: &Making,
        build: &Build,
        runtime: Option<String>,
    ) -> Package {
        let arguments = build.args.iter().filter_map(|arg| {
            let value = arg.value.clone().or_else(|| self.look_up(ctx, &arg.name))?;
            Some(format!("{}={value}", arg.name))
        });
        let mut building = making.building.clone();
        // What is typed comes last, and counts.
        building.arguments = arguments.chain(building.arguments).collect();
        building.target = building.target.or_else(|| build.target.clone());
        Package {
            slowly: false,
            log: None,
            name: Some(self.name_of_image(service)),
            order: Order {
                runtime,
                building,
                ..Order::default()
            },
            strategy: Strategy::Overwrite,
            jobs: None,
            configure: kraft_engine::build::Configure::IfNeeded,
            fetching: kraft_engine::components::Fetching::default(),
        }
    }

    /// Returns the project in a build context: by its Kraftfile, else by its Dockerfile.
    fn project_of(
        &self,
        ctx: &Context,
        build: &Build,
        runtime: Option<&str>,
    ) -> Result<Project, Failure> {
        let dir = self.dir.join(&build.context);
        let dockerfile = build.dockerfile.as_deref();
        if dockerfile.is_none() && has_kraftfile(&dir) {
            let project = project::open(ctx, Some(&dir), None)?;
            let workplace = Workplace::find(ctx, &project)?;
            return components::complete(ctx, project, &workplace);
        }
        let dockerfile = dockerfile.unwrap_or("Dockerfile");
        if !dir.join(dockerfile).is_file() {
            return Err(Failure::new(
                Kind::NotFound,
                format!("there is no `{}`", dir.join(dockerfile).display()),
            )
            .hint("`build` of a service names a directory with a Kraftfile or a Dockerfile"));
        }
        let runtime = runtime.unwrap_or(deploy::BASE);
        Ok(project::lone(&dir, dockerfile, runtime)?)
    }

    /// Returns what the image of a service is called on the platform.
    pub fn name_of_image(&self, service: &Service) -> String {
        match &service.image {
            Some(name) => name.clone(),
            None => self.own(&service.name),
        }
    }
}

fn has_kraftfile(dir: &Path) -> bool {
    kraft_core::kraftfile::FILE_NAMES
        .iter()
        .any(|name| dir.join(name).is_file())
}

/// Looks for an image of the platform; a name that cannot be one of it is not there.
fn there(cloud: &Cloud, named: &str) -> Result<Option<Image>, Failure> {
    match naming::find(cloud, named) {
        Ok(image) => Ok(Some(image)),
        Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Usage) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn pushed(
    ctx: &Context,
    cloud: &Cloud,
    packaged: &Packaged,
    making: &Making,
    trail: &mut Trail,
) -> Result<Image, Failure> {
    deploy::push(ctx, cloud, packaged)?;
    trail.add(Thing::Image(packaged.shown()));
    naming::wait(ctx, cloud, &packaged.on_platform(), making.limit)
}
