//! `kraft lib add`.

use std::path::{Path, PathBuf};

use kraft_build::catalog;
use kraft_core::component::{self, Kind as ComponentKind, Name};

use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_engine::components::Fetching;
use kraft_engine::kraftfile::{self, Change};
use kraft_engine::{project, sources};

/// Add a library to a project
///
/// Adds the library to the Kraftfile and keeps its comments. The library is one of the catalog, a
/// directory, an archive or a Git repository.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft lib add lwip:stable
  kraft lib add ../lib-mine
  kraft lib add https://github.com/unikraft/lib-musl.git@staging")]
pub(crate) struct Args {
    /// `[lib/]NAME[:VERSION]`, a directory, or a URL
    #[arg(value_name = "LIBRARY", required = true)]
    libraries: Vec<String>,

    /// Use the project in this directory
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    workdir: Option<PathBuf>,

    /// Use this Kraftfile
    #[arg(short = 'K', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    kraftfile: Option<PathBuf>,

    /// Do not update the catalog
    #[arg(long)]
    no_update: bool,
}

/// A library, as it is written into a Kraftfile.
#[derive(Debug)]
struct Library {
    name: String,
    source: Option<String>,
    version: Option<String>,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let project = project::open(app, args.workdir.as_deref(), args.kraftfile.as_deref())?;
    let mut changes = Vec::new();
    for library in &args.libraries {
        let found = find(app, &project.dir, library, args.no_update)?;
        let key = |last: &str| {
            let path = ["libraries", &found.name, last];
            path.map(ToOwned::to_owned).to_vec()
        };
        if let Some(source) = &found.source {
            changes.push(Change::Value(key("source"), source.clone()));
        }
        if let Some(version) = &found.version {
            changes.push(Change::Value(key("version"), version.clone()));
        }
        app.ui.line(&found.name)?;
    }
    kraftfile::change(app, &project, &changes)?;
    Ok(())
}

fn find(app: &App, project: &Path, text: &str, no_update: bool) -> Result<Library, Failure> {
    let path = Path::new(text);
    if path.is_dir() {
        return Ok(Library {
            name: named(
                text,
                &path
                    .canonicalize()
                    .map_or_else(|_| text.to_owned(), |p| p.to_string_lossy().into_owned()),
            )?,
            source: Some(from(project, path)),
            version: None,
        });
    }
    if text.contains("://") || text.starts_with("git@") || path.is_file() {
        let (source, version) = match text.rsplit_once('@') {
            // An `@` before the path belongs to the user of the host.
            Some((source, version)) if !version.contains(['/', ':']) && source.contains('/') => {
                (source, Some(version.to_owned()))
            }
            _ => (text, None),
        };
        let source_text = if path.is_file() {
            from(project, path)
        } else {
            source.to_owned()
        };
        return Ok(Library {
            name: named(text, source)?,
            source: Some(source_text),
            version,
        });
    }
    let name: Name = text.parse().map_err(|error| {
        Failure::usage(error).hint("pass a library of the catalog, a directory or a URL")
    })?;
    if name.kind.is_some_and(|kind| kind != ComponentKind::Lib) {
        return Err(Failure::usage(format!("`{text}` is not a library")));
    }
    in_catalog(app, &name, no_update)
}

fn in_catalog(app: &App, name: &Name, no_update: bool) -> Result<Library, Failure> {
    let name = Name {
        kind: Some(ComponentKind::Lib),
        ..name.clone()
    };
    let mut door = sources::open(app, &Fetching::default())?;
    if catalog::find(&door.catalog, &name).is_empty() && !no_update && !app.settings.offline {
        sources::update(app, &mut door)?;
    }
    let found = catalog::find(&door.catalog, &name);
    let entry = match found.as_slice() {
        [] => {
            return Err(
                Failure::new(Kind::NotFound, format!("library `{}` not found", name.name))
                    .hint("`kraft pkg ls --libs` lists libraries"),
            );
        }
        [entry] => entry,
        several => {
            let names: Vec<&str> = several.iter().map(|entry| entry.name.as_str()).collect();
            return Err(Failure::usage(format!(
                "more than one library matches: {}",
                names.join(", ")
            )));
        }
    };
    let release = entry.release(name.version.as_deref()).map_err(|error| {
        Failure::new(Kind::NotFound, error).about(&format!("cannot add `{name}`"))
    })?;
    Ok(Library {
        name: entry.name.clone(),
        source: None,
        version: Some(name.version.unwrap_or_else(|| release.version.to_owned())),
    })
}

/// Returns the name of a library, derived from its source.
fn named(typed: &str, source: &str) -> Result<String, Failure> {
    let (kind, name) = component::of_source(source);
    if kind.is_some_and(|kind| kind != ComponentKind::Lib) {
        return Err(Failure::usage(format!("`{typed}` is not a library")));
    }
    if name.is_empty() {
        return Err(Failure::usage(format!(
            "cannot derive a name from `{typed}`"
        )));
    }
    Ok(name.to_owned())
}

/// Returns a path as the Kraftfile of a project has it: relative to its directory, if both have a
/// common parent other than the root.
fn from(project: &Path, path: &Path) -> String {
    let (Ok(project), Ok(path)) = (project.canonicalize(), path.canonicalize()) else {
        return path.display().to_string();
    };
    let shared = project
        .components()
        .zip(path.components())
        .take_while(|(a, b)| a == b)
        .count();
    if shared < 2 {
        return path.display().to_string();
    }
    let ups = project.components().count() - shared;
    let mut text = if ups == 0 {
        "./".to_owned()
    } else {
        "../".repeat(ups)
    };
    let rest: PathBuf = path.components().skip(shared).collect();
    text.push_str(&rest.to_string_lossy());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_project() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["work/app", "work/lib-x", "work/app/lib-y"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let at = |sub: &str| dir.path().join(sub);
        assert_eq!(from(&at("work/app"), &at("work/lib-x")), "../lib-x");
        assert_eq!(from(&at("work/app"), &at("work/app/lib-y")), "./lib-y");
    }
}
