//! Ctrl-C and its relatives, for commands that have something to put in order first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::failure::{Failure, Kind};

/// Between two looks at whether the signal has come.
const LOOK: Duration = Duration::from_millis(50);

/// The exit code after a second signal: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// Remembers whether the user wants us to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first interrupt, termination or hang-up is remembered; a second one ends
    /// the process at once.
    ///
    /// Where the system refuses to tell, the signals keep their usual effect, which is to end us.
    pub fn listen() -> Self {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let code = INTERRUPTED;
            // In this order: the second signal finds what the first one left.
            let _ = flag::register_conditional_shutdown(signal, code, Arc::clone(&flag));
            let _ = flag::register(signal, Arc::clone(&flag));
        }
        Self(flag)
    }

    /// Returns whether the signal has come.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits for some work, unless the user has enough before; then the work is dropped.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let enough = async {
            while !self.came() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = enough => Err(Failure::new(Kind::Interrupted, "interrupted")),
            done = work => Ok(done),
        }
    }
}

/// Ends the process at once, as a second signal does: for work that does not stop by itself.
pub fn exit() -> ! {
    low_level::exit(INTERRUPTED)
}
