//! JSON as written by Go's `encoding/json`: compact, with HTML characters escaped.
//!
//! `KraftKit` looks up a blob by the digest of the re-encoded document, so the output must be
//! identical byte for byte.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// Returns a value as one line of JSON.
pub(crate) fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Compact);
    match value.serialize(&mut serializer) {
        Ok(()) => bytes,
        // Only maps with non-string keys and failing writers cause errors; neither occurs.
        Err(_) => Vec::new(),
    }
}

struct Compact;

impl Formatter for Compact {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, c) in fragment.char_indices() {
            if !matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                continue;
            }
            writer.write_all(fragment.as_bytes().get(written..at).unwrap_or_default())?;
            write!(writer, "\\u{:04x}", u32::from(c))?;
            written = at + c.len_utf8();
        }
        writer.write_all(fragment.as_bytes().get(written..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_minds_is_escaped() {
        let text = "a&b<c>\u{2028}\u{2029}ä\"\\\n\u{1}";
        let bytes = to_vec(&[text]);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"["a\u0026b\u003cc\u003e\u2028\u2029ä\"\\\n\u0001"]"#
        );
    }
}
