//! The part of a deployment that happens on this computer.

use std::time::Duration;

use super::super::trail::Trail;
use kraft_engine::context::Context;
use kraft_engine::failure::Failure;
use kraft_engine::interrupt::{Interrupt, Interrupted};
use tokio::sync::Notify;

/// How long work may take to put things in order after an interrupt.
const GRACE: Duration = Duration::from_secs(2);

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
    let runtime = ctx.runtime()?;
    let over = Notify::new();
    let done = std::thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(watch(ctx, interrupt, trail, &over)));
        let done = work();
        over.notify_one();
        done
    });
    interrupt.check()?;
    done
}

/// Ends the program if the work does not end by itself after an interrupt.
async fn watch(ctx: &Context, interrupt: &Interrupt, trail: &Trail, over: &Notify) {
    let over = over.notified();
    let mut over = std::pin::pin!(over);
    if interrupt.unless(over.as_mut()).await.is_ok() {
        return;
    }
    if tokio::time::timeout(GRACE, over).await.is_err() {
        ctx.failure(&trail.explain(Interrupted.into()));
        interrupt.exit();
    }
}
