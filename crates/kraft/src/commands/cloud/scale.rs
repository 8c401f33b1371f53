//! `kraft cloud scale`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use kraft_cloud::request::Id;
use kraft_cloud::resources::Known;
use kraft_cloud::resources::autoscale::{self, Autoscale, CreateAutoscale, Policy, Step};
use kraft_cloud::resources::services::{self, Group};

use super::choose::{self, Told};
use super::output::{self, Form, Shown};
use super::shape::word;
use crate::app::App;
use crate::commands::values;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::{Cloud, Where};

/// Let services have as many instances as they need
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_aliases = ["i", "initialise", "initialize"])]
    Init(InitArgs),
    #[command(visible_alias = "a")]
    Add(AddArgs),
    /// Tell how services are scaled
    #[command(visible_alias = "gt")]
    Get {
        /// Names or UUIDs of services; all if there are none
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        /// Tell about these policies of the service instead
        #[arg(short, long, value_name = "POLICY", requires = "services")]
        policy: Vec<String>,
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    /// Remove policies of a service
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove {
        /// Its name or UUID
        service: String,
        /// Their names
        #[arg(value_name = "POLICY", required = true)]
        policies: Vec<String>,
    },
    /// Cease to scale services
    #[command(visible_aliases = ["rs", "delconfig", "deinit", "rmconfig"])]
    Reset {
        /// Names or UUIDs
        #[arg(value_name = "SERVICE", required = true)]
        services: Vec<String>,
    },
}

/// Begin to scale a service
#[derive(Debug, clap::Args)]
struct InitArgs {
    /// Its name or UUID
    service: String,

    /// The instance that is copied: its name or UUID
    #[arg(short = 'i', long, value_name = "INSTANCE", visible_alias = "instance")]
    master: Option<String>,

    /// At least so many instances
    #[arg(short, long, value_name = "N", default_value = "1")]
    min_size: u32,

    /// At most so many instances
    #[arg(short = 'M', long, value_name = "N", default_value = "10")]
    max_size: u32,

    /// How long a new instance counts as starting
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = values::duration)]
    warmup_time: Duration,

    /// How long nothing more is changed after a change
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = values::duration)]
    cooldown_time: Duration,
}

/// Add a policy, which decides when there are more or fewer instances
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A step says what is done while the metric is between two bounds, the first included; one of both may
be missing.

Example: kraft cloud scale add shop -n cpu -s 600:800/50 -s 800:/100 -a percent")]
struct AddArgs {
    /// The name or UUID of the service
    service: String,

    /// The name of the policy
    #[arg(short, long)]
    name: String,

    /// Its steps, at most four
    #[arg(
        short,
        long,
        value_name = "FROM:TO/ADJUSTMENT",
        required = true,
        allow_hyphen_values = true
    )]
    step: Vec<String>,

    /// What is measured
    #[arg(short, long, default_value = "cpu")]
    metric: String,

    /// What the adjustment means
    #[arg(short, long, value_name = "KIND", default_value = "change")]
    adjustment: Adjustment,
}

/// What the number of a step means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Adjustment {
    /// So many instances more, or fewer
    Change,
    /// So many instances in all
    #[value(alias = "absolute")]
    Exact,
    /// So many per cent more, or fewer
    Percent,
}

type Field = Column<Autoscale>;

const UUID: Field = Column::new("UUID", |one| Cell::new(&one.uuid));
const NAME: Field = Column::new("NAME", |one| Cell::new(&one.name));
const ENABLED: Field = Column::new("ENABLED", |one| Cell::new(one.enabled.to_string()));
const MIN: Field = Column::new("MIN SIZE", |one| number(one, one.min_size));
const MAX: Field = Column::new("MAX SIZE", |one| number(one, one.max_size));
const WARMUP: Field = Column::new("WARMUP (MS)", |one| number(one, one.warmup_time_ms));
const COOLDOWN: Field = Column::new("COOLDOWN (MS)", |one| number(one, one.cooldown_time_ms));
const MASTER: Field = Column::new("MASTER", |one| {
    Cell::new(one.master.as_ref().map_or("", |master| master.title()))
});
const POLICIES: Field = Column::new("POLICIES", |one| {
    let names: Vec<&str> = one.policies.iter().map(|one| one.name.as_str()).collect();
    Cell::new(names.join(";"))
});

/// Returns a number that only counts where there is scaling.
fn number(one: &Autoscale, number: u64) -> Cell {
    if one.enabled {
        Cell::new(number.to_string())
    } else {
        Cell::default()
    }
}

impl Shown for Autoscale {
    const TABLE: &'static [Field] = &[NAME, ENABLED, MIN, MAX, WARMUP, COOLDOWN, MASTER, POLICIES];
    const LIST: &'static [Field] = &[
        UUID, NAME, ENABLED, MIN, MAX, WARMUP, COOLDOWN, MASTER, POLICIES,
    ];
}

const POLICY: &[Column<Policy>] = &[
    Column::new("NAME", |one| Cell::new(&one.name)),
    Column::new("TYPE", |one| Cell::new(&one.sort)),
    Column::new("METRIC", |one| Cell::new(&one.metric)),
    Column::new("ADJUSTMENT", |one| Cell::new(&one.adjustment_type)),
    Column::new("STEPS", |one| {
        let steps: Vec<String> = one.steps.iter().map(shown).collect();
        Cell::new(steps.join(" "))
    }),
];

impl Shown for Policy {
    const TABLE: &'static [Column<Self>] = POLICY;
    const LIST: &'static [Column<Self>] = POLICY;
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let cloud = Cloud::open(app, at)?;
    match &args.command {
        Command::Init(args) => init(app, &cloud, args),
        Command::Add(args) => add(app, &cloud, args),
        Command::Get {
            services,
            policy,
            output,
        } => match (services.as_slice(), policy.as_slice()) {
            ([service], names @ [_, ..]) => {
                let uuid = group(&cloud, service)?.uuid;
                output::print(
                    app,
                    *output,
                    cloud.send(&autoscale::policies(&uuid, names))?,
                )
            }
            (_, [_, ..]) => Err(Failure::usage("policies are those of one service")),
            (services, []) => {
                let answer = cloud.send(&autoscale::get(&choose::ids(services)))?;
                output::print(app, *output, answer)
            }
        },
        Command::Remove { service, policies } => {
            let uuid = group(&cloud, service)?.uuid;
            output::names(
                app,
                cloud.send(&autoscale::remove_policies(&uuid, policies))?,
            )
        }
        Command::Reset { services } => {
            let ids = choose::ids(services);
            choose::each(app, &cloud, &Told::default(), &ids, autoscale::reset)
        }
    }
}

/// Returns a service: the calls about policies take UUIDs only.
fn group(cloud: &Cloud, typed: &str) -> Result<Group, Failure> {
    Ok(cloud.send(&services::get(&[Id::new(typed)]))?.one()?)
}

fn init(app: &App, cloud: &Cloud, args: &InitArgs) -> Result<(), Failure> {
    if args.min_size > args.max_size {
        return Err(Failure::usage("`--min-size` is above `--max-size`"));
    }
    let group = group(cloud, &args.service)?;
    let master = match &args.master {
        Some(master) => Id::new(master),
        None => choose_master(app, &group)?,
    };
    let request = autoscale::create(&CreateAutoscale {
        group: group.id(),
        master,
        min_size: args.min_size,
        max_size: args.max_size,
        warmup: args.warmup_time,
        cooldown: args.cooldown_time,
    });
    cloud.send(&request)?.one()?;
    app.ui.line(&group.name)
}

/// Returns the instance that is copied: the only one, or the one that the user chooses.
fn choose_master(app: &App, group: &Group) -> Result<Id, Failure> {
    let names: Vec<String> = group
        .instances
        .iter()
        .map(|one| one.title().to_owned())
        .collect();
    let at = match names.len() {
        1 => Some(0),
        0 => None,
        _ => app.select("Which instance is copied?", &names)?,
    };
    let chosen = at.and_then(|at| group.instances.get(at));
    chosen.map(Known::id).ok_or_else(|| {
        let there = if names.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        Failure::usage(format!(
            "which instance of `{}` is to be copied? {there}",
            group.name
        ))
        .hint("name it: `--master INSTANCE`")
    })
}

fn add(app: &App, cloud: &Cloud, args: &AddArgs) -> Result<(), Failure> {
    let policy = Policy {
        name: args.name.clone(),
        sort: "step".to_owned(),
        metric: args.metric.clone(),
        adjustment_type: word(&args.adjustment),
        steps: args
            .step
            .iter()
            .map(|text| step(text))
            .collect::<Result<_, _>>()?,
        ..Policy::default()
    };
    let group = group(cloud, &args.service)?;
    let request = autoscale::add_policy(&group.uuid, &policy);
    cloud.send(&request)?.one()?;
    app.ui.line(&policy.name)
}

/// Understands `FROM:TO/ADJUSTMENT`.
fn step(text: &str) -> Result<Step, Failure> {
    let wrong = || {
        Failure::usage(format!("`--step {text}` is no step"))
            .hint("write FROM:TO/ADJUSTMENT, such as `600:800/2`, `:200/-1` or `800:/50`")
    };
    let (bounds, adjustment) = text.split_once('/').ok_or_else(wrong)?;
    let (from, to) = bounds.split_once(':').ok_or_else(wrong)?;
    let bound = |text: &str| match text {
        "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| wrong()),
    };
    let step = Step {
        lower_bound: bound(from)?,
        upper_bound: bound(to)?,
        adjustment: adjustment.parse().map_err(|_| wrong())?,
    };
    match (step.lower_bound, step.upper_bound) {
        (None, None) => Err(wrong()),
        (Some(from), Some(to)) if from >= to => Err(wrong()),
        _ => Ok(step),
    }
}

/// Returns a step as it is typed.
fn shown(step: &Step) -> String {
    let bound = |bound: Option<i64>| bound.map(|one| one.to_string()).unwrap_or_default();
    format!(
        "{}:{}/{}",
        bound(step.lower_bound),
        bound(step.upper_bound),
        step.adjustment
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_back_as_they_are_typed() {
        for text in ["600:800/2", ":200/-1", "800:/50"] {
            assert_eq!(shown(&step(text).unwrap()), text);
        }
        for bad in ["", "1:2", ":/1", "2:1/1", "a:b/1", "1:2/x", "1/2"] {
            assert!(step(bad).is_err(), "{bad}");
        }
    }
}
