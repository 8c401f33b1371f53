//! Finds the C and C++ sources of an application in a directory.

use std::path::Path;

use kraft_sys::fs;

/// The depth of directories that are searched.
const DEEPEST: usize = 8;

/// The largest number of entries that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// File extensions that Unikraft's build system compiles.
const ENDINGS: [&str; 6] = ["c", "cc", "cpp", "cxx", "S", "s"];

/// The directory below the top whose sources belong to the application.
const SOURCES: &str = "src";

/// Directories below it whose sources are usually not part of the application.
const SKIPPED: [&str; 8] = [
    "build",
    "node_modules",
    "rootfs",
    "target",
    "test",
    "tests",
    "vendor",
    "workdir",
];

/// The sources of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Their paths relative to the directory, sorted.
    pub(super) files: Vec<String>,
    /// Those whose names make cannot handle.
    pub(super) awkward: Vec<String>,
    /// Whether there is a directory of headers, `include`.
    pub(super) include: bool,
    /// Whether there is a `Makefile.uk`.
    pub(super) makefile: bool,
}

impl Sources {
    /// Returns whether there are no files to compile.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns whether there are C++ sources.
    pub(super) fn has_cxx(&self) -> bool {
        let cxx = [".cc", ".cpp", ".cxx"];
        let is_cxx = |file: &String| cxx.iter().any(|ending| file.ends_with(ending));
        self.files.iter().any(is_cxx)
    }
}

/// Searches a directory and `src` below it; skips hidden directories.
pub(super) fn look(dir: &Path) -> Result<Sources, fs::Error> {
    let mut found = Sources {
        include: dir.join("include").is_dir(),
        makefile: dir.join("Makefile.uk").is_file(),
        ..Sources::default()
    };
    let mut left = MOST_ENTRIES;
    let mut open = vec![(dir.to_owned(), String::new(), 0)];
    while let Some((path, prefix, depth)) = open.pop() {
        let entries = std::fs::read_dir(&path).map_err(fs::Error::on("read", &path))?;
        for entry in entries {
            let entry = entry.map_err(fs::Error::on("read", &path))?;
            let Some(rest) = left.checked_sub(1) else {
                break;
            };
            left = rest;
            let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let place = format!("{prefix}{name}");
            if kind.is_dir() {
                let wanted = match depth {
                    0 => name == SOURCES,
                    depth => depth < DEEPEST && !SKIPPED.contains(&name.as_str()),
                };
                if wanted {
                    open.push((entry.path(), format!("{place}/"), depth + 1));
                }
            } else if is_source(&name) {
                let plain = place
                    .chars()
                    .all(|c| c.is_alphanumeric() || "-_./+".contains(c));
                if plain {
                    found.files.push(place);
                } else {
                    found.awkward.push(place);
                }
            }
        }
    }
    found.files.sort();
    found.awkward.sort();
    Ok(found)
}

fn is_source(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(stem, ending)| !stem.is_empty() && ENDINGS.contains(&ending))
}
