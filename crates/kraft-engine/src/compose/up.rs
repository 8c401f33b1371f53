//! Creates, starts, stops and removes the machines of a project.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kraft_core::compose::{Condition, PullPolicy, Service};
use kraft_core::error::chain;
use kraft_core::lifecycle::Health;
use kraft_core::machine::{EndReason, MachineState};
use kraft_machine::{Machine, Machines, StopOptions};
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use super::Error;
use super::definition::Definition;
use super::images::ImageOptions;
use super::plan::{Action, Plan, Recreate, plan};
use super::state::{self, Member};
use super::wanted::{self, Wanted};
use super::{networks, ports, volumes};
use crate::boot::PreparedBoot;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::{machines, run};

/// How long between two looks at a machine that is waited for.
const TURN: Duration = Duration::from_millis(100);

/// How machines are created.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// When existing machines are created again.
    pub recreate: Recreate,
    /// The services whose machines are created again in any case.
    pub always: Vec<String>,
    /// Whether machines of services that the files do not have are removed.
    pub remove_orphans: bool,
    /// Whether machines that are created again get new anonymous volumes.
    pub renew_volumes: bool,
    /// How images are obtained.
    pub images: ImageOptions,
}

/// Holds a project, so that two commands do not change it at once.
#[derive(Debug)]
pub struct Held {
    dir: PathBuf,
    _lock: Lock,
}

/// Waits until no other command changes the project.
///
/// # Errors
///
/// If the lock cannot be made.
pub fn hold(ctx: &Context, project: &str) -> Result<Held, fs::Error> {
    let dir = ctx.runtime_dir().join("compose").join(project);
    loop {
        fs::create_dir_all(&dir, 0o700)?;
        match Lock::exclusive(&dir) {
            Ok(lock) => return Ok(Held { dir, _lock: lock }),
            // Another command removed it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

impl Held {
    /// Removes what holding the project left, once it has no machines.
    pub fn forget(self) {
        // If it cannot be removed, it does no harm.
        let _ = fs::remove_tree(&self.dir);
    }
}

fn planned(
    definition: &Definition,
    wanted: &[Wanted<'_>],
    members: &[Member],
    options: &CreateOptions,
) -> Plan {
    let described: Vec<_> = wanted.iter().map(|one| one.described.clone()).collect();
    let current: Vec<_> = members.iter().map(Member::current).collect();
    let all = definition.compose.services.iter();
    let all: Vec<&str> = all.map(|one| one.name.as_str()).collect();
    let recreate = |service: &str| {
        let always = options.always.iter().any(|name| name == service);
        if always {
            Recreate::Always
        } else {
            options.recreate
        }
    };
    plan(&described, &current, &all, &recreate)
}

/// Returns what [`create`] would do, a line for each machine: `create shop-web`. Nothing is built or
/// pulled, so that a new image or build is not among it.
///
/// # Errors
///
/// If something cannot be read, or cannot run on this host.
pub fn preview(
    ctx: &Context,
    definition: &Definition,
    services: &[&Service],
    options: &CreateOptions,
) -> Result<Vec<String>, Error> {
    let wanted = definition.wanted(ctx, services)?;
    let members = state::members(&machines::existing(ctx), &definition.project)?;
    let plan = planned(definition, &wanted, &members, options);
    let lines = wanted.iter().zip(&plan.actions);
    let lines = lines.map(|(one, action)| match action {
        Action::Create => format!("create {}", one.described.machine),
        Action::Recreate(name) => format!("create again {name}"),
        Action::Keep(name) => format!("keep {name}"),
    });
    let orphans = plan.orphans.iter().filter(|_| options.remove_orphans);
    let gone = plan.surplus.iter().chain(orphans);
    Ok(lines
        .chain(gone.map(|name| format!("remove {name}")))
        .collect())
}

/// Creates the machines of services that are missing or have changed, and what they need. Returns
/// the machines of these services, those that others need first.
///
/// # Errors
///
/// If something cannot be built or created. What was created before stays.
pub fn create(
    ctx: &Context,
    definition: &Definition,
    services: &[&Service],
    options: &CreateOptions,
) -> Result<Vec<Member>, Error> {
    let machines = machines::open(ctx)?;
    let wanted = definition.wanted(ctx, services)?;
    let members = state::members(&machines, &definition.project)?;
    let plan = planned(definition, &wanted, &members, options);
    if !plan.orphans.is_empty() && !options.remove_orphans {
        ctx.warn(&format!(
            "machines of services that the files do not have: {} (`--remove-orphans` removes them)",
            plan.orphans.join(", ")
        ));
    }
    let find = |name: &str| members.iter().find(|one| one.machine.name == name);
    // Images first: an error in one leaves everything as it is.
    let mut prepared: Vec<(&Wanted<'_>, PreparedBoot, Option<&Member>)> = Vec::new();
    for (one, action) in wanted.iter().zip(&plan.actions) {
        ctx.interrupt.check()?;
        let prepare = || definition.prepare(ctx, one.service, &one.request, &options.images);
        match action {
            Action::Create => prepared.push((one, prepare()?, None)),
            Action::Recreate(name) => prepared.push((one, prepare()?, find(name))),
            Action::Keep(name) => {
                if !is_built(one.service, options) {
                    continue;
                }
                let boot = prepare()?;
                let old = find(name);
                let initrd = old.and_then(|old| old.machine.spec.initrd.as_deref());
                if !boot.has_root(initrd) {
                    prepared.push((one, boot, old));
                }
            }
        }
    }
    definition.make_networks(ctx, &machines.networks(), services)?;
    let mut recreated: Vec<&str> = Vec::new();
    for (one, boot, old) in prepared {
        ctx.interrupt.check()?;
        recreated.extend(old.map(|old| old.service.as_str()));
        let replaced = old.map(|old| Replaced {
            machine: &old.machine,
            renew_volumes: options.renew_volumes,
        });
        create_one(ctx, &machines, &definition.project, one, boot, replaced)?;
    }
    stop_dependents(ctx, &machines, definition, &members, &recreated)?;
    let gone = plan.surplus.iter();
    let orphans = plan.orphans.iter().filter(|_| options.remove_orphans);
    for name in gone.chain(orphans) {
        if let Some(member) = find(name) {
            ctx.info(&format!("removing {name}"));
            remove(&machines, &member.machine, None)?;
        }
    }
    let mut members = state::members(&machines, &definition.project)?;
    members.retain(|one| services.iter().any(|service| service.name == one.service));
    Ok(members)
}

/// Removes the machines of services that the files do not have.
///
/// # Errors
///
/// If one cannot be removed.
pub fn remove_orphans(ctx: &Context, definition: &Definition) -> Result<(), Error> {
    let machines = machines::ending(ctx);
    for member in state::members(&machines, &definition.project)?.iter().rev() {
        if definition.compose.service(&member.service).is_none() {
            ctx.info(&format!("removing {}", member.machine.name));
            remove(&machines, &member.machine, None)?;
        }
    }
    Ok(())
}

/// Stops the machines of services that are restarted with others (`depends_on` with `restart`), so
/// that they are started again after those.
fn stop_dependents(
    ctx: &Context,
    machines: &Machines,
    definition: &Definition,
    members: &[Member],
    others: &[&str],
) -> Result<(), Error> {
    let others: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
    let dependents = definition.dependents(&others);
    for member in members.iter().rev() {
        if dependents.contains(&member.service) {
            ctx.info(&format!("restarting {}", member.machine.name));
            stop(machines, &member.machine, None)?;
        }
    }
    Ok(())
}

/// Returns whether a service is built although its machine is as described.
fn is_built(service: &Service, options: &CreateOptions) -> bool {
    let asked = options.images.build || service.pull_policy == PullPolicy::Build;
    let may = !options.images.no_build && options.recreate != Recreate::Never;
    service.build.is_some() && asked && may
}

/// A machine that another one is created instead of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced<'a> {
    machine: &'a Machine,
    renew_volumes: bool,
}

/// Creates a machine, instead of an old one if there is one.
pub(super) fn create_one(
    ctx: &Context,
    machines: &Machines,
    project: &str,
    wanted: &Wanted<'_>,
    mut boot: PreparedBoot,
    old: Option<Replaced<'_>>,
) -> Result<Machine, Error> {
    let failed = |source: run::Error| Error::Run {
        service: wanted.described.service.clone(),
        source: Box::new(source),
    };
    let mut request = wanted.request.clone();
    wanted::complete(wanted.service, &mut request, &boot);
    let own = old.as_ref().map(|old| old.machine.id);
    ports::choose(machines, own, &wanted.service.ports, &mut request.ports)?;
    boot.extra.clone_from(&wanted.files);
    // It may have been pulled meanwhile.
    if let Some(image) = super::images::digest(ctx, wanted.service) {
        request.labels.insert(state::IMAGE.to_owned(), image);
    }
    let mounts = request.volumes.clone();
    volumes::make(machines, project, wanted.service, &mounts)?;
    let new = run::assemble(ctx, request, boot).map_err(failed)?;
    let name = &wanted.described.machine;
    if let Some(old) = old {
        ctx.info(&format!("{name} has changed: creating it again"));
        remove(machines, old.machine, None)?;
        if old.renew_volumes {
            machines.remove_anonymous_volumes(&mounts, None)?;
            volumes::make(machines, project, wanted.service, &mounts)?;
        }
    } else {
        ctx.info(&format!("creating {name}"));
    }
    let (_, machine) = new.create()?;
    Ok(machine)
}

/// Starts the machines of services that do not run, each after those that it needs are as it wants
/// them. Returns the names of all of them.
///
/// # Errors
///
/// If one cannot be started, or what it needs fails.
pub fn start(
    ctx: &Context,
    services: &[&Service],
    members: &[Member],
) -> Result<Vec<String>, Error> {
    let machines = machines::existing(ctx);
    let mut names = Vec::new();
    for service in services {
        wait_for_needs(ctx, &machines, service, members)?;
        for member in members.iter().filter(|one| one.service == service.name) {
            ctx.interrupt.check()?;
            start_one(ctx, &machines, member)?;
            names.push(member.machine.name.clone());
        }
    }
    Ok(names)
}

/// Starts a machine that does not run, or continues one that is paused.
///
/// # Errors
///
/// If it cannot be started.
pub fn start_one(ctx: &Context, machines: &Machines, member: &Member) -> Result<(), Error> {
    let machine = machines.get(member.machine.id)?;
    match machine.state {
        MachineState::Running
        | MachineState::Asleep
        | MachineState::Restarting
        | MachineState::Unknown => {}
        MachineState::Paused | MachineState::Suspended => {
            machines.resume(&machine.id)?;
        }
        MachineState::Created
        | MachineState::Failed
        | MachineState::Exited
        | MachineState::Errored => {
            ctx.info(&format!("starting {}", machine.name));
            let interrupt = &ctx.interrupt;
            let started = machines.start_unless(&machine.id, || interrupt.is_cancelled());
            // Another command may have started it meanwhile.
            if started.is_err() && machines.get(machine.id)?.state.is_up() {
                return Ok(());
            }
            started?;
        }
    }
    Ok(())
}

/// Waits until the services that a service needs are as it wants them. One that is not required may
/// fail.
///
/// # Errors
///
/// If one fails.
pub fn wait_for_needs(
    ctx: &Context,
    machines: &Machines,
    service: &Service,
    members: &[Member],
) -> Result<(), Error> {
    for need in &service.depends_on {
        let others = members.iter().filter(|one| one.service == need.service);
        for other in others {
            let waited = match need.condition {
                Condition::ServiceStarted => Ok(()),
                Condition::ServiceHealthy => wait_until_healthy(ctx, machines, other),
                Condition::ServiceCompletedSuccessfully => {
                    wait_until_completed(ctx, machines, other)
                }
            };
            match waited {
                Err(error @ Error::Dependency { .. }) if !need.required => ctx.warn(&chain(&error)),
                waited => waited?,
            }
        }
    }
    Ok(())
}

fn failed(member: &Member, why: String) -> Error {
    Error::Dependency {
        service: member.service.clone(),
        machine: member.machine.name.clone(),
        why,
    }
}

/// Describes how a machine ended.
fn end_of(machine: &Machine) -> String {
    let unknown = || "does not run".to_owned();
    machine
        .end
        .as_ref()
        .map_or_else(unknown, machines::how_it_ended)
}

/// Waits until a machine is healthy.
fn wait_until_healthy(ctx: &Context, machines: &Machines, member: &Member) -> Result<(), Error> {
    let mut reported = false;
    loop {
        ctx.interrupt.check()?;
        let machine = machines.get(member.machine.id)?;
        match (machine.health, machine.state) {
            (Some(Health::Healthy), _) => return Ok(()),
            (Some(Health::Unhealthy), _) => {
                return Err(failed(member, "is unhealthy".to_owned()));
            }
            (_, state) if !state.is_up() => return Err(failed(member, end_of(&machine))),
            (Some(Health::Starting) | None, _) => {}
        }
        if !reported {
            reported = true;
            ctx.info(&format!("waiting until {} is healthy", machine.name));
        }
        std::thread::sleep(TURN);
    }
}

/// Waits until a machine has ended, which must be with exit code 0.
fn wait_until_completed(ctx: &Context, machines: &Machines, member: &Member) -> Result<(), Error> {
    let watch = machines.watch(&member.machine.id)?;
    ctx.info(&format!("waiting until {} has ended", member.machine.name));
    loop {
        ctx.interrupt.check()?;
        let Some(ending) = watch.wait_timeout(TURN)? else {
            continue;
        };
        if ending.reason.exit_code() == 0 {
            return Ok(());
        }
        return Err(failed(member, machines::how_it_ended(&ending.reason)));
    }
}

/// Waits until machines run, and those with a health check are healthy.
///
/// # Errors
///
/// If one ends or is unhealthy, or the time is over.
pub fn wait(ctx: &Context, members: &[Member], limit: Option<Duration>) -> Result<(), Error> {
    let machines = machines::existing(ctx);
    let deadline = limit.map(|limit| std::time::Instant::now() + limit);
    for member in members {
        loop {
            ctx.interrupt.check()?;
            let machine = machines.get(member.machine.id)?;
            match (machine.health, machine.state) {
                (Some(Health::Healthy), _) | (None, MachineState::Running) => break,
                (Some(Health::Unhealthy), _) => {
                    return Err(failed(member, "is unhealthy".to_owned()));
                }
                (_, state) if !state.is_up() => return Err(failed(member, end_of(&machine))),
                _ => {}
            }
            if deadline.is_some_and(|deadline| std::time::Instant::now() >= deadline) {
                return Err(failed(member, "is not healthy in time".to_owned()));
            }
            std::thread::sleep(TURN);
        }
    }
    Ok(())
}

/// Stops a machine; one that does not run is left as it is. Returns whether it ran.
///
/// # Errors
///
/// If it cannot be stopped.
pub fn stop(
    machines: &Machines,
    machine: &Machine,
    timeout: Option<Duration>,
) -> Result<bool, Error> {
    let options = StopOptions {
        timeout,
        ..StopOptions::default()
    };
    match machines.stop(&machine.id, options) {
        Ok(_) => Ok(true),
        Err(kraft_machine::Error::NotRunning { .. } | kraft_machine::Error::NotFound { .. }) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Stops and removes a machine.
///
/// # Errors
///
/// If it cannot be stopped or removed.
pub fn remove(
    machines: &Machines,
    machine: &Machine,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    stop(machines, machine, timeout)?;
    match machines.remove(&machine.id, false) {
        Ok(()) | Err(kraft_machine::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What `down` removes.
#[derive(Clone, Copy, Debug, Default)]
pub struct DownOptions<'a> {
    /// The services; all if it is empty.
    pub services: &'a [String],
    /// Whether the volumes of the project are removed.
    pub volumes: bool,
    /// Whether machines of services that the files do not have are removed.
    pub remove_orphans: bool,
    /// How long each machine may take to shut down.
    pub timeout: Option<Duration>,
}

/// Stops and removes the machines of a project, its networks, and if asked for its volumes. Returns
/// the names of what was removed.
///
/// # Errors
///
/// If something cannot be removed.
pub fn down(
    ctx: &Context,
    project: &str,
    definition: Option<&Definition>,
    options: DownOptions<'_>,
) -> Result<Vec<String>, Error> {
    let machines = machines::ending(ctx);
    let members = state::all_members(&machines, project)?;
    let is_selected = |member: &Member| {
        if !options.services.is_empty() {
            return options.services.contains(&member.service);
        }
        let known = definition
            .is_none_or(|definition| definition.compose.service(&member.service).is_some());
        known || options.remove_orphans
    };
    let mut removed = Vec::new();
    for member in members.iter().rev().filter(|member| is_selected(member)) {
        ctx.info(&format!("removing {}", member.machine.name));
        remove(&machines, &member.machine, options.timeout)?;
        removed.push(member.machine.name.clone());
    }
    if options.services.is_empty() {
        let all = machines.networks();
        for name in networks::own(project, &members, definition) {
            match machines.remove_network(&name, false) {
                Ok(()) => removed.push(name),
                Err(kraft_machine::Error::Network(error)) if is_gone(&error) => {}
                Err(error) if all.get(&name).is_ok() => {
                    ctx.warn(&format!("the network {name} stays: {}", chain(&error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    if options.volumes {
        removed.extend(volumes::remove(&machines, project, definition)?);
    }
    crate::rootfs::remove_unused(ctx, &machines);
    Ok(removed)
}

fn is_gone(error: &kraft_net::Error) -> bool {
    matches!(error, kraft_net::Error::NotFound { .. })
}

/// Kills machines at once when the user interrupts a second time; returns when `done` is set.
pub fn kill_when_repeated(
    machines: &Machines,
    members: &[Member],
    interrupt: &Interrupt,
    done: &AtomicBool,
) {
    while !done.load(Ordering::SeqCst) {
        if interrupt.is_repeated() {
            for member in members {
                // It may be gone.
                let _ = machines.kill_now(member.machine.id);
            }
        }
        std::thread::sleep(TURN);
    }
}

/// Returns the exit code of a machine that has ended.
pub fn exit_code(machine: &Machine) -> Option<i32> {
    machine.end.as_ref().map(EndReason::exit_code)
}

/// Waits until one of several machines has ended, and stops the others. Returns it; `None` after an
/// interrupt, which stops nothing.
///
/// # Errors
///
/// If a machine cannot be read or stopped.
pub fn stop_after_first_end(
    machines: &Machines,
    members: &[Member],
    interrupt: &Interrupt,
    options: AbortOptions,
) -> Result<Option<Member>, Error> {
    let first = loop {
        if interrupt.is_cancelled() {
            return Ok(None);
        }
        let mut ended = Vec::new();
        for member in members {
            let machine = machines.get(member.machine.id)?;
            if !machine.state.is_up() && machine.end.is_some() {
                let member = member.clone();
                ended.push(Member { machine, ..member });
            }
        }
        let all = ended.len() == members.len();
        let counts = |member: &Member| !options.failures || exit_code(&member.machine) != Some(0);
        match ended.iter().position(counts) {
            Some(at) => break ended.swap_remove(at),
            // The last one to look at succeeded.
            None if all => return Ok(ended.pop()),
            None => std::thread::sleep(TURN),
        }
    };
    for member in members.iter().rev() {
        stop(machines, &member.machine, options.timeout)?;
    }
    Ok(Some(first))
}

/// When machines are stopped because one has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct AbortOptions {
    /// Whether only an exit code other than 0 counts.
    pub failures: bool,
    /// How long each machine may take to shut down.
    pub timeout: Option<Duration>,
}
