//! Builds root filesystems, for `kraft rootfs build` and for `kraft run --rootfs`.
//!
//! The files of a machine are kept while the machine exists:
//!
//! ```text
//! RUNTIME_DIR/rootfs/         its lock is shared by builds, and exclusive for removal
//!                    ID.cpio    one per machine
//!                    ID/kernel  the kernel of a machine that was created from an image
//! ```
//!
//! The next `kraft run` or `kraft rm` removes files that no machine uses: so they are removed too
//! when their machine removed itself, or when the `kraft` that built them was killed.

mod error;
mod scratch;
mod source;

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use kraft_machine::{Id, Listed, Machines};
use kraft_rootfs::{Built, ExtraFile, Options, Source};
use kraft_sys::bulk::Bulk;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

pub use error::Error;
pub use scratch::{Scratch, remove_leftovers};
pub use source::{RootSource, lone_dockerfile};

use super::dockerfile::{self, BuildOptions, BuildOutput, BuildRequest};
use crate::context::Context;

/// Builds an archive from a source at `out`, and warns of entries that are left out.
///
/// ```
/// use std::sync::Arc;
///
/// use kraft_config::env::Environment;
/// use kraft_config::{Config, Flags};
/// use kraft_core::event::Silent;
/// use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::rootfs;
/// use kraft_rootfs::Source;
///
/// let dir = tempfile::tempdir()?;
/// std::fs::create_dir(dir.path().join("root"))?;
/// std::fs::write(dir.path().join("root/hello"), "Hello")?;
///
/// let environment = Environment::from([("SOURCE_DATE_EPOCH", "1700000000")]);
/// let config = Config::without_file(&Flags::default(), environment);
/// let ctx = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// let source = Source::detect(&dir.path().join("root"))?;
/// let out = dir.path().join("root.cpio");
/// let built = rootfs::build(&ctx, &source, &out, false)?;
/// assert_eq!(built.size, std::fs::metadata(&out)?.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the source cannot be read or is invalid, or the archive cannot be written.
pub fn build(
    ctx: &Context,
    source: &Source,
    out: &Path,
    keep_owners: bool,
) -> Result<Built, Error> {
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners,
    };
    let what = "building the root filesystem";
    tracing::debug!(archive = %out.display(), epoch = options.epoch, "building a root filesystem");
    let built = ctx.progress().run(what, None, |task| {
        kraft_rootfs::build(source, out, &options, &mut |done| task.advanced(done))
    })?;
    for warning in &built.warnings {
        ctx.warn(warning);
    }
    Ok(built)
}

/// Size of the buffer for copies, in bytes.
const COPY_BUFFER: usize = 1 << 20;

/// Copies an archive; returns its size in bytes.
pub fn copy(archive: &Path, out: &Path) -> Result<u64, fs::Error> {
    let from = fs::open_file(archive)?;
    let mut from = BufReader::with_capacity(COPY_BUFFER, from);
    let new = fs::NewFile::create(out)?;
    let writing = || fs::Error::on("write", out);
    let mut bulk = Bulk::new(new.file().try_clone().map_err(writing())?);
    let size = io::copy(&mut from, &mut bulk).map_err(writing())?;
    bulk.finish().map_err(writing())?;
    new.commit()?;
    Ok(size)
}

/// Builds the root filesystem of a Dockerfile or an image, unless it is cached; `None` for files, which
/// are built where they are used. `arch` is as KraftKit names it.
///
/// # Errors
///
/// As [`dockerfile::of_dockerfile`] and [`dockerfile::of_image`].
pub fn prepare(
    ctx: &Context,
    source: &RootSource,
    arch: &str,
    options: &BuildOptions,
) -> Result<Option<BuildOutput>, dockerfile::Error> {
    match source {
        RootSource::Files(_) => Ok(None),
        RootSource::Dockerfile { file, context } => {
            let request = BuildRequest::new(ctx, file, context, arch, options)?;
            dockerfile::of_dockerfile(ctx, &request).map(Some)
        }
        RootSource::Image(name) => dockerfile::of_image(ctx, name, arch).map(Some),
    }
}

/// An archive that is removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryArchive {
    /// The archive.
    pub archive: PathBuf,
    /// Keeps the archive from being removed by other processes.
    _lock: Lock,
}

impl Drop for TemporaryArchive {
    fn drop(&mut self) {
        // What stays is removed later.
        let _ = fs::remove_file(&self.archive);
    }
}

/// Builds an archive that is removed when it is dropped.
pub fn build_temporary(ctx: &Context, source: &Source) -> Result<TemporaryArchive, Error> {
    let dir = dir(ctx);
    fs::create_dir_all(&dir, 0o700)?;
    let lock = Lock::shared(&dir)?;
    let temporary = TemporaryArchive {
        archive: dir.join(format!("{}.cpio", Id::new())),
        _lock: lock,
    };
    build(ctx, source, &temporary.archive, false)?;
    Ok(temporary)
}

/// The kernel and the root filesystem of a machine that is about to be created.
#[derive(Debug)]
pub struct MachineFiles {
    dir: PathBuf,
    id: Id,
    /// Keeps the files from being removed until the machine that uses them is on record.
    _lock: Lock,
}

impl MachineFiles {
    /// Keeps a kernel for the machine, even if its image is removed.
    pub fn kernel(&self, from: &Path) -> Result<PathBuf, fs::Error> {
        let dir = self.dir.join(self.id.to_string());
        fs::create_dir_all(&dir, 0o700)?;
        // The kernel's command line starts with the name of its file.
        let kernel = dir.join("kernel");
        fs::link_or_copy(from, &kernel)?;
        Ok(kernel)
    }

    /// Keeps an archive for the machine, even if its image is removed.
    pub fn archive(&self, from: &Path) -> Result<PathBuf, fs::Error> {
        let archive = self.dir.join(format!("{}.cpio", self.id));
        fs::link_or_copy(from, &archive)?;
        Ok(archive)
    }

    /// Adds files to the archive of the machine, which may be shared with others before.
    pub fn add(&self, archive: &Path, files: &[ExtraFile]) -> Result<(), fs::Error> {
        kraft_rootfs::append(archive, archive, files)
    }

    /// Builds the root filesystem of the machine from files.
    ///
    /// # Errors
    ///
    /// As [`build()`]; and if the source is a Dockerfile or an image, which [`prepare`] builds.
    pub fn build(&self, ctx: &Context, source: &RootSource) -> Result<PathBuf, Error> {
        let RootSource::Files(path) = source else {
            return Err(Error::NotPrepared {
                source_name: source.shown(),
            });
        };
        let archive = self.dir.join(format!("{}.cpio", self.id));
        build(ctx, &Source::detect(path)?, &archive, false)?;
        Ok(archive)
    }
}

impl MachineFiles {
    /// Builds a root filesystem that contains one program, at its root, and its libraries: files of
    /// this host by their absolute path in the machine.
    pub fn program(
        &self,
        ctx: &Context,
        program: &Path,
        libraries: &BTreeMap<PathBuf, PathBuf>,
    ) -> Result<PathBuf, Error> {
        let scratch = Scratch::new(ctx)?;
        for (place, file) in libraries {
            let place = scratch
                .path()
                .join(place.strip_prefix("/").unwrap_or(place));
            fs::create_dir_all(place.parent().unwrap_or(scratch.path()), 0o755)?;
            fs::link_or_copy(&canonical(file), &place)?;
        }
        let name = program.file_name().unwrap_or(program.as_os_str());
        fs::link_or_copy(&canonical(program), &scratch.path().join(name))?;
        self.build(ctx, &RootSource::Files(scratch.path().to_owned()))
    }
}

/// Returns the file that a link leads to.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Prepares the directory for the files of a machine that is about to be created.
pub fn for_machine(ctx: &Context, machines: &Machines) -> Result<MachineFiles, fs::Error> {
    remove_unused(ctx, machines);
    let dir = dir(ctx);
    tracing::debug!(dir = %dir.display(), "locking the files of machines");
    fs::create_dir_all(&dir, 0o700)?;
    Ok(MachineFiles {
        _lock: Lock::shared(&dir)?,
        dir,
        id: Id::new(),
    })
}

/// Removes files that no machine uses. Errors do not matter: what cannot be removed now is removed by
/// the next call.
pub fn remove_unused(ctx: &Context, machines: &Machines) {
    let dir = dir(ctx);
    let Ok(entries) = std::fs::read_dir(&dir) else {
        return;
    };
    let Ok(Some(_lock)) = Lock::try_exclusive(&dir) else {
        return;
    };
    let Ok(listed) = machines.list() else {
        return;
    };
    let mut used = HashSet::new();
    for entry in listed {
        match entry {
            Listed::Machine(machine) => {
                used.extend(machine.spec.initrd);
                used.insert(machine.spec.kernel);
            }
            // It may use any of the files.
            Listed::Unreadable(_) => return,
        }
    }
    let Ok(snapshots) = machines.snapshots() else {
        return;
    };
    for snapshot in snapshots {
        match snapshot {
            Ok(snapshot) => used.extend(snapshot.saved.spec.initrd),
            // It may use any of the files.
            Err(_) => return,
        }
    }
    for entry in entries.flatten() {
        let path = entry.path();
        if !used.iter().any(|file| file.starts_with(&path)) {
            let _ = fs::remove_tree(&path);
        }
    }
}

/// Returns the directory of the files of machines, and of temporary files.
pub fn dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("rootfs")
}
