//! `kraft cloud instance metrics`.

use kraft_cloud::resources::instances::{self, Metrics};

use super::super::choose::ids;
use super::super::output::{self, Form, Shown};
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_core::readable::decimal as size;
use kraft_deploy::Cloud;

/// Show metrics of instances
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or UUIDs (default: all instances)
    #[arg(value_name = "INSTANCE")]
    instances: Vec<String>,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

type Field = Column<Metrics>;

const UUID: Field = Column::new("UUID", |one| Cell::new(&one.uuid));
const NAME: Field = Column::new("NAME", |one| Cell::new(&one.name));
const STATE: Field = Column::new("STATE", |one| Cell::new(&one.state));
const MEMORY: Field = Column::new("MEMORY IN USE", |one| Cell::new(size(one.rss_bytes)));
const CPU: Field = Column::new("CPU TIME", |one| {
    Cell::new(format!("{} ms", one.cpu_time_ms))
});
const RECEIVED: Field = Column::new("RECEIVED", |one| Cell::new(size(one.rx_bytes)));
const SENT: Field = Column::new("SENT", |one| Cell::new(size(one.tx_bytes)));
const CONNECTIONS: Field = Column::new("CONNECTIONS", |one| Cell::new(one.nconns.to_string()));
const REQUESTS: Field = Column::new("REQUESTS", |one| Cell::new(one.nreqs.to_string()));
const QUEUED: Field = Column::new("QUEUED", |one| Cell::new(one.nqueued.to_string()));
const TOTAL: Field = Column::new("REQUESTS IN ALL", |one| Cell::new(one.ntotal.to_string()));

impl Shown for Metrics {
    const TABLE: &'static [Field] = &[
        NAME,
        STATE,
        MEMORY,
        CPU,
        RECEIVED,
        SENT,
        CONNECTIONS,
        REQUESTS,
    ];
    const LIST: &'static [Field] = &[
        UUID,
        NAME,
        STATE,
        MEMORY,
        CPU,
        RECEIVED,
        SENT,
        CONNECTIONS,
        REQUESTS,
        QUEUED,
        TOTAL,
    ];
}

pub(super) fn exec(app: &App, cloud: &Cloud, args: &Args) -> Result<(), Failure> {
    let answer = cloud.send(&instances::metrics(&ids(&args.instances)))?;
    output::print(app, args.output, answer)
}
