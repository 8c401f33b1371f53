//! Kernels to be looked into: which file is meant, and what a build left beside it.

use std::path::{Path, PathBuf};

use kraft_core::kernel::sizes::Owners;
use kraft_core::reference::Reference;
use kraft_oci::choose::Wish;
use kraft_sys::fs;

use super::obtain::{self, Pull};
use super::project::{self, TargetWish};
use super::workplace::Workplace;
use super::{components, images, unpacked};
use crate::app::App;
use crate::failure::{Failure, Kind};

/// A kernel is not larger than this, in bytes.
const LARGEST: u64 = 1 << 30;

/// A kernel that is looked into.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The file that was read: the one with debug information, where there is one.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Where make worked, if that is known.
    work: Option<PathBuf>,
}

/// Finds the kernel that is meant: a file, what was built in the project of a directory, or that of
/// an image.
pub(crate) fn find(
    app: &App,
    word: Option<&str>,
    wish: &TargetWish<'_>,
    kraftfile: Option<&Path>,
) -> Result<Kernel, Failure> {
    let path = Path::new(word.unwrap_or("."));
    if path.is_dir() {
        return of_project(app, path, wish, kraftfile);
    }
    if path.is_file() {
        return of_file(path, None);
    }
    let name: Reference = word.unwrap_or_default().parse().map_err(|error| {
        Failure::from(error).hint("name a kernel file, the directory of a project or an image")
    })?;
    let store = images::open(app)?;
    let asked = Wish {
        os: wish.platform.map(|plat| plat.name().to_owned()),
        arch: wish.arch.map(|arch| arch.name().to_owned()),
        features: Vec::new(),
    };
    let image = obtain::obtain(app, &store, &name, &asked, Pull::Missing)?;
    let files = unpacked::unpack(app, &*store, &image)?;
    of_file(&unpacked::kernel(&image, &files)?, None)
}

fn of_project(
    app: &App,
    dir: &Path,
    wish: &TargetWish<'_>,
    kraftfile: Option<&Path>,
) -> Result<Kernel, Failure> {
    let project = project::read(app, Some(dir), kraftfile)?;
    let project = project::sound(app, project)?;
    let workplace = Workplace::find(app, &project)?;
    let project = components::complete(app, project, &workplace)?;
    let Some(resolved) = project.resolved() else {
        return Err(Failure::new(Kind::Failed, "the Kraftfile has faults"));
    };
    let built = project::built_targets(app, &workplace, &resolved, wish)?;
    let Some(target) = built.first() else {
        return Err(Failure::new(Kind::NotFound, "no target has been built"));
    };
    let places = workplace.places(&resolved, target);
    of_file(&places.kernel, Some(places.work))
}

fn of_file(path: &Path, work: Option<PathBuf>) -> Result<Kernel, Failure> {
    let mut debug = path.as_os_str().to_owned();
    debug.push(".dbg");
    let debug = PathBuf::from(debug);
    let path = if debug.is_file() {
        debug
    } else {
        path.to_owned()
    };
    let bytes = fs::read_file(&path, LARGEST)?;
    Ok(Kernel { path, bytes, work })
}

impl Kernel {
    /// Returns which library has which symbols, by the objects that the build left.
    pub(crate) fn owners(&self) -> Owners {
        let mut owners = Owners::default();
        let entries = self
            .work
            .as_ref()
            .and_then(|dir| std::fs::read_dir(dir).ok());
        for path in entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Beside `libx.o` there may be `libx.ld.o`, of which it was made.
            let Some(library) = name
                .strip_suffix(".o")
                .filter(|name| name.strip_suffix(".ld").is_none())
            else {
                continue;
            };
            if let Ok(object) = fs::read_file(&path, LARGEST) {
                owners.add(library, &object);
            }
        }
        owners
    }
}
