//! Metros: the public ones, and the one that is named by its URL; all are asked at once.

use std::net::Ipv4Addr;

use kraft_cloud::endpoint::{self, Endpoint};
use kraft_cloud::probe;
use kraft_http::Policy;
use serde::Serialize;

use super::Where;
use kraft_engine::context::Context;
use kraft_engine::failure::Failure;
use kraft_engine::network;

/// A metro, and what is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What it is called by: `fra0`, or a URL.
    pub code: String,
    /// The address of its proxy, if its name is known here.
    pub ipv4: Option<Ipv4Addr>,
    /// The town.
    pub location: String,
    /// The name of its proxy.
    pub proxy: String,
    /// Whether it answers as a metro does; nothing if nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// How long a connection to it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// Returns all metros; with `status` the nearest first, and those that do not answer last.
pub fn look(ctx: &Context, at: &Where, status: bool) -> Result<Vec<Row>, Failure> {
    let mut wanted = Vec::new();
    for metro in endpoint::METROS {
        let endpoint = Endpoint::of(metro.code).map_err(Failure::usage)?;
        wanted.push((endpoint, metro.location.to_owned(), metro.host()));
    }
    if let Some(url) = at.metro(ctx).filter(|metro| metro.contains("://")) {
        let endpoint = Endpoint::of(&url).map_err(Failure::usage)?;
        let host = endpoint.host().to_owned();
        wanted.push((endpoint, String::new(), host));
    }
    let runtime = ctx.runtime()?;
    let policy = network::policy(ctx);
    let asked: Vec<_> = wanted
        .into_iter()
        .map(|wanted| runtime.spawn(one(wanted, status, policy.clone())))
        .collect();
    let mut rows: Vec<Row> = runtime.block_on(async {
        let mut rows = Vec::new();
        for asked in asked {
            rows.extend(asked.await.ok());
        }
        rows
    });
    if status {
        rows.sort_by_key(|row| row.delay_ms.unwrap_or(u64::MAX));
    }
    Ok(rows)
}

/// Asks which metro is meant; nothing where nobody can be asked.
pub(super) fn ask(ctx: &Context) -> Result<Option<String>, Failure> {
    let lines: Vec<String> = endpoint::METROS
        .iter()
        .map(|metro| format!("{} ({})", metro.code, metro.location))
        .collect();
    let at = ctx.select("Which metro?", &lines)?;
    let chosen = at.and_then(|at| endpoint::METROS.get(at));
    if let Some(metro) = chosen {
        ctx.info(&format!(
            "`export UKC_METRO={}` says it without being asked",
            metro.code
        ));
    }
    Ok(chosen.map(|metro| metro.code.to_owned()))
}

async fn one(
    (endpoint, location, proxy): (Endpoint, String, String),
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
