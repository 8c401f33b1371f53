//! The metros: the public ones, and one that is given by its URL. All are probed at once.
//!
//! ```no_run
//! use kraft_deploy::{CloudOptions, metros};
//! # fn example(context: &kraft_engine::context::Context) -> Result<(), metros::Error> {
//! // Asks every metro; the nearest is first.
//! let rows = metros::list(context, &CloudOptions::default(), true)?;
//! assert!(rows.iter().any(|row| row.code == "fra0"));
//! # Ok(())
//! # }
//! ```

use std::net::Ipv4Addr;

use kraft_cloud::endpoint::{self, Endpoint, EndpointError};
use kraft_cloud::probe;
use kraft_engine::context::{AskError, Context, RuntimeError};
use kraft_engine::network;
use kraft_http::Policy;
use serde::Serialize;

use crate::cloud::CloudOptions;
use crate::{control, profiles};

/// Why the metros cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL of the metro is invalid.
    #[error(transparent)]
    Metro(#[from] EndpointError),
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] profiles::Error),
    /// The runtime cannot be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// A metro and its state.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name: `fra0`, or a URL.
    pub code: String,
    /// The address of its proxy, if its name can be resolved.
    pub ipv4: Option<Ipv4Addr>,
    /// The city.
    pub location: String,
    /// The domain of its proxy.
    pub proxy: String,
    /// Whether it answers as a metro does; `None` if it was not probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// How long a connection to it takes, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// A metro to probe.
struct Candidate {
    endpoint: Endpoint,
    location: String,
    proxy: String,
}

/// Lists all metros; with `status` the nearest first, and those that do not answer last.
///
/// # Errors
///
/// If the URL of a private metro is invalid.
pub fn list(ctx: &Context, options: &CloudOptions, status: bool) -> Result<Vec<Row>, Error> {
    let mut candidates = Vec::new();
    for metro in control::metros_or_known(ctx, options) {
        let known = endpoint::METROS.iter().find(|one| one.code == metro.name);
        let endpoint = Endpoint::of(match metro.endpoint.as_str() {
            "" => &metro.name,
            url => url,
        })?;
        let place = [metro.iata_code.as_str(), metro.country.as_str()];
        let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
        candidates.push(Candidate {
            location: known.map_or(place.join(", "), |known| known.location.to_owned()),
            proxy: known.map_or(endpoint.host().to_owned(), endpoint::Metro::host),
            endpoint: endpoint.named(&metro.name),
        });
    }
    let url = options.metro(ctx)?;
    if let Some(url) = url.filter(|metro| metro.contains("://")) {
        let endpoint = Endpoint::of(&url)?;
        candidates.push(Candidate {
            proxy: endpoint.host().to_owned(),
            location: String::new(),
            endpoint,
        });
    }
    let runtime = ctx.runtime()?;
    let policy = network::policy(ctx);
    let probes: Vec<_> = candidates
        .into_iter()
        .map(|candidate| runtime.spawn(row(candidate, status, policy.clone())))
        .collect();
    let mut rows: Vec<Row> = runtime.block_on(async {
        let mut rows = Vec::new();
        for probe in probes {
            rows.extend(probe.await.ok());
        }
        rows
    });
    if status {
        rows.sort_by_key(|row| row.delay_ms.unwrap_or(u64::MAX));
    }
    Ok(rows)
}

/// The name that selects all metros.
pub const ALL: &str = "all";

/// Returns options for each metro, with its name: one, or all of `--metro all`.
#[must_use]
pub fn each(ctx: &Context, options: &CloudOptions) -> Vec<(String, CloudOptions)> {
    let metros = control::metros_or_known(ctx, options).into_iter();
    metros
        .map(|metro| {
            let url = if metro.endpoint.is_empty() {
                metro.name.clone()
            } else {
                metro.endpoint
            };
            let options = CloudOptions {
                metro: Some(url),
                ..options.clone()
            };
            (metro.name, options)
        })
        .collect()
}

/// Asks the user for the metro; `None` if there is no terminal to ask.
pub(crate) fn ask(ctx: &Context) -> Result<Option<String>, AskError> {
    let lines: Vec<String> = endpoint::METROS
        .iter()
        .map(|metro| format!("{} ({})", metro.code, metro.location))
        .collect();
    let index = ctx.ask.select("Which metro?", &lines)?;
    let chosen = index.and_then(|index| endpoint::METROS.get(index));
    if let Some(metro) = chosen {
        ctx.info(&format!(
            "`export UKC_METRO={}` selects it without a question",
            metro.code
        ));
    }
    Ok(chosen.map(|metro| metro.code.to_owned()))
}

async fn row(
    Candidate {
        endpoint,
        location,
        proxy,
    }: Candidate,
    status: bool,
    policy: Policy,
) -> Row {
    let offline = policy.offline;
    let probing = status && !offline;
    let (ipv4, delay) = tokio::join!(
        async {
            if offline {
                return None;
            }
            probe::address(&proxy).await
        },
        async {
            if !probing {
                return None;
            }
            probe::delay(endpoint.base(), &policy).await
        }
    );
    Row {
        code: endpoint.metro().to_owned(),
        ipv4,
        location,
        proxy,
        online: status.then_some(delay.is_some()),
        delay_ms: delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
    }
}
