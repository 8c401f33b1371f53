//! `kraft compose logs`.

use std::path::PathBuf;

use jiff::Timestamp;
use kraft_engine::compose::state::Member;
use kraft_engine::machines;
use kraft_machine::LogsOptions;

use super::Project;
use crate::app::App;
use crate::commands::logs::{Tail, print, tail, time};
use crate::failure::Failure;

/// Print the console output of services
///
/// Each line is prefixed with the name of its service.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,

    /// Follow the output until the machines end
    #[arg(short, long)]
    follow: bool,

    /// Print only this number of lines from the end of each console
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

    /// Select this machine of each service, by its number
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,

    /// Do not prefix lines with the names of services
    #[arg(long)]
    no_log_prefix: bool,

    /// Use this Compose file, as before the command
    #[arg(long = "file", hide = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) files: Vec<PathBuf>,
}

/// Returns the prefix of the lines of a machine: its service, with its number if there are several.
pub(super) fn title(members: &[Member], member: &Member) -> String {
    let same = |other: &&Member| other.service == member.service;
    if members.iter().filter(same).count() < 2 {
        return member.service.clone();
    }
    format!("{}-{}", member.service, member.number)
}

pub(super) fn exec(app: &App, project: &Project, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut members = project.members(&machines, &args.services)?;
    members.retain(|member| args.index.is_none_or(|index| member.number == index));
    if args.services.is_empty()
        && let Some(definition) = &project.definition
    {
        members.retain(|member| {
            let service = definition.compose.service(&member.service);
            service.is_none_or(|service| service.attach)
        });
    }
    let titles: Vec<String> = members.iter().map(|one| title(&members, one)).collect();
    let mut named = Vec::with_capacity(members.len());
    for (member, title) in members.iter().zip(&titles) {
        let options = LogsOptions {
            tail: args.tail.0,
            since: args.since,
            until: args.until,
            arrivals: args.timestamps,
            restarts: args.follow,
        };
        named.push((title.as_str(), machines.logs(&member.machine.id, options)?));
    }
    let prefixes = !args.no_log_prefix;
    print(app, named, prefixes, args.timestamps, args.follow)
}
