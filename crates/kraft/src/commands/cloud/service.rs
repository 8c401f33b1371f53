//! `kraft cloud service`.

use std::time::Duration;

use clap::Subcommand;
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::services::{self, CreateGroup, Group};
use kraft_cloud::resources::{Change, Known, Named};
use serde_json::{Value, json};

use super::choose::{self, Chosen};
use super::edit;
use super::instance::logs::{self, FormArgs};
use super::output::{self, Form, Shown, ago};
use super::resource::{Queries, Resource};
use super::shape::DomainArgs;
use crate::app::App;
use crate::commands::values;
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
    Edit(EditArgs),
    /// Print the logs of the instances of services
    #[command(visible_alias = "log")]
    Logs {
        /// Names or UUIDs
        #[arg(value_name = "SERVICE", required = true)]
        services: Vec<String>,
        #[command(flatten)]
        form: FormArgs,
    },
    /// Remove the instances of services, and wait until they are gone
    Drain {
        /// Names or UUIDs
        #[arg(value_name = "SERVICE", required = true)]
        services: Vec<String>,
    },
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

    /// Remove the service when it had no instance for this time
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    autokill: Option<Duration>,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

/// Change a service in place, and print what changed
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft cloud service edit front --publish 6379:6379/tls --domain shop.example
  kraft cloud service edit front --unpublish 80 --soft-limit 10")]
struct EditArgs {
    /// Name or UUID
    service: String,

    /// Publish a port as well
    #[arg(short, long, value_name = "PORT[:PORT][/HANDLERS]")]
    publish: Vec<String>,

    /// Unpublish a port
    #[arg(long, value_name = "PORT")]
    unpublish: Vec<u16>,

    #[command(flatten)]
    domains: DomainArgs,

    /// Remove a domain, given by its whole name
    #[arg(long, value_name = "DOMAIN")]
    remove_domain: Vec<String>,

    /// Number of concurrent requests per instance that starts another instance
    #[arg(short = 'l', long, value_name = "N")]
    soft_limit: Option<u32>,

    /// Largest number of concurrent requests per instance; more are refused
    #[arg(short = 'L', long, value_name = "N")]
    hard_limit: Option<u32>,

    /// Remove the service when it had no instance for this time; 0 never does
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    autokill: Option<Duration>,

    /// Print what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl EditArgs {
    fn changes(&self) -> Result<Vec<Change>, Failure> {
        let mut all = Vec::new();
        let mut change = |prop: &str, op, value| {
            all.push(Change {
                prop: prop.to_owned(),
                op,
                value: Some(value),
            });
        };
        // What is added may replace what is removed.
        if !self.unpublish.is_empty() {
            change("services", "del", json!(self.unpublish));
        }
        let published = ports::parse(&self.publish)?;
        if !published.is_empty() {
            change("services", "add", json!(published));
        }
        if !self.remove_domain.is_empty() {
            change("domains", "del", json!(self.remove_domain));
        }
        let domains = self.domains.wanted()?;
        if !domains.is_empty() {
            change("domains", "add", json!(domains));
        }
        for (prop, limit) in [
            ("soft_limit", self.soft_limit),
            ("hard_limit", self.hard_limit),
        ] {
            if let Some(limit) = limit {
                change(prop, "set", json!(limit));
            }
        }
        if let Some(time) = self.autokill {
            change("autokill", "set", idle(time));
        }
        if all.is_empty() {
            return Err(Failure::usage("nothing to change")
                .hint("change a property, such as `--publish 443:8080` or `--soft-limit 10`"));
        }
        Ok(all)
    }
}

/// Returns the value of an `autokill` after an idle time.
pub(super) fn idle(time: Duration) -> Value {
    json!({"time_ms": u64::try_from(time.as_millis()).unwrap_or(u64::MAX)})
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
        Command::Edit(args) => edit::run(
            app,
            &cloud,
            &["services"],
            &args.service,
            &args.changes()?,
            args.dry_run,
        ),
        Command::Logs { services, form } => {
            cloud.catch_interrupts();
            match deployed::instances(&cloud, &choose::ids(services))?.as_slice() {
                [] => Ok(()),
                instances => logs::print(app, &cloud, instances, form),
            }
        }
        Command::Drain { services } => {
            cloud.catch_interrupts();
            for name in deployed::drain(app, &cloud, &choose::ids(services))? {
                app.ui.line(&name)?;
            }
            Ok(())
        }
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
        autokill: args.autokill.map(idle),
    };
    let created = cloud.one(&services::create(&wanted))?;
    let answer = cloud.send(&services::get(&[created.id()]))?;
    output::print(app, args.output, answer)
}
