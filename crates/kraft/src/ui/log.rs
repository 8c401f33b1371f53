//! The log: one line per message to stderr, as text or as JSON.
//!
//! ```text
//! fancy, basic   error: cannot read `x`: no such file        (fancy: with colours)
//!                hint: …
//! json           {"level":"error","msg":"cannot read `x`: no such file","hints":["…"]}
//! quiet          as basic, warnings and errors only
//! ```
//!
//! A log file gets every message down to the debug level, with timestamps.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use kraft_core::escape::{escape, is_unsafe};
use kraft_core::problem::{Problem, Severity};
use serde_json::{Map, Value, json};

use super::{listing, problem};
use kraft_core::problem::Text;

/// The level of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// An error.
    Error,
    /// A warning.
    Warn,
    /// Information.
    Info,
    /// Details for debugging.
    Debug,
    /// More details for debugging.
    Trace,
}

impl Level {
    /// Returns the level of a value of `log.level`. Levels above `error` are `error`.
    pub(crate) fn named(word: &str) -> Self {
        match word {
            "panic" | "fatal" | "error" => Self::Error,
            "warn" => Self::Warn,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => Self::Info,
        }
    }

    /// Returns the name in a JSON line; KraftKit writes `warning` where it reads `warn`.
    fn json_name(self) -> &'static str {
        match self {
            Self::Warn => "warning",
            Self::Error | Self::Info | Self::Debug | Self::Trace => self.name(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn style(self) -> Style {
        let colour = match self {
            Self::Error => AnsiColor::Red,
            Self::Warn => AnsiColor::Yellow,
            Self::Info => AnsiColor::Blue,
            Self::Debug => AnsiColor::Cyan,
            Self::Trace => AnsiColor::BrightBlack,
        };
        Style::new().bold().fg_color(Some(colour.into()))
    }
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// With colours and progress bars; basic without a terminal.
    Fancy,
    /// Plain lines.
    Basic,
    /// One JSON object per line.
    Json,
    /// Plain lines, warnings and errors only.
    Quiet,
}

impl Form {
    /// Returns the format of a value of `log.type`.
    pub(crate) fn named(word: &str) -> Self {
        match word {
            "basic" => Self::Basic,
            "json" => Self::Json,
            "quiet" => Self::Quiet,
            _ => Self::Fancy,
        }
    }
}

/// Writes log messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    /// The format.
    pub(super) form: Form,
    /// The minimum level that is printed.
    pub(super) level: Level,
    /// Whether lines have a timestamp.
    pub(super) timestamps: bool,
    /// Whether there are colours.
    pub(super) colour: bool,
    /// Whether stderr is a terminal.
    pub(super) terminal: bool,
    /// The log file, which gets all lines.
    pub(super) file: Option<&'static File>,
}

impl Log {
    /// Logs a message with its hints, if its level is printed.
    pub(super) fn say(self, level: Level, message: &str, hints: &[String]) {
        self.write(level, |log| log.format(level, message, hints, Map::new()));
    }

    /// Logs an error with its stable code, which only JSON shows, at every level.
    pub(super) fn error(self, code: &str, message: &str, hints: &[String]) {
        self.write(Level::Error, |log| {
            let mut more = Map::new();
            more.insert("code".to_owned(), code.into());
            log.format(Level::Error, message, hints, more)
        });
    }

    /// Logs a message with further fields, which only JSON shows.
    pub(super) fn say_more(self, level: Level, message: &str, more: &Map<String, Value>) {
        self.write(level, |log| log.format(level, message, &[], more.clone()));
    }

    /// Logs an event with its fields, in every format.
    pub(super) fn event(self, level: Level, message: &str, fields: &Map<String, Value>) {
        self.write(level, |log| {
            if log.form == Form::Json {
                return log.format(level, message, &[], fields.clone());
            }
            let text = fields
                .iter()
                .map(|(name, value)| format!(" {name}={}", plain(value)));
            let message = format!("{message}{}", text.collect::<String>());
            log.format(level, &message, &[], Map::new())
        });
    }

    /// Returns whether lines of a level are written anywhere.
    pub(super) fn takes(self, level: Level) -> bool {
        self.is_printed(level) || (self.file.is_some() && level <= self.kept())
    }

    /// Logs problems, each with its place if it has one, and hints. Errors have the code of their
    /// failure.
    pub(super) fn problems(
        self,
        code: Option<&str>,
        text: Option<&Text>,
        problems: &[Problem],
        hints: &[String],
    ) {
        self.each_problem(code, text, problems);
        if self.form == Form::Json {
            for hint in hints {
                self.say(Level::Error, hint, &[]);
            }
        } else if !hints.is_empty() {
            self.write(Level::Error, |log| log.hints(hints));
        }
    }

    fn each_problem(self, code: Option<&str>, text: Option<&Text>, problems: &[Problem]) {
        if self.form != Form::Json
            && let Some(text) = text
        {
            self.write(Level::Error, |log| {
                problem::render(text, problems, log.colour)
            });
            return;
        }
        for problem in problems {
            let level = match problem.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warn,
            };
            let mut more = text.map_or_else(Map::new, |text| place(text, problem));
            if let Some(code) = code.filter(|_| level == Level::Error) {
                more.insert("code".to_owned(), code.into());
            }
            self.write(level, |log| {
                log.format(level, &problem.message, &problem.help, more.clone())
            });
        }
    }

    /// Logs a usage error with clap's message.
    pub(super) fn usage_error(
        self,
        code: &'static str,
        text: &clap::builder::StyledStr,
        colour: bool,
    ) {
        let plain = text.to_string();
        if self.form == Form::Json {
            let first = plain.lines().next().unwrap_or_default();
            let message = first.trim_start_matches("error: ");
            self.error(code, message, &[]);
            return;
        }
        if colour && !plain.contains(|c| is_unsafe(c) && c != '\n') {
            write(&text.ansi().to_string());
        } else {
            write(&escape(&plain, &['\n']));
        }
        self.keep(Level::Error, |_| escape(&plain, &['\n']));
    }

    /// Writes a line to stderr, if its level is printed there, and into the log file.
    fn write(self, level: Level, line: impl Fn(Self) -> String) {
        if self.is_printed(level) {
            write(&line(self));
        }
        self.keep(level, line);
    }

    /// Writes a line into the log file, if there is one.
    fn keep(self, level: Level, line: impl Fn(Self) -> String) {
        if let Some(mut file) = self.file
            && level <= self.kept()
        {
            // One write for each line, so that several processes can share the file.
            let _ = file.write_all(line(self.of_file()).as_bytes());
        }
    }

    /// The minimum level that the log file gets.
    fn kept(self) -> Level {
        self.level.max(Level::Debug)
    }

    fn of_file(self) -> Self {
        Self {
            form: match self.form {
                Form::Json => Form::Json,
                Form::Fancy | Form::Basic | Form::Quiet => Form::Basic,
            },
            timestamps: true,
            colour: false,
            terminal: false,
            ..self
        }
    }

    fn is_printed(self, level: Level) -> bool {
        level <= self.level && (self.form != Form::Quiet || level <= Level::Warn)
    }

    fn format(
        self,
        level: Level,
        message: &str,
        hints: &[String],
        more: Map<String, Value>,
    ) -> String {
        let time = self.timestamps.then(|| jiff::Timestamp::now().to_string());
        if self.form == Form::Json {
            let mut object = Map::new();
            object.insert("level".to_owned(), level.json_name().into());
            object.insert("msg".to_owned(), message.into());
            object.extend(more);
            if !hints.is_empty() {
                object.insert("hints".to_owned(), json!(hints));
            }
            if let Some(time) = time {
                object.insert("time".to_owned(), time.into());
            }
            return format!("{}\n", listing::escaped(&Value::Object(object).to_string()));
        }
        let mut text = String::new();
        if let Some(time) = time {
            text.push_str(&time);
            text.push(' ');
        }
        // Information is the common case and has no prefix.
        if level != Level::Info {
            text.push_str(&self.styled(level.style(), &format!("{}:", level.name())));
            text.push(' ');
        }
        // Much of it is untrusted: names from images, registries, archives.
        text.push_str(&escape(message, &['\n', '\t']));
        text.push('\n');
        text.push_str(&self.hints(hints));
        text
    }

    fn hints(self, hints: &[String]) -> String {
        let mut text = String::new();
        for hint in hints {
            let style = Style::new().bold().fg_color(Some(AnsiColor::Cyan.into()));
            text.push_str(&self.styled(style, "hint:"));
            let _ = writeln!(text, " {}", escape(hint, &['\n', '\t']));
        }
        text
    }

    fn styled(self, style: Style, text: &str) -> String {
        if self.colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

fn place(text: &Text, problem: &Problem) -> Map<String, Value> {
    let mut place = Map::new();
    place.insert("file".to_owned(), text.name.as_str().into());
    if let Some(span) = problem.span {
        let (line, column) = kraft_core::yaml::edit::line_and_column(&text.text, span);
        place.insert("line".to_owned(), line.into());
        place.insert("column".to_owned(), column.into());
    }
    place
}

/// Returns the value of a field, quoted only if necessary.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.contains([' ', '"', '\n']) => {
            format!("{text:?}")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Writes to stderr; errors are ignored, as there is nowhere to report them.
fn write(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Log = Log {
        form: Form::Basic,
        level: Level::Info,
        timestamps: false,
        colour: false,
        terminal: false,
        file: None,
    };

    #[test]
    fn a_line_is_text_or_json() {
        let hints = ["try again".to_owned()];
        let say = |form, level| Log { form, ..LOG }.format(level, "a \"b\"", &hints, Map::new());
        assert_eq!(
            say(Form::Basic, Level::Error),
            "error: a \"b\"\nhint: try again\n"
        );
        assert_eq!(say(Form::Basic, Level::Info), "a \"b\"\nhint: try again\n");
        assert_eq!(
            say(Form::Json, Level::Warn),
            "{\"level\":\"warning\",\"msg\":\"a \\\"b\\\"\",\"hints\":[\"try again\"]}\n"
        );
    }

    #[test]
    fn a_log_file_gets_every_line_with_timestamps_and_without_colours() {
        let file: &'static File = Box::leak(Box::new(tempfile::tempfile().unwrap()));
        let log = Log {
            form: Form::Quiet,
            level: Level::Error,
            colour: true,
            file: Some(file),
            ..LOG
        };
        assert!(log.takes(Level::Debug) && !log.takes(Level::Trace));
        log.say(Level::Info, "one", &[]);
        log.say(Level::Trace, "two", &[]);
        let fields = Map::from_iter([
            ("a".to_owned(), "x y".into()),
            ("b".to_owned(), 3.into()),
            ("c".to_owned(), "z".into()),
        ]);
        log.event(Level::Debug, "three", &fields);
        let mut text = String::new();
        let mut reader = file;
        io::Seek::rewind(&mut reader).unwrap();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .collect();
        let said: Vec<_> = lines.iter().map(|(_, said)| *said).collect();
        assert_eq!(said, ["one", "debug: three a=\"x y\" b=3 c=z"]);
        let times = |(time, _): &(&str, &str)| time.parse::<jiff::Timestamp>().is_ok();
        assert!(lines.iter().all(times), "{text}");
    }

    #[test]
    fn quiet_and_the_level_suppress_less_important_messages() {
        assert!(LOG.is_printed(Level::Info) && !LOG.is_printed(Level::Debug));
        let quiet = Log {
            form: Form::Quiet,
            ..LOG
        };
        assert!(quiet.is_printed(Level::Warn) && !quiet.is_printed(Level::Info));
    }
}
