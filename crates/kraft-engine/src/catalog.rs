//! The images of registries, as they were listed the last time or are now.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.settings.runtime_dir = dir.path().to_owned();
//! # context.dirs.data = dir.path().join("data");
//! // With no registry configured there is nothing to ask.
//! context.settings.manifests = vec!["/srv/index.yaml".to_owned()];
//! let mut rows = Vec::new();
//! kraft_engine::catalog::add(&context, &mut rows, false)?;
//! assert!(rows.is_empty());
//! # Ok(())
//! # }
//! ```

use std::collections::HashSet;
use std::path::PathBuf;

use jiff::Timestamp;
use kraft_core::error::chain;
use kraft_core::event::{Event, Reporter};
use kraft_core::readable;
use kraft_oci::catalog::{self, CatalogError};
use kraft_oci::listing::Row;

use super::network::{self, Network};
use crate::context::Context;

/// Why registries cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No registry can be listed; this is the last one.
    #[error("cannot list the images of `{host}`")]
    Registry {
        /// The registry.
        host: String,
        /// Why.
        source: Box<CatalogError>,
    },
    /// The client of registries cannot be set up.
    #[error(transparent)]
    Client(#[from] network::Error),
}

/// Adds the images of registries to those of the store, each once; with `update`, lists them again
/// first.
///
/// # Errors
///
/// As [`refresh`].
pub fn add(ctx: &Context, rows: &mut Vec<Row>, update: bool) -> Result<(), Error> {
    let hosts = network::registries(ctx);
    if update {
        refresh(ctx)?;
    }
    let identity = |row: &Row| {
        let digests = (row.manifest.clone(), row.index.clone());
        (row.name.clone(), digests)
    };
    let mut listed: HashSet<_> = rows.iter().map(identity).collect();
    let mut oldest: Option<Timestamp> = None;
    for catalog in catalog::load(&dir(ctx)) {
        if !hosts.contains(&catalog.host) {
            continue;
        }
        let mut added = false;
        for row in catalog.rows() {
            if listed.insert(identity(&row)) {
                rows.push(row);
                added = true;
            }
        }
        if added {
            oldest = Some(oldest.map_or(catalog.asked, |oldest| oldest.min(catalog.asked)));
        }
    }
    if let Some(oldest) = oldest.filter(|_| !update) {
        ctx.info(&format!(
            "registries were listed {}; `--update` lists them again",
            readable::ago(Timestamp::now().duration_since(oldest).unsigned_abs())
        ));
    }
    Ok(())
}

/// Lists the images of every configured registry, and keeps the lists. Warns of a registry that
/// fails.
///
/// # Errors
///
/// If every registry fails.
pub fn refresh(ctx: &Context) -> Result<(), Error> {
    let network = Network::open(ctx)?;
    let progress = ctx.progress();
    let mut last = None;
    let mut answered = false;
    for (task, host) in (1..).zip(network::registries(ctx)) {
        tracing::debug!(%host, "listing a registry");
        progress.report(Event::Started {
            task,
            what: format!("listing the images of {host}"),
            total: None,
        });
        let listed = network.run(catalog::refresh(
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
        match listed {
            Ok(_) => {
                progress.report(Event::Finished { task });
                answered = true;
            }
            Err(error) => {
                progress.report(Event::Failed { task });
                let source = Box::new(error);
                if let Some(earlier) = last.replace(Error::Registry { host, source }) {
                    ctx.warn(&chain(&earlier));
                }
            }
        }
    }
    match last {
        Some(error) if !answered => Err(error),
        Some(error) => {
            ctx.warn(&chain(&error));
            Ok(())
        }
        None => Ok(()),
    }
}

fn dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("catalog")
}
