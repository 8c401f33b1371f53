//! Positions of the Language Server Protocol, lines and columns, and the bytes that they are.

use kraft_core::problem::Span;
use serde_json::{Value, json};

/// The unit of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Bytes of UTF-8.
    Utf8,
    /// Units of UTF-16: the default of the protocol.
    #[default]
    Utf16,
}

impl Encoding {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16 => "utf-16",
        }
    }

    fn length(self, c: char) -> usize {
        match self {
            Self::Utf8 => c.len_utf8(),
            Self::Utf16 => c.len_utf16(),
        }
    }
}

/// The lines of a text.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    /// Where each line begins.
    starts: Vec<usize>,
    encoding: Encoding,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str, encoding: Encoding) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter_map(|(at, byte)| {
            // `\n`, `\r\n` and `\r` end a line.
            let ends = *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
            ends.then_some(at + 1)
        });
        Self {
            text,
            starts: std::iter::once(0).chain(ends).collect(),
            encoding,
        }
    }

    /// Returns the byte of a position; behind the end of a line or of the text it is that end.
    pub(super) fn byte(&self, position: &Value) -> Option<usize> {
        let number = |name: &str| usize::try_from(position.get(name)?.as_u64()?).ok();
        let (line, column) = (number("line")?, number("character")?);
        let Some(start) = self.starts.get(line).copied() else {
            return Some(self.text.len());
        };
        let end = self.starts.get(line + 1).copied();
        let line = self.text.get(start..end.unwrap_or(self.text.len()))?;
        let mut units = 0;
        let inside = line.trim_end_matches(['\r', '\n']).char_indices();
        for (at, c) in inside {
            if units >= column {
                return Some(start + at);
            }
            units += self.encoding.length(c);
        }
        Some(start + line.trim_end_matches(['\r', '\n']).len())
    }

    /// Returns a range of bytes as a range of positions.
    pub(super) fn range(&self, span: Span) -> Value {
        json!({ "start": self.position(span.start), "end": self.position(span.end) })
    }

    /// Returns whether both ends of a range are in one line.
    pub(super) fn is_in_one_line(&self, span: Span) -> bool {
        self.line(span.start) == self.line(span.end)
    }

    fn line(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte) - 1
    }

    fn position(&self, byte: usize) -> Value {
        let byte = self.text.floor_char_boundary(byte);
        let line = self.line(byte);
        let start = self.starts.get(line).copied().unwrap_or_default();
        let before = self.text.get(start..byte).unwrap_or_default();
        let column: usize = before.chars().map(|c| self.encoding.length(c)).sum();
        json!({ "line": line, "character": column })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_the_unit_of_the_client() {
        let text = "a: é𝄞b\r\nc\rd\n";
        for (encoding, b, behind) in [(Encoding::Utf16, 6, 7), (Encoding::Utf8, 9, 10)] {
            let lines = Lines::of(text, encoding);
            let byte = |line: usize, character: usize| {
                lines.byte(&json!({ "line": line, "character": character }))
            };
            let at = text.find('b').unwrap();
            assert_eq!(byte(0, b), Some(at));
            assert_eq!(byte(0, behind), Some(at + 1));
            assert_eq!(byte(0, 1000), Some(at + 1));
            assert_eq!(byte(1, 0), text.find('c'));
            assert_eq!(byte(2, 0), text.find('d'));
            assert_eq!(byte(1000, 3), Some(text.len()));
            let span = Span {
                start: at,
                end: 1000,
            };
            let range = json!({
                "start": { "line": 0, "character": b },
                "end": { "line": 3, "character": 0 },
            });
            assert_eq!(lines.range(span), range);
        }
        let none = json!({ "line": -1, "character": "x" });
        assert_eq!(Lines::of(text, Encoding::Utf8).byte(&none), None);
    }
}
