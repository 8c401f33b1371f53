//! `kraft cloud image`.

use clap::Subcommand;
use kraft_cloud::resources::images::Image;

use super::output::{self, Form, Shown};
use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_core::readable::decimal as size;
use kraft_deploy::{Cloud, CloudOptions, images};

/// Manage images on the platform
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List images
    #[command(visible_alias = "ls")]
    List {
        /// Include official images
        #[arg(short, long)]
        all: bool,
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Form,
    },
    /// Remove images from the platform's registry
    #[command(visible_aliases = ["rm", "delete", "del"])]
    Remove {
        /// Images: `[ACCOUNT/]NAME[:TAG]`; without a tag, all versions are removed
        #[arg(
            value_name = "IMAGE",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        images: Vec<String>,
        /// Remove all images of the account
        #[arg(short, long)]
        all: bool,
    },
}

type Field = Column<Image>;

const NAME: Field = Column::new("NAME", |one| Cell::new(images::name(one)));
const VERSION: Field = Column::new("VERSION", |one| Cell::new(images::versions(one)));
const ARGS: Field = Column::new("APP ARGS", |one| Cell::new(&one.args));
const KERNEL_ARGS: Field = Column::new("KERNEL ARGS", |one| Cell::new(&one.kernel_args));
const LABELS: Field = Column::new("LABELS", |one| {
    let all: Vec<String> = one
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    Cell::new(all.join(", "))
});
const SIZE: Field = Column::new("SIZE", |one| Cell::new(size(one.size_in_bytes)));

impl Shown for Image {
    const TABLE: &'static [Field] = &[NAME, VERSION, SIZE];
    const LIST: &'static [Field] = &[NAME, VERSION, ARGS, KERNEL_ARGS, LABELS, SIZE];
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, options)?;
    match &args.command {
        Command::List { all, output } => {
            let mut answer = cloud.send(&kraft_cloud::resources::images::list())?;
            answer.retain(|image| *all || images::has_account(image));
            answer.sort_by(|image| image.digest.clone());
            output::print(app, *output, answer)
        }
        Command::Remove { images, all } => {
            cloud.catch_interrupts();
            let names = if *all {
                images::own(&cloud)?
            } else {
                images.clone()
            };
            let mut tally = Tally::default();
            for name in names {
                let removed = images::remove(app, &cloud, &name);
                if tally.count(app, removed).is_some() {
                    app.ui.line(&name)?;
                }
            }
            tally.outcome()
        }
    }
}
