//! What the machine of a service boots: its build, its unikernel, or the files of its container image
//! on the built-in runtime.

use std::path::{Path, PathBuf};

use kraft_core::compose::{Build, PullPolicy, Service};
use kraft_core::plan::RunRequest;
use kraft_core::reference::{Reference, ReferenceError};
use kraft_oci::pull::PullError;
use kraft_oci::registry::ErrorKind;

use super::Error as ComposeError;
use super::definition::Definition;
use crate::boot::{self, PrepareOptions, PreparedBoot};
use crate::context::Context;
use crate::dockerfile::{BuildOptions, docker_full_name};
use crate::obtain::{self, Pull};
use crate::pack::{self, Order};
use crate::package::{self, Package, Strategy};
use crate::project::{self, Project};
use crate::run_target::RunTarget;
use crate::workplace::{self, Workplace};
use crate::{builtin, components, images, runtime, transfer};

/// Why there is nothing to boot for a service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The build context contains nothing to build.
    #[error("service `{service}`: `{}` does not exist", path.display())]
    NoDockerfile {
        /// The service.
        service: String,
        /// The Dockerfile.
        path: PathBuf,
    },
    /// A service without an image is not to be built.
    #[error("service `{service}` is built, and has no image that could be used instead")]
    NotBuilt {
        /// The service.
        service: String,
    },
    /// The name of an image is not valid.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The store cannot be read.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The project of a service cannot be read.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The template of the project of a service cannot be used.
    #[error(transparent)]
    Components(#[from] components::Error),
    /// The directory of the project of a service cannot be used.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
    /// An image cannot be pulled or pushed.
    #[error(transparent)]
    Transfer(#[from] transfer::Error),
    /// A build cannot be packed into an image.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// An image cannot be stored.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// A Dockerfile in a Compose file cannot be written.
    #[error(transparent)]
    Inline(#[from] kraft_sys::fs::Error),
}

/// How images are obtained.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// How Dockerfiles are built.
    pub building: BuildOptions,
    /// When images are pulled; `None` for what each service says.
    pub pull: Option<Pull>,
    /// Whether services are built again.
    pub build: bool,
    /// Whether no service is built.
    pub no_build: bool,
}

impl ImageOptions {
    fn pull(&self, service: &Service) -> Pull {
        self.pull.unwrap_or(match service.pull_policy {
            PullPolicy::Always => Pull::Always,
            PullPolicy::Missing | PullPolicy::Build => Pull::Missing,
            PullPolicy::Never => Pull::Never,
        })
    }
}

/// Returns the digest of the image of a service, if it has one that is stored locally.
pub fn digest(ctx: &Context, service: &Service) -> Option<String> {
    if service.build.is_some() {
        return None;
    }
    let store = images::open(ctx).ok()?;
    let name = service.image.as_deref()?;
    let found = |name: &str| {
        let name: Reference = name.parse().ok()?;
        images::look_up(&*store, &name).ok()?
    };
    let found = found(name).or_else(|| found(&docker_full_name(name)))?;
    Some(found.named.target.digest.to_string())
}

impl Definition {
    /// Prepares what the machine of a service boots.
    ///
    /// # Errors
    ///
    /// If it cannot be built or pulled.
    pub fn prepare(
        &self,
        ctx: &Context,
        service: &Service,
        request: &RunRequest,
        options: &ImageOptions,
    ) -> Result<PreparedBoot, ComposeError> {
        let failed = |source: boot::Error| ComposeError::Boot {
            service: service.name.clone(),
            builds: service.build.is_some(),
            source: Box::new(source),
        };
        let pull = options.pull(service);
        if let Some(build) = service.build.as_ref().filter(|_| !options.no_build) {
            let building = self.building(ctx, build, &options.building);
            let project = self.project_of(ctx, service, build)?;
            let prepare = PrepareOptions {
                pull,
                ..PrepareOptions::new(request, &building)
            };
            let target = RunTarget::Project(Box::new(project));
            return boot::prepare(ctx, target, prepare).map_err(failed);
        }
        let Some(image) = service.image.as_deref() else {
            let service = service.name.clone();
            return Err(Error::NotBuilt { service }.into());
        };
        let prepare = PrepareOptions {
            pull,
            ..PrepareOptions::new(request, &options.building)
        };
        let files = || {
            let full = docker_full_name(image);
            let choice = runtime::choose(
                service.runtime.as_deref(),
                None,
                &ctx.settings.default_runtime,
            );
            let runtime = builtin::reference(choice.name).map_err(Error::from)?;
            ctx.info(&format!(
                "service {}: running the files of {full} on {}",
                service.name,
                runtime::shown(&runtime)
            ));
            let rootfs = PathBuf::from(format!("oci://{full}"));
            let prepare = PrepareOptions {
                rootfs: Some(&rootfs),
                ..prepare
            };
            boot::prepare(ctx, RunTarget::Image(runtime), prepare).map_err(failed)
        };
        if service.runtime.is_some() || is_for_linux(ctx, image)? {
            return files();
        }
        let name = builtin::reference(image).map_err(Error::from)?;
        match boot::prepare(ctx, RunTarget::Image(name), prepare) {
            Ok(prepared) => Ok(prepared),
            Err(error) if may_be_for_linux(&error) => files(),
            Err(error) => Err(failed(error)),
        }
    }

    /// Adds what a service says about its build to the options of the command line.
    fn building(&self, ctx: &Context, build: &Build, options: &BuildOptions) -> BuildOptions {
        let arguments = build.args.iter().filter_map(|arg| {
            let value = arg.value.clone().or_else(|| self.look_up(ctx, &arg.name))?;
            Some(format!("{}={value}", arg.name))
        });
        let mut building = options.clone();
        // Arguments of the command line come last and take precedence.
        building.arguments = arguments.chain(building.arguments).collect();
        building.target = building.target.or_else(|| build.target.clone());
        building
    }

    /// Builds a service that has a build, and stores the image if it is named. Returns what was built.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn build(
        &self,
        ctx: &Context,
        service: &Service,
        options: &ImageOptions,
    ) -> Result<String, ComposeError> {
        let Some(build) = &service.build else {
            return Ok(service.name.clone());
        };
        ctx.info(&format!("building service {}", service.name));
        let Some(image) = &service.image else {
            self.prepare(ctx, service, &RunRequest::default(), options)?;
            return Ok(service.name.clone());
        };
        Ok(self.package(ctx, service, build, image, options)?)
    }

    fn package(
        &self,
        ctx: &Context,
        service: &Service,
        build: &Build,
        image: &str,
        options: &ImageOptions,
    ) -> Result<String, Error> {
        let project = self.project_of(ctx, service, build)?;
        let store = images::open(ctx)?;
        let order = Order {
            building: self.building(ctx, build, &options.building),
            ..Order::default()
        };
        let parts = if project.has_runtime() {
            vec![pack::of_runtime(ctx, &store, &order, Some(&project))?]
        } else {
            pack::of_build(ctx, &order, &project)?
        };
        let package = Package {
            name: image.parse::<Reference>()?.qualified(),
            strategy: Strategy::Overwrite,
            linux: false,
            engines: Vec::new(),
        };
        package::assemble(ctx, &*store, &package, parts)?;
        Ok(package.name.to_string())
    }

    /// Pushes the image of a service that is built and named. Returns its name; `None` if the service
    /// has none of its own.
    ///
    /// # Errors
    ///
    /// If it is not built, or cannot be pushed.
    pub fn push(&self, ctx: &Context, service: &Service) -> Result<Option<String>, Error> {
        let (Some(_), Some(image)) = (&service.build, &service.image) else {
            return Ok(None);
        };
        let store = images::open(ctx)?;
        let found = images::find(ctx, &*store, image)?;
        transfer::push(ctx, &store, &found.named.name)?;
        Ok(Some(found.named.name.to_string()))
    }

    /// Returns the project in a build context: by its Kraftfile, else by its Dockerfile.
    ///
    /// # Errors
    ///
    /// If there is neither.
    pub fn project_of(
        &self,
        ctx: &Context,
        service: &Service,
        build: &Build,
    ) -> Result<Project, Error> {
        let dir = self.dir.join(&build.context);
        let dockerfile = build.dockerfile.as_deref();
        if let Some(text) = &build.dockerfile_inline {
            return inline(ctx, service, &dir, text);
        }
        if dockerfile.is_none() && has_kraftfile(&dir) {
            let project = project::open(ctx, Some(&dir), None)?;
            let workplace = Workplace::find(ctx, &project)?;
            return Ok(components::complete(ctx, project, &workplace)?);
        }
        let dockerfile = dockerfile.unwrap_or("Dockerfile");
        if !dir.join(dockerfile).is_file() {
            return Err(Error::NoDockerfile {
                service: service.name.clone(),
                path: dir.join(dockerfile),
            });
        }
        let choice = runtime::choose(
            service.runtime.as_deref(),
            None,
            &ctx.settings.default_runtime,
        );
        Ok(project::lone(&dir, dockerfile, choice.name)?)
    }
}

impl Definition {
    /// Removes the images of services from the local store. Returns their names.
    ///
    /// # Errors
    ///
    /// If the store cannot be changed.
    pub fn remove_images(&self, ctx: &Context) -> Result<Vec<String>, Error> {
        let store = images::open(ctx)?;
        let mut removed = Vec::new();
        for image in self
            .compose
            .services
            .iter()
            .filter_map(|it| it.image.as_deref())
        {
            for name in [image.to_owned(), docker_full_name(image)] {
                let name: Reference = name.parse()?;
                if let Some(found) = images::look_up(&*store, &name)? {
                    store
                        .untag(&found.named.name)
                        .map_err(images::Error::from)?;
                    removed.push(found.named.name.to_string());
                }
            }
        }
        images::collect_garbage(ctx, &*store);
        Ok(removed)
    }
}

/// Returns the project of a Dockerfile that is written in the Compose file. It becomes a file with a
/// name of its content, so that it is the same for each build.
fn inline(ctx: &Context, service: &Service, dir: &Path, text: &str) -> Result<Project, Error> {
    let digest = kraft_oci::digest::of(text.as_bytes());
    let files = ctx
        .runtime_dir()
        .join("compose/dockerfiles")
        .join(digest.hex());
    kraft_sys::fs::create_dir_all(&files, 0o700)?;
    let file = files.join("Dockerfile");
    kraft_sys::fs::replace_file(&file, text.as_bytes())?;
    let choice = runtime::choose(
        service.runtime.as_deref(),
        None,
        &ctx.settings.default_runtime,
    );
    Ok(project::lone(dir, &file.to_string_lossy(), choice.name)?)
}

/// Returns whether the store has an image, and it has no unikernel.
fn is_for_linux(ctx: &Context, image: &str) -> Result<bool, Error> {
    let store = images::open(ctx)?;
    for name in [image, docker_full_name(image).as_str()] {
        let name: Reference = name.parse()?;
        if let Some(found) = images::look_up(&*store, &name)? {
            let local = images::local_manifests(&*store, &found);
            return Ok(local.map_err(images::Error::from)?.is_empty());
        }
    }
    Ok(false)
}

fn has_kraftfile(dir: &Path) -> bool {
    kraft_core::kraftfile::FILE_NAMES
        .iter()
        .any(|name| dir.join(name).is_file())
}

/// Returns whether an image that is no unikernel may be one for containers: it has nothing for this
/// host, or the registry of unikernels does not have it.
fn may_be_for_linux(error: &boot::Error) -> bool {
    let boot::Error::Obtain(error) = error else {
        return false;
    };
    let refused = match error {
        obtain::Error::Pull { source, .. } => match &**source {
            transfer::Error::Pull(PullError::Registry(error)) => {
                matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Auth)
            }
            _ => false,
        },
        _ => false,
    };
    refused || error.is_no_match()
}
