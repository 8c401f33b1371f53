//! What every flow is given: directories, settings, the environment, a reporter, a prompt, and what
//! is opened once per process.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kraft_config::Settings;
use kraft_config::dirs::Dirs;
use kraft_config::env::Environment;
use kraft_core::event::{Event, Reporter};
use kraft_core::problem::{Problem, Text};
use tokio::runtime::Handle;

use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::resources::Resources;
pub use crate::resources::RuntimeError;

/// Answers the questions of flows; implemented by the terminal, and by tests.
pub trait Ask: Send + Sync {
    /// Asks for one of several lines and returns its index; `None` if there is no terminal to
    /// prompt.
    ///
    /// # Errors
    ///
    /// If the answer cannot be read, or the user pressed Ctrl-C.
    fn select(&self, question: &str, lines: &[String]) -> Result<Option<usize>, AskError>;

    /// Asks for a line of text; `None` if there is no terminal to prompt.
    ///
    /// # Errors
    ///
    /// As [`Ask::select`].
    fn line(&self, question: &str) -> Result<Option<String>, AskError>;

    /// Reads what the user pipes in where `-` is given as a file name, at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is longer.
    fn stdin(&self, limit: u64) -> std::io::Result<Vec<u8>>;
}

/// Why there is no answer to a question.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The user pressed Ctrl-C or Ctrl-D.
    #[error("interrupted")]
    Interrupted,
    /// The terminal cannot be read or changed.
    #[error("cannot read the answer")]
    Read(#[source] std::io::Error),
    /// The answer is not UTF-8 text.
    #[error("the answer is not UTF-8 text")]
    NotText,
}

/// Answers nothing: for programs without a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrompt;

impl Ask for NoPrompt {
    fn select(&self, _question: &str, _lines: &[String]) -> Result<Option<usize>, AskError> {
        Ok(None)
    }

    fn line(&self, _question: &str) -> Result<Option<String>, AskError> {
        Ok(None)
    }

    fn stdin(&self, _limit: u64) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// What a flow works with. Clones are cheap, and share what is opened once per process: the async
/// runtime, the registry client and the image store.
///
/// ```
/// use std::sync::Arc;
///
/// use kraft_config::env::Environment;
/// use kraft_config::{Config, Flags};
/// use kraft_core::event::Silent;
/// use kraft_engine::context::{Context, NoPrompt};
///
/// let config = Config::without_file(&Flags::default(), Environment::default());
/// let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
/// assert!(!context.settings.offline);
/// ```
#[derive(Clone)]
pub struct Context {
    /// Where the configuration and the data of the user are.
    pub dirs: Dirs,
    /// The typed configuration.
    pub settings: Settings,
    /// The environment of the process, as it was when the process started.
    pub env: Environment,
    /// Takes progress, notes and warnings.
    pub reporter: Arc<dyn Reporter>,
    /// Answers questions.
    pub ask: Arc<dyn Ask>,
    /// Cancelled when the user interrupts, once a flow listens.
    pub interrupt: Interrupt,
    pub(crate) resources: Arc<Resources>,
}

impl Context {
    /// Makes a context from a configuration.
    #[must_use]
    pub fn new(
        config: &kraft_config::Config,
        reporter: Arc<dyn Reporter>,
        ask: Arc<dyn Ask>,
    ) -> Self {
        Self {
            dirs: config.dirs.clone(),
            settings: config.settings(),
            env: config.env.clone(),
            reporter,
            ask,
            interrupt: Interrupt::default(),
            resources: Arc::default(),
        }
    }

    /// Connects the context with the signals of the process.
    #[must_use]
    pub fn with_interrupt(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }

    /// Returns the async runtime of the process, which is started on first use.
    ///
    /// # Errors
    ///
    /// If threads cannot be started.
    pub fn runtime(&self) -> Result<Handle, RuntimeError> {
        self.resources.runtime()
    }

    /// Returns the directory of machines and images.
    #[must_use]
    pub fn runtime_dir(&self) -> &Path {
        &self.settings.runtime_dir
    }

    /// Reports something that the user may want to know.
    pub fn info(&self, message: &str) {
        self.reporter.report(Event::Note(message.to_owned()));
    }

    /// Reports something that the user should mind.
    pub fn warn(&self, message: &str) {
        self.reporter.report(Event::Warning(message.to_owned()));
    }

    /// Reports problems that do not end the work.
    pub fn problems(&self, text: Option<&Text>, problems: &[Problem]) {
        self.reporter.report(Event::Problems {
            code: None,
            text: text.cloned(),
            problems: problems.to_vec(),
            hints: Vec::new(),
        });
    }

    /// Reports that a command is done, with the bytes that it wrote: `wrote root.cpio`.
    pub fn close(&self, what: &str, bytes: u64, began: Instant) {
        self.reporter.report(Event::Closed {
            what: what.to_owned(),
            bytes,
            took: began.elapsed(),
        });
    }

    /// Begins to report the progress of a piece of work.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress::new(Arc::clone(&self.reporter))
    }

    /// Asks for one of several lines; `None` if there is no terminal to prompt.
    ///
    /// # Errors
    ///
    /// As [`Ask::select`].
    pub fn select(&self, question: &str, lines: &[String]) -> Result<Option<usize>, AskError> {
        self.ask.select(question, lines)
    }

    /// Asks for a line of text; `None` if there is no terminal to prompt.
    ///
    /// # Errors
    ///
    /// As [`Ask::line`].
    pub fn line(&self, question: &str) -> Result<Option<String>, AskError> {
        self.ask.line(question)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("dirs", &self.dirs)
            .finish_non_exhaustive()
    }
}
