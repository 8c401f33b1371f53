//! The restarts of a machine, as its record has them: how many, and the one that is due.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kraft_core::lifecycle::{RestartPolicy, STEADY, next_delay};
use kraft_core::machine::EndReason;
use kraft_sys::process::Identity;
use serde::{Deserialize, Serialize};

use crate::record::Ending;

/// The restarts of a machine since the user last started it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restarts {
    /// How often its policy started it again.
    #[serde(default)]
    pub(crate) count: u32,
    /// The delay before the last restart, in milliseconds.
    #[serde(default)]
    pub(crate) delay_ms: u64,
    /// Whether the user stopped the machine.
    #[serde(default)]
    pub(crate) stopped: bool,
    /// The next restart, if one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Pending>,
}

/// A restart that is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// When the machine is started.
    pub(crate) due: Timestamp,
    /// The monitor that waits for that; `None` until there is one.
    pub(crate) monitor: Option<Identity>,
}

impl Pending {
    /// Returns whether a living monitor will start the machine.
    pub(crate) fn is_handled(&self) -> bool {
        self.monitor.as_ref().is_some_and(Identity::is_alive)
    }
}

impl Restarts {
    /// Returns whether there is nothing to record.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes that the restart that was due has happened.
    pub(crate) fn done(&mut self) {
        if self.pending.take().is_some() {
            self.count = self.count.saturating_add(1);
        }
    }

    /// Decides whether a machine that has ended is started again, and when. `monitor` waits for
    /// that, if it is alive.
    ///
    /// A machine that the user stopped or that ended with the host is not: the latter is started
    /// after the boot.
    pub(crate) fn schedule(
        &mut self,
        policy: RestartPolicy,
        started_at: Timestamp,
        ending: &Ending,
        monitor: Option<&Identity>,
    ) {
        self.pending = None;
        let by_itself = !matches!(
            ending.reason,
            EndReason::Stopped | EndReason::Suspended | EndReason::HostDown
        );
        if self.stopped || !by_itself || !policy.restarts(&ending.reason, self.count) {
            return;
        }
        let ran = ending.at.duration_since(started_at);
        if ran >= SignedDuration::try_from(STEADY).unwrap_or(SignedDuration::MAX) {
            self.delay_ms = 0;
        }
        let delay = next_delay(Duration::from_millis(self.delay_ms));
        self.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.pending = Some(Pending {
            due: ending.at.saturating_add(delay).unwrap_or(ending.at),
            monitor: monitor.filter(|monitor| monitor.is_alive()).cloned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(second: i64, reason: EndReason) -> Ending {
        Ending {
            at: Timestamp::from_second(second).unwrap(),
            reason,
        }
    }

    #[test]
    fn a_machine_that_ran_for_ten_seconds_begins_with_the_first_delay_again() {
        let mut restarts = Restarts::default();
        let mut delay = |ran: i64| {
            let (start, end) = (Timestamp::from_second(1000).unwrap(), 1000 + ran);
            let ending = ending(end, EndReason::PoweredOff);
            restarts.schedule(RestartPolicy::Always, start, &ending, None);
            let due = restarts.pending.clone().unwrap().due;
            due.duration_since(ending.at).as_millis()
        };
        assert_eq!([delay(1), delay(9), delay(0)], [100, 200, 400]);
        assert_eq!([delay(10), delay(1)], [100, 200]);
    }

    #[test]
    fn a_machine_that_was_stopped_is_not_started_again() {
        let start = Timestamp::from_second(0).unwrap();
        let mut restarts = Restarts::default();
        for reason in [
            EndReason::Stopped,
            EndReason::Suspended,
            EndReason::HostDown,
        ] {
            restarts.schedule(RestartPolicy::Always, start, &ending(1, reason), None);
            assert_eq!(restarts.pending, None);
        }
        restarts.stopped = true;
        let killed = ending(1, EndReason::Killed { signal: Some(9) });
        restarts.schedule(RestartPolicy::Always, start, &killed, None);
        assert_eq!(restarts.pending, None);
        restarts.stopped = false;
        restarts.schedule(RestartPolicy::Always, start, &killed, None);
        assert!(!restarts.pending.unwrap().is_handled(), "no monitor waits");
    }
}
