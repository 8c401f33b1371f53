//! `kraft port`.

use kraft_core::port::{PortMapping, Protocol};
use serde::Serialize;

use crate::app::App;
use crate::completion::MACHINE;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_engine::machines;
use kraft_machine::Machine;

/// List the published ports of a machine
///
/// List the ports of a machine with their addresses on the host; with a port, print only its
/// address. The host ports of a machine that does not run are those of its configuration.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft port web
  curl http://$(kraft port web 80)/")]
pub(crate) struct Args {
    /// Machine, by name, id or unique prefix of either
    #[arg(value_name = MACHINE)]
    machine: String,

    /// Print only the address of this port of the machine
    #[arg(value_name = "PORT[/PROTOCOL]", value_parser = port)]
    port: Option<Port>,

    /// Set the output format
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        conflicts_with = "port"
    )]
    output: Format,
}

/// A port of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
}

/// Parses the name of a protocol.
pub(crate) fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err("expected tcp or udp".to_owned()),
    }
}

/// Parses `PORT[/PROTOCOL]`.
pub(crate) fn port(text: &str) -> Result<Port, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = self::protocol(protocol)?;
    match number.parse() {
        Ok(number) if number > 0 => Ok(Port { number, protocol }),
        _ => Err("expected a port such as 80 or 53/udp".to_owned()),
    }
}

/// A published port, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    port: u16,
    protocol: Protocol,
    host: String,
}

impl From<&PortMapping> for Row {
    fn from(mapping: &PortMapping) -> Self {
        Self {
            port: mapping.machine_port,
            protocol: mapping.protocol,
            host: std::net::SocketAddr::new(mapping.host_ip, mapping.host_port).to_string(),
        }
    }
}

const COLUMNS: &[Column<Row>] = &[
    Column::new("PORT", |row| {
        Cell::new(format!("{}/{}", row.port, row.protocol))
    }),
    Column::new("HOST", |row| Cell::new(&row.host)),
];

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let machine = machines::existing(app).find(&args.machine)?;
    print(app, &machine, args.port, args.output)
}

/// Prints the ports of a machine, or the address of one of them.
pub(crate) fn print(
    app: &App,
    machine: &Machine,
    port: Option<Port>,
    output: Format,
) -> Result<(), Failure> {
    let rows: Vec<Row> = machine.ports.iter().map(Row::from).collect();
    let Some(Port { number, protocol }) = port else {
        return app.ui.listing(output, &rows, COLUMNS);
    };
    let mut found = rows
        .iter()
        .filter(|row| row.port == number && row.protocol == protocol)
        .peekable();
    if found.peek().is_none() {
        let name = &machine.name;
        return Err(Failure::new(
            Kind::NotFound,
            format!("the machine `{name}` does not publish port {number}/{protocol}"),
        )
        .hint(format!("`kraft port {name}` lists what it publishes")));
    }
    found.try_for_each(|row| app.ui.line(&row.host))
}
