//! Paths inside a root: bytes, relative, and never outside of it.

/// Maximum length of a path in Linux with its final zero, in bytes (`PATH_MAX`).
const LONGEST: usize = 4096;

/// Maximum number of symbolic links followed for one path, as in Linux (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// Maximum number of path components in the link targets of one path, to bound the work.
const MOST_PARTS: usize = 1024;

/// Error of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It contains `..`, which could lead out of the root.
    #[error("its name contains `..`")]
    Climbs,
    /// It contains a zero byte, where every reader of the archive would end it.
    #[error("its name contains a zero byte")]
    Zero,
    /// It is longer than Linux allows.
    #[error("its name is longer than 4095 bytes")]
    TooLong,
}

/// Returns a name as a path below the root: without `/` or `./` before it, without empty or `.`
/// parts. The root itself is the empty path.
///
/// A name that begins with `/` begins at the root of the archive, as for `tar` and the kernels.
///
/// ```
/// use kraft_rootfs::{PathError, normalise};
///
/// assert_eq!(normalise(b"./bin//sh"), Ok(b"bin/sh".to_vec()));
/// assert_eq!(normalise(b"../sh"), Err(PathError::Climbs));
/// ```
///
/// # Errors
///
/// If the name contains `..` or a zero byte, or is too long.
pub fn normalise(name: &[u8]) -> Result<Vec<u8>, PathError> {
    if name.contains(&0) {
        return Err(PathError::Zero);
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(PathError::Climbs),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    if path.len() >= LONGEST {
        return Err(PathError::TooLong);
    }
    Ok(path)
}

/// Splits a normalised path into its directory and its last component.
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

/// Links that form a loop, or too many links.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle;

/// Resolves the symbolic links of a path inside a root; the result need not exist. `link` returns the
/// target of the link at a path. `..` stops at the root.
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

/// Returns the components of a path, the last first.
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
    fn names_become_paths_below_the_root() {
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
    fn names_outside_of_the_root_are_refused() {
        for name in ["..", "../a", "a/../b", "/..", "a/.."] {
            assert_eq!(normalise(name.as_bytes()), Err(PathError::Climbs), "{name}");
        }
        assert_eq!(normalise(b"a\0b"), Err(PathError::Zero));
        assert_eq!(normalise(&[b'x'; 4096]), Err(PathError::TooLong));
        assert!(normalise(&[b'x'; 4095]).is_ok());
    }

    #[test]
    fn parents_go_from_the_top_down() {
        let all: Vec<&[u8]> = parents(b"a/b/c").collect();
        assert_eq!(all, [&b"a"[..], b"a/b"]);
        assert_eq!(parents(b"a").count(), 0);
    }
}
