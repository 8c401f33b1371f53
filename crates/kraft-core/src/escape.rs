//! Escapes untrusted text for terminals and logs.
//!
//! ```text
//! C0 and C1 controls, DEL   can move the cursor, set the title, inject input
//! bidi controls             can reorder a line visually
//! line separators           can break a line
//! ```
//!
//! ```
//! use kraft_core::escape::escape;
//!
//! assert_eq!(escape("plain text", &[]), "plain text");
//! assert_eq!(escape("red \x1b[31m", &[]), r"red \u{1b}[31m");
//! assert_eq!(escape("a\nb", &['\n']), "a\nb");
//! ```

use std::borrow::Cow;

/// Returns whether a character must not be printed unescaped.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// Escapes unsafe characters (`\u{9b}`, `\n`), except those in `kept`.
pub fn escape(text: &str, kept: &[char]) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) && !kept.contains(&character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Replaces unsafe characters by visible ones of the same length in bytes, so that spans into the
/// text stay valid. ASCII is unchanged.
pub(crate) fn mask(text: &str) -> Cow<'_, str> {
    let is_masked = |character: char| !character.is_ascii() && is_unsafe(character);
    if !text.contains(is_masked) {
        return Cow::Borrowed(text);
    }
    let masked = text.chars().map(|character| match character.len_utf8() {
        2 if is_masked(character) => '\u{b7}',
        3 if is_masked(character) => '\u{fffd}',
        _ => character,
    });
    Cow::Owned(masked.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let all: String = ('\0'..='\u{ffff}').collect();
        let escaped = escape(&all, &['\n', '\t']);
        let left: Vec<char> = escaped.chars().filter(|&c| is_unsafe(c)).collect();
        assert_eq!(left, ['\t', '\n']);
        assert_eq!(
            escape("a\u{9b}31mb\u{202e}\u{1b}[2J\u{7f}", &[]),
            r"a\u{9b}31mb\u{202e}\u{1b}[2J\u{7f}"
        );
        assert_eq!(escape("plain äß 日本 🙂", &[]), "plain äß 日本 🙂");
    }

    #[test]
    fn masking_keeps_byte_offsets() {
        let all: String = ('\0'..='\u{ffff}').collect();
        let masked = mask(&all);
        assert_eq!(masked.len(), all.len());
        for ((at, before), (place, after)) in all.char_indices().zip(masked.char_indices()) {
            assert_eq!(at, place);
            assert!(before == after || is_unsafe(before), "{before:?}");
            assert!(after.is_ascii() || !is_unsafe(after), "{after:?}");
        }
        assert!(matches!(mask("a\tb\n"), Cow::Borrowed(_)));
    }
}
