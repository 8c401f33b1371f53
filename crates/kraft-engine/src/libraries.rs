//! The shared libraries of this host that a Linux program needs, found as its loader would.
//!
//! The program's own search path comes first, then the directories of `/etc/ld.so.conf`, then the
//! default ones (`ld.so(8)`). What a program opens later by itself (`dlopen`) is not found.
//!
//! ```
//! use kraft_engine::{binary, libraries};
//!
//! let own = std::env::current_exe()?;
//! let program = binary::of_file(&own).expect("a program");
//! let needed = libraries::of_program(&own, &program);
//! assert!(needed.missing.is_empty(), "the loader found them all");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kraft_core::mount::plain_path;
use kraft_core::program::Program;
use kraft_sys::fs;

use crate::binary::{self, LIBRARY_DIRS};

/// The largest number of libraries.
const MOST_LIBRARIES: usize = 512;
/// The largest number of directories in `ld.so.conf`, and of files that it includes.
const MOST_DIRS: usize = 256;
/// The limit of such a file, in bytes.
const LARGEST_CONF: u64 = 64 << 10;

/// What a program needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// Files of this host by their path in the root filesystem, which begins with `/`.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Names of libraries that this host does not have.
    pub missing: BTreeSet<String>,
}

/// Finds the loader and the libraries of a program that is at the root of the root filesystem;
/// nothing for a static program.
#[must_use]
pub fn of_program(path: &Path, program: &Program) -> Needed {
    let mut needed = Needed::default();
    let Some(interpreter) = &program.interpreter else {
        return needed;
    };
    let loader = PathBuf::from(interpreter);
    if loader.is_file() {
        needed.files.insert(loader.clone(), loader);
    } else {
        needed.missing.insert(interpreter.clone());
    }
    // musl's loader is its library.
    let is_musl = interpreter.contains("/ld-musl-");
    let configured = configured_dirs();
    let mut seen = BTreeSet::new();
    let origin = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut waiting = vec![(program.clone(), origin, PathBuf::from("/"))];
    while let Some((user, origin, guest_origin)) = waiting.pop() {
        for name in &user.libraries {
            let is_loader = is_musl && name.starts_with("libc.");
            if is_loader || seen.len() >= MOST_LIBRARIES || !seen.insert(name.clone()) {
                continue;
            }
            let places = places(&user.search, &origin, &guest_origin, &configured);
            let found = places.into_iter().find_map(|(host, guests)| {
                let file = host.join(name);
                let library = binary::of_file(&file)?;
                (library.arch == program.arch).then_some((file, guests, library))
            });
            let Some((file, guests, library)) = found else {
                needed.missing.insert(name.clone());
                continue;
            };
            for dir in &guests {
                needed.files.insert(dir.join(name), file.clone());
            }
            let host_dir = file.parent().unwrap_or(Path::new("/")).to_owned();
            let guest_dir = guests.into_iter().next().unwrap_or_default();
            waiting.push((library, host_dir, guest_dir));
        }
    }
    needed
}

/// Returns the directories of this host where a library is searched, with those where the loader
/// of the machine finds it.
fn places(
    search: &[String],
    origin: &Path,
    guest_origin: &Path,
    configured: &[PathBuf],
) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let mut places = Vec::new();
    for dir in search.iter().filter(|dir| !dir.is_empty()) {
        let with = |origin: &Path| {
            let origin = origin.to_string_lossy();
            let dir = dir
                .replace("${ORIGIN}", &origin)
                .replace("$ORIGIN", &origin);
            plain_path(Path::new(&dir))
        };
        places.push((with(origin), vec![with(guest_origin)]));
    }
    // The machine has no `ld.so.conf`: what was found by it is put where every loader looks.
    let anywhere = || vec![PathBuf::from("/lib"), PathBuf::from("/lib64")];
    places.extend(configured.iter().map(|dir| {
        let is_default = LIBRARY_DIRS.iter().any(|default| dir == Path::new(default));
        let guests = if is_default {
            vec![dir.clone()]
        } else {
            anywhere()
        };
        (dir.clone(), guests)
    }));
    places.extend(LIBRARY_DIRS.map(|dir| (PathBuf::from(dir), vec![PathBuf::from(dir)])));
    places
}

/// Returns the directories of `/etc/ld.so.conf` and of the files that it includes.
fn configured_dirs() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    let mut waiting = vec![PathBuf::from("/etc/ld.so.conf")];
    let mut read = 0;
    while let Some(file) = waiting.pop() {
        read += 1;
        let Ok(bytes) = fs::read_file(&file, LARGEST_CONF) else {
            continue;
        };
        for line in String::from_utf8_lossy(&bytes).lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(pattern) = line.strip_prefix("include ") {
                if read < MOST_DIRS {
                    waiting.extend(included(pattern.trim()));
                }
            } else if line.starts_with('/') && dirs.len() < MOST_DIRS {
                dirs.push(PathBuf::from(line));
            }
        }
    }
    dirs
}

/// Returns the files of `include DIR/*.conf`, in their order.
fn included(pattern: &str) -> Vec<PathBuf> {
    let Some((dir, name)) = pattern.rsplit_once('/') else {
        return Vec::new();
    };
    let (before, after) = name.split_once('*').unwrap_or((name, ""));
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .take(MOST_DIRS)
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(before) && name.ends_with(after)
        })
        .map(|entry| entry.path())
        .collect();
    // They are taken from the end.
    files.sort();
    files.reverse();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_this_test_are_found_with_their_loader() {
        let own = std::env::current_exe().unwrap();
        let program = binary::of_file(&own).unwrap();
        let needed = of_program(&own, &program);
        assert_eq!(needed.missing, BTreeSet::new());
        if let Some(interpreter) = &program.interpreter {
            assert!(needed.files.contains_key(Path::new(interpreter)));
        }
        for (name, file) in &needed.files {
            assert!(name.is_absolute() && file.is_file(), "{}", name.display());
        }
        for library in &program.libraries {
            let has = |path: &PathBuf| path.ends_with(library);
            assert!(needed.files.keys().any(has), "{library}");
        }
    }

    #[test]
    fn a_static_program_needs_nothing_and_a_lost_library_is_named() {
        let path = Path::new("/srv/app/program");
        let lost = Program {
            libraries: vec!["libnowhere.so.1".to_owned()],
            ..Program::default()
        };
        assert_eq!(of_program(path, &lost), Needed::default());
        let dynamic = Program {
            interpreter: Some("/lib/ld-nowhere.so.1".to_owned()),
            ..lost
        };
        let missing = of_program(path, &dynamic).missing;
        let expected = ["/lib/ld-nowhere.so.1", "libnowhere.so.1"];
        assert!(missing.iter().eq(expected), "{missing:?}");
    }

    #[test]
    fn the_origin_is_the_directory_of_the_program_here_and_the_root_there() {
        let search = [
            "$ORIGIN/../lib".to_owned(),
            "${ORIGIN}".to_owned(),
            String::new(),
        ];
        let places = places(&search, Path::new("/srv/app/bin"), Path::new("/"), &[]);
        let shown: Vec<_> = (places.iter().take(2))
            .map(|(host, guests)| (host.to_str().unwrap(), guests[0].to_str().unwrap()))
            .collect();
        assert_eq!(shown, [("/srv/app/lib", "/lib"), ("/srv/app/bin", "/")]);
        assert_eq!(places.len(), 2 + LIBRARY_DIRS.len());
    }
}
