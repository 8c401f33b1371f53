//! Files of this host that are watched while services are developed (`develop` of the Compose Develop
//! specification).
//!
//! The files are looked at in turns: that works on every file system, and needs no more than their
//! names and times.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kraft_core::compose::{MountKind, Service, WatchAction, WatchRule};
use kraft_core::dockerfile::patterns::Patterns;
use kraft_core::problem::Problem;
use kraft_sys::fs;

use super::Error;
use super::definition::Definition;
use crate::context::Context;

/// The maximum number of files of a rule.
const MOST_FILES: usize = 100_000;
/// The maximum depth of directories.
const DEEPEST: usize = 64;
/// The maximum size of a `.dockerignore`, in bytes.
const LARGEST_IGNORE: u64 = 1 << 20;
/// What never counts.
const NEVER: [&str; 3] = [".git", "**/*~", "**/.*.sw?"];

/// What distinguishes two states of a file: the time of its change, and its size.
type Stamp = (Option<SystemTime>, u64);

/// A directory or a file that is watched.
#[derive(Debug)]
struct Watched {
    service: String,
    rule: WatchRule,
    root: PathBuf,
    ignore: Patterns,
    include: Patterns,
    files: BTreeMap<String, Stamp>,
}

/// Files that are watched.
#[derive(Debug)]
pub struct Watcher(Vec<Watched>);

/// A change of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The service.
    pub service: String,
    /// What is done.
    pub action: WatchAction,
    /// The directory or file that is watched.
    pub root: PathBuf,
    /// The files, relative to it; empty for the file itself. Removed ones are among them.
    pub files: Vec<String>,
    /// Where they are copied.
    pub target: Option<String>,
}

impl Watcher {
    /// Begins to watch the files of services.
    ///
    /// # Errors
    ///
    /// If a rule cannot be followed: files can be copied into volumes and mounted directories only.
    pub fn new(
        ctx: &Context,
        definition: &Definition,
        services: &[&Service],
    ) -> Result<Self, Error> {
        let mut all = Vec::new();
        for service in services {
            for rule in &service.watch {
                let refuse = |message: String, help: &str| {
                    let problem = Problem::error(message).at(rule.span);
                    definition.unsupported(problem.help(help.to_owned()))
                };
                if let Some(target) = &rule.target
                    && matches!(rule.action, WatchAction::Sync | WatchAction::SyncRestart)
                    && !is_mounted(service, target)
                {
                    return Err(refuse(
                        format!(
                            "cannot copy files to `{target}`: it is in the memory of a machine"
                        ),
                        "mount a volume or a directory there, or write `action: rebuild`",
                    ));
                }
                let root = definition.path(ctx, &rule.path);
                let wrong = |error: &dyn std::fmt::Display| {
                    refuse(format!("invalid pattern: {error}"), "see `.dockerignore`")
                };
                let ignore = ignored(&root, &rule.ignore).map_err(|error| wrong(&error))?;
                let include = Patterns::new(rule.include.iter().map(String::as_str));
                let mut watched = Watched {
                    service: service.name.clone(),
                    rule: rule.clone(),
                    files: BTreeMap::new(),
                    ignore,
                    include: include.map_err(|error| wrong(&error))?,
                    root,
                };
                watched.files = watched.look();
                all.push(watched);
            }
        }
        Ok(Self(all))
    }

    /// Returns whether there is nothing to watch.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what has changed since the last turn.
    pub fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for watched in &mut self.0 {
            let now = watched.look();
            let is_new =
                |(name, stamp): &(&String, &Stamp)| watched.files.get(*name) != Some(stamp);
            let mut files: Vec<String> = now
                .iter()
                .filter(is_new)
                .map(|(name, _)| name.clone())
                .collect();
            let gone = watched.files.keys().filter(|name| !now.contains_key(*name));
            files.extend(gone.cloned());
            watched.files = now;
            if !files.is_empty() {
                changes.push(Change {
                    service: watched.service.clone(),
                    action: watched.rule.action,
                    root: watched.root.clone(),
                    files,
                    target: watched.rule.target.clone(),
                });
            }
        }
        changes
    }
}

impl Watched {
    /// Returns the files as they are now. What cannot be read is not there.
    fn look(&self) -> BTreeMap<String, Stamp> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![(String::new(), 0)];
        while let Some((name, depth)) = waiting.pop() {
            let path = if name.is_empty() {
                self.root.clone()
            } else {
                self.root.join(&name)
            };
            // No link is followed, apart from the root.
            let metadata = if name.is_empty() {
                std::fs::metadata(&path)
            } else {
                std::fs::symlink_metadata(&path)
            };
            let Ok(metadata) = metadata else { continue };
            if !name.is_empty() && self.ignore.matches(&name) {
                continue;
            }
            if !metadata.is_dir() {
                let counts = self.include.is_empty() || self.include.matches(&name);
                if counts && found.len() < MOST_FILES {
                    found.insert(name, (metadata.modified().ok(), metadata.len()));
                }
                continue;
            }
            if depth < DEEPEST {
                for child in fs::names(&path).unwrap_or_default() {
                    let child = match name.as_str() {
                        "" => child,
                        parent => format!("{parent}/{child}"),
                    };
                    waiting.push((child, depth + 1));
                }
            }
        }
        found
    }
}

/// Returns whether a path of a service is in one of its volumes or mounted directories.
fn is_mounted(service: &Service, target: &str) -> bool {
    service.volumes.iter().any(|mount| {
        let path = mount.target.trim_end_matches('/');
        let rest = target.strip_prefix(path);
        mount.kind != MountKind::Memory
            && !mount.read_only
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Returns the patterns of a rule, with those of the `.dockerignore` in its directory.
fn ignored(root: &Path, patterns: &[String]) -> Result<Patterns, String> {
    let file = fs::read_file(&root.join(".dockerignore"), LARGEST_IGNORE).unwrap_or_default();
    let text = String::from_utf8_lossy(&file);
    let all = [&*text, &patterns.join("\n"), &NEVER.join("\n")].join("\n");
    Patterns::of_ignore_file(&all).map_err(|problem| problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::definition::{self, OpenOptions};
    use crate::testing::{Script, context};

    /// Opens a project with this rule for its service.
    fn watcher(home: &Path, rule: &str) -> Result<Watcher, String> {
        let ctx = context(home, &Script::silent());
        let text = format!(
            "services:\n  web:\n    image: x\n    volumes: [data:/data]\n    develop: {{watch: [{rule}]}}\n\
             volumes: {{data: }}\n"
        );
        let file = home.join("compose.yaml");
        fs::replace_file(&file, text.as_bytes()).unwrap();
        let options = OpenOptions {
            files: vec![file],
            ..OpenOptions::default()
        };
        let definition = definition::open(&ctx, &options).unwrap();
        let services = definition.services(&[]).unwrap();
        Watcher::new(&ctx, &definition, &services).map_err(|error| error.to_string())
    }

    #[test]
    fn new_changed_and_removed_files_are_found_unless_they_are_ignored() {
        let home = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = home.path().join("src").join(name);
            fs::create_dir_all(path.parent().unwrap(), 0o755).unwrap();
            fs::replace_file(&path, text.as_bytes()).unwrap();
        };
        put("a.c", "1");
        put("b/b.c", "1");
        put(".dockerignore", "*.log\n");
        let rule = "{path: ./src, action: rebuild, ignore: [b/tmp]}";
        let mut watcher = watcher(home.path(), rule).unwrap();
        assert_eq!(watcher.changes(), []);
        put("a.c", "22");
        put("b/c.c", "1");
        put("b/tmp/x", "1");
        put("x.log", "1");
        put(".git/HEAD", "1");
        fs::remove_file(&home.path().join("src/b/b.c")).unwrap();
        let changes = watcher.changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].files, ["a.c", "b/c.c", "b/b.c"]);
        assert_eq!(watcher.changes(), []);
    }

    #[test]
    fn files_are_copied_into_volumes_only() {
        let home = tempfile::tempdir().unwrap();
        for (target, is_fine) in [("/data", true), ("/data/x", true), ("/database", false)] {
            let rule = format!("{{path: ., action: sync, target: {target}}}");
            let watcher = watcher(home.path(), &rule);
            assert_eq!(watcher.is_ok(), is_fine, "{target}");
        }
    }
}
