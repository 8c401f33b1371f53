//! What an instruction says. Words are as they were typed: with quotes, and with `$NAME`s.

use super::mount::Mount;
use crate::problem::Span;

/// An instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`: like `COPY`, and archives are unpacked, addresses fetched.
    Add(Copy),
    /// `ARG`: names with their defaults.
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
    /// `HEALTHCHECK`: its words; a unikernel has none.
    Healthcheck(String),
    /// `LABEL`.
    Label(Vec<Pair>),
    /// `MAINTAINER`: who.
    Maintainer(String),
    /// `ONBUILD`: the text of an instruction for those who build on this.
    Onbuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`: the words before a command that is no list.
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
    /// Where the image stands.
    pub span: Span,
    /// What the image is to be for.
    pub platform: Option<String>,
    /// The name of the stage.
    pub name: Option<String>,
}

/// A name and what it is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value; `None` for an `ARG` without default.
    pub value: Option<String>,
    /// Where they stand.
    pub span: Span,
}

/// A command, in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A text for the shell.
    Shell(String),
    /// A JSON list of words.
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
    /// `--link`: what was there before does not matter.
    pub link: bool,
    /// `--parents`: directories of the sources are kept.
    pub parents: bool,
    /// `--exclude`: patterns of what is left out.
    pub exclude: Vec<String>,
    /// `--unpack` of `ADD`.
    pub unpack: Option<bool>,
    /// `--checksum` of `ADD`.
    pub checksum: Option<String>,
    /// What is copied.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: String,
}

/// Something that is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path, or a pattern of paths, or an address.
    Path {
        /// As it was typed.
        word: String,
        /// Where it stands.
        span: Span,
    },
    /// A here-document, which becomes a file.
    Document(Document),
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The word that ends it: also the name of the file it becomes.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether variables in it are expanded: not if its word is quoted.
    pub expands: bool,
    /// The descriptor it is given to a command on; 0 if none was typed.
    pub descriptor: u32,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub command: Command,
    /// Here-documents of the command.
    pub documents: Vec<Document>,
    /// Whether the command is nothing but the first here-document.
    pub is_document: bool,
    /// `--mount`.
    pub mounts: Vec<Mount>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--security`.
    pub security: Option<String>,
}
