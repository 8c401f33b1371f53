//! What builders tell, on the screen.

use kraft_core::event::{Event, Reporter};

use crate::context::Context;
use crate::progress::Progress;

/// The task of a build.
const TASK: u64 = 1;

/// Draws a build.
#[derive(Debug)]
pub(super) struct Screen {
    progress: Progress,
}

impl Screen {
    /// Begins.
    pub(super) fn begin(ctx: &Context, what: &str) -> Self {
        let screen = Self {
            progress: ctx.progress(),
        };
        screen.progress.report(Event::Started {
            task: TASK,
            what: what.to_owned(),
            total: None,
        });
        screen
    }

    /// A step began, or was there already.
    pub(super) fn step(&self, what: String) {
        self.progress.report(Event::Step { task: TASK, what });
    }

    /// Something happens in the present step.
    pub(super) fn line(&self, what: String) {
        self.progress.report(Event::Doing { task: TASK, what });
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
}
