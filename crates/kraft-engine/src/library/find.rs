//! Finds the library that a user names: one of the catalog, a directory, an archive or a Git
//! repository.

use std::path::{Path, PathBuf};

use kraft_build::catalog;
use kraft_core::catalog::ReleaseError;
use kraft_core::component::{self, InvalidName, Kind, Name};

use crate::components::Fetching;
use crate::context::Context;
use crate::kraftfile::Change;
use crate::sources;

/// Why a library cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The argument is not a name, a directory or a URL.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// There is no such directory.
    #[error("there is no directory `{0}`")]
    NoDirectory(String),
    /// The component is of another kind.
    #[error("`{0}` is not a library")]
    NotALibrary(String),
    /// The source has no name.
    #[error("cannot derive a name from `{0}`")]
    Nameless(String),
    /// The catalog has no such library.
    #[error("library `{0}` not found")]
    NotFound(String),
    /// The catalog has several libraries of the name.
    #[error("more than one library matches: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// The library does not have the requested version.
    #[error("cannot add `{name}`")]
    NoRelease {
        /// The argument.
        name: String,
        /// Why not.
        source: ReleaseError,
    },
    /// The catalog cannot be read or updated.
    #[error(transparent)]
    Sources(#[from] sources::Error),
}

/// A library, as it is written into a Kraftfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its source, if it is not one of the catalog.
    pub source: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

impl Found {
    /// Returns the changes that add it to a Kraftfile.
    pub fn changes(&self) -> Vec<Change> {
        let change = |key: &str, value: &Option<String>| {
            let path = ["libraries", &self.name, key].map(str::to_owned).to_vec();
            value.clone().map(|value| Change::Value(path, value))
        };
        let source = change("source", &self.source);
        source
            .into_iter()
            .chain(change("version", &self.version))
            .collect()
    }
}

/// Finds a library for the project in a directory. Updates the catalog if it does not have the
/// library, unless `no_update`.
///
/// ```
/// # use std::sync::Arc;
/// # use kraft_config::env::Environment;
/// # use kraft_config::{Config, Flags};
/// # use kraft_core::event::Silent;
/// # use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::library::find;
///
/// # let config = Config::without_file(&Flags::default(), Environment::default());
/// # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// let url = "https://github.com/unikraft/lib-musl.git@staging";
/// let found = find::find(&context, ".".as_ref(), url, true)?;
/// assert_eq!(found.name, "musl");
/// assert_eq!(found.version.as_deref(), Some("staging"));
/// # Ok::<(), find::Error>(())
/// ```
///
/// # Errors
///
/// If there is no such library, or the catalog cannot be read.
pub fn find(ctx: &Context, project: &Path, text: &str, no_update: bool) -> Result<Found, Error> {
    let path = Path::new(text);
    if path.is_dir() {
        let full = path.canonicalize();
        let full = full.map_or_else(|_| text.to_owned(), |p| p.to_string_lossy().into_owned());
        return Ok(Found {
            name: name_of(text, &full)?,
            source: Some(relative(project, path)),
            version: None,
        });
    }
    // KraftKit compat: a URL without a scheme, and the registry in front of a name.
    if let Some((host, rest)) = of_host(text) {
        return match host {
            REGISTRY => find(ctx, project, rest, no_update),
            _ => find(ctx, project, &format!("https://{text}"), no_update),
        };
    }
    if is_url(text) || path.is_file() {
        let (source, version) = split_version(text);
        return Ok(Found {
            name: name_of(text, source)?,
            source: Some(if path.is_file() {
                relative(project, path)
            } else {
                source.to_owned()
            }),
            version,
        });
    }
    let name: Name = match text.parse() {
        Err(_) if text.contains('/') => return Err(Error::NoDirectory(text.to_owned())),
        parsed => parsed?,
    };
    if name.kind.is_some_and(|kind| kind != Kind::Lib) {
        return Err(Error::NotALibrary(text.to_owned()));
    }
    in_catalog(ctx, &name, no_update)
}

/// The registry of Unikraft's images, whose names are those of the catalog.
const REGISTRY: &str = "unikraft.org";

/// Splits `HOST/PATH`.
fn of_host(text: &str) -> Option<(&str, &str)> {
    let (host, path) = text.split_once('/')?;
    let is_host = host.contains('.')
        && !host.starts_with('.')
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    (is_host && !path.is_empty() && !is_url(text) && !Path::new(text).exists())
        .then_some((host, path))
}

fn is_url(text: &str) -> bool {
    text.contains("://") || text.starts_with("git@")
}

/// Splits `URL@VERSION`. An `@` before the path belongs to the user of the host.
fn split_version(text: &str) -> (&str, Option<String>) {
    match text.rsplit_once('@') {
        Some((source, version)) if !version.contains(['/', ':']) && source.contains('/') => {
            (source, Some(version.to_owned()))
        }
        _ => (text, None),
    }
}

fn in_catalog(ctx: &Context, name: &Name, no_update: bool) -> Result<Found, Error> {
    let name = Name {
        kind: Some(Kind::Lib),
        ..name.clone()
    };
    let mut sources = sources::open(ctx, &Fetching::default())?;
    if catalog::find(&sources.catalog, &name).is_empty() && !no_update && !ctx.settings.offline {
        tracing::debug!(%name, "not in the catalog: updating it");
        sources::update(ctx, &mut sources)?;
    }
    let found = catalog::find(&sources.catalog, &name);
    let entry = match found.as_slice() {
        [] => return Err(Error::NotFound(name.name)),
        [entry] => entry,
        several => {
            let names = several.iter().map(|entry| entry.name.clone());
            return Err(Error::Ambiguous(names.collect()));
        }
    };
    let release = entry.release(name.version.as_deref());
    let release = release.map_err(|source| Error::NoRelease {
        name: name.to_string(),
        source,
    })?;
    Ok(Found {
        name: entry.name.clone(),
        source: None,
        version: Some(name.version.unwrap_or_else(|| release.version.to_owned())),
    })
}

/// Returns the name of a library, derived from its source.
fn name_of(typed: &str, source: &str) -> Result<String, Error> {
    let (kind, name) = component::of_source(source);
    if kind.is_some_and(|kind| kind != Kind::Lib) {
        return Err(Error::NotALibrary(typed.to_owned()));
    }
    if name.is_empty() {
        return Err(Error::Nameless(typed.to_owned()));
    }
    Ok(name.to_owned())
}

/// Returns a path as the Kraftfile of a project has it: relative to its directory, if both have a
/// common parent other than the root.
fn relative(project: &Path, path: &Path) -> String {
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
    use crate::testing::{Script, context};

    #[test]
    fn paths_are_relative_to_the_project() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["work/app", "work/lib-x", "work/app/lib-y"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let at = |sub: &str| dir.path().join(sub);
        assert_eq!(relative(&at("work/app"), &at("work/lib-x")), "../lib-x");
        assert_eq!(relative(&at("work/app"), &at("work/app/lib-y")), "./lib-y");
    }

    #[test]
    fn a_library_is_named_by_a_url_a_directory_or_the_catalog() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let dir = home.path().join("lib-mine");
        std::fs::create_dir(&dir).unwrap();
        let dir = dir.display().to_string();
        for (text, expected) in [
            (
                "https://a.example/lib-b.git",
                "b https://a.example/lib-b.git -",
            ),
            ("https://a.example/lib-b@v1", "b https://a.example/lib-b v1"),
            ("git@a.example:x/lib-b", "b git@a.example:x/lib-b -"),
            ("git@a.example:x/lib-b@v1", "b git@a.example:x/lib-b v1"),
            (
                "https://me@a.example/lib-b",
                "b https://me@a.example/lib-b -",
            ),
            ("a.example/x/lib-b.git", "b https://a.example/x/lib-b.git -"),
            ("a.example/lib-b@v1", "b https://a.example/lib-b v1"),
            ("unikraft.org/lwip:stable", "library `lwip` not found"),
            ("path/to/lib", "there is no directory `path/to/lib`"),
            (&dir, "mine ./lib-mine -"),
            ("app/nginx", "`app/nginx` is not a library"),
            ("lwip", "library `lwip` not found"),
        ] {
            let found = match find(&ctx, home.path(), text, true) {
                Ok(found) => format!(
                    "{} {} {}",
                    found.name,
                    found.source.as_deref().unwrap_or("-"),
                    found.version.as_deref().unwrap_or("-")
                ),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn only_what_is_known_is_written_into_the_kraftfile() {
        let found = |source: Option<&str>, version: Option<&str>| Found {
            name: "x".to_owned(),
            source: source.map(str::to_owned),
            version: version.map(str::to_owned),
        };
        for (found, keys) in [
            (found(None, Some("1")), &["version"][..]),
            (found(Some("./x"), None), &["source"]),
            (found(Some("u"), Some("1")), &["source", "version"]),
        ] {
            let changed: Vec<String> = found
                .changes()
                .into_iter()
                .filter_map(|change| match change {
                    Change::Value(mut path, _) => path.pop(),
                    _ => None,
                })
                .collect();
            assert_eq!(changed, keys);
        }
    }
}
