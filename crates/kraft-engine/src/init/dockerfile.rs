//! Reads the command that a Dockerfile runs.

/// Returns the command of the last stage: `ENTRYPOINT` with `CMD` behind it.
///
/// `None` if there is none, or if it is in shell form: a unikernel has no shell.
pub fn command(text: &str) -> Option<Vec<String>> {
    let mut entrypoint = None;
    let mut command = None;
    for line in logical_lines(text) {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word.to_ascii_uppercase().as_str() {
            "FROM" => (entrypoint, command) = (None, None),
            // An entry point resets the command of the parent image.
            "ENTRYPOINT" => entrypoint = Some(words(rest)),
            "CMD" => command = Some(words(rest)),
            _ => {}
        }
    }
    let all: Vec<String> = match (entrypoint, command) {
        (Some(entrypoint), command) => {
            let mut all = entrypoint?;
            all.extend(command.unwrap_or(Some(Vec::new()))?);
            all
        }
        (None, command) => command??,
    };
    (!all.is_empty()).then_some(all)
}

/// Returns whether nothing names a command: neither the last stage nor, as far as that can be known, an
/// image that it is made from.
pub(super) fn has_no_command(text: &str) -> bool {
    let mut empty = false;
    let mut named = false;
    for line in logical_lines(text) {
        let mut words = line.split_whitespace();
        match words
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase()
            .as_str()
        {
            "FROM" => {
                empty = words.find(|word| !word.starts_with("--")) == Some("scratch");
                named = false;
            }
            "ENTRYPOINT" | "CMD" => named = true,
            _ => {}
        }
    }
    empty && !named
}

/// Returns the arguments of the exec form, `["a", "b"]`; `None` for the shell form.
fn words(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text.trim()).ok()
}

/// Joins lines that end with `\`, and skips comments.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        if let Some(part) = line.trim_end().strip_suffix('\\') {
            current.push_str(part);
            current.push(' ');
        } else {
            current.push_str(line);
            lines.push(std::mem::take(&mut current));
        }
    }
    lines.push(current);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_decides_and_lines_may_be_continued() {
        let text = "FROM a\nCMD [\"no\"]\nfrom b\n# x\nENTRYPOINT [\"/bin/nginx\", \\\n  # why\n  \"-c\"]\nCmd [\"/conf\"]\n";
        assert_eq!(command(text).unwrap(), ["/bin/nginx", "-c", "/conf"]);
        assert_eq!(command("FROM a\nCMD [\"/a\"]").unwrap(), ["/a"]);
    }

    #[test]
    fn only_an_empty_image_without_a_command_has_none() {
        assert!(has_no_command(
            "FROM a AS b\nCMD x\nFROM scratch\nCOPY a /a\n"
        ));
        assert!(!has_no_command("FROM scratch\nCMD x\n"));
        assert!(!has_no_command("FROM --platform=$P nginx\n"));
    }

    #[test]
    fn a_command_in_shell_form_is_not_used() {
        assert_eq!(command("FROM a\nCMD nginx -c x"), None);
        assert_eq!(command("FROM a\nENTRYPOINT [\"/a\"]\nCMD b"), None);
        assert_eq!(command("FROM a"), None);
        assert_eq!(command(""), None);
    }
}
