//! Problems as they are found, with a ceiling: a megabyte of faults is not worth a gigabyte of words.

use std::collections::HashSet;

use crate::problem::{Problem, Severity, Span};

/// So many problems of a file are told.
const MOST: usize = 1000;

/// A list of problems that forgets what is beyond the ceiling, but not how grave it was.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    told: Vec<Problem>,
    untold: usize,
    fatal: bool,
    mistyped: HashSet<Span>,
}

impl Faults {
    /// Adds a value that is of the wrong kind: nothing more will be said about its place.
    pub(crate) fn push_mistyped(&mut self, problem: Problem) {
        let span = problem.span;
        self.push(problem);
        self.mistyped.extend(span);
    }

    /// Whether further problems would only be counted.
    pub(crate) fn full(&self) -> bool {
        self.told.len() >= MOST
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if problem
            .span
            .is_some_and(|span| self.mistyped.contains(&span))
        {
            return;
        }
        self.fatal |= problem.severity == Severity::Error;
        if self.told.len() < MOST {
            self.told.push(problem);
        } else {
            self.untold += 1;
        }
    }

    /// Whether there is an error among them.
    pub(crate) fn fatal(&self) -> bool {
        self.fatal
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.fatal |= other.fatal;
        self.untold += other.untold;
        for problem in other.told {
            self.push(problem);
        }
        self.mistyped.extend(other.mistyped);
    }

    /// Returns the problems in the order of the text.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
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
