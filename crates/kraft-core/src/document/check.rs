//! Validates a YAML tree against a table of shapes.

use crate::nearest::nearest;
use crate::problem::{Problem, Span};

use super::node::{Entry, Kind, Node, Value};
use super::problems::Problems;
use super::shape::{Field, Record, Shape, is_extension};

/// Reports everything that does not fit. With `lenient`, numbers and booleans are accepted as
/// strings. `subject` names the whole document in messages: "a Kraftfile".
pub(crate) fn check(
    root: &Node,
    record: &'static Record,
    lenient: bool,
    subject: &str,
) -> Problems {
    let mut checker = Checker {
        lenient,
        problems: Problems::default(),
    };
    checker.record(root, record, subject);
    checker.problems
}

struct Checker {
    lenient: bool,
    problems: Problems,
}

impl Checker {
    /// `subject` names the value in messages: "`name`", "an item of `cmd`".
    fn value(&mut self, node: &Node, shape: &'static Shape, subject: &str, key: Span) {
        match (fitting(shape, node), &node.value) {
            (Some(Shape::List(shape)), Value::List(items)) => {
                let subject = format!("an item of {subject}");
                for item in items {
                    self.value(item, shape, &subject, item.span);
                }
            }
            (Some(Shape::Map(shape)), Value::Map(entries)) => {
                self.free_map(entries, shape, subject);
            }
            (Some(Shape::Record(record)), Value::Map(_)) => self.record(node, record, subject),
            (Some(fitting), Value::Scalar(_)) => {
                if !self.scalar(node, fitting, subject) {
                    self.mismatch(node, shape, subject, key);
                }
            }
            (Some(_), _) => {}
            (None, _) => self.mismatch(node, shape, subject, key),
        }
    }

    fn free_map(&mut self, entries: &[Entry], shape: &'static Shape, subject: &str) {
        // `x-` keys belong to the author only where the value may be a record: a label or variable
        // may have such a name.
        let records = matches!(shape, Shape::Either(_));
        for Entry { key, value } in entries {
            if !(records && is_extension(&key.value)) {
                let subject = format!("`{}` in {subject}", key.value);
                self.value(value, shape, &subject, key.span);
            }
        }
    }

    fn record(&mut self, node: &Node, record: &'static Record, subject: &str) {
        let mut seen: Vec<(&'static str, &Entry)> = Vec::new();
        for entry in node.entries() {
            let Some(field) = record.field(&entry.key.value) else {
                self.unknown_key(entry, record, subject);
                continue;
            };
            if let Some((_, first)) = seen.iter().find(|(name, _)| *name == field.name) {
                let message = format!(
                    "`{}` and `{}` mean the same",
                    first.key.value, entry.key.value
                );
                let problem = Problem::error(message).at(entry.key.span);
                let problem = problem
                    .label("keep only one")
                    .related(first.key.span, "first defined in this place");
                self.problems.push(problem);
                continue;
            }
            seen.push((field.name, entry));
            self.field(entry, field);
        }
        for field in record.fields.iter().filter(|f| f.required) {
            if !seen.iter().any(|(name, _)| *name == field.name) {
                let problem = Problem::error(format!("{subject} has no `{}`", field.name));
                self.problems.push(problem.at(node.span).help(field.doc));
            }
        }
    }

    fn field(&mut self, entry: &Entry, field: &'static Field) {
        let name = entry.key.value.as_str();
        if entry.value.is_refused() {
            return;
        }
        if field.old.contains(&name) {
            let problem = Problem::warning(format!("`{name}` is deprecated")).at(entry.key.span);
            let problem = problem.fix(entry.key.span, field.name);
            self.problems
                .push(problem.label(format!("use `{}`", field.name)));
        }
        if matches!(field.shape, Shape::Any) {
            let problem = Problem::warning(format!("`{name}` has no effect")).at(entry.key.span);
            self.problems.push(problem.help(field.doc));
        } else if entry.value.is_null() && !field.required {
            let problem = Problem::warning(format!("`{name}` is left empty")).at(entry.key.span);
            self.problems
                .push(problem.help("give it a value or remove the line"));
        } else {
            self.value(
                &entry.value,
                &field.shape,
                &format!("`{name}`"),
                entry.key.span,
            );
        }
    }

    fn unknown_key(&mut self, entry: &Entry, record: &'static Record, subject: &str) {
        let key = entry.key.value.as_str();
        if is_extension(key) {
            return;
        }
        if self.problems.full() {
            // Searching similar names is too expensive for problems that are only counted.
            self.problems.push(Problem::warning("unknown key"));
            return;
        }
        let problem = Problem::warning(format!("unknown key `{}` in {subject}", clip(key)))
            .at(entry.key.span);
        let names = || {
            record
                .fields
                .iter()
                .flat_map(|f| std::iter::once(f.name).chain(f.aliases.iter().copied()))
        };
        let problem = match nearest(key, names()) {
            Some(name) => problem
                .label(format!("did you mean `{name}`?"))
                .fix(entry.key.span, name),
            None => problem.help(format!(
                "expected one of: {}; custom keys begin with `x-`",
                names().collect::<Vec<_>>().join(", ")
            )),
        };
        self.problems.push(problem);
    }

    /// Returns whether a scalar has the kind that the shape requires.
    fn scalar(&mut self, node: &Node, shape: &'static Shape, subject: &str) -> bool {
        let Value::Scalar(scalar) = &node.value else {
            return false;
        };
        let kind = scalar.kind();
        match shape {
            Shape::Text => kind == Kind::Text || (self.lenient && kind != Kind::Null),
            Shape::Scalar => kind != Kind::Null,
            Shape::Bool if self.lenient => scalar.reads_as_bool().is_some(),
            Shape::Bool => scalar.as_bool().is_some(),
            Shape::Word(words) => {
                if kind == Kind::Text && !words.contains(&scalar.text.as_str()) {
                    self.unknown_word(node, &scalar.text, words, subject);
                }
                kind == Kind::Text
            }
            Shape::ScalarOrNothing | Shape::Any | Shape::Free => true,
            Shape::List(_) | Shape::Map(_) | Shape::Record(_) | Shape::Either(_) => false,
        }
    }

    fn unknown_word(
        &mut self,
        node: &Node,
        word: &str,
        words: &'static [&'static str],
        subject: &str,
    ) {
        let message = format!("{subject} cannot be `{}`", clip(word));
        let problem = Problem::error(message).at(node.span);
        let problem = match nearest(word, words.iter().copied()) {
            Some(name) => problem
                .label(format!("did you mean `{name}`?"))
                .fix(node.span, name),
            None => problem.label(format!("expected {}", words.join(" or "))),
        };
        self.problems.push(problem);
    }

    fn mismatch(&mut self, node: &Node, shape: &'static Shape, subject: &str, key: Span) {
        let expected = expectation(shape);
        let found = node.describe();
        let place = if node.span.start == node.span.end {
            key
        } else {
            node.span
        };
        let mut problem = Problem::error(format!("{subject} must be {expected}, found {found}"))
            .at(place)
            .label(format!("expected {expected}"));
        if let Value::Scalar(scalar) = &node.value
            && takes_text(shape)
            && matches!(scalar.kind(), Kind::Bool | Kind::Number)
        {
            problem = problem
                .help(format!("put it in quotes: `\"{}\"`", clip(&scalar.text)))
                .fix(node.span, format!("\"{}\"", scalar.text));
        }
        self.problems.push_mistyped(problem);
    }
}

/// Selects the alternative for the kind of node.
fn fitting(shape: &'static Shape, node: &Node) -> Option<&'static Shape> {
    match (shape, &node.value) {
        (Shape::Either(shapes), _) => shapes.iter().find_map(|shape| fitting(shape, node)),
        (Shape::Any | Shape::Free, _)
        | (Shape::List(_), Value::List(_))
        | (Shape::Map(_) | Shape::Record(_), Value::Map(_))
        | (
            Shape::Text | Shape::Word(_) | Shape::Scalar | Shape::ScalarOrNothing | Shape::Bool,
            Value::Scalar(_),
        ) => Some(shape),
        _ => None,
    }
}

fn takes_text(shape: &Shape) -> bool {
    match shape {
        Shape::Text => true,
        Shape::Either(shapes) => shapes.iter().any(takes_text),
        Shape::Word(_)
        | Shape::Scalar
        | Shape::ScalarOrNothing
        | Shape::Bool
        | Shape::List(_)
        | Shape::Map(_)
        | Shape::Record(_)
        | Shape::Any
        | Shape::Free => false,
    }
}

fn expectation(shape: &Shape) -> String {
    match shape {
        Shape::Text => "a string".to_owned(),
        Shape::Word(words) => words.join(" or "),
        Shape::Scalar | Shape::ScalarOrNothing => "a single value".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::List(_) => "a list".to_owned(),
        Shape::Map(_) | Shape::Record(_) => "a mapping".to_owned(),
        Shape::Any | Shape::Free => "anything".to_owned(),
        Shape::Either(shapes) => {
            let words: Vec<_> = shapes.iter().map(expectation).collect();
            words.join(" or ")
        }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}
