//! Making the instances of services, starting them in their order, and taking them away.

use std::time::Duration;

use kraft_cloud::ErrorKind;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance};
use kraft_cloud::resources::{self, Known, Named, services, volumes};
use kraft_core::compose::Service;

use super::super::arrival::{self, Patience};
use super::super::launch;
use super::super::trail::{Thing, Trail};
use super::images::Making;
use super::{Cloud, Stack, change};
use kraft_engine::context::Context;
use kraft_engine::failure::Failure;

/// A service may take so long until it runs that others need.
const NEEDED: Duration = Duration::from_mins(1);

/// Makes what is not there yet: images, volumes, instances. Instances that are what the file says are
/// left as they are; others are replaced. The answer is what there is, in the order of the services.
pub fn create(
    ctx: &Context,
    cloud: &Cloud,
    stack: &Stack,
    services: &[&Service],
    (making, trail): (&Making, &mut Trail),
) -> Result<Vec<Instance>, Failure> {
    let mut wanted = Vec::with_capacity(services.len());
    for service in services {
        let image = stack.image(ctx, cloud, service, making, trail)?;
        wanted.push(stack.wanted(ctx, service, &image)?);
    }
    for volume in stack.new_volumes(services) {
        launch::make_volume(ctx, cloud, trail, &volume)?;
    }
    let found = stack.found(cloud, services)?;
    let mut there = Vec::with_capacity(services.len());
    for (wanted, (service, found)) in wanted.iter().zip(found) {
        match found {
            Some(one) if change::is_as_wanted(cloud, &one, wanted)? => {
                trail.add(Thing::Instance(one.name.clone()));
                there.push(one);
            }
            Some(one) => {
                ctx.info(&format!(
                    "the service {} has changed: replacing it",
                    service.name
                ));
                remove(cloud, std::slice::from_ref(&one))?;
                there.extend(make(ctx, cloud, wanted, trail)?);
            }
            None => there.extend(make(ctx, cloud, wanted, trail)?),
        }
    }
    Ok(there)
}

fn make(
    ctx: &Context,
    cloud: &Cloud,
    wanted: &CreateInstance,
    trail: &mut Trail,
) -> Result<Option<Instance>, Failure> {
    let made = launch::create(ctx, cloud, trail, wanted)?;
    Ok(made.into_iter().next())
}

/// Starts instances of services, needed ones first; a service that others need runs before they
/// start. Those that run are left alone.
pub fn start(
    ctx: &Context,
    cloud: &Cloud,
    stack: &Stack,
    services: &[&Service],
    wait: Option<Duration>,
) -> Result<Vec<Instance>, Failure> {
    let mut started = Vec::new();
    for (service, found) in stack.found(cloud, services)? {
        let Some(one) = found else { continue };
        if one.state == "stopped" {
            ctx.info(&format!("starting {}", one.name));
            let request = instances::start(&[one.id()], Duration::ZERO);
            cloud.send(&request)?.one()?;
        }
        let needed = services.iter().any(|other| {
            other
                .depends_on
                .iter()
                .any(|need| need.value == service.name)
        });
        let limit = if needed { Some(NEEDED) } else { wait };
        match limit {
            Some(limit) => {
                let patience = Patience {
                    limit,
                    settling: Duration::ZERO,
                };
                started.extend(arrival::running(
                    ctx,
                    cloud,
                    std::slice::from_ref(&one),
                    patience,
                )?);
            }
            None => started.push(one),
        }
    }
    let ids = resources::ids(&started);
    if ids.is_empty() {
        return Ok(started);
    }
    Ok(cloud.send(&instances::get(&ids))?.all()?)
}

/// Removes instances, and the copies that share their service.
fn remove(cloud: &Cloud, found: &[Instance]) -> Result<Vec<String>, Failure> {
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
    let removed = cloud.send(&instances::remove(&ids))?.found()?;
    Ok(titles(&removed))
}

fn titles(things: &[Named]) -> Vec<String> {
    things.iter().map(|one| one.title().to_owned()).collect()
}

/// Returns an instance with its copies: the others of a service that was made for it.
fn members(cloud: &Cloud, one: &Instance) -> Result<Vec<Id>, Failure> {
    let mut ids = vec![one.id()];
    let Some(group) = &one.service_group else {
        return Ok(ids);
    };
    match cloud
        .send(&services::get(&[Id::Uuid(group.uuid.clone())]))?
        .one()
    {
        // One that stays without instances was not made by us.
        Ok(group) if !group.persistent => {
            let others = group
                .instances
                .iter()
                .filter(|other| other.uuid != one.uuid);
            ids.extend(resources::ids(others));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(ids)
}

/// Takes services away: their instances, and their volumes if that is wanted. Returns the names of
/// what was removed.
pub fn down(
    cloud: &Cloud,
    stack: &Stack,
    services: &[&Service],
    with_volumes: bool,
) -> Result<Vec<String>, Failure> {
    let mut found: Vec<Instance> = stack
        .found(cloud, services)?
        .into_iter()
        .filter_map(|(_, found)| found)
        .collect();
    // Those that need others go before them.
    found.reverse();
    let mut removed = remove(cloud, &found)?;
    if with_volumes {
        let ids: Vec<Id> = stack
            .new_volumes(services)
            .into_iter()
            .map(|volume| Id::Name(volume.name))
            .collect();
        if !ids.is_empty() {
            let gone = cloud.send(&volumes::remove(&ids))?.found()?;
            removed.extend(titles(&gone));
        }
    }
    Ok(removed)
}
