//! Why a project cannot be built.

use std::io;
use std::path::PathBuf;

use kraft_build::make::{self, Diagnostic};
use kraft_build::tools::Missing;
use kraft_core::problem::{Problem, Span, Text};
use kraft_core::reference::ReferenceError;
use kraft_sys::fs;

use crate::context::AskError;
use crate::{components, dockerfile, epoch, pins, project, rootfs, settings, workplace};

/// Why a project cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kraftfile and its template list no targets.
    #[error("the project has no targets")]
    NoTargets,
    /// No target fits, or several do.
    #[error(transparent)]
    Project(#[from] project::Error),
    /// The project has no place for what is built.
    #[error(transparent)]
    Workplace(#[from] workplace::Error),
    /// A component cannot be used.
    #[error(transparent)]
    Components(#[from] components::Error),
    /// The runtime of the project is not an image.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The name of the runtime's image is not valid.
    #[error(transparent)]
    RuntimeName(#[from] ReferenceError),
    /// `SOURCE_DATE_EPOCH` is not a time.
    #[error(transparent)]
    Epoch(#[from] epoch::Error),
    /// A target cannot be built.
    #[error("cannot build {target}")]
    Target {
        /// The target: `app (qemu/x86_64)`.
        target: String,
        /// Why.
        source: Box<TargetError>,
    },
    /// The lines of a kernel cannot be counted.
    #[error("cannot run `{program}`")]
    Objdump {
        /// The program that reads debug information.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A question was not answered.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A file or directory cannot be used.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The root filesystem cannot be built.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// The Dockerfile or the image of the root filesystem cannot be built.
    #[error(transparent)]
    Dockerfile(#[from] dockerfile::Error),
    /// The image of the runtime cannot be pulled.
    #[error(transparent)]
    Pins(#[from] pins::Error),
}

/// Why a target cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Make failed: a source cannot be compiled, a download failed, the disk is full.
    #[error("{}", diagnostic.summary())]
    Make {
        /// What went wrong first.
        diagnostic: Box<Diagnostic>,
        /// The source file that it is about, and the place in it.
        place: Option<(Text, Span)>,
        /// The file with the output of make.
        log: PathBuf,
        /// Whether kraft may open no connections.
        offline: bool,
    },
    /// The KConfig files of the core, a library or the application have an error.
    #[error("{}", .0.problem.message)]
    Options(OptionsError),
    /// KConfig drops or changes values that are asked for.
    #[error("{} values of the configuration did not take effect", problems.len())]
    Lost {
        /// The Kraftfile.
        text: Text,
        /// Each value with the reason.
        problems: Vec<Problem>,
    },
    /// Programs are missing on this host.
    #[error(transparent)]
    Tools(Missing),
    /// GNU make on this host is missing or too old.
    #[error("`{found}` is not GNU make 4.1 or newer")]
    OldMake {
        /// Its first line of `--version`.
        found: String,
    },
    /// The target has no configuration, and must not be configured.
    #[error("it has never been configured: there is no `{}`", path.display())]
    NotConfigured {
        /// Where the configuration would be.
        path: PathBuf,
    },
    /// The user pressed Ctrl-C.
    #[error("the build was interrupted")]
    Interrupted,
    /// Make cannot be run, or does not say what it built.
    #[error(transparent)]
    Run(make::Error),
    /// A file or directory cannot be used.
    #[error(transparent)]
    File(fs::Error),
}

/// The first error in the KConfig files of a target.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", problem.message)]
pub struct OptionsError {
    /// The file.
    pub text: Text,
    /// The error.
    pub problem: Problem,
}
