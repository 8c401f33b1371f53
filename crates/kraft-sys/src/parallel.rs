//! Parallel processing of many items.
//!
//! ```
//! use kraft_sys::parallel::in_order;
//!
//! let lengths = in_order(&["a", "bcd", "ef"], 2, |index, text| (index, text.len()));
//! assert_eq!(lengths, [(0, 1), (1, 3), (2, 2)]);
//! ```

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Processes all `things`, at most `workers` of them concurrently and at least one; returns the
/// results in order.
///
/// The work receives the index of the item. Items are started in order. A panic of the work is
/// propagated to the caller.
pub fn in_order<T: Sync, R: Send>(
    things: &[T],
    workers: usize,
    work: impl Fn(usize, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(at) else {
                return done;
            };
            done.push((at, work(at, thing)));
        }
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers.min(things.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut done = worker();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn answers_are_in_the_order_of_the_things_however_many_work() {
        let things: Vec<usize> = (10..110).collect();
        for workers in [0, 1, 3, 1000] {
            let answers = in_order(&things, workers, |at, thing| (at, thing * 2));
            let expected: Vec<(usize, usize)> = (0..100).map(|at| (at, (at + 10) * 2)).collect();
            assert_eq!(answers, expected, "{workers}");
        }
        assert_eq!(in_order(&[], 4, |_, thing: &u8| *thing), [0; 0]);
    }

    #[test]
    fn so_many_things_are_under_way_at_once_and_no_more() {
        // Each waits for two others, so three must run concurrently.
        let (three, now, most) = (Barrier::new(3), AtomicUsize::new(0), AtomicUsize::new(0));
        let _ = in_order(&[(); 9], 3, |_, ()| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            three.wait();
            now.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(most.into_inner(), 3);
    }
}
