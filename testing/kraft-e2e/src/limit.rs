//! A time limit for each test: one that hangs ends the test binary and prints its name, rather than
//! blocking the whole run.
//!
//! The limit is generous: a test that is only slow does not reach it.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// How long a test may take unless it asks for more.
pub const USUAL: Duration = Duration::from_mins(20);
/// How often the watchdog looks.
const STEP: Duration = Duration::from_millis(200);

/// The limit of the test that runs in the current thread. It starts with the first one of a thread
/// and ends with the last.
#[derive(Debug)]
pub struct Limit {
    thread: ThreadId,
}

/// A test that has begun.
struct Running {
    thread: ThreadId,
    test: String,
    begun: Instant,
    limit: Duration,
    /// How many [`Limit`]s of its thread there are.
    guards: usize,
}

static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Limit {
    /// Starts the limit of the test in this thread, or joins the one that has started.
    #[expect(
        clippy::new_without_default,
        reason = "a default that starts a clock would surprise"
    )]
    pub fn new() -> Self {
        static WATCHDOG: Once = Once::new();
        WATCHDOG.call_once(|| {
            std::thread::spawn(watch);
        });
        let current = std::thread::current();
        let thread = current.id();
        let mut running = running();
        if let Some(test) = running.iter_mut().find(|test| test.thread == thread) {
            test.guards += 1;
        } else {
            // The harness names a test's thread after the test.
            running.push(Running {
                thread,
                test: current.name().unwrap_or("without a name").to_owned(),
                begun: Instant::now(),
                limit: USUAL,
                guards: 1,
            });
        }
        Self { thread }
    }

    /// Sets how long the test may take in all.
    pub fn set(&self, limit: Duration) {
        for test in running().iter_mut() {
            if test.thread == self.thread {
                test.limit = limit;
            }
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        running().retain_mut(|test| {
            test.guards -= usize::from(test.thread == self.thread);
            test.guards > 0
        });
    }
}

/// Ends the process when a test is over its limit.
fn watch() {
    loop {
        std::thread::sleep(STEP);
        let running = running();
        if let Some(test) = running
            .iter()
            .find(|test| test.begun.elapsed() > test.limit)
        {
            // Not by `eprintln!`, which the harness may hold back for a test that never ends.
            let _ = writeln!(
                std::io::stderr(),
                "\ntest {} has not ended after {:?}: it hangs",
                test.test,
                test.limit
            );
            std::process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[ignore = "hangs: another test runs it"]
    fn a_test_that_hangs() {
        let limit = Limit::new();
        let _second = Limit::new();
        drop(Limit::new());
        limit.set(Duration::from_millis(100));
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_test_that_hangs_ends_the_process_with_its_name() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "limit::tests::a_test_that_hangs"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("test limit::tests::a_test_that_hangs has not ended after 100ms"),
            "{said}"
        );
    }

    #[test]
    fn a_finished_test_has_no_time_limit_any_more() {
        let thread = std::thread::current().id();
        let is_running = || running().iter().any(|test| test.thread == thread);
        let (first, second) = (Limit::new(), Limit::new());
        drop(first);
        assert!(is_running());
        drop(second);
        assert!(!is_running());
    }
}
