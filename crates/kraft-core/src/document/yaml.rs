//! Parses YAML to a tree, with limits on size and nesting.
//!
//! The parser emits a flat sequence of events. They are assembled here without recursion, and the
//! parser itself stops at a depth of [`DEEPEST`], so nesting does not use the machine stack. After
//! a syntax error, the complete entries of the outermost mapping are kept, so that errors in them
//! are reported as well.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag};

use crate::problem::{Problem, Span};

use super::located::Located;
use super::node::{Entry, Kind, Node, Scalar, Value};
use super::problems::Problems;

/// Maximum nesting of lists and mappings; real documents need less than ten.
const DEEPEST: usize = 64;
/// Maximum size of tree copied from aliases, in bytes; every node counts as at least 16.
const ALIAS_BUDGET: usize = 1 << 20;

/// The result of parsing YAML.
pub(crate) struct Tree {
    /// The first document; after a syntax error its complete part.
    pub(crate) root: Option<Node>,
    /// Errors in the YAML syntax.
    pub(crate) problems: Problems,
    /// Whether parsing stopped before the end.
    pub(crate) partial: bool,
    /// The known tags, by the position at which their value begins.
    pub(crate) tags: BTreeMap<usize, &'static str>,
}

/// Parses the first document of a text. Tags other than the `known` ones cause a warning.
pub(crate) fn read(text: &str, known: &'static [&'static str]) -> Tree {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut builder = Builder::new(text, known);
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                let span = builder.span(&span);
                if builder.event(event, span) {
                    break;
                }
            }
            Err(error) => {
                builder.syntax_error(&error);
                break;
            }
        }
    }
    builder.finish()
}

/// An incomplete list or mapping.
struct Frame {
    start: usize,
    anchor: usize,
    open: Open,
}

enum Open {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<Key>,
        merges: Vec<Node>,
    },
}

enum Key {
    Name(Located<String>),
    Merge,
    /// It was rejected: its value is dropped.
    Refused,
}

struct Builder<'a> {
    text: &'a str,
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    alias_budget: usize,
    documents: usize,
    problems: Problems,
    partial: bool,
    known: &'static [&'static str],
    tags: BTreeMap<usize, &'static str>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, known: &'static [&'static str]) -> Self {
        Self {
            text,
            known,
            tags: BTreeMap::new(),
            stack: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            alias_budget: ALIAS_BUDGET,
            documents: 0,
            problems: Problems::default(),
            partial: false,
        }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or(0..0);
        let end = range.end.min(self.text.len());
        Span {
            start: range.start.min(end),
            end,
        }
    }

    /// Processes one event; returns true if all later events can be skipped.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let problem = Problem::warning("only the first document of the file is read")
                        .at(span)
                        .label("the second document begins in this line");
                    self.problems.push(problem);
                    return true;
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text_by_tag(tag.as_ref(), span);
                let scalar = Scalar {
                    text: text.into_owned(),
                    plain,
                };
                let value = Value::Scalar(scalar);
                self.push(Node { span, value }, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.is_text_by_tag(tag.as_ref(), span);
                self.open(span, anchor, Open::List(Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                self.is_text_by_tag(tag.as_ref(), span);
                let map = Open::Map {
                    entries: Vec::new(),
                    key: None,
                    merges: Vec::new(),
                };
                self.open(span, anchor, map);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => return self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                let problem = Problem::error(format!(
                    "there is no anchor `&{name}` before this alias"
                ))
                .at(span)
                .help(format!(
                    "mark the value to repeat with `&{name}`, or quote the alias if it is text"
                ));
                self.problems.push(problem);
                self.push(null(span), 0);
            }
            _ => {}
        }
        false
    }

    /// Returns whether the tag makes a scalar a string; custom tags cause a warning.
    fn is_text_by_tag(&mut self, tag: Option<&Cow<'_, Tag>>, span: Span) -> bool {
        let Some(tag) = tag else { return false };
        if tag.is_yaml_core_schema() {
            return tag.is_yaml_core_schema_tag("str");
        }
        let name = tag.to_string();
        if let Some(known) = self.known.iter().find(|known| **known == name) {
            self.tags.insert(span.start, known);
            return false;
        }
        let problem = Problem::warning(format!("the tag `{name}` is not supported and ignored"));
        self.problems.push(problem.at(span));
        false
    }

    fn open(&mut self, span: Span, anchor: usize, open: Open) {
        self.stack.push(Frame {
            start: span.start,
            anchor,
            open,
        });
    }

    fn close(&mut self, end: Span) {
        let Some(frame) = self.stack.pop() else {
            return;
        };
        let span = self.first_line(frame.start, end.end);
        let value = match frame.open {
            Open::List(items) => Value::List(items),
            Open::Map {
                entries, merges, ..
            } => Value::Map(self.whole_map(entries, &merges)),
        };
        self.push(Node { span, value }, frame.anchor);
    }

    fn first_line(&self, start: usize, end: usize) -> Span {
        let text = self.text.get(start..end).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default().trim_end();
        Span {
            start,
            end: start + line.len(),
        }
    }

    /// Reports duplicate keys and adds the entries merged by `<<`.
    fn whole_map(&mut self, entries: Vec<Entry>, merges: &[Node]) -> Vec<Entry> {
        let mut places: HashMap<String, usize> = HashMap::with_capacity(entries.len());
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            let first = places.get(&entry.key.value).and_then(|at| kept.get(*at));
            if let Some(first) = first {
                self.problems.push(written_twice(first, &entry));
            } else {
                places.insert(entry.key.value.clone(), kept.len());
                kept.push(entry);
            }
        }
        for merge in merges {
            let sources = match &merge.value {
                Value::List(items) => items.as_slice(),
                Value::Map(_) | Value::Scalar(_) => std::slice::from_ref(merge),
            };
            for source in sources {
                if !matches!(source.value, Value::Map(_)) {
                    let problem = Problem::error("`<<` can only merge mappings").at(source.span);
                    self.problems
                        .push(problem.label(format!("this is {}", source.describe())));
                }
                for entry in source.entries() {
                    if !places.contains_key(&entry.key.value) {
                        places.insert(entry.key.value.clone(), kept.len());
                        kept.push(entry.clone());
                    }
                }
            }
        }
        kept
    }

    fn alias(&mut self, id: usize, span: Span) -> bool {
        let Some(node) = self.anchors.get(&id) else {
            let problem = Problem::error("this alias is inside of the value it repeats").at(span);
            self.problems.push(problem);
            self.push(null(span), 0);
            return false;
        };
        let Some(left) = charge(node, self.alias_budget) else {
            let problem = Problem::error("the aliases of this file expand to more than 1 MiB")
                .at(span)
                .help("write the values without aliases");
            self.problems.push(problem);
            self.partial = true;
            return true;
        };
        self.alias_budget = left;
        let node = node.clone();
        self.push(node, 0);
        false
    }

    /// Adds a complete node to its parent.
    fn push(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map {
                entries,
                key,
                merges,
            } => match key.take() {
                None => *key = Some(key_of(node, &mut self.problems)),
                Some(Key::Name(key)) => entries.push(Entry { key, value: node }),
                Some(Key::Merge) => merges.push(node),
                Some(Key::Refused) => {}
            },
        }
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let at = error.marker().byte_offset().unwrap_or(self.text.len());
        let start = self.tab_before(error.kind(), at.min(self.text.len()));
        let end = self
            .text
            .get(start..)
            .and_then(|rest| rest.chars().next())
            .filter(|c| *c != '\n' && *c != '\r')
            .map_or(start, |c| start + c.len_utf8());
        let (message, help) = explain(error.kind());
        let mut problem = Problem::error(message).at(Span { start, end });
        if let Some(help) = help {
            problem = problem.help(help);
        }
        self.problems.push(problem);
        self.partial = true;
    }

    /// The parser reports the position after a tab; the user should see the tab.
    fn tab_before(&self, kind: &ErrorKind, at: usize) -> usize {
        let tab = matches!(
            kind,
            ErrorKind::TabNotAllowed
                | ErrorKind::TabInBlockIndentation
                | ErrorKind::TabAtBlockScalarStart
                | ErrorKind::TabInIndentation
                | ErrorKind::TabInPlainScalar
        );
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        let blank = before.get(line..).unwrap_or_default();
        match blank.find('\t') {
            Some(column) if tab && blank.trim().is_empty() => line + column,
            _ => at,
        }
    }

    fn finish(mut self) -> Tree {
        if self.partial && self.root.is_none() && !self.stack.is_empty() {
            let bottom = self.stack.swap_remove(0);
            if let Open::Map {
                entries, merges, ..
            } = bottom.open
            {
                let value = Value::Map(self.whole_map(entries, &merges));
                let span = self.first_line(bottom.start, self.text.len());
                self.root = Some(Node { span, value });
            }
        }
        Tree {
            root: self.root,
            problems: self.problems,
            partial: self.partial,
            tags: self.tags,
        }
    }
}

fn null(span: Span) -> Node {
    let scalar = Scalar {
        text: String::new(),
        plain: true,
    };
    Node {
        span,
        value: Value::Scalar(scalar),
    }
}

/// Reports a duplicate key; with the same value it is only a warning.
fn written_twice(first: &Entry, again: &Entry) -> Problem {
    let key: String = again.key.chars().take(60).collect();
    let same = match (first.value.text(), again.value.text()) {
        (Some(first), Some(again)) => first.value == again.value,
        _ => false,
    };
    let problem = if same {
        Problem::warning(format!(
            "the key `{key}` is written twice, with the same value"
        ))
    } else {
        Problem::error(format!("the key `{key}` is written twice"))
            .help("keep one of them; older tools silently used the last")
    };
    problem
        .at(again.key.span)
        .label("defined again")
        .related(first.key.span, "first defined in this place")
}

/// Returns the rest of a budget after copying a tree; `None` if it is exceeded.
fn charge(node: &Node, budget: usize) -> Option<usize> {
    let budget = budget.checked_sub(16)?;
    match &node.value {
        Value::Scalar(scalar) => budget.checked_sub(scalar.text.len()),
        Value::List(items) => items
            .iter()
            .try_fold(budget, |left, item| charge(item, left)),
        Value::Map(entries) => entries.iter().try_fold(budget, |left, entry| {
            charge(&entry.value, left.checked_sub(entry.key.value.len())?)
        }),
    }
}

fn key_of(node: Node, problems: &mut Problems) -> Key {
    let what = node.describe();
    let Value::Scalar(scalar) = node.value else {
        let problem = Problem::error("a key must be a string").at(node.span);
        problems.push(problem.label(format!("this is {what}")));
        return Key::Refused;
    };
    match scalar.kind() {
        Kind::Text if scalar.plain && scalar.text == "<<" => Key::Merge,
        Kind::Text => Key::Name(Located::new(scalar.text, node.span)),
        Kind::Null | Kind::Bool | Kind::Number => {
            let problem = Problem::error(format!("a key must be a string, found {what}"))
                .at(node.span)
                .help(format!("put it in quotes: `\"{}\":`", scalar.text));
            problems.push(problem);
            Key::Refused
        }
    }
}

/// Rewords syntax errors whose message by the parser is unclear.
fn explain(kind: &ErrorKind) -> (String, Option<&'static str>) {
    let (message, help) = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => (
            "a tab cannot indent a line in YAML",
            Some("indent with blanks"),
        ),
        ErrorKind::RecursionLimitExceeded => (
            "lists and mappings are nested too deeply",
            Some("the limit is 64 levels"),
        ),
        ErrorKind::UnclosedQuotedScalar => (
            "this quoted string is never closed",
            Some("end it with the same quote it begins with"),
        ),
        ErrorKind::UnclosedFlowCollection { open: '[', .. }
        | ErrorKind::UnexpectedEofFlowSequence => {
            ("this `[` is never closed", Some("end the list with `]`"))
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            ("this `{` is never closed", Some("end the mapping with `}`"))
        }
        ErrorKind::ExpectedFlowSequenceSeparator => (
            "expected `,` or `]` in the list",
            Some("the closing `]` of the list or quotes around this text may be missing"),
        ),
        ErrorKind::ExpectedFlowMappingSeparator => (
            "expected `,` or `}` in the mapping",
            Some("the closing `}` of the mapping or quotes around this text may be missing"),
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "expected `:` after this key",
            Some("write `key: value`, with a blank after the colon"),
        ),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidMappingValueWhitespace => (
            "a second `key: value` is not allowed on the same line",
            Some("put the value in quotes if the colon belongs to it"),
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => (
            "this line is indented differently from its neighbours",
            Some("entries of the same mapping or list begin in the same column"),
        ),
        ErrorKind::InvalidColonPlacement => (
            "unexpected `:`",
            Some("the closing bracket of a list or mapping before it may be missing"),
        ),
        ErrorKind::UnknownQuotedScalarEscape => (
            "unknown escape in a double-quoted string",
            Some("write `\\\\` for a backslash, or use single quotes"),
        ),
        other => return (other.to_string(), None),
    };
    (message.to_owned(), help)
}
