//! Starts a project in a directory: looks at what lies there and writes what it needs to become a
//! unikernel. What is there already stays as it is.

mod dockerfile;
mod sources;
mod text;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kraft_core::arch::Arch;
use kraft_core::kernel::object::Object;
use kraft_core::kernel::{self, KernelImage};
use kraft_core::kraftfile::{self, FILE_NAMES};
use kraft_core::platform::Platform;
use kraft_sys::fs;

pub use self::dockerfile::command as command_of;
use self::sources::Sources;
use crate::context::Context;
use crate::failure::{Failure, Kind, Text};

/// No program is looked into beyond so many bytes.
const LARGEST_PROGRAM: u64 = 1 << 30;

/// A text that is read or added to is not larger than this, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;

/// No directory is looked through beyond so many entries.
const MOST_ENTRIES: usize = 10_000;

/// What a project is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A Dockerfile, run by a ready kernel that runs Linux programs
    Dockerfile,
    /// C sources, built into a kernel
    C,
    /// A Linux program, run by a ready kernel; or a kernel
    Binary,
}

impl Type {
    fn describe(self, found: &Found) -> String {
        match self {
            Self::Dockerfile => "the Dockerfile".to_owned(),
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

/// What the user wishes.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The directory; made if it is not there.
    pub dir: &'a Path,
    /// What to make the project from.
    pub kind: Option<Type>,
    /// The name of the project.
    pub name: Option<&'a str>,
    /// The image that a Dockerfile or a program runs on.
    pub runtime: &'a str,
    /// Whether a Kraftfile that is there may be replaced.
    pub force: bool,
}

/// What was found in a directory.
#[derive(Debug, Default)]
struct Found {
    dockerfile: bool,
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

/// What was done.
#[derive(Debug)]
pub struct Started {
    /// Files that were made or added to.
    pub written: Vec<PathBuf>,
    /// What the user can do next.
    pub next: Vec<String>,
}

/// Starts a project.
pub fn start(ctx: &Context, wish: &Wish<'_>) -> Result<Started, Failure> {
    let target = kraftfile_of(wish)?;
    let found = look(wish.dir)?;
    let kind = decide(ctx, wish, &found)?;
    let name = named(ctx, wish)?;
    let planned = match kind {
        Type::Dockerfile => of_dockerfile(wish, &name)?,
        Type::C => of_sources(&name, &found.sources),
        Type::Binary => of_program(ctx, wish, &name, &found)?,
    };
    check(&planned.kraftfile, &target)?;
    write(wish.dir, &target, planned)
}

/// What is to be written.
struct Planned {
    kraftfile: String,
    /// Files that are made unless they are there.
    files: Vec<(&'static str, String)>,
    /// A file that is copied into the project's root filesystem.
    program: Option<String>,
    /// Whether images are built, and should leave out what kraft keeps.
    images: bool,
    next: Vec<String>,
}

fn of_dockerfile(wish: &Wish<'_>, name: &str) -> Result<Planned, Failure> {
    let file = wish.dir.join("Dockerfile");
    let text = match fs::read_file(&file, LARGEST_TEXT) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(
                Failure::new(Kind::NotFound, format!("there is no `{}`", file.display()))
                    .hint("write one first, or start from C sources: `kraft init --type c`"),
            );
        }
        Err(error) => return Err(error.into()),
    };
    let command = dockerfile::command(&text);
    let mut next = Vec::new();
    if command.is_none() {
        next.push("say in the Kraftfile what to run: `cmd`".to_owned());
    }
    next.push("`kraft run` builds the root filesystem and boots it".to_owned());
    Ok(Planned {
        kraftfile: text::runs(name, wish.runtime, "./Dockerfile", command.as_deref()),
        files: Vec::new(),
        program: None,
        images: true,
        next,
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
            "rename {}: make takes no such names, so they are not built",
            shorten(&found.awkward)
        ));
    }
    if found.makefile {
        next.push("the Makefile.uk that was there is used as it is".to_owned());
    }
    next.push("`kraft build` builds the kernel, `kraft run` boots it".to_owned());
    Planned {
        kraftfile: text::builds(name, host_arch()),
        files,
        program: None,
        images: false,
        next,
    }
}

fn of_program(
    ctx: &Context,
    wish: &Wish<'_>,
    name: &str,
    found: &Found,
) -> Result<Planned, Failure> {
    let program = match found.programs.as_slice() {
        [] => {
            return Err(Failure::new(
                Kind::NotFound,
                format!("there is no program in `{}`", wish.dir.display()),
            )
            .hint("put an ELF file for x86_64 or arm64 there"));
        }
        [one] => one,
        several => {
            let names: Vec<String> = several.iter().map(|p| p.name.clone()).collect();
            let Some(at) = ctx.select("Which program?", &names)? else {
                return Err(Failure::usage(format!(
                    "there are several programs: {}",
                    shorten(&names)
                ))
                .hint("start in a directory with one of them"));
            };
            several
                .get(at)
                .ok_or_else(|| Failure::new(Kind::Failed, "nothing was chosen"))?
        }
    };
    if program.kernel.is_some() {
        return Ok(Planned {
            kraftfile: text::kernel(name, &program.name),
            files: Vec::new(),
            program: None,
            images: false,
            next: vec!["`kraft run` boots it".to_owned()],
        });
    }
    let mut next = Vec::new();
    if program.dynamic {
        next.push(format!(
            "put the libraries that {} needs into rootfs, too (`ldd {}` names them)",
            program.name, program.name
        ));
    }
    next.push("`kraft run` boots a kernel that runs it".to_owned());
    let command = [format!("/{}", program.name)];
    Ok(Planned {
        kraftfile: text::runs(name, wish.runtime, "./rootfs", Some(&command)),
        files: Vec::new(),
        program: Some(program.name.clone()),
        images: false,
        next,
    })
}

/// Returns the Kraftfile that is to be written.
fn kraftfile_of(wish: &Wish<'_>) -> Result<PathBuf, Failure> {
    let there: Vec<&str> = FILE_NAMES
        .into_iter()
        .filter(|name| std::fs::symlink_metadata(wish.dir.join(name)).is_ok())
        .collect();
    match there.as_slice() {
        [] => Ok(wish.dir.join("Kraftfile")),
        [one] if wish.force => Ok(wish.dir.join(one)),
        [_, _, ..] if wish.force => Err(Failure::usage(format!(
            "`{}` has several Kraftfiles: {}",
            wish.dir.display(),
            there.join(", ")
        ))
        .hint("remove all but one")),
        [one, ..] => Err(Failure::new(
            Kind::Failed,
            format!("`{}` is there already", wish.dir.join(one).display()),
        )
        .hint("`--force` writes it anew; `kraft check` tells what is wrong with it")),
    }
}

fn look(dir: &Path) -> Result<Found, Failure> {
    let mut found = Found::default();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(fs::Error::on("read", dir)(error).into()),
    };
    found.dockerfile = dir.join("Dockerfile").is_file();
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

/// Looks at a file; `None` unless it is a program or a kernel.
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

/// Decides what to make the project from: what was asked for, else what there is. Where there is
/// more than one, asks; where nobody can be asked, takes what says most about how it is to run.
fn decide(ctx: &Context, wish: &Wish<'_>, found: &Found) -> Result<Type, Failure> {
    if let Some(kind) = wish.kind {
        return Ok(kind);
    }
    let there: Vec<Type> = [
        (found.dockerfile, Type::Dockerfile),
        (!found.sources.is_empty() || found.sources.makefile, Type::C),
        (!found.programs.is_empty(), Type::Binary),
    ]
    .into_iter()
    .filter_map(|(there, kind)| there.then_some(kind))
    .collect();
    match there.as_slice() {
        [] => match ctx.select(
            "There is nothing here yet. What will it be?",
            &["C sources".to_owned()],
        )? {
            Some(_) => Ok(Type::C),
            None => Err(Failure::new(
                Kind::NotFound,
                format!(
                    "there is neither a Dockerfile nor a C source nor a program in `{}`",
                    wish.dir.display()
                ),
            )
            .hint("`kraft init --type c` writes a first program")),
        },
        [one] => Ok(*one),
        [first, ..] => {
            let lines: Vec<String> = there.iter().map(|kind| kind.describe(found)).collect();
            let at = ctx.select("What is the project made from?", &lines)?;
            if at.is_none() {
                ctx.info(&format!(
                    "starting from {}; `--type` takes another",
                    first.describe(found)
                ));
            }
            Ok(at.and_then(|at| there.get(at)).copied().unwrap_or(*first))
        }
    }
}

/// Returns the name of the project: what was asked for, what is answered, or the directory's.
fn named(ctx: &Context, wish: &Wish<'_>) -> Result<String, Failure> {
    if let Some(name) = wish.name {
        return Ok(name.to_owned());
    }
    let real = kraft_config::dirs::absolute(wish.dir);
    let own = real.components().next_back();
    let own = match own {
        Some(std::path::Component::Normal(name)) => name.to_string_lossy().into_owned(),
        _ => "app".to_owned(),
    };
    let answer = ctx.line(&format!("Name of the project [{own}]: "))?;
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

/// Insists that what is to be written is a sound Kraftfile: a name may be one that it cannot have.
fn check(text: &str, target: &Path) -> Result<(), Failure> {
    let parsed = kraftfile::parse(text, &|_| None);
    if parsed.problems.is_empty() && parsed.kraftfile.is_some() {
        return Ok(());
    }
    let text = Text {
        name: target.display().to_string(),
        text: text.to_owned(),
    };
    Err(Failure::problems_in(Kind::Usage, text, parsed.problems).hint("nothing was written"))
}

/// Writes everything, the Kraftfile last: only then it is a project.
fn write(dir: &Path, target: &Path, planned: Planned) -> Result<Started, Failure> {
    fs::create_dir_all(dir, 0o755)?;
    let mut ignoring = vec![".gitignore"];
    if planned.images {
        ignoring.push(".dockerignore");
    }
    // The directory may have been cloned: a link in it may lead to any file of the user.
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
    }
    for name in ignoring {
        written.extend(ignore(&dir.join(name))?);
    }
    fs::replace_file(target, planned.kraftfile.as_bytes())?;
    written.push(target.to_owned());
    Ok(Started {
        written,
        next: planned.next,
    })
}

/// Adds what kraft makes to a file of what is to be ignored; returns the file if that was needed.
fn ignore(path: &Path) -> Result<Option<PathBuf>, Failure> {
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

/// What a target is spelled as in a Kraftfile.
fn target(arch: Arch) -> String {
    format!("{}/{arch}", Platform::Qemu)
}
