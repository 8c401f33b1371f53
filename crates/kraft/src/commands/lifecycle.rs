//! The flags of a machine's labels, restart policy and health check.

use std::collections::BTreeMap;
use std::time::Duration;

use kraft_core::lifecycle::{HealthCheck, HealthProbe, Lifecycle, RestartPolicy, SHORTEST_SLEEP};

use super::values;
use crate::failure::Failure;

/// How a machine is kept running and how it is stopped.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Lifecycle options")]
pub(crate) struct LifecycleArgs {
    /// Set a label of the machine
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = label)]
    label: Vec<(String, String)>,

    /// Set when the machine is started again after it ended: no, on-failure, on-failure:NUMBER,
    /// always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,

    /// Set how many seconds the guest may take to shut down when the machine is stopped
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,

    /// Suspend the machine when no connection to its ports is open for this long; the next connection
    /// wakes it
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    sleep_after: Option<Duration>,

    /// Check the health of the machine by connecting to this port of it
    #[arg(long, value_name = "PORT", conflicts_with = "health_http",
          value_parser = clap::value_parser!(u16).range(1..))]
    health_tcp: Option<u16>,

    /// Check the health of the machine by a request to this port and path of it
    #[arg(long, value_name = "PORT[/PATH]", value_parser = HealthProbe::http)]
    health_http: Option<HealthProbe>,

    /// Set the time between two health checks
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::duration)]
    health_interval: Duration,

    /// Set how long a health check may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::duration)]
    health_timeout: Duration,

    /// Set the number of failures in a row that make the machine unhealthy
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    health_retries: u32,

    /// Set how long after the start failures do not count
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = values::duration)]
    health_start_period: Duration,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Parses `NAME[=VALUE]`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("expected NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl LifecycleArgs {
    /// Returns the labels.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.label.iter().cloned().collect()
    }

    /// Returns how the machine is kept running.
    pub(crate) fn lifecycle(&self) -> Result<Lifecycle, Failure> {
        Ok(Lifecycle {
            restart: self.restart.unwrap_or_default(),
            stop_timeout: self.stop_timeout,
            health: self.health()?,
            sleep_after_ms: self.sleep_after()?,
        })
    }

    fn sleep_after(&self) -> Result<Option<u64>, Failure> {
        match self.sleep_after {
            Some(time) if time < SHORTEST_SLEEP => Err(Failure::usage(format!(
                "`--sleep-after` is too short: expected at least {} ms",
                SHORTEST_SLEEP.as_millis()
            ))),
            time => Ok(time.map(millis)),
        }
    }

    fn health(&self) -> Result<Option<HealthCheck>, Failure> {
        let tcp = self.health_tcp.map(|port| HealthProbe::Tcp { port });
        let Some(probe) = tcp.or_else(|| self.health_http.clone()) else {
            return Ok(None);
        };
        for (flag, time) in [
            ("--health-interval", self.health_interval),
            ("--health-timeout", self.health_timeout),
        ] {
            if time < Duration::from_millis(1) {
                return Err(Failure::usage(format!(
                    "`{flag}` is too short: expected at least 1ms"
                )));
            }
        }
        Ok(Some(HealthCheck {
            probe,
            interval_ms: millis(self.health_interval),
            timeout_ms: millis(self.health_timeout),
            retries: self.health_retries.max(1),
            start_period_ms: millis(self.health_start_period),
        }))
    }
}
