//! Names inside a root: bytes, relative, and never leading out of it.

/// The longest path that Linux takes, its final zero counted (`PATH_MAX`).
const LONGEST: usize = 4096;

/// Maximum number of symbolic links followed for one path, as in Linux (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Maximum number of path components in the link targets of one path, to bound the work.
const MOST_PARTS: usize = 1024;

/// Why a name is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It holds `..`, which could lead out of the root.
    #[error("its name leads out of the root by `..`")]
    Climbs,
    /// It holds a zero byte, where every reader of the archive would end it.
    #[error("its name holds a zero byte")]
    Zero,
    /// It is longer than Linux takes.
    #[error("its name is longer than 4095 bytes")]
    TooLong,
}

/// Returns a name as it stands below the root: without `/` or `./` before it, without empty or
/// `.` parts. The root itself is the empty name.
///
/// A name that begins with `/` is taken to begin at the root of the archive, as `tar` and the
/// kernels do.
pub fn normalise(name: &[u8]) -> Result<Vec<u8>, PathFault> {
    if name.contains(&0) {
        return Err(PathFault::Zero);
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(PathFault::Climbs),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    if path.len() >= LONGEST {
        return Err(PathFault::TooLong);
    }
    Ok(path)
}

/// Splits a normalised path into its directory and its last part.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (b"", path),
    }
}

/// Returns the directories above a normalised path, the topmost first, without the root.
pub(crate) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .filter_map(|(at, _)| path.get(..at))
}

/// Links that lead in a circle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle;

/// Returns the path that a path leads to inside a root, whether it is there or not. `link` returns
/// the target of the symbolic link at a path. Nothing leads above the root.
pub(crate) fn resolve<'t>(
    path: &[u8],
    follow_last: bool,
    link: impl Fn(&[u8]) -> Option<&'t [u8]>,
) -> Result<Vec<u8>, Circle> {
    let mut here: Vec<u8> = Vec::new();
    let mut rest: Vec<Vec<u8>> = parts(path);
    let (mut links, mut extra) = (0, 0);
    while let Some(part) = rest.pop() {
        if part == b".." {
            here = split(&here).0.to_vec();
            continue;
        }
        let next = join(&here, &part);
        let target = if follow_last || !rest.is_empty() {
            link(&next)
        } else {
            None
        };
        let Some(target) = target else {
            here = next;
            continue;
        };
        let target_parts = parts(target);
        links += 1;
        extra += target_parts.len();
        if links > MOST_LINKS || extra > MOST_PARTS {
            return Err(Circle);
        }
        if target.starts_with(b"/") {
            here.clear();
        }
        rest.extend(target_parts);
    }
    Ok(here)
}

/// Returns the parts of a path, the last first.
pub(crate) fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|&byte| byte == b'/').rev();
    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
    parts.map(<[u8]>::to_vec).collect()
}

/// Returns the path of a name in a directory.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        (b"", name) => name.to_vec(),
        (directory, b"") => directory.to_vec(),
        (directory, name) => [directory, b"/", name].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_below_the_root() {
        for (name, path) in [
            ("a/b", "a/b"),
            ("./a/b", "a/b"),
            ("/a//b/", "a/b"),
            ("a/./b", "a/b"),
            (".", ""),
            ("/", ""),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(
                normalise(name.as_bytes()).unwrap(),
                path.as_bytes(),
                "{name}"
            );
        }
    }

    #[test]
    fn names_that_lead_out_or_nowhere_are_refused() {
        for name in ["..", "../a", "a/../b", "/..", "a/.."] {
            assert_eq!(normalise(name.as_bytes()), Err(PathFault::Climbs), "{name}");
        }
        assert_eq!(normalise(b"a\0b"), Err(PathFault::Zero));
        assert_eq!(normalise(&[b'x'; 4096]), Err(PathFault::TooLong));
        assert!(normalise(&[b'x'; 4095]).is_ok());
    }

    #[test]
    fn parents_go_from_the_top_down() {
        let all: Vec<&[u8]> = parents(b"a/b/c").collect();
        assert_eq!(all, [&b"a"[..], b"a/b"]);
        assert_eq!(parents(b"a").count(), 0);
    }
}
