//! Texts as the formats of engines write them.

use std::fmt::Write as _;

/// Returns a scalar of YAML in double quotes (YAML 1.2, 5.7): whatever is not printable ASCII is escaped, so
/// that it is the same in YAML 1.1.
pub(super) fn yaml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ => {
                let code = u32::from(c);
                let _ = if code > 0xffff {
                    write!(out, "\\U{code:08x}")
                } else {
                    write!(out, "\\u{code:04x}")
                };
            }
        }
    }
    out.push('"');
    out
}

/// Returns a list of YAML on one line.
pub(super) fn yaml_list<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| yaml(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// Returns a string of HCL: the escapes are those of YAML, and no template begins in it.
pub(super) fn hcl(text: &str) -> String {
    yaml(text).replace("${", "$${").replace("%{", "%%{")
}

/// Returns a word of a unit of systemd (systemd.service(5), "Command lines"): without specifiers,
/// variables, and line ends.
pub(super) fn unit(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,.:/@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            '\0'..' ' | '\x7f' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns a text for XML, in an element or an attribute in single quotes; `None` for characters that XML 1.0
/// cannot have.
pub(super) fn xml(text: &str) -> Option<String> {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => return None,
            _ => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_do_not_end_their_quotes() {
        let text = "a \"b\" \\ $HOME ${x} %h %{y}\n\u{85}\u{1f600}";
        assert_eq!(
            yaml(text),
            r#""a \"b\" \\ $HOME ${x} %h %{y}\n\u0085\U0001f600""#
        );
        assert_eq!(
            hcl(text),
            r#""a \"b\" \\ $HOME $${x} %h %%{y}\n\u0085\U0001f600""#
        );
        assert_eq!(
            unit(text),
            "\"a \\\"b\\\" \\\\ $$HOME $${x} %%h %%{y}\\x0a\u{85}\u{1f600}\""
        );
        assert_eq!(unit("--port=8080:80"), "--port=8080:80");
        assert_eq!(unit(""), "\"\"");
        assert_eq!(
            xml("a<'&\">\n").as_deref(),
            Some("a&lt;&apos;&amp;&quot;&gt;&#10;")
        );
        assert_eq!(xml("\x1b"), None);
    }

    proptest! {
        /// What is written is read back by another program's rules: YAML by the reader of Kraftfiles.
        #[test]
        fn any_text_is_read_back_from_yaml(text in "\\PC{0,30}|[\\x00-\\x7f]{0,12}") {
            let document = format!("a: {}\n", yaml(&text));
            let read = kraft_core::yaml::document::parse(&document).unwrap().unwrap().plain();
            prop_assert_eq!(read["a"].as_str(), Some(text.as_str()));
        }
    }
}
