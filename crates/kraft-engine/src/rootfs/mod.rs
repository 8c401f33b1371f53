//! Builds root filesystems, for `kraft rootfs build` and for `kraft run --rootfs` alike.
//!
//! That of a machine lives where it is found as long as the machine does:
//!
//! ```text
//! RUNTIME_DIR/rootfs/         its lock is shared by who builds, and exclusive for who sweeps
//!                    ID.cpio    one per machine
//!                    ID/kernel  the kernel of a machine that was made from an image
//! ```
//!
//! A file that no machine uses any more is swept away by the next `kraft run` or `kraft rm`:
//! so it goes too when its machine removed itself, or when the `kraft` that built it was killed.

mod scratch;
mod source;

use std::collections::HashSet;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use kraft_core::event::{Event, Reporter};
use kraft_machine::{Id, Listed, Machines};
use kraft_rootfs::{Built, Options, Source};
use kraft_sys::bulk::Bulk;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

pub use scratch::{Scratch, remove_leftovers};
pub use source::{RootSource, lone_dockerfile};

use super::dockerfile::{self, Job, Made, Wish};
use crate::context::Context;
use crate::failure::{Failure, Kind};

/// Builds an archive from a source at `out`, and says what had to be left out.
pub fn build(
    ctx: &Context,
    source: &Source,
    out: &Path,
    keep_owners: bool,
) -> Result<Built, Failure> {
    let options = Options {
        epoch: crate::epoch::read(&ctx.env)?,
        keep_owners,
    };
    let progress = ctx.progress();
    let task = 1;
    progress.report(Event::Started {
        task,
        what: "building the root filesystem".to_owned(),
        total: None,
    });
    let built = kraft_rootfs::build(source, out, &options, &mut |done| {
        progress.report(Event::Advanced { task, done });
    });
    progress.report(match built {
        Ok(_) => Event::Finished { task },
        Err(_) => Event::Failed { task },
    });
    let built = built?;
    for warning in &built.warnings {
        ctx.warn(warning);
    }
    Ok(built)
}

/// Archives are copied in pieces of this size, in bytes.
const COPIED_AT_ONCE: usize = 1 << 20;

/// Copies an archive that was made to where a user wants it; returns its size in bytes.
pub fn copy(archive: &Path, out: &Path) -> Result<u64, Failure> {
    let from = fs::open_file(archive)?;
    let mut from = BufReader::with_capacity(COPIED_AT_ONCE, from);
    let new = fs::NewFile::create(out)?;
    let writing = || fs::Error::on("write", out);
    let mut bulk = Bulk::new(new.file().try_clone().map_err(writing())?);
    let size = io::copy(&mut from, &mut bulk).map_err(writing())?;
    bulk.finish().map_err(writing())?;
    new.commit()?;
    Ok(size)
}

/// Makes what a Dockerfile or an image comes to, unless it is there; `None` for files, which are
/// built where they are needed. `arch` is as KraftKit names it.
pub fn prepare(
    ctx: &Context,
    source: &RootSource,
    arch: &str,
    wish: &Wish,
) -> Result<Option<Made>, Failure> {
    match source {
        RootSource::Files(_) => Ok(None),
        RootSource::Dockerfile { file, context } => {
            let job = Job::new(ctx, file, context, arch, wish)?;
            dockerfile::of_dockerfile(ctx, &job).map(Some)
        }
        RootSource::Image(name) => dockerfile::of_image(ctx, name, arch).map(Some),
    }
}

/// An archive that is needed for a moment, and removed with this.
#[derive(Debug)]
pub struct Aside {
    /// The archive.
    pub archive: PathBuf,
    /// Keeps sweepers out.
    _building: Lock,
}

impl Drop for Aside {
    fn drop(&mut self) {
        // What stays is swept later.
        let _ = fs::remove_file(&self.archive);
    }
}

/// Builds an archive that is needed for a moment.
pub fn build_aside(ctx: &Context, source: &Source) -> Result<Aside, Failure> {
    let dir = dir(ctx);
    fs::create_dir_all(&dir, 0o700)?;
    let lock = Lock::shared(&dir)?;
    let aside = Aside {
        archive: dir.join(format!("{}.cpio", Id::new())),
        _building: lock,
    };
    build(ctx, source, &aside.archive, false)?;
    Ok(aside)
}

/// The files of a machine that is about to be made.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    id: Id,
    /// Keeps sweepers out until the machine that uses the files is on record.
    _building: Lock,
}

impl Files {
    /// Keeps a kernel for the machine, whatever becomes of the image it came from.
    pub fn kernel(&self, from: &Path) -> Result<PathBuf, Failure> {
        let dir = self.dir.join(self.id.to_string());
        fs::create_dir_all(&dir, 0o700)?;
        // A kernel is told the name of its file.
        let kernel = dir.join("kernel");
        fs::link_or_copy(from, &kernel)?;
        Ok(kernel)
    }

    /// Keeps an archive for the machine, whatever becomes of the image it came from.
    pub fn archive(&self, from: &Path) -> Result<PathBuf, Failure> {
        let archive = self.dir.join(format!("{}.cpio", self.id));
        fs::link_or_copy(from, &archive)?;
        Ok(archive)
    }

    /// Builds the root filesystem of the machine.
    pub fn build(&self, ctx: &Context, source: &RootSource) -> Result<PathBuf, Failure> {
        let RootSource::Files(path) = source else {
            // Everything else is made before a machine is.
            let message = format!("`{}` was not built", source.shown());
            return Err(Failure::new(Kind::Failed, message));
        };
        let archive = self.dir.join(format!("{}.cpio", self.id));
        build(ctx, &Source::detect(path)?, &archive, false)?;
        Ok(archive)
    }
}

impl Files {
    /// Builds a root filesystem that holds one program only, at its root.
    pub fn program(&self, ctx: &Context, program: &Path) -> Result<PathBuf, Failure> {
        let scratch = Scratch::new(ctx)?;
        let name = program.file_name().unwrap_or(program.as_os_str());
        fs::link_or_copy(program, &scratch.path().join(name))?;
        self.build(ctx, &RootSource::Files(scratch.path().to_owned()))
    }
}

/// Begins to gather the files of a machine that is about to be made.
pub fn for_machine(ctx: &Context, machines: &Machines) -> Result<Files, Failure> {
    sweep(ctx, machines);
    let dir = dir(ctx);
    fs::create_dir_all(&dir, 0o700)?;
    Ok(Files {
        _building: Lock::shared(&dir)?,
        dir,
        id: Id::new(),
    })
}

/// Removes files that no machine uses. Nobody waits for this and nothing depends on it: what
/// cannot be removed now is removed by the next.
pub fn sweep(ctx: &Context, machines: &Machines) {
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
            // Who knows what it uses.
            Listed::Unreadable(_) => return,
        }
    }
    for entry in entries.flatten() {
        let path = entry.path();
        if !used.iter().any(|file| file.starts_with(&path)) {
            let _ = fs::remove_tree(&path);
        }
    }
}

/// Returns the directory of the files of machines, and of what is only there for a moment.
pub fn dir(ctx: &Context) -> PathBuf {
    ctx.settings.runtime_dir.join("rootfs")
}
