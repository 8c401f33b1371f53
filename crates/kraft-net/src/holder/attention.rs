//! How long the event loop looks for the next thing to carry before it sleeps.
//!
//! A process that sleeps is woken by waking a processor, which takes longer than carrying a request:
//! a proxy that sleeps twice per request would cost more than all else it does. So after something was
//! carried the loop looks on for a while, and gives the processor to anyone who wants it meanwhile.
//! The while adapts: it grows while things come soon after each other, and is nothing otherwise. Linux
//! does the same for virtual processors (`halt_poll_ns` of KVM).

use std::cell::Cell;
use std::rc::Rc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::task::{spawn_local, yield_now};

/// The least and the longest while.
const LEAST: Duration = Duration::from_micros(20);
const LONGEST: Duration = Duration::from_micros(250);

/// The attention of one event loop.
#[derive(Debug)]
pub(super) struct Attention {
    /// When something came for the last time.
    last: Cell<Instant>,
    /// How long to look for the next.
    span: Cell<Duration>,
    /// Whether the loop looks.
    looks: Cell<bool>,
    /// Whether there is another processor for those who are waited for.
    useful: bool,
}

impl Attention {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            last: Cell::new(Instant::now()),
            span: Cell::new(Duration::ZERO),
            looks: Cell::new(false),
            useful: available_parallelism().is_ok_and(|number| number.get() > 1),
        })
    }

    /// Notes that something came.
    pub(super) fn note(self: &Rc<Self>) {
        let now = Instant::now();
        let gap = now.duration_since(self.last.replace(now));
        self.span.set(next(self.span.get(), gap));
        if self.useful && !self.span.get().is_zero() && !self.looks.replace(true) {
            spawn_local(self.clone().look());
        }
    }

    /// Keeps the loop from sleeping until nothing has come for a while.
    async fn look(self: Rc<Self>) {
        while self.last.get().elapsed() < self.span.get() {
            rustix::thread::sched_yield();
            yield_now().await;
        }
        self.looks.set(false);
    }
}

/// Returns how long to look when something came a while (`gap`) after what came before.
fn next(span: Duration, gap: Duration) -> Duration {
    if gap > LONGEST {
        Duration::ZERO
    } else if gap > span {
        (span * 2).clamp(LEAST, LONGEST)
    } else {
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(number: u64) -> Duration {
        Duration::from_micros(number)
    }

    #[test]
    fn attention_grows_while_things_come_soon_and_ends_when_they_do_not() {
        let mut span = Duration::ZERO;
        for expected in [20, 40, 80, 160, 250, 250] {
            span = next(span, micros(240));
            assert_eq!(span, micros(expected));
        }
        // What comes in time needs no more.
        assert_eq!(next(micros(80), micros(80)), micros(80));
        assert_eq!(next(span, micros(251)), Duration::ZERO);
    }

    #[test]
    fn the_loop_sleeps_again_when_nothing_comes() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let attention = Attention::new();
            attention.note();
            attention.note();
            while attention.looks.get() {
                yield_now().await;
            }
            assert!(attention.last.get().elapsed() >= attention.span.get());
        });
    }
}
