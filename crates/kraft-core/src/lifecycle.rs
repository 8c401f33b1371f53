//! How a machine is kept running: its restart policy, its health check and how it is stopped.
//!
//! ```
//! use std::time::Duration;
//!
//! use kraft_core::lifecycle::{RestartPolicy, next_delay};
//! use kraft_core::machine::EndReason;
//!
//! let policy: RestartPolicy = "on-failure:3".parse()?;
//! let failed = EndReason::Exited { code: 1 };
//! assert!(policy.restarts(&failed, 2));
//! assert!(!policy.restarts(&failed, 3));
//! assert!(!policy.restarts(&EndReason::PoweredOff, 0));
//! assert_eq!(next_delay(Duration::ZERO), Duration::from_millis(100));
//! # Ok::<(), kraft_core::lifecycle::RestartPolicyError>(())
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::EndReason;

/// The shortest time after which an idle machine sleeps.
pub const SHORTEST_SLEEP: Duration = Duration::from_millis(100);

/// How a machine is kept running and how it is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// When the machine is started again after it has ended.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How long the guest may take to shut down when the machine is stopped, in seconds; `None` for
    /// the default of its kernel.
    #[serde(default)]
    pub stop_timeout: Option<u32>,
    /// How its health is checked.
    #[serde(default)]
    pub health: Option<HealthCheck>,
    /// How long it is idle before it is suspended until the next connection, in milliseconds; `None`
    /// for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_after_ms: Option<u64>,
}

/// When a machine is started again after it has ended; the policies are those of Docker.
///
/// Its text is that of `--restart`: `no`, `on-failure`, `on-failure:3`, `always` or
/// `unless-stopped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// If its exit code is not 0, at most this number of times.
    OnFailure(Option<u32>),
    /// Always; after a reboot of the host even if the user had stopped it.
    Always,
    /// Always, unless the user stopped it.
    UnlessStopped,
}

/// A text is not a restart policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a restart policy: expected no, on-failure, on-failure:NUMBER, always or unless-stopped"
)]
pub struct RestartPolicyError(String);

impl FromStr for RestartPolicy {
    type Err = RestartPolicyError;

    fn from_str(text: &str) -> Result<Self, RestartPolicyError> {
        let wrong = || RestartPolicyError(text.to_owned());
        match text {
            "no" => Ok(Self::No),
            "on-failure" => Ok(Self::OnFailure(None)),
            "always" => Ok(Self::Always),
            "unless-stopped" => Ok(Self::UnlessStopped),
            _ => {
                let number = text.strip_prefix("on-failure:").ok_or_else(wrong)?;
                let number: u32 = number.parse().map_err(|_| wrong())?;
                // As Docker does: 0 is no limit.
                Ok(Self::OnFailure((number > 0).then_some(number)))
            }
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = RestartPolicyError;

    fn try_from(text: String) -> Result<Self, RestartPolicyError> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        policy.to_string()
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure(None) => f.write_str("on-failure"),
            Self::OnFailure(Some(most)) => write!(f, "on-failure:{most}"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

impl RestartPolicy {
    /// Returns whether a machine that ended by itself is started again, after it was restarted
    /// `restarts` times. The user did not stop it.
    pub fn restarts(self, reason: &EndReason, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure(most) => {
                reason.exit_code() != 0 && most.is_none_or(|most| restarts < most)
            }
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// Returns whether a machine of an earlier boot of the host is started again; `stopped` by the
    /// user or not.
    pub fn restarts_at_boot(self, reason: &EndReason, restarts: u32, stopped: bool) -> bool {
        match self {
            // Its memory is saved for as long as the user wants.
            _ if *reason == EndReason::Suspended => false,
            Self::Always => true,
            Self::No | Self::OnFailure(_) | Self::UnlessStopped => {
                !stopped && self.restarts(reason, restarts)
            }
        }
    }
}

/// The delay before the first restart.
pub const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay before a restart.
pub const LONGEST_DELAY: Duration = Duration::from_mins(1);
/// A machine that ran for this long begins with the first delay again.
pub const STEADY: Duration = Duration::from_secs(10);

/// Returns the delay after one of `last`: it doubles from [`FIRST_DELAY`] to [`LONGEST_DELAY`].
/// Zero is that of a machine that was not restarted yet.
pub fn next_delay(last: Duration) -> Duration {
    last.saturating_mul(2).clamp(FIRST_DELAY, LONGEST_DELAY)
}

/// A check of whether the service in a machine works; the values are those of Docker's health
/// checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is tried.
    #[serde(flatten)]
    pub probe: HealthProbe,
    /// The time between two checks, in milliseconds.
    pub interval_ms: u64,
    /// How long a check may take, in milliseconds.
    pub timeout_ms: u64,
    /// The number of failures in a row that make a machine unhealthy.
    pub retries: u32,
    /// How long after the start failures do not count, in milliseconds.
    pub start_period_ms: u64,
}

/// What a health check tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "probe", rename_all = "lowercase")]
pub enum HealthProbe {
    /// To open a connection.
    Tcp {
        /// The port of the machine.
        port: u16,
    },
    /// To get a page, whose status must be 200 to 399.
    Http {
        /// The port of the machine.
        port: u16,
        /// The path, which begins with a slash.
        path: String,
    },
}

/// A text is not `PORT[/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the port of a service and a path: expected a text such as 8080/health")]
pub struct HealthProbeError(String);

impl HealthProbe {
    /// Returns the port of the machine that is tried.
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp { port } | Self::Http { port, .. } => *port,
        }
    }

    /// Parses the value of `--health-http`: `8080`, `8080/health`.
    pub fn http(text: &str) -> Result<Self, HealthProbeError> {
        let wrong = || HealthProbeError(text.to_owned());
        let (port, path) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, "/"),
        };
        let odd = |c: char| c.is_ascii_control() || c.is_whitespace() || !c.is_ascii();
        if path.contains(odd) {
            return Err(wrong());
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self::Http {
                port,
                path: path.to_owned(),
            }),
            _ => Err(wrong()),
        }
    }
}

/// The result of the health checks of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No check has succeeded yet, and not enough have failed.
    #[default]
    Starting,
    /// The last check succeeded, or not enough have failed since.
    Healthy,
    /// The last checks failed.
    Unhealthy,
}

impl Health {
    /// Returns its name, which is Docker's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Returns the health after a check: `failures` in a row including this one, 0 if it
    /// succeeded; `in_start_period` if failures do not count yet.
    #[must_use]
    pub fn after(self, failures: u32, retries: u32, in_start_period: bool) -> Self {
        if failures == 0 {
            return Self::Healthy;
        }
        let counts = !in_start_period || self != Self::Starting;
        if counts && failures >= retries.max(1) {
            Self::Unhealthy
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_written_as_docker_does() {
        for text in [
            "no",
            "on-failure",
            "on-failure:3",
            "always",
            "unless-stopped",
        ] {
            let policy: RestartPolicy = text.parse().unwrap();
            assert_eq!(policy.to_string(), text);
        }
        assert_eq!("on-failure:0".parse(), Ok(RestartPolicy::OnFailure(None)));
        for text in [
            "",
            "yes",
            "on-failure:",
            "on-failure:-1",
            "on-failure:x",
            "always:3",
            "Always",
        ] {
            assert!(text.parse::<RestartPolicy>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_failures_count_for_on_failure_and_a_stop_lasts_until_the_next_boot_at_most() {
        let failed = EndReason::Killed { signal: Some(9) };
        let off = EndReason::PoweredOff;
        let of = |text: &str| text.parse::<RestartPolicy>().unwrap();
        assert!(!of("no").restarts(&failed, 0));
        assert!(of("on-failure").restarts(&failed, 1000));
        assert!(of("on-failure:2").restarts(&failed, 1));
        assert!(!of("on-failure:2").restarts(&failed, 2));
        assert!(!of("on-failure").restarts(&off, 0));
        for always in ["always", "unless-stopped"] {
            assert!(of(always).restarts(&off, 9), "{always}");
        }
        let down = EndReason::HostDown;
        for (policy, running, stopped) in [
            ("no", false, false),
            ("on-failure", true, false),
            ("always", true, true),
            ("unless-stopped", true, false),
        ] {
            assert_eq!(of(policy).restarts_at_boot(&down, 0, false), running);
            assert_eq!(of(policy).restarts_at_boot(&down, 0, true), stopped);
        }
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let mut delays = Vec::new();
        let mut delay = Duration::ZERO;
        for _ in 0..12 {
            delay = next_delay(delay);
            delays.push(delay.as_millis());
        }
        assert_eq!(
            delays,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000
            ]
        );
    }

    #[test]
    fn a_machine_is_unhealthy_after_some_failures_in_a_row() {
        let starting = Health::Starting;
        assert_eq!(starting.after(2, 3, false), Health::Starting);
        assert_eq!(starting.after(3, 3, false), Health::Unhealthy);
        assert_eq!(starting.after(9, 3, true), Health::Starting);
        assert_eq!(starting.after(0, 3, true), Health::Healthy);
        // The period ends with the first success.
        assert_eq!(Health::Healthy.after(3, 3, true), Health::Unhealthy);
        assert_eq!(Health::Healthy.after(2, 3, false), Health::Healthy);
        assert_eq!(Health::Unhealthy.after(0, 3, false), Health::Healthy);
        assert_eq!(Health::Healthy.after(1, 0, false), Health::Unhealthy);
    }

    #[test]
    fn a_page_is_a_port_and_a_path() {
        let http = |port, path: &str| {
            Ok(HealthProbe::Http {
                port,
                path: path.to_owned(),
            })
        };
        assert_eq!(HealthProbe::http("80"), http(80, "/"));
        assert_eq!(HealthProbe::http("80/a?b=c"), http(80, "/a?b=c"));
        for wrong in [
            "",
            "/",
            "0/",
            "x/",
            "80/a b",
            "80/\r\nX: y",
            "80/ä",
            "99999",
        ] {
            assert!(HealthProbe::http(wrong).is_err(), "{wrong}");
        }
    }
}
