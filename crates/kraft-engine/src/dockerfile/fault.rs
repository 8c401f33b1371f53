//! Why a Dockerfile could not be built, shown in its text.

use kraft_buildkit::Failure as DaemonFailure;
use kraft_core::dockerfile::{Dockerfile, Instruction};
use kraft_core::problem::{Problem, Span};

use super::job::Job;
use crate::failure::{Failure, Kind};

/// So many lines of a failed command are shown.
const SHOWN_LINES: usize = 20;

/// A fault at a place of the Dockerfile, with what a command wrote last.
pub(super) fn in_text(job: &Job<'_>, problem: Problem, lines: &[String]) -> Failure {
    let mut failure = Failure::problems_in(Kind::Build, job.shown_text(), vec![problem]);
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    if !lines.is_empty() {
        let shown: Vec<&str> = lines.iter().skip(skipped).map(String::as_str).collect();
        failure = failure.hint(format!("it wrote:\n{}", indented(&shown)));
    }
    failure
}

fn indented(lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// The faults that we see ourselves.
pub(super) fn of_reading(job: &Job<'_>, problems: &[Problem]) -> Failure {
    Failure::problems_in(Kind::Build, job.shown_text(), problems.to_vec())
}

/// What a daemon says, at the place that it names, or that we find.
pub(super) fn of_daemon(job: &Job<'_>, failure: &DaemonFailure) -> Failure {
    let span = failure
        .place
        .and_then(|place| lines(&job.text, place.first, place.last))
        .or_else(|| lines_in_message(job, &failure.message))
        .or_else(|| of_step(job, failure.step.as_deref()?));
    // Where the text itself is at fault, our own words have the better place.
    if let Err(problems) = &job.read
        && failure.step.is_none()
    {
        return of_reading(job, problems);
    }
    let mut problem = Problem::error(failure.message.clone());
    problem.span = span;
    if span.is_none() && failure.lines.is_empty() {
        return Failure::new(
            Kind::Build,
            format!("cannot build `{}`: {}", job.file.display(), failure.message),
        );
    }
    in_text(job, problem, &failure.lines)
}

/// Reads `parse error line 3` and `parse error on line 3`.
fn lines_in_message(job: &Job<'_>, message: &str) -> Option<Span> {
    let (_, after) = message.split_once("line ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    let line = digits.parse().ok()?;
    lines(&job.text, line, line)
}

fn lines(text: &str, first: usize, last: usize) -> Option<Span> {
    let mut start = 0;
    let mut span: Option<Span> = None;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        if (first..=last).contains(&(at + 1)) {
            let end = start + line.trim_end().len();
            let begin = span.map_or(start, |span| span.start);
            span = Some(Span { start: begin, end });
        }
        start += line.len();
    }
    span
}

/// Finds the instruction of a step that a daemon calls `[build 2/3] RUN make`: it counts the `FROM`
/// and what changes files.
fn of_step(job: &Job<'_>, step: &str) -> Option<Span> {
    let dockerfile = job.read.as_ref().ok()?;
    let (head, _) = step.strip_prefix('[')?.split_once(']')?;
    let (stage, count) = head.rsplit_once(' ').unwrap_or(("", head));
    let number: usize = count.split_once('/')?.0.parse().ok()?;
    let stage = stage_called(dockerfile, stage.trim(), job.wish.target.as_deref())?;
    let stage = dockerfile.stages.get(stage)?;
    // `FROM scratch` counts nowhere.
    let first = if stage.from.image == "scratch" { 1 } else { 2 };
    if number < first {
        return Some(stage.from.span);
    }
    let counted = stage.steps.iter().filter(|step| {
        matches!(
            step.instruction,
            Instruction::Run(_)
                | Instruction::Copy(_)
                | Instruction::Add(_)
                | Instruction::Workdir(_)
        )
    });
    let found = counted.into_iter().nth(number.checked_sub(first)?)?;
    Some(found.span)
}

fn stage_called(dockerfile: &Dockerfile, name: &str, target: Option<&str>) -> Option<usize> {
    // `linux/amd64 build` where several platforms are meant.
    let name = name.rsplit(' ').next().unwrap_or_default();
    if name.is_empty() {
        return dockerfile.stage(target);
    }
    if let Some(number) = name.strip_prefix("stage-") {
        return number.parse().ok();
    }
    dockerfile.stage(Some(name))
}
