//! `kraft wait`.

use crate::app::App;
use crate::commands::tally::Tally;
use crate::completion::MACHINE;
use crate::failure::Failure;
use kraft_engine::machines;
use kraft_machine::{Id, Machines};

/// Wait for machines to end
///
/// Wait until each machine has ended, and print its exit code: its exit status if it reported one,
/// 0 if it powered off or was stopped, 1 if it crashed, 128 plus the signal number if its VMM was
/// killed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft wait alice
  test $(kraft wait alice) = 0 && echo all is well")]
pub(crate) struct Args {
    /// Machines, by name, id or unique prefix of either
    #[arg(value_name = MACHINE, required = true)]
    machines: Vec<String>,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut tally = Tally::default();
    // All are looked up first: one of them may end and be removed meanwhile.
    let found: Vec<_> = args
        .machines
        .iter()
        .map(|word| machines.find(word))
        .collect();
    for machine in found {
        match machine {
            Ok(machine) => {
                tally.count(app, one(app, &machines, machine.id));
            }
            Err(error) => {
                tally.count::<()>(app, Err(error));
            }
        }
    }
    tally.outcome()
}

/// Waits until a machine has ended, and prints its exit code.
pub(crate) fn one(app: &App, machines: &Machines, id: Id) -> Result<i32, Failure> {
    let code = machines.wait(&id)?.reason.exit_code();
    app.ui.line(&code.to_string())?;
    Ok(code)
}
