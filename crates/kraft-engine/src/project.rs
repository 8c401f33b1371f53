//! Finds and reads the Kraftfile that a user means.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use kraft_core::arch::Arch;
use kraft_core::kraftfile::{self, Kraftfile, LARGEST, Resolved, ResolvedTarget};
use kraft_core::platform::Platform;
use kraft_core::problem::{Problem, Span};
use kraft_kconfig::DotConfig;
use kraft_sys::fs;

use super::rootfs;
use super::workplace::Workplace;
use crate::context::Context;
use crate::failure::{Failure, Kind, Text};

/// What a root filesystem without a Kraftfile runs on: the loader of Linux programs, KraftKit's
/// default.
pub const LONE_RUNTIME: &str = "unikraft.org/base:latest";
/// A `.config` file is not longer than this, in bytes.
const LARGEST_CONFIG: u64 = 4 << 20;

/// A Kraftfile that was read, with everything that is wrong with it.
#[derive(Debug)]
pub struct Project {
    /// The project; `None` if the file has errors.
    pub kraftfile: Option<Kraftfile>,
    /// Faults and warnings, in the order of the text.
    pub problems: Vec<Problem>,
    /// The text they point into.
    pub text: Text,
    /// The Kraftfile; `None` for one from stdin.
    pub file: Option<PathBuf>,
    /// The project's directory.
    pub dir: PathBuf,
    /// Its name, from which defaults are derived.
    pub dir_name: String,
    /// The Kraftfile of its template, once that is here.
    pub template: Option<TemplateText>,
}

/// The text of a template's Kraftfile, and where the options stand in it.
#[derive(Debug)]
pub struct TemplateText {
    /// The text.
    pub text: Text,
    /// The place of each option.
    pub options: BTreeMap<String, Span>,
}

impl Project {
    /// Returns what the file says; one with errors says nothing.
    pub fn without_faults(&self) -> Result<&Kraftfile, Failure> {
        self.kraftfile
            .as_ref()
            .ok_or_else(|| Failure::new(Kind::Failed, "the Kraftfile has faults"))
    }

    /// Returns the project with nothing left to decide.
    pub fn resolved(&self) -> Result<Resolved, Failure> {
        Ok(self.without_faults()?.resolve(&self.dir_name))
    }
}

/// Insists on a Kraftfile without errors, and tells what it warns of.
pub fn sound(ctx: &Context, project: Project) -> Result<Project, Failure> {
    if project.kraftfile.is_none() {
        return Err(Failure::problems_in(
            Kind::Failed,
            project.text,
            project.problems,
        ));
    }
    ctx.problems(Some(&project.text), &project.problems);
    Ok(project)
}

/// Which targets of a project are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetWish<'a> {
    /// Its name, or `PLATFORM/ARCH`.
    pub name: Option<&'a str>,
    /// Its platform.
    pub platform: Option<Platform>,
    /// Its architecture.
    pub arch: Option<Arch>,
}

impl TargetWish<'_> {
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

/// Returns a target as people know it: `app (qemu/x86_64)`.
pub fn shown(target: &ResolvedTarget) -> String {
    format!(
        "{} ({}/{})",
        target.name, target.platform, target.architecture
    )
}

/// Returns the targets that are meant, which are one at least.
pub fn meant_targets(
    resolved: &Resolved,
    wish: &TargetWish<'_>,
) -> Result<Vec<ResolvedTarget>, Failure> {
    let meant: Vec<ResolvedTarget> = resolved
        .targets
        .iter()
        .filter(|target| wish.fits(target))
        .cloned()
        .collect();
    if meant.is_empty() {
        let all: Vec<String> = resolved.targets.iter().map(shown).collect();
        let failure = Failure::new(Kind::NotFound, "the project has no such target");
        return Err(if all.is_empty() {
            failure.hint("`targets` in the Kraftfile names what to build for")
        } else {
            failure.hint(format!("it has {}", all.join(", ")))
        });
    }
    Ok(meant)
}

/// Returns the targets that are meant and were built: asks on a terminal where several are, else
/// takes them all.
pub fn built_targets(
    ctx: &Context,
    workplace: &Workplace,
    resolved: &Resolved,
    wish: &TargetWish<'_>,
) -> Result<Vec<ResolvedTarget>, Failure> {
    let meant = meant_targets(resolved, wish)?;
    let built: Vec<ResolvedTarget> = meant
        .iter()
        .filter(|target| workplace.kernel(target).is_file())
        .cloned()
        .collect();
    if built.is_empty() {
        let kernels: Vec<String> = meant.iter().map(|t| format!("`{}`", t.kernel)).collect();
        return Err(Failure::new(
            Kind::NotFound,
            format!(
                "no target has been built: there is no {}",
                kernels.join(", no ")
            ),
        )
        .hint("build the project first: `kraft build`"));
    }
    one_or_all(ctx, "Several targets were built. Which are meant?", built)
}

/// Asks on a terminal which of several targets is meant; all of them are where nobody can be asked.
pub fn one_or_all(
    ctx: &Context,
    question: &str,
    targets: Vec<ResolvedTarget>,
) -> Result<Vec<ResolvedTarget>, Failure> {
    if targets.len() == 1 {
        return Ok(targets);
    }
    let mut lines = vec!["all of them".to_owned()];
    lines.extend(targets.iter().map(shown));
    match ctx.select(question, &lines)? {
        None | Some(0) => Ok(targets),
        Some(at) => Ok(targets.into_iter().skip(at - 1).take(1).collect()),
    }
}

/// Reads what a target was built with; a target without a configuration was built with nothing
/// that is known.
pub fn built_config(workplace: &Workplace, target: &ResolvedTarget) -> Result<DotConfig, Failure> {
    let path = workplace.config(target);
    match fs::read_file(&path, LARGEST_CONFIG) {
        Ok(bytes) => Ok(DotConfig::parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DotConfig::default()),
        Err(error) => Err(error.into()),
    }
}

/// Reads the Kraftfile `given` with `-K` (`-` is stdin), else the one that `path` is, holds, or
/// has above it. Faults in the file are part of the answer, not a failure.
pub fn read(ctx: &Context, path: Option<&Path>, given: Option<&Path>) -> Result<Project, Failure> {
    read_if_any(ctx, path, given)?.ok_or_else(|| missing(path))
}

/// The failure of a directory that has no Kraftfile.
pub fn missing(path: Option<&Path>) -> Failure {
    let start = path.unwrap_or(Path::new("."));
    let message = format!("no Kraftfile in `{}` or above it", start.display());
    Failure::new(Kind::NotFound, message)
        .hint("name one with `--kraftfile FILE`, or go to the directory of your project")
}

/// Reads a Kraftfile as [`read`] does; `None` if none was named and the search finds none. A file
/// or directory that was named and does not exist is a failure.
fn read_if_any(
    ctx: &Context,
    path: Option<&Path>,
    given: Option<&Path>,
) -> Result<Option<Project>, Failure> {
    let start = path.unwrap_or(Path::new("."));
    let (name, bytes, dir, file) = match given {
        Some(file) if file == Path::new("-") => {
            let bytes = ctx.ask.stdin(limit()).map_err(|error| {
                Failure::new(Kind::Failed, format!("cannot read stdin: {error}"))
            })?;
            ("<stdin>".to_owned(), bytes, start.to_owned(), None)
        }
        Some(file) => read_file(file, path.unwrap_or_else(|| parent(file)))?,
        None if start.is_file() => read_file(start, parent(start))?,
        None => {
            let Some(file) = find(start)? else {
                return Ok(None);
            };
            read_file(&file, parent(&file))?
        }
    };
    let (parsed, text) = kraftfile::parse_bytes(&bytes, &|name| {
        let value = ctx.env.raw(name)?;
        Some(value.to_string_lossy().into_owned())
    });
    Ok(Some(Project {
        kraftfile: parsed.kraftfile,
        problems: parsed.problems,
        text: Text { name, text },
        file,
        dir_name: dir_name(&dir),
        dir,
        template: None,
    }))
}

/// Reads a project as [`read`] does; a directory without a Kraftfile, but with a Dockerfile, is one
/// that runs what the Dockerfile builds on `runtime`. `None` for a directory with neither.
pub fn read_or_lone(
    ctx: &Context,
    path: Option<&Path>,
    given: Option<&Path>,
    runtime: Option<&str>,
) -> Result<Option<Project>, Failure> {
    if let Some(project) = read_if_any(ctx, path, given)? {
        return Ok(Some(project));
    }
    let dir = path.unwrap_or(Path::new("."));
    Ok(rootfs::lone_dockerfile(ctx, dir).map(|dockerfile| {
        let name = dockerfile.file_name().unwrap_or_default().to_string_lossy();
        lone(dir, &name, runtime.unwrap_or(LONE_RUNTIME))
    }))
}

/// Makes a project of a directory that has no Kraftfile: it runs what a Dockerfile builds, which is
/// named relative to the directory, on `runtime`.
pub fn lone(dir: &Path, dockerfile: &str, runtime: &str) -> Project {
    let quoted = |text: &str| text.replace('\'', "''");
    let (runtime, dockerfile) = (quoted(runtime), quoted(dockerfile));
    let text = format!("spec: v0.6\nruntime: '{runtime}'\nrootfs: './{dockerfile}'\n");
    let (parsed, text) = kraftfile::parse_bytes(text.as_bytes(), &|_| None);
    Project {
        kraftfile: parsed.kraftfile,
        problems: parsed.problems,
        text: Text {
            name: "what stands for a Kraftfile".to_owned(),
            text,
        },
        file: None,
        dir_name: dir_name(dir),
        dir: dir.to_owned(),
        template: None,
    }
}

fn limit() -> u64 {
    // One more than is taken, so that too large a file is seen to be too large.
    LARGEST as u64 + 1
}

/// A Kraftfile as it was found: its name for people, its text, its project's directory, its path.
type Found = (String, Vec<u8>, PathBuf, Option<PathBuf>);

fn read_file(file: &Path, dir: &Path) -> Result<Found, Failure> {
    let bytes = fs::read_file(file, limit())?;
    Ok((
        file.display().to_string(),
        bytes,
        dir.to_owned(),
        Some(file.to_owned()),
    ))
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Searches a directory and every one above it.
fn find(start: &Path) -> Result<Option<PathBuf>, Failure> {
    let absolute = start.canonicalize().map_err(fs::Error::on("open", start))?;
    for dir in absolute.ancestors() {
        let names = names_in(dir)?;
        let chosen = kraftfile::choose(names.iter().map(String::as_str)).map_err(|error| {
            Failure::new(Kind::Failed, error)
                .hint("name the one you mean with `--kraftfile`, or remove the others")
        })?;
        if let Some(name) = chosen {
            // What was typed reads better than what it resolves to.
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

fn names_in(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = std::fs::read_dir(dir).map_err(fs::Error::on("read", dir))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

fn dir_name(dir: &Path) -> String {
    let absolute = dir.canonicalize();
    let dir = absolute.as_deref().unwrap_or(dir);
    dir.file_name().map_or_else(
        || "project".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
