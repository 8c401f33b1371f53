//! What is to be built: a Dockerfile with everything that was typed about it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kraft_buildkit::{Cache, Secret};
use kraft_core::dockerfile::patterns::Patterns;
use kraft_core::dockerfile::{self, Dockerfile, expand};
use kraft_core::problem::Problem;
use kraft_sys::fs;

use super::builders::Builder;
use crate::context::Context;
use crate::failure::{Failure, Kind, Text};

/// A Dockerfile and an ignore file are not longer than this, in bytes.
const LARGEST_TEXT: u64 = 4 << 20;
/// A secret is not longer than this (BuildKit, `session/secrets`).
const LARGEST_SECRET: u64 = 500 * 1024;
/// What of a project no build copies: our own files.
const OURS: &str = ".unikraft";

/// What was typed about builds of Dockerfiles.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// `NAME=VALUE`, or `NAME` for the variable of this environment.
    pub arguments: Vec<String>,
    /// The stage.
    pub target: Option<String>,
    /// `id=…,src=…|env=…`.
    pub secrets: Vec<String>,
    /// `default|ID[=SOCKET]`.
    pub agents: Vec<String>,
    /// Caches that are read and written: `type=…,…`.
    pub cache_from: Vec<String>,
    /// Caches that are written.
    pub cache_to: Vec<String>,
    /// The network of commands.
    pub network: Option<String>,
    /// How long the build may take.
    pub timeout: Option<Duration>,
    /// Whether every step runs again.
    pub no_cache: bool,
    /// Whether it is built even if nothing changed.
    pub fresh: bool,
    /// Who builds.
    pub builder: Builder,
}

/// A build.
#[derive(Debug)]
pub struct Job<'a> {
    /// The Dockerfile.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// What it says, or what is wrong with it.
    pub read: Result<Dockerfile, Vec<Problem>>,
    /// The directory that it copies from.
    pub context: PathBuf,
    /// What of it is left out.
    pub ignore: Patterns,
    /// The architecture, as OCI names it: `amd64`.
    pub arch: &'static str,
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
    /// What was typed.
    pub wish: &'a Wish,
    /// When the build must have ended.
    pub deadline: Option<Instant>,
}

impl<'a> Job<'a> {
    /// Reads everything that a build needs to know. `arch` is as KraftKit names it.
    pub fn new(
        ctx: &Context,
        file: &Path,
        context: &Path,
        arch: &str,
        wish: &'a Wish,
    ) -> Result<Self, Failure> {
        let bytes = fs::read_file(file, LARGEST_TEXT)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::new(
                Kind::Failed,
                format!("`{}` is not UTF-8 text", file.display()),
            )
        })?;
        let absolute = |path: &Path| path.canonicalize().map_err(fs::Error::on("open", path));
        let file = absolute(file)?;
        let context = absolute(context)?;
        Ok(Self {
            read: dockerfile::parse(&text),
            text,
            ignore: ignore(&file, &context)?,
            file,
            context,
            arch: oci_arch(arch)?,
            arguments: arguments(ctx, &wish.arguments)?,
            deadline: wish
                .timeout
                .and_then(|time| Instant::now().checked_add(time)),
            wish,
        })
    }

    /// Returns that the build took too long.
    pub(super) fn out_of_time(&self) -> Failure {
        let name = self.shown_text().name;
        let time = self.wish.timeout.unwrap_or_default();
        Failure::new(
            Kind::Build,
            format!("building `{name}` took longer than {time:?}, and was stopped"),
        )
        .hint("give it more time with `--build-timeout`")
    }

    /// Returns why a build failed: if its time is up, it was stopped.
    pub(super) fn in_time(&self, failure: Failure) -> Failure {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => self.out_of_time(),
            _ => failure,
        }
    }

    /// Returns the Dockerfile as a text that problems point into.
    pub fn shown_text(&self) -> Text {
        let here = kraft_config::dirs::absolute(Path::new("."));
        let name = self.file.strip_prefix(here).unwrap_or(&self.file);
        Text {
            name: name.display().to_string(),
            text: self.text.clone(),
        }
    }

    /// Returns the images that are built on, as far as arguments tell.
    pub fn bases(&self) -> Vec<String> {
        let mut names = Vec::new();
        let Ok(dockerfile) = &self.read else {
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

    /// Expands a word in front of a stage, as far as arguments tell.
    pub(super) fn expanded(&self, dockerfile: &Dockerfile, word: &str) -> Option<String> {
        let value = |name: &str| {
            let default = dockerfile.arguments.iter().find(|pair| pair.name == name);
            let default = default.and_then(|pair| pair.value.clone());
            self.arguments.get(name).cloned().or(default)
        };
        let expanded = expand::word(word, dockerfile.escape, &value).ok();
        // What nobody knows is not nothing.
        expanded.filter(|it| !it.is_empty())
    }

    /// Reads the secrets.
    pub fn secrets(&self, ctx: &Context) -> Result<Vec<Secret>, Failure> {
        self.wish
            .secrets
            .iter()
            .map(|typed| secret(ctx, typed))
            .collect()
    }

    /// Finds the sockets of ssh agents; that of this session is always offered as `default`.
    pub fn agents(&self, ctx: &Context) -> Result<HashMap<String, PathBuf>, Failure> {
        let env = &ctx.env;
        let own = env
            .path("KRAFTKIT_BUILDKIT_SSH_AGENT")
            .or_else(|| env.path("SSH_AUTH_SOCK"));
        let mut agents = HashMap::new();
        if let Some(own) = &own {
            agents.insert("default".to_owned(), own.clone());
        }
        for typed in &self.wish.agents {
            let (id, socket) = match typed.split_once('=') {
                Some((id, socket)) => (id, Some(PathBuf::from(socket))),
                None => (typed.as_str(), own.clone()),
            };
            let socket = socket.ok_or_else(|| {
                Failure::usage(format!("`--build-ssh {typed}`: no ssh agent is running")).hint(
                    "start one (`eval $(ssh-agent)`), or name its socket: `--build-ssh ID=SOCKET`",
                )
            })?;
            agents.insert(id.to_owned(), socket);
        }
        Ok(agents)
    }
}

#[cfg(test)]
impl<'a> Job<'a> {
    /// A build of a text in no directory.
    pub(super) fn of_text(text: &str, wish: &'a Wish) -> Self {
        Self {
            file: PathBuf::from("Dockerfile"),
            text: text.to_owned(),
            read: dockerfile::parse(text),
            context: PathBuf::from("."),
            ignore: Patterns::default(),
            arch: "amd64",
            arguments: BTreeMap::new(),
            wish,
            deadline: None,
        }
    }
}

/// Returns how OCI names an architecture.
pub(super) fn oci_arch(arch: &str) -> Result<&'static str, Failure> {
    match arch {
        "x86_64" | "amd64" => Ok("amd64"),
        "arm64" | "aarch64" => Ok("arm64"),
        "arm" => Ok("arm"),
        other => Err(Failure::usage(format!(
            "no Dockerfile can be built for the architecture `{other}`"
        ))),
    }
}

fn ignore(file: &Path, context: &Path) -> Result<Patterns, Failure> {
    let path = kraft_rootfs::dockerfile::ignore_file(file, context);
    let mut lines = match fs::read_file(&path, LARGEST_TEXT) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    lines.push('\n');
    lines.push_str(OURS);
    Patterns::of_ignore_file(&lines).map_err(|problem| {
        let text = Text {
            name: path.display().to_string(),
            text: lines.clone(),
        };
        Failure::problems_in(Kind::Build, text, vec![*problem])
    })
}

/// What a daemon is told to leave out beyond its own reading of the ignore file.
pub(super) fn ours() -> Vec<String> {
    vec![OURS.to_owned()]
}

fn arguments(ctx: &Context, typed: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut arguments = BTreeMap::new();
    for word in typed {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), ctx.env.text(word)),
        };
        if name.is_empty() {
            return Err(Failure::usage(format!(
                "`--build-arg {word}`: the name is missing"
            )));
        }
        match value {
            Some(value) => drop(arguments.insert(name.to_owned(), value)),
            None => ctx.warn(&format!(
                "`--build-arg {name}`: the environment has no such variable, so it is left out"
            )),
        }
    }
    Ok(arguments)
}

/// Reads `id=ID[,src=FILE|,env=VARIABLE][,type=file|env]`.
fn secret(ctx: &Context, typed: &str) -> Result<Secret, Failure> {
    let wrong = |what: String| Failure::usage(format!("`--build-secret {typed}`: {what}"));
    let (mut id, mut source, mut variable, mut kind) = (None, None, None, None);
    for field in typed.split(',') {
        let Some((name, value)) = field.split_once('=') else {
            return Err(wrong(format!("`{field}` is not KEY=VALUE")));
        };
        match name.trim().to_lowercase().as_str() {
            "id" => id = Some(value),
            "src" | "source" => source = Some(value),
            "env" => variable = Some(value),
            "type" if value == "file" || value == "env" => kind = Some(value),
            "type" => {
                return Err(wrong(format!(
                    "`{value}` is no type of secret: it is `file` or `env`"
                )));
            }
            other => return Err(wrong(format!("unknown key `{other}`"))),
        }
    }
    let Some(id) = id.or(source.and_then(|path| path.rsplit('/').next())) else {
        return Err(wrong("it has no `id`".to_owned()));
    };
    if kind == Some("env") && variable.is_none() {
        variable = source.take();
    }
    let bytes = match (source, variable) {
        (Some(path), _) => fs::read_file(Path::new(path), LARGEST_SECRET)?,
        (None, variable) => {
            let name = variable.unwrap_or(id);
            let value = ctx.env.raw(name);
            let Some(value) = value else {
                return Err(wrong(format!("the environment has no variable `{name}`"))
                    .hint("name a file with `src=FILE`"));
            };
            value.as_encoded_bytes().to_vec()
        }
    };
    Ok(Secret {
        id: id.to_owned(),
        bytes,
    })
}

/// Reads `type=KIND[,KEY=VALUE…]`, or the name of an image.
pub(super) fn cache(typed: &str) -> Result<Cache, Failure> {
    let mut attributes = BTreeMap::new();
    let mut kind = None;
    if typed.contains('=') {
        for field in typed.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value.to_owned()),
                Some((name, value)) => drop(attributes.insert(name.to_owned(), value.to_owned())),
                None => {
                    return Err(Failure::usage(format!(
                        "`{typed}` is no cache: `{field}` is not KEY=VALUE"
                    )));
                }
            }
        }
    } else {
        kind = Some("registry".to_owned());
        attributes.insert("ref".to_owned(), typed.to_owned());
    }
    match kind.as_deref() {
        Some("local") => Err(Failure::usage(
            "a cache of `type=local` is not supported: use `type=registry,ref=IMAGE`",
        )),
        Some(kind) => Ok(Cache {
            kind: kind.to_owned(),
            attributes,
        }),
        None => Err(Failure::usage(format!(
            "`{typed}` is no cache: it has no `type`"
        ))),
    }
}
