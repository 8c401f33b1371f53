//! Progress of one piece of work with several tasks: passed on with task numbers that are unique
//! in the process, and added up for the closing line.
//!
//! ```
//! # use std::sync::Arc;
//! # use kraft_config::env::Environment;
//! # use kraft_config::{Config, Flags};
//! # use kraft_core::event::Silent;
//! # use kraft_engine::context::{Context, NoPrompt};
//! # let config = Config::without_file(&Flags::default(), Environment::default());
//! # let context = Context::new(&config, Arc::new(Silent), Arc::new(NoPrompt));
//! let progress = context.progress();
//! let copied = progress.run("copying", Some(3), |task| {
//!     task.advanced(3);
//!     Ok::<_, std::io::Error>("all")
//! })?;
//! assert_eq!((copied, progress.moved()), ("all", 3));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kraft_core::event::{Event, Reporter};

/// The next task number of the process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Takes the events of one piece of work; made by [`Context::progress`](crate::context::Context::progress).
pub struct Progress {
    reporter: Arc<dyn Reporter>,
    /// By the number that the work gives its tasks.
    tasks: Mutex<HashMap<u64, Task>>,
    /// Bytes of tasks that ended well.
    moved: AtomicU64,
    began: Instant,
    /// Tasks that [`Progress::run`] has begun.
    begun: AtomicU64,
}

/// A task while [`Progress::run`] does its work.
#[derive(Debug)]
pub struct Running<'a> {
    progress: &'a Progress,
    task: u64,
}

impl Running<'_> {
    /// Reports how many bytes or things are done.
    pub fn advanced(&self, done: u64) {
        let task = self.task;
        self.progress.report(Event::Advanced { task, done });
    }

    /// Reports the number of things that the task has; from now on it counts these and not bytes.
    pub fn sized(&self, total: u64) {
        let task = self.task;
        self.progress.report(Event::Sized { task, total });
    }
}

/// A running task.
#[derive(Clone, Copy, Debug)]
struct Task {
    /// Its number in the process.
    number: u64,
    total: Option<u64>,
    done: u64,
    /// Whether its units are things and not bytes.
    counts: bool,
}

impl Progress {
    pub(crate) fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self {
            reporter,
            tasks: Mutex::default(),
            moved: AtomicU64::new(0),
            began: Instant::now(),
            begun: AtomicU64::new(0),
        }
    }

    /// Reports that all of the work is done: `pushed NAME`.
    pub fn close(&self, what: &str) {
        self.reporter.report(Event::Closed {
            what: what.to_owned(),
            bytes: self.moved(),
            took: self.began.elapsed(),
        });
    }

    /// Does work as one task, and reports its beginning and its end. `total` is its size in bytes,
    /// if it is known.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub fn run<T, E>(
        &self,
        what: impl Into<String>,
        total: Option<u64>,
        work: impl FnOnce(&Running<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let running = Running {
            progress: self,
            // Counted from the end: callers that number their tasks begin at 1.
            task: u64::MAX - self.begun.fetch_add(1, Ordering::Relaxed),
        };
        let task = running.task;
        let what = what.into();
        self.report(Event::Started { task, what, total });
        let done = work(&running);
        self.report(match done {
            Ok(_) => Event::Finished { task },
            Err(_) => Event::Failed { task },
        });
        done
    }

    /// Returns the bytes of the tasks that ended well.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<u64, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a task and returns its number in the process; `None` for one that did not start.
    fn update(&self, task: u64, change: impl FnOnce(&mut Task)) -> Option<u64> {
        let mut tasks = self.tasks();
        let task = tasks.get_mut(&task)?;
        change(task);
        Some(task.number)
    }

    /// Translates the task number of an event; `None` for events of tasks that are not known.
    fn translate(&self, event: Event) -> Option<Event> {
        Some(match event {
            Event::Started { task, what, total } => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                self.tasks().insert(
                    task,
                    Task {
                        number,
                        total,
                        done: 0,
                        counts: false,
                    },
                );
                Event::Started {
                    task: number,
                    what,
                    total,
                }
            }
            Event::Sized { task, total } => Event::Sized {
                task: self.update(task, |task| {
                    task.counts = true;
                    task.total = Some(total);
                })?,
                total,
            },
            Event::Doing { task, what } => Event::Doing {
                task: self.update(task, |task| task.counts = true)?,
                what,
            },
            Event::Step { task, what } => Event::Step {
                task: self.update(task, |_| {})?,
                what,
            },
            Event::Advanced { task, done } => Event::Advanced {
                task: self.update(task, |task| task.done = done)?,
                done,
            },
            Event::Finished { task } => {
                let task = self.tasks().remove(&task)?;
                if !task.counts {
                    let bytes = task.total.unwrap_or(task.done);
                    self.moved.fetch_add(bytes, Ordering::Relaxed);
                }
                Event::Finished { task: task.number }
            }
            Event::Failed { task } => Event::Failed {
                task: self.tasks().remove(&task)?.number,
            },
            other => other,
        })
    }
}

impl Reporter for Progress {
    fn report(&self, event: Event) {
        if let Some(event) = self.translate(event) {
            self.reporter.report(event);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Work that ended early leaves nothing on the screen.
        let tasks: Vec<Task> = self.tasks().drain().map(|(_, task)| task).collect();
        for task in tasks {
            self.reporter.report(Event::Failed { task: task.number });
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Record(Mutex<Vec<Event>>);

    impl Reporter for Record {
        fn report(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    fn start(progress: &Progress, task: u64, total: Option<u64>) {
        let what = "work".to_owned();
        progress.report(Event::Started { task, what, total });
    }

    #[test]
    fn two_pieces_of_work_do_not_share_task_numbers() {
        let record = Arc::new(Record::default());
        let (one, two) = (Progress::new(record.clone()), Progress::new(record.clone()));
        start(&one, 1, None);
        start(&two, 1, None);
        let events = record.0.lock().unwrap();
        let [
            Event::Started { task: one, .. },
            Event::Started { task: two, .. },
        ] = events[..]
        else {
            panic!("{events:?}");
        };
        assert_ne!(one, two);
    }

    #[test]
    fn bytes_of_finished_tasks_are_added_up_and_counted_things_are_not() {
        let progress = Progress::new(Arc::new(Record::default()));
        start(&progress, 1, Some(10));
        progress.report(Event::Finished { task: 1 });
        start(&progress, 2, None);
        progress.report(Event::Advanced { task: 2, done: 7 });
        progress.report(Event::Finished { task: 2 });
        start(&progress, 3, Some(100));
        progress.report(Event::Failed { task: 3 });
        start(&progress, 4, None);
        progress.report(Event::Sized {
            task: 4,
            total: 1000,
        });
        progress.report(Event::Finished { task: 4 });
        assert_eq!(progress.moved(), 17);
    }

    #[test]
    fn a_task_that_is_run_begins_and_ends_with_its_work() {
        let record = Arc::new(Record::default());
        let progress = Progress::new(record.clone());
        let done = progress.run("copy", Some(5), |task| {
            task.advanced(5);
            Ok::<_, ()>("value")
        });
        assert_eq!((done, progress.moved()), (Ok("value"), 5));
        let failed = progress.run("count", None, |task| {
            task.sized(3);
            Err::<(), _>("cause")
        });
        assert_eq!((failed, progress.moved()), (Err("cause"), 5));
        let events = record.0.lock().unwrap();
        let [
            Event::Started { task: one, .. },
            Event::Advanced { .. },
            Event::Finished { task: end },
            Event::Started { task: two, .. },
            Event::Sized { .. },
            Event::Failed { task: failed },
        ] = events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!((one, two), (end, failed));
        assert_ne!(one, two);
    }

    #[test]
    fn work_that_ends_early_fails_its_tasks() {
        let record = Arc::new(Record::default());
        let progress = Progress::new(record.clone());
        start(&progress, 1, None);
        drop(progress);
        assert!(matches!(
            record.0.lock().unwrap().last(),
            Some(Event::Failed { .. })
        ));
    }
}
