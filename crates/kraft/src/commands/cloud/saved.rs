//! `kraft cloud instance template`, `checkpoint` and `history`.

use std::time::Duration;

use clap::Subcommand;
use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, Instance, Saved};
use kraft_cloud::resources::{self, Named};
use serde_json::{Map, Value, json};

use super::choose::{self, ids};
use super::edit;
use super::output::{self, Form};
use super::service::idle;
use crate::app::App;
use crate::commands::values;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::Cloud;

/// Manage templates, which instances are cloned from
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
#[command(after_long_help = "\
Examples:
  kraft cloud instance template create web
  kraft cloud instance create --template web -S")]
pub(super) struct TemplateArgs {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Debug, Subcommand)]
enum TemplateCommand {
    /// Turn instances into templates; they cease to run
    #[command(visible_alias = "new")]
    Create {
        /// Names or UUIDs
        #[arg(value_name = "INSTANCE", required = true)]
        instances: Vec<String>,
        /// Time to wait until they are saved
        #[arg(short, long, value_name = "TIME", default_value = "60s",
              value_parser = values::duration)]
        wait: Duration,
        /// Remove a template that was not cloned for this time
        #[arg(long, value_name = "TIME", value_parser = values::duration)]
        autokill: Option<Duration>,
    },
    #[command(flatten)]
    Common(Common),
}

/// Manage checkpoints, which instances are restored from
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
#[command(after_long_help = "\
Examples:
  kraft cloud instance checkpoint create --name before-update web
  kraft cloud instance create --checkpoint before-update -S")]
pub(super) struct CheckpointArgs {
    #[command(subcommand)]
    command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// Save a checkpoint of an instance, which continues to run
    #[command(visible_alias = "new")]
    Create {
        /// Name or UUID
        instance: String,
        /// Name of the checkpoint (default: a random one)
        #[arg(short, long)]
        name: Option<String>,
        /// Set a tag
        #[arg(long, value_name = "TAG")]
        tag: Vec<String>,
        /// Remove the checkpoint when it was not restored for this time
        #[arg(long, value_name = "TIME", value_parser = values::duration)]
        autokill: Option<Duration>,
    },
    #[command(flatten)]
    Common(Common),
}

/// The commands that both have.
#[derive(Debug, Subcommand)]
enum Common {
    /// List them
    #[command(visible_alias = "ls")]
    List {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    /// Show details
    Get {
        /// Names or UUIDs
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    /// Change the tags of one, or protect it from its removal, and print what changed
    Edit(edit::TagArgs),
    /// Remove them
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove(choose::Chosen),
}

pub(super) fn template(app: &App, cloud: &Cloud, args: &TemplateArgs) -> Result<(), Failure> {
    match &args.command {
        TemplateCommand::Create {
            instances,
            wait,
            autokill,
        } => {
            let mut more = Map::new();
            if let Some(time) = autokill {
                more.insert("autokill".to_owned(), idle(*time));
            }
            let ids = ids(instances);
            cloud.all(&resources::look_up(&["instances"], &ids))?;
            let request = instances::make_template(&ids, *wait, &more);
            output::names(app, cloud.send(&request)?)
        }
        TemplateCommand::Common(common) => exec(app, cloud, Saved::Template, common),
    }
}

pub(super) fn checkpoint(app: &App, cloud: &Cloud, args: &CheckpointArgs) -> Result<(), Failure> {
    match &args.command {
        CheckpointCommand::Create {
            instance,
            name,
            tag,
            autokill,
        } => {
            let mut more = Map::new();
            if let Some(time) = autokill {
                more.insert("autokill".to_owned(), idle(*time));
            }
            if !tag.is_empty() {
                more.insert("tags".to_owned(), json!(tag));
            }
            let from = Id::new(instance);
            cloud.one(&resources::look_up(
                &["instances"],
                std::slice::from_ref(&from),
            ))?;
            let request = instances::make_checkpoint(&from, name.as_deref(), &more);
            output::names(app, cloud.send(&request)?)
        }
        CheckpointCommand::Common(common) => exec(app, cloud, Saved::Checkpoint, common),
    }
}

fn exec(app: &App, cloud: &Cloud, kind: Saved, command: &Common) -> Result<(), Failure> {
    match command {
        Common::List { output } => {
            let rows = cloud.all(&kind.get(&[]))?;
            output::columns(app, *output, &rows, COLUMNS)
        }
        Common::Get { names, output } => {
            output::print(app, *output, cloud.send(&kind.get(&ids(names)))?)
        }
        Common::Edit(args) => edit::tags(app, cloud, &kind.path(), args),
        Common::Remove(chosen) => {
            let ids = if chosen.all {
                resources::ids(&cloud.all(&kind.get(&[]))?)
            } else {
                ids(&chosen.names)
            };
            choose::change(app, cloud, &chosen.output, &ids, |ids| kind.remove(ids))
        }
    }
}

/// The columns of a list of saved instances.
const COLUMNS: &[Column<Instance>] = &[
    Column::new("NAME", |one| Cell::new(&one.name)),
    Column::new("IMAGE", |one| {
        Cell::new(resources::images::without_host(&one.image))
    }),
    Column::new("MEMORY", |one| Cell::new(format!("{} MiB", one.memory_mb))),
    Column::new("TAGS", |one| Cell::new(list(one.more.get("tags")))),
    Column::new("CREATED AT", |one| Cell::new(output::ago(&one.created_at))),
];

/// Returns a list of texts, separated by commas.
pub(super) fn list(texts: Option<&Value>) -> String {
    let texts = texts.and_then(Value::as_array).into_iter().flatten();
    let texts: Vec<&str> = texts.filter_map(Value::as_str).collect();
    texts.join(", ")
}

/// Show the checkpoints that an instance came from
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    /// Name or UUID
    instance: String,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

const HISTORY: &[Column<Named>] = &[
    Column::new("NAME", |one| Cell::new(&one.name)),
    Column::new("UUID", |one| Cell::new(&one.uuid)),
    Column::new("CREATED AT", |one| {
        let time = one.more.get("created_at").and_then(Value::as_str);
        Cell::new(output::ago(time.unwrap_or_default()))
    }),
];

pub(super) fn history(app: &App, cloud: &Cloud, args: &HistoryArgs) -> Result<(), Failure> {
    let one = cloud.one(&instances::get(&[Id::new(&args.instance)]))?;
    let found = cloud.one(&instances::history(&one.uuid))?;
    output::columns(app, args.output, &found.history, HISTORY)
}
