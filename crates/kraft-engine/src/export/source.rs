//! What is exported: an image, the image of a project, or the services of a Compose file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kraft_config::dirs::absolute;
use kraft_core::cmdline::CommandLine;
use kraft_core::compose::FILE_NAMES as COMPOSE_FILES;
use kraft_core::host::{Host, Kvm};
use kraft_core::kraftfile::FILE_NAMES;
use kraft_core::mount::{Volume, VolumeArg, VolumeError};
use kraft_core::plan::{self, RunRequest};
use kraft_core::platform::Platform;
use kraft_core::problem::Problem;
use kraft_core::reference::{Reference, ReferenceError};
use kraft_machine::driver::Drivers;
use kraft_oci::package::linux_arch;
use kraft_oci::store;
use kraft_oci::store::leaves::leaves;

use super::{Engine, KernelFiles, Workload, name_of};
use crate::boot::{self, PrepareOptions, PreparedBoot};
use crate::compose::definition::{self, OpenOptions};
use crate::context::Context;
use crate::dockerfile::BuildOptions;
use crate::obtain::Pull;
use crate::run_target::RunTarget;
use crate::{compose, images, project, settings};

/// Why there is nothing to export.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The argument is neither a project nor the name of an image.
    #[error("`{typed}` is neither a project nor the name of an image")]
    NoTarget {
        /// The argument.
        typed: String,
        /// Why it is not an image.
        source: Option<ReferenceError>,
    },
    /// A project has no image that engines could pull.
    #[error("the project `{0}` names no image")]
    NoImage(String),
    /// A service is built, and names no image.
    #[error("the service `{0}` names no image")]
    NoServiceImage(String),
    /// A volume cannot be exported.
    #[error("`--volume {typed}`: {why}")]
    Volume {
        /// The argument.
        typed: String,
        /// Why not.
        why: String,
    },
    /// The name of an image is invalid.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The project cannot be read.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// Its settings cannot be used.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The Compose file cannot be used.
    #[error(transparent)]
    Compose(#[from] Box<compose::Error>),
    /// The image store cannot be read.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// A document of the image cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The kernel of the image cannot be obtained.
    #[error(transparent)]
    Boot(#[from] Box<boot::Error>),
    /// The machine cannot be planned.
    #[error("{}", .0.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join("; "))]
    Plan(Vec<Problem>),
}

impl From<compose::Error> for Error {
    fn from(error: compose::Error) -> Self {
        Self::Compose(Box::new(error))
    }
}

impl From<definition::Error> for Error {
    fn from(error: definition::Error) -> Self {
        Self::Compose(Box::new(error.into()))
    }
}

/// What is exported, and how it is changed.
#[derive(Debug)]
pub struct ExportRequest<'a> {
    /// A project directory, a Compose file or an image; `None` for the current directory.
    pub target: Option<&'a OsStr>,
    /// The image of a project.
    pub image: Option<&'a str>,
    /// The name, ports, variables, sizes, … of the command line.
    pub request: RunRequest,
    /// The number of machines.
    pub replicas: Option<u32>,
    /// What it is exported for: some engines need the files of the kernel.
    pub engine: Engine,
    /// When an image is pulled for its kernel.
    pub pull: Pull,
}

/// What is exported. The files of its kernels exist at least as long as this value.
#[derive(Debug)]
pub struct Application {
    /// The workloads.
    pub workloads: Vec<Workload>,
    /// What should be known about them, as sentences.
    pub notes: Vec<String>,
    _prepared: Vec<PreparedBoot>,
}

/// Resolves what is exported.
///
/// | target | workloads |
/// |---|---|
/// | an image | one |
/// | a directory with a Kraftfile | one: its volumes, and the image of `image` |
/// | a directory with a Compose file, or such a file | one per service |
///
/// # Errors
///
/// If there is no image, or its kernel is needed and cannot be obtained.
pub fn resolve(ctx: &Context, order: &ExportRequest<'_>) -> Result<Application, Error> {
    let typed = order.target.unwrap_or(".".as_ref());
    let path = Path::new(typed);
    let has = |names: &[&str]| names.iter().any(|name| path.join(name).is_file());
    let mut notes = Vec::new();
    let mut workloads = if path.is_dir() {
        if !has(&FILE_NAMES) && has(&COMPOSE_FILES) {
            of_compose(ctx, Some(path), Vec::new(), &mut notes)?
        } else {
            vec![of_project(ctx, path, order)?]
        }
    } else if path.is_file() {
        of_compose(ctx, None, vec![path.to_owned()], &mut notes)?
    } else {
        vec![of_image(typed)?]
    };
    let mut prepared = Vec::new();
    for workload in &mut workloads {
        change(workload, order);
        let name: Reference = workload.image.parse()?;
        look_up(ctx, &name, workload, &mut notes)?;
        if order.engine.boots_kernels() {
            prepared.push(add_kernel(ctx, &name, workload, order)?);
        }
    }
    Ok(Application {
        workloads,
        notes,
        _prepared: prepared,
    })
}

/// Parses a volume. A directory need not exist: it is one of the host that runs the machine.
///
/// # Errors
///
/// If the syntax is invalid, or the volume has neither a name nor a directory.
pub fn volume(typed: &str) -> Result<Volume, Error> {
    let wrong = |why: String| Error::Volume {
        typed: typed.to_owned(),
        why,
    };
    let arg: VolumeArg = typed
        .parse()
        .map_err(|e: VolumeError| wrong(e.to_string()))?;
    let Some(text) = arg.source else {
        let why = "expected NAME:PATH or DIR:PATH: engines name anonymous volumes themselves";
        return Err(wrong(why.to_owned()));
    };
    let is_path = text.contains('/') || text.starts_with(['.', '~']);
    Ok(Volume {
        name: (!is_path).then(|| text.clone()),
        source: if is_path {
            absolute(Path::new(&text))
        } else {
            text.into()
        },
        destination: arg.destination,
        read_only: arg.read_only,
    })
}

fn of_image(typed: &OsStr) -> Result<Workload, Error> {
    let no_target = |source| Error::NoTarget {
        typed: typed.to_string_lossy().into_owned(),
        source,
    };
    let text = typed.to_str().ok_or_else(|| no_target(None))?;
    if text.starts_with(['/', '.', '~', '-']) {
        return Err(no_target(None));
    }
    let name: Reference = text.parse().map_err(|error| no_target(Some(error)))?;
    Ok(Workload::new(&short_name(&name), &name))
}

/// Returns the name of a workload: the last part of that of its image.
fn short_name(name: &Reference) -> String {
    name_of(name.repository().rsplit('/').next().unwrap_or_default())
}

fn of_project(ctx: &Context, dir: &Path, order: &ExportRequest<'_>) -> Result<Workload, Error> {
    let project = project::open(ctx, Some(dir), None)?;
    let Some(image) = order.image else {
        return Err(Error::NoImage(project.dir_name.clone()));
    };
    let resolved = project.resolved();
    let image: Reference = image.parse()?;
    Ok(Workload {
        volumes: settings::volumes(ctx, &project, &resolved, &[])?,
        ..Workload::new(&name_of(&resolved.name), &image)
    })
}

fn of_compose(
    ctx: &Context,
    dir: Option<&Path>,
    files: Vec<PathBuf>,
    notes: &mut Vec<String>,
) -> Result<Vec<Workload>, Error> {
    let options = OpenOptions {
        files: match dir {
            // The file of another directory is found as in the current one.
            Some(dir) => COMPOSE_FILES
                .iter()
                .map(|name| dir.join(name))
                .filter(|file| file.is_file())
                .take(1)
                .collect(),
            None => files,
        },
        ..OpenOptions::default()
    };
    let definition = definition::open(ctx, &options)?;
    let mut workloads = Vec::new();
    for service in definition.services(&[])? {
        let Some(image) = &service.image else {
            return Err(Error::NoServiceImage(service.name.clone()));
        };
        let wanted = definition.request(ctx, service)?;
        let command = service.command.clone().unwrap_or_default();
        let entrypoint = service.entrypoint.clone().unwrap_or_default();
        if !service.files.is_empty() {
            notes.push(format!(
                "`{}`: secrets and configs are not exported",
                service.name
            ));
        }
        workloads.push(Workload {
            args: [entrypoint, command].concat(),
            env: wanted.env,
            labels: wanted.labels,
            ports: wanted.ports,
            memory: wanted.memory,
            cpus: wanted.cpus,
            volumes: wanted.volumes,
            replicas: service.replicas.unwrap_or(1),
            restart: wanted.lifecycle.restart,
            health: wanted.lifecycle.health,
            ..Workload::new(&name_of(&service.name), &image.parse()?)
        });
    }
    Ok(workloads)
}

/// Puts the command line over what the target has.
fn change(workload: &mut Workload, order: &ExportRequest<'_>) {
    let request = &order.request;
    if let Some(name) = &request.name {
        workload.name.clone_from(name);
    }
    if !request.args.is_empty() {
        workload.args.clone_from(&request.args);
    }
    if !request.ports.is_empty() {
        workload.ports.clone_from(&request.ports);
    }
    workload.env.extend(request.env.clone());
    workload.labels.extend(request.labels.clone());
    workload.memory = request.memory.or(workload.memory);
    workload.cpus = request.cpus.or(workload.cpus);
    workload.replicas = order.replicas.unwrap_or(workload.replicas);
    let volumes = std::mem::take(&mut workload.volumes);
    workload.volumes = kraft_core::mount::over(volumes, request.volumes.clone());
    if request.lifecycle.restart != kraft_core::lifecycle::RestartPolicy::No {
        workload.restart = request.lifecycle.restart;
    }
    if request.lifecycle.health.is_some() {
        workload.health.clone_from(&request.lifecycle.health);
    }
}

/// Finds out what the store knows about an image. Engines pull images themselves, so one that is missing is
/// not pulled.
fn look_up(
    ctx: &Context,
    name: &Reference,
    workload: &mut Workload,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    let store = images::open(ctx)?;
    let Some(found) = images::look_up(&*store, name)? else {
        return Ok(());
    };
    let platforms = leaves(&*store, &found.named.target)?;
    let platforms = platforms.iter().filter_map(|leaf| leaf.platform.as_ref());
    let linux: Vec<Option<&str>> = platforms
        .filter(|platform| platform.os == "linux")
        .map(|platform| linux_arch(&platform.architecture))
        .collect();
    match linux.as_slice() {
        [] => notes.push(format!(
            "`{name}` has no manifest for container engines: package it without `--no-linux`"
        )),
        [one] => workload.arch = *one,
        _ => {}
    }
    Ok(())
}

/// Obtains the kernel of an image, and plans the machine that boots it.
fn add_kernel(
    ctx: &Context,
    name: &Reference,
    workload: &mut Workload,
    order: &ExportRequest<'_>,
) -> Result<PreparedBoot, Error> {
    let building = BuildOptions::default();
    let mut request = RunRequest {
        memory: workload.memory,
        cpus: workload.cpus,
        env: workload.env.clone(),
        args: workload.args.clone(),
        // The guest mounts what its command line names.
        volumes: match order.engine {
            Engine::Libvirt => super::libvirt::volumes(workload),
            _ => Vec::new(),
        },
        ..RunRequest::default()
    };
    let options = PrepareOptions {
        pull: order.pull,
        ..PrepareOptions::new(&request, &building)
    };
    let target = RunTarget::Image(name.clone());
    let prepared = boot::prepare(ctx, target, options).map_err(Box::new)?;
    let boot = prepared.dry_boot();
    let memory = plan::default_memory(prepared.kernel_size, prepared.root_size());
    request.memory.get_or_insert(memory);
    // The host of the export need not be able to run it.
    request.platform = Some(Platform::Qemu);
    let host = Host {
        arch: Some(boot.image.arch),
        kvm: Kvm::Works,
        vmms: Drivers::default().support(),
    };
    let spec = plan::plan(&request, &boot, &host)
        .map_err(Error::Plan)?
        .spec;
    let line = CommandLine::of(&spec).map_err(Error::Plan)?;
    workload.kernel = Some(KernelFiles {
        kernel: spec.kernel.clone(),
        initrd: spec.initrd.clone(),
        line: line.render(),
        arch: match spec.arch {
            kraft_core::arch::Arch::X86_64 => "x86_64",
            kraft_core::arch::Arch::Arm64 => "aarch64",
            kraft_core::arch::Arch::Arm => "armv7l",
        },
        memory: spec.memory,
    });
    Ok(prepared)
}
