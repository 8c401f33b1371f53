//! `kraft cloud build`: builds by the platform's build service, from a repository or an archive.

use clap::Subcommand;
use kraft_cloud::resources::builds::{self, Build};
use serde_json::{Map, Value, json};

use super::output::{self, Form};
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column};
use kraft_deploy::{CloudOptions, control};

/// Build images with the platform's build service
///
/// The service fetches the sources itself: from a Git repository, or an archive at a URL.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
#[command(after_long_help = "\
Examples:
  kraft cloud build create -t anna/shop:v1 https://github.com/anna/shop.git
  kraft cloud build create -t anna/shop:v1 --ref main --subdir app https://github.com/anna/shop.git")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image, and wait until it is pushed
    #[command(visible_alias = "new")]
    Create(CreateArgs),
    /// List builds
    #[command(visible_alias = "ls")]
    List {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    /// Cancel builds
    Cancel {
        /// IDs
        #[arg(value_name = "BUILD", required = true)]
        builds: Vec<String>,
    },
    /// Remove builds that have ended
    #[command(visible_aliases = ["rm", "del", "delete"])]
    Remove {
        /// IDs
        #[arg(value_name = "BUILD", required = true)]
        builds: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// URL of a Git repository, or of an archive
    source: String,

    /// Name of the image: `ACCOUNT/NAME[:TAG]`
    #[arg(short, long, value_name = "IMAGE")]
    tag: String,

    /// Branch, tag or commit of the repository
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,

    /// Directory of the project in the source
    #[arg(long, value_name = "DIR")]
    subdir: Option<String>,

    /// Kraftfile in the source
    #[arg(short = 'K', long, value_name = "FILE", default_value = "Kraftfile")]
    kraftfile: String,

    /// Set a build argument
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,

    /// Target stage of the Dockerfile
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// Build all steps again
    #[arg(long)]
    no_cache: bool,

    /// Do not wait until the build ends
    #[arg(long)]
    no_wait: bool,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "list")]
    output: Form,
}

const COLUMNS: &[Column<Build>] = &[
    Column::new("ID", |one| Cell::new(&one.id)),
    Column::new("STATUS", |one| Cell::new(&one.status)),
    Column::new("IMAGES", |one| Cell::new(one.images().join(", "))),
    Column::new("CREATED AT", |one| Cell::new(output::ago(&one.created_at))),
];

pub(super) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Create(args) => create(app, options, args),
        Command::List { output } => {
            let rows = control::build(app, options, &builds::list())?;
            output::columns(app, *output, &rows, COLUMNS)
        }
        Command::Cancel { builds } => {
            for id in builds {
                control::cancel_build(app, options, id)?;
                app.ui.line(id)?;
            }
            Ok(())
        }
        Command::Remove { builds } => {
            for id in builds {
                control::of_build(app, options, id, &builds::remove(id))?;
                app.ui.line(id)?;
            }
            Ok(())
        }
    }
}

fn create(app: &App, options: &CloudOptions, args: &CreateArgs) -> Result<(), Failure> {
    let mut source = Map::new();
    // An archive has the name of one; anything else is a repository.
    let endings = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip"];
    let kind = if endings.iter().any(|ending| args.source.ends_with(ending)) {
        "url"
    } else {
        "git"
    };
    source.insert(kind.to_owned(), json!(args.source));
    for (name, value) in [("ref", &args.reference), ("subdir", &args.subdir)] {
        source.extend(value.iter().map(|value| (name.to_owned(), json!(value))));
    }
    let mut kraftfile = source.clone();
    kraftfile.insert("filename".to_owned(), json!(args.kraftfile));
    let host = control::registry(app, options)?;
    let mut wanted = json!({
        "kraftfile": kraftfile,
        "contexts": {"context": source},
        "output": [{"image": format!("{host}/{}", args.tag)}],
        "no_cache": args.no_cache,
    });
    let mut set = |name: &str, value: Value| {
        if let Some(wanted) = wanted.as_object_mut() {
            wanted.insert(name.to_owned(), value);
        }
    };
    if let Some(target) = &args.target {
        set("target", json!(target));
    }
    let mut pairs = Map::new();
    for text in &args.build_arg {
        let wrong = || Failure::usage(format!("`{text}` is not NAME=VALUE"));
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        pairs.insert(name.to_owned(), json!(value));
    }
    if !pairs.is_empty() {
        set("build_args", Value::Object(pairs));
    }
    let mut build = control::create_build(app, options, wanted)?;
    if !args.no_wait && !build.has_ended() {
        app.ui.info(&format!("the build is {}", build.id));
        build = control::wait_for_build(app, options, &build.id)?;
    }
    output::columns(app, args.output, std::slice::from_ref(&build), COLUMNS)?;
    if let Some(why) = build.failure() {
        return Err(Failure::new(
            Kind::Failed,
            format!(
                "the build `{}` has the status {}: {why}",
                build.id, build.status
            ),
        ));
    }
    Ok(())
}
