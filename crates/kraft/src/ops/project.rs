//! Finds and reads the Kraftfile that a user means.

use std::io;
use std::path::{Path, PathBuf};

use kraft_core::kraftfile::{self, Kraftfile, LARGEST};
use kraft_core::problem::Problem;
use kraft_sys::fs;

use crate::app::App;
use crate::failure::{Failure, Kind, Text};

/// A Kraftfile that was read, with everything that is wrong with it.
pub(crate) struct Project {
    /// The project; `None` if the file has errors.
    pub(crate) kraftfile: Option<Kraftfile>,
    /// Faults and warnings, in the order of the text.
    pub(crate) problems: Vec<Problem>,
    /// The text they point into.
    pub(crate) text: Text,
    /// The name of the project's directory, from which defaults are derived.
    pub(crate) dir_name: String,
}

/// Reads the Kraftfile `given` with `-K` (`-` is stdin), else the one that `path` is, holds, or
/// has above it. Faults in the file are part of the answer, not a failure.
pub(crate) fn read(
    app: &App,
    path: Option<&Path>,
    given: Option<&Path>,
) -> Result<Project, Failure> {
    let start = path.unwrap_or(Path::new("."));
    let (name, bytes, dir) = match given {
        Some(file) if file == Path::new("-") => {
            let bytes = fs::read_to_end(io::stdin().lock(), limit()).map_err(|error| {
                Failure::new(Kind::Failed, format!("cannot read stdin: {error}"))
            })?;
            ("<stdin>".to_owned(), bytes, start.to_owned())
        }
        Some(file) => read_file(file, path.unwrap_or_else(|| parent(file)))?,
        None if start.is_file() => read_file(start, parent(start))?,
        None => {
            let file = find(start)?;
            read_file(&file, parent(&file))?
        }
    };
    let (parsed, text) = kraftfile::parse_bytes(&bytes, &|name| {
        let value = app.config.env.raw(name)?;
        Some(value.to_string_lossy().into_owned())
    });
    Ok(Project {
        kraftfile: parsed.kraftfile,
        problems: parsed.problems,
        text: Text { name, text },
        dir_name: dir_name(&dir),
    })
}

fn limit() -> u64 {
    // One more than is taken, so that too large a file is seen to be too large.
    LARGEST as u64 + 1
}

fn read_file(file: &Path, dir: &Path) -> Result<(String, Vec<u8>, PathBuf), Failure> {
    let bytes = fs::read_file(file, limit())?;
    Ok((file.display().to_string(), bytes, dir.to_owned()))
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Searches a directory and every one above it.
fn find(start: &Path) -> Result<PathBuf, Failure> {
    let absolute = start.canonicalize().map_err(fs::Error::on("open", start))?;
    for dir in absolute.ancestors() {
        let names = names_in(dir)?;
        let chosen = kraftfile::choose(names.iter().map(String::as_str)).map_err(|error| {
            Failure::new(Kind::Failed, error)
                .hint("name the one you mean with `--kraftfile`, or remove the others")
        })?;
        if let Some(name) = chosen {
            // What was typed reads better than what it resolves to.
            let shown = if dir == absolute { start } else { dir };
            return Ok(if shown == Path::new(".") {
                PathBuf::from(name)
            } else {
                shown.join(name)
            });
        }
    }
    let message = format!("no Kraftfile in `{}` or above it", start.display());
    Err(Failure::new(Kind::NotFound, message)
        .hint("name one with `--kraftfile FILE`, or go to the directory of your project"))
}

fn names_in(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = std::fs::read_dir(dir).map_err(fs::Error::on("read", dir))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

fn dir_name(dir: &Path) -> String {
    let absolute = dir.canonicalize();
    let dir = absolute.as_deref().unwrap_or(dir);
    dir.file_name().map_or_else(
        || "project".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
