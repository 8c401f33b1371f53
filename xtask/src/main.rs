//! Chores of the workspace: one subcommand, one file.
//!
//! ```text
//! cargo xtask arrows           who may import whom, against `cargo metadata`
//! ```
//!
//! A chore returns what it has to say and never prints: `main` does.

mod arrows;

use std::path::Path;
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
