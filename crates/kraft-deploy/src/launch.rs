//! From a wanted instance to one that runs: its volumes, itself, and the roll-out behind it.

use std::time::Duration;

use kraft_cloud::ErrorKind;
use kraft_cloud::answer::Answer;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance, Instance};
use kraft_cloud::resources::volumes;
use kraft_cloud::resources::{self, Known};

use super::arrival::Patience;
use super::rollout::{self, Rollout};
use super::trail::{Thing, Trail};
use super::{Cloud, arrival};
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};

/// Others are not stopped for an instance that has not run for so long.
pub const SETTLING: Duration = Duration::from_secs(1);

/// A volume that is made if it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVolume {
    /// Its name.
    pub name: String,
    /// Its size, in MiB.
    pub size_mb: u64,
}

/// What is to be launched.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The instance.
    pub wanted: CreateInstance,
    /// Its volumes that are made if they are not there.
    pub volumes: Vec<NewVolume>,
    /// What becomes of the ones before it.
    pub rollout: Rollout,
    /// How long it may take until it runs; nobody waits if there is no time.
    pub patience: Option<Patience>,
}

/// Launches an instance and its copies; the answer is what they are in the end.
pub fn launch(
    ctx: &Context,
    cloud: &Cloud,
    trail: &mut Trail,
    launch: Launch,
) -> Result<Vec<Instance>, Failure> {
    let mut wanted = launch.wanted.named();
    let plan = rollout::plan(ctx, cloud, &mut wanted, &launch.rollout)?;
    for volume in &launch.volumes {
        make_volume(ctx, cloud, trail, volume)?;
    }
    let made = create(ctx, cloud, trail, &wanted)?;
    let patience = match plan {
        Some(_) => Some(Patience {
            limit: launch.rollout.wait,
            settling: SETTLING,
        }),
        None => launch.patience,
    };
    let Some(patience) = patience.filter(|_| wanted.autostart) else {
        return look(cloud, &made);
    };
    let running = arrival::running(ctx, cloud, &made, patience);
    let Some(plan) = plan else {
        return running;
    };
    let running = running.map_err(|failure| failure.hint("the old instances stay as they are"))?;
    rollout::finish(ctx, cloud, &plan)?;
    Ok(running)
}

/// Makes a volume that is not there.
pub fn make_volume(
    ctx: &Context,
    cloud: &Cloud,
    trail: &mut Trail,
    volume: &NewVolume,
) -> Result<(), Failure> {
    let id = Id::new(&volume.name);
    match cloud.send(&volumes::get(std::slice::from_ref(&id)))?.one() {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    if let Id::Uuid(uuid) = &id {
        let what = format!("there is no volume `{uuid}`");
        return Err(Failure::new(Kind::NotFound, what));
    }
    ctx.info(&format!("making the volume {}", volume.name));
    cloud
        .send(&volumes::create(Some(&volume.name), volume.size_mb))?
        .one()?;
    trail.add(Thing::Volume(volume.name.clone()));
    Ok(())
}

/// Creates instances, and remembers what came of it even if it was interrupted.
pub fn create(
    ctx: &Context,
    cloud: &Cloud,
    trail: &mut Trail,
    wanted: &CreateInstance,
) -> Result<Vec<Instance>, Failure> {
    let name = wanted.name.clone().unwrap_or_default();
    ctx.info(&format!("creating the instance {name}"));
    let doubt = Thing::Perhaps(name.clone());
    trail.add(doubt.clone());
    let (created, interrupted) = cloud.create(wanted);
    match created {
        Some(Ok(made)) => {
            for one in &made {
                trail.add(Thing::Instance(one.title().to_owned()));
            }
            trail.drop(&doubt);
            trail.next = Some(format!("kraft cloud instance get {name}"));
            interrupted.map_or(Ok(made), Err)
        }
        Some(Err(error)) => {
            if !error.may_have_happened() {
                trail.drop(&doubt);
            }
            Err(error.into())
        }
        None => {
            let asked = instances::get(&[Id::Name(name.clone())]);
            if let Ok(Ok(_)) = cloud.send_anyway(&asked).map(Answer::one) {
                trail.add(Thing::Instance(name));
            }
            Err(interrupted.unwrap_or_else(|| Failure::new(Kind::Interrupted, "interrupted")))
        }
    }
}

/// Returns instances as they are now.
fn look(cloud: &Cloud, made: &[Instance]) -> Result<Vec<Instance>, Failure> {
    Ok(cloud.send(&instances::get(&resources::ids(made)))?.all()?)
}
