//! Finds a kernel that a user points at, with what helps to read it: its debug image, and the
//! objects it was linked from.
//!
//! | pointed at | kernel | debug image | objects |
//! |---|---|---|---|
//! | a file | itself | the `.dbg` beside it | beside it, or where the project above it builds |
//! | a project | of a target that was built | as the Kraftfile says | where it builds |
//! | an image | unpacked from the store | none | none |

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kraft_core::kernel::abilities::Abilities;
use kraft_core::kernel::libinfo::{self, Embedded, LibInfo};
use kraft_core::kernel::object::{Home, Object, Symbol};
use kraft_core::kernel::size::{self, Libraries, Measured};
use kraft_core::kraftfile::ResolvedTarget;
use kraft_core::reference::Reference;
use kraft_oci::choose::Wish;
use kraft_sys::fs;

use super::obtain::{self, Obtained};
use super::project::{self, TargetFilter};
use super::workplace::Workplace;
use super::{images, unpacked};
use crate::context::Context;
use crate::failure::{Failure, Kind, chain};

/// A kernel, or an object it was linked from, is not larger than this, in bytes.
const LARGEST: u64 = 1 << 30;

/// A configuration is not larger than this, in bytes, however well it was compressed.
const LARGEST_CONFIG: u64 = 4 << 20;

/// More libraries than any kernel is linked from.
const MOST_OBJECTS: usize = 4096;

/// A kernel with the files that help to read it; these need not exist.
#[derive(Debug)]
pub struct Specimen {
    /// The kernel.
    pub kernel: PathBuf,
    debug: PathBuf,
    /// Where its objects may be.
    pub objects: Vec<PathBuf>,
    /// Its configuration, if a project keeps it.
    config: Option<PathBuf>,
    /// The target it was built for.
    pub target: Option<ResolvedTarget>,
    /// Keeps the image it came from.
    _image: Option<Obtained>,
}

/// A file that was read.
#[derive(Debug)]
pub struct Reading {
    /// Which file.
    pub path: PathBuf,
    bytes: Vec<u8>,
}

impl Reading {
    /// Returns its tables.
    pub fn object(&self) -> Result<Object<'_>, Failure> {
        Object::parse(&self.bytes).map_err(|error| unreadable(&self.path, error))
    }
}

fn unreadable(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Kind::Failed, error).about(&format!("cannot read `{}`", path.display()))
}

/// Finds what is meant: a file, the directory of a project, an image of this computer; without a
/// word, the project here.
pub fn find(
    ctx: &Context,
    word: Option<&OsStr>,
    kraftfile: Option<&Path>,
    wish: &TargetFilter<'_>,
) -> Result<Specimen, Failure> {
    let Some(word) = word else {
        return of_project(ctx, None, kraftfile, wish);
    };
    let path = Path::new(word);
    if path.is_dir() {
        return of_project(ctx, Some(path), kraftfile, wish);
    }
    // Whatever is no regular file is refused where it is opened.
    if path.exists() {
        return Ok(of_file(ctx, path));
    }
    let looks_like_a_path = word.to_string_lossy().starts_with(['/', '.', '~']);
    match word.to_str().map(str::parse::<Reference>) {
        Some(Ok(name)) if !looks_like_a_path => of_image(ctx, &name, wish),
        _ => Err(Failure::new(
            Kind::NotFound,
            format!("there is no file `{}`", path.display()),
        )
        .hint("name a kernel file, the directory of a project or an image")),
    }
}

fn of_file(ctx: &Context, path: &Path) -> Specimen {
    let plain = path.with_file_name(without_dbg(path));
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut specimen = Specimen {
        kernel: path.to_owned(),
        debug: fs::beside(&plain, ".dbg"),
        objects: vec![dir.to_owned()],
        config: None,
        target: None,
        _image: None,
    };
    // A kernel of a project: its Kraftfile tells where it was built. What is wrong with the
    // project is no concern here.
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
                specimen.objects.push(places.work);
                specimen.config = Some(places.config);
                specimen.target = Some(target.clone());
                break;
            }
        }
    }
    specimen
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
    wish: &TargetFilter<'_>,
) -> Result<Specimen, Failure> {
    let project = project::open(ctx, dir, kraftfile)?;
    let resolved = project.resolved();
    let workplace = Workplace::find(ctx, &project)?;
    let targets = project::built_targets(ctx, &workplace, &resolved, wish)?;
    let Some(target) = targets.first() else {
        return Err(Failure::new(Kind::NotFound, "no target has been built"));
    };
    if targets.len() > 1 {
        ctx.info(&format!(
            "{} targets were built; reading {}",
            targets.len(),
            project::label(target)
        ));
    }
    let places = workplace.places(&resolved, target);
    Ok(Specimen {
        kernel: places.kernel,
        debug: places.debug,
        objects: vec![places.work],
        config: Some(places.config),
        target: Some(target.clone()),
        _image: None,
    })
}

fn of_image(ctx: &Context, name: &Reference, wish: &TargetFilter<'_>) -> Result<Specimen, Failure> {
    let store = images::open(ctx)?;
    let found = images::find(ctx, &*store, &name.to_string())?;
    let wish = Wish {
        os: wish.platform.map(|platform| platform.name().to_owned()),
        arch: wish.arch.map(|arch| arch.name().to_owned()),
        features: Vec::new(),
    };
    let image = obtain::select(ctx, &*store, &found, &wish)?;
    let files = unpacked::unpack(ctx, &*store, &image)?;
    let kernel = unpacked::kernel(&image, &files)?;
    Ok(Specimen {
        debug: fs::beside(&kernel, ".dbg"),
        kernel,
        objects: Vec::new(),
        config: None,
        target: None,
        _image: Some(image),
    })
}

impl Specimen {
    /// Reads the kernel; where the kernel is no ELF file (arm64) or does not have what is looked
    /// for, the debug image beside it.
    pub fn read(&self, has: fn(&Object<'_>) -> bool) -> Result<Reading, Failure> {
        let kernel = read(&self.kernel)?;
        let kernel_is = Object::parse(&kernel.bytes);
        if kernel_is.as_ref().is_ok_and(has) {
            return Ok(kernel);
        }
        if self.debug == self.kernel || !self.debug.is_file() {
            return match kernel_is {
                Ok(_) => Ok(kernel),
                Err(error) => Err(unreadable(&self.kernel, error).hint(format!(
                    "kernels of arm64 have no tables of their own: `{}` would tell, and is not there",
                    self.debug.display()
                ))),
            };
        }
        let debug = read(&self.debug)?;
        let debug_is = debug.object()?;
        // A kernel that has tables must be the one that was stripped of the others.
        if let Ok(kernel_is) = kernel_is
            && !size::have_same_layout(&kernel_is, &debug_is)
        {
            return Err(Failure::new(
                Kind::Failed,
                format!("`{}` is of another build", self.debug.display()),
            )
            .hint(format!(
                "build again, or remove it to read `{}` alone",
                self.kernel.display()
            )));
        }
        Ok(debug)
    }

    /// Returns the text of the configuration: the one that the kernel carries, else the one of its
    /// project.
    pub fn config(&self, info: &LibInfo<'_>) -> Result<Option<String>, Failure> {
        let text = match info.config {
            Some(Embedded::Plain(bytes)) => Some(bytes.to_owned()),
            Some(Embedded::Gzip(bytes)) => {
                let text = flate2::read::MultiGzDecoder::new(bytes);
                let text = fs::read_to_end(text, LARGEST_CONFIG)
                    .map_err(|error| unreadable(&self.kernel, error))
                    .map_err(|failure| failure.about("its configuration is damaged"))?;
                Some(text)
            }
            None => match &self.config {
                Some(path) if path.is_file() => Some(fs::read_file(path, LARGEST_CONFIG)?),
                _ => None,
            },
        };
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// Returns the symbols of the libraries that the kernel was linked from; none where there are
    /// no objects.
    pub fn libraries(&self, ctx: &Context) -> Result<Libraries, Failure> {
        for dir in &self.objects {
            let libraries = libraries_in(ctx, dir)?;
            if !libraries.is_empty() {
                return Ok(libraries);
            }
        }
        Ok(Libraries::default())
    }

    /// Measures the kernel by its symbols, and by those of its libraries.
    pub fn measure(&self, libraries: &Libraries) -> Result<(PathBuf, Measured), Failure> {
        let reading = self.read(|object| {
            let placed = |symbol: &Symbol<'_>| matches!(symbol.home, Home::Section(_));
            object
                .symbols()
                .is_ok_and(|symbols| symbols.iter().any(placed))
        })?;
        let measured = size::measure(&reading.object()?, libraries)
            .map_err(|error| unreadable(&reading.path, error))?;
        Ok((reading.path, measured))
    }
}

/// Returns what a kernel can do by its own records; one that has none, or cannot be read, says nothing.
pub fn abilities(kernel: &Path) -> Abilities {
    let known = read(kernel).and_then(|reading| {
        let info = records(&reading)?;
        let names = info.libraries.iter().filter_map(|lib| lib.name.as_deref());
        Ok(Abilities::of_libraries(names))
    });
    known.unwrap_or_default()
}

/// Reads the records about libraries.
pub fn records(reading: &Reading) -> Result<LibInfo<'_>, Failure> {
    let object = reading.object()?;
    let Some(section) = object.section(libinfo::SECTION) else {
        return Ok(LibInfo::default());
    };
    let bytes = object
        .contents(section)
        .map_err(|error| unreadable(&reading.path, error))?;
    libinfo::parse(bytes).map_err(|error| unreadable(&reading.path, error))
}

fn read(path: &Path) -> Result<Reading, Failure> {
    Ok(Reading {
        bytes: fs::read_file(path, LARGEST)?,
        path: path.to_owned(),
    })
}

/// Reads the objects of libraries in a directory: Unikraft puts one per library there, and names
/// what it was before its symbols were hidden `.ld.o`.
fn libraries_in(ctx: &Context, dir: &Path) -> Result<Libraries, Failure> {
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
                "the symbols of `{}` are not known: {}",
                reading.path.display(),
                chain(&error)
            ));
        }
    }
    Ok(libraries)
}
