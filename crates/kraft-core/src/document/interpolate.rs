//! Expands `${VAR}` in the values of a document, by the rules of Compose.
//!
//! ```text
//! $NAME ${NAME}    the value, or empty with a warning
//! ${NAME:-text}    text if unset or empty      ${NAME-text}   text if unset
//! ${NAME:?text}    an error if unset or empty  ${NAME?text}   an error if unset
//! ${NAME:+text}    text if set and not empty   ${NAME+text}   text if set
//! $$               a dollar sign
//! ```
//!
//! The `text` may contain further variables, up to a depth of eight.

use crate::problem::{Problem, Span};

use super::node::{Node, Value};
use super::problems::Problems;

/// Looks up a variable.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Maximum total size of the expanded values of a file, in bytes.
const BUDGET: usize = 1 << 20;
/// Maximum nesting depth.
const DEEPEST: usize = 8;

/// Expands the variables in every scalar below `node`.
pub(crate) fn interpolate(source: &str, node: &mut Node, lookup: Lookup<'_>) -> Problems {
    let mut work = Work {
        source,
        lookup,
        left: BUDGET,
        problems: Problems::default(),
    };
    work.node(node);
    work.problems
}

/// Returns a text with its variables expanded; nothing is added beyond `left` bytes. Errors are left
/// out: what cannot be expanded is empty.
pub(crate) fn expand(text: &str, lookup: Lookup<'_>, left: &mut usize) -> String {
    let mut work = Work {
        source: "",
        lookup,
        left: *left,
        problems: Problems::default(),
    };
    let site = Site {
        span: Span::default(),
        verbatim: None,
    };
    let mut out = String::new();
    work.text(text, 0, site, 0, &mut out);
    *left = work.left;
    out
}

struct Work<'a> {
    source: &'a str,
    lookup: Lookup<'a>,
    left: usize,
    problems: Problems,
}

/// Position of a scalar, for pointing at one variable in it.
#[derive(Clone, Copy)]
struct Site {
    span: Span,
    /// Offset of the text in the file, if it is written there without escapes.
    verbatim: Option<usize>,
}

impl Site {
    fn part(self, from: usize, to: usize) -> Span {
        self.verbatim.map_or(self.span, |start| Span {
            start: start + from,
            end: start + to,
        })
    }
}

impl Work<'_> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.node(item)),
            Value::Map(entries) => entries.iter_mut().for_each(|e| self.node(&mut e.value)),
            Value::Scalar(scalar) if scalar.text.contains('$') => {
                let written = self.source.get(node.span.start..node.span.end);
                let verbatim = written
                    .and_then(|w| w.find(&scalar.text))
                    .map(|at| node.span.start + at);
                let site = Site {
                    span: node.span,
                    verbatim,
                };
                let mut out = String::new();
                self.text(&scalar.text, 0, site, 0, &mut out);
                scalar.text = out;
                scalar.plain = false;
            }
            Value::Scalar(_) => {}
        }
    }

    /// Appends `text`, which begins `base` bytes into the scalar, with its variables expanded.
    fn text(&mut self, text: &str, base: usize, site: Site, depth: usize, out: &mut String) {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            self.append(before, site, out);
            let at = base + text.len() - after.len() - 1;
            rest = self.variable(after, at, site, depth, out);
        }
        self.append(rest, site, out);
    }

    fn append(&mut self, text: &str, site: Site, out: &mut String) {
        if let Some(left) = self.left.checked_sub(text.len()) {
            self.left = left;
            out.push_str(text);
        } else if self.left > 0 {
            self.left = 0;
            let problem = Problem::error("the expanded values of this file exceed 1 MiB");
            self.problems.push(problem.at(site.span));
        }
    }

    /// Expands one variable, whose `$` is at byte `at`, and returns the rest of the text.
    fn variable<'t>(
        &mut self,
        after: &'t str,
        at: usize,
        site: Site,
        depth: usize,
        out: &mut String,
    ) -> &'t str {
        if let Some(rest) = after.strip_prefix('$') {
            self.append("$", site, out);
            return rest;
        }
        let braced = after.strip_prefix('{');
        let (name, rest) = split_name(braced.unwrap_or(after));
        let Some(inner) = braced.filter(|_| !name.is_empty()) else {
            if name.is_empty() {
                self.invalid(at, site);
            } else {
                self.plain(name, site.part(at, at + 1 + name.len()), site, out);
            }
            return if name.is_empty() && braced.is_some() {
                braced.unwrap_or(after)
            } else {
                rest
            };
        };
        let Some(length) = closing(inner) else {
            // The rest of the text is skipped: searching for the end of each of many unclosed forms
            // would take quadratic time.
            self.invalid(at, site);
            return "";
        };
        let whole = site.part(at, at + length + 3);
        let (body, tail) = inner.split_at_checked(length).unwrap_or((inner, ""));
        let form = body.get(name.len()..).unwrap_or_default();
        if form.is_empty() {
            self.plain(name, whole, site, out);
        } else {
            let text_at = at + 2 + name.len();
            self.form(name, form, (text_at, depth), (whole, site), out);
        }
        tail.strip_prefix('}').unwrap_or(tail)
    }

    fn plain(&mut self, name: &str, place: Span, site: Site, out: &mut String) {
        if let Some(value) = (self.lookup)(name) {
            self.append(&value, site, out);
        } else {
            let problem = Problem::warning(format!("the variable `{name}` is not set"))
                .at(place)
                .label("expands to an empty string")
                .help(format!("set it, or give a default: `${{{name}:-text}}`"));
            self.problems.push(problem);
        }
    }

    /// Expands a form with an operator; `form` begins with it, at byte `from`.
    fn form(
        &mut self,
        name: &str,
        form: &str,
        (at, depth): (usize, usize),
        (place, site): (Span, Site),
        out: &mut String,
    ) {
        let value = (self.lookup)(name);
        let (value, operator) = match form.strip_prefix(':') {
            Some(operator) => (value.filter(|v| !v.is_empty()), operator),
            None => (value, form),
        };
        let text = operator.get(1..).unwrap_or_default();
        let text_at = at + form.len() - text.len();
        if depth >= DEEPEST {
            self.problems
                .push(Problem::error("variables are nested too deeply").at(place));
            return;
        }
        match (operator.chars().next(), value) {
            (Some('-' | '?'), Some(value)) => self.append(&value, site, out),
            (Some('-'), None) | (Some('+'), Some(_)) => {
                self.text(text, text_at, site, depth + 1, out);
            }
            (Some('+'), None) => {}
            (Some('?'), None) => {
                let why = if text.is_empty() {
                    "it is required"
                } else {
                    text
                };
                let problem = Problem::error(format!("the variable `{name}` is not set: {why}"));
                self.problems.push(problem.at(place));
            }
            _ => {
                let problem = Problem::error(format!("`${{{name}…}}` is not a valid variable"))
                    .at(place)
                    .help("after the name, write `:-`, `-`, `:?`, `?`, `:+` or `+`");
                self.problems.push(problem);
            }
        }
    }

    fn invalid(&mut self, at: usize, site: Site) {
        let problem = Problem::error("this `$` is not followed by a variable name")
            .at(site.part(at, at + 1))
            .help("write `$NAME` or `${NAME}`, or `$$` for a dollar sign");
        self.problems.push(problem);
    }
}

/// Splits off the name of a variable: letters, digits and `_`, not beginning with a digit.
fn split_name(text: &str) -> (&str, &str) {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return ("", text);
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or(("", text))
}

/// Splits the text after a `$`, if it begins with a variable, into its name, its operator with the text
/// behind it, and the rest.
pub(crate) fn reference(after: &str) -> Option<(&str, &str, &str)> {
    let braced = after.strip_prefix('{');
    let (name, rest) = split_name(braced.unwrap_or(after));
    if name.is_empty() {
        return None;
    }
    let Some(inner) = braced else {
        return Some((name, "", rest));
    };
    let (body, tail) = inner.split_at_checked(closing(inner)?)?;
    Some((name, body.get(name.len()..)?, tail.get(1..)?))
}

/// Returns the offset of the `}` that closes the form.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut dollar = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if dollar => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
        dollar = byte == b'$' && !dollar;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::node::Scalar;
    use super::*;

    fn run(text: &str) -> (String, Vec<Problem>) {
        let scalar = Scalar {
            text: text.to_owned(),
            plain: true,
        };
        let span = Span {
            start: 0,
            end: text.len(),
        };
        let mut node = Node {
            span,
            value: Value::Scalar(scalar),
        };
        let lookup = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let problems = interpolate(text, &mut node, &lookup).into_problems();
        (node.text().map(|t| t.value).unwrap_or_default(), problems)
    }

    #[test]
    fn every_form_gives_what_compose_gives() {
        for (text, expected) in [
            ("$A-$A", "one-one"),
            ("${A}x", "onex"),
            ("$$A $${A}", "$A ${A}"),
            ("${B:-two}${B-two}${EMPTY:-two}", "twotwotwo"),
            ("[${EMPTY-two}]", "[]"),
            ("${A:+yes}${A+yes}${EMPTY+yes}", "yesyesyes"),
            ("[${B:+no}${B+no}${EMPTY:+no}]", "[]"),
            ("${A:?must}${EMPTY?must}", "one"),
            ("${B:-${C:-${A}}}", "one"),
            ("${B:-}", ""),
        ] {
            let (out, problems) = run(text);
            assert_eq!(out, expected, "{text}");
            assert_eq!(problems, [], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_pointed_at_exactly() {
        for (text, start, end) in [
            ("ab $B c", 3, 5),
            ("ab ${B} c", 3, 7),
            ("x$", 1, 2),
            ("ä$1", 2, 3),
            ("${", 0, 1),
            ("${A", 0, 1),
            ("${B?why}", 0, 8),
            ("${A!}", 0, 5),
            ("${C-${B}}", 4, 8),
        ] {
            let (_, problems) = run(text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert_eq!(problems[0].span, Some(Span { start, end }), "{text}");
        }
    }

    #[test]
    fn exponential_expansion_is_rejected() {
        let nested = "${B-".repeat(5000);
        run(&nested);
        run(&format!("{}{}", nested, "}".repeat(5000)));
        let (out, problems) = run(&"$A".repeat(1 << 20));
        assert!(out.len() <= BUDGET);
        assert_eq!(problems.len(), 1);
    }
}
