//! `kraft bench boot`.

use kraft_engine::profile::{self, Began, BootProfile, BootReport, MeasureError};
use kraft_engine::run;
use kraft_machine::StartOptions;

use super::ReportArgs;
use crate::app::App;
use crate::commands::profile::LIMIT;
use crate::commands::run::{MachineArgs, Terms};
use crate::failure::{Failure, Kind};

/// Boot a machine several times and print how long each part took
///
/// A boot ends with the first answer on the first TCP port that is published, or without a port with
/// the first output. The table shows the run with the median. Each machine is removed after it was
/// measured. A first boot, which fills caches, does not count.
///
/// Parts: kraft, until the VMM is started; VMM, until it starts the guest; firmware; kernel, until
/// the program is started; first output; first answer. What cannot be told apart is one part.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Exit code: 1 if a budget is exceeded.

Examples:
  kraft bench boot ./kernel
  kraft bench boot --runs 20 --port 8080:80 ./image
  kraft bench boot --port 8080:80 --compare before.json --budget 300ms ./image")]
pub(super) struct Args {
    /// Set how often the machine boots
    #[arg(long, value_name = "NUMBER", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,

    #[command(flatten)]
    report: ReportArgs,

    #[command(flatten)]
    machine: MachineArgs,
}

pub(super) fn exec(app: &App, mut args: Args) -> Result<(), Failure> {
    let before = args.report.before()?;
    let interrupt = app.interrupt.listen();
    let target = args.machine.project();
    let mut runs = Vec::new();
    let mut spec = None;
    for number in 0..=args.runs {
        let (run, booted) = boot(app, &mut args.machine, &|| interrupt.is_cancelled())?;
        if number > 0 {
            runs.push(run);
        }
        spec = Some(booted);
    }
    let report = BootReport::new(&target, spec.as_ref(), runs);
    args.report.print(app, &report, before.as_ref())
}

/// Boots a machine once, and removes it.
fn boot(
    app: &App,
    args: &mut MachineArgs,
    stop: &dyn Fn() -> bool,
) -> Result<(BootProfile, kraft_core::machine::MachineSpec), Failure> {
    let began = Began::now();
    let (request, prepared) = args.prepare(app, Terms::default())?;
    let (machines, machine) = run::assemble(app, request, prepared)?.create()?;
    let options = StartOptions { profile: true };
    let measured = machines
        .start_with(&machine.id, options, stop)
        .map_err(Failure::from)
        .and_then(|watch| {
            let ports = watch.machine()?.ports;
            let run = profile::measure(&watch, began, profile::port(&ports), LIMIT, stop);
            run.map_err(|error| match error {
                MeasureError::Interrupted => Failure::reported(Kind::Interrupted),
                MeasureError::Machine(error) => error.into(),
                error => Failure::new(Kind::Failed, error).hint(
                    "publish a port that the application answers on with `--port`, or leave it out to \
                     measure until the first output",
                ),
            })
        });
    let removed = machines.remove(&machine.id, true);
    let measured = measured?;
    removed?;
    Ok((measured, machine.spec))
}
