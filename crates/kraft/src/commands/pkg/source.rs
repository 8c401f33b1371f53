//! `kraft pkg source` and `kraft pkg unsource`.

use crate::app::App;
use crate::config::layers::Value;
use crate::config::{self, keys};
use crate::failure::Failure;
use crate::ops::machines::Tally;
use crate::ops::network;
use crate::yaml::edit;

/// The key of the list.
const KEY: &str = "unikraft.manifests";

/// Take packages from further registries and indexes
///
/// Add registries (`HOST[:PORT]`) and package indexes (URLs and paths) to those that are asked for
/// packages. A registry is asked once whether it is one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg source registry.example.com")]
pub(crate) struct SourceArgs {
    /// Registries and indexes
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,

    /// Do not ask whether it is there
    #[arg(short = 'F', long)]
    force: bool,
}

/// Take packages no longer from a registry or index
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg unsource registry.example.com")]
pub(crate) struct UnsourceArgs {
    /// Registries and indexes, as they were added
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,
}

pub(super) fn add(app: &App, args: &SourceArgs) -> Result<(), Failure> {
    let mut sources = app.config.manifests().to_vec();
    let mut tally = Tally::default();
    for source in &args.sources {
        if sources.contains(source) {
            app.ui.warn(&format!("manifest already saved: {source}"));
            continue;
        }
        let checked = match network::registry_host(source) {
            Some(host) if !args.force && !app.offline() => network::check_registry(app, &host),
            _ => Ok(()),
        };
        tally.count(app, checked.map(|()| sources.push(source.clone())))?;
    }
    save(app, &sources)?;
    tally.outcome()
}

pub(super) fn remove(app: &App, args: &UnsourceArgs) -> Result<(), Failure> {
    let mut sources = app.config.manifests().to_vec();
    for source in &args.sources {
        let before = sources.len();
        sources.retain(|known| known != source);
        if sources.len() == before {
            app.ui.warn(&format!("manifest not found: {source}"));
        }
    }
    save(app, &sources)
}

fn save(app: &App, sources: &[String]) -> Result<(), Failure> {
    if sources == app.config.manifests() {
        return Ok(());
    }
    let value = Value::List(sources.to_vec());
    let path: Vec<_> = KEY.split('.').map(Into::into).collect();
    debug_assert!(keys::ALL.iter().any(|key| key.name == KEY));
    config::change(&app.config, &path, |text, path| {
        edit::set(text, path, &value).map(Some)
    })?;
    Ok(())
}
