//! Names for completion, looked up on this host.
//!
//! Nothing is reported and nothing uses the network: a shell shows neither errors nor a wait. What
//! takes longer than [`DEADLINE`] is not offered.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use kraft_cloud::endpoint::METROS;
use kraft_config::keys::{self, Kind, Known};
use kraft_core::event::Silent;
use kraft_core::machine::MachineState;
use kraft_deploy::CloudOptions;
use kraft_engine::candidates::{self, Candidate};
use kraft_engine::compose::definition::{self, OpenOptions};
use kraft_engine::context::{Context, NoPrompt};

use crate::app::App;
use crate::completion::{LookUp, Names};

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
        Names::Machines { command } => candidates::machines(ctx, |state| fits(command, state)),
        Names::Keys => keys::ALL
            .iter()
            .map(|key| Candidate::new(key.name, key.help))
            .collect(),
        Names::Values { key } => match Known::find(key)?.kind() {
            Kind::Choice(values) => bare(values.iter().copied()),
            Kind::Switch => bare(["true", "false"]),
            Kind::Text(_) | Kind::Path | Kind::Size(_) | Kind::List(_) => return None,
        },
        Names::Images => candidates::images(ctx, current, false),
        Names::KnownImages => candidates::images(ctx, current, true),
        Names::Targets => candidates::targets(ctx, None),
        Names::Options { assigned } => {
            let mut options = candidates::options(ctx, None, current);
            for option in options.iter_mut().filter(|_| *assigned) {
                option.word.push('=');
            }
            options
        }
        Names::Metros => of_metros(ctx),
        Names::Services => definition::open(ctx, &OpenOptions::default())
            .ok()?
            .compose
            .services
            .into_iter()
            .map(|service| Candidate::new(service.name, service.image.unwrap_or_default()))
            .collect(),
        Names::Libraries => candidates::libraries(ctx, None),
        Names::Volumes => candidates::volumes(ctx),
        Names::Snapshots => candidates::snapshots(ctx),
        Names::Hosts => {
            let hosts = ctx.settings.credentials.iter();
            let mut hosts: Vec<&str> = hosts.map(|(host, _, _)| host.as_str()).collect();
            hosts.dedup();
            bare(hosts)
        }
    })
}

/// Returns candidates without a description.
fn bare<'w>(words: impl IntoIterator<Item = &'w str>) -> Vec<Candidate> {
    let words = words.into_iter();
    words.map(|word| Candidate::new(word, "")).collect()
}

/// Returns whether a command applies to machines in this state.
fn fits(command: &str, state: MachineState) -> bool {
    use MachineState::{
        Created, Errored, Exited, Failed, Paused, Restarting, Running, Suspended, Unknown,
    };

    match command {
        "pause" => matches!(state, Running | Restarting),
        "top" => matches!(state, Running | Paused | Suspended),
        "unpause" | "resume" => matches!(state, Paused | Suspended),
        "suspend" => matches!(state, Running | Paused),
        "stop" => matches!(state, Running | Paused | Suspended | Restarting),
        "start" => matches!(
            state,
            Created | Exited | Errored | Failed | Paused | Suspended
        ),
        _ => state != Unknown || command == "remove",
    }
}

/// Returns the public metros, and the one that the environment names.
fn of_metros(ctx: &Context) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = METROS
        .iter()
        .map(|metro| Candidate::new(metro.code, metro.location))
        .collect();
    if let Ok(Some(metro)) = CloudOptions::default().metro(ctx)
        && found.iter().all(|other| other.word != metro)
    {
        found.push(Candidate::new(metro, "from the environment"));
    }
    found
}
