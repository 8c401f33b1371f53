//! Work on several things, where the failure of one does not keep the others from theirs.

use crate::context::Context;
use crate::failure::{Failure, Kind};

/// Counts what failed while the rest went on.
#[derive(Debug, Default)]
pub struct Tally {
    first: Option<Kind>,
}

impl Tally {
    /// Takes the outcome for one machine; a failure is told, and that nobody reads our output
    /// is passed on.
    pub fn count(&mut self, ctx: &Context, done: Result<(), Failure>) -> Result<(), Failure> {
        match done {
            Err(failure) if failure.kind == Kind::Unread => Err(failure),
            Err(failure) => {
                ctx.failure(&failure);
                self.first.get_or_insert(failure.kind);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Returns the outcome for all.
    pub fn outcome(self) -> Result<(), Failure> {
        self.first.map_or(Ok(()), |kind| Err(Failure::told(kind)))
    }
}
