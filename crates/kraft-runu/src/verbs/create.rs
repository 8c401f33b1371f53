//! `create`: a bundle becomes a container whose supervisor waits.

use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_core::host::{Host, Kvm};
use kraft_core::platform::Platform;
use kraft_machine::{DEFAULT_CONSOLE_LIMIT, Id, host};
use kraft_sys::process::{Identity, own_program};
use kraft_sys::{fs, tool};

use super::delete;
use crate::bundle::Bundle;
use crate::cgroup::Cgroup;
use crate::config::{Config, Resources};
use crate::control::{self, Request};
use crate::decide::{self, Limits};
use crate::failure::Failure;
use crate::state::{Container, Network, StateDir, Status};
use crate::{Context, console, hooks, network, supervisor};

/// How long a supervisor may take to be ready.
const PATIENCE: Duration = Duration::from_mins(1);

/// Creates a container.
pub(crate) fn exec(ctx: &Context<'_>, bundle: &Bundle) -> Result<(), Failure> {
    let Some(id) = ctx.arguments.id() else {
        return Err(Failure(
            "`runu create` needs the id of a container".to_owned(),
        ));
    };
    let dir = StateDir::new(&ctx.root, id)?;
    let _lock = dir.create()?;
    let (mut container, resources) = match describe(ctx, bundle, id) {
        Ok(described) => described,
        Err(failure) => {
            let _ = dir.remove();
            return Err(failure);
        }
    };
    let made = create(ctx, bundle, &dir, &mut container, &resources);
    made.inspect_err(|_| undo(ctx, &dir, &container))
}

/// Describes the container, with the limits of its control group. Nothing is made yet.
fn describe(
    ctx: &Context<'_>,
    bundle: &Bundle,
    id: &str,
) -> Result<(Container, Resources), Failure> {
    let config = &bundle.config;
    let found = bundle.examine()?;
    let (host, firecracker) = examine_host(ctx, found.image.arch);
    let limits = Limits {
        overhead: ctx.settings.overhead(),
        kvm: ctx.settings.kvm,
        firecracker,
    };
    let decision = decide::decide(config, &found, &host, limits)
        .map_err(|problems| Failure(problems.join("; ")))?;
    for note in &decision.notes {
        ctx.warn(note);
    }
    let cgroup = Cgroup::find(&config.linux.cgroups_path, id)?;
    let global = &ctx.arguments.global;
    let programs = [
        (Platform::Qemu, ctx.settings.qemu.clone()),
        (Platform::Firecracker, ctx.settings.firecracker.clone()),
    ];
    let container = Container {
        version: 1,
        id: id.to_owned(),
        bundle: bundle.path.clone(),
        created: Timestamp::now(),
        supervisor: None,
        machine: Id::new(),
        spec: decision.spec,
        files: decision.files,
        directories: decision.directories,
        network: network_of(config),
        hostname: config.hostname.clone(),
        terminal: config.process.as_ref().is_some_and(|it| it.terminal),
        cgroup,
        hooks: config.hooks.clone(),
        annotations: config.annotations.clone(),
        log: global
            .log
            .as_ref()
            .and_then(|log| std::path::absolute(log).ok()),
        log_json: global.log_json,
        programs: programs
            .into_iter()
            .filter_map(|(platform, program)| Some((platform, program?)))
            .collect(),
    };
    Ok((container, decision.resources))
}

/// Determines what this host can run, and whether it has Firecracker.
fn examine_host(ctx: &Context<'_>, guest: Arch) -> (Host, bool) {
    let settings = kraft_machine::Settings {
        // What is known about this host, such as whether guests run under KVM.
        runtime_dir: ctx.environment.dir("kraft-runu"),
        monitor: Vec::new(),
        drivers: ctx.settings.drivers(),
        console_limit: DEFAULT_CONSOLE_LIMIT,
    };
    // Where the answer does not matter, no guest is tried.
    let host = if ctx.settings.kvm && Arch::host() == Some(guest) {
        host::probe(&settings, Platform::Qemu)
    } else {
        host::facts(&settings, Kvm::Disabled)
    };
    let firecracker = host.kvm == Kvm::Works
        && host::vmm(&settings, Platform::Firecracker, guest).is_some_and(|it| it.is_ok());
    (host, firecracker)
}

/// Returns the network of a container. An engine means that of the host also by its path.
fn network_of(config: &Config) -> Network {
    match config.namespace("network") {
        None => Network::Host,
        Some(namespace) if namespace.path.is_empty() => Network::New,
        Some(namespace) if network::is_own(namespace.path.as_ref()) => Network::Host,
        Some(namespace) => Network::Existing(namespace.path.clone().into()),
    }
}

fn create(
    ctx: &Context<'_>,
    bundle: &Bundle,
    dir: &StateDir,
    container: &mut Container,
    resources: &Resources,
) -> Result<(), Failure> {
    // First: `delete` removes what the record names, also if this process is killed.
    dir.store(container)?;
    for skipped in container.cgroup.create(resources)? {
        ctx.warn(&skipped);
    }
    let mut child = spawn(ctx, dir, container)?;
    let identity = Identity::of(child.id());
    container.supervisor.clone_from(&identity);
    wait_until_ready(dir, &mut child)?;
    if identity.is_none() {
        return Err(Failure(
            "the supervisor of the container has ended".to_owned(),
        ));
    }
    dir.store(container)?;
    let state = container.oci_state(Status::Creating);
    let all = &bundle.config.hooks;
    hooks::run(&all.prestart, "prestart", &state)?;
    hooks::run(&all.create_runtime, "createRuntime", &state)?;
    if !all.create_container.is_empty() {
        // They belong inside. What follows only writes a file.
        let inside = format!("/proc/{}/ns/net", child.id());
        if container.network != Network::Host {
            network::enter(&Network::Existing(inside.into()))?;
        }
        hooks::run(&all.create_container, "createContainer", &state)?;
    }
    if let Some(path) = &ctx.arguments.flags.pid_file {
        fs::replace_file(path, child.id().to_string().as_bytes())?;
    }
    Ok(())
}

/// Starts the supervisor, with the streams of the container.
fn spawn(ctx: &Context<'_>, dir: &StateDir, container: &Container) -> Result<Child, Failure> {
    let failed = |e: std::io::Error| Failure::of("cannot start the supervisor", &e);
    let mut command = tool::command(own_program());
    command
        .arg0(crate::NAME)
        .arg(supervisor::ARGUMENT)
        .arg(dir.path());
    match (&ctx.arguments.flags.console_socket, container.terminal) {
        (Some(socket), true) => {
            let terminal = console::make(socket)?;
            for set in [std::process::Command::stdin, std::process::Command::stdout] {
                let copy = terminal.try_clone().map_err(failed)?;
                set(&mut command, Stdio::from(copy));
            }
            command.stderr(terminal);
        }
        (None, true) => {
            return Err(Failure(
                "the container has a terminal, and there is no `--console-socket`".to_owned(),
            ));
        }
        (_, false) => {}
    }
    command.spawn().map_err(failed)
}

fn wait_until_ready(dir: &StateDir, child: &mut Child) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if control::ask(dir, Request::Hello)?.is_some() {
            return Ok(());
        }
        let ended = child
            .try_wait()
            .map_err(|e| Failure::of("cannot wait for the supervisor", &e))?;
        if let Some(status) = ended {
            let why = dir.take_failure();
            return Err(why.unwrap_or_else(|| {
                Failure(format!("the supervisor of the container ended ({status})"))
            }));
        }
        if Instant::now() > deadline {
            return Err(Failure(format!(
                "the supervisor of the container is not ready after {} s",
                PATIENCE.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Removes what a failed creation has made. Hooks may have run, so those after the end do, too.
fn undo(ctx: &Context<'_>, dir: &StateDir, container: &Container) {
    let _ = delete::kill(container);
    let _ = container.cgroup.remove();
    let _ = dir.remove();
    delete::run_poststop(ctx, container);
}
