//! Users and groups of a root filesystem whose files are on disk.
//!
//! A command runs in a user namespace. User 0 inside must not be user 0 of the host, so ids are
//! shifted (`user_namespaces(7)`): on disk, files belong to the id outside.

use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The range that is used where `/etc/subuid` assigns none to root.
///
/// No distribution assigns ids above `0x7000_0000` (systemd, "Users, Groups, UIDs and GIDs on systemd
/// Systems").
const UNUSED: Extent = Extent {
    inside: 0,
    outside: 0x7000_0000,
    count: 0x0fff_0000,
};
/// Minimum length of a range: a shorter one has too few users for an image.
const SMALLEST: u32 = 65_536;
/// Maximum size of `/etc/subuid` and `/proc/self/uid_map` in bytes.
const LARGEST: u64 = 1 << 20;

/// A range of ids inside of a user namespace, and their ids outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// Number of ids.
    pub count: u32,
}

/// The users and groups of a user namespace.
///
/// ```
/// use kraft_rootfs::{Extent, IdMap};
///
/// let range = Extent {
///     inside: 0,
///     outside: 100_000,
///     count: 65_536,
/// };
/// let ids = IdMap {
///     users: vec![range],
///     groups: vec![range],
/// };
/// assert_eq!(ids.outside(0, 33), (100_000, 100_033));
/// assert_eq!(ids.inside(0, 0), (None, None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Users.
    pub users: Vec<Extent>,
    /// Groups.
    pub groups: Vec<Extent>,
}

impl IdMap {
    /// Returns the map for commands of a root filesystem if kraft runs as root.
    ///
    /// On a host, it is the range that `/etc/subuid` and `/etc/subgid` assign to root, or an unused
    /// one. In a container, which has few ids, they stay the same.
    ///
    /// # Errors
    ///
    /// If `/proc` does not contain the ids of this process.
    pub fn of_root() -> io::Result<Self> {
        let read = |path: &str| -> io::Result<String> {
            let bytes = kraft_sys::fs::read_file(Path::new(path), LARGEST);
            let bytes = bytes.map_err(|error| error.source)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let map = |own: &str, assigned: &str| -> io::Result<Vec<Extent>> {
            let own = extents(&read(own)?);
            if own.iter().any(|extent| extent.holds(&UNUSED)) {
                let assigned = read(assigned).unwrap_or_default();
                return Ok(vec![of_root(&assigned).unwrap_or(UNUSED)]);
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

    /// Returns the ids outside of a user and a group inside. Ids that are not in the map are those of
    /// root.
    #[must_use]
    pub fn outside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let find = |extents: &[Extent], id: u32| {
            let found = |id: u32| extents.iter().find_map(|extent| extent.outside(id));
            found(id).or_else(|| found(0)).unwrap_or(id)
        };
        (find(&self.users, uid), find(&self.groups, gid))
    }

    /// Returns the ids inside of a user and a group outside; `None` for one that is not in the map.
    #[must_use]
    pub fn inside(&self, uid: u32, gid: u32) -> (Option<u32>, Option<u32>) {
        let find =
            |extents: &[Extent], id: u32| extents.iter().find_map(|extent| extent.inside(id));
        (find(&self.users, uid), find(&self.groups, gid))
    }

    /// Returns whether both a user and a group inside are in the map.
    #[must_use]
    pub fn holds(&self, uid: u32, gid: u32) -> bool {
        let find = |extents: &[Extent], id| extents.iter().any(|it| it.outside(id).is_some());
        find(&self.users, uid) && find(&self.groups, gid)
    }

    /// Changes the owner of a file or link to a user and a group inside.
    ///
    /// # Errors
    ///
    /// If the owner cannot be changed.
    pub fn give(&self, path: &Path, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = self.outside(uid, gid);
        lchown(path, Some(uid), Some(gid))
    }

    /// Returns the id outside of root inside, which is part of the names of cache directories.
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

    /// Returns whether the ids outside of `other` are all ids inside of this.
    fn holds(&self, other: &Self) -> bool {
        let last = other.outside.saturating_add(other.count - 1);
        self.outside(other.outside).is_some() && self.outside(last).is_some()
    }
}

/// Parses `/proc/PID/uid_map`.
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

/// Returns the range that `/etc/subuid` assigns to root (`subuid(5)`).
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
    fn ids_are_shifted_in_both_directions() {
        let map = map("0 100000 1000\n2000 300000 10\n");
        assert_eq!(map.outside(0, 999), (100_000, 100_999));
        assert_eq!(map.outside(2009, 2000), (300_009, 300_000));
        assert_eq!(map.inside(100_007, 300_001), (Some(7), Some(2001)));
        assert_eq!(map.inside(0, 101_000), (None, None));
        assert_eq!(map.root(), 100_000);
    }

    #[test]
    fn an_id_that_is_not_in_the_map_is_root_on_disk() {
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
    fn only_a_usable_range_of_root_in_subuid_is_used() {
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
    fn invalid_lines_of_a_map_are_skipped() {
        assert_eq!(extents("0 0 0\n1 2\nx y z\n"), []);
    }
}
