//! Wait until instances run, and until they answer HTTP.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use kraft_cloud::resources::instances::Instance;
//! use kraft_deploy::readiness::{WaitOptions, wait_running};
//! # fn example(
//! #     context: &kraft_engine::context::Context,
//! #     cloud: &kraft_deploy::Cloud,
//! #     started: Vec<Instance>,
//! # ) -> Result<(), kraft_deploy::readiness::Error> {
//! let options = WaitOptions { limit: Duration::from_secs(60), stable: Duration::from_secs(1) };
//! let running = wait_running(context, cloud, &started, options)?;
//! assert_eq!(running.len(), started.len());
//! # Ok(())
//! # }
//! ```

use std::time::{Duration, Instant};

use kraft_cloud::health::{HealthCheck, HealthError};
use kraft_cloud::resources::instances::{self, Instance};
use kraft_cloud::resources::{self, Known};
use kraft_core::error::chain;
use kraft_engine::context::Context;

use crate::cloud::Cloud;
use crate::error::{Interrupted, RequestError};
use crate::logs;

/// Interval between two polls.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a new domain name may take to resolve locally; it is not awaited longer.
const PROPAGATION: Duration = Duration::from_secs(5);
/// Number of log lines that are reported when an instance fails.
const LINES: usize = 20;

/// Why an instance is not ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The instance ended instead of running.
    #[error("the instance `{name}` has {}", .reason.as_ref().map_or("stopped".to_owned(), |end| format!("ended: {end}")))]
    Ended {
        /// Its name.
        name: String,
        /// Why it ended, if the platform reports that.
        reason: Option<String>,
    },
    /// The instance does not run in time.
    #[error("the instance `{name}` does not run after {limit:?}: it is {state}")]
    NotRunning {
        /// Its name.
        name: String,
        /// How long it was awaited.
        limit: Duration,
        /// The state that it is in.
        state: String,
    },
    /// The instance runs and does not answer in time.
    #[error("`{name}` runs, but {url} does not answer after {limit:?}")]
    NoAnswer {
        /// Its name.
        name: String,
        /// Its address.
        url: String,
        /// How long it was awaited.
        limit: Duration,
        /// What the last request failed with.
        #[source]
        source: Box<HealthError>,
    },
    /// A request to the platform failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<Interrupted> for Error {
    fn from(error: Interrupted) -> Self {
        Self::Request(error.into())
    }
}

/// How long instances are awaited.
#[derive(Clone, Copy, Debug)]
pub struct WaitOptions {
    /// Time limit until they run.
    pub limit: Duration,
    /// How long they must have run: many crash in their first moments.
    pub stable: Duration,
}

/// How the public address of an instance is awaited.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// The URL.
    pub url: &'a str,
    /// Time limit until it answers.
    pub limit: Duration,
}

/// Waits until instances run, or are on standby, or have ended successfully; returns their state
/// then.
///
/// # Errors
///
/// If one of them fails, after its last log lines were reported, or at the time limit.
pub fn wait_running(
    ctx: &Context,
    cloud: &Cloud,
    started: &[Instance],
    WaitOptions { limit, stable }: WaitOptions,
) -> Result<Vec<Instance>, Error> {
    let ids = resources::ids(started);
    let until = Instant::now() + limit;
    let mut reported = false;
    let mut since = None;
    loop {
        let found = cloud.all(&instances::get(&ids))?;
        if let Some(failed) = found.iter().find(|one| has_failed(one)) {
            report_log(ctx, cloud, failed);
            return Err(ended(failed));
        }
        if found.iter().all(is_ready) {
            let first = *since.get_or_insert_with(Instant::now);
            if first.elapsed() >= stable {
                return Ok(found);
            }
        } else {
            since = None;
        }
        if since.is_none() && Instant::now() >= until {
            let late = found.iter().find(|one| !is_ready(one));
            let late = late.or(found.first()).cloned().unwrap_or_default();
            report_log(ctx, cloud, &late);
            return Err(Error::NotRunning {
                name: late.title().to_owned(),
                limit,
                state: late.state,
            });
        }
        if !reported {
            let names: Vec<&str> = started.iter().map(Instance::title).collect();
            ctx.info(&format!("waiting for {} to run", names.join(", ")));
            reported = true;
        }
        cloud.pause(PAUSE)?;
    }
}

/// Returns whether an instance runs, is on standby, or has ended successfully.
fn is_ready(one: &Instance) -> bool {
    matches!(one.state.as_str(), "running" | "standby") || has_ended(one, true)
}

/// Returns whether an instance failed and is not restarted.
fn has_failed(one: &Instance) -> bool {
    has_ended(one, false)
}

/// Returns whether an instance was started and ended, successfully or not. One that was never
/// started has no stop reason, and one that is being restarted has not ended.
fn has_ended(one: &Instance, successfully: bool) -> bool {
    let ended = one.state == "stopped" && one.restart.is_none() && one.start_count > 0;
    ended && one.end().is_some_and(|end| end.is_clean()) == successfully
}

fn ended(one: &Instance) -> Error {
    Error::Ended {
        name: one.title().to_owned(),
        reason: one.end().map(|end| end.to_string()),
    }
}

/// Reports the last log lines of an instance that failed.
fn report_log(ctx: &Context, cloud: &Cloud, one: &Instance) {
    let name = one.title();
    match logs::last(cloud, &one.id(), LINES) {
        Ok(text) if text.trim().is_empty() => ctx.info(&format!("`{name}` has printed nothing")),
        Ok(text) => {
            ctx.info(&format!("the last lines of `{name}`:"));
            for line in text.lines() {
                ctx.info(&format!("  {line}"));
            }
        }
        // The failure of the instance matters more.
        Err(error) => tracing::debug!(
            instance = name,
            error = chain(&error),
            "cannot read the log"
        ),
    }
}

/// Waits until an instance answers HTTP at its public address.
///
/// A domain name that cannot be resolved locally is not an error: it is reported.
///
/// # Errors
///
/// If the instance fails, after its last log lines were reported, or at the time limit.
pub fn wait_answering(
    ctx: &Context,
    cloud: &Cloud,
    one: &Instance,
    check: &HealthCheck,
    Address { url, limit }: Address<'_>,
) -> Result<(), Error> {
    let begin = Instant::now();
    let mut reported = false;
    loop {
        let problem = match cloud.wait_for(check.get(url))? {
            Ok(_) => return Ok(()),
            Err(HealthError::UnknownHost(why)) if begin.elapsed() >= limit.min(PROPAGATION) => {
                ctx.warn(&format!(
                    "`{}` runs; cannot check whether {url} answers: its name cannot be resolved \
                     ({why})",
                    one.title()
                ));
                return Ok(());
            }
            Err(problem) => problem,
        };
        let now = cloud.one(&instances::get(&[one.id()]))?;
        if has_failed(&now) {
            report_log(ctx, cloud, &now);
            return Err(ended(&now));
        }
        if begin.elapsed() >= limit {
            report_log(ctx, cloud, &now);
            return Err(Error::NoAnswer {
                name: one.title().to_owned(),
                url: url.to_owned(),
                limit,
                source: Box::new(problem),
            });
        }
        if !reported {
            ctx.info(&format!("waiting for {url} to answer"));
            reported = true;
        }
        cloud.pause(PAUSE)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(state: &str, start_count: u64, exit_code: Option<i64>) -> Instance {
        serde_json::from_value(serde_json::json!({
            "state": state,
            "start_count": start_count,
            "exit_code": exit_code,
            "stop_reason": exit_code.map(|_| 2),
        }))
        .unwrap()
    }

    #[test]
    fn readiness_follows_from_state_start_count_and_exit_code() {
        // state, starts, exit code, ready, failed
        for (state, starts, code, ready, failed) in [
            ("running", 1, None, true, false),
            ("standby", 1, None, true, false),
            ("starting", 1, None, false, false),
            ("stopped", 0, None, false, false),
            ("stopped", 1, Some(0), true, false),
            ("stopped", 1, Some(1), false, true),
            ("stopped", 1, None, false, true),
        ] {
            let one = instance(state, starts, code);
            assert_eq!(is_ready(&one), ready, "{state} {starts} {code:?}");
            assert_eq!(has_failed(&one), failed, "{state} {starts} {code:?}");
        }
    }
}
