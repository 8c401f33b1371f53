//! `kraft cloud service`.

use clap::Subcommand;
use kraft_cloud::resources::services::{self, CreateGroup, Group};
use kraft_cloud::resources::{Known, Named};

use super::choose::{self, Chosen, ids};
use super::list::{self, ListArgs};
use super::output::{self, Form, Shown, ago};
use super::shape::DomainArgs;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::{Cloud, Where, ports, vacancy};

/// Look after services: published ports and the domains they are at
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
    /// List services
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Tell everything about services
    #[command(visible_alias = "gt")]
    Get {
        /// Names or UUIDs
        #[arg(value_name = "SERVICE", required = true)]
        services: Vec<String>,
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    /// Remove services, which must have no instances
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove {
        #[command(flatten)]
        chosen: Chosen,
        /// Wait until they have no instances any more
        #[arg(long)]
        wait_empty: bool,
    },
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The published ports; a lone 443 is a web site, with plain HTTP pointed to it
    #[arg(value_name = "PORT[:PORT][/HANDLERS]")]
    ports: Vec<String>,

    /// Give it this name instead of one by chance
    #[arg(short, long)]
    name: Option<String>,

    #[command(flatten)]
    domains: DomainArgs,

    /// So much at once for an instance wakes another one
    #[arg(short = 'l', long, value_name = "N")]
    soft_limit: Option<u32>,

    /// More than this at once for an instance is refused
    #[arg(short = 'L', long, value_name = "N")]
    hard_limit: Option<u32>,

    /// Print in this form
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
    let all: Vec<String> = one.services.iter().map(ports::shown).collect();
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

/// Returns what people call things by, one after the other.
pub(super) fn names(things: &[Named]) -> String {
    let all: Vec<&str> = things.iter().map(Named::title).collect();
    all.join(", ")
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, at)?;
    match &args.command {
        Command::Create(args) => create(app, &cloud, args),
        Command::List(args) => list::exec(app, &cloud, args, &services::get(&[])),
        Command::Get { services, output } => {
            output::print(app, *output, cloud.send(&services::get(&ids(services)))?)
        }
        Command::Remove { chosen, wait_empty } => {
            let ids = chosen.ids(&cloud, &services::get(&[]))?;
            if *wait_empty {
                cloud.listen();
                vacancy::wait(app, &cloud, &ids)?;
            }
            choose::each(app, &cloud, &chosen.told, &ids, services::remove)
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
    let made = cloud.send(&services::create(&wanted))?.one()?;
    let answer = cloud.send(&services::get(&[made.id()]))?;
    output::print(app, args.output, answer)
}
