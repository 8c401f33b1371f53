//! `kraft config`: shows all settings with their origins, and changes settings in the file.

use kraft_core::nearest::nearest;
use serde::Serialize;

use super::Reading;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_config::keys::{self, Known};
use kraft_config::layers::{self, Origin, Value};
use kraft_core::problem::Text;
use kraft_core::yaml::edit;

/// Show or change the configuration
///
/// Show all settings with their effective values and origins. Flags override environment variables,
/// which override the configuration file, which overrides the defaults.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft config
  kraft config get runtime_dir
  kraft config set log.level debug
  kraft config set unikraft.manifests https://one/index.yaml,https://two/index.yaml
  kraft config unset log.level")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,

    /// Show tokens, too
    #[arg(long)]
    show_secrets: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the effective value of a key
    ///
    /// Print the effective value of a key. Lists are printed one item per line.
    Get {
        /// Key, as `kraft config` lists it
        key: String,
        /// Show a token instead of asterisks
        #[arg(long)]
        show_secrets: bool,
    },
    /// Write a value into the configuration file
    ///
    /// Write a value into the configuration file, which is created if it does not exist. Comments,
    /// order and unknown keys are kept.
    Set {
        /// Key, as `kraft config` lists it, or `auth.HOST.FIELD`
        key: String,
        /// Value; separate the items of a list by commas
        value: String,
    },
    /// Remove a key from the configuration file
    Unset {
        /// Key, as `kraft config` lists it
        key: String,
    },
    /// Print the path of the configuration file
    Path,
}

impl Args {
    /// The path does not depend on the content, and `set` and `unset` read the file again.
    pub(crate) fn reading(&self) -> Reading {
        match self.action {
            Some(Action::Path) => Reading::None,
            Some(Action::Set { .. } | Action::Unset { .. }) => Reading::Lenient,
            None | Some(Action::Get { .. }) => Reading::Strict,
        }
    }
}

pub(crate) fn exec(app: &App, args: Args) -> Result<(), Failure> {
    match args.action {
        None => show(app, args.output, args.show_secrets),
        Some(Action::Get { key, show_secrets }) => {
            get(app, &key, show_secrets || args.show_secrets)
        }
        Some(Action::Set { key, value }) => set(app, &key, &value),
        Some(Action::Unset { key }) => unset(app, &key),
        Some(Action::Path) => app
            .ui
            .line(&app.config.dirs.config_file().display().to_string()),
    }
}

/// One row of `kraft config`.
#[derive(Debug, Serialize)]
struct Row {
    key: String,
    value: Value,
    origin: &'static str,
    source: Option<String>,
}

fn rows(app: &App, show_secrets: bool) -> Vec<Row> {
    let settings = app.config.layers.settings.iter().map(|setting| Row {
        key: setting.key.name.to_owned(),
        value: setting.value.clone(),
        origin: setting.origin.name(),
        source: setting.origin.place(),
    });
    let credentials = app.config.layers.credentials.iter().map(|credential| Row {
        key: credential.name.clone(),
        value: if credential.secret && !show_secrets {
            Value::Text("********".to_owned())
        } else {
            credential.value.clone()
        },
        origin: credential.origin.name(),
        source: credential.origin.place(),
    });
    settings.chain(credentials).collect()
}

fn show(app: &App, output: Format, show_secrets: bool) -> Result<(), Failure> {
    let text = app.config.text.as_ref().map(|text| Text {
        name: app.config.dirs.config_file().display().to_string(),
        text: text.clone(),
    });
    app.ui.problems(text.as_ref(), &app.config.layers.unknown);
    let columns = [
        Column::<Row> {
            title: "KEY",
            cell: |row| Cell::new(&row.key),
        },
        Column {
            title: "VALUE",
            cell: |row| Cell::new(row.value.to_string()),
        },
        Column {
            title: "ORIGIN",
            cell: |row| Cell::new(row.source.as_deref().unwrap_or(row.origin)),
        },
    ];
    app.ui.listing(output, &rows(app, show_secrets), &columns)
}

fn get(app: &App, name: &str, show_secrets: bool) -> Result<(), Failure> {
    let known = find(name)?;
    let row = rows(app, show_secrets)
        .into_iter()
        .find(|row| row.key == name);
    match (row, known) {
        (Some(row), _) => match &row.value {
            Value::List(items) => items.iter().try_for_each(|item| app.ui.line(item)),
            value @ (Value::Switch(_) | Value::Text(_)) => app.ui.line(&value.to_string()),
        },
        (None, Known::Auth { host, .. }) => Err(Failure::new(
            Kind::NotFound,
            format!("there are no such credentials for `{host}`"),
        )),
        (None, Known::Key(_)) => app.ui.line(""),
    }
}

fn set(app: &App, name: &str, typed: &str) -> Result<(), Failure> {
    let known = find(name)?;
    let value = layers::parse(known.kind(), typed, "".as_ref()).map_err(|expected| {
        Failure::usage(format!(
            "`{typed}` is not a valid value of `{name}`: {expected}"
        ))
    })?;
    // A path is stored unchanged: `~/` stays `~/`.
    let value = match known.kind() {
        keys::Kind::Path => Value::Text(typed.to_owned()),
        _ => value,
    };
    kraft_config::change(&app.config, &known.path(), |text, path| {
        edit::set(text, path, &value).map(Some)
    })?;
    warn_if_overridden(app, name);
    Ok(())
}

fn unset(app: &App, name: &str) -> Result<(), Failure> {
    let known = find(name)?;
    if kraft_config::change(&app.config, &known.path(), edit::unset)? {
        return Ok(());
    }
    let path = app.config.dirs.config_file();
    app.ui
        .info(&format!("`{name}` is not set in `{}`", path.display()));
    Ok(())
}

fn warn_if_overridden(app: &App, name: &str) {
    let setting = app
        .config
        .layers
        .settings
        .iter()
        .find(|s| s.key.name == name);
    if let Some(setting) = setting
        && let Origin::Env(variable) = setting.origin
    {
        app.ui.warn(&format!(
            "the environment variable `{variable}` overrides `{name}`"
        ));
    }
}

fn find(name: &str) -> Result<Known, Failure> {
    Known::find(name).ok_or_else(|| {
        let failure = Failure::usage(format!("unknown configuration key `{name}`"));
        match nearest(name, keys::ALL.iter().map(|key| key.name)) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint("`kraft config` lists all keys"),
        }
    })
}
