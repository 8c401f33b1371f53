//! Targets of symbolic links on the way to a path: a copy of the path needs them too.

use std::collections::HashSet;
use std::path::Path;

use kraft_core::dockerfile::patterns::{Glob, clean};

/// Maximum number of links that are followed, so that loops end.
const MOST: usize = 255;

/// Returns the paths and the targets of links on the way to them; all are below the root.
pub(super) fn links(root: &Path, paths: &[String]) -> Vec<String> {
    let mut finder = Finder {
        root,
        found: HashSet::new(),
        left: MOST,
    };
    for path in paths {
        finder.path(String::new(), &clean(path));
    }
    finder.found.into_iter().collect()
}

struct Finder<'a> {
    root: &'a Path,
    found: HashSet<String>,
    left: usize,
}

impl Finder<'_> {
    /// Walks the rest of a path from a directory that is not below a link.
    fn path(&mut self, mut here: String, rest: &str) {
        let mut parts = rest.split('/').filter(|part| !part.is_empty());
        while let Some(part) = parts.next() {
            let after: Vec<&str> = parts.clone().collect();
            let after = after.join("/");
            if part.contains(['*', '?', '[']) {
                for name in self.matching(&here, part) {
                    self.step(&join(&here, &name), &after);
                }
                // The pattern itself, which the include filter matches.
                self.found.insert(join(&here, &join(part, &after)));
                return;
            }
            let next = join(&here, part);
            if self.step(&next, &after) {
                return;
            }
            here = next;
        }
        self.found.insert(here);
    }

    /// Follows a name if it is a link; returns whether it is one.
    fn step(&mut self, path: &str, after: &str) -> bool {
        let Ok(target) = std::fs::read_link(self.root.join(path)) else {
            return false;
        };
        self.found.insert(path.to_owned());
        if self.left == 0 {
            return true;
        }
        self.left -= 1;
        let Some(target) = target.to_str() else {
            return true;
        };
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        // An absolute link begins at the root of the directory.
        let target = if target.starts_with('/') {
            clean(target)
        } else {
            clean(&join(above, target))
        };
        self.path(String::new(), &join(&target, after));
        true
    }

    fn matching(&self, below: &str, pattern: &str) -> Vec<String> {
        let glob = Glob::path(pattern);
        let Ok(entries) = std::fs::read_dir(self.root.join(below)) else {
            return Vec::new();
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| glob.matches(name)).collect();
        names.sort_unstable();
        names
    }
}

fn join(above: &str, below: &str) -> String {
    match (above, below) {
        ("", below) => below.to_owned(),
        (above, "") => above.to_owned(),
        (above, below) => format!("{above}/{below}"),
    }
}
