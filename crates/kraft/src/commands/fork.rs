//! `kraft fork`.

use kraft_core::port::PortMapping;
use kraft_machine::Error;

use crate::app::App;
use crate::commands::tally::Tally;
use crate::failure::Failure;
use kraft_engine::snapshots::{self, Changes};
use kraft_engine::{machines, rootfs};

/// Start copies of a machine or a snapshot
///
/// Start machines that continue from where a machine is now, or from a snapshot, and print their names.
/// They have names, addresses and ports of their own, and share the memory that they do not change. The
/// machine itself continues.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft fork web
  kraft fork ready --number 20
  kraft port ready-1")]
pub(crate) struct Args {
    /// Machine or snapshot
    #[arg(value_name = crate::completion::MACHINE)]
    source: String,

    /// Set the number of copies
    #[arg(short, long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    number: u32,

    /// Set the beginning of their names (default: that of the machine or the snapshot)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Publish a port of the machines on the host (default: those of the machine, each on a free port)
    #[arg(short, long, value_name = "[[IP:]PORT:]PORT[/udp]")]
    port: Vec<String>,

    /// Remove the machines when they end
    #[arg(long)]
    rm: bool,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machines = machines::open(app)?;
    let _files = rootfs::for_machine(app, &machines)?;
    let mut ports: Vec<PortMapping> = Vec::new();
    for port in &args.port {
        ports.extend(kraft_core::port::parse(port).map_err(Failure::usage)?);
    }
    // A machine goes before a snapshot of the same name, which `run --snapshot` takes.
    let (source, base) = match machines.find(&args.source) {
        Ok(machine) => (machines.save_for_forks(&machine.id)?, machine.name),
        Err(Error::NotFound { query, similar }) => match machines.snapshot(&args.source) {
            Ok(snapshot) => (snapshot.into(), args.source.clone()),
            Err(Error::NoSnapshot { .. }) => return Err(Error::NotFound { query, similar }.into()),
            Err(error) => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    };
    let saved = &source.saved().spec;
    let changes = Changes {
        ports: Some(if ports.is_empty() {
            snapshots::any_ports(&saved.ports)
        } else {
            ports
        }),
        remove_when_ended: args.rm,
        name: None,
    };
    let base = args.name.as_ref().unwrap_or(&base);
    let forks = snapshots::fork(&machines, source.dir(), saved, base, args.number, &changes)?;
    let mut tally = Tally::default();
    for (machine, started) in forks {
        if started.is_err() {
            // The failed start is what is reported.
            let _ = machines.remove(&machine.id, true);
        }
        if tally.count(app, started).is_some() {
            app.ui.line(&machine.name)?;
        }
    }
    tally.outcome()
}
