//! What symbolic links on the way to a path lead to: whoever copies the path needs that too.

use std::collections::HashSet;
use std::path::Path;

use kraft_core::dockerfile::patterns::{Glob, clean};

/// So many links are followed in all: a circle ends too.
const MOST: usize = 255;

/// Returns the paths themselves, and those that links among them lead to; all below the root.
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
    /// Goes on from a directory that is none of a link, along what is left of a path.
    fn path(&mut self, mut here: String, rest: &str) {
        let mut parts = rest.split('/').filter(|part| !part.is_empty());
        while let Some(part) = parts.next() {
            let after: Vec<&str> = parts.clone().collect();
            let after = after.join("/");
            if part.contains(['*', '?', '[']) {
                for name in self.matching(&here, part) {
                    self.step(&join(&here, &name), &after);
                }
                // The pattern itself, for whoever matches it.
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

    /// Follows one name if it is a link; tells whether it was.
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
        // An absolute link is meant from the root of the directory.
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
