//! What registries have: asked now, or when they were asked the last time.

use std::path::PathBuf;

use jiff::Timestamp;
use kraft_core::event::{Event, Reporter};
use kraft_core::readable;
use kraft_oci::catalog::{self, Catalog};
use kraft_oci::listing::Row;

use super::network::{self, Network};
use crate::context::Context;
use crate::failure::Failure;

/// Adds the rows of registries to those of the store, which are not told twice.
pub fn add(ctx: &Context, rows: &mut Vec<Row>, update: bool) -> Result<(), Failure> {
    let hosts = network::registries(ctx);
    if update {
        refresh(ctx)?;
    }
    let mut oldest: Option<Timestamp> = None;
    for catalog in catalog::load(&dir(ctx)) {
        if !hosts.contains(&catalog.host) {
            continue;
        }
        let mut known = false;
        for row in catalog.rows() {
            let here = rows.iter().any(|other| {
                other.name == row.name && other.manifest == row.manifest && other.index == row.index
            });
            if !here {
                rows.push(row);
                known = true;
            }
        }
        if known {
            oldest = Some(oldest.map_or(catalog.asked, |oldest| oldest.min(catalog.asked)));
        }
    }
    if let Some(oldest) = oldest.filter(|_| !update) {
        ctx.info(&format!(
            "what registries have is as of {}; `--update` asks them again",
            readable::ago(Timestamp::now().duration_since(oldest).unsigned_abs())
        ));
    }
    Ok(())
}

/// Asks every registry. One that does not answer is told, and fails the whole only if all do.
pub fn refresh(ctx: &Context) -> Result<(), Failure> {
    let network = Network::open(ctx)?;
    let progress = ctx.progress();
    let mut last = None;
    let mut answered = false;
    for (task, host) in (1..).zip(network::registries(ctx)) {
        progress.report(Event::Started {
            task,
            what: format!("asking {host} what it has"),
            total: None,
        });
        let asked = network.run(catalog::refresh(
            &network.registry,
            &host,
            &dir(ctx),
            &|done| {
                progress.report(Event::Advanced {
                    task,
                    done: done as u64,
                });
            },
        ));
        progress.report(match asked {
            Ok(_) => Event::Finished { task },
            Err(_) => Event::Failed { task },
        });
        match asked.map_err(Failure::from) {
            Ok(Catalog { .. }) => answered = true,
            Err(failure) => {
                if let Some(earlier) = last.replace(failure) {
                    ctx.failure(&earlier);
                }
            }
        }
    }
    match last {
        Some(failure) if !answered => Err(failure),
        Some(failure) => {
            for sentence in failure.message.sentences() {
                ctx.warn(&sentence);
            }
            Ok(())
        }
        None => Ok(()),
    }
}

fn dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("catalog")
}
