//! A YAML tree in which every node has its byte range, for editing.
//!
//! Limited on purpose: edited files have no anchors, tags or deep nesting. Unsupported syntax is
//! reported as a [`Problem`] with its position.

use crate::problem::{Problem, Span};
use granit_parser::{Event, Parser, ScalarStyle, ScanError};

/// Maximum nesting of mappings and lists; kraft's own keys have at most three levels.
const DEEPEST: usize = 32;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its byte range, including quotes and brackets. In block style a mapping or list extends from
    /// its first key or item to the end of its last value.
    pub span: Span,
    /// Its value.
    pub value: Value,
}

/// The value of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A scalar: its text, and whether it was written without quotes.
    Scalar {
        /// Its text, without quotes.
        text: String,
        /// Whether it is written without quotes.
        plain: bool,
    },
    /// A list.
    List {
        /// Its items.
        items: Vec<Node>,
        /// Whether it is written in brackets.
        flow: bool,
    },
    /// A mapping.
    Map {
        /// Its entries, in the order of the text.
        entries: Vec<Entry>,
        /// Whether it is written in braces.
        flow: bool,
    },
}

/// One entry of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Position of the key.
    pub key_span: Span,
    /// The value.
    pub node: Node,
}

impl Node {
    /// Returns whether it is null: `key:`, `key: ~`, `key: null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns the entries of a mapping; empty for other nodes.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map { entries, .. } => entries,
            Value::Scalar { .. } | Value::List { .. } => &[],
        }
    }

    /// Describes the value for a message that begins with "found".
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{text}`"),
            Value::List { .. } => "a list".to_owned(),
            Value::Map { .. } => "a mapping".to_owned(),
        }
    }

    /// Returns the entry at a path of keys.
    pub fn find<K: AsRef<str>>(&self, path: &[K]) -> Option<&Entry> {
        let (first, rest) = path.split_first()?;
        let entry = self.entries().iter().find(|e| e.key == first.as_ref())?;
        if rest.is_empty() {
            Some(entry)
        } else {
            entry.node.find(rest)
        }
    }

    /// Returns the tree without positions and style, for comparison.
    pub fn plain(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => serde_json::Value::Null,
            Value::Scalar { text, .. } => text.as_str().into(),
            Value::List { items, .. } => items.iter().map(Self::plain).collect(),
            Value::Map { entries, .. } => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.plain()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// Parses a text; `None` if it is empty or contains only comments.
pub fn parse(text: &str) -> Result<Option<Node>, Vec<Problem>> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok(pair) => pair,
            Err(error) => {
                builder.problems.push(syntax(text, &error));
                break;
            }
        };
        let range = span.byte_range().unwrap_or(0..0);
        let end = range.end.min(text.len());
        let start = range.start.min(end);
        builder.take(event, Span { start, end });
    }
    if let Some(root) = &builder.root
        && !matches!(root.value, Value::Map { .. })
        && !root.is_null()
        && builder.problems.is_empty()
    {
        let problem = Problem::error("the configuration must be a mapping")
            .at(root.span)
            .label(format!("expected `key: value`, found {}", root.describe()));
        builder.problems.push(problem);
    }
    if builder.problems.is_empty() {
        Ok(builder.root)
    } else {
        Err(builder.problems)
    }
}

/// A list or mapping that is not closed yet.
struct Open {
    start: usize,
    /// End of the last child.
    end: usize,
    what: OpenValue,
}

enum OpenValue {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(String, Span)>),
}

#[derive(Default)]
struct Builder {
    stack: Vec<Open>,
    root: Option<Node>,
    problems: Vec<Problem>,
    documents: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.refuse("a configuration must be a single document", span);
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    self.refuse(
                        "anchors and tags are not supported in a configuration",
                        span,
                    );
                }
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                };
                self.push(Node { span, value });
            }
            Event::Alias(_) => {
                self.refuse("aliases are not supported in a configuration", span);
                let value = Value::Scalar {
                    text: String::new(),
                    plain: true,
                };
                self.push(Node { span, value });
            }
            Event::SequenceStart(..) => self.open(span, OpenValue::List(Vec::new())),
            Event::MappingStart(..) => self.open(span, OpenValue::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            _ => {}
        }
    }

    fn refuse(&mut self, message: &str, span: Span) {
        self.problems.push(Problem::error(message).at(span));
    }

    fn open(&mut self, span: Span, what: OpenValue) {
        self.stack.push(Open {
            start: span.start,
            end: span.start,
            what,
        });
    }

    fn close(&mut self, end: Span) {
        let Some(open) = self.stack.pop() else {
            return;
        };
        // In flow style the end is a bracket; in block style it has no bytes.
        let flow = end.end > end.start;
        let span = Span {
            start: open.start,
            end: if flow { end.end } else { open.end },
        };
        let value = match open.what {
            OpenValue::List(items) => Value::List { items, flow },
            OpenValue::Map(entries, _) => Value::Map { entries, flow },
        };
        self.push(Node { span, value });
    }

    /// Adds a complete node to its parent.
    fn push(&mut self, node: Node) {
        let Some(open) = self.stack.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        open.end = open.end.max(node.span.end);
        let twice = match &mut open.what {
            OpenValue::List(items) => {
                items.push(node);
                None
            }
            OpenValue::Map(entries, key) => match key.take() {
                None => {
                    let span = node.span;
                    let text = match node.value {
                        Value::Scalar { text, .. } => text,
                        Value::List { .. } | Value::Map { .. } => String::new(),
                    };
                    let first = entries.iter().find(|e| e.key == text).map(|e| e.key_span);
                    *key = Some((text.clone(), span));
                    first.map(|first| (text, span, first))
                }
                Some((key, key_span)) => {
                    entries.push(Entry {
                        key,
                        key_span,
                        node,
                    });
                    None
                }
            },
        };
        if let Some((key, span, first)) = twice {
            let problem = Problem::error(format!("the key `{key}` is written twice"))
                .at(span)
                .label("defined again")
                .related(first, "first defined in this place")
                .help("keep one of them");
            self.problems.push(problem);
        }
    }
}

fn syntax(text: &str, error: &ScanError) -> Problem {
    let start = error.marker().byte_offset().unwrap_or(text.len());
    let start = start.min(text.len());
    Problem::error(format!("this is not YAML: {}", error.info())).at(Span { start, end: start })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice<'t>(text: &'t str, path: &[&str]) -> &'t str {
        let root = parse(text).unwrap().unwrap();
        let span = root.find(path).unwrap().node.span;
        text.get(span.start..span.end).unwrap()
    }

    #[test]
    fn values_have_their_byte_ranges() {
        let text = "# top\na: 'x y' # why\nlog:\n    level: debug\n    type:\nlist:\n- one\n- two # 2\nflow: {k: [1, 2]}\n";
        assert_eq!(slice(text, &["a"]), "'x y'");
        assert_eq!(slice(text, &["log", "level"]), "debug");
        assert_eq!(slice(text, &["log", "type"]), "");
        assert_eq!(slice(text, &["list"]), "one\n- two");
        assert_eq!(slice(text, &["flow", "k"]), "[1, 2]");
        assert_eq!(slice(text, &["flow"]), "{k: [1, 2]}");
    }

    #[test]
    fn comments_alone_are_an_empty_configuration() {
        assert_eq!(parse("").unwrap(), None);
        assert!(parse("# nothing\n").unwrap().is_none_or(|n| n.is_null()));
    }

    #[test]
    fn other_values_than_mappings_are_rejected() {
        for (text, start) in [
            ("- a\n", 0),
            ("word\n", 0),
            ("a: 1\na: 2\n", 5),
            ("a: &x 1\n", 6),
            ("a: [1\n", 3),
        ] {
            let problems = parse(text).unwrap_err();
            let span = problems.first().unwrap().span.unwrap();
            assert_eq!(span.start, start, "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn deep_nesting_is_rejected() {
        assert!(parse(&"[".repeat(1 << 20)).is_err());
        assert!(parse(&"a: ".repeat(1 << 10)).is_err());
    }
}
