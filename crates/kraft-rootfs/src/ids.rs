//! Users and groups of a root filesystem while its files lie on disk.
//!
//! A command runs in a user namespace. What is user 0 there must not be user 0 of the host, so
//! numbers are shifted (`user_namespaces(7)`): on disk, files belong to the number outside.

use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The first number of the range that is used where none is set aside for root in `/etc/subuid`.
///
/// No distribution gives numbers above `0x7000_0000` to anyone (systemd, "Users, Groups, UIDs and
/// GIDs on systemd Systems").
const UNUSED: Extent = Extent {
    inside: 0,
    outside: 0x7000_0000,
    count: 0x0fff_0000,
};
/// A range that is shorter holds too few users for an image.
const SMALLEST: u32 = 65_536;
/// `/etc/subuid` and `/proc/self/uid_map` are not longer than this, in bytes.
const LARGEST: u64 = 1 << 20;

/// Numbers inside of a user namespace and what they are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The first number inside.
    pub inside: u32,
    /// The first number outside.
    pub outside: u32,
    /// How many there are.
    pub count: u32,
}

/// The users and groups of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Users.
    pub users: Vec<Extent>,
    /// Groups.
    pub groups: Vec<Extent>,
}

impl IdMap {
    /// Returns the map that root uses for commands of a root filesystem.
    ///
    /// On a host, it is the range that `/etc/subuid` and `/etc/subgid` set aside for root, or one
    /// that nothing uses. In a container, whose own numbers are few, they stay as they are.
    ///
    /// # Errors
    /// If `/proc` does not say which numbers this process has.
    pub fn of_root() -> io::Result<Self> {
        let read = |path: &str| -> io::Result<String> {
            let bytes = kraft_sys::fs::read_file(Path::new(path), LARGEST);
            let bytes = bytes.map_err(|error| error.source)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let map = |own: &str, set_aside: &str| -> io::Result<Vec<Extent>> {
            let own = extents(&read(own)?);
            if own.iter().any(|extent| extent.holds(&UNUSED)) {
                let set_aside = read(set_aside).unwrap_or_default();
                return Ok(vec![of_root(&set_aside).unwrap_or(UNUSED)]);
            }
            let same = |extent: &Extent| Extent {
                outside: extent.inside,
                ..*extent
            };
            Ok(own.iter().map(same).collect())
        };
        Ok(Self {
            users: map("/proc/self/uid_map", "/etc/subuid")?,
            groups: map("/proc/self/gid_map", "/etc/subgid")?,
        })
    }

    /// Returns what a user and a group inside are outside. Those that are not in the map are root
    /// of the namespace.
    #[must_use]
    pub fn outside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let find = |extents: &[Extent], id: u32| {
            let found = |id: u32| extents.iter().find_map(|extent| extent.outside(id));
            found(id).or_else(|| found(0)).unwrap_or(id)
        };
        (find(&self.users, uid), find(&self.groups, gid))
    }

    /// Returns what a user and a group outside are inside, `None` for one that is not in the map.
    #[must_use]
    pub fn inside(&self, uid: u32, gid: u32) -> (Option<u32>, Option<u32>) {
        let find =
            |extents: &[Extent], id: u32| extents.iter().find_map(|extent| extent.inside(id));
        (find(&self.users, uid), find(&self.groups, gid))
    }

    /// Returns whether both a user and a group inside have a number outside.
    #[must_use]
    pub fn holds(&self, uid: u32, gid: u32) -> bool {
        let find = |extents: &[Extent], id| extents.iter().any(|it| it.outside(id).is_some());
        find(&self.users, uid) && find(&self.groups, gid)
    }

    /// Gives a file or link to a user and a group inside.
    ///
    /// # Errors
    /// If the owner cannot be changed.
    pub fn give(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = self.outside(uid, gid);
        lchown(path, Some(uid), Some(gid))
    }

    /// Returns the number outside of root inside; directories that are kept are told apart by it.
    #[must_use]
    pub fn root(&self) -> u32 {
        self.outside(0, 0).0
    }
}

impl Extent {
    fn outside(&self, id: u32) -> Option<u32> {
        let at = id.checked_sub(self.inside)?;
        (at < self.count).then(|| self.outside.wrapping_add(at))
    }

    fn inside(&self, id: u32) -> Option<u32> {
        let at = id.checked_sub(self.outside)?;
        (at < self.count).then(|| self.inside.wrapping_add(at))
    }

    /// Returns whether the numbers outside of `other` are all numbers inside of this.
    fn holds(&self, other: &Self) -> bool {
        let last = other.outside.saturating_add(other.count - 1);
        self.outside(other.outside).is_some() && self.outside(last).is_some()
    }
}

/// Reads `/proc/PID/uid_map`.
fn extents(text: &str) -> Vec<Extent> {
    let read = |line: &str| {
        let mut numbers = line.split_whitespace().map(|it| it.parse::<u32>().ok());
        let extent = Extent {
            inside: numbers.next()??,
            outside: numbers.next()??,
            count: numbers.next()??,
        };
        (extent.count > 0).then_some(extent)
    };
    text.lines().filter_map(read).collect()
}

/// Returns what `/etc/subuid` sets aside for root (`subuid(5)`).
fn of_root(text: &str) -> Option<Extent> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let outside = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse::<u32>().ok()?;
        let ends = u32::checked_add(outside, count).is_some();
        let usable = matches!(owner, "root" | "0") && outside > 0 && count >= SMALLEST && ends;
        usable.then_some(Extent {
            inside: 0,
            outside,
            count,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> IdMap {
        IdMap {
            users: extents(text),
            groups: extents(text),
        }
    }

    #[test]
    fn numbers_are_shifted_there_and_back() {
        let map = map("0 100000 1000\n2000 300000 10\n");
        assert_eq!(map.outside(0, 999), (100_000, 100_999));
        assert_eq!(map.outside(2009, 2000), (300_009, 300_000));
        assert_eq!(map.inside(100_007, 300_001), (Some(7), Some(2001)));
        assert_eq!(map.inside(0, 101_000), (None, None));
        assert_eq!(map.root(), 100_000);
    }

    #[test]
    fn a_number_that_is_not_in_the_map_is_root_on_disk() {
        let map = map("0 100000 1000\n");
        assert!(map.holds(999, 0));
        assert!(!map.holds(1000, 0));
        assert_eq!(map.outside(1000, u32::MAX), (100_000, 100_000));
    }

    #[test]
    fn the_whole_host_holds_the_unused_range_and_a_container_does_not() {
        let whole = Extent {
            inside: 0,
            outside: 0,
            count: u32::MAX,
        };
        assert!(whole.holds(&UNUSED));
        let container = Extent {
            count: 65_536,
            ..whole
        };
        assert!(!container.holds(&UNUSED));
    }

    #[test]
    fn only_a_usable_range_of_root_is_taken_from_subuid() {
        let range = |outside, count| {
            Some(Extent {
                inside: 0,
                outside,
                count,
            })
        };
        let cases = [
            ("root:100000:65536\n", range(100_000, 65_536)),
            ("me:1:65536\n0:200000:70000\n", range(200_000, 70_000)),
            ("root:100000:65535\n", None),
            ("root:0:65536\n", None),
            ("root:4294967290:65536\n", None),
            ("root:x:65536\nroot\n\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(of_root(text), expected, "{text}");
        }
    }

    #[test]
    fn broken_lines_of_a_map_are_no_extents() {
        assert_eq!(extents("0 0 0\n1 2\nx y z\n"), []);
    }
}
