//! Cache of the results of `RUN` steps.
//!
//! ```text
//! DIR/               locked: shared by builds, exclusively by garbage collection
//!     steps/KEY      the layers of a state of a stage, the lowest first
//!     ID/root/       the files of a layer as in the upper directory of an overlay
//!        index.json  the entries of the layer
//!        held/N      copies of files that are not readable
//!     new-…/         a layer that is being created
//! ```
//!
//! A layer never changes after it got its id, and a state lists all of its layers, so a state
//! always is what one series of steps produced. A state is recorded after its layers are on disk.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use kraft_sys::fs::{self, Error as FileError};
use kraft_sys::lock::Lock;
use serde::{Deserialize, Serialize};

use super::disk;
use super::index::{Capture, Index};
use crate::Error;
use crate::cache_key::{self, Digest};
use crate::tree::{Directory, Root, Tree};

/// Directory of the files of a layer.
pub(super) const ROOT: &str = "root";
/// Directory of the copies of files that are not readable.
pub(super) const HELD: &str = "held";
const INDEX: &str = "index.json";
const STEPS: &str = "steps";
const NEW: &str = "new-";
/// Maximum size of an index in bytes.
const LARGEST_INDEX: u64 = 1 << 30;
/// Maximum size of a state in bytes.
const LARGEST_STATE: u64 = 1 << 20;

/// A cache of layers. While it is open, no layer is removed.
#[derive(Debug)]
pub struct Layers {
    dir: PathBuf,
    /// States that are being written.
    waiting: RefCell<Vec<JoinHandle<Result<(), FileError>>>>,
    _lock: Lock,
}

/// A layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) id: String,
    pub(super) index: Index,
    /// The directory it is in, which its files are opened in.
    pub(super) directory: Rc<Directory>,
}

/// A layer that is being created; removed on drop unless [`Layers::finish`] was called.
#[derive(Debug)]
pub(super) struct NewLayer {
    id: String,
    path: PathBuf,
}

/// The part of a stage that is in layers.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    /// The lowest first.
    pub(super) layers: Vec<Rc<Layer>>,
    /// The merged layers.
    pub(super) tree: Tree,
}

/// Record of a state.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// The ids of its layers with their sizes in bytes, the lowest first.
    layers: Vec<(String, u64)>,
}

/// What garbage collection keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Maximum time since the last use.
    pub unused: Duration,
    /// Maximum total size in bytes; the states that were used last are kept first.
    pub bytes: u64,
}

impl Layers {
    /// Opens or creates a cache; removes unfinished layers of killed builds.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(&dir.join(STEPS), 0o700)?;
        if let Some(_alone) = Lock::try_exclusive(dir)? {
            for path in entries(dir) {
                if is_new(&path) {
                    // Garbage collection removes it later.
                    drop(remove(&path));
                }
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            waiting: RefCell::default(),
            _lock: Lock::shared(dir)?,
        })
    }

    /// Returns the directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a layer with an empty root.
    pub(super) fn begin(&self) -> Result<NewLayer, Error> {
        let id = random_id().map_err(FileError::on("write", &self.dir))?;
        let path = self.dir.join(format!("{NEW}{id}"));
        fs::create_dir(&path, 0o700)?;
        let new = NewLayer { id, path };
        fs::create_dir(&new.root(), 0o755)?;
        Ok(new)
    }

    /// Indexes a new layer and adds it to the cache.
    pub(super) fn finish(&self, new: &NewLayer, how: &Capture<'_>) -> Result<Layer, Error> {
        let index = Index::capture(&new.path, how)?;
        let bytes = serde_json::to_vec(&index)
            .map_err(io::Error::from)
            .map_err(FileError::on("write", &new.path))?;
        fs::overwrite(&new.path.join(INDEX), &bytes)?;
        let path = self.dir.join(&new.id);
        fs::rename(&new.path, &path)?;
        self.layer(&new.id, index)
    }

    fn layer(&self, id: &str, index: Index) -> Result<Layer, Error> {
        let path = self.dir.join(id);
        let file = File::open(&path).map_err(FileError::on("open", &path))?;
        Ok(Layer {
            id: id.to_owned(),
            index,
            directory: Rc::new(Directory {
                root: Rc::new(Root { file, path }),
                path: Vec::new(),
            }),
        })
    }

    /// Records a state in the background, after its layers are on disk.
    pub(super) fn keep(&self, key: &Digest, ground: &Ground) {
        let sized = |layer: &Rc<Layer>| (layer.id.clone(), layer.index.bytes());
        let state = State {
            layers: ground.layers.iter().map(sized).collect(),
        };
        let path = self.state_path(key);
        let dir = self.dir.clone();
        let write = move || {
            fs::sync_file_system(&dir)?;
            let bytes = serde_json::to_vec(&state)
                .map_err(io::Error::from)
                .map_err(FileError::on("write", &path))?;
            fs::replace_file(&path, &bytes)
        };
        self.waiting.borrow_mut().push(std::thread::spawn(write));
    }

    /// Waits until all states are recorded; returns the last error.
    pub(super) fn settle(&self) -> Option<FileError> {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        let ended = waiting.into_iter().map(JoinHandle::join);
        ended.filter_map(|ended| ended.ok()?.err()).last()
    }

    /// Returns the state of a key if all of its layers exist.
    pub(super) fn find(
        &self,
        key: &Digest,
        numbers: &mut u64,
        warnings: &mut Vec<String>,
    ) -> Option<Ground> {
        let path = self.state_path(key);
        let state = read_state(&path)?;
        let mut ground = Ground::default();
        let mut told = Vec::new();
        for (id, _) in state.layers {
            let bytes = fs::read_file(&self.dir.join(&id).join(INDEX), LARGEST_INDEX).ok()?;
            let index = serde_json::from_slice(&bytes).ok()?;
            let layer = self.layer(&id, index).ok()?;
            layer.put_over(&mut ground.tree, numbers, &mut told).ok()?;
            ground.layers.push(Rc::new(layer));
        }
        warnings.append(&mut told);
        touch(&path);
        Some(ground)
    }

    fn state_path(&self, key: &Digest) -> PathBuf {
        self.dir.join(STEPS).join(cache_key::hex(key))
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        // The steps before a failed one stay cached.
        drop(self.settle());
    }
}

impl NewLayer {
    /// Returns the directory of its files.
    pub(super) fn root(&self) -> PathBuf {
        self.path.join(ROOT)
    }

    /// Returns the name of its directory.
    pub(super) fn name(&self) -> String {
        format!("{NEW}{}", self.id)
    }

    /// Creates a directory beside its root.
    pub(super) fn directory(&self, name: &str) -> Result<(), Error> {
        Ok(fs::create_dir(&self.path.join(name), 0o755)?)
    }

    /// Removes a directory beside its root.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        remove(&self.path.join(name))
    }
}

impl Drop for NewLayer {
    fn drop(&mut self) {
        // A finished layer has another name. On an error, the next build removes it.
        drop(remove(&self.path));
    }
}

/// Removes states and layers that are not kept; returns the freed bytes. Removes nothing while a
/// build is running.
pub fn sweep(dir: &Path, keep: Keep, dry_run: bool) -> Result<u64, Error> {
    if !dir.is_dir() {
        return Ok(0);
    }
    let Some(_alone) = Lock::try_exclusive(dir)? else {
        return Ok(0);
    };
    let now = SystemTime::now();
    let mut states = Vec::new();
    for path in entries(&dir.join(STEPS)) {
        let used = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
        let age = used.ok().and_then(|used| now.duration_since(used).ok());
        states.push((age.unwrap_or_default(), path));
    }
    states.sort();
    let (mut kept, mut bytes) = (HashSet::new(), 0);
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for (age, path) in states {
        let state = read_state(&path);
        let whole = |state: &State| state.layers.iter().all(|(id, _)| dir.join(id).is_dir());
        let state = state.filter(|state| age <= keep.unused && whole(state));
        let layers = state.map(|state| state.layers).unwrap_or_default();
        let new = layers.iter().filter(|(id, _)| !kept.contains(id));
        let more: u64 = new.map(|(_, size)| size).sum();
        if layers.is_empty() || bytes + more > keep.bytes {
            sizes.extend(layers);
            if !dry_run {
                fs::remove_file(&path)?;
            }
            continue;
        }
        bytes += more;
        kept.extend(layers.into_iter().map(|(id, _)| id));
    }
    let mut freed = 0;
    for path in entries(dir) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == STEPS || kept.contains(&*name) {
            continue;
        }
        freed += sizes
            .get(&*name)
            .copied()
            .unwrap_or_else(|| size_below(&path));
        if !dry_run {
            remove(&path)?;
        }
    }
    Ok(freed)
}

fn read_state(path: &Path) -> Option<State> {
    let bytes = fs::read_file(path, LARGEST_STATE).ok()?;
    let state: State = serde_json::from_slice(&bytes).ok()?;
    let plain = |(id, _): &(String, u64)| id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sound = !state.layers.is_empty() && state.layers.iter().all(plain);
    sound.then_some(state)
}

/// Sets the time of the last use of a state.
fn touch(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn is_new(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with(NEW)
}

fn size_below(path: &Path) -> u64 {
    let index = fs::read_file(&path.join(INDEX), LARGEST_INDEX).ok();
    let index = index.and_then(|bytes| serde_json::from_slice::<Index>(&bytes).ok());
    index.map_or(0, |index| index.bytes())
}

/// Removes a directory with its contents, whatever their permissions.
fn remove(path: &Path) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() && path.is_dir() {
        disk::open_up(path)?;
    }
    Ok(fs::remove_tree(path)?)
}

fn random_id() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer with one file of some bytes, kept under a key.
    fn kept(layers: &Layers, key: u8, bytes: usize, below: &Ground) -> Ground {
        let new = layers.begin().unwrap();
        fs::overwrite(&new.root().join(format!("f{key}")), &vec![key; bytes]).unwrap();
        let how = Capture {
            ids: None,
            before: &below.tree,
            complete: false,
            devices: false,
        };
        let layer = layers.finish(&new, &how).unwrap();
        let mut ground = below.clone();
        ground.layers.push(Rc::new(layer));
        layers.keep(&[key; 32], &ground);
        assert!(layers.settle().is_none());
        ground
    }

    fn found(dir: &Path) -> Vec<u8> {
        let layers = Layers::open(dir).unwrap();
        let there = |key: &u8| {
            let found = layers.find(&[*key; 32], &mut 0, &mut Vec::new());
            let Some(ground) = found else {
                return false;
            };
            let name = format!("f{key}");
            assert!(ground.tree.get(name.as_bytes()).is_some());
            true
        };
        (1..=3).filter(there).collect()
    }

    fn used(dir: &Path, key: u8, hours_ago: u64) {
        let path = dir.join(STEPS).join(cache_key::hex(&[key; 32]));
        let then = SystemTime::now() - Duration::from_hours(hours_ago);
        File::open(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn what_was_used_last_is_kept_and_shared_layers_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let layers = Layers::open(dir.path()).unwrap();
        let one = kept(&layers, 1, 1000, &Ground::default());
        let two = kept(&layers, 2, 1000, &one);
        drop(kept(&layers, 3, 1000, &two));
        let keep = |hours, bytes| Keep {
            unused: Duration::from_hours(hours),
            bytes,
        };
        assert_eq!(sweep(dir.path(), keep(1, 0), false).unwrap(), 0, "in use");
        drop(layers);
        assert_eq!(sweep(dir.path(), keep(1, 3000), false).unwrap(), 0);
        assert_eq!(found(dir.path()), [1, 2, 3]);
        for (key, hours) in [(1, 3), (2, 2), (3, 5)] {
            used(dir.path(), key, hours);
        }
        assert_eq!(sweep(dir.path(), keep(9, 2000), true).unwrap(), 1000);
        assert_eq!(sweep(dir.path(), keep(9, 2000), false).unwrap(), 1000);
        assert_eq!(
            found(dir.path()),
            [1, 2],
            "the last two use the same layers"
        );
        for (key, hours) in [(1, 3), (2, 20)] {
            used(dir.path(), key, hours);
        }
        assert_eq!(sweep(dir.path(), keep(9, 2000), false).unwrap(), 1000);
        assert_eq!(found(dir.path()), [1]);
        assert_eq!(sweep(dir.path(), keep(9, 0), false).unwrap(), 1000);
        assert_eq!(entries(dir.path()).len(), 1, "only the directory of states");
    }

    #[test]
    fn what_a_killed_build_left_is_removed_and_damage_is_a_miss() {
        let dir = tempfile::tempdir().unwrap();
        let layers = Layers::open(dir.path()).unwrap();
        let one = kept(&layers, 1, 10, &Ground::default());
        std::mem::forget(layers.begin().unwrap());
        drop(layers);
        assert_eq!(found(dir.path()), [1]);
        assert!(!entries(dir.path()).iter().any(|path| is_new(path)));
        let [layer] = one.layers.as_slice() else {
            panic!("one layer");
        };
        let state = dir.path().join(STEPS).join(cache_key::hex(&[1; 32]));
        let good = fs::read_file(&state, LARGEST_STATE).unwrap();
        for bad in ["", "{}", "{\"layers\":[]}", "{\"layers\":[[\"../x\",1]]}"] {
            fs::overwrite(&state, bad.as_bytes()).unwrap();
            assert_eq!(found(dir.path()), [0; 0], "{bad}");
        }
        fs::overwrite(&state, &good).unwrap();
        assert_eq!(found(dir.path()), [1]);
        fs::overwrite(&layer.directory.root.path.join(INDEX), b"[").unwrap();
        assert_eq!(found(dir.path()), [0; 0]);
    }
}
