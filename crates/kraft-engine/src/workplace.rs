//! Where kraft puts the files that it makes for a project.
//!
//! ```text
//! PROJECT/.config.NAME_PLAT-ARCH     the configuration of a target
//!         .unikraft/build/           kernels, or where `outdir` says
//!                   make/TARGET/     the build directory of make; beside it the state of the build
//!                   unikraft, libs/, apps/   components
//!         kraft.lock                 the exact components and images
//! ```
//!
//! If the project's directory is not writable, all of this is below the data directory instead. If
//! make cannot handle the directory's path, only its build directories are.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! use kraft_engine::project;
//! use kraft_engine::workplace::Workplace;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let mut context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! # context.dirs.data = dir.path().join("data");
//! let text = "spec: v0.6\nname: web\nunikraft: stable\ntargets: [qemu/x86_64]\n";
//! std::fs::write(dir.path().join("Kraftfile"), text)?;
//! let project = project::open(&context, Some(dir.path()), None)?;
//! let workplace = Workplace::open(&context, &project)?;
//! let target = &project.resolved().targets[0];
//! assert_eq!(workplace.kernel(target), dir.path().join(".unikraft/build/web_qemu-x86_64"));
//! assert_eq!(workplace.lock_file(), dir.path().join("kraft.lock"));
//! # Ok(())
//! # }
//! ```

use std::io;
use std::path::{Path, PathBuf};

use kraft_build::pipeline::Places;
use kraft_build::{shadow, trees};
use kraft_core::kraftfile::{Resolved, ResolvedTarget};
use kraft_sys::fs;

use super::project::Project;
use crate::context::Context;

/// Why there is no place for the files of a project.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Make cannot handle the path, nor any other that may be used instead.
    #[error("make cannot work below `{}`", .0.display())]
    NoMakeDirectory(PathBuf),
    /// A directory that any user can create belongs to another user.
    #[error("`{}` belongs to another user", .0.display())]
    ForeignDirectory(PathBuf),
    /// A file or directory cannot be used.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// The directories and files of one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workplace {
    /// The project's own directory, as an absolute path without links.
    pub project: PathBuf,
    /// The directory that everything is made in: the project's, if it is writable.
    pub home: PathBuf,
    /// The directory of make's build directories.
    make: PathBuf,
}

impl Workplace {
    /// Finds the directories of a project; creates none of its files.
    ///
    /// # Errors
    ///
    /// If the project's directory cannot be opened, or there is no directory for make.
    pub fn find(ctx: &Context, project: &Project) -> Result<Self, Error> {
        let real = project
            .dir
            .canonicalize()
            .map_err(fs::Error::on("open", &project.dir))?;
        let fallback = fallback_dir(ctx, &real);
        // The project was not writable when it was built, so its files are there.
        let home = if !real.join(".unikraft").is_dir() && fallback.is_dir() {
            fallback
        } else {
            real.clone()
        };
        Self::at(ctx, real, home)
    }

    /// Finds the directories of a project, and makes sure that they are writable and that no
    /// symbolic link leads out of the project.
    ///
    /// # Errors
    ///
    /// As [`Workplace::find`]; if a link leads out of the project, or a directory cannot be created.
    pub fn open(ctx: &Context, project: &Project) -> Result<Self, Error> {
        let mut found = Self::find(ctx, project)?;
        found.check_links()?;
        match fs::create_dir_all(&found.home.join(".unikraft"), 0o755)
            .and_then(|()| probe(&found.home))
        {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                let fallback = fallback_dir(ctx, &found.project);
                fs::create_dir_all(&fallback.join(".unikraft"), 0o755)?;
                ctx.info(&format!(
                    "`{}` is not writable: using `{}`",
                    found.project.display(),
                    fallback.display()
                ));
                found = Self::at(ctx, found.project, fallback)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(found)
    }

    /// Checks that no symbolic link leads what kraft writes out of the project: a cloned project
    /// may hold a link to any file of the user.
    fn check_links(&self) -> Result<(), fs::Error> {
        fs::check_inside(&self.project, &self.lock_file())?;
        for dir in ["build", "make", "libs", "apps"] {
            fs::check_inside(&self.home, &self.components().join(dir))?;
        }
        for (dir, start) in [
            (".", ".config"),
            (".unikraft", "."),
            (".unikraft/build", ""),
        ] {
            let Ok(entries) = std::fs::read_dir(self.home.join(dir)) else {
                continue;
            };
            for entry in entries {
                let name = entry
                    .map_err(fs::Error::on("read", &self.home))?
                    .file_name();
                if name.as_encoded_bytes().starts_with(start.as_bytes()) {
                    fs::check_inside(&self.home, &self.home.join(dir).join(name))?;
                }
            }
        }
        Ok(())
    }

    fn at(ctx: &Context, project: PathBuf, home: PathBuf) -> Result<Self, Error> {
        let usual = home.join(".unikraft/make");
        let make = if shadow::is_awkward(&usual) {
            make_dir(ctx, &home)?
        } else {
            usual
        };
        Ok(Self {
            project,
            home,
            make,
        })
    }

    /// Returns the directory of components.
    pub fn components(&self) -> PathBuf {
        self.home.join(".unikraft")
    }

    /// Returns the lock file; it is always in the project's directory.
    pub fn lock_file(&self) -> PathBuf {
        self.project.join("kraft.lock")
    }

    /// Returns the kernel of a target.
    pub fn kernel(&self, target: &ResolvedTarget) -> PathBuf {
        self.home.join(&target.kernel)
    }

    /// Returns the kernel of a target with debug information.
    pub fn kernel_debug(&self, target: &ResolvedTarget) -> PathBuf {
        self.home.join(&target.kernel_debug)
    }

    /// Returns the configuration of a target.
    pub fn config(&self, target: &ResolvedTarget) -> PathBuf {
        self.home.join(&target.config)
    }

    /// Returns the root filesystem that is built for an architecture.
    pub fn rootfs(&self, architecture: &str) -> PathBuf {
        self.home
            .join(format!(".unikraft/build/initramfs-{architecture}.cpio"))
    }

    /// Returns the files and directories of a target.
    pub fn places(&self, resolved: &Resolved, target: &ResolvedTarget) -> Places {
        let kernel = self.kernel(target);
        let file = kernel.file_name().unwrap_or_default().to_string_lossy();
        let outdir = self.project.join(&resolved.outdir);
        Places {
            home: self.home.clone(),
            work: self.make.join(shadow::plain_name(&file)),
            config: self.config(target),
            log: self.home.join(format!(".unikraft/build/{file}.log")),
            debug: self.kernel_debug(target),
            data: data(&self.project, resolved),
            // An outdir that is the project itself would hide all of it.
            except: vec![outdir, self.lock_file()]
                .into_iter()
                .filter(|path| !self.project.starts_with(path))
                .collect(),
            kernel,
        }
    }
}

/// Returns the files and directories of a project that its root filesystem and its volumes are made
/// from.
fn data(project: &Path, resolved: &Resolved) -> Vec<PathBuf> {
    let roots = resolved.rootfs.iter().chain(&resolved.roms);
    let paths = roots.filter_map(|root| root.path.as_ref());
    let volumes = resolved.volumes.iter().map(|volume| &volume.source);
    paths
        .chain(volumes)
        .map(|path| project.join(path))
        .map(|path| path.canonicalize().unwrap_or(path))
        // A root filesystem that is the project itself would hide all of it.
        .filter(|path| !project.starts_with(path))
        .collect()
}

/// Returns the directory for the files of a project whose own is not writable.
fn fallback_dir(ctx: &Context, project: &Path) -> PathBuf {
    ctx.dirs.data.join("projects").join(short_hash(project))
}

/// Returns a directory for make whose path has only characters that make can handle.
fn make_dir(ctx: &Context, home: &Path) -> Result<PathBuf, Error> {
    let env = &ctx.env;
    let user = rustix::process::getuid().as_raw();
    let candidates = [
        Some(ctx.dirs.data.join("make")),
        env.path("TMPDIR")
            .map(|dir| dir.join(format!("kraft-{user}"))),
        Some(PathBuf::from(format!("/var/tmp/kraft-{user}"))),
    ];
    let Some(base) = candidates
        .into_iter()
        .flatten()
        .find(|path| path.is_absolute() && !shadow::is_awkward(path))
    else {
        return Err(Error::NoMakeDirectory(home.to_owned()));
    };
    // Every user can create a directory there: it must be this user's before anything is built in
    // it.
    fs::create_dir_all(&base, 0o700)?;
    let owner = std::os::unix::fs::MetadataExt::uid(
        &std::fs::symlink_metadata(&base).map_err(fs::Error::on("look at", &base))?,
    );
    if owner != user {
        return Err(Error::ForeignDirectory(base));
    }
    Ok(base.join(short_hash(home)))
}

fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;

    let mut print = trees::of_texts([path.as_os_str().as_bytes()]);
    print.truncate(16);
    print
}

/// Fails unless files can be created in a directory.
fn probe(dir: &Path) -> Result<(), fs::Error> {
    // It is never committed, so it is removed when it is dropped.
    fs::NewFile::create(&dir.join(".unikraft/probe")).map(drop)
}
