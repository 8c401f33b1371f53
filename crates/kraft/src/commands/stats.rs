//! `kraft stats`.

use std::time::{Duration, Instant};

use kraft_core::machine::MachineState;
use kraft_core::readable;
use kraft_machine::{Id, Listed, Machine, Machines, Usage};
use kraft_sys::process::wait_readable;
use serde::Serialize;

use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_engine::interrupt::Interrupt;
use kraft_engine::machines;

/// The time between two measurements.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show what machines use
///
/// Show the processor time, memory, network and disk traffic of running machines, of all of them unless
/// machines are named, every second until Ctrl-C.
///
/// A machine is measured by its VMM: with everything in the guest, and what the VMM itself needs. Networks
/// are counted for machines in a network (`--network`), disks as far as the host's cache does not answer.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft stats
  kraft stats --no-stream alice bob
  kraft stats --no-stream -o json | jq -r '.[] | [.name, .memory] | @tsv'")]
pub(crate) struct Args {
    /// Machines, by name, id or unique prefix of either
    #[arg(value_name = MACHINE, conflicts_with = "all")]
    machines: Vec<String>,

    #[command(flatten)]
    options: Options,
}

/// How machines are measured and shown.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Show all machines, not only running ones
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Measure once and exit
    #[arg(long)]
    no_stream: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// What a machine uses; these are the fields of `-o json`. `null` is what is not known, or nothing if
/// the machine does not run.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    name: String,
    state: &'static str,
    /// 100 is one processor of the host.
    cpu_percent: Option<f64>,
    /// Bytes.
    memory: Option<u64>,
    /// The memory of the guest, in bytes.
    memory_limit: u64,
    memory_percent: Option<f64>,
    network_received: Option<u64>,
    network_sent: Option<u64>,
    disk_read: Option<u64>,
    disk_written: Option<u64>,
    /// The threads of the VMM.
    pids: Option<u32>,
}

/// One measurement of one machine.
struct Sample {
    machine: Machine,
    at: Instant,
    usage: Option<Usage>,
}

impl Row {
    /// Compares two measurements of a machine.
    fn of(before: Option<&Sample>, now: &Sample) -> Self {
        let vmm = now.usage.map(|usage| usage.vmm);
        let before = before.and_then(|it| Some((it.at, it.usage?.vmm.cpu)));
        let cpu_percent = before.zip(vmm).map(|((at, cpu), vmm)| {
            let passed = now.at.duration_since(at).as_secs_f64();
            // Less than before: the machine was started again.
            percent(vmm.cpu.saturating_sub(cpu).as_secs_f64(), passed)
        });
        let limit = now.machine.spec.memory;
        let network = now.usage.and_then(|usage| usage.network);
        let disk = vmm.and_then(|vmm| vmm.disk);
        Self {
            id: now.machine.id.to_string(),
            name: now.machine.name.clone(),
            state: now.machine.state.name(),
            cpu_percent,
            memory: vmm.map(|vmm| vmm.memory),
            memory_limit: limit,
            memory_percent: vmm.map(|vmm| percent(approximate(vmm.memory), approximate(limit))),
            network_received: network.map(|it| it.received),
            network_sent: network.map(|it| it.sent),
            disk_read: disk.map(|it| it.read),
            disk_written: disk.map(|it| it.written),
            pids: vmm.map(|vmm| vmm.threads),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "two decimal places are shown")]
fn approximate(bytes: u64) -> f64 {
    bytes as f64
}

/// Returns a share in percent, with two decimal places; 0 of nothing.
fn percent(part: f64, whole: f64) -> f64 {
    if whole <= 0.0 {
        return 0.0;
    }
    (part / whole * 10_000.0).round() / 100.0
}

const COLUMNS: &[Column<Row>] = &[
    Column::new("MACHINE ID", |row| Cell::new(&row.id)),
    Column::new("NAME", |row| Cell::new(&row.name)),
    Column::new("CPU %", |row| share(row.cpu_percent)),
    Column::new("MEM USAGE / LIMIT", |row| {
        let limit = readable::bytes(row.memory_limit);
        Cell::new(match row.memory {
            Some(memory) => format!("{} / {limit}", readable::bytes(memory)),
            None => format!("-- / {limit}"),
        })
    }),
    Column::new("MEM %", |row| share(row.memory_percent)),
    Column::new("NET I/O", |row| {
        both(row.network_received, row.network_sent)
    }),
    Column::new("BLOCK I/O", |row| both(row.disk_read, row.disk_written)),
    Column::new("PIDS", |row| {
        Cell::new(row.pids.map_or_else(unknown, |pids| pids.to_string()))
    }),
];

fn unknown() -> String {
    "--".to_owned()
}

fn share(percent: Option<f64>) -> Cell {
    Cell::new(percent.map_or_else(unknown, |percent| format!("{percent:.2}%")))
}

fn both(one: Option<u64>, other: Option<u64>) -> Cell {
    Cell::new(one.zip(other).map_or_else(unknown, |(one, other)| {
        format!("{} / {}", readable::decimal(one), readable::decimal(other))
    }))
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let mut named = Vec::new();
    for word in &args.machines {
        named.push(machines.resolve(word)?);
    }
    let all = args.options.all || !named.is_empty();
    show(app, &machines, &args.options, all, || {
        chosen(&machines, &named)
    })
}

/// Shows what machines use; unless `all` are wanted, those that run.
pub(crate) fn show(
    app: &App,
    machines: &Machines,
    args: &Options,
    all: bool,
    chosen: impl Fn() -> Result<Vec<Machine>, Failure>,
) -> Result<(), Failure> {
    let measure = || -> Result<Vec<Sample>, Failure> {
        let mut chosen = chosen()?;
        chosen.retain(|machine| all || runs(machine.state));
        let sample = |machine: Machine| Sample {
            at: Instant::now(),
            usage: machines.usage(&machine),
            machine,
        };
        Ok(chosen.into_iter().map(sample).collect())
    };
    let interrupt = app.interrupt.listen();
    let mut before = measure()?;
    loop {
        // An interrupt is the regular end of this command, not a failure.
        if !pause(&interrupt)? {
            return Ok(());
        }
        let now = measure()?;
        let rows: Vec<Row> = now
            .iter()
            .map(|sample| {
                let of_this = |it: &&Sample| it.machine.id == sample.machine.id;
                Row::of(before.iter().find(of_this), sample)
            })
            .collect();
        if !args.no_stream {
            app.ui.wipe()?;
        }
        app.ui.listing(args.output, &rows, COLUMNS)?;
        if args.no_stream {
            return Ok(());
        }
        before = now;
    }
}

/// Waits for the next measurement; `false` if the user interrupted.
fn pause(interrupt: &Interrupt) -> Result<bool, Failure> {
    let stop = interrupt.stop();
    let files: Vec<_> = stop.cancelled.into_iter().collect();
    wait_readable(&files, Some(Instant::now() + INTERVAL))
        .map_err(|error| Failure::new(Kind::Failed, error))?;
    Ok(!interrupt.is_cancelled())
}

/// Returns the chosen machines: those that are named and exist still, or all.
fn chosen(machines: &Machines, named: &[Id]) -> Result<Vec<Machine>, Failure> {
    if !named.is_empty() {
        let named = named.iter().filter_map(|id| machines.get(*id).ok());
        return Ok(named.collect());
    }
    let listed = machines.list()?.into_iter();
    let readable = listed.filter_map(|listed| match listed {
        Listed::Machine(machine) => Some(*machine),
        Listed::Unreadable(_) => None,
    });
    Ok(readable.collect())
}

/// Returns whether a machine in this state has a VMM.
fn runs(state: MachineState) -> bool {
    match state {
        MachineState::Running | MachineState::Paused | MachineState::Suspended => true,
        MachineState::Created
        | MachineState::Restarting
        | MachineState::Asleep
        | MachineState::Exited
        | MachineState::Errored
        | MachineState::Failed
        | MachineState::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    #[expect(clippy::float_cmp, reason = "rounded to what is compared")]
    fn shares_have_two_decimal_places() {
        assert_eq!(percent(1.0, 3.0), 33.33);
        assert_eq!(percent(2.0, 1.0), 200.0);
        assert_eq!(percent(1.0, 0.0), 0.0);
    }
}
