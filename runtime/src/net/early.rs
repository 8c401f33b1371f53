//! Connections that are attempted before the program listens.
//!
//! A host connects as soon as it has started the machine: while the card still asks for its address, or while the
//! program still loads. It would get nothing until it tries again (QEMU's user networking does after seven seconds), or
//! a reset. In the first seconds after the boot such an attempt waits for a listener instead.

use alloc::vec::Vec;

use super::stack::Flow;
use crate::time::SECOND;

/// How long after the boot attempts wait; then they are answered with a reset.
pub const GRACE: u64 = 5 * SECOND;
/// How many attempts wait.
const MOST: usize = 32;
/// The longest frame that begins a connection.
const LONGEST: usize = 256;

/// An attempt: the first frame of a connection.
pub struct Attempt {
    /// The card that received it.
    pub card: usize,
    /// The frame.
    pub frame: Vec<u8>,
    flow: Flow,
}

/// The attempts that wait.
pub struct Early(Vec<Attempt>);

impl Early {
    /// None waits.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has an attempt wait, once however often it is repeated; returns whether it does.
    pub fn keep(&mut self, card: usize, flow: Flow, frame: &[u8], now: u64) -> bool {
        self.0.retain(|known| known.flow != flow);
        if now >= GRACE || self.0.len() >= MOST || frame.len() > LONGEST {
            return false;
        }
        let frame = frame.to_vec();
        self.0.push(Attempt { card, frame, flow });
        true
    }

    /// Takes out the attempts to connect to a port.
    pub fn take(&mut self, port: u16) -> Vec<Attempt> {
        self.0
            .extract_if(.., |known| known.flow.0.port == port)
            .collect()
    }

    /// Takes out all attempts, if they have waited long enough.
    pub fn take_late(&mut self, now: u64) -> Vec<Attempt> {
        if now < GRACE {
            return Vec::new();
        }
        core::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoltcp::wire::{IpAddress, IpEndpoint};

    fn flow(own: u16, other: u16) -> Flow {
        let end = |last, port| IpEndpoint::new(IpAddress::v4(10, 0, 2, last), port);
        (end(15, own), end(2, other))
    }

    #[test]
    fn attempts_wait_for_a_listener_at_their_port() {
        let mut early = Early::new();
        assert!(early.keep(0, flow(80, 1), b"first", 0));
        assert!(early.keep(1, flow(22, 2), b"second", 1));
        assert!(early.keep(0, flow(80, 1), b"again", GRACE - 1));
        assert!(early.take(443).is_empty());
        let taken = early.take(80);
        assert_eq!(taken.len(), 1, "a repeated one waits once");
        assert_eq!((taken[0].card, &taken[0].frame[..]), (0, &b"again"[..]));
        assert!(early.take_late(GRACE - 1).is_empty());
        assert_eq!(early.take_late(GRACE).len(), 1);
        assert!(early.is_empty());
    }

    #[test]
    fn neither_many_nor_long_nor_late_ones_wait() {
        let mut early = Early::new();
        assert!(!early.keep(0, flow(80, 0), &[0; LONGEST + 1], 0));
        assert!(!early.keep(0, flow(80, 0), b"", GRACE));
        for other in 0..100 {
            early.keep(0, flow(80, other), b"", 0);
        }
        assert_eq!(early.take(80).len(), MOST);
    }
}
