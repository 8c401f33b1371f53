//! `kraft top`.

use std::time::Duration;

use kraft_sys::usage::Thread;
use serde::Serialize;

use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_engine::machines;
use kraft_machine::{Machine, Machines};

/// List the threads of a machine's VMM
///
/// List the threads of the process that runs a machine, with the processor time of each. Programs in the
/// machine are not among them: a unikernel has no way to list them for the host.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft top alice
  kraft top alice -o json | jq '.[].cpu_ms'")]
pub(crate) struct Args {
    /// Machine, by name, id or unique prefix of either
    #[arg(value_name = MACHINE)]
    machine: String,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// A thread; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Row {
    pid: u32,
    tid: u32,
    /// As `ps` prints it.
    state: char,
    /// The time of processors that it took, in milliseconds.
    cpu_ms: u64,
    name: String,
}

impl Row {
    fn of(pid: u32, thread: Thread) -> Self {
        Self {
            pid,
            tid: thread.id,
            state: thread.state,
            cpu_ms: u64::try_from(thread.cpu.as_millis()).unwrap_or(u64::MAX),
            name: thread.name,
        }
    }
}

const COLUMNS: &[Column<Row>] = &[
    Column::new("PID", |row| Cell::new(row.pid.to_string())),
    Column::new("TID", |row| Cell::new(row.tid.to_string())),
    Column::new("STAT", |row| Cell::new(row.state.to_string())),
    Column::new("TIME", |row| Cell::new(clock(row.cpu_ms))),
    Column::new("CMD", |row| Cell::new(&row.name)),
];

/// Formats a time of processors as `ps` does, with centiseconds: `00:00:01.25`.
fn clock(millis: u64) -> String {
    let time = Duration::from_millis(millis);
    let seconds = time.as_secs();
    format!(
        "{:02}:{:02}:{:02}.{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        time.subsec_millis() / 10
    )
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::existing(app);
    let machine = machines.find(&args.machine)?;
    print(app, &machines, &machine, args.output)
}

/// Lists the threads of the VMM of a machine.
pub(crate) fn print(
    app: &App,
    machines: &Machines,
    machine: &Machine,
    output: Format,
) -> Result<(), Failure> {
    let found = machines.threads(machine)?;
    let threads = found.threads.into_iter();
    let rows: Vec<Row> = threads.map(|thread| Row::of(found.pid, thread)).collect();
    app.ui.listing(output, &rows, COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::clock;

    #[test]
    fn times_have_hours_minutes_and_seconds() {
        assert_eq!(clock(0), "00:00:00.00");
        assert_eq!(clock(3_723_456), "01:02:03.45");
    }
}
