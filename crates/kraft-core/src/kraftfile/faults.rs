//! Problems as they are found, with a ceiling: a megabyte of faults is not worth a gigabyte of words.

use crate::problem::{Problem, Severity};

/// So many problems of a file are told.
const MOST: usize = 1000;

/// A list of problems that forgets what is beyond the ceiling, but not how grave it was.
#[derive(Debug, Default)]
pub(super) struct Faults {
    told: Vec<Problem>,
    untold: usize,
    fatal: bool,
}

impl Faults {
    pub(super) fn push(&mut self, problem: Problem) {
        self.fatal |= problem.severity == Severity::Error;
        if self.told.len() < MOST {
            self.told.push(problem);
        } else {
            self.untold += 1;
        }
    }

    /// Whether there is an error among them.
    pub(super) fn fatal(&self) -> bool {
        self.fatal
    }

    pub(super) fn append(&mut self, other: Self) {
        self.fatal |= other.fatal;
        self.untold += other.untold;
        for problem in other.told {
            self.push(problem);
        }
    }

    /// Returns the problems in the order of the text.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.told.sort_by_key(|p| p.span.map(|s| s.start));
        if self.untold > 0 {
            let message = format!("{} further problems are not shown", self.untold);
            self.told.push(if self.fatal {
                Problem::error(message)
            } else {
                Problem::warning(message)
            });
        }
        self.told
    }
}
