//! `kraft logs`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kraft_core::machine::EndReason;
use kraft_machine::{Logs, LogsOptions, Machine};

use super::values::{self, PlatformArg};
use crate::app::App;
use crate::commands::tally::Tally;
use crate::completion::MACHINE;
use crate::failure::{Failure, Kind};
use kraft_engine::follow::{self, Stopped};
use kraft_engine::machines;

/// Print the console output of machines
///
/// Print what machines have written to their consoles since their last start. With several
/// machines, each line is prefixed with the name of its machine.
///
/// At most `console_limit` (64Mi) of each console is stored: the oldest output is removed first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft logs alice
  kraft logs --follow alice bob
  kraft logs --tail 20 --timestamps alice
  kraft logs --since 10m alice
  kraft logs --since 2026-01-31T12:00:00Z --until 2026-01-31T12:05:00Z alice")]
pub(crate) struct Args {
    /// Machines, by name, id or unique prefix of either
    #[arg(value_name = MACHINE, required = true)]
    machines: Vec<String>,

    /// Follow the output until the machines end and their restart policies do not start them again
    #[arg(short, long)]
    follow: bool,

    /// Print only this number of lines from the end
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", hide_default_value = true,
          allow_negative_numbers = true, value_parser = tail)]
    tail: Tail,

    /// Print only lines since this time or age (such as 10m)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,

    /// Print only lines until this time or age
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "follow")]
    until: Option<Timestamp>,

    /// Prefix each line with the time of its arrival, within 10 ms
    #[arg(short, long)]
    timestamps: bool,

    /// Do not prefix lines with the names of machines
    #[arg(long)]
    no_prefix: bool,

    /// Select only machines on this platform
    #[arg(short, long, value_name = "PLATFORM", default_value = "auto", hide_default_value = true,
          value_parser = values::platform())]
    plat: PlatformArg,
}

/// Number of lines from the end; `None` for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail(pub(super) Option<u64>);

pub(super) fn tail(text: &str) -> Result<Tail, String> {
    match text {
        // Older tools use `-1` for all.
        "all" | "-1" => Ok(Tail(None)),
        _ => text
            .parse()
            .map(|count| Tail(Some(count)))
            .map_err(|_| "expected a number of lines, or all".to_owned()),
    }
}

pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    values::time(text, Timestamp::now(), &TimeZone::system())
}

/// Prints consoles, each with its title, until they end or their machines do.
pub(super) fn print(
    app: &App,
    named: Vec<(&str, Logs)>,
    prefixes: bool,
    timestamps: bool,
    follow: bool,
) -> Result<(), Failure> {
    let consoles = follow::consoles(named, prefixes, app.ui.colour());
    let consoles = consoles
        .into_iter()
        .map(|console| console.timestamps(timestamps))
        .collect();
    if !follow {
        return Ok(follow::dump(app, &mut app.ui.output(), consoles)?);
    }
    let interrupt = app.interrupt.listen();
    match follow::follow(app, &mut app.ui.output(), consoles, &interrupt)? {
        Stopped::AllEnded => Ok(()),
        Stopped::Interrupted => Err(Failure::reported(Kind::Interrupted)),
    }
}

/// Returns whether a machine ended because its VMM failed, and the log of the VMM is not empty.
fn has_failed_vmm(machine: &Machine) -> bool {
    let failed = matches!(machine.end, Some(EndReason::MonitorFailed { .. }));
    failed && std::fs::metadata(&machine.log).is_ok_and(|meta| meta.len() > 0)
}

fn vmm_log(machine: &Machine) -> String {
    let Machine { name, log, .. } = machine;
    format!("the VMM of `{name}` failed; its log: `{}`", log.display())
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for word in &args.machines {
        found.extend(tally.count(app, machines.find(word)));
    }
    found.retain(|machine| args.plat.means(machine.spec.platform));
    let mut named = Vec::new();
    let options = LogsOptions {
        tail: args.tail.0,
        since: args.since,
        until: args.until,
        arrivals: args.timestamps,
        restarts: args.follow,
    };
    for machine in &found {
        let logs = machines.logs(&machine.id, options.clone());
        let logs = tally.count(app, logs);
        named.extend(logs.map(|logs| (machine.name.as_str(), logs)));
    }
    let prefixes = args.machines.len() > 1 && !args.no_prefix;
    let failed = found.iter().filter(|machine| has_failed_vmm(machine));
    let logs: Vec<String> = failed.map(vmm_log).collect();
    print(app, named, prefixes, args.timestamps, args.follow)?;
    for log in logs {
        app.ui.warn(&log);
    }
    tally.outcome()
}
