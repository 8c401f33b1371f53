//! `kraft compose config`.

use std::path::PathBuf;

use kraft_core::compose::{Service, UsedVariable, used_variables};
use kraft_engine::compose::canonical::CanonicalOptions;
use kraft_engine::compose::definition::{self, Definition, OpenOptions};
use kraft_engine::compose::images;
use kraft_sys::fs;
use serde_json::{Map, Value, json};

use super::Services;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::{self, Cell, Column, Format};

/// Print the Compose file in its canonical form
///
/// Variables are expanded, included and extended parts merged, short forms written out, and paths
/// absolute. Only the active or named services are printed, with what they need and use.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft compose config --quiet
  kraft compose config --services
  kraft compose config --format json | jq .services.web.ports")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) services: Services,

    /// Print nothing: only check the file
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    part: Part,

    #[command(flatten)]
    form: Form,

    /// Set the output format
    #[arg(long, value_name = "FORMAT", default_value = "yaml", value_parser = ["yaml", "json"])]
    format: String,

    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// How much of the file is resolved.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct Form {
    /// Do not expand variables, and print the files merged as they are
    #[arg(long, conflicts_with = "part")]
    no_interpolate: bool,

    /// Do not write out short forms
    #[arg(long)]
    no_normalize: bool,

    /// Do not make paths absolute
    #[arg(long)]
    no_path_resolution: bool,

    /// Do not replace files of variables by their variables
    #[arg(long)]
    no_env_resolution: bool,

    /// Print images with the digests that they have in the local store
    #[arg(long, conflicts_with = "no_interpolate")]
    resolve_image_digests: bool,

    /// Print a Compose file with nothing but the images and their digests, to be merged over this one
    #[arg(long, conflicts_with = "no_interpolate")]
    lock_image_digests: bool,
}

/// A part that is printed instead of the whole.
#[derive(Debug, clap::Args)]
#[group(id = "part", multiple = false, conflicts_with = "quiet")]
struct Part {
    /// Print only the names of services
    #[arg(long = "services", id = "only-services")]
    names: bool,

    /// Print only the names of images
    #[arg(long)]
    images: bool,

    /// Print only the names of volumes
    #[arg(long)]
    volumes: bool,

    /// Print only the names of networks
    #[arg(long)]
    networks: bool,

    /// Print only the names of profiles
    #[arg(long)]
    profiles: bool,

    /// Print the variables that the file uses, with their defaults
    #[arg(long)]
    variables: bool,

    /// Print the variables that the file may use, with their values
    #[arg(long)]
    environment: bool,

    /// Print the digests of the configurations of services, separated by commas; `*` is all
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
}

impl Part {
    /// Returns whether something else than the whole is printed.
    fn is_one(&self) -> bool {
        let named = self.names || self.images || self.volumes || self.networks;
        named || self.profiles || self.environment || self.hash.is_some()
    }

    /// Returns the lines of the part; `None` for the whole.
    fn lines(
        &self,
        app: &App,
        definition: &Definition,
        canonical: &Value,
        names: &[String],
    ) -> Result<Option<Vec<String>>, Failure> {
        let keys = |part: &str| {
            let part = canonical.get(part).and_then(Value::as_object);
            part.map_or_else(Vec::new, |it| it.keys().cloned().collect())
        };
        let mut lines: Vec<String> = if self.names {
            let services = definition.services(names)?;
            services.iter().map(|it| it.name.clone()).collect()
        } else if self.images {
            let services = definition.services(names)?;
            services.iter().filter_map(|it| it.image.clone()).collect()
        } else if self.volumes {
            keys("volumes")
        } else if self.networks {
            keys("networks")
        } else if self.profiles {
            let services = definition.compose.services.iter();
            let mut all: Vec<String> = services.flat_map(|it| it.profiles.clone()).collect();
            all.sort_unstable();
            all
        } else if self.environment {
            let all = definition.look_up_all(app).into_iter();
            all.map(|(name, value)| format!("{name}={value}")).collect()
        } else if let Some(words) = &self.hash {
            hashes(app, definition, words)?
        } else {
            return Ok(None);
        };
        lines.dedup();
        Ok(Some(lines))
    }
}

fn hashes(app: &App, definition: &Definition, words: &str) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = match words {
        "*" => definition
            .compose
            .services
            .iter()
            .map(|it| it.name.clone())
            .collect(),
        words => words.split(',').map(str::to_owned).collect(),
    };
    let wanted = definition.wanted(app, &definition.only(&names)?)?;
    let first = wanted.iter().filter(|one| one.described.number == 1);
    Ok(first
        .map(|one| format!("{} {}", one.described.service, one.described.hash))
        .collect())
}

pub(super) fn exec(
    app: &App,
    options: &OpenOptions,
    all_resources: bool,
    args: &Args,
) -> Result<(), Failure> {
    if args.part.variables {
        let used = used_variables(&definition::merged(app, options)?);
        return variables(app, &used, args);
    }
    if args.form.no_interpolate {
        return print(app, &definition::merged(app, options)?, args);
    }
    let definition = definition::open(app, options)?;
    let names = &args.services.services;
    let services = definition.services(names)?;
    if let Some(warning) = definition.warning(&services) {
        app.ui.warn(&warning);
    }
    if args.quiet {
        return Ok(());
    }
    let form = &args.form;
    let is_part = args.part.is_one();
    let options = CanonicalOptions {
        all_resources,
        short: form.no_normalize && !is_part,
        relative: form.no_path_resolution,
        env_files: form.no_env_resolution || is_part,
    };
    let mut canonical = definition.canonical(app, &services, options)?;
    if let Some(lines) = args.part.lines(app, &definition, &canonical, names)? {
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        return put(app, &text, args);
    }
    if form.resolve_image_digests || form.lock_image_digests {
        pin(app, &services, &mut canonical, form.lock_image_digests)?;
    }
    escape(&mut canonical);
    print(app, &canonical, args)
}

/// Adds the digests of the stored images to their names, and with `only` removes everything else.
fn pin(app: &App, services: &[&Service], file: &mut Value, only: bool) -> Result<(), Failure> {
    let mut pinned = Map::new();
    for service in services {
        let Some(image) = service.image.as_deref().filter(|_| service.build.is_none()) else {
            continue;
        };
        let mut image = image.to_owned();
        if !image.contains('@') {
            let Some(digest) = images::digest(app, service) else {
                let why = format!("the image `{image}` is not stored locally");
                return Err(Failure::new(Kind::NotFound, why).hint("`kraft compose pull` pulls it"));
            };
            image = format!("{image}@{digest}");
        }
        let services = file.get_mut("services");
        let shown = services.and_then(|all| all.get_mut(&service.name));
        if let Some(Value::Object(fields)) = shown {
            fields.insert("image".to_owned(), image.clone().into());
        }
        pinned.insert(service.name.clone(), json!({"image": image}));
    }
    if only {
        *file = json!({"services": pinned});
    }
    Ok(())
}

/// Doubles each `$`, so that the output is a Compose file with the same values.
fn escape(node: &mut Value) {
    match node {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(fields) => fields.values_mut().for_each(escape),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn variables(app: &App, used: &[UsedVariable], args: &Args) -> Result<(), Failure> {
    let columns: &[Column<UsedVariable>] = &[
        Column::new("NAME", |it| Cell::new(&it.name)),
        Column::new("REQUIRED", |it| Cell::new(it.required.to_string())),
        Column::new("DEFAULT VALUE", |it| {
            Cell::new(it.default.as_deref().unwrap_or_default())
        }),
        Column::new("ALTERNATE VALUE", |it| {
            Cell::new(it.alternate.as_deref().unwrap_or_default())
        }),
    ];
    let format = match args.format.as_str() {
        "json" => Format::Json,
        _ => Format::Table,
    };
    app.ui.listing(format, used, columns)
}

fn print(app: &App, merged: &Value, args: &Args) -> Result<(), Failure> {
    if args.quiet {
        return Ok(());
    }
    let text = if args.format == "json" {
        ui::json(merged)?
    } else {
        ui::yaml(merged)?
    };
    put(app, &text, args)
}

fn put(app: &App, text: &str, args: &Args) -> Result<(), Failure> {
    match &args.output {
        Some(file) => Ok(fs::replace_file(file, text.as_bytes())?),
        None => app.ui.text(text),
    }
}
