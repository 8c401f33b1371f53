//! Formats command lines and URLs for logs, without credentials.

use std::process::Command;

/// Returns a command in shell syntax, without the credentials in its URLs.
pub fn shown(command: &Command) -> String {
    let mut line = quoted(&command.get_program().to_string_lossy());
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(&redacted(&argument.to_string_lossy())));
    }
    line
}

fn quoted(argument: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./=:@%+,".contains(&b);
    if !argument.is_empty() && argument.bytes().all(is_plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

/// Removes credentials and queries from all URLs in a text, such as a command line or a message.
///
/// ```
/// use kraft_sys::command_line::redacted;
///
/// let line = "git fetch https://user:token@host/a?key=1 main";
/// assert_eq!(redacted(line), "git fetch https://host/a main");
/// assert_eq!(redacted("ssh://git:pw@host/a"), "ssh://git@host/a");
/// ```
pub fn redacted(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let (url, behind) = split_at_first(after, |c| {
            c.is_whitespace() || matches!(c, '\'' | '"' | '`')
        });
        let (url, _query) = split_at_first(url, |c| matches!(c, '?' | '#'));
        match url.rsplit_once('@') {
            // In other URL schemes the user name may be a token.
            Some((user, host)) if before.ends_with("ssh") && !user.contains('/') => {
                let (user, _password) = split_at_first(user, |c| c == ':');
                clean.extend([user, "@", host]);
            }
            // A password may contain an unescaped slash; a path may contain an `@`.
            Some((user, host)) if !user.contains('/') || user.contains(':') => {
                clean.push_str(host);
            }
            _ => clean.push_str(url),
        }
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

fn split_at_first(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(is_end).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_secrets() {
        for (url, text) in [
            ("https://u:pw@h.example/x?token=1", "https://h.example/x"),
            ("https://token@h.example/x#f", "https://h.example/x"),
            ("https://u:p/w@h.example/x", "https://h.example/x"),
            ("https://u:p@w@h:80/x", "https://h:80/x"),
            ("https://h/a@b/c", "https://h/a@b/c"),
            ("https://h?token=1", "https://h"),
            ("ssh://git:pw@h/x", "ssh://git@h/x"),
            ("git+ssh://git@h/x", "git+ssh://git@h/x"),
            ("git@h:o/x", "git@h:o/x"),
            ("https://h", "https://h"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(redacted(url), text);
        }
    }

    #[test]
    fn a_message_loses_the_secrets_of_every_url_in_it() {
        assert_eq!(
            redacted("fatal: 'https://u:p@h/a?x=y' and \"http://t@g/b\": no\nhttps://k"),
            "fatal: 'https://h/a' and \"http://g/b\": no\nhttps://k"
        );
    }

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell_and_holds_no_secret() {
        let mut command = crate::tool::command("git");
        command.args(["fetch", "https://u:p@h/a b", "it's", "", "V=1", "a b"]);
        assert_eq!(
            shown(&command),
            "git fetch 'https://h/a b' 'it'\\''s' '' V=1 'a b'"
        );
    }
}
