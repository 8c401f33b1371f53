//! Images of services: built, packaged from a container image, or found on the platform.

use std::collections::BTreeMap;
use std::path::Path;

use kraft_cloud::resources::images::Image;
use kraft_core::compose::{Build, Service};
use kraft_core::reference::Reference;
use kraft_engine::context::Context;
use kraft_engine::dockerfile::BuildOptions;
use kraft_engine::pack::Order;
use kraft_engine::package::Strategy;
use kraft_engine::project::{self, Project};
use kraft_engine::{components, workplace::Workplace};

use super::{Error, Stack};
use crate::cloud::Cloud;
use crate::created::{Created, Resource};
use crate::deploy::{self, PackageOptions, Packaged};
use crate::naming;

/// The default registry of container images.
const CONTAINERS: &str = "docker.io";

/// Options for the images of services.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// Whether nothing is built: existing images are used.
    pub no_build: bool,
    /// The runtimes of services, by their names; that of the empty name is the default.
    pub runtimes: BTreeMap<String, String>,
    /// How Dockerfiles are built.
    pub building: BuildOptions,
    /// Time limit for the platform to list a pushed image.
    pub limit: std::time::Duration,
}

impl ImageOptions {
    /// Returns the runtime of a service: of the options, else of the file.
    fn runtime(&self, service: &Service) -> Option<String> {
        let named = self.runtimes.get(&service.name);
        let named = named.or_else(|| self.runtimes.get(""));
        named.cloned().or_else(|| service.runtime.clone())
    }
}

impl Stack {
    /// Returns the image of a service: built, packaged and pushed; found on the platform by its name;
    /// or a container image, packaged with a kernel of the platform.
    ///
    /// # Errors
    ///
    /// If the image cannot be built, or does not exist.
    pub fn image(
        &self,
        ctx: &Context,
        cloud: &Cloud,
        service: &Service,
        options: &ImageOptions,
        created: &mut Created,
    ) -> Result<Image, Error> {
        if service.build.is_some() && !options.no_build {
            let packaged = self.build(ctx, cloud, service, options)?;
            return push(ctx, cloud, &packaged, options, created);
        }
        let named = self.name_of_image(service);
        if let Some(image) = existing(cloud, &named)? {
            return Ok(image);
        }
        match &service.image {
            Some(_) if !options.no_build => {
                let packaged = self.wrap(ctx, cloud, service, options)?;
                push(ctx, cloud, &packaged, options, created)
            }
            _ => Err(Error::NoImage {
                image: named,
                service: service.name.clone(),
            }),
        }
    }

    /// Builds and packages the image of a service.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn build(
        &self,
        ctx: &Context,
        cloud: &Cloud,
        service: &Service,
        options: &ImageOptions,
    ) -> Result<Packaged, Error> {
        let build = service.build.clone().unwrap_or_default();
        ctx.info(&format!("building the service {}", service.name));
        let runtime = options.runtime(service);
        let project = self.project_of(ctx, &build, runtime.as_deref())?;
        let package = self.package_options(ctx, service, options, &build, runtime);
        Ok(deploy::package(ctx, cloud, Some(project), &package)?)
    }

    /// Packages a container image with a kernel of the platform.
    fn wrap(
        &self,
        ctx: &Context,
        cloud: &Cloud,
        service: &Service,
        options: &ImageOptions,
    ) -> Result<Packaged, Error> {
        let name = service.image.as_deref().unwrap_or_default();
        let reference: Reference = name.parse()?;
        let full = match (reference.registry(), reference.repository().contains('/')) {
            (Some(_), _) => name.to_owned(),
            (None, true) => format!("{CONTAINERS}/{name}"),
            (None, false) => format!("{CONTAINERS}/library/{name}"),
        };
        ctx.info(&format!(
            "the platform has no image {name}: packaging {full} for it"
        ));
        let runtime = options.runtime(service);
        let mut package = self.package_options(ctx, service, options, &Build::default(), runtime);
        package.order.rootfs = Some(format!("oci://{full}").into());
        // The name of the container image belongs to another account.
        package.name = Some(self.prefixed(&service.name));
        Ok(deploy::package(ctx, cloud, None, &package)?)
    }

    fn package_options(
        &self,
        ctx: &Context,
        service: &Service,
        options: &ImageOptions,
        build: &Build,
        runtime: Option<String>,
    ) -> PackageOptions {
        let arguments = build.args.iter().filter_map(|arg| {
            let value = arg.value.clone().or_else(|| self.look_up(ctx, &arg.name))?;
            Some(format!("{}={value}", arg.name))
        });
        let mut building = options.building.clone();
        // Arguments of the command line come last and take precedence.
        building.arguments = arguments.chain(building.arguments).collect();
        building.target = building.target.or_else(|| build.target.clone());
        PackageOptions {
            sequential: false,
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
    ) -> Result<Project, Error> {
        let dir = self.dir.join(&build.context);
        let dockerfile = build.dockerfile.as_deref();
        if dockerfile.is_none() && has_kraftfile(&dir) {
            let project = project::open(ctx, Some(&dir), None)?;
            let workplace = Workplace::find(ctx, &project)?;
            let complete = components::complete(ctx, project, &workplace);
            return Ok(complete?);
        }
        let dockerfile = dockerfile.unwrap_or("Dockerfile");
        if !dir.join(dockerfile).is_file() {
            return Err(Error::NoDockerfile(dir.join(dockerfile)));
        }
        let runtime = runtime.unwrap_or(deploy::BASE);
        Ok(project::lone(&dir, dockerfile, runtime)?)
    }

    /// Returns the platform's name of the image of a service.
    pub fn name_of_image(&self, service: &Service) -> String {
        match &service.image {
            Some(name) => name.clone(),
            None => self.prefixed(&service.name),
        }
    }
}

fn has_kraftfile(dir: &Path) -> bool {
    kraft_core::kraftfile::FILE_NAMES
        .iter()
        .any(|name| dir.join(name).is_file())
}

/// Looks up an image of the platform; `None` also for a name that the platform cannot have.
fn existing(cloud: &Cloud, name: &str) -> Result<Option<Image>, naming::Error> {
    match naming::find(cloud, name) {
        Ok(image) => Ok(Some(image)),
        Err(
            naming::Error::NotFound(_)
            | naming::Error::Reference(_)
            | naming::Error::OtherRegistry { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Pushes an image, and waits until the platform lists it.
fn push(
    ctx: &Context,
    cloud: &Cloud,
    packaged: &Packaged,
    options: &ImageOptions,
    created: &mut Created,
) -> Result<Image, Error> {
    deploy::push(ctx, cloud, packaged)?;
    created.add(Resource::Image(packaged.tagged()));
    let image = naming::wait(ctx, cloud, &packaged.on_platform(), options.limit)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_of_a_service_comes_from_the_options_before_the_file() {
        let service = |runtime: Option<&str>| Service {
            name: "web".to_owned(),
            runtime: runtime.map(str::to_owned),
            ..Service::default()
        };
        let options = |runtimes: &[(&str, &str)]| ImageOptions {
            runtimes: runtimes
                .iter()
                .map(|&(name, image)| (name.to_owned(), image.to_owned()))
                .collect(),
            ..ImageOptions::default()
        };
        for (runtimes, file, expected) in [
            (&[][..], None, None),
            (&[][..], Some("file"), Some("file")),
            (&[("", "all")][..], Some("file"), Some("all")),
            (
                &[("", "all"), ("web", "own")][..],
                Some("file"),
                Some("own"),
            ),
            (&[("db", "other")][..], Some("file"), Some("file")),
        ] {
            let runtime = options(runtimes).runtime(&service(file));
            assert_eq!(runtime.as_deref(), expected, "{runtimes:?}");
        }
    }
}
