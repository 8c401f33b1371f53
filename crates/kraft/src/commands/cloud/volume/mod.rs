//! `kraft cloud volume`.

mod import;

use clap::Subcommand;
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::Known;
use kraft_cloud::resources::volumes::{self, Mounted, Volume};

use super::choose::{self, Chosen};
use super::output::{Shown, ago};
use super::resource::{Queries, Resource};
use super::service::names;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::{Cloud, CloudOptions};

/// Manage volumes, which persist beyond instances
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
        /// Name of the volume (default: a random one)
        #[arg(short, long)]
        name: Option<String>,
        /// Size, such as 64Mi or 1G; a number without a unit is in MiB
        #[arg(short, long)]
        size: String,
    },
    /// Attach a volume to a stopped instance
    #[command(visible_alias = "at")]
    Attach {
        /// Name or UUID of the volume
        volume: String,
        /// Name or UUID of the instance
        #[arg(long, value_name = "INSTANCE")]
        to: String,
        /// Path of the volume inside the instance
        #[arg(long, value_name = "PATH")]
        at: String,
        /// Mount the volume read-only
        #[arg(short, long)]
        read_only: bool,
    },
    /// Detach a volume from its instances
    #[command(visible_alias = "det")]
    Detach {
        /// Name or UUID of the volume
        volume: String,
        /// Detach it only from this instance
        #[arg(long, value_name = "INSTANCE")]
        from: Option<String>,
    },
    Import(Box<import::Args>),
    #[command(flatten)]
    Queries(Queries<Volume>),
    /// Remove volumes that no instance uses
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

impl Resource for Volume {
    const VALUE_NAME: &'static str = "VOLUME";
    const LIST_HELP: &'static str = "List volumes";
    const GET_HELP: &'static str = "Show details of volumes";

    fn get(ids: &[Id]) -> Request<Self> {
        volumes::get(ids)
    }
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, options)?;
    match &args.command {
        Command::Create { name, size } => {
            let request = volumes::create(name.as_deref(), kraft_deploy::volumes::mebibytes(size)?);
            app.ui.line(&cloud.one(&request)?.uuid)
        }
        Command::Attach {
            volume,
            to,
            at,
            read_only,
        } => {
            let request = volumes::attach(&Id::new(volume), &Id::new(to), at, *read_only);
            app.ui.line(&cloud.one(&request)?.uuid)
        }
        Command::Detach { volume, from } => {
            let from = from.as_deref().map(Id::new);
            let request = volumes::detach(&Id::new(volume), from.as_ref());
            app.ui.line(&cloud.one(&request)?.uuid)
        }
        Command::Import(args) => import::exec(app, &mut cloud, args),
        Command::Queries(queries) => queries.exec(app, &cloud),
        Command::Remove(chosen) => {
            let ids = chosen.ids::<Volume>(&cloud)?;
            choose::change(app, &cloud, &chosen.output, &ids, volumes::remove)
        }
    }
}
