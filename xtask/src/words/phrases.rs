//! The banned phrases and the allowed quotations, read from the two lists beside this file.

use std::cell::Cell;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::passages::{Kind, Passage};

/// A banned phrase.
pub(super) struct Phrase {
    pattern: Regex,
    unless: Option<Regex>,
    /// Banned only in what users read: messages and pages.
    messages_only: bool,
    better: String,
}

/// An occurrence of a banned phrase.
pub(super) struct Hit {
    /// Where it is in the text of the passage.
    pub(super) span: Range<usize>,
    /// What to write instead.
    pub(super) better: String,
}

/// A quotation that may use a banned phrase.
pub(super) struct Quotation {
    path: String,
    text: String,
    used: Cell<bool>,
}

/// Reads the list of phrases: sections of `pattern -> better [ | unless pattern ]`.
pub(super) fn phrases(list: &str) -> Result<Vec<Phrase>, Vec<String>> {
    let mut phrases = Vec::new();
    let mut messages_only = false;
    for line in entries(list) {
        match line {
            "[everywhere]" => messages_only = false,
            "[messages]" => messages_only = true,
            entry => {
                phrases.push(phrase(entry, messages_only).map_err(|error| {
                    vec![format!("words.txt: invalid entry `{entry}`: {error}")]
                })?);
            }
        }
    }
    Ok(phrases)
}

fn phrase(entry: &str, messages_only: bool) -> Result<Phrase, String> {
    let (pattern, rest) = entry.split_once(" -> ").ok_or("expected ` -> `")?;
    let (better, unless) = match rest.split_once(" | ") {
        Some((better, unless)) => (better, Some(expression(unless)?)),
        None => (rest, None),
    };
    Ok(Phrase {
        pattern: expression(&format!(r"\b(?:{})\b", pattern.trim()))?,
        unless,
        messages_only,
        better: better.trim().to_owned(),
    })
}

fn expression(pattern: &str) -> Result<Regex, String> {
    // ASCII is enough, and the crate is built without tables of Unicode.
    RegexBuilder::new(pattern.trim())
        .unicode(false)
        .case_insensitive(true)
        .build()
        .map_err(|error| error.to_string())
}

/// Reads the list of quotations: `path: text`.
pub(super) fn quotations(list: &str) -> Result<Vec<Quotation>, Vec<String>> {
    entries(list)
        .map(|entry| {
            let (path, text) = entry
                .split_once(": ")
                .ok_or_else(|| vec![format!("allowed.txt: expected `path: text`: `{entry}`")])?;
            Ok(Quotation {
                path: path.to_owned(),
                text: text.trim().to_owned(),
                used: Cell::new(false),
            })
        })
        .collect()
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

impl Quotation {
    /// Describes the entry if it has allowed nothing.
    pub(super) fn unused(&self) -> Option<String> {
        (!self.used.get()).then(|| {
            format!(
                "allowed.txt: `{}: {}` allows nothing: remove it",
                self.path, self.text
            )
        })
    }

    fn allows(&self, path: &str, passage: &Passage, span: &Range<usize>) -> bool {
        let allows = self.path == path
            && passage
                .text
                .match_indices(&self.text)
                .any(|(at, text)| at <= span.start && span.end <= at + text.len());
        if allows {
            self.used.set(true);
        }
        allows
    }
}

/// Returns the banned phrases of a passage, sorted by place.
pub(super) fn hits(
    path: &str,
    passage: &Passage,
    phrases: &[Phrase],
    quotations: &[Quotation],
) -> Vec<Hit> {
    let prose = passage.prose();
    let read_by_users = matches!(passage.kind, Kind::Message | Kind::Page);
    let mut hits: Vec<Hit> = phrases
        .iter()
        .filter(|phrase| read_by_users || !phrase.messages_only)
        .flat_map(|phrase| phrase.find(&prose))
        .filter(|hit| {
            !quotations
                .iter()
                .any(|quotation| quotation.allows(path, passage, &hit.span))
        })
        .collect();
    hits.sort_by_key(|hit| hit.span.start);
    hits
}

impl Phrase {
    fn find(&self, prose: &str) -> Vec<Hit> {
        let kept: Vec<Range<usize>> = match &self.unless {
            Some(unless) => unless.find_iter(prose).map(|found| found.range()).collect(),
            None => Vec::new(),
        };
        self.pattern
            .find_iter(prose)
            .map(|found| found.range())
            .filter(|span| {
                !kept
                    .iter()
                    .any(|kept| kept.start < span.end && span.start < kept.end)
            })
            .map(|span| Hit {
                span,
                better: self.better.clone(),
            })
            .collect()
    }
}
