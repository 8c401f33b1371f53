//! `kraft remove`.

use kraft_machine::{Error, Id, Listed, Machine, Machines, StopOptions};

use super::stop::is_up;
use crate::app::App;
use crate::commands::machines::Selection;
use crate::commands::tally::Tally;
use crate::failure::{Failure, Kind};
use kraft_engine::machines;
use kraft_engine::rootfs;

/// Remove machines
///
/// Remove machines and their files, and print their names. Running machines are stopped first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft rm alice bob
  kraft rm --all
  kraft rm --all --force")]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,

    /// Kill running machines, remove unreadable ones, too, and ignore machines that do not exist
    #[arg(short, long)]
    force: bool,

    /// Remove the anonymous volumes of the machines, too
    #[arg(short, long)]
    volumes: bool,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::ending(app);
    let mut tally = Tally::default();
    for target in targets(app, &machines, args)? {
        let done = target.and_then(|target| {
            remove(&machines, &target, args)?;
            Ok(target.name)
        });
        if let Some(name) = tally.count_removed(app, args.force, done) {
            app.ui.line(&name)?;
        }
    }
    machines.remove_leftovers();
    rootfs::remove_unused(app, &machines);
    tally.outcome()
}

/// A machine to remove; perhaps only its id can be read.
struct Target {
    id: Id,
    name: String,
    is_up: bool,
}

fn targets(
    app: &App,
    machines: &Machines,
    args: &Args,
) -> Result<Vec<Result<Target, Failure>>, Failure> {
    let selection = &args.selection;
    if !selection.all {
        // Only `--force` removes unreadable machines, and then only the id is needed.
        return Ok(
            crate::commands::machines::choose(app, machines, selection, |_| true)?
                .into_iter()
                .zip(&selection.machines)
                .map(|(chosen, word)| match chosen {
                    Err(_) if args.force => {
                        let id = machines.resolve(word)?;
                        Ok(Target::unknown(id, machines.name_of(id)))
                    }
                    chosen => chosen.map(Target::from),
                })
                .collect(),
        );
    }
    let mut targets = Vec::new();
    for listed in machines.list()? {
        match listed {
            Listed::Machine(machine) if selection.plat.means(machine.spec.platform) => {
                targets.push(Ok(Target::from(*machine)));
            }
            Listed::Machine(_) => {}
            Listed::Unreadable(foreign) if foreign.error.is_foreign() => {
                machines::warn_of(app, &foreign);
            }
            Listed::Unreadable(gone) if args.force => {
                targets.push(Ok(Target::unknown(gone.id, gone.name)));
            }
            Listed::Unreadable(unreadable) => {
                machines::warn_of(app, &unreadable);
                targets.push(Err(Failure::new(
                    Kind::Failed,
                    format!("the machine `{}` was not removed", unreadable.id),
                )
                .hint("use `--force` to remove it")));
            }
        }
    }
    Ok(targets)
}

impl Target {
    fn unknown(id: Id, name: Option<String>) -> Self {
        Self {
            name: name.unwrap_or_else(|| id.to_string()),
            id,
            is_up: false,
        }
    }
}

impl From<Machine> for Target {
    fn from(machine: Machine) -> Self {
        Self {
            is_up: is_up(&machine),
            id: machine.id,
            name: machine.name,
        }
    }
}

/// Removes a machine. For compatibility with KraftKit, a running one is stopped first.
fn remove(machines: &Machines, target: &Target, args: &Args) -> Result<(), Failure> {
    if !args.force && target.is_up {
        match machines.stop(&target.id, StopOptions::default()) {
            Ok(_) | Err(Error::NotRunning { .. }) => {}
            // It is removed when it ends.
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let removed = if args.volumes {
        machines.remove_with_volumes(&target.id, args.force)
    } else {
        machines.remove(&target.id, args.force)
    };
    match removed {
        Err(Error::NotFound { .. }) => Ok(()),
        other => Ok(other?),
    }
}
