//! Create, start and remove the instances of services.

use std::time::Duration;

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance};
use kraft_cloud::resources::{self, Known, Named, services, volumes};
use kraft_core::compose::Service;
use kraft_engine::context::Context;

use super::images::ImageOptions;
use super::{Error, Stack, change};
use crate::cloud::Cloud;
use crate::created::{Created, Resource};
use crate::error::RequestError;
use crate::launch;
use crate::readiness::{self, WaitOptions};

/// Time limit until a service runs that others depend on.
const DEPENDENCY: Duration = Duration::from_mins(1);

/// Creates missing images, volumes and instances. Up-to-date instances are kept, others replaced.
/// Returns the instances in the order of the services.
///
/// # Errors
///
/// If an image cannot be built, or a resource cannot be created.
pub fn create(
    ctx: &Context,
    cloud: &Cloud,
    stack: &Stack,
    services: &[&Service],
    options: &ImageOptions,
    created: &mut Created,
) -> Result<Vec<Instance>, Error> {
    let mut wanted = Vec::with_capacity(services.len());
    for service in services {
        let image = stack.image(ctx, cloud, service, options, created)?;
        wanted.push(stack.wanted(ctx, service, &image)?);
    }
    for volume in stack.new_volumes(services) {
        launch::create_volume(ctx, cloud, created, &volume)?;
    }
    let found = stack.found(cloud, services)?;
    let mut instances = Vec::with_capacity(services.len());
    for (wanted, (service, found)) in wanted.iter().zip(found) {
        match found {
            Some(one) if change::is_up_to_date(cloud, &one, wanted)? => {
                created.add(Resource::Instance(one.name.clone()));
                instances.push(one);
            }
            Some(one) => {
                ctx.info(&format!(
                    "the service {} has changed: replacing it",
                    service.name
                ));
                remove(cloud, std::slice::from_ref(&one))?;
                instances.extend(create_one(ctx, cloud, wanted, created)?);
            }
            None => instances.extend(create_one(ctx, cloud, wanted, created)?),
        }
    }
    Ok(instances)
}

fn create_one(
    ctx: &Context,
    cloud: &Cloud,
    wanted: &CreateInstance,
    created: &mut Created,
) -> Result<Option<Instance>, RequestError> {
    let instances = launch::create(ctx, cloud, created, wanted)?;
    Ok(instances.into_iter().next())
}

/// Starts the instances of services, dependencies first: each runs before its dependents start.
///
/// # Errors
///
/// If an instance cannot be started, or a dependency does not run in time.
pub fn start(
    ctx: &Context,
    cloud: &Cloud,
    stack: &Stack,
    services: &[&Service],
    wait: Option<Duration>,
) -> Result<Vec<Instance>, Error> {
    let mut started = Vec::new();
    for (service, found) in stack.found(cloud, services)? {
        let Some(one) = found else { continue };
        if one.state == "stopped" {
            ctx.info(&format!("starting {}", one.name));
            let request = instances::start(&[one.id()], Duration::ZERO);
            cloud.one(&request)?;
        }
        let is_dependency = services.iter().any(|other| other.needs(&service.name));
        let limit = if is_dependency {
            Some(DEPENDENCY)
        } else {
            wait
        };
        match limit {
            Some(limit) => {
                let wait = WaitOptions {
                    limit,
                    stable: Duration::ZERO,
                };
                let one = std::slice::from_ref(&one);
                started.extend(readiness::wait_running(ctx, cloud, one, wait)?);
            }
            None => started.push(one),
        }
    }
    let ids = resources::ids(&started);
    if ids.is_empty() {
        return Ok(started);
    }
    Ok(cloud.all(&instances::get(&ids))?)
}

/// Removes instances and their replicas; returns the names of what was removed.
fn remove(cloud: &Cloud, found: &[Instance]) -> Result<Vec<String>, RequestError> {
    let mut ids: Vec<Id> = Vec::new();
    for one in found {
        for id in members(cloud, one)? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let removed = cloud.found(&instances::remove(&ids))?;
    Ok(titles(&removed))
}

fn titles(things: &[Named]) -> Vec<String> {
    things.iter().map(|one| one.title().to_owned()).collect()
}

/// Returns an instance and its replicas: the members of the service that was created for it.
fn members(cloud: &Cloud, one: &Instance) -> Result<Vec<Id>, RequestError> {
    let mut ids = vec![one.id()];
    let Some(group) = &one.service_group else {
        return Ok(ids);
    };
    match cloud.one(&services::get(&[Id::Uuid(group.uuid.clone())])) {
        // A persistent service was created separately.
        Ok(group) if !group.persistent => {
            let others = group
                .instances
                .iter()
                .filter(|other| other.uuid != one.uuid);
            ids.extend(resources::ids(others));
        }
        Ok(_) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(ids)
}

/// Removes the instances of services, and with `with_volumes` their volumes. Returns the names of
/// what was removed.
///
/// # Errors
///
/// If the platform cannot be reached or refuses the request.
pub fn down(
    cloud: &Cloud,
    stack: &Stack,
    services: &[&Service],
    with_volumes: bool,
) -> Result<Vec<String>, RequestError> {
    let mut found: Vec<Instance> = stack
        .found(cloud, services)?
        .into_iter()
        .filter_map(|(_, found)| found)
        .collect();
    // Dependents are removed before their dependencies.
    found.reverse();
    let mut removed = remove(cloud, &found)?;
    if with_volumes {
        let ids: Vec<Id> = stack
            .new_volumes(services)
            .into_iter()
            .map(|volume| Id::Name(volume.name))
            .collect();
        if !ids.is_empty() {
            let gone = cloud.found(&volumes::remove(&ids))?;
            removed.extend(titles(&gone));
        }
    }
    Ok(removed)
}
