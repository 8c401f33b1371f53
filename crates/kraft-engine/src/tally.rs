//! Work on several things, of which each is done although others fail.

use crate::context::Context;
use crate::failure::{Failure, Kind};

/// Counts failures while the rest is done.
#[derive(Debug, Default)]
pub struct Tally {
    first: Option<Kind>,
}

impl Tally {
    /// Takes the outcome for one thing and reports a failure. A broken pipe on stdout is returned.
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
