//! `kraft compose up`, `down`, `create`, `build`, `pull` and `push`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kraft_core::compose::Service;
use kraft_core::error::chain;
use kraft_core::plan::RunRequest;
use kraft_engine::compose;
use kraft_engine::compose::definition::Definition;
use kraft_engine::compose::images::ImageOptions;
use kraft_engine::compose::plan::Recreate;
use kraft_engine::compose::state::{self, Member};
use kraft_engine::compose::up::{self as flow, AbortOptions, CreateOptions, DownOptions};
use kraft_engine::follow::{self, Console, Stopped};
use kraft_engine::interrupt::Interrupt;
use kraft_engine::machines;
use kraft_engine::obtain::Pull;
use kraft_machine::{Id, LogsOptions, Machines};

use super::{Project, Services, logs, watch};
use crate::app::App;
use crate::commands::dockerfile::DockerfileArgs;
use crate::commands::tally::Tally;
use crate::commands::{choices, values};
use crate::failure::{Failure, Kind};

/// How machines are created.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct CreationArgs {
    /// Build services again before they are started
    #[arg(long, conflicts_with = "no_build")]
    build: bool,

    /// Build no service: images that are missing are pulled
    #[arg(long)]
    no_build: bool,

    /// Create machines again even if nothing has changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,

    /// Keep existing machines even if they have changed
    #[arg(long, conflicts_with = "renew_anon_volumes")]
    no_recreate: bool,

    /// Remove machines of services that the file does not have
    #[arg(long)]
    remove_orphans: bool,

    /// Give machines that are created again new anonymous volumes, instead of those that they had
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,

    /// Set when to pull images, instead of the policy of the file
    #[arg(long, value_name = "WHEN", value_parser = choices::PULL)]
    pull: Option<Pull>,

    /// Set the number of machines of a service
    #[arg(long, value_name = "SERVICE=NUMBER", value_parser = scale)]
    scale: Vec<(String, u32)>,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

/// Parses `SERVICE=NUMBER`.
fn scale(text: &str) -> Result<(String, u32), String> {
    let wrong = || "expected SERVICE=NUMBER".to_owned();
    let (service, number) = text.split_once('=').ok_or_else(wrong)?;
    Ok((service.to_owned(), number.parse().map_err(|_| wrong())?))
}

impl CreationArgs {
    fn options(&self) -> CreateOptions {
        CreateOptions {
            recreate: match (self.force_recreate, self.no_recreate) {
                (true, _) => Recreate::Always,
                (false, true) => Recreate::Never,
                (false, false) => Recreate::Changed,
            },
            always: Vec::new(),
            remove_orphans: self.remove_orphans,
            renew_volumes: self.renew_anon_volumes,
            images: ImageOptions {
                building: self.dockerfile.options(),
                pull: self.pull,
                build: self.build,
                no_build: self.no_build,
            },
        }
    }
}

/// Sets the numbers of machines.
fn set_numbers(definition: &mut Definition, numbers: &[(String, u32)]) -> Result<(), Failure> {
    for (name, number) in numbers {
        definition.only(std::slice::from_ref(name))?;
        for service in &mut definition.compose.services {
            if service.name == *name {
                service.replicas = Some(*number);
            }
        }
    }
    Ok(())
}

/// Create and start the machines of services, and print their consoles
///
/// Machines that exist and have not changed are kept. Services are started after those that they
/// need. Ctrl-C stops the machines; with --detach they run in the background and their names are
/// printed.
///
/// Of named services only their own consoles are printed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) services: Services,

    /// Run in the background and print the names of the machines
    #[arg(short, long)]
    detach: bool,

    /// Wait until the machines run, and are healthy if that is checked; implies --detach
    #[arg(long, conflicts_with_all = ["abort_on_container_exit", "abort_on_container_failure", "exit_code_from"])]
    wait: bool,

    /// Set how long --wait waits
    #[arg(long, value_name = "TIME", value_parser = values::duration, requires = "wait")]
    wait_timeout: Option<Duration>,

    /// Create the machines without starting them
    #[arg(long, conflicts_with_all = ["detach", "wait"])]
    no_start: bool,

    /// Do not start services that the named ones need
    #[arg(long)]
    no_deps: bool,

    /// Stop all machines when one ends
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,

    /// Stop all machines when one ends with another exit code than 0
    #[arg(long, conflicts_with_all = ["detach", "abort_on_container_exit"])]
    abort_on_container_failure: bool,

    /// Print the consoles of this service only
    #[arg(long, value_name = "SERVICE", conflicts_with_all = ["detach", "wait"])]
    attach: Vec<String>,

    /// Do not print the consoles of this service
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,

    /// Print also the consoles of services that the named ones need
    #[arg(long, conflicts_with_all = ["detach", "wait", "attach"])]
    attach_dependencies: bool,

    /// Build, restart or copy files when they change, as `watch` does
    #[arg(short, long, conflicts_with_all = ["detach", "wait", "no_start", "abort_on_container_exit", "abort_on_container_failure", "exit_code_from"])]
    watch: bool,

    /// Exit with the status of this service's machine; implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,

    /// Do not prefix lines with the names of services
    #[arg(long)]
    no_log_prefix: bool,

    /// Prefix each line with the time of its arrival
    #[arg(long)]
    timestamps: bool,

    /// Set how long each machine may take to shut down
    #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,

    /// Create machines of services that the named ones need again even if nothing has changed
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,

    #[command(flatten)]
    creation: CreationArgs,
}

/// Set the numbers of machines of services
///
/// Machines are created and started, or those with the highest numbers removed.
#[derive(Debug, clap::Args)]
pub(super) struct ScaleArgs {
    /// Service, and the number of its machines
    #[arg(value_name = "SERVICE=NUMBER", value_parser = scale, required = true)]
    services: Vec<(String, u32)>,

    /// Do not start services that these need
    #[arg(long)]
    no_deps: bool,
}

/// Create the machines of services without starting them
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    pub(super) services: Services,

    #[command(flatten)]
    creation: CreationArgs,
}

/// Stop and remove machines and networks
///
/// Volumes are kept, unless --volumes is given.
#[derive(Debug, clap::Args)]
pub(super) struct DownArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Remove the volumes of the project as well
    #[arg(short, long)]
    pub(super) volumes: bool,

    /// Remove machines of services that the file does not have
    #[arg(long)]
    remove_orphans: bool,

    /// Remove images from the local store: all that services name, or with `local` none, because what
    /// is built for a service without an image is not stored
    #[arg(long, value_name = "WHICH", value_parser = ["local", "all"])]
    rmi: Option<String>,

    /// Set how long each machine may take to shut down
    #[arg(short, long, value_name = "TIME", value_parser = values::duration)]
    timeout: Option<Duration>,
}

/// Build services, and store the images that have a name
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Build also the services that these need
    #[arg(long)]
    with_dependencies: bool,

    /// Push the images that have a name, as `push` does
    #[arg(long)]
    push: bool,

    /// Run every step again, as --build-no-cache
    #[arg(long)]
    no_cache: bool,

    /// Pull the images that builds are based on again
    #[arg(long)]
    pull: bool,

    /// Expose an SSH agent to build steps, as --build-ssh
    #[arg(long, value_name = "ID[=SOCKET]")]
    ssh: Vec<String>,

    #[command(flatten)]
    dockerfile: DockerfileArgs,
}

/// Pull the images of services
#[derive(Debug, clap::Args)]
pub(super) struct PullArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Continue with the others if an image cannot be pulled
    #[arg(long)]
    ignore_pull_failures: bool,

    /// Pull also the images of services that these need
    #[arg(long)]
    include_deps: bool,

    /// Set which images are pulled: all, or those that do not exist locally
    #[arg(long, value_name = "WHEN", default_value = "always", hide_default_value = true,
          value_parser = choices::PULL)]
    policy: Pull,
}

/// Push the images of services that are built and have a name
#[derive(Debug, clap::Args)]
pub(super) struct PushArgs {
    #[command(flatten)]
    pub(super) services: Services,

    /// Continue with the others if an image cannot be pushed
    #[arg(long)]
    ignore_push_failures: bool,

    /// Push also the images of services that these need
    #[arg(long)]
    include_deps: bool,
}

pub(super) fn up(app: &App, mut definition: Definition, args: &Args) -> Result<(), Failure> {
    set_numbers(&mut definition, &args.creation.scale)?;
    let names = &args.services.services;
    let services = selected(&definition, names, !args.no_deps)?;
    for name in args.exit_code_from.iter().chain(&args.attach) {
        definition.only(std::slice::from_ref(name))?;
    }
    let watcher = args
        .watch
        .then(|| watch::watcher(app, &definition, &services))
        .transpose()?;
    let members = make(app, &definition, &services, &args.options(&services))?;
    if args.no_start {
        return print(app, &members);
    }
    // Until here, an interrupt leaves nothing that runs.
    let in_foreground = !args.detach && !args.wait;
    if in_foreground {
        app.interrupt.expect_second();
    }
    let interrupt = app.interrupt.listen();
    let started = flow::start(app, &services, &members);
    if started.is_err() && in_foreground && interrupt.is_cancelled() {
        stop_all(app, &members, args.timeout);
    }
    started?;
    if args.wait {
        flow::wait(app, &members, args.wait_timeout)?;
    }
    if !in_foreground {
        return print(app, &members);
    }
    let Some(mut watcher) = watcher else {
        return attach(app, &services, &members, args, &interrupt);
    };
    app.ui.info("watching the files; Ctrl-C stops the machines");
    std::thread::scope(|scope| {
        let (definition, interrupt) = (&definition, &interrupt);
        let known: Vec<Id> = members.iter().map(|it| it.machine.id).collect();
        let following = scope.spawn(move || {
            let known = Mutex::new(known);
            watch::until_interrupted(app, definition, &mut watcher, interrupt, &|members| {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                for member in members {
                    if !known.contains(&member.machine.id) {
                        known.push(member.machine.id);
                        let member = member.clone();
                        scope.spawn(move || follow_one(app, &member, args, interrupt));
                    }
                }
            })
        });
        let attached = attach(app, &services, &members, args, interrupt);
        if attached.is_err() {
            interrupt.cancel();
        }
        let followed = following.join().unwrap_or(Ok(()));
        // Those that were created again.
        let machines = machines::existing(app);
        for member in state::members(&machines, &definition.project)? {
            let _ = flow::stop(&machines, &member.machine, args.timeout);
        }
        attached.and(followed)?;
        Err(Failure::reported(Kind::Interrupted))
    })
}

/// Prints the console of a machine that was created again while the files are watched.
fn follow_one(app: &App, member: &Member, args: &Args, interrupt: &Interrupt) {
    let options = LogsOptions {
        arrivals: args.timestamps,
        restarts: true,
        ..LogsOptions::default()
    };
    // It may have been created once more.
    let Ok(logs) = machines::existing(app).logs(&member.machine.id, options) else {
        return;
    };
    let title = logs::title(std::slice::from_ref(member), member);
    let named = vec![(title.as_str(), logs)];
    let consoles = follow::consoles(named, !args.no_log_prefix, app.ui.colour());
    let consoles = consoles.into_iter();
    let consoles = consoles.map(|console| console.timestamps(args.timestamps));
    if let Err(error) = follow::follow(app, &mut app.ui.output(), consoles.collect(), interrupt) {
        app.failure(&error.into());
    }
}

impl Args {
    fn options(&self, services: &[&Service]) -> CreateOptions {
        let mut options = self.creation.options();
        if self.always_recreate_deps {
            let needed = services.iter().map(|service| service.name.clone());
            let names = &self.services.services;
            options.always = needed.filter(|name| !names.contains(name)).collect();
        }
        options
    }

    /// Returns what `up` would do.
    pub(super) fn preview(
        &self,
        app: &App,
        definition: &mut Definition,
    ) -> Result<Vec<String>, Failure> {
        set_numbers(definition, &self.creation.scale)?;
        let services = selected(definition, &self.services.services, !self.no_deps)?;
        let options = self.options(&services);
        Ok(flow::preview(app, definition, &services, &options)?)
    }
}

impl CreateArgs {
    /// Returns what `create` would do.
    pub(super) fn preview(
        &self,
        app: &App,
        definition: &mut Definition,
    ) -> Result<Vec<String>, Failure> {
        set_numbers(definition, &self.creation.scale)?;
        let services = definition.services(&self.services.services)?;
        Ok(flow::preview(
            app,
            definition,
            &services,
            &self.creation.options(),
        )?)
    }
}

/// Creates the machines of services while the project is held.
fn make(
    app: &App,
    definition: &Definition,
    services: &[&Service],
    options: &CreateOptions,
) -> Result<Vec<Member>, Failure> {
    if let Some(warning) = definition.warning(services) {
        app.ui.warn(&warning);
    }
    let _held = flow::hold(app, &definition.project)?;
    Ok(flow::create(app, definition, services, options)?)
}

fn print(app: &App, members: &[Member]) -> Result<(), Failure> {
    let mut members = members.iter();
    members.try_for_each(|member| app.ui.line(&member.machine.name))
}

/// Prints the consoles of machines until they end, or the user interrupts.
fn attach(
    app: &App,
    services: &[&Service],
    members: &[Member],
    args: &Args,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let shown: Vec<&Member> = members
        .iter()
        .filter(|member| {
            let mut all = services.iter();
            let service = all.find(|service| service.name == member.service);
            if !args.attach.is_empty() {
                return args.attach.contains(&member.service);
            }
            let named = &args.services.services;
            let is_named = named.is_empty() || named.contains(&member.service);
            let is_wanted =
                !args.no_attach.contains(&member.service) && (is_named || args.attach_dependencies);
            is_wanted && service.is_none_or(|service| service.attach)
        })
        .collect();
    let aborts = args.abort_on_container_exit
        || args.abort_on_container_failure
        || args.exit_code_from.is_some();
    let titles: Vec<String> = shown.iter().map(|one| logs::title(members, one)).collect();
    let mut named = Vec::with_capacity(shown.len());
    for (member, title) in shown.iter().zip(&titles) {
        let options = LogsOptions {
            arrivals: args.timestamps,
            // Those that their policies start again are followed.
            restarts: !aborts,
            ..LogsOptions::default()
        };
        named.push((title.as_str(), machines.logs(&member.machine.id, options)?));
    }
    let consoles = follow::consoles(named, !args.no_log_prefix, app.ui.colour());
    let consoles = consoles
        .into_iter()
        .map(|console| console.timestamps(args.timestamps))
        .collect();
    if aborts {
        return until_one_ends(app, &machines, consoles, members, args);
    }
    let followed = follow::follow(app, &mut app.ui.output(), consoles, interrupt);
    match followed {
        // Also those without a console here.
        Ok(Stopped::AllEnded) => Ok(()),
        Ok(Stopped::Interrupted) => {
            stop_all(app, members, args.timeout);
            Err(Failure::reported(Kind::Interrupted))
        }
        Err(error) => {
            stop_all(app, members, args.timeout);
            Err(error.into())
        }
    }
}

/// Follows consoles until one machine has ended and the others were stopped, and returns the exit
/// status of that one, or of the service that was chosen.
fn until_one_ends(
    app: &App,
    machines: &Machines,
    consoles: Vec<Console>,
    members: &[Member],
    args: &Args,
) -> Result<(), Failure> {
    let interrupt = &app.interrupt;
    let options = AbortOptions {
        failures: args.abort_on_container_failure,
        timeout: args.timeout,
    };
    let (followed, first) = std::thread::scope(|scope| {
        // The consoles end with their machines, so that nothing that was printed is lost.
        let stops = || flow::stop_after_first_end(machines, members, interrupt, options);
        let first = scope.spawn(stops);
        let followed = follow::follow(app, &mut app.ui.output(), consoles, interrupt);
        if followed.is_err() {
            interrupt.cancel();
        }
        (followed, first.join().unwrap_or(Ok(None)))
    });
    let first = match (followed, first?) {
        (Ok(Stopped::AllEnded), Some(first)) => first,
        (followed, _) => {
            stop_all(app, members, args.timeout);
            followed?;
            return Err(Failure::reported(Kind::Interrupted));
        }
    };
    let chosen = match &args.exit_code_from {
        Some(service) => members.iter().find(|member| member.service == *service),
        None => Some(&first),
    };
    let Some(chosen) = chosen else { return Ok(()) };
    let ended = machines.get(chosen.machine.id)?;
    match flow::exit_code(&ended).map(u8::try_from) {
        None | Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(Failure::reported(Kind::Guest(code))),
        Some(Err(_)) => Err(Failure::reported(Kind::Crashed)),
    }
}

/// Stops machines, those first that others do not need.
fn stop_all(app: &App, members: &[Member], timeout: Option<Duration>) {
    let machines = machines::existing(app);
    app.ui
        .info("stopping the machines; Ctrl-C again kills them");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| flow::kill_when_repeated(&machines, members, &app.interrupt, &done));
        for member in members.iter().rev() {
            if let Err(error) = flow::stop(&machines, &member.machine, timeout) {
                app.failure(&error.into());
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}

pub(super) fn scale_services(
    app: &App,
    mut definition: Definition,
    args: &ScaleArgs,
) -> Result<(), Failure> {
    set_numbers(&mut definition, &args.services)?;
    let names: Vec<String> = args.services.iter().map(|(name, _)| name.clone()).collect();
    let services = selected(&definition, &names, !args.no_deps)?;
    let members = make(app, &definition, &services, &CreateOptions::default())?;
    let _ = app.interrupt.listen();
    flow::start(app, &services, &members)?;
    print(app, &members)
}

pub(super) fn create(
    app: &App,
    mut definition: Definition,
    args: &CreateArgs,
) -> Result<(), Failure> {
    set_numbers(&mut definition, &args.creation.scale)?;
    let services = definition.services(&args.services.services)?;
    let options = args.creation.options();
    print(app, &make(app, &definition, &services, &options)?)
}

pub(super) fn down(app: &App, project: &Project, args: &DownArgs) -> Result<(), Failure> {
    let definition = project.definition.as_ref();
    if let Some(definition) = definition {
        definition.only(&args.services.services)?;
    }
    let held = flow::hold(app, &project.name)?;
    let options = DownOptions {
        services: &args.services.services,
        volumes: args.volumes,
        remove_orphans: args.remove_orphans,
        timeout: args.timeout,
    };
    for name in flow::down(app, &project.name, definition, options)? {
        app.ui.line(&name)?;
    }
    if let Some(definition) = definition.filter(|_| args.rmi.as_deref() == Some("all")) {
        for name in definition
            .remove_images(app)
            .map_err(compose::Error::from)?
        {
            app.ui.line(&name)?;
        }
    }
    held.forget();
    Ok(())
}

pub(super) fn build(app: &App, definition: &Definition, args: &BuildArgs) -> Result<(), Failure> {
    let mut building = args.dockerfile.options();
    building.no_cache |= args.no_cache;
    building.fresh |= args.no_cache || args.pull;
    building.agents.extend(args.ssh.iter().cloned());
    let options = ImageOptions {
        building,
        build: true,
        ..ImageOptions::default()
    };
    let services = selected(definition, &args.services.services, args.with_dependencies)?;
    for service in services.iter().filter(|service| service.build.is_some()) {
        let built = definition.build(app, service, &options)?;
        app.ui.line(&built)?;
    }
    if args.push {
        return push_services(app, definition, &services, false);
    }
    Ok(())
}

/// Returns the named services, with or without those that they need.
fn selected<'d>(
    definition: &'d Definition,
    names: &[String],
    dependencies: bool,
) -> Result<Vec<&'d Service>, Failure> {
    let services = if dependencies {
        definition.services(names)
    } else {
        definition.only(names)
    };
    Ok(services?)
}

pub(super) fn pull(app: &App, definition: &Definition, args: &PullArgs) -> Result<(), Failure> {
    let options = ImageOptions {
        pull: Some(args.policy),
        ..ImageOptions::default()
    };
    let mut tally = Tally::default();
    let mut pulled: Vec<&str> = Vec::new();
    for service in selected(definition, &args.services.services, args.include_deps)? {
        let Some(image) = &service.image else {
            continue;
        };
        if service.build.is_some() || pulled.contains(&image.as_str()) {
            continue;
        }
        pulled.push(image);
        let done = definition.prepare(app, service, &RunRequest::default(), &options);
        match done {
            Ok(_) => app.ui.line(image)?,
            Err(error) if args.ignore_pull_failures => app.ui.warn(&chain(&error)),
            Err(error) => {
                tally.count::<()>(app, Err(Failure::from(error).of_compose()));
            }
        }
    }
    tally.outcome()
}

pub(super) fn push(app: &App, definition: &Definition, args: &PushArgs) -> Result<(), Failure> {
    let services = selected(definition, &args.services.services, args.include_deps)?;
    push_services(app, definition, &services, args.ignore_push_failures)
}

fn push_services(
    app: &App,
    definition: &Definition,
    services: &[&Service],
    ignore_failures: bool,
) -> Result<(), Failure> {
    let _ = app.interrupt.listen();
    let mut tally = Tally::default();
    for service in services {
        match definition.push(app, service) {
            Ok(Some(name)) => app.ui.line(&name)?,
            Ok(None) => {}
            Err(error) if ignore_failures => app.ui.warn(&chain(&error)),
            Err(error) => {
                tally.count::<()>(app, Err(compose::Error::from(error)));
            }
        }
    }
    tally.outcome()
}
