//! Sources of root filesystems, as a user or a Kraftfile names them.

use std::path::{Path, PathBuf};

use kraft_core::reference::Reference;

use super::Error;
use crate::context::Context;
use crate::project::Project;
use kraft_config::dirs::absolute;

/// Schemes of the names of images.
const SCHEMES: [&str; 2] = ["oci://", "docker://"];
/// First words of a Dockerfile.
const BEGINNINGS: [&str; 4] = ["from ", "arg ", "# syntax=", "#syntax="];
/// Number of bytes at the start of a file that decide whether it is a Dockerfile.
const START: u64 = 4096;

/// Source of a root filesystem.
///
/// ```
/// use std::path::Path;
///
/// use kraft_engine::rootfs::RootSource;
///
/// let source = RootSource::from_argument(Path::new("oci://nginx:1.27"), "--rootfs", None)?;
/// assert!(matches!(source, RootSource::Image(_)));
///
/// let error = RootSource::from_argument(Path::new("nowhere"), "--rootfs", None).unwrap_err();
/// assert_eq!(error.to_string(), "`--rootfs`: there is no `nowhere`");
/// # Ok::<(), kraft_engine::rootfs::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// A directory, a tarball or an archive.
    Files(PathBuf),
    /// A Dockerfile, and the directory it copies from.
    Dockerfile {
        /// The file.
        file: PathBuf,
        /// The directory.
        context: PathBuf,
    },
    /// An image: its layers.
    Image(Reference),
}

impl RootSource {
    /// Returns the source that the argument of a command names. `flag` is the flag of the argument.
    ///
    /// # Errors
    ///
    /// If there is no such file, or the name of the image is invalid.
    pub fn from_argument(
        argument: &Path,
        flag: &str,
        project: Option<&Project>,
    ) -> Result<Self, Error> {
        let context = project.map_or_else(|| parent(argument), |project| project.dir.clone());
        let found = Self::find(argument, argument.to_path_buf(), context)?;
        found.ok_or_else(|| Error::NotFound {
            flag: flag.to_owned(),
            path: argument.to_owned(),
        })
    }

    /// Returns the source that a Kraftfile names, if it names one.
    ///
    /// # Errors
    ///
    /// If the Kraftfile names a file that does not exist, or the name of the image is invalid.
    pub fn from_project(project: &Project) -> Result<Option<Self>, Error> {
        let Some(rootfs) = project.resolved().rootfs else {
            return Ok(None);
        };
        if let Some(file) = &rootfs.dockerfile {
            let context = rootfs.path.as_deref().unwrap_or(".");
            let file = project.dir.join(file);
            if !file.is_file() {
                return Err(Error::NotInProject { path: file });
            }
            return Ok(Some(Self::Dockerfile {
                file,
                context: project.dir.join(context),
            }));
        }
        let Some(word) = &rootfs.path else {
            return Ok(None);
        };
        let path = project.dir.join(word);
        match Self::find(Path::new(word), path.clone(), project.dir.clone())? {
            Some(source) => Ok(Some(source)),
            None => Err(Error::NotInProject { path }),
        }
    }

    /// Resolves a word: an existing file counts before the name of an image.
    fn find(word: &Path, path: PathBuf, context: PathBuf) -> Result<Option<Self>, Error> {
        if let Some(name) = word.to_str().and_then(image_name) {
            return Ok(Some(Self::Image(name.parse()?)));
        }
        if path.is_file() && is_dockerfile(&path) {
            return Ok(Some(Self::Dockerfile {
                file: path,
                context,
            }));
        }
        if path.exists() {
            return Ok(Some(Self::Files(path)));
        }
        let name = word.to_str().filter(|name| names_a_registry(name));
        Ok(match name.map(str::parse::<Reference>) {
            Some(Ok(name)) => Some(Self::Image(name)),
            _ => None,
        })
    }

    /// Returns its name for messages.
    pub fn shown(&self) -> String {
        match self {
            Self::Files(path) | Self::Dockerfile { file: path, .. } => path.display().to_string(),
            Self::Image(name) => name.to_string(),
        }
    }
}

/// Returns the Dockerfile of a directory that has no Kraftfile.
pub fn lone_dockerfile(ctx: &Context, dir: &Path) -> Option<PathBuf> {
    let file = ["Dockerfile", "dockerfile"]
        .into_iter()
        .map(|name| dir.join(name))
        .find(|file| file.is_file())?;
    ctx.info(&format!(
        "there is no Kraftfile: building `{}`",
        file.display()
    ));
    Some(file)
}

/// Returns the name after the scheme of an image.
fn image_name(word: &str) -> Option<&str> {
    SCHEMES.iter().find_map(|scheme| word.strip_prefix(scheme))
}

/// Returns whether a name begins with a host: without one it may be a mistyped path.
fn names_a_registry(name: &str) -> bool {
    if name.starts_with(['/', '.', '~']) {
        return false;
    }
    let Some((host, _)) = name.split_once('/') else {
        return false;
    };
    host == "localhost" || host.contains('.') || host.contains(':')
}

/// Returns whether a file is a Dockerfile: by its name, as in KraftKit, or by its first words.
fn is_dockerfile(path: &Path) -> bool {
    let Ok(start) = read_start(path) else {
        return false;
    };
    let Ok(text) = String::from_utf8(start) else {
        return false;
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.to_lowercase().contains("dockerfile") {
        return true;
    }
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| {
        let line = line.to_lowercase();
        !line.is_empty() && (!line.starts_with('#') || line.contains("syntax="))
    });
    let first = first.unwrap_or_default().to_lowercase();
    BEGINNINGS
        .iter()
        .any(|beginning| first.starts_with(beginning))
}

/// Reads the start of a file, up to a whole character.
fn read_start(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut start = Vec::new();
    kraft_sys::fs::open_file(path)?
        .take(START)
        .read_to_end(&mut start)?;
    if let Err(error) = std::str::from_utf8(&start)
        && error.error_len().is_none()
    {
        // The last character is cut off.
        start.truncate(error.valid_up_to());
    }
    Ok(start)
}

/// Returns the directory of a file.
fn parent(file: &Path) -> PathBuf {
    let file = absolute(file);
    file.parent()
        .map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_with_a_host_is_an_image() {
        for (name, is) in [
            ("docker.io/library/nginx", true),
            ("localhost/x:1", true),
            ("localhost:5000/x", true),
            ("nginx", false),
            ("rootfs/x", false),
            ("./a.b/c", false),
        ] {
            assert_eq!(names_a_registry(name), is, "{name}");
        }
        assert_eq!(image_name("oci://nginx"), Some("nginx"));
    }

    #[test]
    fn an_existing_file_counts_before_the_name_of_an_image() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            kraft_sys::fs::replace_file(&path, text.as_bytes()).unwrap();
            path
        };
        let dockerfile = put("Dockerfile", "FROM scratch\n");
        let tarball = put("root.tar", "not read here");
        std::fs::create_dir(dir.path().join("localhost")).unwrap();
        let files = dir.path().join("localhost/x");
        std::fs::create_dir(&files).unwrap();
        let image = |name: &str| Some(RootSource::Image(name.parse().unwrap()));
        for (word, path, expected) in [
            (
                "Dockerfile",
                dockerfile.clone(),
                Some(RootSource::Dockerfile {
                    file: dockerfile,
                    context: "/project".into(),
                }),
            ),
            (
                "root.tar",
                tarball.clone(),
                Some(RootSource::Files(tarball)),
            ),
            ("localhost/x", files.clone(), Some(RootSource::Files(files))),
            (
                "localhost/y",
                dir.path().join("localhost/y"),
                image("localhost/y"),
            ),
            ("oci://nginx:1", dir.path().join("oci:"), image("nginx:1")),
            ("docker://a/b", dir.path().join("docker:"), image("a/b")),
            ("nginx", dir.path().join("nginx"), None),
            ("./localhost/y", dir.path().join("localhost/y"), None),
            ("localhost/UPPER", dir.path().join("localhost/UPPER"), None),
        ] {
            let found = RootSource::find(Path::new(word), path, "/project".into());
            assert_eq!(found.unwrap(), expected, "{word}");
        }
        let invalid = RootSource::find(Path::new("oci://UPPER"), "/none".into(), "/".into());
        assert!(matches!(invalid, Err(Error::Reference(_))));
    }

    #[test]
    fn a_dockerfile_is_known_by_its_name_or_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8]| {
            use std::io::Write as _;
            let path = dir.path().join(name);
            std::fs::File::create(&path)
                .unwrap()
                .write_all(text)
                .unwrap();
            is_dockerfile(&path)
        };
        assert!(put("my.Dockerfile", b"anything"));
        assert!(put("Containerfile", b"# comment\n\nFROM scratch\n"));
        assert!(!put("notes.txt", b"this is FROM me\n"));
        assert!(!put("Dockerfile.tar", b"\xff\xfe\0"));
    }
}
