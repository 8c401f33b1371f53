//! Ctrl-C and its relatives: they cancel the interrupt of the engine.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;

use kraft_engine::interrupt::{Interrupt, Signals};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator;

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
            let Ok(mut signals) = iterator::Signals::new(SIGNALS) else {
                return;
            };
            let first = Arc::new(AtomicBool::new(false));
            for signal in SIGNALS {
                // In this order: the second signal finds what the first one left.
                let _ =
                    flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&first));
                let _ = flag::register(signal, Arc::clone(&first));
            }
            drop(registered);
            if signals.forever().next().is_some() {
                interrupt.cancel();
            }
            // Handlers stay registered: the next signal ends the process.
        });
        if spawned.is_ok() {
            // Ends with an error when the thread drops its end: the handlers are in place.
            let _ = ready.recv();
        }
    }
}
