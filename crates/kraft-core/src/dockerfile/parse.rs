//! Parses logical lines to instructions.

use super::flags::{self, Flag};
use super::instruction::{Command, From, Instruction, Pair};
use super::lines::{LARGEST, Line, Lines, is_blank, plain_words, words};
use super::{Dockerfile, Stage, Step};
use crate::nearest;
use crate::problem::Problem;

/// Keywords of all instructions.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Parses a Dockerfile, or reports all errors in it.
pub fn parse(text: &str) -> Result<Dockerfile, Vec<Problem>> {
    if text.len() > LARGEST {
        return Err(vec![Problem::error(
            "the Dockerfile is too large: the limit is 4 MiB",
        )]);
    }
    let mut reader = Reader::new(text);
    let escape = reader.directives();
    while let Some(line) = reader.lines.next_logical() {
        if let Err(problem) = reader.statement(&line) {
            reader.problems.push(*problem);
        }
    }
    let mut read = reader.read;
    read.escape = escape;
    if read.stages.is_empty() && reader.problems.is_empty() {
        reader.problems.push(
            Problem::error("the Dockerfile has no `FROM`")
                .help("begin with `FROM scratch`, or with the image to build on"),
        );
    }
    if reader.problems.is_empty() {
        Ok(read)
    } else {
        Err(reader.problems)
    }
}

impl Instruction {
    /// Parses one instruction with its here-documents, such as the text of an `ONBUILD`.
    pub fn read(text: &str) -> Result<Self, Box<Problem>> {
        let mut reader = Reader::new(text);
        let Some(line) = reader.lines.next_logical() else {
            return fail(Problem::error("it is empty"));
        };
        let (instruction, _) = reader.instruction(&line)?;
        match reader.lines.next_logical() {
            None => Ok(instruction),
            Some(_) => fail(Problem::error("it is more than one instruction")),
        }
    }
}

pub(super) type Outcome<T> = Result<T, Box<Problem>>;

pub(super) struct Reader<'t> {
    pub(super) lines: Lines<'t>,
    pub(super) escape: char,
    /// The lines after an instruction that contain its here-documents, for an `ONBUILD`.
    pub(super) behind: Vec<String>,
    read: Dockerfile,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            lines: Lines::new(text),
            escape: '\\',
            behind: Vec::new(),
            read: Dockerfile {
                syntax: None,
                escape: '\\',
                arguments: Vec::new(),
                stages: Vec::new(),
                warnings: Vec::new(),
            },
            problems: Vec::new(),
        }
    }

    fn directives(&mut self) -> char {
        let directives = self.lines.directives();
        self.read.syntax = directives.syntax;
        match directives.escape {
            Some((value, _)) if value == "`" => self.escape = '`',
            Some((value, span)) if value != "\\" => self.problems.push(
                Problem::error(format!("`{value}` cannot be the escape character"))
                    .at(span)
                    .label("a backslash or a backtick"),
            ),
            _ => {}
        }
        if let Some((name, span)) = directives.repeated {
            let problem = Problem::error(format!("the directive `{name}` is specified twice"));
            self.problems.push(problem.at(span));
        }
        self.lines.set_escape(self.escape);
        self.escape
    }

    fn statement(&mut self, line: &Line) -> Outcome<()> {
        let (keyword, _) = keyword(line);
        if keyword == "FROM" {
            let from = self.from(line)?;
            self.read.stages.push(Stage {
                from,
                span: line.whole(),
                steps: Vec::new(),
            });
            return Ok(());
        }
        let (instruction, end) = self.instruction(line)?;
        let mut span = line.whole();
        span.end = end.unwrap_or(span.end);
        match self.read.stages.last_mut() {
            Some(stage) => stage.steps.push(Step {
                span,
                text: line.text.split_whitespace().collect::<Vec<_>>().join(" "),
                instruction,
            }),
            None => match instruction {
                Instruction::Arg(pairs) => self.read.arguments.extend(pairs),
                _ => {
                    return fail(
                        Problem::error(format!("`{keyword}` comes before the first `FROM`"))
                            .at(span)
                            .label("only `ARG` is allowed before `FROM`")
                            .help("begin with `FROM scratch`, or with the image to build on"),
                    );
                }
            },
        }
        Ok(())
    }

    /// Parses an instruction other than `FROM`; also returns the end of its here-documents.
    fn instruction(&mut self, line: &Line) -> Outcome<(Instruction, Option<usize>)> {
        let (keyword, after) = keyword(line);
        if !KEYWORDS.contains(&keyword.as_str()) {
            return fail(unknown(line, &keyword, after));
        }
        let rest = line.rest(after);
        let (flags, after) = flags::take(&rest, self.escape);
        let rest = rest.rest(after);
        let mut end = None;
        // BuildKit ignores the flags of two other instructions.
        let others = ["ADD", "COPY", "RUN", "HEALTHCHECK", "ARG", "STOPSIGNAL"];
        if !others.contains(&keyword.as_str()) {
            flags::check(&flags, &[], &[])?;
        }
        if rest.text.is_empty() {
            return fail(
                Problem::error(format!("`{keyword}` has no arguments"))
                    .at(line.whole())
                    .label("arguments are required"),
            );
        }
        let instruction = match keyword.as_str() {
            "ADD" => Instruction::Add(self.copy(line, &flags, &rest, true, &mut end)?),
            "COPY" => Instruction::Copy(self.copy(line, &flags, &rest, false, &mut end)?),
            "RUN" => Instruction::Run(self.run(line, &flags, &rest, &mut end)?),
            "HEALTHCHECK" => healthcheck(&flags, rest)?,
            _ => self.plain_instruction(&keyword, line, &rest, &mut end)?,
        };
        Ok((instruction, end))
    }

    /// Parses an instruction without flags.
    fn plain_instruction(
        &mut self,
        keyword: &str,
        line: &Line,
        rest: &Line,
        end: &mut Option<usize>,
    ) -> Outcome<Instruction> {
        let words = |line: &Line| {
            let words = plain_words(&line.text);
            words.iter().map(|word| word.text.to_owned()).collect()
        };
        Ok(match keyword {
            "ARG" => Instruction::Arg(self.arguments(rest)?),
            "CMD" => Instruction::Cmd(command(rest)?),
            "ENTRYPOINT" => Instruction::Entrypoint(command(rest)?),
            "ENV" => Instruction::Env(self.pairs(rest, "ENV")?),
            "EXPOSE" => Instruction::Expose(words(rest)),
            "LABEL" => Instruction::Label(self.pairs(rest, "LABEL")?),
            "MAINTAINER" => Instruction::Maintainer(rest.text.clone()),
            "ONBUILD" => self.onbuild(rest, end)?,
            "SHELL" => match command(rest)? {
                Command::Exec(words) if !words.is_empty() => Instruction::Shell(words),
                _ => {
                    return fail(
                        Problem::error("`SHELL` needs a JSON list of arguments")
                            .at(rest.whole())
                            .label("such as [\"/bin/sh\", \"-c\"]"),
                    );
                }
            },
            "STOPSIGNAL" => Instruction::StopSignal(rest.text.clone()),
            "USER" => Instruction::User(rest.text.clone()),
            "VOLUME" => Instruction::Volume(match command(rest)? {
                Command::Exec(words) if words.is_empty() => {
                    return fail(Problem::error("`VOLUME` has no arguments").at(rest.whole()));
                }
                Command::Exec(words) => words,
                Command::Shell(_) => words(rest),
            }),
            "WORKDIR" => Instruction::Workdir(rest.text.clone()),
            _ => {
                return fail(
                    Problem::error("`FROM` cannot be used in this place").at(line.whole()),
                );
            }
        })
    }

    fn from(&mut self, line: &Line) -> Outcome<From> {
        let (_, after) = keyword(line);
        let rest = line.rest(after);
        let (flags, after) = flags::take(&rest, self.escape);
        flags::check(&flags, &["platform"], &[])?;
        let platform = match flags.as_slice() {
            [platform] => platform.needed()?,
            _ => None,
        };
        let rest = rest.rest(after);
        let found = plain_words(&rest.text);
        let (image, name) = match found.as_slice() {
            [image] => (image, None),
            [image, word, name] if word.text.eq_ignore_ascii_case("as") => (image, Some(name)),
            [] => {
                return fail(
                    Problem::error("`FROM` needs an image")
                        .at(line.whole())
                        .label("such as `FROM scratch`"),
                );
            }
            [_, extra, ..] => {
                return fail(
                    Problem::error("invalid arguments of `FROM`")
                        .at(rest.span(extra.start, extra.end()))
                        .label("expected `AS NAME` or the end of the line"),
                );
            }
        };
        if let Some(name) = name
            && !is_stage_name(name.text)
        {
            return fail(
                Problem::error(format!("`{}` is not a valid stage name", name.text))
                    .at(rest.span(name.start, name.end()))
                    .label("expected a letter, then letters, digits, `-`, `_` and `.`"),
            );
        }
        Ok(From {
            image: image.text.to_owned(),
            span: rest.span(image.start, image.end()),
            platform,
            name: name.map(|name| name.text.to_owned()),
        })
    }

    fn onbuild(&mut self, rest: &Line, end: &mut Option<usize>) -> Outcome<Instruction> {
        let (keyword, after) = keyword(rest);
        if matches!(keyword.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
            return fail(
                Problem::error(format!("`{keyword}` cannot be used in `ONBUILD`"))
                    .at(rest.span(0, after)),
            );
        }
        self.behind.clear();
        let (_, after) = self.instruction(rest)?;
        *end = after;
        let documents = self.behind.concat();
        Ok(Instruction::Onbuild(format!("{}{documents}", rest.text)))
    }

    fn arguments(&self, rest: &Line) -> Outcome<Vec<Pair>> {
        let mut pairs = Vec::new();
        for word in words(&rest.text, self.escape) {
            let (name, value) = match word.text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.text, None),
            };
            let span = rest.span(word.start, word.end());
            if name.is_empty() {
                return fail(
                    Problem::error("an `ARG` has no name")
                        .at(span)
                        .label("write NAME or NAME=DEFAULT"),
                );
            }
            pairs.push(Pair {
                name: name.to_owned(),
                value,
                span,
            });
        }
        Ok(pairs)
    }

    /// Parses `NAME=VALUE…`, or the old form `NAME VALUE`.
    fn pairs(&mut self, rest: &Line, keyword: &str) -> Outcome<Vec<Pair>> {
        let found = words(&rest.text, self.escape);
        let Some(first) = found.first() else {
            return Ok(Vec::new());
        };
        if !first.text.contains('=') {
            let (name, value) = rest.text.split_once(is_blank).unwrap_or((&rest.text, ""));
            let value = value.trim_start_matches(is_blank);
            if value.is_empty() {
                return fail(
                    Problem::error(format!("`{}` has no value", first.text))
                        .at(rest.whole())
                        .label(format!("write `{keyword} {}=VALUE`", first.text)),
                );
            }
            self.read.warnings.push(
                Problem::warning(format!("`{keyword} NAME VALUE` is deprecated"))
                    .at(rest.whole())
                    .label(format!("write `{keyword} {}=…`", first.text)),
            );
            return Ok(vec![Pair {
                name: name.to_owned(),
                value: Some(value.to_owned()),
                span: rest.whole(),
            }]);
        }
        let mut pairs = Vec::new();
        for word in &found {
            let span = rest.span(word.start, word.end());
            match word.text.split_once('=') {
                Some((name, value)) if !name.is_empty() => pairs.push(Pair {
                    name: name.to_owned(),
                    value: Some(value.to_owned()),
                    span,
                }),
                _ => {
                    return fail(
                        Problem::error(format!("`{}` is not NAME=VALUE", word.text))
                            .at(span)
                            .label("put a value with spaces in quotes"),
                    );
                }
            }
        }
        Ok(pairs)
    }
}

/// Returns the first word of a line in upper case, and its end.
fn keyword(line: &Line) -> (String, usize) {
    let end = line.text.find(is_blank).unwrap_or(line.text.len());
    let word = line.text.get(..end).unwrap_or_default();
    (word.to_ascii_uppercase(), end)
}

/// Parses a JSON list of arguments; any other text is a shell command.
pub(super) fn command(rest: &Line) -> Outcome<Command> {
    use serde_json::Value;

    let text = &rest.text;
    let list = Some(text).filter(|text| text.starts_with('['));
    let list = list.and_then(|text| serde_json::from_str::<Vec<Value>>(text).ok());
    let Some(list) = list else {
        return Ok(Command::Shell(text.clone()));
    };
    let words = list.into_iter().map(|word| match word {
        Value::String(word) => Ok(word),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            let what = format!("`{word}` in a list of arguments is not a string");
            let problem = Problem::error(what).at(rest.whole());
            fail(problem.label("every argument needs double quotes"))
        }
    });
    words.collect::<Outcome<_>>().map(Command::Exec)
}

/// Validates a `HEALTHCHECK`, which has no effect on unikernels.
fn healthcheck(flags: &[Flag], rest: Line) -> Outcome<Instruction> {
    let known = [
        "interval",
        "timeout",
        "start-period",
        "start-interval",
        "retries",
    ];
    let word = plain_words(&rest.text).first().map(|word| word.text.len());
    let (kind, after) = rest
        .text
        .split_at_checked(word.unwrap_or(0))
        .unwrap_or_default();
    let expected = match kind.to_ascii_uppercase().as_str() {
        "NONE" if after.is_empty() => {
            return Ok(Instruction::Healthcheck(rest.text));
        }
        "CMD" if !after.is_empty() => None,
        "CMD" => Some("a command after `CMD`"),
        "NONE" => Some("nothing after `NONE`"),
        _ => Some("`CMD` or `NONE`"),
    };
    if let Some(expected) = expected {
        let problem = Problem::error("invalid arguments of `HEALTHCHECK`").at(rest.whole());
        return fail(problem.label(format!("expected {expected}")));
    }
    flags::check(flags, &known, &[])?;
    command(&rest.rest(kind.len()))?;
    Ok(Instruction::Healthcheck(rest.text))
}

fn is_stage_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn unknown(line: &Line, word: &str, end: usize) -> Problem {
    let problem = Problem::error(format!("unknown instruction `{word}`")).at(line.span(0, end));
    match nearest::nearest(word, KEYWORDS) {
        Some(meant) => problem.label(format!("did you mean `{meant}`?")),
        None => problem.label("expected an instruction"),
    }
}

pub(super) fn fail<T>(problem: Problem) -> Outcome<T> {
    Err(Box::new(problem))
}
