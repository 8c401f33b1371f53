//! Progress: the events of flows, drawn in the format of the log.
//!
//! ```text
//! fancy   a bar or a spinner that disappears when the task is done
//! basic   building the root filesystem
//! json    {"level":"info","msg":"building the root filesystem","task":1,"progress":"started"}
//! quiet   nothing
//! ```

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kraft_core::escape::escape;
use kraft_core::event::{Event, Reporter};
use kraft_core::readable;
use serde_json::{Map, Value};

use super::log::{Form, Level, Log};

/// Interval between two JSON lines of a task.
const BETWEEN_LINES: Duration = Duration::from_millis(500);
/// Interval between two frames of a spinner.
const BETWEEN_TICKS: Duration = Duration::from_millis(120);

/// Draws events; one per process.
#[derive(Debug)]
pub(crate) struct Progress {
    log: Log,
    /// All visible bars, those of other tasks included.
    bars: MultiProgress,
    tasks: Mutex<HashMap<u64, Task>>,
}

/// A running task.
#[derive(Debug)]
struct Task {
    what: String,
    total: Option<u64>,
    done: u64,
    /// Whether it counts items instead of bytes.
    counts: bool,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    pub(super) fn new(log: Log, bars: MultiProgress) -> Self {
        Self {
            log,
            bars,
            tasks: Mutex::default(),
        }
    }

    /// Prints the closing line of a command: `pushed NAME, 17.2 MiB in 4 s`.
    fn close(&self, what: &str, bytes: u64, took: Duration) {
        let took = readable::time(took);
        let mut more = Map::new();
        more.insert("progress".to_owned(), "closed".into());
        more.insert("bytes".to_owned(), bytes.into());
        let line = match bytes {
            0 => format!("{what} in {took}"),
            _ => format!("{what}, {} in {took}", readable::bytes(bytes)),
        };
        self.bars
            .suspend(|| self.log.say_more(Level::Info, &line, &more));
    }

    fn started(&self, task: u64, what: String, total: Option<u64>) {
        let bar = self.moves().then(|| {
            // Added before anything draws it: a bar that is drawn before is never cleared.
            let bar = self.bars.add(ProgressBar::new_spinner());
            bar.set_style(style(false, total, 0));
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_message(escape(&what, &[]));
            bar.enable_steady_tick(BETWEEN_TICKS);
            bar
        });
        if bar.is_none() {
            self.line(task, &what, "started", None, total);
        }
        let entry = Task {
            what,
            total,
            done: 0,
            counts: false,
            bar,
            last_line: Instant::now(),
        };
        self.tasks().insert(task, entry);
    }

    /// Counts items from now on; the total may be unknown.
    fn counted(&self, task: u64, total: Option<u64>, doing: Option<&str>) {
        let mut tasks = self.tasks();
        let Some(entry) = tasks.get_mut(&task) else {
            return;
        };
        if !entry.counts || total.is_some() {
            entry.counts = true;
            entry.total = total.or(entry.total);
            entry.restyle();
        }
        match (&entry.bar, doing) {
            (Some(_), Some(doing)) => entry.show(doing),
            (None, Some(doing)) => self.log.say(Level::Debug, doing, &[]),
            (_, None) => {}
        }
    }

    fn step(&self, task: u64, what: &str) {
        match self.tasks().get(&task) {
            Some(entry) if entry.bar.is_some() => entry.show(what),
            Some(_) => self.log.say(Level::Info, what, &[]),
            None => {}
        }
    }

    fn advanced(&self, task: u64, done: u64) {
        let mut tasks = self.tasks();
        let Some(entry) = tasks.get_mut(&task) else {
            return;
        };
        let first = entry.done == 0 && done > 0;
        entry.done = done;
        if first {
            entry.restyle();
        }
        if let Some(bar) = &entry.bar {
            bar.set_position(done);
        } else if self.log.form == Form::Json && entry.last_line.elapsed() >= BETWEEN_LINES {
            entry.last_line = Instant::now();
            self.line(task, &entry.what, "advanced", Some(done), entry.total);
        }
    }

    fn ended(&self, task: u64, how: &str) {
        let Some(entry) = self.tasks().remove(&task) else {
            return;
        };
        if let Some(bar) = entry.bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        } else if self.log.form == Form::Json {
            self.line(task, &entry.what, how, None, entry.total);
        }
    }

    /// Writes a line of plain or JSON progress.
    fn line(&self, task: u64, what: &str, how: &str, done: Option<u64>, total: Option<u64>) {
        let mut more = Map::new();
        more.insert("task".to_owned(), task.into());
        more.insert("progress".to_owned(), how.into());
        more.extend(done.map(|done| ("done".to_owned(), Value::from(done))));
        more.extend(total.map(|total| ("total".to_owned(), Value::from(total))));
        self.log.say_more(Level::Info, what, &more);
    }

    /// Returns whether bars are drawn.
    fn moves(&self) -> bool {
        self.log.form == Form::Fancy && self.log.terminal && self.log.level >= Level::Info
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// Shows the current step of a task.
    fn show(&self, doing: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(escape(&format!("{}: {doing}", self.what), &[]));
        }
    }

    /// Draws the current state of a task.
    fn restyle(&self) {
        if let Some(bar) = &self.bar {
            if let Some(total) = self.total {
                bar.set_length(total);
            }
            bar.set_style(style(self.counts, self.total, self.done));
        }
    }
}

impl Reporter for Progress {
    fn report(&self, event: Event) {
        match event {
            Event::Started { task, what, total } => self.started(task, what, total),
            Event::Sized { task, total } => self.counted(task, Some(total), None),
            Event::Doing { task, what } => self.counted(task, None, Some(&what)),
            Event::Step { task, what } => self.step(task, &what),
            Event::Advanced { task, done } => self.advanced(task, done),
            Event::Finished { task } => self.ended(task, "finished"),
            Event::Failed { task } => self.ended(task, "failed"),
            Event::Note(text) => self.bars.suspend(|| self.log.say(Level::Info, &text, &[])),
            Event::Problems {
                code,
                text,
                problems,
                hints,
            } => self
                .bars
                .suspend(|| self.log.problems(code, text.as_ref(), &problems, &hints)),
            Event::Error {
                code,
                message,
                hints,
            } => self.bars.suspend(|| self.log.error(code, &message, &hints)),
            Event::Closed { what, bytes, took } => self.close(&what, bytes, took),
            Event::Warning(text) => self.bars.suspend(|| self.log.say(Level::Warn, &text, &[])),
            _ => {}
        }
    }
}

/// Returns the template of a bar. The message comes last and is truncated to the line; without a
/// count, no number is shown.
fn style(counts: bool, total: Option<u64>, done: u64) -> ProgressStyle {
    let template = match (counts, total, done) {
        (true, Some(_), _) => "{spinner} [{bar:16}] {pos}/{len} {wide_msg}",
        (false, Some(_), _) => {
            "{spinner} [{bar:16}] {binary_bytes}/{binary_total_bytes} {wide_msg}"
        }
        (_, None, 0) => "{spinner} {wide_msg}",
        (true, None, _) => "{spinner} {pos} {wide_msg}",
        (false, None, _) => "{spinner} {binary_bytes} {wide_msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io;
    use std::sync::Arc;

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// The cells of a terminal, and its cursor.
    #[derive(Debug, Default)]
    struct Cells {
        rows: Vec<Vec<char>>,
        row: usize,
        column: usize,
        /// The rows when the last drawing was complete.
        drawn: Vec<Vec<char>>,
    }

    /// A terminal in memory, in which a line that is too long continues in the next one.
    #[derive(Clone, Debug)]
    struct Screen {
        width: usize,
        cells: Arc<Mutex<Cells>>,
    }

    impl Screen {
        fn new(width: usize) -> Self {
            let cells = Arc::default();
            Self { width, cells }
        }

        /// Returns the text; a spinner, whose frame depends on the time, is `*`.
        fn text(&self) -> String {
            let cells = self.cells.lock().unwrap();
            let frame = |c: &char| {
                if ('\u{2800}'..='\u{28ff}').contains(c) {
                    '*'
                } else {
                    *c
                }
            };
            let rows = cells.drawn.iter().map(|row| {
                let row: String = row.iter().map(frame).collect();
                format!("{}\n", row.trim_end())
            });
            rows.collect::<String>().trim_end().to_owned()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            u16::try_from(self.width).unwrap()
        }

        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            let mut cells = self.cells.lock().unwrap();
            cells.row = cells.row.checked_sub(n).expect("a row above");
            Ok(())
        }

        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.cells.lock().unwrap().row += n;
            Ok(())
        }

        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.cells.lock().unwrap().column += n;
            Ok(())
        }

        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            let mut cells = self.cells.lock().unwrap();
            cells.column = cells.column.saturating_sub(n);
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.write_str("\n")
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            let mut cells = self.cells.lock().unwrap();
            for c in text.chars() {
                // A full line continues in the next one only if something follows.
                if c == '\n' || cells.column == self.width {
                    cells.row += 1;
                    cells.column = 0;
                }
                if c == '\n' || c == '\r' {
                    cells.column = 0;
                    continue;
                }
                let (row, column) = (cells.row, cells.column);
                if cells.rows.len() <= row {
                    cells.rows.resize(row + 1, Vec::new());
                }
                if cells.rows[row].len() <= column {
                    cells.rows[row].resize(column + 1, ' ');
                }
                cells.rows[row][column] = c;
                cells.column += 1;
            }
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            let mut cells = self.cells.lock().unwrap();
            let row = cells.row;
            if let Some(row) = cells.rows.get_mut(row) {
                row.clear();
            }
            cells.column = 0;
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            let mut cells = self.cells.lock().unwrap();
            cells.drawn = cells.rows.clone();
            Ok(())
        }
    }

    /// Returns what is on a screen after each of some events.
    fn screens(width: usize, events: Vec<Event>) -> String {
        let screen = Screen::new(width);
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let log = Log {
            form: Form::Fancy,
            level: Level::Info,
            timestamps: false,
            colour: false,
            terminal: true,
            file: None,
        };
        let progress = Progress::new(log, MultiProgress::with_draw_target(target));
        let mut shown = String::new();
        for event in events {
            progress.report(event);
            for task in progress.tasks().values() {
                if let Some(bar) = &task.bar {
                    bar.force_draw();
                }
            }
            let _ = write!(shown, "---\n{}\n", screen.text());
        }
        shown
    }

    fn transfer() -> Vec<Event> {
        let name = "registry.example/a-team/with-a-long-name/and-a-longer-one:v1.2.3";
        vec![
            Event::Started {
                task: 1,
                what: format!("pulling {name}"),
                total: None,
            },
            Event::Started {
                task: 2,
                what: "pulling 7ab06c8".to_owned(),
                total: Some(24 << 20),
            },
            Event::Advanced {
                task: 2,
                done: 6 << 20,
            },
            Event::Finished { task: 2 },
            Event::Finished { task: 1 },
        ]
    }

    fn build() -> Vec<Event> {
        vec![
            Event::Started {
                task: 1,
                what: "building context/Dockerfile".to_owned(),
                total: None,
            },
            Event::Step {
                task: 1,
                what: "RUN echo a command that is longer than what fits into one line > /made"
                    .to_owned(),
            },
            Event::Sized { task: 1, total: 40 },
            Event::Advanced { task: 1, done: 10 },
            Event::Doing {
                task: 1,
                what: "CC main.o\u{1b}[2J".to_owned(),
            },
            Event::Failed { task: 1 },
        ]
    }

    #[test]
    fn a_transfer_is_drawn_in_lines_that_disappear() {
        insta::assert_snapshot!("transfer_60", screens(60, transfer()));
        insta::assert_snapshot!("transfer_120", screens(120, transfer()));
    }

    #[test]
    fn a_build_is_drawn_in_one_line_that_disappears() {
        insta::assert_snapshot!("build_60", screens(60, build()));
        insta::assert_snapshot!("build_120", screens(120, build()));
    }
}
