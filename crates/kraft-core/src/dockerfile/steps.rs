//! Parses `RUN`, `COPY` and `ADD`: flags, then arguments, some of which are markers of
//! here-documents.

use super::documents::{self, Announced};
use super::flags::{self, Flag};
use super::instruction::{Command, Copy, Document, Run, Source};
use super::lines::{Line, Word, plain_words};
use super::mount::Mount;
use super::parse::{Outcome, Reader, command, fail};
use crate::problem::{Problem, Span};

impl Reader<'_> {
    /// Parses a `RUN`. `line` is the whole line, for here-documents.
    pub(super) fn run(
        &mut self,
        line: &Line,
        flags: &[Flag],
        rest: &Line,
        end: &mut Option<usize>,
    ) -> Outcome<Run> {
        flags::check(flags, &["network", "security"], &["mount"])?;
        let mut run = Run {
            command: command(rest)?,
            documents: Vec::new(),
            is_document: false,
            mounts: Vec::new(),
            network: None,
            security: None,
        };
        for flag in flags {
            match flag.name.as_str() {
                "network" => run.network = network(flag)?,
                "security" => run.security = flag.needed()?,
                _ => run.mounts.push(Mount::read(flag)?),
            }
        }
        if let Command::Shell(text) = &run.command {
            run.documents = self.documents(line, end)?;
            // For all other commands the shell removes the tabs.
            if let Some(announced) = documents::announced(text).ok().flatten()
                && let Some(document) = run.documents.first_mut()
            {
                run.is_document = true;
                document.text = announced.stripped(&document.text);
            }
        }
        Ok(run)
    }

    /// Parses a `COPY` or `ADD`. `line` is the whole line, for here-documents.
    pub(super) fn copy(
        &mut self,
        line: &Line,
        flags: &[Flag],
        rest: &Line,
        adds: bool,
        end: &mut Option<usize>,
    ) -> Outcome<Copy> {
        let keyword = if adds { "ADD" } else { "COPY" };
        let mut copy = copy_flags(flags, adds)?;
        let mut named: Vec<(String, Span)> = match command(rest)? {
            Command::Exec(list) => list.into_iter().map(|word| (word, rest.whole())).collect(),
            Command::Shell(_) => {
                let span = |word: &Word<'_>| rest.span(word.start, word.end());
                let words = plain_words(&rest.text);
                let documents = self.documents(line, end)?;
                copy.sources = sources(&words, &documents, &span)?;
                let last = words.last().filter(|_| !copy.sources.is_empty());
                last.map(|word| (word.text.to_owned(), span(word)))
                    .into_iter()
                    .collect()
            }
        };
        let destination = named.pop();
        copy.sources.extend(
            named
                .into_iter()
                .map(|(word, span)| Source::Path { word, span }),
        );
        let Some((destination, span)) = destination.filter(|_| !copy.sources.is_empty()) else {
            return fail(
                Problem::error(format!("`{keyword}` needs a source and a destination"))
                    .at(rest.whole())
                    .label(format!("such as `{keyword} app /app`")),
            );
        };
        if documents::announced(&destination).ok().flatten().is_some() {
            let problem = Problem::error("the destination cannot be a here-document");
            return fail(problem.at(span));
        }
        copy.destination = destination;
        Ok(copy)
    }

    /// Reads the here-documents of a line from the lines after it.
    pub(super) fn documents(
        &mut self,
        line: &Line,
        end: &mut Option<usize>,
    ) -> Outcome<Vec<Document>> {
        let mut found = Vec::new();
        let places: Vec<usize> = line.text.match_indices("<<").map(|(at, _)| at).collect();
        if places.is_empty() {
            return Ok(found);
        }
        let announced = documents::of_line(&line.text)
            .map_err(|error| Box::new(Problem::error(error.to_string()).at(line.whole())))?;
        for (number, announced) in announced.into_iter().enumerate() {
            let Announced {
                name,
                expands,
                strips,
                descriptor,
            } = announced;
            let Some((text, after)) = self.lines.document(&name, strips) else {
                let span = places.get(number).map_or(line.whole(), |at| {
                    let word = line.text.get(*at..).unwrap_or_default();
                    let length = word.find(char::is_whitespace).unwrap_or(word.len());
                    line.span(*at, at + length)
                });
                return fail(
                    Problem::error(format!("the here-document `{name}` is unterminated"))
                        .at(span)
                        .label(format!("a line with only `{name}` must end it")),
                );
            };
            *end = Some(after);
            self.behind.push(format!("\n{text}{name}"));
            found.push(Document {
                name,
                text,
                expands,
                descriptor,
            });
        }
        Ok(found)
    }
}

/// Separates the sources of a `COPY` into paths and here-documents.
fn sources(
    words: &[Word<'_>],
    documents: &[Document],
    span: &dyn Fn(&Word<'_>) -> Span,
) -> Outcome<Vec<Source>> {
    let mut sources = Vec::new();
    let before = words.len().saturating_sub(1);
    let mut words = words.iter().take(before).peekable();
    while let Some(word) = words.next() {
        let mut text = word.text.to_owned();
        // The name of a here-document may be the next argument.
        if documents::is_sign(&text)
            && let Some(name) = words.next_if(|_| !documents.is_empty())
        {
            text.push_str(name.text);
        }
        let announced = documents::announced(&text)
            .map_err(|error| Box::new(Problem::error(error.to_string()).at(span(word))))?;
        // The last here-document of a name wins.
        let document = announced.and_then(|announced| {
            let mut named = documents.iter().rev();
            let document = named.find(|document| document.name == announced.name)?;
            Some(Document {
                text: announced.stripped(&document.text),
                expands: announced.expands,
                ..document.clone()
            })
        });
        sources.push(match document {
            Some(document) => Source::Document(document),
            None => Source::Path {
                word: text,
                span: span(word),
            },
        });
    }
    Ok(sources)
}

fn network(flag: &Flag) -> Outcome<Option<String>> {
    let mode = flag.needed()?;
    match mode.as_deref() {
        None | Some("default" | "none" | "host") => Ok(mode),
        Some(other) => {
            let problem = Problem::error(format!("`{other}` is not a valid network"));
            fail(
                problem
                    .at(flag.span)
                    .label("expected `default`, `none` or `host`"),
            )
        }
    }
}

fn copy_flags(flags: &[Flag], adds: bool) -> Outcome<Copy> {
    let mut copy = Copy {
        from: None,
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: None,
        checksum: None,
        sources: Vec::new(),
        destination: String::new(),
    };
    let known: &[&str] = if adds {
        &[
            "chown",
            "chmod",
            "link",
            "checksum",
            "unpack",
            "keep-git-dir",
        ]
    } else {
        &["chown", "chmod", "link", "from", "parents"]
    };
    flags::check(flags, known, &["exclude"])?;
    for flag in flags {
        match flag.name.as_str() {
            "chown" => copy.chown = flag.needed()?,
            "chmod" => copy.chmod = flag.needed()?,
            "link" => copy.link = flag.switch()?,
            "from" => copy.from = flag.needed()?,
            "parents" => copy.parents = flag.switch()?,
            "checksum" => copy.checksum = flag.needed()?,
            "unpack" => copy.unpack = Some(flag.switch()?),
            "keep-git-dir" => drop(flag.switch()?),
            _ => copy.exclude.extend(flag.needed()?),
        }
    }
    Ok(copy)
}
