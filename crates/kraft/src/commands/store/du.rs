//! `kraft store du`.

use kraft_oci::store::verify::{self, Usage};
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_core::readable::decimal as size;
use kraft_engine::images;

/// Show the disk usage of images
///
/// Show for each image its total size and its unique size: the bytes that no other image shares,
/// which are freed if it is removed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// One row; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Total size, in bytes.
    size: u64,
    /// Size that no other image shares, in bytes.
    own: u64,
}

impl From<Usage> for Row {
    fn from(usage: Usage) -> Self {
        Self {
            name: usage.name.to_string(),
            size: usage.bytes,
            own: usage.own,
        }
    }
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let room = verify::room(&*store)?;
    let rows: Vec<Row> = room.images.into_iter().map(Row::from).collect();
    app.ui.listing(
        args.output,
        &rows,
        &[
            Column {
                title: "NAME",
                cell: |row: &Row| Cell::new(&row.name),
            },
            Column {
                title: "SIZE",
                cell: |row: &Row| Cell::new(size(row.size)),
            },
            Column {
                title: "OWN",
                cell: |row: &Row| Cell::new(size(row.own)),
            },
        ],
    )?;
    app.ui.info(&format!(
        "{} in total, `kraft store gc` can free {}",
        size(room.total),
        size(room.reclaimable)
    ));
    Ok(())
}
