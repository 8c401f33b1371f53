//! Progress of a build, reported as events.

use kraft_core::event::{Event, Reporter};

use crate::context::Context;
use crate::progress::Progress;

/// The task of a build.
const TASK: u64 = 1;

/// Reports the progress of a build.
#[derive(Debug)]
pub(super) struct BuildProgress {
    progress: Progress,
}

impl BuildProgress {
    /// Reports that a build begins.
    pub(super) fn begin(ctx: &Context, what: &str) -> Self {
        let progress = Self {
            progress: ctx.progress(),
        };
        progress.progress.report(Event::Started {
            task: TASK,
            what: what.to_owned(),
            total: None,
        });
        progress
    }

    /// Reports that a step began or was cached.
    pub(super) fn step(&self, what: String) {
        self.progress.report(Event::Step { task: TASK, what });
    }

    /// Reports what the current step does.
    pub(super) fn line(&self, what: String) {
        self.progress.report(Event::Doing { task: TASK, what });
    }

    /// Reports the number of bytes of the archive that are written.
    pub(super) fn written(&self, done: u64) {
        self.progress.report(Event::Advanced { task: TASK, done });
    }

    /// Reports a warning.
    pub(super) fn warn(&self, what: String) {
        self.progress.report(Event::Warning(what));
    }

    /// Reports the end.
    pub(super) fn end(&self, succeeded: bool) {
        self.progress.report(if succeeded {
            Event::Finished { task: TASK }
        } else {
            Event::Failed { task: TASK }
        });
    }
}
