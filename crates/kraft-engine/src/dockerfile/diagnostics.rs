//! Errors of builds at their place in the Dockerfile.

use kraft_buildkit::Failure as DaemonFailure;
use kraft_core::dockerfile::{Dockerfile, Instruction};
use kraft_core::problem::{Problem, Span};

use super::error::Error;
use super::request::BuildRequest;

/// Returns the error of a step, with the last lines that its command printed.
pub(super) fn of_step(request: &BuildRequest<'_>, problem: Problem, output: Vec<String>) -> Error {
    Error::Step {
        text: request.shown_text(),
        problem: Box::new(problem),
        output,
    }
}

/// Returns the errors that kraft finds in the Dockerfile itself.
pub(super) fn of_dockerfile(request: &BuildRequest<'_>, problems: &[Problem]) -> Error {
    Error::Invalid {
        text: request.shown_text(),
        problems: problems.to_vec(),
    }
}

/// Returns the error of a daemon, at the place that it names or that its message leads to.
pub(super) fn of_daemon(request: &BuildRequest<'_>, failure: DaemonFailure) -> Error {
    // For errors in the text, kraft's own diagnostics have the better place.
    if let Err(problems) = &request.parsed
        && failure.step.is_none()
    {
        return of_dockerfile(request, problems);
    }
    let span = failure
        .place
        .and_then(|place| lines(&request.text, place.first, place.last))
        .or_else(|| lines_in_message(&request.text, &failure.message))
        .or_else(|| instruction(request, failure.step.as_deref()?));
    if span.is_none() && failure.lines.is_empty() {
        return Error::Build {
            file: request.shown(),
            builder: "BuildKit".to_owned(),
            message: failure.message,
        };
    }
    let mut problem = Problem::error(failure.message);
    problem.span = span;
    of_step(request, problem, failure.lines)
}

/// Reads `parse error line 3` and `parse error on line 3`.
fn lines_in_message(text: &str, message: &str) -> Option<Span> {
    let (_, after) = message.split_once("line ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    let line = digits.parse().ok()?;
    lines(text, line, line)
}

/// Returns the span of lines, counted from 1, without the end of the last one.
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

/// Returns the instruction of a step that a daemon calls `[build 2/3] RUN make`: it counts the `FROM`
/// and the instructions that change files.
fn instruction(request: &BuildRequest<'_>, step: &str) -> Option<Span> {
    let dockerfile = request.parsed.as_ref().ok()?;
    let (head, _) = step.strip_prefix('[')?.split_once(']')?;
    let (stage, count) = head.rsplit_once(' ').unwrap_or(("", head));
    let number: usize = count.split_once('/')?.0.parse().ok()?;
    let stage = stage_called(dockerfile, stage.trim(), request.options.target.as_deref())?;
    let stage = dockerfile.stages.get(stage)?;
    // `FROM scratch` is not counted.
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

/// Returns the number of a stage by the name that a daemon gives it.
fn stage_called(dockerfile: &Dockerfile, name: &str, target: Option<&str>) -> Option<usize> {
    // `linux/amd64 build` in a build for several platforms.
    let name = name.rsplit(' ').next().unwrap_or_default();
    if name.is_empty() {
        return dockerfile.stage(target);
    }
    if let Some(number) = name.strip_prefix("stage-") {
        return number.parse().ok();
    }
    dockerfile.stage(Some(name))
}

#[cfg(test)]
mod tests {
    use kraft_buildkit::Place;

    use super::super::options::BuildOptions;
    use super::*;

    const TEXT: &str = "ARG V=1\nFROM a AS build\nENV A=b\nRUN make \\\n  all\nCOPY x y\n\
                        FROM scratch\nCOPY --from=build /y /y\n";

    /// Returns the text that an error of a daemon points to.
    fn place(text: &str, failure: DaemonFailure) -> Option<String> {
        let options = BuildOptions::default();
        let request = BuildRequest::of_text(text, &options);
        match of_daemon(&request, failure) {
            Error::Step { problem, .. } => {
                let span = problem.span?;
                text.get(span.start..span.end).map(str::to_owned)
            }
            _ => None,
        }
    }

    fn at_step(step: &str) -> DaemonFailure {
        DaemonFailure {
            message: "it failed".to_owned(),
            step: Some(step.to_owned()),
            ..DaemonFailure::default()
        }
    }

    #[test]
    fn a_step_of_a_daemon_is_an_instruction() {
        for (step, expected) in [
            ("[build 1/3] FROM docker.io/library/a", Some("a")),
            ("[build 2/3] RUN make all", Some("RUN make \\\n  all")),
            ("[build 3/3] COPY x y", Some("COPY x y")),
            ("[linux/amd64 build 3/3] COPY x y", Some("COPY x y")),
            (
                "[stage-1 1/1] COPY --from=build /y /y",
                Some("COPY --from=build /y /y"),
            ),
            (
                "[1/1] COPY --from=build /y /y",
                Some("COPY --from=build /y /y"),
            ),
            ("[build 9/9] RUN x", None),
            ("[lost 1/1] RUN x", None),
            ("exporting to client", None),
        ] {
            let found = place(TEXT, at_step(step));
            assert_eq!(found.as_deref(), expected, "{step}");
        }
    }

    #[test]
    fn places_and_lines_of_messages_count_before_the_step() {
        let mut failure = at_step("[build 3/3] COPY x y");
        failure.message = "parse error on line 3: unknown".to_owned();
        assert_eq!(place(TEXT, failure.clone()).as_deref(), Some("ENV A=b"));
        failure.place = Some(Place { first: 4, last: 5 });
        assert_eq!(place(TEXT, failure).as_deref(), Some("RUN make \\\n  all"));
    }

    #[test]
    fn errors_in_the_text_are_those_that_kraft_finds() {
        let options = BuildOptions::default();
        let request = BuildRequest::of_text("FRO a\n", &options);
        let failure = DaemonFailure {
            message: "dockerfile parse error line 1".to_owned(),
            ..DaemonFailure::default()
        };
        let error = of_daemon(&request, failure);
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}
