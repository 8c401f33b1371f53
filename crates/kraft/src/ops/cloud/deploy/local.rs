//! The part of a deployment that happens on this computer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::low_level;

use super::super::trail::Trail;
use crate::app::App;
use crate::failure::{Failure, Kind};
use crate::ops::interrupt::Interrupt;

/// Between two looks at whether the user has enough.
const LOOK: Duration = Duration::from_millis(50);
/// Work that puts things in order when it is interrupted gets so many looks to do it.
const LOOKS: u32 = 40;

/// Does some work on this computer. If the user has enough before it is done, says what was made
/// elsewhere before.
///
/// Work that does not listen to interrupts itself is cut off with the whole program, as it would
/// be without us: what it leaves lying about is what a kill leaves.
pub(crate) fn local<T>(
    app: &App,
    interrupt: Option<&Interrupt>,
    trail: &Trail,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(interrupt) = interrupt else {
        return work();
    };
    let over = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        scope.spawn(|| watch(app, interrupt, trail, &over));
        let done = work();
        over.store(true, Ordering::SeqCst);
        done
    });
    if interrupt.came() {
        return Err(interrupted());
    }
    done
}

fn interrupted() -> Failure {
    Failure::new(Kind::Interrupted, "interrupted")
}

/// Ends the program if the work does not end by itself after an interrupt.
fn watch(app: &App, interrupt: &Interrupt, trail: &Trail, over: &AtomicBool) {
    while !interrupt.came() {
        if over.load(Ordering::SeqCst) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    for _ in 0..LOOKS {
        if over.load(Ordering::SeqCst) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    app.ui.failure(&trail.explain(interrupted()));
    low_level::exit(i32::from(Kind::Interrupted.exit_code()));
}
