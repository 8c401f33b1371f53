//! The part of a deployment that happens on this computer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::trail::Trail;
use kraft_engine::context::Context;
use kraft_engine::failure::{Failure, Kind};
use kraft_engine::interrupt::{self, Interrupt};

/// Between two looks at whether the user has enough.
const LOOK: Duration = Duration::from_millis(50);
/// Work that puts things in order when it is interrupted gets so many looks to do it.
const LOOKS: u32 = 40;

/// Does some work on this computer. If the user has enough before it is done, says what was made
/// elsewhere before.
///
/// Work that does not listen to interrupts itself is cut off with the whole program, as it would
/// be without us: what it leaves lying about is what a kill leaves.
pub(super) fn local<T>(
    ctx: &Context,
    interrupt: Option<&Interrupt>,
    trail: &Trail,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(interrupt) = interrupt else {
        return work();
    };
    let over = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        scope.spawn(|| watch(ctx, interrupt, trail, &over));
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
fn watch(ctx: &Context, interrupt: &Interrupt, trail: &Trail, over: &AtomicBool) {
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
    ctx.failure(&trail.explain(interrupted()));
    interrupt::exit();
}
