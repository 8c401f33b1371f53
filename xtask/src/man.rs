//! Manual pages from the command tree: one page per visible command.

use std::path::Path;

use crate::{Outcome, complain};

/// Writes `kraft.1`, `kraft-run.1`, … into `directory`.
pub(crate) fn exec(directory: &Path) -> Outcome {
    std::fs::create_dir_all(directory).map_err(|e| complain("create", directory, &e))?;
    clap_mangen::generate_to(kraft::command(), directory)
        .map_err(|error| complain("write manual pages into", directory, &error))?;
    Ok(format!("man: wrote the pages into {}", directory.display()))
}
