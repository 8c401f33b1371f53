//! `kraft version`.

use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;

/// Show kraft version information
///
/// One line: the version, the commit, the compiler and the time of the commit.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print in this form
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// One line
    Text,
    /// A JSON object
    Json,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Build {
    version: &'static str,
    commit: &'static str,
    compiler: &'static str,
    time: String,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let epoch = env!("KRAFT_BUILD_EPOCH").parse().unwrap_or(0);
    let build = Build {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("KRAFT_COMMIT"),
        compiler: env!("KRAFT_RUSTC"),
        time: jiff::Timestamp::from_second(epoch)
            .unwrap_or_default()
            .to_string(),
    };
    match args.output {
        Output::Json => app.ui.json(&build),
        Output::Text => app.ui.line(&format!(
            "kraft {} ({}) {} {}",
            build.version, build.commit, build.compiler, build.time
        )),
    }
}
