//! What to build: a Dockerfile, its context directory and the options of the build.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use kraft_buildkit::Secret;
use kraft_core::dockerfile::patterns::Patterns;
use kraft_core::dockerfile::{self, Dockerfile, expand};
use kraft_core::problem::{Problem, Text};
use kraft_sys::fs;

use super::error::Error;
use super::options::{self, BuildOptions, OptionError};
use crate::context::Context;

/// Maximum size of a Dockerfile and of an ignore file in bytes.
const LARGEST_TEXT: u64 = 4 << 20;
/// The directory of kraft in a project, which no build copies.
const KRAFT_DIR: &str = ".unikraft";

/// A build from a Dockerfile.
///
/// ```
/// use std::sync::Arc;
///
/// use kraft_config::env::Environment;
/// use kraft_config::{Config, Flags};
/// use kraft_core::event::Silent;
/// use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::dockerfile::{BuildOptions, BuildRequest};
///
/// let dir = tempfile::tempdir()?;
/// let file = dir.path().join("Dockerfile");
/// std::fs::write(&file, "ARG BASE=alpine:3\nFROM $BASE\n")?;
///
/// let config = Config::without_file(&Flags::default(), Environment::default());
/// let ctx = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// let options = BuildOptions::default();
/// let request = BuildRequest::new(&ctx, &file, dir.path(), "x86_64", &options)?;
/// assert_eq!(request.arch, "amd64");
/// assert_eq!(request.bases(), ["alpine:3"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BuildRequest<'a> {
    /// The Dockerfile, as an absolute path.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// The parsed Dockerfile, or its errors.
    pub parsed: Result<Dockerfile, Vec<Problem>>,
    /// The directory that it copies from, as an absolute path.
    pub context: PathBuf,
    /// Patterns of files in it that are left out.
    pub ignore: Patterns,
    /// The architecture, as OCI names it: `amd64`.
    pub arch: &'static str,
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
    /// Options of the build.
    pub options: &'a BuildOptions,
    /// When the build times out.
    pub deadline: Option<Instant>,
}

impl<'a> BuildRequest<'a> {
    /// Reads the Dockerfile and its ignore file. `arch` is as KraftKit names it: `x86_64`.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or an option is invalid. Errors in the Dockerfile are in
    /// [`parsed`](Self::parsed): a builder may accept more than kraft.
    pub fn new(
        ctx: &Context,
        file: &Path,
        context: &Path,
        arch: &str,
        options: &'a BuildOptions,
    ) -> Result<Self, Error> {
        let bytes = fs::read_file(file, LARGEST_TEXT)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::NotText {
            path: file.to_owned(),
        })?;
        let absolute = |path: &Path| path.canonicalize().map_err(fs::Error::on("open", path));
        let file = absolute(file)?;
        let context = absolute(context)?;
        Ok(Self {
            parsed: dockerfile::parse(&text),
            text,
            ignore: ignore(&file, &context)?,
            file,
            context,
            arch: oci_arch(arch)?,
            arguments: options::arguments(ctx, &options.arguments)?,
            deadline: options
                .timeout
                .and_then(|time| Instant::now().checked_add(time)),
            options,
        })
    }

    /// Returns the error of a build that takes longer than its timeout.
    pub(super) fn timed_out(&self) -> Error {
        Error::Timeout {
            file: self.shown(),
            limit: self.options.timeout.unwrap_or_default(),
        }
    }

    /// Returns the reason of an error: after the deadline, the timeout.
    pub(super) fn or_timeout(&self, error: Error) -> Error {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => self.timed_out(),
            _ => error,
        }
    }

    /// Returns the path of the Dockerfile, relative to the working directory where possible.
    pub(super) fn shown(&self) -> String {
        let here = kraft_config::dirs::absolute(Path::new("."));
        let name = self.file.strip_prefix(here).unwrap_or(&self.file);
        name.display().to_string()
    }

    /// Returns the Dockerfile as a text that problems point into.
    pub fn shown_text(&self) -> Text {
        Text {
            name: self.shown(),
            text: self.text.clone(),
        }
    }

    /// Returns the images that the Dockerfile builds on, as far as the arguments resolve their
    /// names.
    pub fn bases(&self) -> Vec<String> {
        let mut names = Vec::new();
        let Ok(dockerfile) = &self.parsed else {
            return names;
        };
        for (number, stage) in dockerfile.stages.iter().enumerate() {
            let base = self.expanded(dockerfile, &stage.from.image);
            // A stage also goes by its number, but not after a `FROM`.
            let froms = stage.froms().filter(|name| name.parse::<usize>().is_err());
            for name in base.into_iter().chain(froms.map(str::to_owned)) {
                let is_stage = dockerfile.named_before(number, &name).is_some();
                let is_image = !is_stage && !name.contains('$') && !name.is_empty();
                if is_image && name != "scratch" && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Expands the variables of a word before the first stage; `None` if one has no value.
    pub(super) fn expanded(&self, dockerfile: &Dockerfile, word: &str) -> Option<String> {
        let value = |name: &str| {
            let default = dockerfile.arguments.iter().find(|pair| pair.name == name);
            let default = default.and_then(|pair| pair.value.clone());
            self.arguments.get(name).cloned().or(default)
        };
        let expanded = expand::word(word, dockerfile.escape, &value).ok();
        // An unknown variable is not an empty name.
        expanded.filter(|it| !it.is_empty())
    }

    /// Reads the secrets.
    pub fn secrets(&self, ctx: &Context) -> Result<Vec<Secret>, Error> {
        let secrets = self.options.secrets.iter();
        secrets.map(|option| options::secret(ctx, option)).collect()
    }

    /// Returns the sockets of ssh agents by name; the agent of this session is always offered as
    /// `default`.
    pub fn agents(&self, ctx: &Context) -> Result<HashMap<String, PathBuf>, OptionError> {
        options::agents(ctx, &self.options.agents)
    }
}

#[cfg(test)]
impl<'a> BuildRequest<'a> {
    /// Returns a build of a text without a context directory.
    pub(super) fn of_text(text: &str, options: &'a BuildOptions) -> Self {
        Self {
            file: PathBuf::from("Dockerfile"),
            text: text.to_owned(),
            parsed: dockerfile::parse(text),
            context: PathBuf::from("."),
            ignore: Patterns::default(),
            arch: "amd64",
            arguments: BTreeMap::new(),
            options,
            deadline: None,
        }
    }
}

/// Returns how OCI names an architecture.
pub(super) fn oci_arch(arch: &str) -> Result<&'static str, Error> {
    match arch {
        "x86_64" | "amd64" => Ok("amd64"),
        "arm64" | "aarch64" => Ok("arm64"),
        "arm" => Ok("arm"),
        other => Err(Error::Architecture(other.to_owned())),
    }
}

/// Reads the ignore file of a Dockerfile; the directory of kraft is always ignored.
fn ignore(file: &Path, context: &Path) -> Result<Patterns, Error> {
    let path = kraft_rootfs::dockerfile::ignore_file(file, context);
    let mut lines = match fs::read_file(&path, LARGEST_TEXT) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    lines.push('\n');
    lines.push_str(KRAFT_DIR);
    Patterns::of_ignore_file(&lines).map_err(|problem| Error::Invalid {
        text: Text {
            name: path.display().to_string(),
            text: lines.clone(),
        },
        problems: vec![*problem],
    })
}

/// Returns what a daemon ignores beyond the ignore file, which it reads itself.
pub(super) fn always_ignored() -> Vec<String> {
    vec![KRAFT_DIR.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_have_their_oci_name() {
        for (arch, expected) in [
            ("x86_64", Some("amd64")),
            ("amd64", Some("amd64")),
            ("arm64", Some("arm64")),
            ("aarch64", Some("arm64")),
            ("arm", Some("arm")),
            ("riscv64", None),
            ("", None),
        ] {
            assert_eq!(oci_arch(arch).ok(), expected, "{arch}");
        }
    }

    #[test]
    fn bases_are_the_images_that_are_known_before_the_build() {
        for (text, arguments, expected) in [
            ("FROM scratch\n", &[][..], &[][..]),
            ("FROM a\nFROM a AS b\nFROM b\n", &[], &["a"]),
            ("ARG V=1\nFROM a:$V\n", &[], &["a:1"]),
            ("ARG V=1\nFROM a:$V\n", &[("V", "2")], &["a:2"]),
            ("FROM $NOT_SET\n", &[], &[]),
            (
                "FROM a AS x\nFROM scratch\nCOPY --from=x / /\nCOPY --from=0 / /\nCOPY --from=c / /\n",
                &[],
                &["a", "c"],
            ),
            (
                "FROM a\nRUN --mount=type=bind,from=d,target=/d true\n",
                &[],
                &["a", "d"],
            ),
            ("FRO a\n", &[], &[]),
        ] {
            let options = BuildOptions::default();
            let mut request = BuildRequest::of_text(text, &options);
            for (name, value) in arguments {
                request
                    .arguments
                    .insert((*name).to_owned(), (*value).to_owned());
            }
            assert_eq!(request.bases(), expected, "{text}");
        }
    }

    #[test]
    fn after_the_deadline_every_error_is_the_timeout() {
        let options = BuildOptions {
            timeout: Some(std::time::Duration::from_secs(2)),
            ..BuildOptions::default()
        };
        let mut request = BuildRequest::of_text("FROM scratch\n", &options);
        let error = || Error::Architecture("x".to_owned());
        assert!(matches!(
            request.or_timeout(error()),
            Error::Architecture(_)
        ));
        request.deadline = Some(Instant::now());
        assert_eq!(
            request.or_timeout(error()).to_string(),
            "building `Dockerfile` took longer than 2s, and was stopped"
        );
    }
}
