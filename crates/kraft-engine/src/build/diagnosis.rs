//! Finds out why the build of a target failed: the source file and its line, the reason of a lost
//! value.

use kraft_build::configure::Lost;
use kraft_build::make::{self, Diagnostic, Place};
use kraft_build::pipeline::{Error as BuildError, Job};
use kraft_core::kraftfile::options::Options;
use kraft_core::problem::{Problem, Span, Text};
use kraft_kconfig::explain::Loss;
use kraft_sys::fs;

use super::Inputs;
use super::error::TargetError;
use super::options;
use crate::context::Context;

/// The largest source file that is shown, in bytes.
const LARGEST_SOURCE: u64 = 4 << 20;

/// Finds out why the build of a target failed.
pub(crate) fn explain(
    ctx: &Context,
    inputs: &Inputs,
    asked: &Options,
    job: &Job,
    error: BuildError,
) -> TargetError {
    let failed = |diagnostic: Box<Diagnostic>, log| TargetError::Make {
        place: diagnostic.place.as_ref().and_then(source_of),
        diagnostic,
        log,
        offline: ctx.settings.offline,
    };
    match error {
        BuildError::Make(make::Error::Failed { diagnostic, log }) => failed(diagnostic, log),
        // Our parser shows the place; make often does not.
        BuildError::Options { source, plan } => match (options::first_error(&plan), source) {
            (Some(error), _) => TargetError::Options(error),
            (None, make::Error::Failed { diagnostic, log }) => failed(diagnostic, log),
            (None, source) => TargetError::Run(source),
        },
        BuildError::Make(make::Error::Interrupted) => TargetError::Interrupted,
        BuildError::Make(make::Error::File(error)) | BuildError::File(error) => {
            TargetError::File(error)
        }
        BuildError::Make(error @ (make::Error::Start { .. } | make::Error::NoProducts { .. })) => {
            TargetError::Run(error)
        }
        BuildError::Tools(missing) => TargetError::Tools(missing),
        BuildError::OldMake { found } => TargetError::OldMake { found },
        BuildError::NotConfigured { path } => TargetError::NotConfigured { path },
        BuildError::Lost { lost, plan } => {
            let losses = options::losses(&plan, job, &lost);
            TargetError::Lost {
                text: inputs.project.text.clone(),
                problems: lost
                    .iter()
                    .zip(&losses)
                    .map(|(lost, why)| problem(asked, lost, why.as_ref()))
                    .collect(),
            }
        }
    }
}

/// Describes what became of a value.
pub(crate) fn sentence(lost: &Lost) -> String {
    match (&lost.found, lost.wanted.as_str()) {
        (None, wanted) => format!("{}={wanted} was dropped", lost.name),
        (Some(found), wanted) => format!("{}={wanted} became {found}", lost.name),
    }
}

/// Returns a lost value with its reason, and its place in the Kraftfile.
fn problem(asked: &Options, lost: &Lost, why: Option<&Loss>) -> Problem {
    let mut problem = Problem::error(match why {
        Some(why) => why.to_string(),
        None => sentence(lost),
    });
    if let Some(advice) = why.and_then(Loss::advice) {
        problem = problem.help(advice);
    }
    match asked.get(&lost.name).and_then(|asked| asked.span) {
        Some(span) => problem.at(span).label("set here"),
        None => problem,
    }
}

/// Reads the source file that an error is about, and finds the place in it.
fn source_of(place: &Place) -> Option<(Text, Span)> {
    let bytes = fs::read_file(&place.file, LARGEST_SOURCE).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let span = span(&text, place.line, place.column)?;
    let name = place.file.display().to_string();
    Some((Text { name, text }, span))
}

/// Finds a line and a column, both from 1, in a text.
fn span(text: &str, line: u32, column: Option<u32>) -> Option<Span> {
    let mut start = 0;
    let mut lines = text.split_inclusive('\n');
    for _ in 1..line {
        start += lines.next()?.len();
    }
    let this = lines.next()?;
    let this = this.trim_end_matches(['\n', '\r']);
    let indent = this.len() - this.trim_start().len();
    let (from, to) = match column {
        Some(column) => {
            let from = byte_at(this, usize::try_from(column).ok()?);
            let word = this
                .get(from..)
                .unwrap_or_default()
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(this.len() - from);
            (from, from + word.max(1))
        }
        None => (indent, this.len().max(indent + 1)),
    };
    let end = (start + to).min(text.len());
    (text.is_char_boundary(start + from) && text.is_char_boundary(end)).then_some(Span {
        start: start + from,
        end,
    })
}

/// Returns the byte at a column from 1, as compilers count: tab stops are eight columns apart.
fn byte_at(line: &str, column: usize) -> usize {
    const TAB: usize = 8;
    let mut at = 1;
    for (byte, c) in line.char_indices() {
        if at >= column {
            return byte;
        }
        at = if c == '\t' {
            (at - 1) / TAB * TAB + TAB + 1
        } else {
            at + 1
        };
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_a_column_become_a_span() {
        let text = "int a;\n  return counter;\nlast";
        let at = |line, column| {
            let span = span(text, line, column).unwrap();
            text.get(span.start..span.end).unwrap()
        };
        assert_eq!(at(2, Some(10)), "counter");
        assert_eq!(at(2, None), "return counter;");
        assert_eq!(at(3, Some(1)), "last");
        assert_eq!(byte_at("\tcount(x);", 9), 1);
        assert_eq!(byte_at("\tcount(x);", 15), 7);
        assert_eq!(span(text, 9, Some(1)), None);
    }
}
