//! Chores of the workspace: one subcommand, one file.
//!
//! ```text
//! cargo xtask arrows           who may import whom, against `cargo metadata`
//! cargo xtask dist              the files of a release
//! cargo xtask docs [--check]   the checked-in references made from the code
//! cargo xtask examples         an example for every crate and every public module
//! cargo xtask links            the links of the documentation, and its table of contents
//! cargo xtask man DIRECTORY    the manual, for packagers and `make install`
//! cargo xtask words            the phrases that our prose does not use
//! ```
//!
//! A chore returns what it has to say and never prints: `main` does.

mod arrows;
mod dist;
mod docs;
mod examples;
mod licences;
mod links;
mod man;
mod markdown;
mod modules;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the workspace
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Compare what imports what with the picture in ARCHITECTURE.md
    Arrows,
    /// Make the files of a release
    Dist(dist::Args),
    /// Write the references that are made from the code
    Docs {
        /// Write nothing; fail if one is not up to date
        #[arg(long)]
        check: bool,
    },
    /// Fail on crates and public modules without an example
    Examples,
    /// Fail on links of the documentation that lead nowhere
    Links,
    /// Write a manual page for every command
    Man {
        /// Where to write them
        directory: PathBuf,
    },
    /// Fail on banned phrases in help texts, messages, pages and comments
    Words {
        /// Check only files below these paths, from the root of the workspace
        paths: Vec<PathBuf>,
        /// Print the share of doc comment lines with a banned phrase, per crate
        #[arg(long)]
        count: bool,
    },
}

/// What a chore ends with: a line of success, or every complaint.
type Outcome = Result<String, Vec<String>>;

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore's only reader sits at the terminal or reads CI's log"
)]
fn main() -> ExitCode {
    let outcome = match Args::parse().chore {
        Chore::Arrows => arrows::exec(root()),
        Chore::Dist(args) => dist::exec(root(), &args),
        Chore::Docs { check } => docs::exec(root(), check),
        Chore::Examples => examples::exec(root()),
        Chore::Links => links::exec(root()),
        Chore::Man { directory } => man::exec(&directory),
        Chore::Words { paths, count } => words::exec(root(), &paths, count),
    };
    match outcome {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(complaints) => {
            for complaint in complaints {
                eprintln!("error: {complaint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Returns the directory of the workspace.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Makes an IO error on a path a complaint.
fn complain(verb: &str, path: &Path, error: &std::io::Error) -> Vec<String> {
    vec![format!("cannot {verb} `{}`: {error}", path.display())]
}
