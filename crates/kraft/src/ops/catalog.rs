//! What registries have: asked now, or when they were asked the last time.

use std::path::PathBuf;

use jiff::Timestamp;
use kraft_core::event::{Event, Reporter};
use kraft_oci::catalog::{self, Catalog};
use kraft_oci::listing::Row;

use super::machines::ago;
use super::network::{self, Network};
use crate::app::App;
use crate::failure::Failure;

/// Adds the rows of registries to those of the store, which are not told twice.
pub(crate) fn add(app: &App, rows: &mut Vec<Row>, update: bool) -> Result<(), Failure> {
    let hosts = network::registries(app);
    if update {
        refresh(app)?;
    }
    let mut oldest: Option<Timestamp> = None;
    for catalog in catalog::load(&dir(app)) {
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
        app.ui.info(&format!(
            "what registries have is as of {}; `--update` asks them again",
            ago(oldest, Timestamp::now())
        ));
    }
    Ok(())
}

/// Asks every registry. One that does not answer is told, and fails the whole only if all do.
pub(crate) fn refresh(app: &App) -> Result<(), Failure> {
    let network = Network::open(app)?;
    let progress = app.ui.progress();
    let mut last = None;
    let mut answered = false;
    for (task, host) in (1..).zip(network::registries(app)) {
        progress.report(Event::Started {
            task,
            what: format!("asking {host} what it has"),
            total: None,
        });
        let asked = network.run(catalog::refresh(
            &network.registry,
            &host,
            &dir(app),
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
                    app.ui.failure(&earlier);
                }
            }
        }
    }
    match last {
        Some(failure) if !answered => Err(failure),
        Some(failure) => {
            for sentence in failure.message.sentences() {
                app.ui.warn(&sentence);
            }
            Ok(())
        }
        None => Ok(()),
    }
}

fn dir(app: &App) -> PathBuf {
    app.config.runtime_dir().join("catalog")
}
