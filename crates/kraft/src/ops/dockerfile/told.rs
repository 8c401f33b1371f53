//! What builders tell, on the screen: one task that says what it is at, and the steps as lines
//! where nothing moves.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kraft_core::event::{Event, Reporter};

use crate::app::App;
use crate::ui::Progress;

/// The task of a build.
const TASK: u64 = 1;

/// Draws a build.
#[derive(Debug)]
pub(super) struct Screen {
    progress: Progress,
    step: Mutex<String>,
}

impl Screen {
    /// Begins.
    pub(super) fn begin(app: &App, what: &str) -> Self {
        let screen = Self {
            progress: app.ui.progress(),
            step: Mutex::default(),
        };
        screen.progress.report(Event::Started {
            task: TASK,
            what: what.to_owned(),
            total: None,
        });
        screen
    }

    /// A step began.
    pub(super) fn step(&self, what: &str) {
        what.clone_into(&mut self.present());
        self.doing(what.to_owned());
    }

    /// Something happens in the present step.
    pub(super) fn line(&self, line: &str) {
        let step = self.present().clone();
        self.doing(format!("{step}: {line}"));
    }

    /// So many bytes of the archive are written.
    pub(super) fn written(&self, done: u64) {
        self.progress.report(Event::Advanced { task: TASK, done });
    }

    /// Something the user should know.
    pub(super) fn warn(&self, what: String) {
        self.progress.report(Event::Warning(what));
    }

    /// Ends.
    pub(super) fn end(&self, well: bool) {
        self.progress.report(if well {
            Event::Finished { task: TASK }
        } else {
            Event::Failed { task: TASK }
        });
    }

    fn present(&self) -> MutexGuard<'_, String> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doing(&self, what: String) {
        self.progress.report(Event::Doing { task: TASK, what });
    }
}
