//! Collects problems up to a limit, so that a large invalid file does not produce unbounded output.

use std::collections::HashSet;

use crate::problem::{Problem, Severity, Span};

/// Maximum number of problems kept per file.
const MOST: usize = 1000;

/// A list of problems that counts those beyond the limit, and remembers their severity.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    told: Vec<Problem>,
    omitted: usize,
    fatal: bool,
    mistyped: HashSet<Span>,
}

impl Problems {
    /// Adds a value of the wrong kind, so that no further problem is reported for its position.
    pub(crate) fn push_mistyped(&mut self, problem: Problem) {
        let span = problem.span;
        self.push(problem);
        self.mistyped.extend(span);
    }

    /// Returns whether further problems are only counted.
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
            self.omitted += 1;
        }
    }

    /// Returns whether any of the problems is an error.
    pub(crate) fn fatal(&self) -> bool {
        self.fatal
    }

    /// Moves all positions: the text is a part of a longer one.
    pub(crate) fn shift(&mut self, by: usize) {
        let moved = |span: Span| Span {
            start: span.start.saturating_add(by),
            end: span.end.saturating_add(by),
        };
        for problem in &mut self.told {
            problem.span = problem.span.map(moved);
            for place in &mut problem.related {
                place.span = moved(place.span);
            }
            if let Some(fix) = &mut problem.fix {
                fix.span = moved(fix.span);
            }
        }
        self.mistyped = self.mistyped.iter().copied().map(moved).collect();
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.fatal |= other.fatal;
        self.omitted += other.omitted;
        for problem in other.told {
            self.push(problem);
        }
        self.mistyped.extend(other.mistyped);
    }

    /// Returns the problems in the order of the text.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.told.sort_by_key(|p| p.span.map(|s| s.start));
        if self.omitted > 0 {
            let message = format!("{} further problems are not shown", self.omitted);
            self.told.push(if self.fatal {
                Problem::error(message)
            } else {
                Problem::warning(message)
            });
        }
        self.told
    }
}
