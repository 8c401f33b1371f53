//! Retries: which failures are tried again, and after which delay.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use kraft_sys::clock;

use crate::policy::Policy;

/// The longest delay between two attempts. A server that asks for a longer one is not waited for.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// An attempt that failed. An error alone is final, so that `?` ends a request.
#[derive(Debug)]
pub struct Failed<E> {
    /// Why; boxed, because every step of a request may fail so.
    error: Box<E>,
    /// Whether another attempt may succeed.
    pub again: bool,
    /// How long the server asks to wait before.
    pub after: Option<Duration>,
}

impl<E> Failed<E> {
    /// Returns a failure: whether another attempt may succeed, and how long the server asks to wait
    /// before.
    pub fn new(error: E, again: bool, after: Option<Duration>) -> Self {
        Self {
            error: Box::new(error),
            again,
            after,
        }
    }

    /// Returns the error.
    pub fn into_error(self) -> E {
        *self.error
    }

    /// Returns a failure that may be over at the next attempt.
    pub fn transient(error: E, after: Option<Duration>) -> Self {
        Self::new(error, true, after)
    }
}

impl<E> From<E> for Failed<E> {
    fn from(error: E) -> Self {
        Self::new(error, false, None)
    }
}

/// The attempts of one request.
///
/// ```
/// use kraft_http::{Failed, Policy};
///
/// let mut policy = Policy::new("test");
/// policy.retries = 1;
/// let mut retry = policy.retry();
/// let failed = || Failed::transient("HTTP 503", None);
/// assert!(retry.delay(failed(), |_| "busy").is_ok());
/// assert_eq!(retry.attempt(), 2);
/// assert_eq!(retry.delay(failed(), |_| "busy"), Err("HTTP 503"));
/// ```
#[derive(Debug)]
pub struct Retry {
    delays: ExponentialBackoff,
    attempt: u32,
}

impl Retry {
    pub(crate) fn new(policy: &Policy) -> Self {
        // With jitter a delay is any between the half and the whole, so that clients that failed
        // together do not come back together.
        let delays = ExponentialBuilder::new()
            .with_min_delay(policy.backoff / 2)
            .with_max_delay(LONGEST_PAUSE / 2)
            .with_max_times(usize::try_from(policy.retries).unwrap_or(usize::MAX))
            .with_jitter()
            .build();
        Self { delays, attempt: 1 }
    }

    /// Returns the number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the delay before the next attempt; `None` if there were enough.
    pub fn next_delay(&mut self) -> Option<Duration> {
        self.attempt = self.attempt.saturating_add(1);
        self.delays.next()
    }

    /// Returns the delay before the next attempt, at least as long as the server asks for.
    ///
    /// # Errors
    /// With what failed, if it is final or there were enough attempts; with `busy`, if the server
    /// asks for more than [`LONGEST_PAUSE`].
    pub fn delay<E>(
        &mut self,
        failed: Failed<E>,
        busy: impl FnOnce(Duration) -> E,
    ) -> Result<Duration, E> {
        let after = failed.after.unwrap_or_default();
        if !failed.again {
            return Err(*failed.error);
        }
        if after > LONGEST_PAUSE {
            return Err(busy(after));
        }
        match self.next_delay() {
            Some(delay) => Ok(delay.max(after)),
            None => Err(*failed.error),
        }
    }
}

/// Returns whether a status may be another one the next time (RFC 9110, section 15; RFC 6585,
/// section 4; RFC 8470, section 5.2).
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// Returns how long a server asks to wait: `Retry-After`, in seconds or as a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    clock::retry_after(value.to_str().ok()?, clock::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(retries: u32) -> Policy {
        Policy {
            retries,
            ..Policy::new("test")
        }
    }

    #[test]
    fn delays_double_up_to_a_limit_and_come_at_random() {
        let policy = policy(12);
        let mut retry = policy.retry();
        for number in 0..12 {
            let most = policy
                .backoff
                .saturating_mul(1 << number)
                .min(LONGEST_PAUSE);
            let delay = retry.next_delay().unwrap();
            assert!(delay >= most / 2 && delay <= most, "{number}: {delay:?}");
        }
        assert_eq!(retry.next_delay(), None);
    }

    #[test]
    fn a_final_error_and_the_last_attempt_end_a_request() {
        let delay = |retries, failed| policy(retries).retry().delay(failed, |_| "busy");
        assert_eq!(delay(5, Failed::from("no")), Err("no"));
        assert_eq!(delay(0, Failed::transient("no", None)), Err("no"));
        assert!(delay(1, Failed::transient("no", None)).is_ok());
    }

    #[test]
    fn a_server_is_waited_for_but_not_forever() {
        let delay = |after| {
            policy(1)
                .retry()
                .delay(Failed::transient("no", Some(after)), |_| "busy")
        };
        let long = Duration::from_secs(90);
        assert_eq!(delay(long), Ok(long));
        assert_eq!(delay(LONGEST_PAUSE * 2), Err("busy"));
        assert!(delay(Duration::ZERO).unwrap() > Duration::ZERO);
    }

    #[test]
    fn statuses_that_may_change_are_retried() {
        for status in [408, 425, 429, 500, 503, 599] {
            assert!(is_transient(status), "{status}");
        }
        for status in [200, 301, 400, 401, 404, 416, 600] {
            assert!(!is_transient(status), "{status}");
        }
    }
}
