//! `kraft compose config`.

use std::path::PathBuf;

use kraft_engine::compose::definition::{self, Definition, OpenOptions};
use kraft_sys::fs;
use serde_json::Value;

use super::Services;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{json, yaml};

/// Print the Compose file with all variables expanded, and its included and extended parts
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) services: Services,

    /// Print nothing: only check the file
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    part: Part,

    /// Do not expand variables
    #[arg(long, conflicts_with = "part")]
    no_interpolate: bool,

    /// Set the output format
    #[arg(long, value_name = "FORMAT", default_value = "yaml", value_parser = ["yaml", "json"])]
    format: String,

    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
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

    /// Print the digests of the configurations of services, separated by commas; `*` is all
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
}

impl Part {
    /// Returns the lines of the part; `None` for the whole.
    fn lines(
        &self,
        app: &App,
        definition: &Definition,
        names: &[String],
    ) -> Result<Option<Vec<String>>, Failure> {
        let services = || definition.services(names);
        let compose = &definition.compose;
        let mut lines: Vec<String> = if self.names {
            services()?.iter().map(|it| it.name.clone()).collect()
        } else if self.images {
            let services = services()?;
            services.iter().filter_map(|it| it.image.clone()).collect()
        } else if self.volumes {
            compose.volumes.iter().map(|it| it.key.clone()).collect()
        } else if self.networks {
            compose.networks.iter().map(|it| it.key.clone()).collect()
        } else if self.profiles {
            let all = compose.services.iter().flat_map(|it| it.profiles.clone());
            let mut all: Vec<String> = all.collect();
            all.sort_unstable();
            all
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

pub(super) fn exec(app: &App, options: &OpenOptions, args: &Args) -> Result<(), Failure> {
    if args.no_interpolate {
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
    if let Some(lines) = args.part.lines(app, &definition, names)? {
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        return put(app, &text, args);
    }
    let mut merged = definition.merged.clone();
    if let Some(fields) = merged.as_object_mut() {
        fields.insert("name".to_owned(), definition.project.clone().into());
    }
    print(app, &merged, args)
}

fn print(app: &App, merged: &Value, args: &Args) -> Result<(), Failure> {
    if args.quiet {
        return Ok(());
    }
    let text = if args.format == "json" {
        json(merged)?
    } else {
        yaml(merged)?
    };
    put(app, &text, args)
}

fn put(app: &App, text: &str, args: &Args) -> Result<(), Failure> {
    match &args.output {
        Some(file) => Ok(fs::replace_file(file, text.as_bytes())?),
        None => app.ui.text(text),
    }
}
