//! Finds the kernel that a user names, with the files that describe it: its debug image, and the
//! objects it was linked from.
//!
//! | named | kernel | debug image | objects |
//! |---|---|---|---|
//! | a file | itself | the `.dbg` beside it | beside it, or where the project above it builds |
//! | a project | of a target that was built | as the Kraftfile says | where it builds |
//! | an image | unpacked from the store | none | none |
//!
//! ```
//! use kraft_core::kernel::abilities::Abilities;
//! use kraft_engine::probe::abilities;
//!
//! let dir = tempfile::tempdir()?;
//! let kernel = dir.path().join("kernel");
//! std::fs::write(&kernel, "no records about libraries")?;
//! assert_eq!(abilities(&kernel), Abilities::default(), "nothing is known");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use kraft_core::error::chain;
use kraft_core::kernel::abilities::Abilities;
use kraft_core::kernel::libinfo::{self, Embedded, LibInfo, LibInfoError};
use kraft_core::kernel::object::{Home, Object, ObjectError, Symbol};
use kraft_core::kernel::size::{self, Libraries, Measured};
use kraft_core::kraftfile::ResolvedTarget;
use kraft_core::reference::Reference;
use kraft_oci::choose::PlatformFilter;
use kraft_sys::fs;

use super::obtain::{self, Obtained};
use super::project::{self, TargetFilter};
use super::workplace::{self, Workplace};
use super::{images, unpacked};
use crate::context::Context;

/// Why a kernel cannot be found or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file, and the text is not a name of an image.
    #[error("there is no file `{}`", .0.display())]
    NoFile(PathBuf),
    /// The file is not an ELF object, or is damaged.
    #[error("cannot read `{}`", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ObjectError,
    },
    /// The kernel is not an ELF object, and its debug image is missing.
    #[error("cannot read `{}`", path.display())]
    NoTables {
        /// The kernel.
        path: PathBuf,
        /// The debug image that would have the tables.
        debug: PathBuf,
        /// Why the kernel cannot be read.
        source: ObjectError,
    },
    /// The debug image was not built with the kernel.
    #[error("`{}` is of another build", debug.display())]
    OtherBuild {
        /// The debug image.
        debug: PathBuf,
        /// The kernel.
        kernel: PathBuf,
    },
    /// The records about libraries are damaged.
    #[error("cannot read `{}`", path.display())]
    Libraries {
        /// The kernel.
        path: PathBuf,
        /// Why.
        source: LibInfoError,
    },
    /// The configuration in the kernel cannot be unpacked.
    #[error("the configuration in `{}` is damaged", path.display())]
    Config {
        /// The kernel.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel is for an architecture that is not supported.
    #[error("its architecture is not supported")]
    Architecture,
    /// The project, or a target of it, cannot be used.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The directories of the project cannot be found.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The image cannot be found.
    #[error(transparent)]
    Image(#[from] images::Error),
    /// No manifest of the image fits.
    #[error(transparent)]
    Select(#[from] obtain::Error),
    /// The image cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpacked::Error),
}

/// The largest kernel or object that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// The largest configuration that is read, in bytes after decompression.
const LARGEST_CONFIG: u64 = 4 << 20;

/// The largest number of libraries that are read.
const MOST_OBJECTS: usize = 4096;

/// A kernel, and the paths of the files that describe it; those need not exist.
#[derive(Debug)]
pub struct KernelFiles {
    /// The kernel.
    pub kernel: PathBuf,
    debug: PathBuf,
    /// Directories that may have its objects.
    pub objects: Vec<PathBuf>,
    /// Its configuration, if a project keeps it.
    config: Option<PathBuf>,
    /// The target it was built for.
    pub target: Option<ResolvedTarget>,
    /// Keeps the image it came from.
    _image: Option<Obtained>,
}

/// An ELF file in memory.
#[derive(Debug)]
pub struct ObjectFile {
    /// Its path.
    pub path: PathBuf,
    bytes: Vec<u8>,
}

impl ObjectFile {
    /// Parses the file.
    ///
    /// # Errors
    ///
    /// If it is not an ELF object, or damaged.
    pub fn object(&self) -> Result<Object<'_>, Error> {
        Object::parse(&self.bytes).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: ObjectError) -> Error {
        Error::Object {
            path: self.path.clone(),
            source,
        }
    }
}

/// Finds the kernel that is named: by a file, by the directory of a project, or by a local image;
/// without a name, that of the project in the current directory.
///
/// # Errors
///
/// If there is no such thing, or the project has no kernel yet.
pub fn find(
    ctx: &Context,
    word: Option<&OsStr>,
    kraftfile: Option<&Path>,
    filter: &TargetFilter<'_>,
) -> Result<KernelFiles, Error> {
    let Some(word) = word else {
        return of_project(ctx, None, kraftfile, filter);
    };
    let path = Path::new(word);
    if path.is_dir() {
        return of_project(ctx, Some(path), kraftfile, filter);
    }
    // What is not a regular file is refused when it is opened.
    if path.exists() {
        return Ok(of_file(ctx, path));
    }
    let looks_like_a_path = word.to_string_lossy().starts_with(['/', '.', '~']);
    match word.to_str().map(str::parse::<Reference>) {
        Some(Ok(name)) if !looks_like_a_path => of_image(ctx, &name, filter),
        _ => Err(Error::NoFile(path.to_owned())),
    }
}

fn of_file(ctx: &Context, path: &Path) -> KernelFiles {
    let plain = path.with_file_name(without_dbg(path));
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut files = KernelFiles {
        kernel: path.to_owned(),
        debug: fs::beside(&plain, ".dbg"),
        objects: vec![dir.to_owned()],
        config: None,
        target: None,
        _image: None,
    };
    // The kernel of a project: its Kraftfile says where it was built. A project that cannot be read
    // is ignored.
    if let Ok(draft) = project::read(ctx, Some(dir), None)
        && let Ok((project, _)) = draft.into_project()
        && let Ok(workplace) = Workplace::find(ctx, &project)
        && let Ok(real) = plain.canonicalize().or_else(|_| path.canonicalize())
    {
        let resolved = project.resolved();
        for target in &resolved.targets {
            let places = workplace.places(&resolved, target);
            let own = [&places.kernel, &places.debug];
            if own
                .into_iter()
                .any(|file| file.canonicalize().is_ok_and(|file| file == real))
            {
                files.objects.push(places.work);
                files.config = Some(places.config);
                files.target = Some(target.clone());
                break;
            }
        }
    }
    files
}

fn without_dbg(path: &Path) -> std::ffi::OsString {
    let debug = path.extension().is_some_and(|extension| extension == "dbg");
    let name = if debug {
        path.file_stem()
    } else {
        path.file_name()
    };
    name.unwrap_or_default().to_owned()
}

fn of_project(
    ctx: &Context,
    dir: Option<&Path>,
    kraftfile: Option<&Path>,
    filter: &TargetFilter<'_>,
) -> Result<KernelFiles, Error> {
    let project = project::open(ctx, dir, kraftfile)?;
    let resolved = project.resolved();
    let workplace = Workplace::find(ctx, &project)?;
    let targets = project::built_targets(ctx, &workplace, &resolved, filter)?;
    let Some(target) = targets.first() else {
        let kernels = Vec::new();
        return Err(Error::Project(project::Error::NotBuilt { kernels }));
    };
    if targets.len() > 1 {
        ctx.info(&format!(
            "{} targets were built; reading {}",
            targets.len(),
            project::label(target)
        ));
    }
    let places = workplace.places(&resolved, target);
    Ok(KernelFiles {
        kernel: places.kernel,
        debug: places.debug,
        objects: vec![places.work],
        config: Some(places.config),
        target: Some(target.clone()),
        _image: None,
    })
}

fn of_image(
    ctx: &Context,
    name: &Reference,
    filter: &TargetFilter<'_>,
) -> Result<KernelFiles, Error> {
    let store = images::open(ctx)?;
    let found = images::find(ctx, &*store, &name.to_string())?;
    let filter = PlatformFilter {
        os: filter.platform.map(|platform| platform.name().to_owned()),
        arch: filter.arch.map(|arch| arch.name().to_owned()),
        features: Vec::new(),
    };
    let image = obtain::select(ctx, &*store, &found, &filter)?;
    let files = unpacked::unpack(ctx, &*store, &image)?;
    let kernel = unpacked::kernel(&image, &files)?;
    Ok(KernelFiles {
        debug: fs::beside(&kernel, ".dbg"),
        kernel,
        objects: Vec::new(),
        config: None,
        target: None,
        _image: Some(image),
    })
}

impl KernelFiles {
    /// Reads the kernel, or its debug image if the kernel is not an ELF file (arm64) or does not have
    /// what `has` looks for.
    ///
    /// # Errors
    ///
    /// If neither can be read, or the debug image is of another build.
    pub fn read(&self, has: fn(&Object<'_>) -> bool) -> Result<ObjectFile, Error> {
        let kernel = read(&self.kernel)?;
        let kernel_is = Object::parse(&kernel.bytes);
        if kernel_is.as_ref().is_ok_and(has) {
            return Ok(kernel);
        }
        if self.debug == self.kernel || !self.debug.is_file() {
            return match kernel_is {
                Ok(_) => Ok(kernel),
                Err(source) => Err(Error::NoTables {
                    path: self.kernel.clone(),
                    debug: self.debug.clone(),
                    source,
                }),
            };
        }
        let debug = read(&self.debug)?;
        let debug_is = debug.object()?;
        // If the kernel has tables, they show whether the debug image is of the same build.
        if let Ok(kernel_is) = kernel_is
            && !size::have_same_layout(&kernel_is, &debug_is)
        {
            return Err(Error::OtherBuild {
                debug: self.debug.clone(),
                kernel: self.kernel.clone(),
            });
        }
        Ok(debug)
    }

    /// Returns the text of the configuration: that in the kernel, else that of its project.
    ///
    /// # Errors
    ///
    /// If it cannot be unpacked or read.
    pub fn config(&self, info: &LibInfo<'_>) -> Result<Option<String>, Error> {
        let text = match info.config {
            Some(Embedded::Plain(bytes)) => Some(bytes.to_owned()),
            Some(Embedded::Gzip(bytes)) => {
                let text = flate2::read::MultiGzDecoder::new(bytes);
                let text = fs::read_to_end(text, LARGEST_CONFIG).map_err(|source| {
                    let path = self.kernel.clone();
                    Error::Config { path, source }
                })?;
                Some(text)
            }
            None => match &self.config {
                Some(path) if path.is_file() => Some(fs::read_file(path, LARGEST_CONFIG)?),
                _ => None,
            },
        };
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// Returns the symbols of the libraries that the kernel was linked from; none if there are no
    /// objects.
    ///
    /// # Errors
    ///
    /// If an object cannot be read.
    pub fn libraries(&self, ctx: &Context) -> Result<Libraries, Error> {
        for dir in &self.objects {
            let libraries = libraries_in(ctx, dir)?;
            if !libraries.is_empty() {
                return Ok(libraries);
            }
        }
        Ok(Libraries::default())
    }

    /// Measures the kernel by its symbols and those of its libraries; returns the file that has them,
    /// too.
    ///
    /// # Errors
    ///
    /// As [`KernelFiles::read`].
    pub fn measure(&self, libraries: &Libraries) -> Result<(PathBuf, Measured), Error> {
        let reading = self.read(|object| {
            let placed = |symbol: &Symbol<'_>| matches!(symbol.home, Home::Section(_));
            object
                .symbols()
                .is_ok_and(|symbols| symbols.iter().any(placed))
        })?;
        let measured = size::measure(&reading.object()?, libraries)
            .map_err(|source| reading.unreadable(source))?;
        Ok((reading.path, measured))
    }
}

/// Returns what a kernel can do by its records about libraries; nothing is known of a kernel without
/// records, or one that cannot be read.
#[must_use]
pub fn abilities(kernel: &Path) -> Abilities {
    let known = read(kernel).and_then(|reading| {
        let info = records(&reading)?;
        let names = info.libraries.iter().filter_map(|lib| lib.name.as_deref());
        Ok(Abilities::of_libraries(names))
    });
    known.unwrap_or_default()
}

/// Reads the records about libraries in a kernel; empty if it has none.
///
/// # Errors
///
/// If the kernel or the records are damaged.
pub fn records(reading: &ObjectFile) -> Result<LibInfo<'_>, Error> {
    let object = reading.object()?;
    let Some(section) = object.section(libinfo::SECTION) else {
        return Ok(LibInfo::default());
    };
    let bytes = object
        .contents(section)
        .map_err(|source| reading.unreadable(source))?;
    libinfo::parse(bytes).map_err(|source| Error::Libraries {
        path: reading.path.clone(),
        source,
    })
}

fn read(path: &Path) -> Result<ObjectFile, Error> {
    Ok(ObjectFile {
        bytes: fs::read_file(path, LARGEST)?,
        path: path.to_owned(),
    })
}

/// Reads the objects of libraries in a directory: Unikraft puts one per library there. `.ld.o` is the
/// same library before its symbols were hidden.
fn libraries_in(ctx: &Context, dir: &Path) -> Result<Libraries, Error> {
    let mut libraries = Libraries::default();
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(libraries);
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".o")?.to_owned()))
        .filter(|name| name.strip_suffix(".ld").is_none())
        .take(MOST_OBJECTS)
        .collect();
    names.sort();
    for name in names {
        let reading = read(&dir.join(format!("{name}.o")))?;
        let added = match Object::parse(&reading.bytes) {
            Ok(object) => libraries.add(&name, &object),
            Err(error) => Err(error),
        };
        if let Err(error) = added {
            ctx.warn(&format!(
                "cannot read the symbols of `{}`: {}",
                reading.path.display(),
                chain(&error)
            ));
        }
    }
    Ok(libraries)
}
