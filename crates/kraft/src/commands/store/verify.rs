//! `kraft store verify`.

use kraft_oci::digest::Damage;
use kraft_oci::store::verify::{self, DamagedBlob, Verdict};
use serde::Serialize;

use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ui::{Cell, Column, Format};
use kraft_core::readable::decimal as size;
use kraft_engine::{images, repair};

/// Verify all images
///
/// Compare every blob with its digest, and check that no part of an image is missing. The exit code
/// is 1 if something is damaged. With --repair, damaged parts are downloaded again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Download damaged and missing parts again
    #[arg(long)]
    repair: bool,

    /// Set the output format of the damaged parts
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// One row; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
struct Row {
    digest: String,
    damage: String,
    /// The images that need the blob.
    images: Vec<String>,
}

impl From<&DamagedBlob> for Row {
    fn from(blob: &DamagedBlob) -> Self {
        Self {
            digest: blob.digest.to_string(),
            damage: blob.damage.to_string(),
            images: blob.images.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let store = images::open(app)?;
    let mut verdict = look(app, &*store)?;
    if args.repair && !verdict.damaged.is_empty() {
        for unrepaired in repair::repair(app, &store, &verdict.damaged)? {
            app.failure(&unrepaired.into());
        }
        verdict = look(app, &*store)?;
    }
    let rows: Vec<Row> = verdict.damaged.iter().map(Row::from).collect();
    if !rows.is_empty() || args.output != Format::Table {
        app.ui.listing(args.output, &rows, COLUMNS)?;
    }
    let summary = format!(
        "{} blobs ({}) of {} images",
        verdict.blobs,
        size(verdict.bytes),
        verdict.images
    );
    if rows.is_empty() {
        app.ui.info(&format!("{summary}: no errors"));
        return Ok(());
    }
    let failure = Failure::new(Kind::Failed, format!("{summary}: {} damaged", rows.len()));
    let is_unusable = |blob: &DamagedBlob| matches!(blob.damage, Damage::Unusable(_));
    let failure = match verdict.damaged.iter().find(|blob| is_unusable(blob)) {
        Some(DamagedBlob { images, .. }) if !images.is_empty() => {
            let images: Vec<_> = images.iter().map(ToString::to_string).collect();
            failure.hint(format!(
                "unusable images cannot be repaired: remove them with `kraft pkg rm {}`",
                images.join(" ")
            ))
        }
        _ => failure,
    };
    if verdict.damaged.iter().all(is_unusable) {
        return Err(failure);
    }
    Err(if args.repair {
        failure.hint(
            "package images again that no registry has, or remove them with `kraft pkg rm IMAGE`",
        )
    } else {
        failure.hint("`kraft store verify --repair` downloads them again")
    })
}

fn look(app: &App, store: &dyn kraft_oci::store::Store) -> Result<Verdict, Failure> {
    let verdict = app.progress().run("verifying the store", None, |task| {
        verify::verify(store, &|done| task.advanced(done))
    });
    Ok(verdict?)
}

const COLUMNS: &[Column<Row>] = &[
    Column {
        title: "BLOB",
        cell: |row| Cell::new(&row.digest),
    },
    Column {
        title: "DAMAGE",
        cell: |row| Cell::new(&row.damage),
    },
    Column {
        title: "IMAGES",
        cell: |row| Cell::new(row.images.join(", ")),
    },
];
