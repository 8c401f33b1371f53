//! `kraft cloud instance`.

use std::time::Duration;

use clap::Subcommand;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, Instance};

use super::output::{self, Form};
use crate::app::App;
use crate::failure::Failure;
use crate::ops::cloud::{Cloud, Where};
use crate::ui::{Cell, Column};

/// Look after instances
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List instances
    #[command(visible_alias = "ls")]
    List {
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    /// Tell everything about instances
    #[command(visible_aliases = ["status", "info"])]
    Get {
        /// Names or UUIDs
        #[arg(value_name = "INSTANCE", required = true)]
        instances: Vec<String>,
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    /// Start instances
    #[command(visible_alias = "str")]
    Start(Chosen),
    /// Stop instances
    #[command(visible_alias = "st")]
    Stop {
        #[command(flatten)]
        chosen: Chosen,
        /// Kill them instead of asking them
        #[arg(short, long)]
        force: bool,
    },
    /// Remove instances; those that run are killed
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove(Chosen),
}

/// Which instances.
#[derive(Debug, clap::Args)]
struct Chosen {
    /// Names or UUIDs
    #[arg(
        value_name = "INSTANCE",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    instances: Vec<String>,

    /// Every instance
    #[arg(short, long)]
    all: bool,
}

const COLUMNS: &[Column<Instance>] = &[
    Column {
        title: "NAME",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "FQDN",
        cell: |row| Cell::new(row.fqdn().unwrap_or_default()),
    },
    Column {
        title: "STATE",
        cell: |row| Cell::new(&row.state),
    },
    Column {
        title: "IMAGE",
        cell: |row| Cell::new(&row.image),
    },
    Column {
        title: "MEMORY",
        cell: |row| Cell::new(format!("{} MiB", row.memory_mb)),
    },
    Column {
        title: "VCPUS",
        cell: |row| Cell::new(row.vcpus.to_string()),
    },
    Column {
        title: "ARGS",
        cell: |row| Cell::new(row.args.join(" ")),
    },
    Column {
        title: "BOOT TIME",
        cell: |row| Cell::new(boot_time(row.boot_time_us)),
    },
];

/// Returns a time in microseconds as people read it: `12.34 ms`.
fn boot_time(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let cloud = Cloud::open(app, at)?;
    match &args.command {
        Command::List { output } => {
            output::print(app, *output, cloud.send(&instances::get(&[]))?, COLUMNS)
        }
        Command::Get { instances, output } => {
            let answer = cloud.send(&instances::get(&ids(instances)))?;
            output::print(app, *output, answer, COLUMNS)
        }
        Command::Start(chosen) => each(app, &cloud, chosen, |ids| {
            instances::start(ids, Duration::ZERO)
        }),
        Command::Stop { chosen, force } => each(app, &cloud, chosen, |ids| {
            instances::stop(ids, *force, Duration::ZERO)
        }),
        Command::Remove(chosen) => each(app, &cloud, chosen, instances::remove),
    }
}

fn ids(words: &[String]) -> Vec<Id> {
    words.iter().map(|word| Id::new(word)).collect()
}

/// Does something to the chosen instances, and prints the name of each.
fn each(
    app: &App,
    cloud: &Cloud,
    chosen: &Chosen,
    request: impl Fn(&[Id]) -> kraft_cloud::request::Request<kraft_cloud::resources::Named>,
) -> Result<(), Failure> {
    let ids = if chosen.all {
        let all = cloud.send(&instances::get(&[]))?.all()?;
        all.into_iter().map(|one| Id::Uuid(one.uuid)).collect()
    } else {
        ids(&chosen.instances)
    };
    if ids.is_empty() {
        return Ok(());
    }
    output::names(app, cloud.send(&request(&ids))?)
}
