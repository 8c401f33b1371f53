//! Terminal output: data to stdout, everything else to stderr. The only module that prints.

mod colour;
mod listing;
mod log;
mod problem;
mod progress;
mod prompt;
mod table;
mod trace;

use std::io::{self, IsTerminal};
use std::sync::Arc;

use indicatif::MultiProgress;
use kraft_core::escape::escape;
use kraft_core::event::{Event, Reporter};
use kraft_engine::context::{Ask, AskError};
use kraft_engine::output;
use kraft_sys::fs::append;
use serde::Serialize;

pub(crate) use self::colour::is_wanted as colour_is_wanted;
pub(crate) use self::listing::{Column, DetailsFormat, DocumentFormat, Format, json, yaml};
pub(crate) use self::log::{Form, Level};
use self::progress::Progress;
pub(crate) use self::table::Cell;
use crate::failure::Failure;
use kraft_config::Config;

/// The variable with the path of the log file.
const LOG_FILE: &str = "KRAFTKIT_LOG_FILE";

/// The output streams and their properties.
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    log: log::Log,
    /// The visible progress bars.
    bars: MultiProgress,
    /// Draws the events of flows.
    progress: Arc<Progress>,
    /// Whether data may be coloured.
    colour: bool,
    /// Whether stdout is a terminal.
    shown: bool,
    /// The width of stdout's terminal, if it has one.
    width: Option<usize>,
    /// Whether listings have the keys of KraftKit.
    compat: bool,
    /// Whether prompts are possible and allowed.
    asks: bool,
}

impl Ui {
    /// Inspects the terminal and the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let stderr_is_terminal = stderr.is_terminal();
        let no_colour = config.switch("no_color");
        let form = Form::named(config.text("log.type").unwrap_or_default());
        let width = stdout
            .is_terminal()
            .then(|| rustix::termios::tcgetwinsize(&stdout).ok())
            .flatten()
            .map(|size| usize::from(size.ws_col))
            .filter(|&columns| columns > 0);
        let opened = config.env.path(LOG_FILE).map(|path| append(&path));
        let (file, unusable) = match opened {
            Some(Ok(file)) => (Some(&*Box::leak(Box::new(file))), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let log = log::Log {
            form,
            level: Level::named(config.text("log.level").unwrap_or_default()),
            timestamps: config.switch("log.timestamps"),
            colour: form == Form::Fancy
                && colour_is_wanted(no_colour, &config.env, stderr_is_terminal),
            terminal: stderr_is_terminal,
            file,
        };
        let bars = MultiProgress::new();
        let ui = Self {
            log,
            progress: Arc::new(Progress::new(log, bars.clone())),
            bars,
            colour: colour_is_wanted(no_colour, &config.env, stdout.is_terminal()),
            shown: stdout.is_terminal(),
            width,
            compat: config.text("compat") == Some("kraftkit"),
            asks: stderr_is_terminal && io::stdin().is_terminal() && !config.switch("no_prompt"),
        };
        if let Some(error) = unusable {
            let why = kraft_core::error::chain(&error);
            ui.warn(&format!("cannot write the log file of `{LOG_FILE}`: {why}"));
        }
        ui
    }

    /// Logs the diagnostics of kraft's crates from now on: at `--log-level debug`, or into the log
    /// file.
    pub(crate) fn trace(&self) {
        trace::start(self.log, self.bars.clone());
    }

    /// Asks for a line that is not shown while it is typed; `None` if prompts are not possible.
    pub(crate) fn ask_secret(&self, question: &str) -> Result<Option<String>, Failure> {
        if !self.asks {
            return Ok(None);
        }
        Ok(prompt::secret(question).map(Some)?)
    }

    /// Writes data to stdout.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Writes data to stdout, byte for byte, at once.
    #[expect(clippy::unused_self, reason = "only the user interface prints")]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(output::put(&mut io::stdout().lock(), bytes)?)
    }

    /// Clears stdout's terminal, if it is one.
    pub(crate) fn wipe(&self) -> Result<(), Failure> {
        match self.width {
            // ECMA-48: CUP to the first cell, then ED of everything.
            Some(_) => self.data("\x1b[H\x1b[2J"),
            None => Ok(()),
        }
    }

    /// Writes one line of data to stdout, as [`Ui::text`] does.
    pub(crate) fn line(&self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Writes data to stdout: unchanged to a file or pipe, with control characters escaped on a
    /// terminal.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        if !self.shown {
            return self.data(text);
        }
        self.data(&escape(text, &['\n', '\t']))
    }

    /// Writes a document to stdout: byte for byte to a file or pipe, as [`Ui::text`] on a terminal.
    pub(crate) fn document(&self, bytes: &[u8]) -> Result<(), Failure> {
        if !self.shown {
            return self.bytes(bytes);
        }
        self.text(&String::from_utf8_lossy(bytes))
    }

    /// Writes a value to stdout as JSON over several lines.
    pub(crate) fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        self.data(&listing::json(value)?)
    }

    /// Writes a value to stdout as YAML.
    pub(crate) fn yaml<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        self.text(&listing::yaml(value)?)
    }

    /// Writes an object, or a table of its machines, to stdout.
    pub(crate) fn details<T: Serialize, R: Serialize>(
        &self,
        format: DetailsFormat,
        object: &T,
        machines: &[R],
        columns: &[Column<R>],
    ) -> Result<(), Failure> {
        match format {
            DetailsFormat::Json => self.json(object),
            DetailsFormat::Yaml => self.yaml(object),
            DetailsFormat::Table => self.listing(Format::Table, machines, columns),
        }
    }

    /// Writes a listing to stdout in a format.
    pub(crate) fn listing<T: Serialize>(
        &self,
        format: Format,
        rows: &[T],
        columns: &[Column<T>],
    ) -> Result<(), Failure> {
        let text = match format {
            Format::Json | Format::Yaml if self.compat => {
                listing::of_kraftkit(format, rows, columns)?
            }
            _ => listing::render(format, rows, columns, self.width, self.colour)?,
        };
        match format {
            // YAML has no escapes outside of quotes; cells and JSON are safe already.
            Format::Yaml => self.text(&text),
            Format::Table | Format::List | Format::Json => self.data(&text),
        }
    }

    /// Prints a table whose cells are known already.
    pub(crate) fn table(&self, titles: &[&str], cells: &[Vec<Cell>]) -> Result<(), Failure> {
        self.data(&table::table(titles, cells, self.width, self.colour))
    }

    /// Prints a list whose cells are known already.
    pub(crate) fn list(&self, titles: &[&str], cells: &[Vec<Cell>]) -> Result<(), Failure> {
        self.data(&table::list(titles, cells, self.colour))
    }

    /// Returns whether data may be coloured.
    pub(crate) fn colour(&self) -> bool {
        self.colour
    }

    /// Logs information.
    pub(crate) fn info(&self, message: &str) {
        self.bars
            .suspend(|| self.log.say(Level::Info, message, &[]));
    }

    /// Logs a warning.
    pub(crate) fn warn(&self, message: &str) {
        self.bars
            .suspend(|| self.log.say(Level::Warn, message, &[]));
    }

    /// Warns about a flag that is accepted for old scripts and has no effect; `why` is what happens
    /// instead.
    pub(crate) fn ignored(&self, flag: &str, typed: bool, why: &str) {
        if typed {
            self.warn(&format!("`{flag}` has no effect: {why}"));
        }
    }

    /// Returns stdout, for data that is streamed.
    #[expect(clippy::unused_self, reason = "only the user interface prints")]
    pub(crate) fn output(&self) -> io::Stdout {
        io::stdout()
    }

    /// Logs problems of a text, or of a request.
    pub(crate) fn problems(
        &self,
        text: Option<&kraft_core::problem::Text>,
        problems: &[kraft_core::problem::Problem],
    ) {
        self.log.problems(None, text, problems, &[]);
    }

    /// Logs a usage error with clap's message.
    pub(crate) fn usage_error(
        &self,
        code: &'static str,
        text: &clap::builder::StyledStr,
        colour: bool,
    ) {
        self.log.usage_error(code, text, colour);
    }
}

impl Reporter for Ui {
    fn report(&self, event: Event) {
        self.progress.report(event);
    }
}

impl Ask for Ui {
    fn select(&self, question: &str, lines: &[String]) -> Result<Option<usize>, AskError> {
        if !self.asks {
            return Ok(None);
        }
        prompt::select(question, lines).map(Some)
    }

    fn line(&self, question: &str) -> Result<Option<String>, AskError> {
        if !self.asks {
            return Ok(None);
        }
        prompt::line(question).map(Some)
    }

    fn stdin(&self, limit: u64) -> io::Result<Vec<u8>> {
        kraft_sys::fs::read_to_end(io::stdin().lock(), limit)
    }
}
