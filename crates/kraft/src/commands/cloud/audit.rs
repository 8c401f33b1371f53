//! `kraft cloud audit`.

use kraft_cloud::resources::audit::{Event, Filter};

use super::output::Form;
use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::{Cloud, CloudOptions};

/// Print events of the account as they happen, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example: kraft cloud audit --event vm.start_failed -o json")]
pub(super) struct Args {
    /// Only events of this type, such as `vm.state_change`
    #[arg(long, value_name = "TYPE")]
    event: Vec<String>,

    /// Only events of the instance or volume with this UUID
    #[arg(long, value_name = "UUID")]
    uuid: Vec<String>,

    /// Only events of resources with this tag
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,

    /// Exit after this number of events
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<usize>,

    /// Output format: one line per event
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

pub(super) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let mut cloud = Cloud::open(app, options)?;
    cloud.catch_interrupts();
    let filter = Filter {
        events: args.event.clone(),
        uuids: args.uuid.clone(),
        tags: args.tag.clone(),
    };
    let mut left = args.count.unwrap_or(usize::MAX);
    if left == 0 {
        return Ok(());
    }
    let mut outcome = Ok(());
    let ended = cloud.events(&filter, |event: &Event| {
        outcome = match args.output {
            Form::Json | Form::Raw => app.ui.line(&event.raw),
            Form::Yaml => app.ui.line(&format!("- {}", event.raw)),
            Form::Table | Form::List => app.ui.line(&event.line()),
        };
        left -= 1;
        left > 0 && outcome.is_ok()
    });
    outcome?;
    Ok(ended?)
}
