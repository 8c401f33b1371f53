//! `kraft net inspect`.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use kraft_core::net::Mac;
use kraft_core::port::PortMapping;
use kraft_net::{Active, Networks};
use serde::Serialize;

use super::ls::state;
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column, DetailsFormat};
use kraft_engine::machines;

/// Show details of a network
///
/// Print all details of a network and of the machines in it as JSON.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft net inspect web
  kraft net inspect web -o table
  kraft net inspect web | jq -r '.spec.interfaces[].spec.cidr'")]
pub(crate) struct Args {
    /// Name of the network
    #[arg(value_name = "NETWORK")]
    name: String,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    output: DetailsFormat,
}

// KraftKit compat: the fields of its object, and more.

/// A network.
#[derive(Debug, Serialize)]
struct Inspected {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Serialize)]
struct Metadata {
    name: String,
    uid: String,
    #[serde(rename = "creationTimestamp", skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Spec {
    driver: String,
    gateway: Ipv4Addr,
    netmask: Ipv4Addr,
    internal: bool,
    interfaces: Vec<Interface>,
}

#[derive(Debug, Serialize)]
struct Status {
    state: &'static str,
    /// The address of the host in the network, while machines run.
    host: Option<Ipv4Addr>,
    /// Why there is no way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_way_out: Option<String>,
}

/// A machine in the network.
#[derive(Debug, Serialize)]
struct Interface {
    metadata: Metadata,
    spec: InterfaceSpec,
    status: InterfaceStatus,
}

#[derive(Debug, Serialize)]
struct InterfaceSpec {
    cidr: String,
    mac: Mac,
}

#[derive(Debug, Serialize)]
struct InterfaceStatus {
    running: bool,
    ports: Vec<PortMapping>,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let networks = machines::existing(app).networks();
    let inspected = inspect(&networks, &args.name)?;
    let rows = &inspected.spec.interfaces;
    app.ui.details(args.output, &inspected, rows, COLUMNS)
}

const COLUMNS: &[Column<Interface>] = &[
    Column::new("MACHINE", |row| Cell::new(&row.metadata.name)),
    Column::new("ADDRESS", |row| Cell::new(&row.spec.cidr)),
    Column::new("MAC", |row| Cell::new(row.spec.mac.to_string())),
    Column::new("STATUS", |row| {
        Cell::new(if row.status.running {
            "running"
        } else {
            "stopped"
        })
    }),
    Column::new("PORTS", |row| {
        let ports: Vec<String> = row.status.ports.iter().map(ToString::to_string).collect();
        Cell::new(ports.join(", "))
    }),
];

fn inspect(networks: &Networks, name: &str) -> Result<Inspected, Failure> {
    let network = networks.get(name)?;
    let active = networks.active(name)?;
    let (host, no_way_out) = match networks.way_out(name)? {
        Some(Ok(host)) => (Some(host), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let running = |id: &str| -> Option<&Active> { active.iter().find(|it| it.machine == id) };
    let interfaces = networks.leases(name)?.into_iter().map(|lease| {
        let running = running(&lease.machine);
        Interface {
            status: InterfaceStatus {
                running: running.is_some(),
                ports: running.map(|it| it.ports.clone()).unwrap_or_default(),
            },
            metadata: Metadata {
                name: lease.name,
                uid: lease.machine,
                created_at: None,
            },
            spec: InterfaceSpec {
                cidr: format!("{}/{}", lease.address, network.gateway.prefix_len()),
                mac: lease.mac,
            },
        }
    });
    Ok(Inspected {
        spec: Spec {
            interfaces: interfaces.collect(),
            driver: network.driver.clone(),
            gateway: network.gateway.addr(),
            netmask: network.gateway.netmask(),
            internal: network.internal,
        },
        status: Status {
            state: state(network.up),
            host,
            no_way_out,
        },
        metadata: Metadata {
            uid: network.id.to_string(),
            created_at: Some(network.created_at),
            name: network.name,
        },
    })
}
