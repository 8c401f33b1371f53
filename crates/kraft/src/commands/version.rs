//! `kraft version`.

use std::fmt;

use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;

/// Show kraft version information
///
/// Prints the version, the commit, the compiler and the time of the commit in one line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    /// Print the licences of the crates in the built-in runtime
    #[arg(long)]
    licenses: bool,
}

/// The licences of the built-in runtime, which `cargo xtask docs` writes.
const LICENSES: &str = include_str!("../../../../runtime/LICENSES");

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// One line
    Text,
    /// A JSON object
    Json,
}

/// The fields of `-o json`.
#[derive(Debug, Serialize)]
pub(crate) struct Build {
    version: &'static str,
    commit: &'static str,
    compiler: &'static str,
    time: String,
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kraft {} ({}) {} {}",
            self.version, self.commit, self.compiler, self.time
        )
    }
}

/// Returns what is known of this build.
pub(crate) fn build() -> Build {
    let epoch = env!("KRAFT_BUILD_EPOCH").parse().unwrap_or(0);
    Build {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("KRAFT_COMMIT"),
        compiler: env!("KRAFT_RUSTC"),
        time: jiff::Timestamp::from_second(epoch)
            .unwrap_or_default()
            .to_string(),
    }
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    if args.licenses {
        return app.ui.line(LICENSES.trim_end());
    }
    print(app, false, args.output == Output::Json)
}

/// Prints the version: its number alone, as JSON, or with everything that is known of this build.
pub(crate) fn print(app: &App, short: bool, json: bool) -> Result<(), Failure> {
    let build = build();
    match (short, json) {
        (true, _) => app.ui.line(build.version),
        (false, true) => app.ui.json(&build),
        (false, false) => app.ui.line(&build.to_string()),
    }
}
