//! `kraft cloud image`.

use std::time::Duration;

use clap::Subcommand;
use kraft_cloud::request::Id;
use kraft_cloud::resources;
use kraft_cloud::resources::images::Image;
use kraft_core::escape::escape;
use serde_json::{Map, Value, json};

use super::output::{self, Form, Shown};
use crate::app::App;
use crate::commands::tally::Tally;
use crate::commands::values;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column};
use kraft_core::readable::decimal as size;
use kraft_deploy::{Cloud, CloudOptions, images, naming};

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
    /// Pull an image to the metro, keep it there, and print the UUID of the pin
    Pin {
        /// Image: `[ACCOUNT/]NAME[:TAG]`
        #[arg(value_name = "IMAGE")]
        image: String,
        /// Timeout of the pull
        #[arg(long, value_name = "TIME", default_value = "300s", value_parser = values::duration)]
        timeout: Duration,
        /// Remove the pin when the image was not used for this time
        #[arg(long, value_name = "TIME", value_parser = values::duration)]
        autokill: Option<Duration>,
    },
    /// Remove pins of images
    Unpin {
        /// UUIDs of the pins
        #[arg(value_name = "UUID", required = true)]
        pins: Vec<String>,
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
const ARGS: Field = Column::new("APP ARGS", |one| Cell::new(one.command_line()));
const KERNEL_ARGS: Field = Column::new("KERNEL ARGS", |one| {
    let args = one.more.get("kernel_args").and_then(Value::as_str);
    Cell::new(args.unwrap_or_default())
});
const LABELS: Field = Column::new("LABELS", |one| {
    let labels = one.more.get("labels").and_then(Value::as_object);
    let all: Vec<String> = labels
        .into_iter()
        .flatten()
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
            let mut answer = cloud.send(&resources::images::list())?;
            answer.retain(|image| *all || images::has_account(image));
            answer.sort_by(|image| image.reference().to_owned());
            output::print(app, *output, answer)
        }
        Command::Pin {
            image,
            timeout,
            autokill,
        } => {
            let mut more = Map::new();
            if let Some(time) = autokill {
                let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                more.insert("autokill".to_owned(), json!({ "time_ms": ms }));
            }
            let image = naming::find(&cloud, image)?;
            let url = match image.url.as_str() {
                "" => image.reference(),
                url => url,
            };
            let seconds = i64::try_from(timeout.as_secs().max(1)).unwrap_or(-1);
            let pin = cloud.one(&resources::images::pin(url, seconds, &more))?;
            let pinned = pin.more.get("url").and_then(Value::as_str).unwrap_or(url);
            let bare = resources::images::without_host;
            if bare(pinned) != bare(image.reference()) {
                let text = format!("the platform pinned `{}` instead", escape(pinned, &[]));
                return Err(Failure::new(Kind::Failed, text));
            }
            app.ui.line(&pin.uuid)
        }
        Command::Unpin { pins } => {
            let bad = pins.iter().find(|pin| matches!(Id::new(pin), Id::Name(_)));
            if let Some(bad) = bad {
                let text = format!("`{bad}` is not the UUID of a pin");
                return Err(Failure::usage(text).hint("`kraft cloud image pin` prints it"));
            }
            let mut tally = Tally::default();
            for pin in pins {
                let gone = images::unpin(&cloud, pin);
                if tally.count(app, gone).is_some() {
                    app.ui.line(pin)?;
                }
            }
            tally.outcome()
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
