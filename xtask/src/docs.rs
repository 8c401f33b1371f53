//! References that are generated from the code and checked in.
//!
//! They are checked in so that they can be read next to the sources, and so that changes of the
//! command line are visible in reviews. `--check` fails if they are out of date.

use std::path::Path;

use crate::{Outcome, complain, licences, markdown};

/// A generated file.
struct Generated {
    /// Where it is, from the root of the workspace.
    path: &'static str,
    text: String,
}

/// Writes every generated file under `root`, or with `check` only compares.
pub(crate) fn exec(root: &Path, check: bool) -> Outcome {
    let files = all(root)?;
    let mut stale = Vec::new();
    for file in &files {
        let path = root.join(file.path);
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        if present == file.text {
            continue;
        }
        if check {
            stale.push(format!(
                "`{}` is out of date: run `cargo xtask docs`{}",
                file.path,
                first_difference(&present, &file.text)
            ));
        } else {
            write(&path, &file.text)?;
        }
    }
    if stale.is_empty() {
        Ok(format!(
            "docs: {} generated files are up to date",
            files.len()
        ))
    } else {
        Err(stale)
    }
}

fn all(root: &Path) -> Result<Vec<Generated>, Vec<String>> {
    let schema = serde_json::to_string_pretty(&kraft_core::kraftfile::schema())
        .map_err(|error| vec![format!("cannot write the schema of a Kraftfile: {error}")])?;
    Ok(vec![
        Generated {
            path: "docs/cli.md",
            text: markdown::reference(kraft::command()),
        },
        Generated {
            path: "schema/kraftfile.schema.json",
            text: format!("{schema}\n"),
        },
        Generated {
            path: "runtime/LICENSES",
            text: licences::text(root)?,
        },
    ])
}

/// Says where two texts part, to spare a reader of CI's log a guess.
fn first_difference(present: &str, wanted: &str) -> String {
    let lines = present.lines().zip(wanted.lines());
    match lines.enumerate().find(|(_, (old, new))| old != new) {
        Some((index, (old, new))) => {
            format!(" (line {}: `{old}` should be `{new}`)", index + 1)
        }
        None if present.is_empty() => " (it is missing)".to_owned(),
        None => " (one ends earlier than the other)".to_owned(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "generated files are under version control: a half-written one is seen and made again"
)]
fn write(path: &Path, text: &str) -> Result<(), Vec<String>> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| complain("create", directory, &e))?;
    }
    std::fs::write(path, text).map_err(|error| complain("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_told() {
        assert_eq!(
            first_difference("same\nold\n", "same\nnew\n"),
            " (line 2: `old` should be `new`)"
        );
        assert_eq!(first_difference("", "new\n"), " (it is missing)");
        assert_eq!(
            first_difference("same\n", "same\nmore\n"),
            " (one ends earlier than the other)"
        );
    }
}
