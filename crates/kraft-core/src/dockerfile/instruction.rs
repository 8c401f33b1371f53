//! Instructions of a Dockerfile. Arguments are kept as written, with quotes and `$NAME` variables.

use super::mount::Mount;
use crate::problem::Span;

/// An instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`: like `COPY`, and archives are unpacked, URLs downloaded.
    Add(Copy),
    /// `ARG`: names with default values.
    Arg(Vec<Pair>),
    /// `CMD`.
    Cmd(Command),
    /// `COPY`.
    Copy(Copy),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`.
    Env(Vec<Pair>),
    /// `EXPOSE`: ports.
    Expose(Vec<String>),
    /// `HEALTHCHECK`: its arguments; ignored by unikernels.
    Healthcheck(String),
    /// `LABEL`.
    Label(Vec<Pair>),
    /// `MAINTAINER`: the author.
    Maintainer(String),
    /// `ONBUILD`: an instruction to execute in builds that use this image as base.
    Onbuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`: the arguments before a command in shell form.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// An image, an earlier stage, or `scratch`.
    pub image: String,
    /// Position of the image.
    pub span: Span,
    /// The value of `--platform`.
    pub platform: Option<String>,
    /// The name of the stage.
    pub name: Option<String>,
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value; `None` for an `ARG` without default value.
    pub value: Option<String>,
    /// Position in the text.
    pub span: Span,
}

/// A command in shell form or exec form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Shell form: a text for the shell.
    Shell(String),
    /// Exec form: a JSON list of arguments.
    Exec(Vec<String>),
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// `--from`: a stage, an image, or a named context.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`: independent of earlier layers.
    pub link: bool,
    /// `--parents`: keeps parent directories of the sources.
    pub parents: bool,
    /// `--exclude`: patterns of files to omit.
    pub exclude: Vec<String>,
    /// `--unpack` of `ADD`.
    pub unpack: Option<bool>,
    /// `--checksum` of `ADD`.
    pub checksum: Option<String>,
    /// The sources.
    pub sources: Vec<Source>,
    /// The destination path.
    pub destination: String,
}

/// A source of `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path, a pattern, or a URL.
    Path {
        /// As written.
        word: String,
        /// Position in the text.
        span: Span,
    },
    /// A here-document, whose content becomes a file.
    Document(Document),
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its delimiter, also the name of the file.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether variables in it are expanded: only if its delimiter is not quoted.
    pub expands: bool,
    /// The file descriptor on which a command receives it; 0 if none was specified.
    pub descriptor: u32,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: Command,
    /// Here-documents of the command.
    pub documents: Vec<Document>,
    /// Whether the command consists only of the first here-document.
    pub is_document: bool,
    /// `--mount`.
    pub mounts: Vec<Mount>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--security`.
    pub security: Option<String>,
}
