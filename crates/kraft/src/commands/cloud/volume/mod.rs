//! `kraft cloud volume`.

mod import;

use clap::Subcommand;
use kraft_cloud::request::Id;
use kraft_cloud::resources::Known;
use kraft_cloud::resources::volumes::{self, Mounted, Volume};

use super::choose::{self, Chosen, ids};
use super::list::{self, ListArgs};
use super::output::{self, Form, Shown, ago};
use super::service::names;
use super::shape::mebibytes;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::{Cloud, Where};

/// Look after volumes, which outlive instances
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a volume, and print its UUID
    #[command(visible_alias = "crt")]
    Create {
        /// Give it this name instead of one by chance
        #[arg(short, long)]
        name: Option<String>,
        /// Its size, such as 64Mi or 1G; a bare number counts MiB
        #[arg(short, long)]
        size: String,
    },
    /// Let an instance that does not run see a volume
    #[command(visible_alias = "at")]
    Attach {
        /// Its name or UUID
        volume: String,
        /// The name or UUID of the instance
        #[arg(long, value_name = "INSTANCE")]
        to: String,
        /// Where the instance sees it
        #[arg(long, value_name = "PATH")]
        at: String,
        /// Do not let the instance write to it
        #[arg(short, long)]
        read_only: bool,
    },
    /// Take a volume from the instances that see it
    #[command(visible_alias = "det")]
    Detach {
        /// Its name or UUID
        volume: String,
        /// Take it from this instance only
        #[arg(long, value_name = "INSTANCE")]
        from: Option<String>,
    },
    Import(Box<import::Args>),
    /// List volumes
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Tell everything about volumes
    #[command(visible_alias = "gt")]
    Get {
        /// Names or UUIDs
        #[arg(value_name = "VOLUME", required = true)]
        volumes: Vec<String>,
        /// Print in this form
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    /// Remove volumes, which no instance may see any more
    #[command(visible_aliases = ["rm", "delete", "del"])]
    Remove(Chosen),
}

type Field = Column<Volume>;

const UUID: Field = Column::new("UUID", |one| Cell::new(&one.uuid));
const NAME: Field = Column::new("NAME", |one| Cell::new(&one.name));
const AGE: Field = Column::new("CREATED AT", |one| Cell::new(ago(&one.created_at)));
const CREATED: Field = Column::new("CREATED AT", |one| Cell::new(&one.created_at));
const SIZE: Field = Column::new("SIZE", |one| Cell::new(format!("{} MiB", one.size_mb)));
const ATTACHED: Field = Column::new("ATTACHED TO", |one| Cell::new(names(&one.attached_to)));
const MOUNTED: Field = Column::new("MOUNTED BY", |one| {
    let all: Vec<String> = one.mounted_by.iter().map(mounted).collect();
    Cell::new(all.join(", "))
});
const STATE: Field = Column::new("STATE", |one| Cell::new(&one.state));
const PERSISTENT: Field = Column::new("PERSISTENT", |one| Cell::new(one.persistent.to_string()));

impl Shown for Volume {
    const TABLE: &'static [Field] = &[NAME, AGE, SIZE, ATTACHED, MOUNTED, STATE, PERSISTENT];
    const LIST: &'static [Field] = &[
        UUID, NAME, CREATED, SIZE, ATTACHED, MOUNTED, STATE, PERSISTENT,
    ];
}

fn mounted(by: &Mounted) -> String {
    let mode = if by.readonly { ":ro" } else { "" };
    format!("{}{mode}", by.title())
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, at)?;
    match &args.command {
        Command::Create { name, size } => {
            let request = volumes::create(name.as_deref(), mebibytes(size)?);
            app.ui.line(&cloud.send(&request)?.one()?.uuid)
        }
        Command::Attach {
            volume,
            to,
            at,
            read_only,
        } => {
            let request = volumes::attach(&Id::new(volume), &Id::new(to), at, *read_only);
            app.ui.line(&cloud.send(&request)?.one()?.uuid)
        }
        Command::Detach { volume, from } => {
            let from = from.as_deref().map(Id::new);
            let request = volumes::detach(&Id::new(volume), from.as_ref());
            app.ui.line(&cloud.send(&request)?.one()?.uuid)
        }
        Command::Import(args) => import::exec(app, &mut cloud, args),
        Command::List(args) => list::exec(app, &cloud, args, &volumes::get(&[])),
        Command::Get { volumes, output } => {
            output::print(app, *output, cloud.send(&volumes::get(&ids(volumes)))?)
        }
        Command::Remove(chosen) => {
            let ids = chosen.ids(&cloud, &volumes::get(&[]))?;
            choose::each(app, &cloud, &chosen.told, &ids, volumes::remove)
        }
    }
}
