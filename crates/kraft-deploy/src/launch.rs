//! Launch instances: their volumes, themselves, and the roll-out that follows.
//!
//! ```no_run
//! use kraft_cloud::resources::instances::CreateInstance;
//! use kraft_deploy::created::Created;
//! use kraft_deploy::launch::{Launch, NewVolume, launch};
//! use kraft_deploy::rollout::Rollout;
//! # fn example(
//! #     context: &kraft_engine::context::Context,
//! #     cloud: &kraft_deploy::Cloud,
//! #     rollout: Rollout,
//! # ) -> Result<(), kraft_deploy::launch::Error> {
//! let wanted = CreateInstance { image: "anna/web:v1".to_owned(), ..CreateInstance::default() };
//! let volume = NewVolume { name: "data".to_owned(), size_mb: 64 };
//! let request = Launch { wanted: wanted.named(), volumes: vec![volume], rollout, wait: None };
//! let mut created = Created::default();
//! let instances = launch(context, cloud, &mut created, request)?;
//! assert!(!instances.is_empty());
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance};
use kraft_cloud::resources::volumes;
use kraft_cloud::resources::{self, Known};
use kraft_engine::context::Context;

use crate::cloud::{Cloud, Creation};
use crate::created::{Created, Resource};
use crate::error::{Interrupted, RequestError};
use crate::readiness::{self, WaitOptions};
use crate::rollout::{self, Rollout};

/// How long a new instance must have run before old ones are stopped.
pub const STABLE: Duration = Duration::from_secs(1);

/// Why an instance was not launched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A volume is given by its UUID, and does not exist.
    #[error("the volume `{0}` does not exist")]
    NoVolume(String),
    /// The roll-out cannot be planned or finished.
    #[error(transparent)]
    Rollout(#[from] rollout::Error),
    /// The instance is not ready.
    #[error(transparent)]
    NotReady(#[from] readiness::Error),
    /// The new instance is not ready, so that the old ones were not replaced.
    #[error(transparent)]
    NotReplaced(readiness::Error),
}

/// A volume that is created if it does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVolume {
    /// Its name.
    pub name: String,
    /// Its size, in MiB.
    pub size_mb: u64,
}

/// A request to launch an instance.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The instance.
    pub wanted: CreateInstance,
    /// Its volumes that are created if they do not exist.
    pub volumes: Vec<NewVolume>,
    /// How older instances are replaced.
    pub rollout: Rollout,
    /// How long it is awaited; `None` returns at once, unless older instances are replaced.
    pub wait: Option<WaitOptions>,
}

/// Returns a name for a copy of an instance or a template; `None` for one that is given by its UUID.
#[must_use]
pub fn copy_of(origin: &str) -> Option<String> {
    match Id::new(origin) {
        Id::Uuid(_) => None,
        Id::Name(name) => {
            let mut copy = CreateInstance {
                name: Some(name),
                ..CreateInstance::default()
            };
            copy.rename();
            copy.name
        }
    }
}

/// Launches an instance and its replicas; returns their final state.
///
/// # Errors
///
/// If a request fails, the new instance is not ready in time, or the roll-out needs a decision.
pub fn launch(
    ctx: &Context,
    cloud: &Cloud,
    created: &mut Created,
    launch: Launch,
) -> Result<Vec<Instance>, Error> {
    let mut wanted = launch.wanted.named();
    let plan = rollout::plan(ctx, cloud, &mut wanted, &launch.rollout)?;
    for volume in &launch.volumes {
        create_volume(ctx, cloud, created, volume)?;
    }
    let started = create(ctx, cloud, created, &wanted)?;
    let wait = match plan {
        Some(_) => Some(WaitOptions {
            limit: launch.rollout.wait,
            stable: STABLE,
        }),
        None => launch.wait,
    };
    let Some(wait) = wait.filter(|_| wanted.autostart) else {
        return Ok(cloud.all(&instances::get(&resources::ids(&started)))?);
    };
    let running = readiness::wait_running(ctx, cloud, &started, wait);
    let Some(plan) = plan else {
        return Ok(running?);
    };
    let running = running.map_err(Error::NotReplaced)?;
    rollout::finish(ctx, cloud, &plan)?;
    Ok(running)
}

/// Creates a volume unless it exists.
///
/// # Errors
///
/// If the platform refuses, or the volume is given by a UUID that does not exist.
pub fn create_volume(
    ctx: &Context,
    cloud: &Cloud,
    created: &mut Created,
    volume: &NewVolume,
) -> Result<(), Error> {
    let id = Id::new(&volume.name);
    match cloud.one(&volumes::get(std::slice::from_ref(&id))) {
        Ok(_) => return Ok(()),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    if let Id::Uuid(uuid) = id {
        return Err(Error::NoVolume(uuid));
    }
    ctx.info(&format!("creating the volume {}", volume.name));
    cloud.one(&volumes::create(Some(&volume.name), volume.size_mb))?;
    created.add(Resource::Volume(volume.name.clone()));
    Ok(())
}

/// Creates instances, and records what exists even after an interrupt.
///
/// # Errors
///
/// If the platform refuses, or the user interrupts the command.
pub fn create(
    ctx: &Context,
    cloud: &Cloud,
    created: &mut Created,
    wanted: &CreateInstance,
) -> Result<Vec<Instance>, RequestError> {
    let name = wanted.name.clone().unwrap_or_default();
    ctx.info(&format!("creating the instance {name}"));
    let unknown = Resource::MaybeInstance(name.clone());
    created.add(unknown.clone());
    let Creation {
        answer,
        interrupted,
    } = cloud.create(wanted);
    match answer {
        Some(Ok(instances)) => {
            for one in &instances {
                created.add(Resource::Instance(one.title().to_owned()));
            }
            created.remove(&unknown);
            created.next = Some(format!("kraft cloud instance get {name}"));
            match interrupted {
                Some(interrupted) => Err(interrupted.into()),
                None => Ok(instances),
            }
        }
        Some(Err(error)) => {
            if !error.may_have_happened() {
                created.remove(&unknown);
            }
            Err(error.into())
        }
        None => {
            let request = instances::get(&[Id::Name(name.clone())]);
            if cloud.one_after_interrupt(&request).is_ok() {
                created.add(Resource::Instance(name));
            }
            Err(Interrupted.into())
        }
    }
}
