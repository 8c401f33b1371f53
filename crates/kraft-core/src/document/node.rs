//! The tree of a YAML text, each node with its position.
//!
//! Independent of the document's format.

use crate::problem::Span;

use super::located::Located;

/// A node of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Position; of a list or mapping only the first line.
    pub(crate) span: Span,
    /// Its value.
    pub(crate) value: Value,
}

/// The value of a node.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Located<String>,
    pub(crate) value: Node,
}

/// A scalar as written.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// Its text, after escapes and folding.
    pub(crate) text: String,
    /// Whether YAML resolves its type by its text: neither quoted nor tagged `!!str`.
    pub(crate) plain: bool,
}

/// The type of a scalar by YAML 1.2. `yes`, `no`, `on`, `off`, `y` and `n` are strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
}

impl Scalar {
    pub(crate) fn kind(&self) -> Kind {
        if !self.plain {
            return Kind::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Bool,
            text if is_number(text) => Kind::Number,
            _ => Kind::Text,
        }
    }

    /// Returns the boolean value, also for the keywords of YAML 1.1.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        self.plain.then(|| self.reads_as_bool()).flatten()
    }

    /// Returns the boolean value of its text, also if that is quoted or the value of a variable.
    pub(crate) fn reads_as_bool(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
                Some(true)
            }
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n"
            | "N" => Some(false),
            _ => None,
        }
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = digits.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return !octal.is_empty() && octal.bytes().all(|b| (b'0'..=b'7').contains(&b));
    }
    if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let shaped = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    shaped
        && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.parse::<f64>().is_ok()
}

impl Node {
    /// Returns the scalar, unless it is null.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) if scalar.kind() != Kind::Null => Some(scalar),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the text of a scalar with its position, unless it is null.
    pub(crate) fn text(&self) -> Option<Located<String>> {
        self.scalar()
            .map(|s| Located::new(s.text.clone(), self.span))
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) => &[],
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(s) if s.kind() == Kind::Null)
    }

    /// Returns whether it replaces a rejected alias, which has already been reported.
    pub(crate) fn is_refused(&self) -> bool {
        let empty = matches!(&self.value, Value::Scalar(s) if s.plain && s.text.is_empty());
        empty && self.span.end > self.span.start
    }

    /// Describes the value for a message that begins with "found".
    pub(crate) fn describe(&self) -> String {
        let scalar = match &self.value {
            Value::List(_) => return "a list".to_owned(),
            Value::Map(_) => return "a mapping".to_owned(),
            Value::Scalar(scalar) => scalar,
        };
        let what = match scalar.kind() {
            Kind::Null => return "nothing".to_owned(),
            Kind::Bool => "boolean",
            Kind::Number => "number",
            Kind::Text => "string",
        };
        let mut text: String = scalar.text.chars().take(40).collect();
        if text.len() < scalar.text.len() {
            text.push('…');
        }
        format!("the {what} `{text}`")
    }

    /// Returns the tree as JSON; numbers that JSON cannot represent become strings.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|e| (e.key.value.clone(), e.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Scalar(scalar) => match scalar.kind() {
                Kind::Null => serde_json::Value::Null,
                Kind::Bool => scalar.as_bool().into(),
                Kind::Number => serde_json::from_str::<serde_json::Number>(&scalar.text)
                    .map_or_else(|_| scalar.text.clone().into(), serde_json::Value::Number),
                Kind::Text => scalar.text.clone().into(),
            },
        }
    }
}
