//! Runs make: parses progress, writes a log, and reports the first error on failure.
//!
//! ```
//! use kraft_build::make::Line;
//!
//! let Line::Step { verb, what } = Line::read("  CC      libnet: tcp.o") else {
//!     panic!("a step");
//! };
//! assert_eq!((verb.as_str(), what.as_str()), ("CC", "libnet: tcp.o"));
//! assert_eq!(Line::read("warning: unused variable"), Line::Other);
//! ```

mod diagnostic;
mod line;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use kraft_sys::command_line;
use kraft_sys::stream::{self, End, Stop};
use kraft_sys::{fs, tool};

pub use diagnostic::{Diagnostic, Place};
pub use line::Line;

use crate::plan::Plan;

/// The make goal that builds everything and then prints the products.
///
/// Unikraft's Makefile calls itself in the build directory. Only there image names are known, so
/// the goal is defined by an additional rule, which does nothing outside.
const ASK: &str = "kraft-images: kraft-objects all kraft-products
.PHONY: kraft-images kraft-objects kraft-products
kraft-objects: ; @$(if $(strip $(UK_LIBS) $(UK_LIBS-y)),echo kraft-objects $(words $(foreach L,$(sort $(UK_LIBS) $(UK_LIBS-y) $(foreach P,$(UK_PLATS) $(UK_PLATS-y),$($(call uc,$P)_LIBS) $($(call uc,$P)_LIBS-y))),$($(call uc,$L)_OBJS) $($(call uc,$L)_OBJS-y))),:)
kraft-products: all ; @$(if $(strip $(UK_IMAGES) $(UK_IMAGES-y)),printf 'kraft-image %s\\n' $(UK_IMAGES) $(UK_IMAGES-y); printf 'kraft-debug %s\\n' $(UK_DEBUG_IMAGES) $(UK_DEBUG_IMAGES-y),:)
";

/// Why make failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("cannot run `{program}`")]
    Start {
        /// Its name.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// make failed.
    #[error("{}", diagnostic.summary())]
    Failed {
        /// The first error.
        diagnostic: Box<Diagnostic>,
        /// The full output.
        log: PathBuf,
    },
    /// It was interrupted.
    #[error("the build was interrupted")]
    Interrupted,
    /// It succeeded without printing its products.
    #[error("make did not print the path of a kernel")]
    NoProducts {
        /// The full output.
        log: PathBuf,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Options of a make call.
pub struct Call<'a> {
    /// make's arguments.
    pub plan: &'a Plan,
    /// The make program.
    pub program: &'a OsStr,
    /// Number of parallel jobs; `None` uses the jobserver of a parent make.
    pub jobs: Option<usize>,
    /// Additional variables and flags.
    pub extra: Vec<OsString>,
    /// Whether network connections are forbidden.
    pub offline: bool,
    /// The log, to which the output is appended.
    pub log: &'a Path,
    /// When programs are stopped.
    pub stop: Stop<'a>,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("plan", &self.plan)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// The products of a build, as printed by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// The primary kernel, then its variants.
    pub images: Vec<PathBuf>,
    /// The kernels with debug information.
    pub debug: Vec<PathBuf>,
    /// Number of steps.
    pub steps: u64,
}

impl Call<'_> {
    /// Runs some targets without progress; returns the output.
    pub fn targets(&self, targets: &[&str]) -> Result<Vec<String>, Error> {
        let mut said = Vec::new();
        self.run(&[], targets, &mut |_, text| said.push(text.to_owned()))?;
        Ok(said)
    }

    /// Builds everything and returns the products; `step` is called for every step.
    pub fn all(&self, step: &mut dyn FnMut(&Line)) -> Result<Products, Error> {
        let mut products = Products::default();
        self.run(
            &[OsStr::new("--eval"), OsStr::new(ASK)],
            &["kraft-images"],
            &mut |line, _| {
                match line {
                    Line::Image(path) => products.images.push(path.clone()),
                    Line::Debug(path) => products.debug.push(path.clone()),
                    Line::Step { .. } => products.steps += 1,
                    Line::Objects(_) | Line::Other => {}
                }
                step(line);
            },
        )?;
        if products.images.is_empty() {
            return Err(Error::NoProducts {
                log: self.log.to_owned(),
            });
        }
        Ok(products)
    }

    /// Runs an interactive target on the terminal.
    pub fn talk(&self, target: &str) -> Result<(), Error> {
        let mut command = tool::command(self.program);
        command.args(self.plan.arguments()).args(&self.extra);
        command.arg(target);
        let status = command.status().map_err(|source| Error::Start {
            program: self.program.to_string_lossy().into_owned(),
            source,
        })?;
        if status.success() {
            return Ok(());
        }
        if self.stop.is_now() {
            return Err(Error::Interrupted);
        }
        Err(Error::Failed {
            diagnostic: Box::new(Diagnostic::unknown(format!(
                "`make {target}` failed ({status})"
            ))),
            log: self.log.to_owned(),
        })
    }

    fn run(
        &self,
        flags: &[&OsStr],
        targets: &[&str],
        heard: &mut dyn FnMut(&Line, &str),
    ) -> Result<(), Error> {
        let mut command = tool::command(self.program);
        command.args(self.plan.arguments()).args(&self.extra);
        command.args(flags).args(targets);
        if self.offline {
            command.arg("WGET=false").env("GIT_ALLOW_PROTOCOL", "file");
        }
        command.arg("-O");
        if let Some(jobs) = self.jobs {
            command.arg(format!("-j{jobs}"));
        }
        // Messages are parsed; the rest of the environment is unchanged.
        command.env("LC_MESSAGES", "C").env("GCC_COLORS", "");
        command.env_remove("LC_ALL");
        // Unikraft determines its version with git: for a core without its own repository, git must
        // not find that of the surrounding project.
        if let Some(above) = self.plan.core.parent() {
            command.env("GIT_CEILING_DIRECTORIES", above);
        }
        let mut log = Log::open(self.log)?;
        let line = command_line::shown(&command);
        log.line(format!("$ {line}").as_bytes());
        tracing::debug!(command = line, "program");
        let mut diagnostics = diagnostic::Search::default();
        let end = stream::lines(
            command,
            |bytes| {
                log.line(bytes);
                let text = String::from_utf8_lossy(bytes);
                diagnostics.line(&text);
                heard(&Line::read(&text), &text);
            },
            self.stop,
        )
        .map_err(|source| Error::Start {
            program: self.program.to_string_lossy().into_owned(),
            source,
        })?;
        log.close()?;
        match end {
            End::Stopped => Err(Error::Interrupted),
            End::Itself(status) if status.success() => Ok(()),
            // Ctrl-C may have reached make first.
            End::Itself(_) if self.stop.is_now() => Err(Error::Interrupted),
            End::Itself(status) => Err(Error::Failed {
                diagnostic: Box::new(diagnostics.found(status)),
                log: self.log.to_owned(),
            }),
        }
    }
}

/// The log of make's output.
struct Log {
    file: BufWriter<File>,
    path: PathBuf,
    failed: Option<io::Error>,
}

impl Log {
    fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            file: BufWriter::new(fs::append(path)?),
            path: path.to_owned(),
            failed: None,
        })
    }

    fn line(&mut self, bytes: &[u8]) {
        let written = self
            .file
            .write_all(bytes)
            .and_then(|()| self.file.write_all(b"\n"));
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn close(mut self) -> Result<(), Error> {
        let flushed = self.file.flush();
        match self.failed.take().map_or(flushed, Err) {
            Ok(()) => Ok(()),
            Err(source) => Err(fs::Error::on("write", &self.path)(source).into()),
        }
    }
}
