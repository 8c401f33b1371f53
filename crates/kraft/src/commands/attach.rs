//! `kraft attach`.

use kraft_engine::attach::DetachKeys;
use kraft_engine::machines;
use kraft_machine::{LogsOptions, Machine, Machines};

use super::foreground::{self, Connection, Started};
use super::stop::is_up;
use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::{Failure, Kind};

/// Connect to the console of a machine
///
/// Print the console of a running machine from its last line on, and forward stdin to it. The
/// machine must have been created with `--interactive`. Keys go to the guest, Ctrl-C included, if it
/// was created with `--tty` as well.
///
/// Ctrl-P Ctrl-Q ends the connection; the machine continues.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit code: that of the machine if it ends, 0 after the detach keys.

Examples:
  kraft run --detach --interactive --tty --name shell ./image /bin/sh
  kraft attach shell
  kraft attach --detach-keys ctrl-a,d shell")]
pub(crate) struct Args {
    /// Machine, by name, id or unique prefix of either
    #[arg(value_name = MACHINE)]
    machine: String,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// How the console is connected.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ConnectionArgs {
    /// Set the keys that end the connection
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,

    /// Only print the console
    #[arg(long)]
    no_stdin: bool,
}

pub(crate) fn exec(app: &App, args: Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let machine = machines.find(&args.machine)?;
    connect(app, &machines, machine, args.connection)
}

/// Connects to the console of a machine.
pub(crate) fn connect(
    app: &App,
    machines: &Machines,
    machine: Machine,
    args: ConnectionArgs,
) -> Result<(), Failure> {
    if !is_up(&machine) {
        let state = machine.state.name();
        let name = &machine.name;
        return Err(Failure::new(
            Kind::Failed,
            format!("machine `{name}` is not running, it is {state}"),
        )
        .hint(format!("start it: `kraft start {name}`")));
    }
    let interrupt = app.interrupt.listen();
    let watch = machines.watch(&machine.id)?;
    let started = Started {
        name: machine.name,
        watch,
    };
    if args.no_stdin || !machine.spec.stdin {
        if !args.no_stdin {
            app.ui.warn(&format!(
                "stdin is not forwarded: `{}` was created without `--interactive`",
                started.name
            ));
        }
        return foreground::follow(app, &started, &interrupt);
    }
    foreground::check_terminal(machine.spec.tty)?;
    let connection = Connection {
        tty: machine.spec.tty,
        keys: args.detach_keys,
        logs: LogsOptions {
            // The prompt of a shell is the last line.
            tail: Some(u64::from(machine.spec.tty)),
            ..LogsOptions::default()
        },
        stops: false,
    };
    foreground::connect(app, machines, &started, connection, &interrupt)
}
