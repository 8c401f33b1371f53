//! `kraft cloud instance exec`.

use std::ffi::OsString;
use std::io::{self, Read};

use kraft_cloud::request::Id;
use kraft_cloud::resources::sandbox::Command;

use crate::app::App;
use crate::failure::{Failure, Kind};
use kraft_deploy::Cloud;
use kraft_deploy::exec::{self as sandbox, Streams};
use kraft_engine::arguments;

/// Run a command in an instance that has the plugin `sandbox`
///
/// Exits with the exit code of the command.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft cloud instance create -n web -S --plugin sandbox=IMAGE nginx:latest
  kraft cloud instance exec web ls -l /etc
  kraft cloud instance exec -i web sh -c 'cat > /tmp/a' < a")]
pub(super) struct Args {
    /// Send stdin to the command
    #[arg(short, long)]
    interactive: bool,

    /// Set an environment variable; without a value, take it from this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,

    /// Working directory of the command
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// Name of the plugin
    #[arg(long, value_name = "NAME", default_value = "sandbox")]
    plugin: String,

    /// Name or UUID
    instance: String,

    /// The program and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

pub(super) fn exec(app: &App, cloud: &mut Cloud, args: &Args) -> Result<(), Failure> {
    cloud.catch_interrupts();
    let command = Command {
        args: args.command.clone(),
        env: arguments::env(&args.env, &app.env)?,
        cwd: args.workdir.clone(),
    };
    let stdin = || Box::new(io::stdin()) as Box<dyn Read + Send>;
    let streams = Streams {
        input: args.interactive.then(stdin),
        out: &mut app.ui.output(),
        err: &mut io::stderr(),
    };
    let id = Id::new(&args.instance);
    match sandbox::run(cloud, &id, &args.plugin, &command, streams)? {
        0 => Ok(()),
        code => Err(Failure::reported(Kind::Guest(code))),
    }
}
