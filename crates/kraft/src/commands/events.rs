//! `kraft events`.

use std::time::Duration;

use jiff::Timestamp;
use kraft_core::machine::EndReason;
use kraft_machine::{EventKind, MachineEvent};
use serde::Serialize;

use super::logs::time;
use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::{Failure, Kind};
use kraft_engine::machines;

/// Print events of machines as they happen
///
/// Print one line for each event of a machine from now on, until Ctrl-C.
///
/// With `--since` or `--until`, earlier events are printed first: of each machine that exists its creation,
/// and the events of its last run.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft events
  kraft events --since 1h alice
  kraft events --since 2026-01-31T12:00:00Z --until 2026-01-31T13:00:00Z
  kraft events -o json | jq -c 'select(.event == \"ended\")'")]
pub(crate) struct Args {
    /// Machines, by name, id or unique prefix of either (default: all)
    #[arg(value_name = MACHINE)]
    machines: Vec<String>,

    #[command(flatten)]
    period: Period,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// The time of the events to print.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Period {
    /// Also print the events since this time or age (such as 10m)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,

    /// Print the events until this time or age, and exit then
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    until: Option<Timestamp>,
}

impl Period {
    /// Returns how long to wait for an event at most; `None` if the period is over.
    fn left(self) -> Option<Duration> {
        let Some(until) = self.until else {
            return Some(WAIT);
        };
        let left = until.duration_since(Timestamp::now());
        Duration::try_from(left).ok().map(|left| left.min(WAIT))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Human-readable lines
    Text,
    /// One JSON object per line
    Json,
}

impl Output {
    /// Returns JSON or text.
    pub(crate) const fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// How long an event is waited for at a time.
const WAIT: Duration = Duration::from_hours(1);

/// One event as JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    at: Timestamp,
    id: String,
    name: &'a str,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a EndReason>,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut chosen = Vec::new();
    for word in &args.machines {
        chosen.push(machines.resolve(word)?);
    }
    let is_chosen = |event: &MachineEvent| chosen.is_empty() || chosen.contains(&event.id);
    follow(app, args.period, args.output, is_chosen)
}

/// Prints events as they happen, until the user interrupts or the period is over.
pub(crate) fn follow(
    app: &App,
    period: Period,
    output: Output,
    mut is_chosen: impl FnMut(&MachineEvent) -> bool,
) -> Result<(), Failure> {
    let begin = match (period.since, period.until) {
        (Some(since), Some(until)) if since > until => {
            let error = format!("`--since` ({since}) is after `--until` ({until})");
            return Err(Failure::usage(error));
        }
        (None, Some(_)) => Some(Timestamp::MIN),
        (since, _) => since,
    };
    let machines = machines::existing(app);
    let interrupt = app.interrupt.listen();
    let mut events = match begin {
        Some(since) => machines.events_since(since)?,
        None => machines.events()?,
    };
    let runtime = app.runtime()?;
    loop {
        let left = period.left();
        let next = runtime.spawn_blocking(move || {
            let next = events.next(left.unwrap_or_default());
            (events, next)
        });
        let Ok(waited) = runtime.block_on(interrupt.unless(next)) else {
            // An interrupt is the regular end of this command, not a failure.
            return Ok(());
        };
        let next;
        (events, next) = waited.map_err(|error| Failure::new(Kind::Failed, error))?;
        match next? {
            Some(event) if period.until.is_some_and(|until| event.at > until) => return Ok(()),
            Some(event) if is_chosen(&event) => app.ui.line(&line(output, &event)?)?,
            None if left.is_none() => return Ok(()),
            Some(_) | None => {}
        }
    }
}

fn line(output: Output, event: &MachineEvent) -> Result<String, Failure> {
    let (word, end) = match &event.kind {
        EventKind::Created => ("created", None),
        EventKind::Started => ("started", None),
        EventKind::Paused => ("paused", None),
        EventKind::Unpaused => ("unpaused", None),
        EventKind::Suspended => ("suspended", None),
        EventKind::Woken => ("woken", None),
        EventKind::Ended(reason) => ("ended", Some(reason)),
        EventKind::Removed => ("removed", None),
    };
    let line = Line {
        at: event.at,
        id: event.id.to_string(),
        name: &event.name,
        event: word,
        end,
    };
    match output {
        Output::Json => {
            serde_json::to_string(&line).map_err(|error| Failure::new(Kind::Failed, error))
        }
        Output::Text => {
            let how = end.map_or_else(String::new, |end| {
                format!(": {}", machines::how_it_ended(end))
            });
            Ok(format!("{} {} {word}{how}", event.at, event.name))
        }
    }
}
