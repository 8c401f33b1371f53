//! A project: its Kraftfile found, read and checked, and the targets that it builds.
//!
//! ```text
//! -K FILE, a directory ─ read ─► Draft: what the file says, with every diagnostic
//!                                  └ into_project ─► Project: sound; nothing below checks it again
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use kraft_config::env::Environment;
use kraft_core::arch::Arch;
use kraft_core::kraftfile::{self, Ambiguous, Kraftfile, LARGEST, Resolved, ResolvedTarget};
use kraft_core::platform::Platform;
use kraft_core::problem::{Problem, Span, Text};
use kraft_kconfig::DotConfig;
use kraft_sys::fs;

use super::rootfs;
use super::runtime::{self, Source};
use super::workplace::Workplace;
use crate::context::{AskError, Context};

/// The largest `.config` file that is read, in bytes.
const LARGEST_CONFIG: u64 = 4 << 20;

/// Why a project cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the directory nor one above it has a Kraftfile.
    #[error("no Kraftfile in `{}` or above it", .0.display())]
    NoKraftfile(PathBuf),
    /// A directory has more than one.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// The Kraftfile has errors.
    #[error("the Kraftfile `{}` has errors", text.name)]
    Unsound {
        /// The text of the file.
        text: Text,
        /// Its errors and warnings.
        problems: Vec<Problem>,
    },
    /// A Kraftfile that is piped in cannot be read.
    #[error("cannot read stdin")]
    Stdin(#[source] io::Error),
    /// No target has the name, the platform and the architecture.
    #[error("the project has no such target")]
    NoSuchTarget {
        /// Every target of the project.
        targets: Vec<String>,
    },
    /// No target that fits has a kernel.
    #[error("no target has been built: there is no {}", quoted(kernels).join(", no "))]
    NotBuilt {
        /// Where the kernels would be, from the project's directory.
        kernels: Vec<String>,
    },
    /// Several targets fit, and there is no terminal to ask.
    #[error("several targets fit: {}", targets.join(", "))]
    SeveralTargets {
        /// Those that fit.
        targets: Vec<String>,
    },
    /// A file or directory cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// A question was not answered.
    #[error(transparent)]
    Ask(#[from] AskError),
}

fn quoted(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

/// A Kraftfile that was read, with every diagnostic; it may have errors.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What the file says; `None` if it has errors.
    pub kraftfile: Option<Kraftfile>,
    /// Errors and warnings, in the order of the text.
    pub problems: Vec<Problem>,
    /// The text that they point into.
    pub text: Text,
    /// The path of the Kraftfile; `None` for one from stdin.
    pub file: Option<PathBuf>,
    /// The project's directory.
    pub dir: PathBuf,
    /// The name of the directory, from which defaults are derived.
    pub dir_name: String,
}

impl Draft {
    /// Parses the text of a Kraftfile; `dir` is the directory of its project.
    pub(crate) fn parse(name: String, bytes: &[u8], dir: &Path, env: &Environment) -> Self {
        let (parsed, text) = kraftfile::parse_bytes(bytes, &|name| {
            let value = env.raw(name)?;
            Some(value.to_string_lossy().into_owned())
        });
        Self {
            kraftfile: parsed.kraftfile,
            problems: parsed.problems,
            text: Text { name, text },
            file: None,
            dir_name: dir_name(dir),
            dir: dir.to_owned(),
        }
    }

    /// Returns the project with every default filled in; `None` if the file has errors.
    #[must_use]
    pub fn resolved(&self) -> Option<Resolved> {
        let kraftfile = self.kraftfile.as_ref()?;
        Some(kraftfile.resolve(&self.dir_name))
    }

    /// Returns the project and the warnings about its Kraftfile.
    ///
    /// # Errors
    ///
    /// [`Error::Unsound`] if the file has errors.
    pub fn into_project(self) -> Result<(Project, Vec<Problem>), Error> {
        let Some(kraftfile) = self.kraftfile else {
            return Err(Error::Unsound {
                text: self.text,
                problems: self.problems,
            });
        };
        let project = Project {
            kraftfile,
            text: self.text,
            file: self.file,
            dir: self.dir,
            dir_name: self.dir_name,
            template: None,
            implied_runtime: false,
        };
        Ok((project, self.problems))
    }

    /// Returns the project, and reports the warnings about its Kraftfile.
    ///
    /// # Errors
    ///
    /// As [`Draft::into_project`].
    pub fn check(self, ctx: &Context) -> Result<Project, Error> {
        let (project, warnings) = self.into_project()?;
        ctx.problems(Some(&project.text), &warnings);
        project.with_runtime(&ctx.settings.default_runtime)
    }
}

/// A project whose Kraftfile has no errors.
#[derive(Clone, Debug)]
pub struct Project {
    /// What the Kraftfile says.
    pub kraftfile: Kraftfile,
    /// The text of the Kraftfile.
    pub text: Text,
    /// The path of the Kraftfile; `None` for one from stdin, and for a directory with a Dockerfile
    /// alone.
    pub file: Option<PathBuf>,
    /// The project's directory.
    pub dir: PathBuf,
    /// The name of the directory, from which defaults are derived.
    pub dir_name: String,
    /// The Kraftfile of the template, once the project is completed by it.
    pub template: Option<TemplateText>,
    /// Whether nothing names its runtime: it has that of the configuration, `default_runtime`.
    pub implied_runtime: bool,
}

/// The text of a template's Kraftfile, and the places of its options.
#[derive(Clone, Debug)]
pub struct TemplateText {
    /// The text.
    pub text: Text,
    /// The place of each option.
    pub options: BTreeMap<String, Span>,
}

impl Project {
    /// Returns the project with every default filled in.
    #[must_use]
    pub fn resolved(&self) -> Resolved {
        self.kraftfile.resolve(&self.dir_name)
    }

    /// Returns whether the project is built from the sources of a core or of a template.
    #[must_use]
    pub const fn has_sources(&self) -> bool {
        self.kraftfile.unikraft.is_some() || self.kraftfile.template.is_some()
    }

    /// Gives a project that has a root filesystem, and nothing that boots it, the default runtime.
    fn with_runtime(mut self, default: &str) -> Result<Self, Error> {
        if self.has_sources() || self.has_runtime() || self.kraftfile.rootfs.is_none() {
            return Ok(self);
        }
        let stand_in = lone(&self.dir, "Dockerfile", default)?;
        self.kraftfile.runtime = stand_in.kraftfile.runtime;
        self.implied_runtime = true;
        Ok(self)
    }

    /// Returns whether the project names a kernel that is built already: an image or a file.
    #[must_use]
    pub const fn has_runtime(&self) -> bool {
        self.kraftfile.runtime.is_some()
    }
}

/// Selects targets of a project: those that fit everything that is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetFilter<'a> {
    /// The name of the target, or `PLATFORM/ARCH`.
    pub name: Option<&'a str>,
    /// The platform.
    pub platform: Option<Platform>,
    /// The architecture.
    pub arch: Option<Arch>,
}

impl TargetFilter<'_> {
    fn fits(&self, target: &ResolvedTarget) -> bool {
        let pair = format!("{}/{}", target.platform, target.architecture);
        let named = |name: &str| target.name == name || pair == canonical(name);
        self.name.is_none_or(named)
            && self.platform.is_none_or(|p| p.name() == target.platform)
            && self.arch.is_none_or(|a| a.name() == target.architecture)
    }
}

/// Spells `PLATFORM/ARCH` as targets are: `kvm/amd64` is `qemu/x86_64`.
fn canonical(pair: &str) -> String {
    let Some((platform, arch)) = pair.split_once('/') else {
        return pair.to_owned();
    };
    let platform = platform
        .parse()
        .map_or(platform, |platform: Platform| platform.name());
    let arch = arch.parse().map_or(arch, |arch: Arch| arch.name());
    format!("{platform}/{arch}")
}

/// Returns a target as it is shown to users: `app (qemu/x86_64)`.
#[must_use]
pub fn label(target: &ResolvedTarget) -> String {
    format!(
        "{} ({}/{})",
        target.name, target.platform, target.architecture
    )
}

/// Returns the first target that fits a filter.
///
/// # Errors
///
/// [`Error::NoSuchTarget`] if none fits.
pub fn select_target(
    resolved: &Resolved,
    filter: &TargetFilter<'_>,
) -> Result<ResolvedTarget, Error> {
    let fits = |target: &&ResolvedTarget| filter.fits(target);
    let first = resolved.targets.iter().find(fits).cloned();
    first.ok_or_else(|| no_such_target(resolved))
}

fn no_such_target(resolved: &Resolved) -> Error {
    Error::NoSuchTarget {
        targets: resolved.targets.iter().map(label).collect(),
    }
}

/// Returns the targets that fit a filter, at least one.
///
/// # Errors
///
/// [`Error::NoSuchTarget`] if none fits.
pub fn select_targets(
    resolved: &Resolved,
    filter: &TargetFilter<'_>,
) -> Result<Vec<ResolvedTarget>, Error> {
    let fitting: Vec<ResolvedTarget> = resolved
        .targets
        .iter()
        .filter(|target| filter.fits(target))
        .cloned()
        .collect();
    if fitting.is_empty() {
        return Err(no_such_target(resolved));
    }
    Ok(fitting)
}

/// Returns the targets that fit a filter and have a kernel. Of several, asks which one; without a
/// terminal returns them all.
///
/// # Errors
///
/// If none fits, none has been built, or the answer cannot be read.
pub fn built_targets(
    ctx: &Context,
    workplace: &Workplace,
    resolved: &Resolved,
    filter: &TargetFilter<'_>,
) -> Result<Vec<ResolvedTarget>, Error> {
    let fitting = select_targets(resolved, filter)?;
    let built: Vec<ResolvedTarget> = fitting
        .iter()
        .filter(|target| workplace.kernel(target).is_file())
        .cloned()
        .collect();
    if built.is_empty() {
        return Err(Error::NotBuilt {
            kernels: fitting.into_iter().map(|target| target.kernel).collect(),
        });
    }
    Ok(ask_one_or_all(
        ctx,
        "Several targets were built. Which one?",
        built,
    )?)
}

/// Asks which of several targets to take, or all; without a terminal returns them all.
///
/// # Errors
///
/// If the answer cannot be read.
pub fn ask_one_or_all(
    ctx: &Context,
    question: &str,
    targets: Vec<ResolvedTarget>,
) -> Result<Vec<ResolvedTarget>, AskError> {
    if targets.len() == 1 {
        return Ok(targets);
    }
    let mut lines = vec!["all of them".to_owned()];
    lines.extend(targets.iter().map(label));
    match ctx.ask.select(question, &lines)? {
        None | Some(0) => Ok(targets),
        Some(at) => Ok(targets.into_iter().skip(at - 1).take(1).collect()),
    }
}

/// Returns the one target that fits a filter; of several, asks which one.
///
/// # Errors
///
/// If none fits, the answer cannot be read, or several fit and there is no terminal to ask.
pub fn one_target(
    ctx: &Context,
    resolved: &Resolved,
    filter: &TargetFilter<'_>,
) -> Result<ResolvedTarget, Error> {
    let fitting = select_targets(resolved, filter)?;
    let lines: Vec<String> = fitting.iter().map(label).collect();
    let at = match lines.len() {
        1 => Some(0),
        _ => ctx.ask.select("Which target?", &lines)?,
    };
    at.and_then(|at| fitting.into_iter().nth(at))
        .ok_or(Error::SeveralTargets { targets: lines })
}

/// Reads the configuration that a target was built with; empty if it was never configured.
///
/// # Errors
///
/// If the file is too large or cannot be read.
pub fn built_config(
    workplace: &Workplace,
    target: &ResolvedTarget,
) -> Result<DotConfig, fs::Error> {
    let path = workplace.config(target);
    tracing::debug!(file = %path.display(), "reading the configuration of a target");
    match fs::read_file(&path, LARGEST_CONFIG) {
        Ok(bytes) => Ok(DotConfig::parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DotConfig::default()),
        Err(error) => Err(error),
    }
}

/// Reads a Kraftfile: `file` if one is named (`-` is stdin), else the one that `path` is, holds, or
/// has above it. `path` defaults to the current directory. The file may have errors.
///
/// # Errors
///
/// If there is no Kraftfile, or it cannot be read.
///
/// ```
/// # use std::sync::Arc;
/// # use kraft_config::{Config, Flags, env::Environment};
/// # use kraft_core::event::Silent;
/// # use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::project::{self, Error};
///
/// # let config = Config::without_file(&Flags::default(), Environment::default());
/// # let ctx = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// let missing = std::path::Path::new("no-such-directory/Kraftfile");
/// let error = project::read(&ctx, None, Some(missing)).unwrap_err();
/// assert!(matches!(error, Error::File(error) if error.path == missing));
/// ```
pub fn read(ctx: &Context, path: Option<&Path>, file: Option<&Path>) -> Result<Draft, Error> {
    read_if_any(ctx, path, file)?.ok_or_else(|| missing(path))
}

/// Reads a Kraftfile as [`read`] does, and reports its warnings.
///
/// # Errors
///
/// As [`read`]; [`Error::Unsound`] if the file has errors.
pub fn open(ctx: &Context, path: Option<&Path>, file: Option<&Path>) -> Result<Project, Error> {
    read(ctx, path, file)?.check(ctx)
}

/// Returns the error of a directory that has no Kraftfile.
#[must_use]
pub fn missing(path: Option<&Path>) -> Error {
    Error::NoKraftfile(path.unwrap_or(Path::new(".")).to_owned())
}

/// Reads a Kraftfile as [`read`] does; `None` if none is named and none is found. A file or
/// directory that is named and does not exist is an error.
fn read_if_any(
    ctx: &Context,
    path: Option<&Path>,
    file: Option<&Path>,
) -> Result<Option<Draft>, Error> {
    let start = path.unwrap_or(Path::new("."));
    match file {
        Some(file) if file == Path::new("-") => {
            tracing::debug!("reading the Kraftfile from stdin");
            let bytes = ctx.ask.stdin(limit()).map_err(Error::Stdin)?;
            let draft = Draft::parse("<stdin>".to_owned(), &bytes, start, &ctx.env);
            Ok(Some(draft))
        }
        Some(file) => read_file(ctx, file, path.unwrap_or_else(|| parent(file))).map(Some),
        None if start.is_file() => read_file(ctx, start, parent(start)).map(Some),
        None => match find(start)? {
            Some(file) => read_file(ctx, &file, parent(&file)).map(Some),
            None => Ok(None),
        },
    }
}

/// Opens a project as [`open`] does; a directory without a Kraftfile, but with a Dockerfile, is a
/// project that runs what the Dockerfile builds on the image `runtime`. `None` for a directory with
/// neither.
///
/// # Errors
///
/// As [`open`]; a Kraftfile that is named and does not exist is an error, and not `None`.
pub fn open_or_lone(
    ctx: &Context,
    path: Option<&Path>,
    file: Option<&Path>,
    runtime: Option<&str>,
) -> Result<Option<Project>, Error> {
    if let Some(draft) = read_if_any(ctx, path, file)? {
        return draft.check(ctx).map(Some);
    }
    let dir = path.unwrap_or(Path::new("."));
    let Some(dockerfile) = rootfs::lone_dockerfile(ctx, dir) else {
        return Ok(None);
    };
    let name = dockerfile.file_name().unwrap_or_default().to_string_lossy();
    let choice = runtime::choose(runtime, None, &ctx.settings.default_runtime);
    let project = lone(dir, &name, choice.name)?;
    Ok(Some(Project {
        implied_runtime: choice.source == Source::Default,
        ..project
    }))
}

/// Makes a project of a directory without a Kraftfile: it runs what a Dockerfile builds, named
/// relative to the directory, on the image `runtime`.
///
/// # Errors
///
/// If the names are not valid in a Kraftfile.
pub fn lone(dir: &Path, dockerfile: &str, runtime: &str) -> Result<Project, Error> {
    let quoted = |text: &str| text.replace('\'', "''");
    let (runtime, dockerfile) = (quoted(runtime), quoted(dockerfile));
    let before = if dockerfile.starts_with('/') {
        ""
    } else {
        "./"
    };
    let text = format!("spec: v0.6\nruntime: '{runtime}'\nrootfs: '{before}{dockerfile}'\n");
    let name = "what stands for a Kraftfile".to_owned();
    // Variables in the names stay as they are.
    let draft = Draft::parse(name, text.as_bytes(), dir, &Environment::default());
    Ok(draft.into_project()?.0)
}

fn limit() -> u64 {
    // One byte more than is allowed, so that the parser sees that the file is too large.
    LARGEST as u64 + 1
}

fn read_file(ctx: &Context, file: &Path, dir: &Path) -> Result<Draft, Error> {
    tracing::debug!(file = %file.display(), "reading the Kraftfile");
    let bytes = fs::read_file(file, limit())?;
    let draft = Draft::parse(file.display().to_string(), &bytes, dir, &ctx.env);
    Ok(Draft {
        file: Some(file.to_owned()),
        ..draft
    })
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Searches a directory and those above it for a Kraftfile.
fn find(start: &Path) -> Result<Option<PathBuf>, Error> {
    let absolute = start.canonicalize().map_err(fs::Error::on("open", start))?;
    for dir in absolute.ancestors() {
        let names = names_in(dir)?;
        if let Some(name) = kraftfile::choose(names.iter().map(String::as_str))? {
            // The path as it was given reads better than what it resolves to.
            let shown = if dir == absolute { start } else { dir };
            return Ok(Some(if shown == Path::new(".") {
                PathBuf::from(name)
            } else {
                shown.join(name)
            }));
        }
    }
    Ok(None)
}

/// Returns the names in a directory that are UTF-8, as every name of a Kraftfile is.
fn names_in(dir: &Path) -> Result<Vec<String>, fs::Error> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fs::Error::on("read", dir))? {
        let entry = entry.map_err(fs::Error::on("read", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

fn dir_name(dir: &Path) -> String {
    let absolute = dir.canonicalize();
    let dir = absolute.as_deref().unwrap_or(dir);
    dir.file_name().map_or_else(
        || "project".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Script};

    const SOUND: &str = "spec: v0.6\nname: app\nunikraft: stable\ntargets: [qemu/x86_64]\n";

    fn put(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::create_dir_all(parent(&path)).unwrap();
        fs::replace_file(&path, text.as_bytes()).unwrap();
        path
    }

    fn resolved(text: &str) -> Resolved {
        let draft = Draft::parse(
            "Kraftfile".to_owned(),
            text.as_bytes(),
            Path::new("/no/app"),
            &Environment::default(),
        );
        draft.resolved().expect(text)
    }

    /// A file that was named and is missing is never "no project here": its path is in the error.
    #[test]
    fn the_path_of_a_named_kraftfile_is_in_every_error_about_it() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        put(dir.path(), "docker/Dockerfile", "FROM scratch\n");
        let docker = dir.path().join("docker");
        put(dir.path(), "project/Kraftfile", SOUND);
        let sound = dir.path().join("project");
        let ctx = testing::context(dir.path(), &Script::silent());
        for start in [None, Some(&empty), Some(&docker), Some(&sound)] {
            let start = start.map(PathBuf::as_path);
            for gone in ["nope.yaml", "gone/Kraftfile", "empty"] {
                let file = dir.path().join(gone);
                let named =
                    |error: &Error| matches!(error, Error::File(error) if error.path == file);
                let errors = [
                    read(&ctx, start, Some(&file)).map(drop).unwrap_err(),
                    open(&ctx, start, Some(&file)).map(drop).unwrap_err(),
                    open_or_lone(&ctx, start, Some(&file), None)
                        .map(drop)
                        .unwrap_err(),
                ];
                for error in errors {
                    assert!(named(&error), "{start:?} -K {gone}: {error}");
                }
            }
        }
        let gone = dir.path().join("gone");
        let error = open_or_lone(&ctx, Some(&gone), None, None).unwrap_err();
        assert!(
            matches!(&error, Error::File(error) if error.path == gone),
            "{error}"
        );
    }

    #[test]
    fn a_directory_is_a_project_by_its_kraftfile_or_its_dockerfile() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "project/Kraftfile", SOUND);
        put(dir.path(), "project/Dockerfile", "FROM scratch\n");
        put(dir.path(), "docker/Dockerfile", "FROM scratch\n");
        put(dir.path(), "two/Kraftfile", SOUND);
        put(dir.path(), "two/kraft.yaml", SOUND);
        put(dir.path(), "bad/Kraftfile", "spec: v0.6\nname: [\n");
        put(dir.path(), "empty/x", "");
        let ctx = testing::context(dir.path(), &Script::silent());
        let find =
            |name: &str, runtime| open_or_lone(&ctx, Some(&dir.path().join(name)), None, runtime);
        let runtime = |project: Option<Project>| {
            let resolved = project.unwrap().resolved();
            resolved.runtime.and_then(|runtime| runtime.name)
        };
        let project = find("project", None).unwrap().unwrap();
        assert!(project.has_sources() && project.file.is_some());
        assert_eq!(project.dir_name, "project");
        let lone = find("docker", None).unwrap().unwrap();
        assert!(lone.has_runtime() && !lone.has_sources() && lone.file.is_none());
        assert_eq!(runtime(Some(lone)).as_deref(), Some("builtin"));
        let quote = find("docker", Some("r.io/it's:1")).unwrap();
        assert_eq!(runtime(quote).as_deref(), Some("r.io/it's"));
        assert_eq!(
            runtime(find("docker", Some("r.io/own:1")).unwrap()).as_deref(),
            Some("r.io/own")
        );
        assert!(matches!(find("two", None), Err(Error::Ambiguous(_))));
        let Err(Error::Unsound { text, problems }) = find("bad", None) else {
            panic!("a Kraftfile with errors is not a project");
        };
        assert!(text.name.ends_with("bad/Kraftfile") && !problems.is_empty());
        assert!(find("empty", None).unwrap().is_none());
        assert!(matches!(
            open(&ctx, Some(&dir.path().join("empty")), None),
            Err(Error::NoKraftfile(_))
        ));
    }

    #[test]
    fn a_kraftfile_is_found_above_a_directory_and_read_from_stdin() {
        let dir = tempfile::tempdir().unwrap();
        let file = put(dir.path(), "Kraftfile", SOUND);
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let ctx = testing::context(dir.path(), &Script::piping(SOUND));
        let above = read(&ctx, Some(&deep), None).unwrap();
        let (found, expected) = (above.file.unwrap(), file.canonicalize().unwrap());
        assert_eq!(found, expected);
        let piped = read(&ctx, Some(&deep), Some(Path::new("-"))).unwrap();
        assert_eq!((piped.file, piped.dir.as_path()), (None, deep.as_path()));
        assert_eq!(piped.text.name, "<stdin>");
    }

    #[test]
    fn warnings_are_reported_once_and_errors_are_returned() {
        let dir = tempfile::tempdir().unwrap();
        let script = Script::silent();
        let ctx = testing::context(dir.path(), &script);
        let warned = put(dir.path(), "w/Kraftfile", &SOUND.replace("qemu", "linux"));
        open(&ctx, None, Some(&warned)).unwrap();
        assert_eq!(script.reported(), ["unknown platform `linux`"]);
        let draft = read(&ctx, None, Some(&warned)).unwrap();
        assert_eq!(draft.problems.len(), 1);
        assert_eq!(script.reported().len(), 1);
    }

    const SEVERAL: &str = "spec: v0.6\nname: app\nunikraft: stable\ntargets:\n- qemu/x86_64\n- fc/x86_64\n- {name: own, platform: qemu, architecture: arm64}\n";

    #[test]
    fn targets_are_selected_by_name_pair_platform_and_architecture() {
        let resolved = resolved(SEVERAL);
        let qemu = Some(Platform::Qemu);
        for (name, platform, arch, expected) in [
            (
                None,
                None,
                None,
                "app/qemu/x86_64 app/fc/x86_64 own/qemu/arm64",
            ),
            (Some("app"), None, None, "app/qemu/x86_64 app/fc/x86_64"),
            (Some("own"), None, None, "own/qemu/arm64"),
            (Some("qemu/x86_64"), None, None, "app/qemu/x86_64"),
            // As other tools spell them.
            (Some("kvm/amd64"), None, None, "app/qemu/x86_64"),
            (Some("firecracker/x86_64"), None, None, "app/fc/x86_64"),
            (Some("qemu/aarch64"), None, None, "own/qemu/arm64"),
            (None, qemu, None, "app/qemu/x86_64 own/qemu/arm64"),
            (
                None,
                None,
                Some(Arch::X86_64),
                "app/qemu/x86_64 app/fc/x86_64",
            ),
            (None, qemu, Some(Arch::Arm64), "own/qemu/arm64"),
            (Some("app"), qemu, None, "app/qemu/x86_64"),
            (Some("own"), None, Some(Arch::X86_64), ""),
            (Some("qemu"), None, None, ""),
            (Some("gone"), None, None, ""),
            (None, Some(Platform::Xen), None, ""),
        ] {
            let filter = TargetFilter {
                name,
                platform,
                arch,
            };
            let found = select_targets(&resolved, &filter).map(|found| {
                let names = found.iter().map(|target| {
                    format!(
                        "{}/{}/{}",
                        target.name, target.platform, target.architecture
                    )
                });
                names.collect::<Vec<_>>().join(" ")
            });
            match (found, expected) {
                (Err(Error::NoSuchTarget { targets }), "") => assert_eq!(targets.len(), 3),
                (found, expected) => assert_eq!(found.unwrap(), expected, "{filter:?}"),
            }
        }
    }

    #[test]
    fn of_several_targets_the_user_chooses_and_without_a_terminal_it_depends() {
        let dir = tempfile::tempdir().unwrap();
        let resolved = resolved(SEVERAL);
        let all = TargetFilter::default();
        for (answers, many, one) in [
            // No terminal.
            (&[][..], 3, None),
            (&[0], 3, Some("app (qemu/x86_64)")),
            (&[2], 1, Some("own (qemu/arm64)")),
        ] {
            let ctx = testing::context(dir.path(), &Script::choosing(answers));
            let found = ask_one_or_all(&ctx, "", resolved.targets.clone()).unwrap();
            assert_eq!(found.len(), many, "{answers:?}");
            let ctx = testing::context(dir.path(), &Script::choosing(answers));
            match (one_target(&ctx, &resolved, &all), one) {
                (Err(Error::SeveralTargets { targets }), None) => assert_eq!(targets.len(), 3),
                (found, one) => assert_eq!(Some(label(&found.unwrap()).as_str()), one),
            }
        }
        let only = TargetFilter {
            name: Some("own"),
            ..all
        };
        let ctx = testing::context(dir.path(), &Script::silent());
        assert_eq!(one_target(&ctx, &resolved, &only).unwrap().name, "own");
    }

    #[test]
    fn only_targets_with_a_kernel_have_been_built() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = testing::context(dir.path(), &Script::silent());
        put(dir.path(), "app/Kraftfile", SEVERAL);
        let project = open(&ctx, Some(&dir.path().join("app")), None).unwrap();
        let resolved = project.resolved();
        let workplace = Workplace::find(&ctx, &project).unwrap();
        let all = TargetFilter::default();
        let Err(Error::NotBuilt { kernels }) = built_targets(&ctx, &workplace, &resolved, &all)
        else {
            panic!("nothing has been built");
        };
        assert_eq!(kernels.len(), 3);
        let [_, second, _] = resolved.targets.as_slice() else {
            panic!("three targets");
        };
        put(dir.path(), &format!("app/{}", second.kernel), "kernel");
        let built = built_targets(&ctx, &workplace, &resolved, &all).unwrap();
        assert_eq!(built.as_slice(), std::slice::from_ref(second));
        assert_eq!(
            built_config(&workplace, second).unwrap().iter().count(),
            0,
            "a target without a configuration has no options"
        );
    }
}
