//! `kraft compose watch`.

use std::time::{Duration, Instant};

use kraft_core::compose::{Service, WatchAction};
use kraft_engine::compose::definition::Definition;
use kraft_engine::compose::images::ImageOptions;
use kraft_engine::compose::state::{self, Member};
use kraft_engine::compose::up::{self as flow, CreateOptions};
use kraft_engine::compose::watch::{Change, Watcher};
use kraft_engine::copy;
use kraft_engine::interrupt::Interrupt;
use kraft_engine::machines;
use kraft_machine::Machines;
use kraft_sys::process::wait_readable;

use super::Services;
use crate::app::App;
use crate::failure::{Failure, Kind};

/// The time between two looks at the files.
const TURN: Duration = Duration::from_millis(500);

/// Build, restart or copy files when they change
///
/// Follow the rules in `develop` of services until Ctrl-C. `sync` copies changed files into volumes and
/// mounted directories; it removes none.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) services: Services,

    /// Do not create and start the services first
    #[arg(long)]
    no_up: bool,
}

pub(super) fn exec(app: &App, definition: &Definition, args: &Args) -> Result<(), Failure> {
    let names = &args.services.services;
    let mut watcher = watcher(app, definition, &definition.only(names)?)?;
    let interrupt = app.interrupt.listen();
    if !args.no_up {
        let services = definition.services(names)?;
        if let Some(warning) = definition.warning(&services) {
            app.ui.warn(&warning);
        }
        let held = flow::hold(app, &definition.project)?;
        let members = flow::create(app, definition, &services, &CreateOptions::default())?;
        drop(held);
        flow::start(app, &services, &members)?;
    }
    app.ui
        .info("watching the files; Ctrl-C ends this, and the machines continue");
    until_interrupted(app, definition, &mut watcher, &interrupt, &|_| {})?;
    Err(Failure::reported(Kind::Interrupted))
}

/// Returns what watches the files of services.
pub(super) fn watcher(
    app: &App,
    definition: &Definition,
    services: &[&Service],
) -> Result<Watcher, Failure> {
    let watcher = Watcher::new(app, definition, services)?;
    if watcher.is_empty() {
        let why = "no service has rules in `develop.watch`";
        return Err(Failure::new(Kind::Failed, why).hint("see docs/compose.md"));
    }
    Ok(watcher)
}

/// Does what the rules say until the user interrupts; `created` gets the machines of a service that may
/// have been created again.
pub(super) fn until_interrupted(
    app: &App,
    definition: &Definition,
    watcher: &mut Watcher,
    interrupt: &Interrupt,
    created: &dyn Fn(&[Member]),
) -> Result<(), Failure> {
    loop {
        let stop = interrupt.stop();
        let files: Vec<_> = stop.cancelled.into_iter().collect();
        wait_readable(&files, Some(Instant::now() + TURN))
            .map_err(|error| Failure::new(Kind::Failed, error))?;
        if interrupt.is_cancelled() {
            return Ok(());
        }
        for change in watcher.changes() {
            match follow(app, definition, &change) {
                Ok(members) => created(&members),
                // The next change may be the correction.
                Err(failure) => app.failure(&failure.of_compose()),
            }
        }
    }
}

/// Does what a rule says about changed files. Returns the machines if they may be other ones now.
fn follow(app: &App, definition: &Definition, change: &Change) -> Result<Vec<Member>, Failure> {
    let service = &change.service;
    let what = change.files.first().filter(|name| !name.is_empty());
    let what = what.map_or_else(|| change.root.display().to_string(), Clone::clone);
    app.ui.info(&format!("{service}: {what} has changed"));
    let machines = machines::existing(app);
    let members = || -> Result<Vec<Member>, Failure> {
        let mut members = state::members(&machines, &definition.project)?;
        members.retain(|member| member.service == *service);
        Ok(members)
    };
    match change.action {
        WatchAction::Rebuild => {
            let services = definition.only(std::slice::from_ref(service))?;
            let options = CreateOptions {
                images: ImageOptions {
                    build: true,
                    ..ImageOptions::default()
                },
                ..CreateOptions::default()
            };
            let _held = flow::hold(app, &definition.project)?;
            let members = flow::create(app, definition, &services, &options)?;
            flow::start(app, &services, &members)?;
            return Ok(members);
        }
        WatchAction::Restart => restart(app, &machines, &members()?)?,
        WatchAction::Sync => sync(app, &members()?, change)?,
        WatchAction::SyncRestart => {
            let members = members()?;
            sync(app, &members, change)?;
            restart(app, &machines, &members)?;
        }
    }
    Ok(Vec::new())
}

fn restart(app: &App, machines: &Machines, members: &[Member]) -> Result<(), Failure> {
    for member in members {
        flow::stop(machines, &member.machine, None)?;
        flow::start_one(app, machines, member)?;
    }
    Ok(())
}

/// Copies files into the machines of a service.
fn sync(app: &App, members: &[Member], change: &Change) -> Result<(), Failure> {
    let target = change.target.as_deref().unwrap_or("/");
    for file in &change.files {
        let (source, target) = if file.is_empty() {
            (change.root.clone(), target.to_owned())
        } else {
            (
                change.root.join(file),
                format!("{}/{file}", target.trim_end_matches('/')),
            )
        };
        if !source.exists() {
            continue;
        }
        for member in members {
            let id = member.machine.id.to_string();
            copy::copy_with_directories(app, &source, &id, target.as_ref())?;
        }
    }
    Ok(())
}
