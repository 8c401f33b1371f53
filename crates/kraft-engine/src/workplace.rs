//! Where the files of a project are that are made and not written.
//!
//! ```text
//! PROJECT/.config.NAME_PLAT-ARCH     the configuration of a target
//!         .unikraft/build/           kernels, or where `outdir` says
//!                   make/TARGET/     where make works; beside it what is remembered of it
//!                   unikraft, libs/, apps/   components
//!         kraft.lock                 which components exactly
//! ```
//!
//! A project in a directory that cannot be written to has all this below the data directory
//! instead, and one whose path make cannot bear has there what make works in.

use std::io;
use std::path::{Path, PathBuf};

use kraft_build::build::Places;
use kraft_build::{shadow, trees};
use kraft_core::kraftfile::{Resolved, ResolvedTarget};
use kraft_sys::fs;

use super::project::Project;
use crate::context::Context;
use crate::failure::{Failure, Kind};

/// The places of one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workplace {
    /// The project's own directory, from the root.
    pub project: PathBuf,
    /// Where everything is made: the project's directory, unless it cannot be written to.
    pub home: PathBuf,
    /// Where make works.
    make: PathBuf,
}

impl Workplace {
    /// Finds the places; nothing is made.
    pub fn find(ctx: &Context, project: &Project) -> Result<Self, Failure> {
        let real = project
            .dir
            .canonicalize()
            .map_err(fs::Error::on("open", &project.dir))?;
        let aside = aside(ctx, &real);
        // Who could not write here once could not write here then either.
        let home = if !real.join(".unikraft").is_dir() && aside.is_dir() {
            aside
        } else {
            real.clone()
        };
        Self::at(ctx, real, home)
    }

    /// Makes sure that things can be made, and that none of it lands outside of the project.
    pub fn open(ctx: &Context, project: &Project) -> Result<Self, Failure> {
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
                let aside = aside(ctx, &found.project);
                fs::create_dir_all(&aside.join(".unikraft"), 0o755)?;
                ctx.info(&format!(
                    "`{}` cannot be written to; working in `{}`",
                    found.project.display(),
                    aside.display()
                ));
                found = Self::at(ctx, found.project, aside)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(found)
    }

    /// Checks that no symbolic link leads what kraft writes out of the project: a cloned project
    /// may hold a link to any file of the user.
    fn check_links(&self) -> Result<(), Failure> {
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

    fn at(ctx: &Context, project: PathBuf, home: PathBuf) -> Result<Self, Failure> {
        let usual = home.join(".unikraft/make");
        let make = if shadow::is_awkward(&usual) {
            plain(ctx, &home)?
        } else {
            usual
        };
        Ok(Self {
            project,
            home,
            make,
        })
    }

    /// Returns where components are put.
    pub fn components(&self) -> PathBuf {
        self.home.join(".unikraft")
    }

    /// Returns the file that says which components exactly; it belongs to the project, wherever
    /// things are made.
    pub fn lock_file(&self) -> PathBuf {
        self.project.join("kraft.lock")
    }

    /// Returns the kernel of a target.
    pub fn kernel(&self, target: &ResolvedTarget) -> PathBuf {
        self.home.join(&target.kernel)
    }

    /// Returns the kernel of a target with debug information, as the build leaves it.
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

    /// Returns the places of a target.
    pub fn places(&self, resolved: &Resolved, target: &ResolvedTarget) -> Places {
        let kernel = self.kernel(target);
        let file = kernel.file_name().unwrap_or_default().to_string_lossy();
        let outdir = self.project.join(&resolved.outdir);
        Places {
            home: self.home.clone(),
            work: self.make.join(shadow::tame(&file)),
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

/// Returns what of a project is for its root filesystem and its volumes.
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

/// Returns where the files of a project are that cannot have them itself.
fn aside(ctx: &Context, project: &Path) -> PathBuf {
    ctx.dirs.data.join("projects").join(short_print(project))
}

/// Returns a place for make whose path it can bear.
fn plain(ctx: &Context, home: &Path) -> Result<PathBuf, Failure> {
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
        return Err(Failure::new(
            Kind::Host,
            format!("make cannot work below `{}`", home.display()),
        ));
    };
    // A place that everybody can write to must be ours before anything is built in it.
    fs::create_dir_all(&base, 0o700)?;
    let owner = std::os::unix::fs::MetadataExt::uid(
        &std::fs::symlink_metadata(&base).map_err(fs::Error::on("look at", &base))?,
    );
    if owner != user {
        return Err(Failure::new(
            Kind::Host,
            format!("`{}` belongs to somebody else", base.display()),
        )
        .hint("remove it, or set `TMPDIR` to a directory of yours"));
    }
    Ok(base.join(short_print(home)))
}

fn short_print(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;

    let mut print = trees::of_texts([path.as_os_str().as_bytes()]);
    print.truncate(16);
    print
}

/// Finds out whether files can be made in a directory.
fn probe(dir: &Path) -> Result<(), fs::Error> {
    // Never committed, so nothing is left of it.
    fs::NewFile::create(&dir.join(".unikraft/probe")).map(drop)
}
