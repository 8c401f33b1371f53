//! A line of words, as shells read it.

/// Splits by the rules of a POSIX shell, without any expansion; the error is the quote left open.
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
                if !matches!(next, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(next);
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
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

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_and_backslashes_keep_words_together() {
        let words = |line: &str| split(line).unwrap();
        assert_eq!(words(r#" a  "b c"'d' e\ f "#), ["a", "b cd", "e f"]);
        assert_eq!(words(r#""" '' "\"\x""#), ["", "", r#""\x"#]);
        assert_eq!(words(""), Vec::<String>::new());
        assert_eq!(split("a 'b"), Err('\''));
    }
}
