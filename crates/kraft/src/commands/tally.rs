//! Work on several things, of which each is done although others fail.

use crate::app::App;
use crate::failure::{Failure, Kind};

/// Reports the errors of single things while the rest is done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    first: Option<Kind>,
}

impl Tally {
    /// Returns the value of one thing, or reports why there is none.
    pub(crate) fn count<T>(&mut self, app: &App, done: Result<T, impl Into<Failure>>) -> Option<T> {
        match done.map_err(Into::into) {
            Ok(value) => Some(value),
            Err(failure) => {
                app.failure(&failure);
                self.first.get_or_insert(failure.kind);
                None
            }
        }
    }

    /// As [`count`](Self::count) for a thing that is removed: with `--force` it is only a warning that it does
    /// not exist.
    pub(crate) fn count_removed<T>(
        &mut self,
        app: &App,
        force: bool,
        done: Result<T, impl Into<Failure>>,
    ) -> Option<T> {
        match done.map_err(Into::into) {
            Err(failure) if force && failure.kind == Kind::NotFound => {
                for sentence in failure.message.sentences() {
                    app.ui.warn(&sentence);
                }
                None
            }
            done => self.count(app, done),
        }
    }

    /// Returns the outcome for all: the kind of the first failure.
    pub(crate) fn outcome(self) -> Result<(), Failure> {
        self.first
            .map_or(Ok(()), |kind| Err(Failure::reported(kind)))
    }
}
