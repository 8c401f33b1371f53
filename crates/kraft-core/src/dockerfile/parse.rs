//! Logical lines into instructions.

use super::flags;
use super::instruction::{Command, From, Instruction, Pair};
use super::lines::{LARGEST, Line, Lines, words};
use super::{Dockerfile, Stage, Step};
use crate::nearest;
use crate::problem::Problem;

/// Every word an instruction can begin with.
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

/// Reads a Dockerfile, or says everything that is wrong with it.
pub fn parse(text: &str) -> Result<Dockerfile, Vec<Problem>> {
    if text.len() > LARGEST {
        return Err(vec![Problem::error(
            "a Dockerfile is not larger than 4 MiB",
        )]);
    }
    let mut reader = Reader::new(text);
    let escape = reader.directives();
    while let Some(line) = reader.lines.next_logical() {
        if let Err(problem) = reader.statement(&line) {
            reader.faults.push(*problem);
        }
    }
    let mut read = reader.read;
    read.escape = escape;
    if read.stages.is_empty() && reader.faults.is_empty() {
        reader.faults.push(
            Problem::error("the Dockerfile has no `FROM`")
                .help("begin with `FROM scratch`, or with the image to build on"),
        );
    }
    if reader.faults.is_empty() {
        Ok(read)
    } else {
        Err(reader.faults)
    }
}

impl Instruction {
    /// Reads one instruction without here-documents, such as the text of an `ONBUILD`.
    pub fn read(text: &str) -> Result<Self, Box<Problem>> {
        let mut reader = Reader::new("");
        reader
            .instruction(&Line::detached(text.trim()))
            .map(|(instruction, _)| instruction)
    }
}

pub(super) type Outcome<T> = Result<T, Box<Problem>>;

pub(super) struct Reader<'t> {
    pub(super) lines: Lines<'t>,
    pub(super) escape: char,
    read: Dockerfile,
    faults: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            lines: Lines::new(text),
            escape: '\\',
            read: Dockerfile {
                syntax: None,
                escape: '\\',
                arguments: Vec::new(),
                stages: Vec::new(),
                warnings: Vec::new(),
            },
            faults: Vec::new(),
        }
    }

    fn directives(&mut self) -> char {
        let directives = self.lines.directives();
        self.read.syntax = directives.syntax;
        match directives.escape {
            Some((value, _)) if value == "`" => self.escape = '`',
            Some((value, span)) if value != "\\" => self.faults.push(
                Problem::error(format!("`{value}` cannot be the escape character"))
                    .at(span)
                    .label("a backslash or a backtick"),
            ),
            _ => {}
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
                    return fault(
                        Problem::error(format!("`{keyword}` stands before any `FROM`"))
                            .at(span)
                            .label("only `ARG` may stand here")
                            .help("begin with `FROM scratch`, or with the image to build on"),
                    );
                }
            },
        }
        Ok(())
    }

    /// Reads an instruction other than `FROM`; also returns where its here-documents end.
    fn instruction(&mut self, line: &Line) -> Outcome<(Instruction, Option<usize>)> {
        let (keyword, after) = keyword(line);
        let rest = line.rest(after);
        let mut end = None;
        if rest.text.is_empty() && KEYWORDS.contains(&keyword.as_str()) {
            return fault(
                Problem::error(format!("`{keyword}` says nothing"))
                    .at(line.whole())
                    .label("something must follow"),
            );
        }
        let instruction = match keyword.as_str() {
            "ADD" => Instruction::Add(self.copy(&rest, true, &mut end)?),
            "COPY" => Instruction::Copy(self.copy(&rest, false, &mut end)?),
            "ARG" => Instruction::Arg(self.arguments(&rest)?),
            "CMD" => Instruction::Cmd(command(&rest.text)),
            "ENTRYPOINT" => Instruction::Entrypoint(command(&rest.text)),
            "ENV" => Instruction::Env(self.pairs(&rest, "ENV")?),
            "EXPOSE" => Instruction::Expose(self.plain(&rest)),
            "HEALTHCHECK" => Instruction::Healthcheck(rest.text),
            "LABEL" => Instruction::Label(self.pairs(&rest, "LABEL")?),
            "MAINTAINER" => Instruction::Maintainer(rest.text),
            "ONBUILD" => self.onbuild(&rest)?,
            "RUN" => Instruction::Run(self.run(&rest, &mut end)?),
            "SHELL" => match command(&rest.text) {
                Command::Exec(words) if !words.is_empty() => Instruction::Shell(words),
                _ => {
                    return fault(
                        Problem::error("`SHELL` needs a list of words")
                            .at(rest.whole())
                            .label("such as [\"/bin/sh\", \"-c\"]"),
                    );
                }
            },
            "STOPSIGNAL" => Instruction::StopSignal(rest.text),
            "USER" => Instruction::User(rest.text),
            "VOLUME" => Instruction::Volume(match command(&rest.text) {
                Command::Exec(words) => words,
                Command::Shell(_) => self.plain(&rest),
            }),
            "WORKDIR" => Instruction::Workdir(rest.text),
            "FROM" => {
                return fault(Problem::error("`FROM` cannot stand here").at(line.whole()));
            }
            other => return fault(unknown(line, other, after)),
        };
        Ok((instruction, end))
    }

    fn from(&mut self, line: &Line) -> Outcome<From> {
        let (_, after) = keyword(line);
        let rest = line.rest(after);
        let found = words(&rest.text, self.escape);
        let (flags, _) = flags::take(&rest, &found);
        let mut platform = None;
        for flag in &flags {
            match flag.name.as_str() {
                "platform" => platform = Some(flag.needed()?),
                _ => return fault(flag.unknown(&["platform"])),
            }
        }
        let found = found.get(flags.len()..).unwrap_or_default();
        let (image, name) = match found {
            [image] => (image, None),
            [image, word, name] if word.text.eq_ignore_ascii_case("as") => (image, Some(name)),
            [] => {
                return fault(
                    Problem::error("`FROM` names no image")
                        .at(line.whole())
                        .label("such as `FROM scratch`"),
                );
            }
            [_, extra, ..] => {
                return fault(
                    Problem::error("cannot read this `FROM`")
                        .at(rest.span(extra.start, extra.end()))
                        .label("expected `AS NAME` or the end of the line"),
                );
            }
        };
        if let Some(name) = name
            && !is_stage_name(name.text)
        {
            return fault(
                Problem::error(format!("`{}` cannot be the name of a stage", name.text))
                    .at(rest.span(name.start, name.end()))
                    .label("a letter, then letters, digits, `-`, `_` and `.`"),
            );
        }
        Ok(From {
            image: image.text.to_owned(),
            span: rest.span(image.start, image.end()),
            platform,
            name: name.map(|name| name.text.to_owned()),
        })
    }

    fn plain(&self, rest: &Line) -> Vec<String> {
        let found = words(&rest.text, self.escape);
        found.iter().map(|word| word.text.to_owned()).collect()
    }

    fn onbuild(&mut self, rest: &Line) -> Outcome<Instruction> {
        let (keyword, after) = keyword(rest);
        match keyword.as_str() {
            "ONBUILD" | "FROM" | "MAINTAINER" => fault(
                Problem::error(format!(
                    "`{keyword}` cannot be left to those who build on this"
                ))
                .at(rest.span(0, after)),
            ),
            _ => {
                self.instruction(rest)?;
                Ok(Instruction::Onbuild(rest.text.clone()))
            }
        }
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
                return fault(
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

    /// Reads `NAME=VALUE…`, or the old form `NAME VALUE`.
    fn pairs(&mut self, rest: &Line, keyword: &str) -> Outcome<Vec<Pair>> {
        let found = words(&rest.text, self.escape);
        let Some(first) = found.first() else {
            return Ok(Vec::new());
        };
        if !first.text.contains('=') {
            let value = rest.text.get(first.end()..).unwrap_or_default().trim();
            if value.is_empty() {
                return fault(
                    Problem::error(format!("`{}` has no value", first.text))
                        .at(rest.whole())
                        .label(format!("write `{keyword} {}=VALUE`", first.text)),
                );
            }
            self.read.warnings.push(
                Problem::warning(format!("`{keyword} NAME VALUE` is an old form"))
                    .at(rest.whole())
                    .label(format!("write `{keyword} {}=…`", first.text)),
            );
            return Ok(vec![Pair {
                name: first.text.to_owned(),
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
                    return fault(
                        Problem::error(format!("`{}` is not NAME=VALUE", word.text))
                            .at(span)
                            .label("a value with spaces stands in quotes"),
                    );
                }
            }
        }
        Ok(pairs)
    }
}

/// Returns the first word of a line in capitals, and where it ends.
fn keyword(line: &Line) -> (String, usize) {
    let end = line
        .text
        .find(char::is_whitespace)
        .unwrap_or(line.text.len());
    let word = line.text.get(..end).unwrap_or_default();
    (word.to_ascii_uppercase(), end)
}

/// Reads a JSON list of words, or takes the text for the shell.
pub(super) fn command(text: &str) -> Command {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => Command::Exec(words),
        Err(_) => Command::Shell(text.to_owned()),
    }
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
        None => problem.label("no instruction of a Dockerfile"),
    }
}

pub(super) fn fault<T>(problem: Problem) -> Outcome<T> {
    Err(Box::new(problem))
}
