//! `kraft inspect`.

use kraft_core::cmdline::CommandLine;
use kraft_core::lifecycle::Health;
use kraft_core::machine::{EndReason, MachineSpec, MachineState};
use kraft_core::port::PortMapping;
use kraft_machine::Machine;
use serde::Serialize;

use crate::app::App;
use crate::commands::tally::Tally;
use crate::completion::MACHINE;
use crate::failure::Failure;
use crate::ui::{DocumentFormat, Format};
use kraft_engine::machines;

/// Show details of machines
///
/// Print all details of machines as a JSON array.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft inspect alice
  kraft inspect alice | jq -r '.[0].command_line'")]
pub(crate) struct Args {
    /// Machines, by name, id or unique prefix of either
    #[arg(value_name = MACHINE, required = true)]
    machines: Vec<String>,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    output: DocumentFormat,
}

/// All details of a machine.
#[derive(Debug, Serialize)]
struct Inspected {
    id: String,
    name: String,
    state: MachineState,
    created_at: jiff::Timestamp,
    started_at: Option<jiff::Timestamp>,
    ended_at: Option<jiff::Timestamp>,
    end: Option<EndReason>,
    exit_code: Option<i32>,
    restarts: u32,
    restart_at: Option<jiff::Timestamp>,
    health: Option<Health>,
    pid: Option<u32>,
    monitor_pid: Option<u32>,
    ports: Vec<PortMapping>,
    dir: std::path::PathBuf,
    log: std::path::PathBuf,
    command_line: Option<String>,
    spec: MachineSpec,
}

impl From<Machine> for Inspected {
    fn from(machine: Machine) -> Self {
        Self {
            id: machine.id.to_string(),
            name: machine.name,
            state: machine.state,
            created_at: machine.created_at,
            started_at: machine.started_at,
            ended_at: machine.ended_at,
            exit_code: machine.end.as_ref().map(EndReason::exit_code),
            end: machine.end,
            restarts: machine.restarts,
            restart_at: machine.restart_at,
            health: machine.health,
            pid: machine.pid,
            monitor_pid: machine.monitor_pid,
            ports: machine.ports,
            dir: machine.dir,
            log: machine.log,
            command_line: CommandLine::of(&machine.spec)
                .ok()
                .map(|line| line.render()),
            spec: machine.spec,
        }
    }
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for word in &args.machines {
        let machine = tally.count(app, machines.find(word));
        found.extend(machine.map(Inspected::from));
    }
    match args.output {
        DocumentFormat::Json => app.ui.json(&found)?,
        DocumentFormat::Yaml => app.ui.listing(Format::Yaml, &found, &[])?,
    }
    tally.outcome()
}
