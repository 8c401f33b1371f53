//! Errors of builds from Dockerfiles and images.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kraft_core::problem::{Problem, Text};
use kraft_core::reference::{Reference, ReferenceError};
use kraft_oci::{image, layer, pull, store};
use kraft_sys::fs;
use kraft_sys::tool::ToolError;

use super::builders::Attempted;
use super::options::OptionError;
use crate::context::RuntimeError;
use crate::epoch;
use crate::{images, network};

/// Error of a build from a Dockerfile or an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option of the build has an invalid value.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The name of an image is invalid.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The configured address of a BuildKit is invalid.
    #[error(transparent)]
    BuildkitAddress(#[from] kraft_buildkit::BadAddress),
    /// `SOURCE_DATE_EPOCH` is invalid.
    #[error(transparent)]
    Epoch(#[from] epoch::Error),
    /// No Dockerfile is built for this architecture.
    #[error("cannot build a Dockerfile for the architecture `{0}`: expected x86_64, arm64 or arm")]
    Architecture(String),
    /// The Dockerfile is not UTF-8.
    #[error("cannot read `{path}`: it is not UTF-8 text", path = path.display())]
    NotText {
        /// The Dockerfile.
        path: PathBuf,
    },
    /// The Dockerfile or its ignore file has errors.
    #[error("cannot build `{}`: {}", text.name, sentences(problems))]
    Invalid {
        /// The file.
        text: Text,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// An instruction failed.
    #[error("cannot build `{}`: {}", text.name, problem.message)]
    Step {
        /// The Dockerfile.
        text: Text,
        /// What failed, and where.
        problem: Box<Problem>,
        /// The last lines that its command printed.
        output: Vec<String>,
    },
    /// The build failed, and the builder does not report at which instruction.
    #[error("cannot build `{file}` with {builder}:{}", after_colon(message))]
    Build {
        /// The Dockerfile, as it is shown.
        file: String,
        /// The builder, as it is called in a sentence.
        builder: String,
        /// What the builder printed.
        message: String,
    },
    /// The build took longer than `--build-timeout`.
    #[error("building `{file}` took longer than {limit:?}, and was stopped")]
    Timeout {
        /// The Dockerfile, as it is shown.
        file: String,
        /// The timeout.
        limit: Duration,
    },
    /// No builder can build it.
    #[error("no builder can build `{file}`{}", list(attempts))]
    NoBuilder {
        /// The Dockerfile, as it is shown.
        file: String,
        /// The builders in the order in which they were tried.
        attempts: Vec<Attempted>,
    },
    /// The builder that the user selected failed for a reason of its own.
    #[error(transparent)]
    Selected(Box<Error>),
    /// The connection to a BuildKit failed.
    #[error(transparent)]
    Daemon(#[from] kraft_buildkit::Error),
    /// A builder's program cannot be started.
    #[error("cannot start `{program}`")]
    Start {
        /// Its name.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A builder's program cannot be waited for.
    #[error("cannot wait for `{program}`")]
    Wait {
        /// Its name.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A builder's program failed to describe the image that it built.
    #[error("cannot inspect the built image")]
    Inspect(#[source] ToolError),
    /// The configuration of the built image is invalid.
    #[error("cannot read the configuration of the image that {builder} built")]
    BuiltConfig {
        /// The builder, as it is called in a sentence.
        builder: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The thread that writes the archive ended without a result.
    #[error("the archive of `{file}` was not written")]
    NoArchive {
        /// The Dockerfile, as it is shown.
        file: String,
    },
    /// An image has no manifest for Linux on an architecture.
    #[error("the image `{name}` has no manifest for linux/{arch}")]
    NoManifest {
        /// The image.
        name: Reference,
        /// The architecture, as OCI names it.
        arch: String,
    },
    /// The configuration of an image is invalid.
    #[error("cannot read the configuration of the image `{name}`")]
    ImageConfig {
        /// The image.
        name: Reference,
        /// What is wrong with it.
        source: image::BadDocument,
    },
    /// The store of images failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A layer of an image cannot be opened.
    #[error(transparent)]
    Layer(#[from] layer::LayerError),
    /// An image cannot be pulled.
    #[error(transparent)]
    Pull(#[from] pull::PullError),
    /// The archive cannot be written, or the tar of the builder is invalid.
    #[error(transparent)]
    Archive(#[from] kraft_rootfs::Error),
    /// A file of the host cannot be used.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The record of an archive cannot be written.
    #[error("cannot record the archive")]
    Record(#[source] serde_json::Error),
    /// The async runtime cannot be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The client of registries cannot be created.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The image store cannot be opened, or the name of an image is ambiguous.
    #[error(transparent)]
    Images(#[from] images::Error),
}

fn sentences(problems: &[Problem]) -> String {
    let messages: Vec<&str> = problems.iter().map(|it| it.message.as_str()).collect();
    messages.join("; ")
}

/// Returns a message on the same line, or several lines below it.
fn after_colon(message: &str) -> String {
    let separator = if message.contains('\n') { "\n" } else { " " };
    format!("{separator}{message}")
}

/// Returns a line for each builder.
fn list(attempts: &[Attempted]) -> String {
    let lines = attempts
        .iter()
        .map(|it| format!("\n  {}: {}", it.name, it.reason));
    lines.collect()
}
