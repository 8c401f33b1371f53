//! Progress: what the rooms tell while they work, drawn by the form of the talk.
//!
//! ```text
//! fancy   a bar or a spinner that goes away when the work is done
//! basic   building the root filesystem
//! json    {"level":"info","msg":"building the root filesystem","task":1,"progress":"started"}
//! quiet   nothing
//! ```

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kraft_core::event::{Event, Reporter};
use serde_json::{Map, Value};

use super::log::{Form, Level, Log};

/// Between two JSON lines about the same work.
const BETWEEN_LINES: Duration = Duration::from_millis(500);

/// Draws events; made by [`Ui::progress`](super::Ui::progress).
#[derive(Debug)]
pub(crate) struct Progress {
    log: Log,
    bars: MultiProgress,
    tasks: Mutex<HashMap<u64, Task>>,
}

/// A piece of work that goes on.
#[derive(Debug)]
struct Task {
    what: String,
    total: Option<u64>,
    /// Whether its units are things and not bytes.
    counts: bool,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log,
            bars: MultiProgress::new(),
            tasks: Mutex::default(),
        }
    }

    fn started(&self, task: u64, what: String, total: Option<u64>) {
        let bar = self.moves().then(|| self.bars.add(bar(&what, total)));
        if bar.is_none() {
            self.line(task, &what, "started", None, total);
        }
        let entry = Task {
            what,
            total,
            counts: false,
            bar,
            last_line: Instant::now(),
        };
        self.tasks().insert(task, entry);
    }

    /// From here on the units are things, so many in all if that is known.
    fn counted(&self, task: u64, total: Option<u64>, doing: Option<&str>) {
        let mut tasks = self.tasks();
        let Some(entry) = tasks.get_mut(&task) else {
            return;
        };
        if !entry.counts || total.is_some() {
            entry.counts = true;
            entry.total = total.or(entry.total);
            if let Some(bar) = &entry.bar {
                restyle(bar, entry.total);
            }
        }
        match (&entry.bar, doing) {
            (Some(bar), Some(doing)) => bar.set_message(format!("{}: {doing}", entry.what)),
            (None, Some(doing)) => self.log.say(Level::Debug, doing, &[]),
            (_, None) => {}
        }
    }

    fn step(&self, task: u64, what: &str) {
        let tasks = self.tasks();
        match tasks.get(&task) {
            Some(Task {
                what: work,
                bar: Some(bar),
                ..
            }) => {
                bar.set_message(format!("{work}: {what}"));
            }
            Some(_) => self.log.say(Level::Info, what, &[]),
            None => {}
        }
    }

    fn advanced(&self, task: u64, done: u64) {
        let mut tasks = self.tasks();
        let Some(entry) = tasks.get_mut(&task) else {
            return;
        };
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
        self.log.say_more(Level::Info, what, more);
    }

    /// Returns whether there is something to draw on.
    fn moves(&self) -> bool {
        self.log.form == Form::Fancy && self.log.terminal && self.log.level >= Level::Info
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
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
            Event::Warning(text) => self.bars.suspend(|| self.log.say(Level::Warn, &text, &[])),
            _ => {}
        }
    }
}

/// Draws things instead of bytes.
fn restyle(bar: &ProgressBar, total: Option<u64>) {
    let template = match total {
        Some(total) => {
            bar.set_length(total);
            "{spinner} [{bar:24}] {pos}/{len} {wide_msg}"
        }
        None => "{spinner} {pos} {wide_msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

fn bar(what: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{spinner} {msg} [{bar:24}] {binary_bytes}/{binary_total_bytes}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {binary_bytes}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
