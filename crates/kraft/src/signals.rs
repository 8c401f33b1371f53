//! Ctrl-C and its relatives: they cancel the interrupt of the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use kraft_engine::interrupt::{Interrupt, Signals};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator, low_level};

/// Signals that ask a program to end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// The exit code after a second signal: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// The signals of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessSignals;

impl Signals for ProcessSignals {
    fn register(&self, interrupt: &Interrupt) {
        let interrupt = interrupt.clone();
        let (registered, ready) = mpsc::channel::<()>();
        let waiter = thread::Builder::new().name("signals".to_owned());
        let spawned = waiter.spawn(move || {
            // A handler ends the process once this is set, also if this thread does not get to run.
            let ends = Arc::new(AtomicBool::new(false));
            // Before those that wake this thread: the signal that sets it must not end the process.
            for signal in SIGNALS {
                let _ = flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&ends));
            }
            let Ok(mut signals) = iterator::Signals::new(SIGNALS) else {
                ends.store(true, Ordering::SeqCst);
                return;
            };
            drop(registered);
            for _ in signals.forever() {
                if !interrupt.is_cancelled() {
                    ends.store(!interrupt.expects_second(), Ordering::SeqCst);
                    interrupt.cancel();
                } else if interrupt.repeat() {
                    ends.store(true, Ordering::SeqCst);
                } else {
                    low_level::exit(INTERRUPTED);
                }
            }
        });
        if spawned.is_ok() {
            // Ends with an error when the thread drops its end: the handlers are in place.
            let _ = ready.recv();
        }
    }
}
