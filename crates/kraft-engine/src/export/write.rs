//! Writes an export to a directory, and nothing that is there already.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kraft_sys::fs;

use super::{Exported, Part};

/// Why an export cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file exists already.
    #[error("`{}` already exists", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Writes the files below a directory, which is created; returns their paths. With `force`, files of these
/// names are replaced.
///
/// ```
/// use kraft_engine::export::{Engine, Workload, export, write};
///
/// let dir = tempfile::tempdir()?;
/// let web = Workload::new("web", &"registry.example/web:1.0".parse()?);
/// let exported = export(Engine::Docker, &[web]).expect("a script");
/// let files = write::write(&exported, dir.path(), false)?;
/// assert!(files[0].ends_with("run.sh"));
/// assert!(write::write(&exported, dir.path(), false).is_err(), "it exists");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If one of the files exists, or cannot be written. None is written if one exists.
pub fn write(exported: &Exported, dir: &Path, force: bool) -> Result<Vec<PathBuf>, Error> {
    let paths: Vec<PathBuf> = exported.files.iter().map(|it| dir.join(&it.name)).collect();
    if !force {
        for path in &paths {
            if path.symlink_metadata().is_ok() {
                return Err(Error::Exists(path.clone()));
            }
        }
    }
    fs::create_dir_all(dir, 0o777)?;
    for (file, path) in exported.files.iter().zip(&paths) {
        // A link is replaced itself, not the file that it leads to.
        if path.is_symlink() {
            fs::remove_file(path)?;
        }
        match &file.part {
            Part::Copy(source) => copy(source, path)?,
            Part::Manifest | Part::Host => {
                let mode = if file.text.starts_with("#!") {
                    0o755
                } else {
                    0o644
                };
                let mut new = fs::NewFile::with_mode(path, mode)?;
                new.write_all(file.text.as_bytes())
                    .map_err(fs::Error::on("write", path))?;
                new.commit()?;
            }
        }
    }
    Ok(paths)
}

fn copy(source: &Path, path: &Path) -> Result<(), Error> {
    let new = fs::NewFile::with_mode(path, 0o644)?;
    let mut from = fs::open_file(source)?;
    std::io::copy(&mut from, &mut new.file()).map_err(fs::Error::on("write", path))?;
    new.commit()?;
    Ok(())
}
