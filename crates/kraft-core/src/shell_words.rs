//! Splits and joins command lines by the rules of a POSIX shell.

/// Splits a command line without any expansion; the error is the unclosed quote.
pub fn split(line: &str) -> Result<Vec<String>, char> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('"'), '\\') => {
                let next = chars.next().unwrap_or('\\');
                let word = word.get_or_insert_default();
                if next == '\n' {
                    continue;
                }
                if !matches!(next, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(next);
            }
            (None, '\\') => match chars.next() {
                // A backslash at the end of a line continues it.
                Some('\n') => {}
                next => word.get_or_insert_default().extend(next),
            },
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.map_or(Ok(words), Err)
}

/// Joins arguments to a command line that a POSIX shell splits into the same arguments.
///
/// ```
/// let line = kraft_core::shell_words::join(["run", "it's", "a b", ""]);
/// assert_eq!(line, r"run 'it'\''s' 'a b' ''");
/// assert_eq!(kraft_core::shell_words::split(&line).unwrap(), ["run", "it's", "a b", ""]);
/// ```
pub fn join(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,.:/@%".contains(c);
    let quoted = words.into_iter().map(|word| {
        let word = word.as_ref();
        if !word.is_empty() && word.chars().all(plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn command_lines_are_split_as_by_a_shell() {
        for (line, words) in [
            ("", &[][..]),
            ("a  b\tc", &["a", "b", "c"]),
            (r#"a "b c" 'd "e"' "#, &["a", "b c", r#"d "e""#]),
            (
                r#"a\ b "\"" "\n" '' x'y'z"#,
                &["a b", "\"", "\\n", "", "xyz"],
            ),
            ("$HOME", &["$HOME"]),
            ("a \\\n  b\\\nc \"d\\\ne\"", &["a", "bc", "de"]),
            (" \\\n ", &[]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert_eq!(split("a 'b"), Err('\''));
    }
}
