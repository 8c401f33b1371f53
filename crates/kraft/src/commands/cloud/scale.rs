//! `kraft cloud scale`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use kraft_cloud::request::Id;
use kraft_cloud::resources::autoscale::{
    self, Autoscale, CreateAutoscale, Policy, Step, StepError,
};
use kraft_cloud::resources::instances::{self, CreateInstance};
use kraft_cloud::resources::services::{self, Group};
use kraft_cloud::resources::{self, Known};
use serde_json::{Map, json};

use super::choose::{self, OutputArgs};
use super::output::{self, Form, Shown};
use super::shape::value_name;
use crate::app::App;
use crate::commands::values;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column};
use kraft_deploy::created::Created;
use kraft_deploy::{Cloud, CloudOptions, launch};

/// Scale services automatically
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
    /// Show the scaling of services
    #[command(visible_alias = "gt")]
    Get {
        /// Names or UUIDs of services (default: all)
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        /// Show these policies of the service instead
        #[arg(short, long, value_name = "POLICY", requires = "services")]
        policy: Vec<String>,
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    /// Remove policies of a service
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove {
        /// Name or UUID of the service
        service: String,
        /// Names of the policies
        #[arg(value_name = "POLICY", required = true)]
        policies: Vec<String>,
    },
    /// Stop scaling services
    #[command(visible_aliases = ["rs", "delconfig", "deinit", "rmconfig"])]
    Reset {
        /// Names or UUIDs
        #[arg(value_name = "SERVICE", required = true)]
        services: Vec<String>,
    },
}

/// Start scaling a service
#[derive(Debug, clap::Args)]
struct InitArgs {
    /// Name or UUID of the service
    service: String,

    /// Name or UUID of the instance to replicate
    #[arg(short = 'i', long, value_name = "INSTANCE", visible_alias = "instance")]
    master: Option<String>,

    /// Name or UUID of the template to clone
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "master")]
    template: Option<String>,

    /// Minimum number of instances
    #[arg(short, long, value_name = "N", default_value = "1")]
    min_size: u32,

    /// Maximum number of instances
    #[arg(short = 'M', long, value_name = "N", default_value = "10")]
    max_size: u32,

    /// Time for which a new instance counts as starting
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = values::duration)]
    warmup_time: Duration,

    /// Minimum time between two changes
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = values::duration)]
    cooldown_time: Duration,
}

/// Add a policy that decides when the number of instances changes
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A step sets the adjustment while the metric is between two bounds. The first bound is inclusive; one
of both may be left out.

Example: kraft cloud scale add shop -n cpu -s 600:800/50 -s 800:/100 -a percent")]
struct AddArgs {
    /// Name or UUID of the service
    service: String,

    /// Name of the policy
    #[arg(short, long)]
    name: String,

    /// Steps of the policy, at most four
    #[arg(
        short,
        long,
        value_name = "FROM:TO/ADJUSTMENT",
        required = true,
        allow_hyphen_values = true
    )]
    step: Vec<String>,

    /// Metric to measure
    #[arg(short, long, default_value = "cpu")]
    metric: String,

    /// Meaning of the adjustment
    #[arg(short, long, value_name = "KIND", default_value = "change")]
    adjustment: Adjustment,
}

/// The meaning of the number of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Adjustment {
    /// Change of the number of instances
    Change,
    /// New number of instances
    #[value(alias = "absolute")]
    Exact,
    /// Change of the number of instances, in percent
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
    let origin = one.master.as_ref().or(one.template.as_ref());
    Cell::new(origin.map_or("", |origin| origin.title()))
});
const POLICIES: Field = Column::new("POLICIES", |one| {
    let names: Vec<&str> = one.policies.iter().map(|one| one.name.as_str()).collect();
    Cell::new(names.join(";"))
});

/// Returns a cell that is empty unless the service is scaled.
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
        let steps: Vec<String> = one.steps.iter().map(Step::to_string).collect();
        Cell::new(steps.join(" "))
    }),
];

impl Shown for Policy {
    const TABLE: &'static [Column<Self>] = POLICY;
    const LIST: &'static [Column<Self>] = POLICY;
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let cloud = Cloud::open(app, options)?;
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
                let each = names.iter().map(|name| autoscale::policy(&uuid, name));
                output::print(app, *output, cloud.send_all(each)?)
            }
            (_, [_, ..]) => Err(Failure::usage("`--policy` requires exactly one service")),
            (services, []) => {
                let answer = cloud.send(&autoscale::get(&choose::ids(services)))?;
                output::print(app, *output, answer)
            }
        },
        Command::Remove { service, policies } => {
            let uuid = group(&cloud, service)?.uuid;
            let each = policies
                .iter()
                .map(|name| autoscale::remove_policy(&uuid, name));
            output::names(app, cloud.send_all(each)?)
        }
        Command::Reset { services } => {
            let ids = choose::ids(services);
            choose::change(app, &cloud, &OutputArgs::default(), &ids, autoscale::reset)
        }
    }
}

/// Looks up a service: requests about policies accept only UUIDs.
fn group(cloud: &Cloud, name: &str) -> Result<Group, Failure> {
    Ok(cloud.one(&services::get(&[Id::new(name)]))?)
}

fn init(app: &App, cloud: &Cloud, args: &InitArgs) -> Result<(), Failure> {
    if args.min_size > args.max_size {
        return Err(Failure::usage("`--min-size` is greater than `--max-size`"));
    }
    let group = group(cloud, &args.service)?;
    let master = match (&args.master, &args.template) {
        (Some(master), _) => Id::new(master),
        (None, Some(template)) => Id::new(template),
        (None, None) => choose_master(app, &group)?,
    };
    let wanted = CreateAutoscale {
        group: group.id(),
        master,
        min_size: args.min_size,
        max_size: args.max_size,
        warmup: args.warmup_time,
        cooldown: args.cooldown_time,
    };
    let request = match &args.template {
        Some(template) => autoscale::create_from(&Id::new(template), &wanted),
        // Today's platform clones templates only.
        None if cloud.speaks_today()? => {
            let template = template_of(app, cloud, &wanted.master)?;
            autoscale::create_from(&template, &wanted)
        }
        None => autoscale::create(&wanted),
    };
    cloud.one(&request)?;
    app.ui.line(&group.name)
}

/// Makes a template of a copy of an instance, which is not changed itself.
fn template_of(app: &App, cloud: &Cloud, master: &Id) -> Result<Id, Failure> {
    // The template is requested by the query and the body.
    let master = resources::look_up(&["instances"], std::slice::from_ref(master));
    let master = cloud.one(&master)?;
    let copy = CreateInstance {
        name: Some(format!("{}-template", master.title())),
        more: [("branch_from".to_owned(), json!(master.id()))]
            .into_iter()
            .collect(),
        ..CreateInstance::default()
    };
    let made = launch::create(app, cloud, &mut Created::default(), &copy)?;
    let copy = made.first().ok_or_else(|| {
        Failure::new(
            Kind::Failed,
            "the platform did not create a copy of the instance",
        )
    })?;
    let request = instances::make_template(&[copy.id()], TEMPLATE_TIME, &Map::new());
    cloud.one(&request)?;
    app.ui.info(&format!(
        "instances are cloned from the template {}",
        copy.title()
    ));
    Ok(copy.id())
}

/// How long a template may take to be saved.
const TEMPLATE_TIME: std::time::Duration = std::time::Duration::from_mins(1);

/// Returns the instance to replicate: the only one, or the one that the user selects.
fn choose_master(app: &App, group: &Group) -> Result<Id, Failure> {
    let names: Vec<String> = group
        .instances
        .iter()
        .map(|one| one.title().to_owned())
        .collect();
    let at = match names.len() {
        1 => Some(0),
        0 => None,
        _ => app.select("Which instance is replicated?", &names)?,
    };
    let chosen = at.and_then(|at| group.instances.get(at));
    chosen.map(Known::id).ok_or_else(|| {
        let there = if names.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        Failure::usage(format!(
            "no instance of `{}` is selected to be replicated: {there}",
            group.name
        ))
        .hint("select one: `--master INSTANCE`")
    })
}

fn add(app: &App, cloud: &Cloud, args: &AddArgs) -> Result<(), Failure> {
    let policy = Policy {
        name: args.name.clone(),
        sort: "step".to_owned(),
        metric: args.metric.clone(),
        adjustment_type: value_name(&args.adjustment),
        steps: args
            .step
            .iter()
            .map(|text| step(text))
            .collect::<Result<_, _>>()?,
        ..Policy::default()
    };
    let group = group(cloud, &args.service)?;
    let request = autoscale::add_policy(&group.uuid, &policy);
    cloud.one(&request)?;
    app.ui.line(&policy.name)
}

/// Parses the argument of `--step`.
fn step(text: &str) -> Result<Step, Failure> {
    text.parse().map_err(|error: StepError| {
        Failure::usage(error)
            .hint("write `--step FROM:TO/ADJUSTMENT`, such as `600:800/2`, `:200/-1` or `800:/50`")
    })
}
