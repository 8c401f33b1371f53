//! `kraft cloud service`.

use clap::Subcommand;
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::services::{self, CreateGroup, Group};
use kraft_cloud::resources::{Known, Named};

use super::choose::{self, Chosen};
use super::output::{self, Form, Shown, ago};
use super::resource::{Queries, Resource};
use super::shape::DomainArgs;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::{Cloud, CloudOptions, ports, services as deployed};

/// Manage services: published ports and their domains
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a service
    #[command(visible_alias = "new")]
    Create(CreateArgs),
    #[command(flatten)]
    Queries(Queries<Group>),
    /// Remove services that have no instances
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove {
        #[command(flatten)]
        chosen: Chosen,
        /// Wait until the services have no instances
        #[arg(long)]
        wait_empty: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(mut_arg("certificate", |arg| arg.short_alias('c')))]
struct CreateArgs {
    /// Ports to publish; a single 443 is a web site, with plain HTTP redirected to it
    #[arg(value_name = "PORT[:PORT][/HANDLERS]")]
    ports: Vec<String>,

    /// Name of the service (default: a random one)
    #[arg(short, long)]
    name: Option<String>,

    #[command(flatten)]
    domains: DomainArgs,

    /// Number of concurrent requests per instance that starts another instance
    #[arg(short = 'l', long, value_name = "N")]
    soft_limit: Option<u32>,

    /// Largest number of concurrent requests per instance; more are refused
    #[arg(short = 'L', long, value_name = "N")]
    hard_limit: Option<u32>,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

type Field = Column<Group>;

const UUID: Field = Column::new("UUID", |one| Cell::new(&one.uuid));
const NAME: Field = Column::new("NAME", |one| Cell::new(&one.name));
const FQDN: Field = Column::new("FQDN", |one| {
    let names: Vec<&str> = one
        .domains
        .iter()
        .map(|domain| domain.fqdn.as_str())
        .collect();
    Cell::new(names.join(", "))
});
const SERVICES: Field = Column::new("SERVICES", |one| {
    let all: Vec<String> = one.services.iter().map(ports::format).collect();
    Cell::new(all.join(" "))
});
const INSTANCES: Field = Column::new("INSTANCES", |one| Cell::new(names(&one.instances)));
const AGE: Field = Column::new("CREATED AT", |one| Cell::new(ago(&one.created_at)));
const CREATED: Field = Column::new("CREATED AT", |one| Cell::new(&one.created_at));
const PERSISTENT: Field = Column::new("PERSISTENT", |one| Cell::new(one.persistent.to_string()));
const SOFT: Field = Column::new("SOFT LIMIT", |one| Cell::new(one.soft_limit.to_string()));
const HARD: Field = Column::new("HARD LIMIT", |one| Cell::new(one.hard_limit.to_string()));

impl Shown for Group {
    const TABLE: &'static [Field] = &[NAME, FQDN, SERVICES, INSTANCES, AGE, PERSISTENT];
    const LIST: &'static [Field] = &[
        UUID, NAME, FQDN, SERVICES, INSTANCES, CREATED, PERSISTENT, SOFT, HARD,
    ];
}

/// Returns the names of resources, separated by commas.
pub(super) fn names(things: &[Named]) -> String {
    let all: Vec<&str> = things.iter().map(Named::title).collect();
    all.join(", ")
}

impl Resource for Group {
    const VALUE_NAME: &'static str = "SERVICE";
    const LIST_HELP: &'static str = "List services";
    const GET_HELP: &'static str = "Show details of services";

    fn get(ids: &[Id]) -> Request<Self> {
        services::get(ids)
    }
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, options)?;
    match &args.command {
        Command::Create(args) => create(app, &cloud, args),
        Command::Queries(queries) => queries.exec(app, options, &cloud),
        Command::Remove { chosen, wait_empty } => {
            let ids = chosen.ids::<Group>(&cloud)?;
            if *wait_empty {
                cloud.catch_interrupts();
                deployed::wait_empty(app, &cloud, &ids)?;
            }
            choose::change(app, &cloud, &chosen.output, &ids, services::remove)
        }
    }
}

fn create(app: &App, cloud: &Cloud, args: &CreateArgs) -> Result<(), Failure> {
    let wanted = CreateGroup {
        name: args.name.clone(),
        services: ports::parse(&args.ports)?,
        domains: args.domains.wanted()?,
        soft_limit: args.soft_limit,
        hard_limit: args.hard_limit,
    };
    let created = cloud.one(&services::create(&wanted))?;
    let answer = cloud.send(&services::get(&[created.id()]))?;
    output::print(app, args.output, answer)
}
