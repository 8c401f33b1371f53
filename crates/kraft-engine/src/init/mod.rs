//! Creates a project in a directory: finds out what is there, and writes the files that make a
//! unikernel of it. Files that exist stay as they are.
//!
//! ```text
//! directory ─ look ─► Found ─ decide ─► Type ─ plan ─► Planned ─ write ─► InitOutput
//! ```

mod dockerfile;
mod languages;
mod samples;
mod sources;
mod text;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kraft_build::sources::{Error as FetchError, Origin, Put, Wanted};
use kraft_core::arch::Arch;
use kraft_core::component::Kind;
use kraft_core::compose;
use kraft_core::kernel::object::Object;
use kraft_core::kernel::{self, KernelImage};
use kraft_core::kraftfile::{self, FILE_NAMES};
use kraft_core::platform::Platform;
use kraft_core::problem::{Problem, Text};
use kraft_sys::fs;

pub use self::dockerfile::command as command_of;
use self::languages::Files;
pub use self::samples::names as samples;
use self::sources::Sources;
use crate::binary;
use crate::context::{AskError, Context};
use crate::libraries;
use crate::sources::Fetching;

/// Why a project cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A project of a Dockerfile was asked for, and there is none.
    #[error("there is no `{}`", .0.display())]
    NoDockerfile(PathBuf),
    /// A project of a program was asked for, and there is none.
    #[error("there is no program in `{}`", .0.display())]
    NoProgram(PathBuf),
    /// There are several programs, and no terminal to ask.
    #[error("there are several programs: {}", shorten(.0))]
    SeveralPrograms(Vec<String>),
    /// There are several Kraftfiles, so it is not clear which one to replace.
    #[error("`{}` has several Kraftfiles: {}", dir.display(), names.join(", "))]
    SeveralKraftfiles {
        /// The directory.
        dir: PathBuf,
        /// Their names.
        names: Vec<&'static str>,
    },
    /// There is a Kraftfile, and it must not be replaced.
    #[error("`{}` already exists", .0.display())]
    Exists(PathBuf),
    /// The directory has nothing to make a project from.
    #[error("there is nothing in `{}` that a project can be made from", .0.display())]
    Empty(PathBuf),
    /// A project of a language has no file that is run.
    #[error("cannot find what the {language} project runs: expected {expected}")]
    NoEntry {
        /// The name of the language.
        language: &'static str,
        /// What there would be.
        expected: &'static str,
    },
    /// A name cannot be that of a program.
    #[error("`{}` is not a valid name of a program", .0.escape_debug())]
    InvalidProgram(String),
    /// There is no such template.
    #[error("template `{0}` not found")]
    NoTemplate(String),
    /// A template is only copied into an empty directory.
    #[error("`{}` is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A template cannot be fetched.
    #[error("cannot fetch the template")]
    Fetch(#[source] FetchError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] crate::sources::Error),
    /// The Kraftfile would have errors, such as an invalid name.
    #[error("`{}` would have errors", text.name)]
    Invalid {
        /// The text of the Kraftfile.
        text: Text,
        /// Its errors.
        problems: Vec<Problem>,
    },
    /// A file or directory cannot be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// A question was not answered.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// The largest program that is looked at, in bytes.
const LARGEST_PROGRAM: u64 = 1 << 30;

/// The largest text that is read or added to, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;

/// The largest number of entries of a directory that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// What a project is made from. Languages get a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A Dockerfile, run by a ready kernel that runs Linux programs.
    Dockerfile,
    /// A Compose file.
    Compose,
    /// Node.js.
    Node,
    /// Python.
    Python,
    /// Go.
    Go,
    /// Rust.
    Rust,
    /// PHP.
    Php,
    /// Ruby.
    Ruby,
    /// Java, with Maven or Gradle.
    Java,
    /// Elixir.
    Elixir,
    /// Deno.
    Deno,
    /// A web site of files.
    Static,
    /// A Linux program, run by a ready kernel; or a kernel.
    Binary,
    /// C sources, built into a kernel.
    C,
}

impl Type {
    fn describe(self, found: &Found) -> String {
        match self {
            Self::Dockerfile => "the Dockerfile".to_owned(),
            Self::Compose => "the Compose file".to_owned(),
            Self::Node => "the Node.js project".to_owned(),
            Self::Python => "the Python project".to_owned(),
            Self::Go => "the Go module".to_owned(),
            Self::Rust => "the Rust package".to_owned(),
            Self::Php => "the PHP project".to_owned(),
            Self::Ruby => "the Ruby project".to_owned(),
            Self::Java => "the Java project".to_owned(),
            Self::Elixir => "the Elixir project".to_owned(),
            Self::Deno => "the Deno project".to_owned(),
            Self::Static => "the web site".to_owned(),
            Self::C if found.sources.is_empty() => "C sources".to_owned(),
            Self::C => format!("the C sources ({})", shorten(&found.sources.files)),
            Self::Binary => match found.programs.first() {
                Some(program) => format!("the program {}", program.name),
                None => "a program".to_owned(),
            },
        }
    }
}

/// Names the first few of several files.
fn shorten(files: &[String]) -> String {
    let shown: Vec<&str> = files.iter().take(3).map(String::as_str).collect();
    let more = if files.len() > 3 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// The project to create.
#[derive(Clone, Copy, Debug)]
pub struct InitRequest<'a> {
    /// The directory; created if it does not exist.
    pub dir: &'a Path,
    /// What to make the project from; found out if it is `None`.
    pub kind: Option<Type>,
    /// The name of the project; asked for if it is `None`.
    pub name: Option<&'a str>,
    /// The image that a Dockerfile or a program runs on.
    pub runtime: &'a str,
    /// The program to run, of several.
    pub program: Option<&'a str>,
    /// What to copy into the directory first: the name of a sample, or the URL of a Git repository.
    pub template: Option<&'a str>,
    /// Whether to replace a Kraftfile that exists.
    pub force: bool,
    /// Whether to write nothing.
    pub dry_run: bool,
}

/// What was found in a directory.
#[derive(Debug, Default)]
struct Found {
    dockerfile: bool,
    compose: bool,
    languages: Vec<Type>,
    sources: Sources,
    programs: Vec<Program>,
}

/// An executable file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    name: String,
    /// What kind of kernel it is, if it is one.
    kernel: Option<KernelImage>,
    /// Whether it needs an interpreter, and with it libraries of its system.
    dynamic: bool,
}

/// What was written.
#[derive(Debug, Default)]
pub struct InitOutput {
    /// The files that were created or added to.
    pub written: Vec<PathBuf>,
    /// The files that would be created, with their texts, if nothing is written.
    pub texts: Vec<(PathBuf, String)>,
    /// What the user can do next, one sentence each.
    pub next: Vec<String>,
}

/// Creates a project.
///
/// # Errors
///
/// If there is nothing to make it from, a Kraftfile exists, or a file cannot be written.
///
/// ```
/// # use std::sync::Arc;
/// # use kraft_config::{Config, Flags, env::Environment};
/// # use kraft_core::event::Silent;
/// # use kraft_engine::context::{Context, NoPrompt};
/// use kraft_engine::init::{self, InitRequest, Type};
///
/// # let config = Config::without_file(&Flags::default(), Environment::default());
/// # let ctx = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// let dir = tempfile::tempdir().unwrap();
/// let request = InitRequest {
///     dir: dir.path(),
///     kind: Some(Type::C),
///     name: Some("hello"),
///     runtime: "builtin",
///     program: None,
///     template: None,
///     force: false,
///     dry_run: false,
/// };
/// let output = init::create(&ctx, &request).unwrap();
/// assert_eq!(output.written.last().unwrap(), &dir.path().join("Kraftfile"));
/// ```
pub fn create(ctx: &Context, request: &InitRequest<'_>) -> Result<InitOutput, Error> {
    let mut request = *request;
    let mut sample: &[(&'static str, &'static str)] = &[];
    let mut copied = Vec::new();
    if let Some(template) = request.template {
        if let Some(found) = samples::find(template) {
            request.kind = Some(found.kind);
            sample = found.files;
        } else if is_url(template) {
            copied = fetch(ctx, template, &request)?;
            if FILE_NAMES
                .iter()
                .any(|name| request.dir.join(name).is_file())
            {
                let next = vec!["`kraft run` runs it".to_owned()];
                return Ok(InitOutput {
                    written: copied,
                    next,
                    ..InitOutput::default()
                });
            }
        } else {
            return Err(Error::NoTemplate(template.to_owned()));
        }
    }
    let target = kraftfile_of(&request)?;
    let found = look(request.dir)?;
    let kind = decide(ctx, &request, &found)?;
    if kind == Type::Compose {
        return Ok(InitOutput {
            written: copied,
            next: vec!["`kraft compose up` runs the services of the Compose file".to_owned()],
            ..InitOutput::default()
        });
    }
    let name = named(ctx, &request)?;
    let mut planned = match kind {
        Type::Dockerfile => of_dockerfile(&request, &name)?,
        Type::C => of_sources(&name, &found.sources),
        Type::Binary => of_program(ctx, &request, &name, &found)?,
        language => of_language(&request, &name, language, sample)?,
    };
    if kind != Type::C {
        let files = sample.iter().map(|&(name, text)| (name, text.to_owned()));
        planned.files.splice(0..0, files);
    }
    check(&planned.kraftfile, &target)?;
    if request.dry_run {
        return Ok(preview(request.dir, &target, planned));
    }
    let mut output = write(request.dir, &target, planned)?;
    output.written.splice(0..0, copied);
    Ok(output)
}

/// Returns what would be written.
fn preview(dir: &Path, target: &Path, planned: Planned) -> InitOutput {
    let files = planned.files.into_iter();
    let files = files.map(|(name, text)| (dir.join(name), text));
    let new = files.filter(|(path, _)| std::fs::symlink_metadata(path).is_err());
    InitOutput {
        written: Vec::new(),
        texts: new
            .chain([(target.to_owned(), planned.kraftfile)])
            .collect(),
        next: planned.next,
    }
}

/// Returns whether a template is the URL of a repository.
fn is_url(template: &str) -> bool {
    template.contains("://") || template.starts_with("git@")
}

/// Copies a repository into a directory, which must be empty or new; returns the directory.
fn fetch(ctx: &Context, url: &str, request: &InitRequest<'_>) -> Result<Vec<PathBuf>, Error> {
    if request.dry_run {
        return Ok(Vec::new());
    }
    let dir = request.dir;
    if let Ok(mut entries) = std::fs::read_dir(dir) {
        if entries.next().is_some() {
            return Err(Error::NotEmpty(dir.to_owned()));
        }
        // It is made by a rename.
        std::fs::remove_dir(dir).map_err(fs::Error::on("replace", dir))?;
    }
    let sources = crate::sources::open(ctx, &Fetching::default())?;
    let wanted = Wanted {
        kind: Kind::App,
        name: kraft_build::sources::name_of(url).to_owned(),
        source: Some(url.to_owned()),
        version: None,
    };
    let key = wanted.key();
    let first = |results: Vec<Result<Origin, FetchError>>| results.into_iter().next();
    let Some(origin) = first(sources.resolve(&[wanted], &*ctx.reporter)) else {
        return Ok(Vec::new());
    };
    let origin = origin.map_err(Error::Fetch)?;
    if let Origin::Pinned(pin) = &origin {
        for outcome in sources.obtain(&[(key.clone(), pin.clone())], &*ctx.reporter) {
            outcome.map_err(Error::Fetch)?;
        }
    }
    let put = sources.materialise(&key, &origin, dir);
    if put.map_err(Error::Fetch)? == Put::Foreign {
        return Err(Error::NotEmpty(dir.to_owned()));
    }
    kraft_build::sources::release(dir).map_err(Error::File)?;
    Ok(vec![dir.to_owned()])
}

/// The files to write.
struct Planned {
    kraftfile: String,
    /// Files that are created unless they exist.
    files: Vec<(&'static str, String)>,
    /// A program that is copied into the root filesystem.
    program: Option<String>,
    /// Libraries of this host that it needs, by their path in the root filesystem.
    libraries: BTreeMap<PathBuf, PathBuf>,
    /// Whether images are built, which should leave out the files of kraft.
    images: bool,
    next: Vec<String>,
}

fn of_dockerfile(request: &InitRequest<'_>, name: &str) -> Result<Planned, Error> {
    let file = request.dir.join("Dockerfile");
    let text = match fs::read_file(&file, LARGEST_TEXT) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoDockerfile(file));
        }
        Err(error) => return Err(error.into()),
    };
    let mut next = Vec::new();
    if dockerfile::has_no_command(&text) {
        next.push("set `cmd` in the Kraftfile to the program and its arguments".to_owned());
    }
    next.push("`kraft run` builds the root filesystem and boots it".to_owned());
    Ok(Planned {
        kraftfile: text::runs(name, request.runtime, "./Dockerfile", None),
        files: Vec::new(),
        program: None,
        libraries: BTreeMap::new(),
        images: true,
        next,
    })
}

/// Plans a project of a language, of which `sample` is written if it is not empty.
fn of_language(
    request: &InitRequest<'_>,
    name: &str,
    kind: Type,
    sample: &'static [(&'static str, &'static str)],
) -> Result<Planned, Error> {
    let files = Files::new(request.dir, sample);
    let recipe = languages::recipe(kind, &files, request.program)?;
    let recipe = recipe.ok_or_else(|| Error::Empty(request.dir.to_owned()))?;
    let ignored = recipe.ignored.join("\n") + "\n";
    let run = match recipe.port {
        Some(port) => format!(
            "`kraft run -p {port}:{port}` builds the Dockerfile and boots it: http://localhost:{port}"
        ),
        None => "`kraft run` builds the Dockerfile and boots it".to_owned(),
    };
    Ok(Planned {
        kraftfile: text::runs(name, request.runtime, "./Dockerfile", None),
        files: vec![
            ("Dockerfile", recipe.dockerfile),
            (".dockerignore", ignored),
        ],
        program: None,
        libraries: BTreeMap::new(),
        images: true,
        next: vec![run],
    })
}

fn of_sources(name: &str, found: &Sources) -> Planned {
    let mut files = Vec::new();
    let mut next = Vec::new();
    let mut sources = found.clone();
    if found.is_empty() && !found.makefile {
        files.push(("main.c", text::MAIN.to_owned()));
        sources.files.push("main.c".to_owned());
    }
    files.push(("Makefile.uk", text::makefile(name, &sources)));
    if !found.awkward.is_empty() {
        next.push(format!(
            "rename {}: make cannot handle such names, so they are not built",
            shorten(&found.awkward)
        ));
    }
    if found.makefile {
        next.push("the existing Makefile.uk is used as it is".to_owned());
    }
    next.push("`kraft build` builds the kernel, `kraft run` boots it".to_owned());
    Planned {
        kraftfile: text::builds(name, host_arch(), &sources),
        files,
        program: None,
        libraries: BTreeMap::new(),
        images: false,
        next,
    }
}

fn of_program(
    ctx: &Context,
    request: &InitRequest<'_>,
    name: &str,
    found: &Found,
) -> Result<Planned, Error> {
    let chosen = |name: &str| {
        let name = name.trim_start_matches("./");
        let mut programs = found.programs.iter();
        let chosen = programs.find(|program| program.name == name);
        chosen.ok_or_else(|| Error::NoProgram(request.dir.join(name)))
    };
    let program = match found.programs.as_slice() {
        _ if request.program.is_some() => chosen(request.program.unwrap_or_default())?,
        [] => {
            return Err(Error::NoProgram(request.dir.to_owned()));
        }
        [one] => one,
        several => {
            let names: Vec<String> = several.iter().map(|p| p.name.clone()).collect();
            let at = ctx.ask.select("Which program?", &names)?;
            at.and_then(|at| several.get(at))
                .ok_or(Error::SeveralPrograms(names))?
        }
    };
    if program.kernel.is_some() {
        return Ok(Planned {
            kraftfile: text::kernel(name, &program.name),
            files: Vec::new(),
            program: None,
            libraries: BTreeMap::new(),
            images: false,
            next: vec!["`kraft run` boots it".to_owned()],
        });
    }
    let mut next = Vec::new();
    let file = request.dir.join(&program.name);
    let needed = binary::of_file(&file)
        .filter(|_| program.dynamic)
        .map(|program| libraries::of_program(&file, &program))
        .unwrap_or_default();
    if !needed.missing.is_empty() {
        let missing: Vec<String> = needed.missing.into_iter().collect();
        next.push(format!(
            "put these libraries into rootfs, which {} needs and this host does not have: {}",
            program.name,
            missing.join(", ")
        ));
    }
    next.push("`kraft run` boots a kernel that runs it".to_owned());
    let command = [format!("/{}", program.name)];
    Ok(Planned {
        kraftfile: text::runs(name, request.runtime, "./rootfs", Some(&command)),
        files: Vec::new(),
        program: Some(program.name.clone()),
        libraries: needed.files,
        images: false,
        next,
    })
}

/// Returns the path of the Kraftfile to write.
fn kraftfile_of(request: &InitRequest<'_>) -> Result<PathBuf, Error> {
    let there: Vec<&str> = FILE_NAMES
        .into_iter()
        .filter(|name| std::fs::symlink_metadata(request.dir.join(name)).is_ok())
        .collect();
    match there.as_slice() {
        [] => Ok(request.dir.join("Kraftfile")),
        [one] if request.force => Ok(request.dir.join(one)),
        [_, _, ..] if request.force => Err(Error::SeveralKraftfiles {
            dir: request.dir.to_owned(),
            names: there,
        }),
        [one, ..] => Err(Error::Exists(request.dir.join(one))),
    }
}

fn look(dir: &Path) -> Result<Found, fs::Error> {
    let mut found = Found::default();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(fs::Error::on("read", dir)(error)),
    };
    found.dockerfile = dir.join("Dockerfile").is_file();
    let mut compose = compose::FILE_NAMES.iter();
    found.compose = compose.any(|name| dir.join(name).is_file());
    found.languages = languages::detect(&Files::new(dir, &[]));
    found.sources = sources::look(dir)?;
    for entry in entries.take(MOST_ENTRIES) {
        let entry = entry.map_err(fs::Error::on("read", dir))?;
        if let Ok(name) = entry.file_name().into_string()
            && let Some(program) = program(&entry.path(), name)
        {
            found.programs.push(program);
        }
    }
    found.programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Looks at a file; `None` if it is neither a program nor a kernel.
fn program(path: &Path, name: String) -> Option<Program> {
    let plain = name
        .chars()
        .all(|c| c.is_alphanumeric() || "-_.+".contains(c));
    let mut file = fs::open_file(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !plain || !metadata.is_file() || metadata.len() > LARGEST_PROGRAM {
        return None;
    }
    match kernel::identify(&mut file) {
        Ok(image) => {
            return Some(Program {
                name,
                kernel: Some(image),
                dynamic: false,
            });
        }
        Err(kernel::NotAKernel::Program) => {}
        Err(_) => return None,
    }
    let bytes = fs::read_file(path, LARGEST_PROGRAM).ok()?;
    let object = Object::parse(&bytes).ok()?;
    object.arch()?;
    Some(Program {
        name,
        kernel: None,
        dynamic: object.section(".interp").is_some(),
    })
}

/// Decides what to make the project from: what was asked for, else what is in the directory. Of
/// several, asks; without a terminal takes the first of [`candidates`].
fn decide(ctx: &Context, request: &InitRequest<'_>, found: &Found) -> Result<Type, Error> {
    if let Some(kind) = request.kind {
        return Ok(kind);
    }
    let there = candidates(found);
    match there.as_slice() {
        [] => {
            let question = "The directory is empty. What will the project be made from?";
            match ctx.ask.select(question, &["C sources".to_owned()])? {
                Some(_) => Ok(Type::C),
                None => Err(Error::Empty(request.dir.to_owned())),
            }
        }
        [one] => Ok(*one),
        [first, ..] => {
            let lines: Vec<String> = there.iter().map(|kind| kind.describe(found)).collect();
            let at = ctx.ask.select("What is the project made from?", &lines)?;
            if at.is_none() {
                ctx.info(&format!(
                    "the project is made from {}: `--type` chooses another",
                    first.describe(found)
                ));
            }
            Ok(at.and_then(|at| there.get(at)).copied().unwrap_or(*first))
        }
    }
}

/// Returns what a project can be made from, the one that says most about how it runs first.
fn candidates(found: &Found) -> Vec<Type> {
    let before = [
        (found.dockerfile, Type::Dockerfile),
        (found.compose, Type::Compose),
    ];
    let after = [
        (found.sources.makefile, Type::C),
        (!found.programs.is_empty(), Type::Binary),
        (
            !found.sources.is_empty() && !found.sources.makefile,
            Type::C,
        ),
    ];
    let languages = found.languages.iter().take(1).map(|kind| (true, *kind));
    before
        .into_iter()
        .chain(languages)
        .chain(after)
        .filter_map(|(there, kind)| there.then_some(kind))
        .collect()
}

/// Returns the name of the project: the one given, the answer of the user, or the directory's.
fn named(ctx: &Context, request: &InitRequest<'_>) -> Result<String, Error> {
    if let Some(name) = request.name {
        return Ok(name.to_owned());
    }
    let real = kraft_config::dirs::absolute(request.dir);
    let own = real.components().next_back();
    let own = match own {
        Some(std::path::Component::Normal(name)) => name.to_string_lossy().into_owned(),
        _ => "app".to_owned(),
    };
    let answer = ctx.ask.line(&format!("Name of the project [{own}]: "))?;
    Ok(answer
        .filter(|answer| !answer.trim().is_empty())
        .unwrap_or(own))
}

fn host_arch() -> Arch {
    match kraft_core::arch::HOST {
        "aarch64" => Arch::Arm64,
        _ => Arch::X86_64,
    }
}

/// Fails if the Kraftfile would have errors: a given name may be invalid.
fn check(text: &str, target: &Path) -> Result<(), Error> {
    let parsed = kraftfile::parse(text, &|_| None);
    if parsed.problems.is_empty() && parsed.kraftfile.is_some() {
        return Ok(());
    }
    let text = Text {
        name: target.display().to_string(),
        text: text.to_owned(),
    };
    Err(Error::Invalid {
        text,
        problems: parsed.problems,
    })
}

/// Writes the files, the Kraftfile last: until then the directory is not a project.
fn write(dir: &Path, target: &Path, planned: Planned) -> Result<InitOutput, Error> {
    tracing::debug!(dir = %dir.display(), "writing a project");
    fs::create_dir_all(dir, 0o755)?;
    let mut ignoring = vec![".gitignore"];
    if planned.images {
        ignoring.push(".dockerignore");
    }
    // A cloned directory may have links to any file of the user.
    let kraftfile = target.file_name().unwrap_or_default();
    for name in ignoring
        .iter()
        .map(OsStr::new)
        .chain([kraftfile, OsStr::new("rootfs")])
    {
        fs::check_inside(dir, &dir.join(name))?;
    }
    let mut written = Vec::new();
    for (name, text) in planned.files {
        let path = dir.join(name);
        if std::fs::symlink_metadata(&path).is_err() {
            fs::check_inside(dir, &path)?;
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent, 0o755)?;
            }
            fs::replace_file(&path, text.as_bytes())?;
            written.push(path);
        }
    }
    if let Some(program) = planned.program {
        let root = dir.join("rootfs");
        fs::create_dir_all(&root, 0o755)?;
        let copy = root.join(&program);
        if std::fs::symlink_metadata(&copy).is_err() {
            fs::link_or_copy(&dir.join(&program), &copy)?;
            written.push(copy);
        }
        for (inside, library) in planned.libraries {
            let copy = root.join(inside.strip_prefix("/").unwrap_or(&inside));
            fs::check_inside(dir, &copy)?;
            if std::fs::symlink_metadata(&copy).is_err() {
                fs::create_dir_all(copy.parent().unwrap_or(&root), 0o755)?;
                // Not a link: a change of the project's files must not reach the host's.
                let real = library.canonicalize();
                fs::copy(&real.map_err(fs::Error::on("open", &library))?, &copy)?;
                written.push(copy);
            }
        }
    }
    for name in ignoring {
        let changed = ignore(&dir.join(name))?;
        written.extend(changed.filter(|path| !written.contains(path)));
    }
    fs::replace_file(target, planned.kraftfile.as_bytes())?;
    written.push(target.to_owned());
    for file in &written {
        tracing::debug!(file = %file.display(), "wrote a file of the project");
    }
    Ok(InitOutput {
        written,
        texts: Vec::new(),
        next: planned.next,
    })
}

/// Adds the files of kraft to an ignore file; returns its path if it was changed.
fn ignore(path: &Path) -> Result<Option<PathBuf>, Error> {
    let before = match fs::read_file(path, LARGEST_TEXT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let Some(after) = text::ignoring(&before) else {
        return Ok(None);
    };
    fs::replace_file(path, &after)?;
    Ok(Some(path.to_owned()))
}

/// Returns a target as it is written in a Kraftfile.
fn target(arch: Arch) -> String {
    format!("{}/{arch}", Platform::Qemu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Script};

    fn request(dir: &Path) -> InitRequest<'_> {
        InitRequest {
            dir,
            kind: None,
            name: None,
            runtime: "base",
            program: None,
            template: None,
            force: false,
            dry_run: false,
        }
    }

    fn program(name: &str) -> Program {
        Program {
            name: name.to_owned(),
            kernel: None,
            dynamic: false,
        }
    }

    #[test]
    fn the_type_is_the_one_given_the_only_one_or_the_users_choice() {
        let dir = tempfile::tempdir().unwrap();
        let sources = |file: &str| Sources {
            files: vec![file.to_owned()],
            ..Sources::default()
        };
        let makefile = Sources {
            makefile: true,
            ..Sources::default()
        };
        // Each row: Dockerfile, sources, programs, --type, answers of the user, result.
        for (dockerfile, sources, programs, kind, answers, expected) in [
            (
                true,
                Sources::default(),
                vec![],
                None,
                &[][..],
                Some(Type::Dockerfile),
            ),
            (false, sources("a.c"), vec![], None, &[], Some(Type::C)),
            (false, makefile, vec![], None, &[], Some(Type::C)),
            (
                false,
                Sources::default(),
                vec![program("p")],
                None,
                &[],
                Some(Type::Binary),
            ),
            // Of several: the first one without a terminal, else the one that is chosen.
            (
                true,
                sources("a.c"),
                vec![program("p")],
                None,
                &[],
                Some(Type::Dockerfile),
            ),
            (
                false,
                sources("a.c"),
                vec![program("p")],
                None,
                &[],
                Some(Type::Binary),
            ),
            (
                true,
                sources("a.c"),
                vec![program("p")],
                None,
                &[1],
                Some(Type::Binary),
            ),
            (
                false,
                sources("a.c"),
                vec![program("p")],
                None,
                &[1],
                Some(Type::C),
            ),
            // What is given wins, and asks nothing.
            (
                true,
                sources("a.c"),
                vec![],
                Some(Type::C),
                &[],
                Some(Type::C),
            ),
            (
                false,
                Sources::default(),
                vec![],
                Some(Type::Binary),
                &[],
                Some(Type::Binary),
            ),
            // Nothing there: an error without a terminal.
            (false, Sources::default(), vec![], None, &[], None),
            (false, Sources::default(), vec![], None, &[0], Some(Type::C)),
        ] {
            let ctx = testing::context(dir.path(), &Script::choosing(answers));
            let found = Found {
                dockerfile,
                sources,
                programs,
                ..Found::default()
            };
            let request = InitRequest {
                kind,
                ..request(dir.path())
            };
            let decided = decide(&ctx, &request, &found);
            match (decided, expected) {
                (Err(Error::Empty(dir)), None) => assert_eq!(dir, request.dir),
                (decided, expected) => assert_eq!(decided.ok(), expected, "{found:?} {answers:?}"),
            }
        }
    }

    #[test]
    fn a_kraftfile_is_replaced_only_by_force_and_only_if_it_is_the_only_one() {
        for (there, force, expected) in [
            (&[][..], false, Ok("Kraftfile")),
            (&[], true, Ok("Kraftfile")),
            (&["kraft.yaml"], true, Ok("kraft.yaml")),
            (&["kraft.yaml"], false, Err("kraft.yaml` already exists")),
            (
                &["Kraftfile", "kraft.yml"],
                false,
                Err("kraft.yml` already exists"),
            ),
            (
                &["Kraftfile", "kraft.yml"],
                true,
                Err("several Kraftfiles: kraft.yml, Kraftfile"),
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for name in there {
                fs::replace_file(&dir.path().join(name), b"").unwrap();
            }
            let request = InitRequest {
                force,
                ..request(dir.path())
            };
            match (kraftfile_of(&request), expected) {
                (Ok(found), Ok(name)) => assert_eq!(found, dir.path().join(name)),
                (Err(error), Err(part)) => {
                    let text = error.to_string();
                    assert!(text.contains(part), "{text}");
                }
                (found, expected) => panic!("{there:?}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn nothing_is_written_if_the_name_is_invalid_or_the_dockerfile_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("new");
        let ctx = testing::context(dir.path(), &Script::silent());
        let invalid = InitRequest {
            kind: Some(Type::C),
            name: Some("a/b\n"),
            ..request(&below)
        };
        let error = create(&ctx, &invalid).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        let missing = InitRequest {
            kind: Some(Type::Dockerfile),
            ..request(&below)
        };
        let error = create(&ctx, &missing).unwrap_err();
        assert!(matches!(error, Error::NoDockerfile(_)), "{error}");
        assert!(!below.exists());
    }
}
