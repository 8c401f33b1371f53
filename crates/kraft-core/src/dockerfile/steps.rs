//! `RUN`, `COPY` and `ADD`: flags, then words, of which some announce here-documents.

use super::flags::{self, Flag};
use super::instruction::{Command, Copy, Document, Run, Source};
use super::lines::{Line, Word, words};
use super::parse::{Outcome, Reader, command, fault};
use crate::problem::{Problem, Span};

impl Reader<'_> {
    pub(super) fn run(&mut self, rest: &Line, end: &mut Option<usize>) -> Outcome<Run> {
        let found = words(&rest.text, self.escape);
        let (flags, from) = flags::take(rest, &found);
        let mut run = Run {
            command: Command::Shell(String::new()),
            documents: Vec::new(),
            mounts: Vec::new(),
            network: None,
            security: None,
        };
        for flag in &flags {
            match flag.name.as_str() {
                "mount" => run.mounts.push(flag.mount()?),
                "network" => run.network = Some(flag.needed()?),
                "security" => run.security = Some(flag.needed()?),
                _ => return fault(flag.unknown(&["mount", "network", "security"])),
            }
        }
        let text = rest.text.get(from..).unwrap_or_default();
        if text.is_empty() {
            return fault(
                Problem::error("`RUN` has no command")
                    .at(rest.whole())
                    .label("a command must follow"),
            );
        }
        run.command = command(text);
        if matches!(run.command, Command::Shell(_)) {
            for word in found.iter().skip(flags.len()) {
                if let Some(document) = self.document(rest, word, end)? {
                    run.documents.push(document);
                }
            }
        }
        Ok(run)
    }

    pub(super) fn copy(
        &mut self,
        rest: &Line,
        adds: bool,
        end: &mut Option<usize>,
    ) -> Outcome<Copy> {
        let keyword = if adds { "ADD" } else { "COPY" };
        let found = words(&rest.text, self.escape);
        let (flags, from) = flags::take(rest, &found);
        let mut copy = copy_flags(&flags, adds)?;
        let text = rest.text.get(from..).unwrap_or_default();
        let mut named: Vec<(String, Span, Option<Word<'_>>)> = match command(text) {
            Command::Exec(list) => {
                let span = rest.span(from, rest.text.len());
                list.into_iter().map(|word| (word, span, None)).collect()
            }
            Command::Shell(_) => found
                .iter()
                .skip(flags.len())
                .map(|word| {
                    let span = rest.span(word.start, word.end());
                    (word.text.to_owned(), span, Some(*word))
                })
                .collect(),
        };
        let destination = named.pop();
        let Some((destination, _, _)) = destination.filter(|_| !named.is_empty()) else {
            return fault(
                Problem::error(format!("`{keyword}` needs what is copied, and where to"))
                    .at(rest.whole())
                    .label(format!("such as `{keyword} app /app`")),
            );
        };
        copy.destination = destination;
        for (word, span, typed) in named {
            let document = match typed {
                Some(typed) => self.document(rest, &typed, end)?,
                None => None,
            };
            copy.sources.push(match document {
                Some(document) => Source::Document(document),
                None => Source::Path { word, span },
            });
        }
        if copy.sources.len() > 1 && !copy.destination.ends_with(['/', '.']) {
            let problem = Problem::error(format!(
                "`{keyword}` of several things goes into a directory, so `{}` must end with `/`",
                copy.destination
            ));
            return fault(problem.at(rest.whole()));
        }
        Ok(copy)
    }

    /// Reads the here-document that a word announces: `<<EOF`, `<<-EOF`, `3<<"EOF"`.
    fn document(
        &mut self,
        rest: &Line,
        word: &Word<'_>,
        end: &mut Option<usize>,
    ) -> Outcome<Option<Document>> {
        let digits = word.text.trim_start_matches(|c: char| c.is_ascii_digit());
        let descriptor = word.text.len() - digits.len();
        let descriptor = word.text.get(..descriptor).unwrap_or_default();
        let Some(name) = digits
            .strip_prefix("<<")
            .filter(|name| !name.starts_with('<'))
        else {
            return Ok(None);
        };
        let (name, strips) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let bare: String = name.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
        let tame = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        if bare.is_empty() || !bare.chars().all(tame) {
            return Ok(None);
        }
        let Some((text, after)) = self.lines.document(&bare, strips) else {
            return fault(
                Problem::error(format!("the here-document `{bare}` never ends"))
                    .at(rest.span(word.start, word.end()))
                    .label(format!("a line with only `{bare}` must end it")),
            );
        };
        *end = Some(after);
        Ok(Some(Document {
            expands: bare == name,
            name: bare,
            text,
            descriptor: descriptor.parse().unwrap_or(0),
        }))
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
    for flag in flags {
        match flag.name.as_str() {
            "chown" => copy.chown = Some(flag.needed()?),
            "chmod" => copy.chmod = Some(flag.needed()?),
            "link" => copy.link = flag.switch()?,
            "exclude" => copy.exclude.push(flag.needed()?),
            "from" if !adds => copy.from = Some(flag.needed()?),
            "parents" if !adds => copy.parents = flag.switch()?,
            "checksum" if adds => copy.checksum = Some(flag.needed()?),
            "unpack" if adds => copy.unpack = Some(flag.switch()?),
            "keep-git-dir" if adds => {}
            _ if adds => {
                return fault(
                    flag.unknown(&["chown", "chmod", "link", "exclude", "checksum", "unpack"]),
                );
            }
            _ => {
                return fault(
                    flag.unknown(&["chown", "chmod", "link", "exclude", "from", "parents"]),
                );
            }
        }
    }
    Ok(copy)
}
