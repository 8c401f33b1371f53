//! Mounts of a `RUN`.

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kraft_core::dockerfile::{self as text, MountKind, MountOptions, Sharing, Step, expand};
use kraft_core::problem::Span;
use kraft_sys::fs::Error as FileError;
use kraft_sys::lock::Lock;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::run::{Mount, MountSource};
use super::stage::{Executor, Stage, absolute, at};
use super::{ExecuteError, Progress, disk, lookup};
use crate::ids::IdMap;
use crate::tree::{Node, Tree};
use crate::{Error, cache_key, shown};

/// Default directory of secrets.
const SECRETS: &str = "/run/secrets";
/// Maximum number of steps that use a private cache of one name at the same time.
const MOST_PRIVATE: usize = 1000;

/// Mounts and secrets of a command.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) mounts: Vec<Mount>,
    /// Secrets that are variables. Never printed: only [`Command`](super::Command) contains them, and
    /// it shows only their names.
    pub(super) environment: Vec<(String, String)>,
    /// The sources of the mounts, while the command runs.
    pub(super) keepers: Vec<TempDir>,
    /// The locks of caches, by their directories.
    locks: Vec<(PathBuf, Lock)>,
}

/// A mount of a step.
struct Wanted<'m> {
    options: MountOptions,
    /// `from`: a stage or an image.
    from: Option<&'m str>,
    /// Its absolute path in the root.
    target: String,
    span: Span,
}

impl Executor<'_, '_> {
    /// Prepares the mounts of a command.
    pub(super) fn mounts(
        &mut self,
        number: usize,
        stage: &Stage,
        step: &Step,
        run: &text::Run,
    ) -> Result<Ready, ExecuteError> {
        let mut ready = Ready::default();
        for mount in &run.mounts {
            let options = self.mount_options(stage, mount)?;
            let target = absolute(&stage.settings.working_dir, &options.target);
            let wanted = Wanted {
                from: mount.from.as_deref(),
                target: format!("/{}", target.trim_matches('/')),
                span: step.span,
                options,
            };
            let is_secret = wanted.options.kind == MountKind::Secret;
            if wanted.target == "/" && !is_secret {
                let what = "a mount cannot be over all of the root: name a `target`";
                return Err(at(step.span, what));
            }
            match wanted.options.kind {
                MountKind::Secret => self.secret(&wanted, &mut ready)?,
                MountKind::Cache => self.cache(number, stage, &wanted, &mut ready)?,
                MountKind::Tmpfs => ready.mounts.push(Mount {
                    source: MountSource::Memory {
                        size: wanted.options.size,
                    },
                    target: wanted.target,
                    read_only: wanted.options.read_only,
                }),
                MountKind::Bind => self.bind(number, stage, wanted, &mut ready)?,
                MountKind::Ssh => {
                    return Err(at(step.span, "`RUN --mount=type=ssh` needs a daemon"));
                }
            }
        }
        Ok(ready)
    }

    /// Returns the source of a mount.
    pub(super) fn mount_options(
        &self,
        stage: &Stage,
        mount: &text::Mount,
    ) -> Result<MountOptions, ExecuteError> {
        let look = |name: &str| stage.arguments.value(name, &stage.settings);
        let escape = self.recipe.dockerfile.escape;
        let options = mount.options(&|word| expand::word(word, escape, &look));
        options.map_err(ExecuteError::Text)
    }

    fn secret(&mut self, wanted: &Wanted<'_>, ready: &mut Ready) -> Result<(), ExecuteError> {
        let options = &wanted.options;
        let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut id = if options.source.is_empty() {
            options.id.clone()
        } else {
            options.source.clone()
        };
        if id.is_empty() {
            id = base(&wanted.target);
        }
        let Some(bytes) = self.recipe.secrets.get(&id) else {
            if options.required {
                let what = format!("the secret `{id}` is not given");
                return Err(at(wanted.span, what));
            }
            return Ok(());
        };
        if let Some(name) = &options.env {
            let value = String::from_utf8(bytes.clone());
            let value = value.ok().filter(|value| !value.contains('\0'));
            let Some(value) = value else {
                let what = format!("the secret `{id}` is not a text, as a variable must be");
                return Err(at(wanted.span, what));
            };
            let name = if name.is_empty() { &id } else { name };
            ready.environment.push((name.clone(), value));
            if options.target.is_empty() {
                return Ok(());
            }
        }
        let dir = self.directory("secret")?;
        let file = dir.path().join("secret");
        write_small(&file, bytes, options.mode.unwrap_or(0o400))?;
        self.give(&file, wanted)?;
        ready.keepers.push(dir);
        ready.mounts.push(Mount {
            source: MountSource::Path(file),
            target: if options.target.is_empty() {
                format!("{SECRETS}/{}", base(&id))
            } else {
                wanted.target.clone()
            },
            read_only: true,
        });
        Ok(())
    }

    fn bind(
        &mut self,
        number: usize,
        stage: &Stage,
        wanted: Wanted<'_>,
        ready: &mut Ready,
    ) -> Result<(), ExecuteError> {
        let tree = match wanted.from {
            None => self.context()?,
            Some(name) => Rc::new(self.origin(number, stage, name, wanted.span)?.tree),
        };
        let part = part(&tree, &wanted.options.source, wanted.span)?;
        let dir = self.directory("bind")?;
        disk::lay_out(&part, dir.path(), self.ids())?;
        ready.mounts.push(Mount {
            source: MountSource::Path(dir.path().join(BOUND)),
            target: wanted.target,
            read_only: wanted.options.read_only,
        });
        ready.keepers.push(dir);
        Ok(())
    }

    /// Mounts a cache. Another source, owner or mode makes it another cache, as in BuildKit.
    fn cache(
        &mut self,
        number: usize,
        stage: &Stage,
        wanted: &Wanted<'_>,
        ready: &mut Ready,
    ) -> Result<(), ExecuteError> {
        let options = &wanted.options;
        let id = if options.id.is_empty() {
            options.target.clone()
        } else {
            options.id.clone()
        };
        let seed = match wanted.from {
            Some(name) => Some(self.origin(number, stage, name, wanted.span)?.tree),
            None if options.source.is_empty() => None,
            None => Some(Tree::default()),
        };
        let seed = seed
            .map(|tree| part(&tree, &options.source, wanted.span))
            .transpose()?;
        let mut name = vec![id.clone()];
        if let Some(seed) = &seed {
            name.push(cache_key::hex(&cache_key::of_tree(seed)?));
        }
        // The mode and owner of a directory of the source are its own.
        let is_own = text::patterns::clean(&options.source).is_empty();
        if is_own {
            let owner = [options.mode, options.uid, options.gid];
            let owner = ["mode", "uid", "gid"].into_iter().zip(owner);
            name.extend(owner.filter_map(|(name, value)| Some(format!("{name}={}", value?))));
        }
        let mut source = self.recipe.caches.join(file_name(&name.join("\0")));
        for count in 2..MOST_PRIVATE {
            self.begin_cache(&source, seed.as_ref(), wanted, is_own)?;
            if self.lock_cache(&source, &id, options.sharing, ready)? {
                break;
            }
            let next = format!("{}\0{count}", name.join("\0"));
            source = self.recipe.caches.join(file_name(&next));
        }
        ready.mounts.push(Mount {
            source: MountSource::Path(source),
            target: wanted.target.clone(),
            read_only: options.read_only,
        });
        Ok(())
    }

    /// Creates the directory of a cache, unless it exists: completely or not at all.
    fn begin_cache(
        &mut self,
        path: &Path,
        seed: Option<&Tree>,
        wanted: &Wanted<'_>,
        is_own: bool,
    ) -> Result<(), ExecuteError> {
        let caches = self.recipe.caches;
        kraft_sys::fs::create_dir_all(caches, 0o755).map_err(Error::from)?;
        if path.is_dir() {
            return Ok(());
        }
        let failed = |error| Error::from(FileError::on("write", caches)(error));
        let fresh = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(caches)
            .map_err(failed)?;
        let mut made = Tree::default();
        let seed = seed.unwrap_or_else(|| {
            let root = made.insert(BOUND.as_bytes(), Node::implied_directory());
            debug_assert!(root.is_ok(), "the tree is empty");
            &made
        });
        disk::lay_out(seed, fresh.path(), self.ids())?;
        let begun = fresh.path().join(BOUND);
        if !begun.is_dir() {
            let what = format!("`{}` is not a directory", wanted.options.source);
            return Err(at(wanted.span, what));
        }
        if is_own {
            self.give(&begun, wanted)?;
            if let Some(mode) = wanted.options.mode {
                let permissions = std::fs::Permissions::from_mode(mode & 0o7777);
                std::fs::set_permissions(&begun, permissions).map_err(failed)?;
            }
        }
        match kraft_sys::fs::rename(&begun, path) {
            // Another build was faster.
            Err(_) if path.is_dir() => Ok(()),
            other => Ok(other.map_err(Error::from)?),
        }
    }

    /// Locks a cache while the command runs; returns whether it can be used.
    fn lock_cache(
        &mut self,
        path: &Path,
        id: &str,
        sharing: Sharing,
        ready: &mut Ready,
    ) -> Result<bool, ExecuteError> {
        if ready.locks.iter().any(|(locked, _)| locked == path) {
            return Ok(true);
        }
        let lock = match sharing {
            Sharing::Shared => Lock::shared(path).map_err(Error::from)?,
            Sharing::Private | Sharing::Locked => {
                match Lock::try_exclusive(path).map_err(Error::from)? {
                    Some(lock) => lock,
                    None if sharing == Sharing::Private => return Ok(false),
                    None => {
                        let line = format!("waiting for the cache `{id}`, which is in use");
                        (self.tell)(Progress::Line(line));
                        Lock::exclusive(path).map_err(Error::from)?
                    }
                }
            }
        };
        ready.locks.push((path.to_owned(), lock));
        Ok(true)
    }

    /// Changes the owner of a file to the one that a mount names, if this user can.
    fn give(&mut self, path: &Path, wanted: &Wanted<'_>) -> Result<(), ExecuteError> {
        let (uid, gid) = (wanted.options.uid, wanted.options.gid);
        if let Some(ids) = self.ids() {
            ids.give(path, uid.unwrap_or(0), gid.unwrap_or(0))
                .map_err(FileError::on("write", path))
                .map_err(Error::from)?;
        } else if [uid, gid].into_iter().flatten().any(|id| id != 0) {
            self.warnings.push(format!(
                "`{}` belongs to root in the step: only a build as root can mount it for other \
                 owners",
                wanted.target
            ));
        }
        Ok(())
    }

    fn ids(&self) -> Option<&IdMap> {
        self.recipe.runner.and_then(super::Runner::ids)
    }
}

/// Name of the source of a mount in its directory.
const BOUND: &str = "bound";

/// Returns the entry at a path of a tree as the only entry of a new tree. Links are followed inside
/// the tree: on this host they would lead somewhere else.
pub(super) fn part(tree: &Tree, source: &str, span: Span) -> Result<Tree, ExecuteError> {
    let path = lookup::resolve(tree, source.as_bytes(), true)
        .map_err(|_| at(span, format!("links on the way to `{source}` form a loop")))?;
    let node = match tree.get(&path) {
        Some(node) => node.clone(),
        None if path.is_empty() => Node::implied_directory(),
        None => return Err(at(span, format!("there is no `{source}` to mount"))),
    };
    let mut part = Tree::default();
    let mut put = |path: &[u8], node: Node| {
        let put = part.insert(path, node);
        put.map_err(|error| at(span, format!("cannot mount `{}`: {error}", shown(path))))
    };
    put(BOUND.as_bytes(), node)?;
    let skip = if path.is_empty() { 0 } else { path.len() + 1 };
    for (full, node) in tree.below(&path) {
        let path = full.get(skip..).unwrap_or_default();
        put(&lookup::join(BOUND.as_bytes(), path), node.clone())?;
    }
    Ok(part)
}

/// Writes a small file with its mode.
pub(super) fn write_small(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let file = kraft_sys::fs::NewFile::with_mode(path, mode & 0o777)?;
    file.file()
        .write_all_at(bytes, 0)
        .map_err(FileError::on("write", path))?;
    Ok(file.commit()?)
}

/// Returns a unique file name for a text.
pub(super) fn file_name(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let shown: String = id.chars().filter(|c| plain(*c)).take(64).collect();
    if shown == id {
        return shown;
    }
    format!("{shown}.{}", hex_half(&Sha256::digest(id.as_bytes())))
}

/// Returns half of a digest as text: enough to distinguish names.
fn hex_half(digest: &[u8]) -> String {
    let (half, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
    format!("{:032x}", u128::from_be_bytes(*half))
}
