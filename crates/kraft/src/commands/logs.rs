//! `kraft logs`.

use super::values::{self, PlatformArg};
use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::{Failure, Kind};
use crate::ops::follow::{self, Console, Stopped};
use crate::ops::interrupt::Interrupt;
use crate::ops::machines::{self, Tally};

/// Print what machines have written to their consoles
///
/// Print what machines have written to their consoles since they were last started. With several
/// machines, each line begins with the name of its machine.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft logs alice
  kraft logs --follow alice bob")]
pub(crate) struct Args {
    /// Machines, by name, id or the unique beginning of either
    #[arg(value_name = MACHINE, required = true)]
    machines: Vec<String>,

    /// Go on printing until the machines have ended
    #[arg(short, long)]
    follow: bool,

    /// Do not begin lines with the names of machines
    #[arg(long)]
    no_prefix: bool,

    /// Take only machines on this platform
    #[arg(short, long, value_name = "PLATFORM", default_value = "auto", hide_default_value = true,
          value_parser = values::platform())]
    plat: PlatformArg,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::open(app)?;
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for word in &args.machines {
        let machine = machines.find(word).map_err(Failure::from);
        tally.count(app, machine.map(|machine| found.push(machine)))?;
    }
    found.retain(|machine| args.plat.means(machine.spec.platform));
    let mut named = Vec::new();
    for machine in &found {
        let logs = machines.logs(&machine.id).map_err(Failure::from);
        tally.count(
            app,
            logs.map(|logs| named.push((machine.name.as_str(), logs))),
        )?;
    }
    let consoles = if args.machines.len() > 1 && !args.no_prefix {
        follow::prefixed(app, named)
    } else {
        named
            .into_iter()
            .map(|(_, logs)| Console::plain(logs))
            .collect()
    };
    if args.follow {
        let interrupt = Interrupt::listen();
        if follow::follow(app, consoles, &interrupt)? == Stopped::Interrupted {
            return Err(Failure::told(Kind::Interrupted));
        }
    } else {
        follow::dump(app, consoles)?;
    }
    tally.outcome()
}
