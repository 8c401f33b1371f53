//! What a root filesystem is made from, as a user or a Kraftfile names it.

use std::path::{Path, PathBuf};

use kraft_core::reference::Reference;

use crate::context::Context;
use crate::failure::{Failure, Kind};
use crate::project::Project;
use kraft_config::dirs::absolute;

/// The schemes of images that stand in a registry or in the store.
const SCHEMES: [&str; 2] = ["oci://", "docker://"];
/// What the text of a Dockerfile can begin with.
const BEGINNINGS: [&str; 4] = ["from ", "arg ", "# syntax=", "#syntax="];
/// So much of a file is looked at, in bytes.
const LOOK: u64 = 4096;

/// What a root filesystem is made from.
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
    /// Understands what was typed. `flag` is where.
    pub fn typed(word: &Path, flag: &str, project: Option<&Project>) -> Result<Self, Failure> {
        let context = project.map_or_else(|| parent(word), |project| project.dir.clone());
        Self::find(word, word.to_path_buf(), context)?.ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                format!("`{flag}`: there is no `{}`", word.display()),
            )
            .hint("an image is named with its registry: `oci://HOST/NAME:TAG`")
        })
    }

    /// Returns that of a project.
    pub fn of_project(project: &Project) -> Result<Option<Self>, Failure> {
        let Some(rootfs) = project.resolved().rootfs else {
            return Ok(None);
        };
        if let Some(file) = &rootfs.dockerfile {
            let context = rootfs.path.as_deref().unwrap_or(".");
            let file = project.dir.join(file);
            if !file.is_file() {
                return Err(missing(&file));
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
            None => Err(missing(&path)),
        }
    }

    /// Finds out what a word means: what is there decides, and only then how it looks.
    fn find(word: &Path, path: PathBuf, context: PathBuf) -> Result<Option<Self>, Failure> {
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

    /// Returns it as people know it.
    pub fn shown(&self) -> String {
        match self {
            Self::Files(path) | Self::Dockerfile { file: path, .. } => path.display().to_string(),
            Self::Image(name) => name.to_string(),
        }
    }
}

/// The Dockerfile of a directory that has no Kraftfile.
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

fn missing(path: &Path) -> Failure {
    Failure::new(
        Kind::NotFound,
        format!("there is no root filesystem `{}`", path.display()),
    )
    .hint("`rootfs` in the Kraftfile names it, relative to the project; an image is named with its registry: `oci://HOST/NAME:TAG`")
}

fn image_name(word: &str) -> Option<&str> {
    SCHEMES.iter().find_map(|scheme| word.strip_prefix(scheme))
}

/// Returns whether a name begins with a host: only then nobody mistook a path.
fn names_a_registry(name: &str) -> bool {
    if name.starts_with(['/', '.', '~']) {
        return false;
    }
    let Some((host, _)) = name.split_once('/') else {
        return false;
    };
    host == "localhost" || host.contains('.') || host.contains(':')
}

/// Returns whether a file is a Dockerfile: by its name, as KraftKit tells, or by how it begins.
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

fn read_start(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut start = Vec::new();
    kraft_sys::fs::open_file(path)?
        .take(LOOK)
        .read_to_end(&mut start)?;
    if let Err(error) = std::str::from_utf8(&start)
        && error.error_len().is_none()
    {
        // A character was cut in two.
        start.truncate(error.valid_up_to());
    }
    Ok(start)
}

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
        assert!(put("Containerfile", b"# talk\n\nFROM scratch\n"));
        assert!(!put("notes.txt", b"this is FROM me\n"));
        assert!(!put("Dockerfile.tar", b"\xff\xfe\0"));
    }
}
