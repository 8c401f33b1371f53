//! `kraft cloud volume`.

mod import;

use clap::Subcommand;
use kraft_cloud::request::{Id, Request};
use kraft_cloud::resources::instances;
use kraft_cloud::resources::volumes::{self, Mounted, Volume};
use kraft_cloud::resources::{self, Change, Known, Named};
use serde_json::{Map, Value, json};

use super::choose::{self, Chosen};
use super::edit::{TagArgs, tags};
use super::output::{self, Form, Shown, ago};
use super::resource::{Queries, Resource};
use super::saved::list;
use super::service::names;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column};
use kraft_deploy::{Cloud, CloudOptions, edit};

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
        #[arg(short, long, required_unless_present = "template")]
        size: Option<String>,
        /// Copy this template
        #[arg(long, value_name = "TEMPLATE")]
        template: Option<String>,
        /// Set a tag
        #[arg(long, value_name = "TAG")]
        tag: Vec<String>,
    },
    /// Copy a volume, and print the UUID of the copy
    Clone {
        /// Name or UUID of the volume
        volume: String,
        /// Name of the copy (default: a random one)
        #[arg(short, long)]
        name: Option<String>,
    },
    /// Enlarge a volume
    Resize {
        /// Name or UUID of the volume
        volume: String,
        /// New size, such as 64Mi or 1G; a number without a unit is in MiB
        #[arg(short, long)]
        size: String,
    },
    /// Change the tags of a volume, or protect it from its removal, and print what changed
    Edit(TagArgs),
    Template(TemplateArgs),
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
const TAGS: Field = Column::new("TAGS", |one| Cell::new(list(one.more.get("tags"))));
const PERSISTENT: Field = Column::new("PERSISTENT", |one| Cell::new(one.persistent.to_string()));

impl Shown for Volume {
    const TABLE: &'static [Field] = &[NAME, AGE, SIZE, ATTACHED, MOUNTED, STATE, PERSISTENT];
    const LIST: &'static [Field] = &[
        UUID, NAME, CREATED, SIZE, ATTACHED, MOUNTED, STATE, PERSISTENT, TAGS,
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

/// Manage templates, which volumes are copied from
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
struct TemplateArgs {
    #[command(subcommand)]
    command: TemplateCommand,
}

#[derive(Debug, Subcommand)]
enum TemplateCommand {
    /// Turn volumes that no instance uses into templates
    #[command(visible_alias = "new")]
    Create {
        /// Names or UUIDs
        #[arg(value_name = "VOLUME", required = true)]
        volumes: Vec<String>,
    },
    /// List templates
    #[command(visible_alias = "ls")]
    List {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    /// Show details of templates
    #[command(visible_aliases = ["status", "info", "gt"])]
    Get {
        /// Names or UUIDs
        #[arg(value_name = "TEMPLATE", required = true)]
        templates: Vec<String>,
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "list")]
        output: Form,
    },
    /// Change the tags of a template, or protect it from its removal, and print what changed
    Edit(TagArgs),
    /// Remove templates
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove {
        /// Names or UUIDs
        #[arg(value_name = "TEMPLATE", required = true)]
        templates: Vec<String>,
    },
}

const TEMPLATE: &[Field] = &[NAME, SIZE, TAGS, AGE];

fn template(app: &App, cloud: &Cloud, args: &TemplateArgs) -> Result<(), Failure> {
    match &args.command {
        TemplateCommand::Create { volumes } => {
            let ids = choose::ids(volumes);
            cloud.all(&resources::look_up(&["volumes"], &ids))?;
            output::names(app, cloud.send(&volumes::make_template(&ids))?)
        }
        TemplateCommand::List { output } => {
            let rows = cloud.all(&volumes::templates(&[]))?;
            output::columns(app, *output, &rows, TEMPLATE)
        }
        TemplateCommand::Get { templates, output } => {
            let request = volumes::templates(&choose::ids(templates));
            output::print(app, *output, cloud.send(&request)?)
        }
        TemplateCommand::Edit(args) => tags(app, cloud, &volumes::TEMPLATES, args),
        TemplateCommand::Remove { templates } => {
            let request = volumes::remove_templates(&choose::ids(templates));
            output::names(app, cloud.send(&request)?)
        }
    }
}

fn is_named(one: &Named, id: &Id) -> bool {
    match id {
        Id::Uuid(uuid) => uuid.eq_ignore_ascii_case(&one.uuid),
        Id::Name(name) => *name == one.name,
    }
}

/// Fails unless a volume is attached to an instance, or to any, or is not: the platform may have
/// ignored what it was asked.
fn is_attached(
    cloud: &Cloud,
    uuid: &str,
    instance: Option<&Id>,
    wanted: bool,
) -> Result<Volume, Failure> {
    let volume = cloud.one(&volumes::get(&[Id::Uuid(uuid.to_owned())]))?;
    let is = |one: &Named| instance.is_none_or(|id| is_named(one, id));
    if volume.attached_to.iter().any(is) == wanted {
        return Ok(volume);
    }
    let done = if wanted { "attach" } else { "detach" };
    let text = format!(
        "the platform did not {done} the volume `{}`",
        volume.title()
    );
    Err(Failure::new(Kind::Failed, text))
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, options)?;
    match &args.command {
        Command::Create {
            name,
            size,
            template,
            tag,
        } => {
            let mut wanted = Map::new();
            let size = size.as_deref().map(kraft_deploy::volumes::mebibytes);
            let fields = [
                ("name", name.as_ref().map(|name| json!(name))),
                ("size_mb", size.transpose()?.map(|size| json!(size))),
                (
                    "template",
                    template.as_deref().map(|one| json!(Id::new(one))),
                ),
                ("tags", (!tag.is_empty()).then(|| json!(tag))),
            ];
            for (field, value) in fields {
                wanted.extend(value.map(|value| (field.to_owned(), value)));
            }
            let request = volumes::create_with(Value::Object(wanted));
            app.ui.line(&cloud.one(&request)?.uuid)
        }
        Command::Clone { volume, name } => {
            let name = name.iter().map(|name| ("vol_name", json!(name)));
            let options: Vec<(&str, Value)> = name.collect();
            // The answer is about the copy.
            let found = cloud.one(&volumes::get(&[Id::new(volume)]))?;
            let request = volumes::duplicate(&found.uuid, &options);
            app.ui.line(&cloud.one(&request)?.uuid)
        }
        Command::Resize { volume, size } => {
            let change = Change {
                prop: "size_mb".to_owned(),
                op: "set",
                value: Some(json!(kraft_deploy::volumes::mebibytes(size)?)),
            };
            edit::apply(&cloud, &["volumes"], &Id::new(volume), &[change])?;
            app.ui.line(volume)
        }
        Command::Edit(args) => tags(app, &cloud, &["volumes"], args),
        Command::Template(args) => template(app, &cloud, args),
        Command::Attach {
            volume,
            to,
            at,
            read_only,
        } => {
            let to = Id::new(to);
            let request = volumes::attach(&Id::new(volume), &to, at, *read_only);
            let uuid = cloud.one(&request)?.uuid;
            is_attached(&cloud, &uuid, Some(&to), true)?;
            app.ui.line(&uuid)
        }
        Command::Detach { volume, from } => {
            let from = from.as_deref().map(Id::new);
            let before = cloud.one(&volumes::get(&[Id::new(volume)]))?;
            if from.is_some() && before.attached_to.len() > 1 {
                // A platform that ignores the body would detach it from all.
                cloud.send(&instances::look_up_none())?;
            }
            let request = volumes::detach(&before.id(), from.as_ref());
            let uuid = cloud.one(&request)?.uuid;
            let after = is_attached(&cloud, &uuid, from.as_ref(), false)?;
            let is_lost = |one: &&Named| {
                let kept = from.as_ref().is_some_and(|from| !is_named(one, from));
                kept && !after.attached_to.iter().any(|left| left.uuid == one.uuid)
            };
            if let Some(lost) = before.attached_to.iter().find(is_lost) {
                let text = format!(
                    "the platform detached the volume `{}` from `{}` as well",
                    after.title(),
                    lost.title()
                );
                return Err(Failure::new(Kind::Failed, text));
            }
            app.ui.line(&uuid)
        }
        Command::Import(args) => import::exec(app, &mut cloud, args),
        Command::Queries(queries) => queries.exec(app, options, &cloud),
        Command::Remove(chosen) => {
            let ids = chosen.ids::<Volume>(&cloud)?;
            choose::change(app, &cloud, &chosen.output, &ids, volumes::remove)
        }
    }
}
