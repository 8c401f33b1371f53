//! `kraft pkg source` and `kraft pkg unsource`.

use std::path::Path;

use kraft_build::catalog;

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_config::dirs::absolute;
use kraft_config::layers::Value;
use kraft_config::{self, keys};
use kraft_core::yaml::edit;
use kraft_engine::components::Fetching;
use kraft_engine::{network, sources};

/// The key of the list.
const KEY: &str = "unikraft.manifests";

/// Add package sources
///
/// Add registries (`HOST[:PORT]`) and catalogs of components to the package sources. A catalog is
/// an index or manifest file (a URL or a path), a directory of components, a Git repository, or
/// `https://github.com/OWNER/lib-*`. `lib-NAME=REPOSITORY` sets the name of a component whose
/// repository is named differently. Each source is verified once; `kraft pkg update` reads its
/// packages.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft pkg source registry.example.com
  kraft pkg source https://github.com/unikraft/lib-*
  kraft pkg source ../my-libs")]
pub(crate) struct SourceArgs {
    /// Registries and catalogs
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,

    /// Do not verify the source
    #[arg(short = 'F', long)]
    force: bool,
}

/// Remove package sources
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft pkg unsource registry.example.com")]
pub(crate) struct UnsourceArgs {
    /// Registries and catalogs, as they were added
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,
}

pub(super) fn add(app: &App, args: &SourceArgs) -> Result<(), Failure> {
    let mut sources = app.config.manifests().to_vec();
    let mut tally = Tally::default();
    for source in &args.sources {
        let source = &absolute_source(source);
        if sources.contains(source) {
            app.ui
                .warn(&format!("`{source}` is already a package source"));
            continue;
        }
        let checked = match network::registry_host(source) {
            _ if args.force || app.settings.offline => Ok(()),
            Some(host) => network::check_registry(app, &host).map_err(Failure::from),
            None => check_catalog(app, source),
        };
        sources.extend(tally.count(app, checked).map(|()| source.clone()));
    }
    save(app, &sources)?;
    tally.outcome()
}

/// Returns a source independent of the current directory: paths become absolute.
fn absolute_source(source: &str) -> String {
    let (name, place) = catalog::named(source);
    let path = Path::new(place);
    if !path.exists() {
        return source.to_owned();
    }
    let path = absolute(path);
    match name {
        Some(name) => format!("{name}={}", path.display()),
        None => path.display().to_string(),
    }
}

/// Adds a catalog to the package sources.
pub(crate) fn add_source(app: &App, place: &str) -> Result<(), Failure> {
    let mut sources = app.config.manifests().to_vec();
    if !sources.iter().any(|known| known == place) {
        sources.push(place.to_owned());
    }
    save(app, &sources)
}

/// Returns an error if a source is not a catalog of components.
fn check_catalog(app: &App, source: &str) -> Result<(), Failure> {
    let door = sources::open(app, &Fetching::default())?;
    catalog::probe(&door, source)?;
    Ok(())
}

pub(super) fn remove(app: &App, args: &UnsourceArgs) -> Result<(), Failure> {
    let mut sources = app.config.manifests().to_vec();
    for source in &args.sources {
        let before = sources.len();
        sources.retain(|known| known != source);
        if sources.len() == before {
            app.ui.warn(&format!("`{source}` is not a package source"));
        }
    }
    save(app, &sources)?;
    if !sources::forget_others(app, &sources::catalogs(&sources))? {
        app.ui
            .info("`kraft pkg update` updates the remaining sources");
    }
    Ok(())
}

fn save(app: &App, sources: &[String]) -> Result<(), Failure> {
    if sources == app.config.manifests() {
        return Ok(());
    }
    let value = Value::List(sources.to_vec());
    let path: Vec<_> = KEY.split('.').map(Into::into).collect();
    debug_assert!(keys::ALL.iter().any(|key| key.name == KEY));
    kraft_config::change(&app.config, &path, |text, path| {
        edit::set(text, path, &value).map(Some)
    })?;
    Ok(())
}
