//! How much machines send and receive through networks.

use std::path::Path;

use kraft_sys::fs;

use crate::error::Error;
use crate::networks::Networks;
use crate::record::HolderRecord;

/// The maximal size of a table of devices that is read, in bytes.
const MAX_DEVICES: u64 = 4 << 20;

/// What went through the card of a machine.
///
/// ```no_run
/// # fn example(networks: &kraft_net::Networks) -> Result<(), kraft_net::Error> {
/// if let Some(traffic) = networks.traffic("web", "6fa459ea-ee8a-4ca4-894e-db77e160355e")? {
///     println!("{} bytes came, {} went", traffic.received, traffic.sent);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What the machine received, in bytes.
    pub received: u64,
    /// What it sent, in bytes.
    pub sent: u64,
}

impl Traffic {
    /// Finds the counters of a card in a table of devices (`proc_net_dev(5)`): what the device
    /// received, the machine sent.
    fn of(table: &str, card: &str) -> Option<Self> {
        let mut lines = table.lines();
        let counters = lines.find_map(|line| {
            let (device, counters) = line.split_once(':')?;
            (device.trim() == card).then_some(counters)
        })?;
        let counter = |at: usize| counters.split_ascii_whitespace().nth(at)?.parse().ok();
        Some(Self {
            received: counter(8)?,
            sent: counter(0)?,
        })
    }
}

impl Networks {
    /// Returns how much a machine has received and sent through a network since it was started;
    /// `None` if it does not run, or the holder was killed.
    ///
    /// # Errors
    ///
    /// If there is no such network.
    pub fn traffic(&self, name: &str, machine: &str) -> Result<Option<Traffic>, Error> {
        self.get(name)?;
        let Some(holder) = HolderRecord::load(&self.dir(name)?) else {
            return Ok(None);
        };
        if !holder.process.is_alive() {
            return Ok(None);
        }
        let active = holder.active.iter().find(|it| it.machine == machine);
        let Some(card) = active.and_then(|it| it.card.as_deref()) else {
            return Ok(None);
        };
        let path = format!("/proc/{}/net/dev", holder.process.pid);
        let table = fs::read_file(Path::new(&path), MAX_DEVICES).unwrap_or_default();
        Ok(Traffic::of(&String::from_utf8_lossy(&table), card))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_a_card_are_those_of_its_device_from_the_other_side() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame \
            compressed multicast|bytes packets errs drop fifo colls carrier compressed\n    lo: 9 \
            1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n   if1:1234 5 0 0 0 0 0 0 77 6 0 0 0 0 0 0\n";
        let found = Traffic::of(table, "if1").unwrap();
        assert_eq!((found.received, found.sent), (77, 1234));
        for (table, card) in [
            (table, "if"),
            (table, "if11"),
            ("if1: 1 2", "if1"),
            ("", ""),
        ] {
            assert_eq!(Traffic::of(table, card), None, "{card}");
        }
    }
}
