//! Names for completion, looked up on this host.
//!
//! Nothing is reported and nothing uses the network: a shell shows neither errors nor a wait. What
//! takes longer than [`DEADLINE`] is not offered.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use kraft_build::names::scan;
use kraft_cloud::endpoint::METROS;
use kraft_config::keys::{self, Kind, Known};
use kraft_core::event::Silent;
use kraft_core::machine::MachineState;
use kraft_core::reference::{DEFAULT_REGISTRY, Reference};
use kraft_deploy::CloudOptions;
use kraft_deploy::compose::Stack;
use kraft_engine::context::{Context, NoPrompt};
use kraft_engine::project::{self, Project};
use kraft_engine::workplace::Workplace;
use kraft_engine::{catalog, images, machines};
use kraft_oci::store::Store;

use crate::app::App;
use crate::completion::{Candidate, LookUp, Names};

/// Maximum time of a lookup.
const DEADLINE: Duration = Duration::from_millis(80);

/// Returns the lookup of names.
pub(super) fn look_up(app: &App) -> LookUp {
    let mut ctx = Context::clone(app);
    ctx.reporter = Arc::new(Silent);
    ctx.ask = Arc::new(NoPrompt);
    ctx.settings.offline = true;
    Arc::new(move |names, current| {
        let (ctx, names, current) = (ctx.clone(), names.clone(), current.to_owned());
        let (sender, receiver) = mpsc::channel();
        let work = move || {
            let found = find(&ctx, &names, &current).unwrap_or_default();
            let _ = sender.send(found);
        };
        // A lookup that takes too long is left behind: it ends with the process.
        let started = thread::Builder::new().spawn(work);
        let found = started.map(|_| receiver.recv_timeout(DEADLINE));
        found.ok().and_then(Result::ok).unwrap_or_default()
    })
}

/// Finds names; `None` if they cannot be found out.
fn find(ctx: &Context, names: &Names, current: &str) -> Option<Vec<Candidate>> {
    Some(match names {
        Names::Machines { command } => of_machines(ctx, command),
        Names::Keys => keys::ALL
            .iter()
            .map(|key| candidate(key.name, key.help))
            .collect(),
        Names::Values { key } => match Known::find(key)?.kind() {
            Kind::Choice(values) => values.iter().map(|value| candidate(value, "")).collect(),
            Kind::Switch => vec![candidate("true", ""), candidate("false", "")],
            Kind::Text(_) | Kind::Path | Kind::Size(_) | Kind::List(_) => return None,
        },
        Names::Images => of_images(&stored(ctx)?, current),
        Names::KnownImages => {
            let mut names = stored(ctx).unwrap_or_default();
            let mut rows = Vec::new();
            let _ = catalog::add(ctx, &mut rows, false);
            names.extend(rows.into_iter().map(|row| row.name));
            of_images(&names, current)
        }
        Names::Targets => of_targets(&open(ctx)?),
        Names::Options { assigned } => {
            let mut options = of_options(ctx, &open(ctx)?, current)?;
            for option in options.iter_mut().filter(|_| *assigned) {
                option.word.push('=');
            }
            options
        }
        Names::Metros => of_metros(ctx),
        Names::Services => Stack::open(ctx, None, None, &[])
            .ok()?
            .compose
            .services
            .iter()
            .map(|service| candidate(&service.name, service.image.as_deref().unwrap_or_default()))
            .collect(),
        Names::Libraries => open(ctx)?
            .kraftfile
            .libraries
            .iter()
            .map(|library| candidate(&library.name.value, ""))
            .collect(),
        Names::Hosts => {
            let hosts = ctx.settings.credentials.iter();
            let mut hosts: Vec<&str> = hosts.map(|(host, _, _)| host.as_str()).collect();
            hosts.dedup();
            hosts.into_iter().map(|host| candidate(host, "")).collect()
        }
    })
}

fn candidate(word: &str, about: &str) -> Candidate {
    Candidate {
        word: word.to_owned(),
        about: about.to_owned(),
    }
}

/// Returns the machines that a command applies to.
fn of_machines(ctx: &Context, command: &str) -> Vec<Candidate> {
    use MachineState::{
        Created, Errored, Exited, Failed, Paused, Restarting, Running, Suspended, Unknown,
    };

    let fits = |state: MachineState| match command {
        "pause" => matches!(state, Running | Restarting),
        "unpause" => matches!(state, Paused | Suspended),
        "stop" => matches!(state, Running | Paused | Suspended | Restarting),
        "start" => matches!(state, Created | Exited | Errored | Failed | Paused),
        _ => state != Unknown || command == "remove",
    };
    let machines = machines::readable(ctx).into_iter();
    machines
        .filter(|machine| fits(machine.state))
        .map(|machine| {
            let about = format!("{}, {}", machine.state.name(), machine.spec.origin);
            candidate(&machine.name, &about)
        })
        .collect()
}

/// Returns the names of the images in the store, which is not created.
fn stored(ctx: &Context) -> Option<Vec<Reference>> {
    let store: Arc<dyn Store> = images::open_as_it_is(ctx).ok()?;
    let names = store.names().ok()?.into_iter();
    Some(names.map(|named| named.name).collect())
}

/// Returns images as users type them: those of the default registry without it, unless it is begun.
fn of_images(names: &[Reference], current: &str) -> Vec<Candidate> {
    let mut words: Vec<String> = names
        .iter()
        .map(|name| {
            let full = name.to_string();
            let short = full
                .strip_prefix(DEFAULT_REGISTRY)
                .and_then(|rest| rest.strip_prefix('/'));
            match short {
                Some(short) if short.starts_with(current) => short.to_owned(),
                Some(_) | None => full,
            }
        })
        .collect();
    words.sort_unstable();
    words.dedup();
    words.iter().map(|word| candidate(word, "image")).collect()
}

/// Opens the project in the current directory.
fn open(ctx: &Context) -> Option<Project> {
    let draft = project::read(ctx, None, None).ok()?;
    draft.into_project().ok().map(|(project, _)| project)
}

/// Returns the targets of a project: `PLATFORM/ARCH`, and the names that only one target has.
fn of_targets(project: &Project) -> Vec<Candidate> {
    let targets = project.resolved().targets;
    let mut found = Vec::new();
    for target in &targets {
        let label = project::label(target);
        let same = targets.iter().filter(|other| other.name == target.name);
        if same.count() == 1 {
            found.push(candidate(&target.name, &label));
        }
        let pair = format!("{}/{}", target.platform, target.architecture);
        found.push(candidate(&pair, &label));
    }
    found.dedup_by(|one, other| one.word == other.word);
    found
}

/// Returns the KConfig options of a project: those that its components define, and those that a
/// target was built with. The prefix `CONFIG_` is offered where it is begun.
fn of_options(ctx: &Context, project: &Project, current: &str) -> Option<Vec<Candidate>> {
    let workplace = Workplace::find(ctx, project).ok()?;
    let components = workplace.components();
    let mut dirs: Vec<PathBuf> = Vec::new();
    for dir in [&components, &components.join("libs")] {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let components = entries.filter(|entry| {
            let name = entry.file_name();
            name != "build" && name != "libs"
        });
        // Components may be links to directories.
        dirs.extend(components.filter_map(|entry| entry.path().canonicalize().ok()));
    }
    dirs.push(project.dir.clone());
    let dirs: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
    let mut names = scan(&dirs);
    for target in &project.resolved().targets {
        let config = project::built_config(&workplace, target).unwrap_or_default();
        for (name, value) in config.iter() {
            let name = name.strip_prefix("CONFIG_").unwrap_or(name);
            let about = names.entry(name.to_owned()).or_default();
            about.get_or_insert_with(|| value.to_owned());
        }
    }
    let begun = current.starts_with("CONFIG_");
    let begun = begun || (current.len() > 1 && "CONFIG_".starts_with(current));
    let prefix = if begun { "CONFIG_" } else { "" };
    let words = names.iter().map(|(name, about)| {
        let about = about.as_deref().unwrap_or_default();
        candidate(&format!("{prefix}{name}"), about)
    });
    Some(words.collect())
}

/// Returns the public metros, and the one that the environment names.
fn of_metros(ctx: &Context) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = METROS
        .iter()
        .map(|metro| candidate(metro.code, metro.location))
        .collect();
    if let Some(metro) = CloudOptions::default().metro(ctx)
        && found.iter().all(|other| other.word != metro)
    {
        found.push(candidate(&metro, "from the environment"));
    }
    found
}
