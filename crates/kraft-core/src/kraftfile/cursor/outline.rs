//! Finds the mapping or list that a position is in, in a text that may be incomplete.
//!
//! While a user types, the text is hardly ever valid YAML, so the parser of documents cannot answer this. One pass
//! over the lines keeps the open keys and items by their columns, and the open brackets:
//!
//! ```text
//! targets:                 Key targets
//! - platform: qemu         └ Item └ Key platform └ Word qemu
//!   kconfig: { A: y, B|    └ Key kconfig ├ Key A └ Word y
//!                                        └ Word B          <- the position
//! ```

use std::cell::Cell;

use crate::problem::Span;

/// The largest number of nodes that are read; a Kraftfile has a hundred.
const MOST_NODES: usize = 20_000;
/// The largest quoted text that may end in another line, in bytes.
const LONGEST_QUOTED: usize = 4096;

/// A key, an item of a list, or a text that is neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The node that it is below.
    pub(super) parent: Option<usize>,
    /// Its kind, with its text.
    pub(super) kind: Kind,
    /// The position of the text; of an item that of its dash.
    pub(super) span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Key(String),
    Item,
    /// A value, or the beginning of a key.
    Word(String),
}

/// The place of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The node that the text there is below.
    pub(super) parent: Option<usize>,
    /// The key or word there; `None` between them.
    pub(super) node: Option<usize>,
    /// Whether only a value can be there: it is in the line of its key.
    pub(super) inline: bool,
}

/// The keys, items and words of a text.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) nodes: Vec<Node>,
    /// The place of the position, unless it is in a comment or a text block.
    pub(super) slot: Option<Slot>,
}

impl Outline {
    /// Reads a text, and finds the place of the byte `at`.
    pub(super) fn read(text: &str, at: usize) -> Self {
        let mut scanner = Scanner {
            text,
            at,
            outline: Self::default(),
            open: Vec::new(),
            line: Cell::default(),
        };
        scanner.lines();
        let mut outline = scanner.outline;
        let touched = |node: &Node| {
            node.kind != Kind::Item && (node.span.start..=node.span.end).contains(&at)
        };
        let found = outline
            .nodes
            .iter()
            .enumerate()
            .rfind(|(_, node)| touched(node));
        if let Some((found, node)) = found {
            let parent = node.parent.and_then(|parent| outline.nodes.get(parent));
            let line = text.get(parent.map_or(0, |it| it.span.end)..node.span.start);
            let key_in_line = parent.is_some_and(|it| matches!(it.kind, Kind::Key(_)))
                && line.is_some_and(|between| between.trim() == ":" && !between.contains('\n'));
            outline.slot = Some(Slot {
                parent: node.parent,
                node: Some(found),
                inline: key_in_line,
            });
        }
        outline
    }

    /// Returns the nodes above a place, from the outermost.
    pub(super) fn above(&self, parent: Option<usize>) -> Vec<&Node> {
        let mut found = Vec::new();
        let mut next = parent;
        while let Some(node) = next.and_then(|at| self.nodes.get(at)) {
            found.push(node);
            next = node.parent;
        }
        found.reverse();
        found
    }

    /// Returns the keys of the mapping below a node.
    pub(super) fn keys_below(&self, parent: Option<usize>) -> impl Iterator<Item = (usize, &str)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(move |(at, node)| match &node.kind {
            Kind::Key(name) if node.parent == parent => Some((at, name.as_str())),
            Kind::Key(_) | Kind::Item | Kind::Word(_) => None,
        })
    }
}

/// A key or item whose value may continue in the next lines.
struct Open {
    column: usize,
    node: usize,
}

/// An open bracket.
struct Bracket {
    is_list: bool,
    /// The node whose value it is.
    owner: Option<usize>,
    /// The node that the next text is below: the owner, a key or an item.
    parent: Option<usize>,
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    outline: Outline,
    open: Vec<Open>,
    /// The rest of a line whose end is known.
    line: Cell<(usize, usize)>,
}

impl<'t> Scanner<'t> {
    fn lines(&mut self) {
        let mut next = 0;
        let mut documents = 0;
        while next < self.text.len() && !self.is_full() {
            let start = next;
            let line = self.line(start);
            next = start + line.len() + 1;
            let content = line.trim_start_matches([' ', '\t']);
            let column = line.len() - content.len();
            if line.starts_with("---") {
                documents += 1;
                if documents > 1 || !self.outline.nodes.is_empty() {
                    return;
                }
            } else if content.trim_end().is_empty() {
                self.gap(start, start + line.len(), |it| {
                    (it.below(it.at - start), false)
                });
            } else if !content.starts_with(['#', '%']) {
                next = next.max(self.content(start + column, column));
            }
        }
        // The empty line after the last one.
        if next == self.text.len() {
            self.gap(next, next, |it| (it.below(0), false));
        }
    }

    /// Reads the items and the key or value of a line; returns the position after it.
    fn content(&mut self, mut start: usize, mut column: usize) -> usize {
        let mut line = self.line(start);
        while line == "-" || line.starts_with("- ") {
            while self.open.last().is_some_and(|it| {
                it.column > column || (it.column == column && self.is_item(it.node))
            }) {
                self.open.pop();
            }
            let parent = self.open.last().map(|it| it.node);
            let length = line.len();
            let rest = line.get(1..).unwrap_or_default();
            let blank = rest.len() - rest.trim_start().len();
            let is_last = matches!(rest.trim_start().as_bytes().first(), None | Some(b'#'));
            let node = self.add(parent, Kind::Item, start, start + 1);
            self.open.push(Open { column, node });
            if blank > 0 {
                self.gap(start + 2, start + 1 + blank, |_| (Some(node), false));
            }
            if is_last || self.is_full() {
                return start + length + 1;
            }
            start += 1 + blank;
            column += 1 + blank;
            line = self.line(start);
        }
        let parent = self.below(column);
        while self.open.last().is_some_and(|it| it.column >= column) {
            self.open.pop();
        }
        let Some((name, end, colon)) = key(line) else {
            return self.value(start, column, parent);
        };
        let node = self.add(parent, Kind::Key(name), start, start + end);
        self.open.push(Open { column, node });
        let after = start + colon + 1;
        let rest = self.line(after);
        let blank = rest.len() - rest.trim_start().len();
        let at = after + blank;
        if blank > 0 {
            self.gap(after + 1, at, |_| (Some(node), true));
        }
        match rest.trim_start().as_bytes().first() {
            None | Some(b'#') => after + rest.len() + 1,
            Some(_) => self.value(at, column, Some(node)),
        }
    }

    /// Reads a scalar, a text block or what is in brackets; returns the position after it.
    fn value(&mut self, start: usize, column: usize, parent: Option<usize>) -> usize {
        let mut at = start;
        let mut line = self.line(at);
        // Anchors and tags are before a value.
        while line.starts_with(['&', '!']) {
            let word = line.find(' ').unwrap_or(line.len());
            let blank = line.len() - word - line.get(word..).unwrap_or_default().trim_start().len();
            at += word + blank;
            line = self.line(at);
        }
        match line.as_bytes().first() {
            None => at + 1,
            Some(b'|' | b'>') => self.block(at + line.len() + 1, column),
            Some(b'{' | b'[') => self.brackets(at, parent),
            Some(quote @ (b'"' | b'\'')) => {
                let end = self.quoted(at, *quote);
                self.word(parent, at, end);
                end + self.line(end).len() + 1
            }
            Some(_) => {
                let end = comment(line).map_or(line.len(), |at| at);
                let word = line.get(..end).unwrap_or_default().trim_end();
                self.word(parent, at, at + word.len());
                at + line.len() + 1
            }
        }
    }

    /// Skips a text block: the lines that are deeper than its key.
    fn block(&self, start: usize, column: usize) -> usize {
        let mut next = start;
        while next < self.text.len() {
            let line = self.line(next);
            let deeper = line.len() - line.trim_start_matches(' ').len() > column;
            if !deeper && !line.trim().is_empty() {
                return next;
            }
            next += line.len() + 1;
        }
        next
    }

    /// Reads what is in brackets, in any number of lines; returns the position after their line.
    fn brackets(&mut self, start: usize, owner: Option<usize>) -> usize {
        let mut open: Vec<Bracket> = Vec::new();
        let mut parent = owner;
        let mut at = start;
        while let Some(byte) = self.text.as_bytes().get(at).copied() {
            if self.is_full() {
                break;
            }
            match byte {
                b'{' | b'[' => {
                    let is_list = byte == b'[';
                    let owner = parent;
                    if is_list {
                        parent = Some(self.add(owner, Kind::Item, at, at));
                    }
                    open.push(Bracket {
                        is_list,
                        owner,
                        parent,
                    });
                    at += 1;
                }
                b'}' | b']' => {
                    open.pop();
                    at += 1;
                    let Some(outer) = open.last() else {
                        return at + self.line(at).len() + 1;
                    };
                    parent = outer.parent;
                }
                b',' => {
                    at += 1;
                    if let Some(bracket) = open.last_mut() {
                        parent = bracket.owner;
                        if bracket.is_list {
                            parent = Some(self.add(parent, Kind::Item, at, at));
                        }
                        bracket.parent = parent;
                    }
                }
                b' ' | b'\t' | b'\r' | b'\n' => at += 1,
                b'#' if follows_blank(self.text, at) => {
                    at += self.line(at).len();
                    continue;
                }
                _ => {
                    at = self.flow_text(at, &mut parent, open.last_mut());
                    continue;
                }
            }
            // Nothing follows yet: the position is between two texts.
            self.gap(at, at, |_| (parent, false));
        }
        at
    }

    /// Reads a key or a word in brackets; after a key, the next text is below it.
    fn flow_text(
        &mut self,
        start: usize,
        parent: &mut Option<usize>,
        bracket: Option<&mut Bracket>,
    ) -> usize {
        let bytes = self.text.as_bytes();
        let quote = bytes.get(start).filter(|byte| matches!(byte, b'"' | b'\''));
        let end = if let Some(quote) = quote {
            self.quoted(start, *quote)
        } else {
            let line = self.line(start);
            let end = line
                .char_indices()
                .find(|(at, c)| {
                    matches!(c, ',' | '{' | '}' | '[' | ']')
                        || (*c == ':' && ends_key(line, *at))
                        || (*c == '#' && follows_blank(line, *at))
                })
                .map_or(line.len(), |(at, _)| at);
            start + line.get(..end).unwrap_or_default().trim_end().len()
        };
        let after = self.line(end);
        let blank = after.len() - after.trim_start().len();
        let colon = end + blank;
        let is_key = bytes.get(colon) == Some(&b':')
            && (quote.is_some() || ends_key(after, blank))
            && bracket.as_ref().is_some_and(|it| !it.is_list);
        if !is_key {
            self.word(*parent, start, end);
            // A colon alone is skipped.
            return end.max(start + 1);
        }
        let name = unquoted(self.text.get(start..end).unwrap_or_default());
        let node = self.add(*parent, Kind::Key(name), start, end);
        *parent = Some(node);
        if let Some(bracket) = bracket {
            bracket.parent = *parent;
        }
        if bytes.get(colon + 1) == Some(&b' ') {
            self.gap(colon + 2, colon + 2, |_| (Some(node), false));
        }
        colon + 1
    }

    /// Returns the end of a quoted text; one that is not closed ends with its line.
    fn quoted(&self, start: usize, quote: u8) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        let limit = start.saturating_add(LONGEST_QUOTED);
        while let Some(byte) = bytes.get(at).filter(|_| at < limit) {
            match byte {
                b'\\' if quote == b'"' => at += 2,
                b'\'' if quote == b'\'' && bytes.get(at + 1) == Some(&b'\'') => at += 2,
                byte if *byte == quote => return at + 1,
                _ => at += 1,
            }
        }
        start + self.line(start).len()
    }

    /// Returns the rest of the line that begins at a position, without its end.
    fn line(&self, start: usize) -> &'t str {
        // Many texts may be in one line: its end is searched once.
        if !(self.line.get().0..self.line.get().1).contains(&start) {
            let rest = self.text.get(start..).unwrap_or_default();
            let end = start + rest.find('\n').unwrap_or(rest.len());
            self.line.set((start, end));
        }
        let line = self.text.get(start..self.line.get().1).unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// Returns the node that a text in this column is below.
    fn below(&self, column: usize) -> Option<usize> {
        let open = self.open.iter().rev().find(|it| it.column < column);
        open.map(|it| it.node)
    }

    fn is_full(&self) -> bool {
        self.outline.nodes.len() >= MOST_NODES
    }

    fn is_item(&self, node: usize) -> bool {
        let node = self.outline.nodes.get(node);
        node.is_some_and(|node| node.kind == Kind::Item)
    }

    fn add(&mut self, parent: Option<usize>, kind: Kind, start: usize, end: usize) -> usize {
        let span = Span { start, end };
        self.outline.nodes.push(Node { parent, kind, span });
        self.outline.nodes.len() - 1
    }

    fn word(&mut self, parent: Option<usize>, start: usize, end: usize) {
        let text = unquoted(self.text.get(start..end).unwrap_or_default());
        self.add(parent, Kind::Word(text), start, end);
    }

    /// Remembers the place of the position if it is in this gap between two texts.
    fn gap(&mut self, start: usize, end: usize, place: impl Fn(&Self) -> (Option<usize>, bool)) {
        if (start..=end).contains(&self.at) {
            let (parent, inline) = place(self);
            self.outline.slot = Some(Slot {
                parent,
                node: None,
                inline,
            });
        }
    }
}

/// Returns a key at the beginning of a line with its end, and the position of its colon.
fn key(line: &str) -> Option<(String, usize, usize)> {
    let first = line.chars().next()?;
    if matches!(first, '"' | '\'') {
        let end = line.get(1..)?.find(first)? + 2;
        let rest = line.get(end..)?;
        let colon = end + rest.len() - rest.trim_start().len();
        let is_key = line.as_bytes().get(colon) == Some(&b':') && ends_key(line, colon);
        return is_key.then_some((unquoted(line.get(..end)?), end, colon));
    }
    if matches!(first, '{' | '[' | '|' | '>' | '&' | '!' | '*') {
        return None;
    }
    let limit = comment(line).unwrap_or(line.len());
    let colon = line
        .get(..limit)?
        .match_indices(':')
        .map(|(at, _)| at)
        .find(|at| ends_key(line, *at))?;
    let name = line.get(..colon)?.trim_end();
    Some((name.to_owned(), name.len(), colon))
}

/// Returns whether the colon at this position ends a key.
fn ends_key(line: &str, colon: usize) -> bool {
    let next = line.as_bytes().get(colon + 1);
    next.is_none_or(|byte| matches!(byte, b' ' | b'\t' | b',' | b'}' | b']'))
}

/// Returns whether the character before a position is a blank.
fn follows_blank(text: &str, at: usize) -> bool {
    let before = text.get(..at);
    before.is_some_and(|before| before.ends_with([' ', '\t', '\n']))
}

/// Returns the position of a comment.
fn comment(line: &str) -> Option<usize> {
    let found = line.find(" #").map(|at| at + 1);
    found.filter(|_| !line.starts_with(['"', '\'']))
}

fn unquoted(text: &str) -> String {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let inner = inner('"').or_else(|| inner('\''));
    inner.unwrap_or(text).to_owned()
}
