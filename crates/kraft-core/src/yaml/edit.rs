//! Changes one value in a YAML text and keeps every other byte.
//!
//! Comments, order, quotes, blank lines and unknown keys are preserved. Each edit is verified: the
//! new text is parsed again and must differ from the old one only in that value; otherwise the edit
//! is rejected and the user is asked to make it by hand.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use crate::problem::{Problem, Span};
use serde_json::Value as Json;

use super::document::{self, Entry, Node, Value as Yaml};
use super::value::Value;

/// Default indentation of a mapping inside its parent, in columns, as in KraftKit.
const INDENT: usize = 4;

/// Returns the text with the value at `path` set.
pub fn set(text: &str, path: &[Cow<'_, str>], value: &Value) -> Result<String, Vec<Problem>> {
    let root = document::parse(text)?;
    let before = tree(root.as_ref());
    let mut wanted = before.clone();
    put(&mut wanted, path, json(value));
    let edited = match root.as_ref().and_then(|root| root.find(path)) {
        Some(entry) => replace(text, entry, value),
        None => insert(text, root.as_ref(), path, value)?,
    };
    checked(edited, &wanted)
}

/// Returns the text without the value at `path`; `None` if it is not set.
pub fn unset(text: &str, path: &[Cow<'_, str>]) -> Result<Option<String>, Vec<Problem>> {
    let Some(root) = document::parse(text)? else {
        return Ok(None);
    };
    let Some(entry) = root.find(path) else {
        return Ok(None);
    };
    let parent = match path.split_last() {
        Some((_, above)) if !above.is_empty() => root.find(above).map(|entry| &entry.node),
        _ => Some(&root),
    };
    let mut wanted = root.plain();
    remove(&mut wanted, path);
    let range = match parent.map(|node| (&node.value, node)) {
        Some((Yaml::Map { flow: true, .. }, node)) => flow_entry(text, node, entry),
        _ => lines(text, entry.key_span.start, entry.node.span.end),
    };
    checked(splice(text, range, ""), &wanted).map(Some)
}

/// Verifies that an edit changed only the requested value.
fn checked(edited: String, wanted: &Json) -> Result<String, Vec<Problem>> {
    let reached = document::parse(&edited)
        .ok()
        .map(|root| tree(root.as_ref()));
    if reached.is_some_and(|reached| pruned(&reached) == pruned(wanted)) {
        return Ok(edited);
    }
    Err(vec![
        Problem::error("the file is written in a way that cannot be edited safely")
            .help("make this change with a text editor"),
    ])
}

/// Replaces the value of an entry.
fn replace(text: &str, entry: &Entry, value: &Value) -> String {
    let node = &entry.node;
    match (&node.value, value) {
        (Yaml::List { items, flow: false }, Value::List(wanted)) => {
            replace_items(text, items, wanted)
                .unwrap_or_else(|| replace_block(text, entry, &scalar_or_list(value)))
        }
        (Yaml::List { flow: false, .. } | Yaml::Map { flow: false, .. }, _) => {
            replace_block(text, entry, &scalar_or_list(value))
        }
        (Yaml::Scalar { .. }, _) if node.span.start == node.span.end => {
            // An empty value, `key:`: insert after the colon.
            let colon = after_colon(text, entry.key_span.end);
            splice(text, colon..colon, &format!(" {}", scalar_or_list(value)))
        }
        (Yaml::Scalar { .. } | Yaml::List { .. } | Yaml::Map { .. }, _) => {
            let end = text
                .get(node.span.start..node.span.end)
                .map_or(node.span.end, |old| node.span.start + old.trim_end().len());
            splice(text, node.span.start..end, &scalar_or_list(value))
        }
    }
}

/// Keeps the lines of unchanged items, with their comments; `None` if the new list is not the old
/// one with some items removed and some appended.
fn replace_items(text: &str, items: &[Node], wanted: &[String]) -> Option<String> {
    let old: Vec<&str> = items
        .iter()
        .map(|item| match &item.value {
            Yaml::Scalar { text, .. } => Some(text.as_str()),
            Yaml::List { .. } | Yaml::Map { .. } => None,
        })
        .collect::<Option<_>>()?;
    let mut rest = wanted.iter().peekable();
    let mut dropped = Vec::new();
    for (item, old) in items.iter().zip(&old) {
        if rest.next_if(|new| new == old).is_none() {
            dropped.push(lines(text, item.span.start, item.span.end));
        }
    }
    if dropped.len() == items.len() {
        return None;
    }
    let last = items.last()?;
    let first = items.first()?;
    let dash = text.get(..first.span.start)?.rfind('-')?;
    let indent = " ".repeat(column(text, dash));
    let mut added = String::new();
    for item in rest {
        let _ = writeln!(added, "{indent}- {}", scalar(item));
    }
    let end = lines(text, last.span.start, last.span.end).end;
    let edited = splice(text, end..end, &on_own_lines(text, end, &added));
    let without = |text: String, range| splice(&text, range, "");
    Some(dropped.into_iter().rev().fold(edited, without))
}

/// Replaces the lines of a block by a value after the colon.
fn replace_block(text: &str, entry: &Entry, value: &str) -> String {
    let block = lines(text, entry.node.span.start, entry.node.span.end);
    let colon = after_colon(text, entry.key_span.end);
    splice(&splice(text, block, ""), colon..colon, &format!(" {value}"))
}

/// Inserts a value that did not exist.
fn insert(
    text: &str,
    root: Option<&Node>,
    path: &[Cow<'_, str>],
    value: &Value,
) -> Result<String, Vec<Problem>> {
    // The deepest existing mapping on the path.
    let mut depth = path.len().saturating_sub(1);
    let mut parent = None;
    while depth > 0 {
        parent = root.and_then(|root| root.find(path.get(..depth)?));
        if parent.is_some() {
            break;
        }
        depth -= 1;
    }
    let missing = path.get(depth..).unwrap_or_default();
    let Some(parent) = parent else {
        return Ok(match root {
            Some(top) if !top.is_null() => into_map(text, top, missing, value, step(text, root)),
            _ => splice(
                text,
                text.len()..text.len(),
                &on_own_lines(
                    text,
                    text.len(),
                    &block(missing, value, 0, step(text, root)),
                ),
            ),
        });
    };
    match &parent.node.value {
        Yaml::Map { .. } => Ok(into_map(
            text,
            &parent.node,
            missing,
            value,
            step(text, root),
        )),
        Yaml::Scalar { .. } if parent.node.is_null() => {
            let step = step(text, root);
            let indent = column(text, parent.key_span.start) + step;
            let line = lines(
                text,
                parent.key_span.start,
                parent.node.span.end.max(parent.key_span.end),
            );
            let added = block(missing, value, indent, step);
            let edited = splice(
                text,
                line.end..line.end,
                &on_own_lines(text, line.end, &added),
            );
            // `key: ~` cannot have children.
            let null = parent.node.span.start..parent.node.span.end;
            Ok(splice(&edited, null, ""))
        }
        Yaml::Scalar { .. } | Yaml::List { .. } => Err(vec![
            Problem::error(format!(
                "`{}` cannot be {}",
                path.get(..depth).unwrap_or_default().join("."),
                parent.node.describe()
            ))
            .at(parent.node.span)
            .label("expected a mapping"),
        ]),
    }
}

fn into_map(
    text: &str,
    map: &Node,
    missing: &[Cow<'_, str>],
    value: &Value,
    step: usize,
) -> String {
    match &map.value {
        Yaml::Map {
            entries,
            flow: true,
        } => {
            let end = map.span.end.saturating_sub(1);
            let comma = if entries.is_empty() { "" } else { ", " };
            splice(text, end..end, &format!("{comma}{}", flow(missing, value)))
        }
        Yaml::Map { entries, .. } => {
            let indent = entries
                .first()
                .map_or(0, |e| column(text, e.key_span.start));
            let end = entries.last().map_or(map.span.end, |e| {
                lines(text, e.key_span.start, e.node.span.end.max(e.key_span.end)).end
            });
            let added = block(missing, value, indent, step);
            splice(text, end..end, &on_own_lines(text, end, &added))
        }
        Yaml::Scalar { .. } | Yaml::List { .. } => text.to_owned(),
    }
}

/// Returns the number of columns by which the text indents nested mappings.
fn step(text: &str, root: Option<&Node>) -> usize {
    let nested = root.into_iter().flat_map(Node::entries).find_map(|entry| {
        let Yaml::Map {
            entries,
            flow: false,
        } = &entry.node.value
        else {
            return None;
        };
        let inner = column(text, entries.first()?.key_span.start);
        inner.checked_sub(column(text, entry.key_span.start))
    });
    nested.filter(|step| *step > 0).unwrap_or(INDENT)
}

/// Formats a value below its keys, each key on its own line.
fn block(path: &[Cow<'_, str>], value: &Value, indent: usize, step: usize) -> String {
    let mut text = String::new();
    let mut indent = indent;
    for (index, key) in path.iter().enumerate() {
        let padding = " ".repeat(indent);
        let _ = write!(text, "{padding}{}:", scalar(key));
        if index + 1 < path.len() {
            text.push('\n');
            indent += step;
        }
    }
    match value {
        Value::List(items) if !items.is_empty() => {
            text.push('\n');
            let padding = " ".repeat(indent + step);
            for item in items {
                let _ = writeln!(text, "{padding}- {}", scalar(item));
            }
        }
        Value::List(_) | Value::Switch(_) | Value::Text(_) => {
            let _ = writeln!(text, " {}", scalar_or_list(value));
        }
    }
    text
}

/// Formats a value below its keys in braces.
fn flow(path: &[Cow<'_, str>], value: &Value) -> String {
    match path.split_first() {
        Some((key, [])) => format!("{}: {}", scalar(key), scalar_or_list(value)),
        Some((key, rest)) => format!("{}: {{{}}}", scalar(key), flow(rest, value)),
        None => String::new(),
    }
}

fn scalar_or_list(value: &Value) -> String {
    match value {
        Value::Switch(on) => on.to_string(),
        Value::Text(text) => scalar(text),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| scalar(item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// Formats a string so that every YAML parser reads it back as a string, quoted only if necessary.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+~=@".contains(c);
    let reserved = [
        "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n",
    ];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| is_plain(c) || c == ':')
        && !text.ends_with(':')
        && !reserved.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    // A JSON string is a YAML string.
    Json::from(text).to_string()
}

/// Returns the byte range of whole lines from the one that contains `start` to the one that
/// contains the last byte before `end`.
fn lines(text: &str, start: usize, end: usize) -> Range<usize> {
    let first = text
        .get(..start)
        .and_then(|t| t.rfind('\n'))
        .map_or(0, |n| n + 1);
    // The range of a block scalar includes its last line break.
    let end = match text.get(start..end) {
        Some(body) => start + body.trim_end_matches(['\n', '\r']).len(),
        None => end,
    };
    let last = text
        .get(end..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |n| end + n + 1);
    first..last
}

/// Returns the byte range of an entry in braces, with one of its commas.
fn flow_entry(text: &str, map: &Node, entry: &Entry) -> Range<usize> {
    let entries = map.entries();
    let index = entries.iter().position(|e| e.key_span == entry.key_span);
    let after = index.and_then(|index| entries.get(index + 1));
    let before = index.and_then(|index| entries.get(index.checked_sub(1)?));
    let end = entry
        .node
        .span
        .end
        .max(after_colon(text, entry.key_span.end));
    match (before, after) {
        (_, Some(next)) => entry.key_span.start..next.key_span.start,
        (Some(previous), None) => previous.node.span.end..end,
        (None, None) => entry.key_span.start..end,
    }
}

fn after_colon(text: &str, from: usize) -> usize {
    text.get(from..)
        .and_then(|rest| rest.find(':'))
        .map_or(from, |n| from + n + 1)
}

fn column(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.len() - before.rfind('\n').map_or(0, |n| n + 1)
}

/// Returns lines to insert at `at`, after a line break if the text has none there.
fn on_own_lines(text: &str, at: usize, added: &str) -> String {
    let before = text.get(..at).unwrap_or_default();
    let added = if added.is_empty() || before.is_empty() || before.ends_with('\n') {
        added.to_owned()
    } else {
        format!("\n{added}")
    };
    if text.contains("\r\n") {
        added.replace('\n', "\r\n")
    } else {
        added
    }
}

fn splice(text: &str, range: Range<usize>, with: &str) -> String {
    let head = text.get(..range.start).unwrap_or_default();
    let tail = text.get(range.end..).unwrap_or_default();
    format!("{head}{with}{tail}")
}

fn tree(root: Option<&Node>) -> Json {
    root.map_or(Json::Null, Node::plain)
}

fn json(value: &Value) -> Json {
    match value {
        Value::Switch(on) => on.to_string().into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(|item| Json::from(item.as_str())).collect(),
    }
}

fn put(tree: &mut Json, path: &[Cow<'_, str>], value: Json) {
    let Some((key, rest)) = path.split_first() else {
        *tree = value;
        return;
    };
    if !tree.is_object() {
        *tree = Json::Object(serde_json::Map::new());
    }
    if let Some(map) = tree.as_object_mut() {
        put(map.entry(key.as_ref()).or_insert(Json::Null), rest, value);
    }
}

fn remove(tree: &mut Json, path: &[Cow<'_, str>]) {
    let Some((key, rest)) = path.split_first() else {
        return;
    };
    let Some(map) = tree.as_object_mut() else {
        return;
    };
    if rest.is_empty() {
        map.shift_remove(key.as_ref());
    } else if let Some(inner) = map.get_mut(key.as_ref()) {
        remove(inner, rest);
    }
}

/// Returns the tree without nulls and empty mappings.
fn pruned(tree: &Json) -> Json {
    match tree {
        Json::Object(map) => {
            let kept: serde_json::Map<String, Json> = map
                .iter()
                .map(|(key, value)| (key.clone(), pruned(value)))
                .filter(|(_, value)| !value.is_null())
                .collect();
            if kept.is_empty() {
                Json::Null
            } else {
                kept.into()
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            tree.clone()
        }
    }
}

/// Returns line and column of a span's first byte, counted from 1.
pub fn line_and_column(text: &str, span: Span) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, column(text, span.start.min(text.len())) + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(name: &str) -> Vec<Cow<'_, str>> {
        name.split('.').map(Cow::from).collect()
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    fn list(items: &[&str]) -> Value {
        Value::List(items.iter().map(|&item| item.to_owned()).collect())
    }

    const FILE: &str = "\
# My machines live on the big disk.
runtime_dir: /big  # not on /

log:
    # loud
    level: \"debug\"   # for now

other_tool: {keep: [me, too]}
unikraft:
    manifests:
    - https://one  # first
    - https://two
";

    /// Returns the different lines, old ones with `-` and new ones with `+`.
    fn diff(old: &str, new: &str) -> String {
        let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
        let gone = old.iter().filter(|line| !new.contains(line));
        let come = new.iter().filter(|line| !old.contains(line));
        gone.map(|line| format!("-{line}\n"))
            .chain(come.map(|line| format!("+{line}\n")))
            .collect()
    }

    fn set_diff(name: &str, value: &Value) -> String {
        diff(FILE, &set(FILE, &path(name), value).unwrap())
    }

    #[test]
    fn a_value_changes_and_its_comment_stays() {
        assert_eq!(
            set_diff("runtime_dir", &text("/small disk")),
            "-runtime_dir: /big  # not on /\n+runtime_dir: \"/small disk\"  # not on /\n"
        );
        assert_eq!(
            set_diff("log.level", &text("warn")),
            "-    level: \"debug\"   # for now\n+    level: warn   # for now\n"
        );
    }

    #[test]
    fn new_keys_are_added_to_their_mapping() {
        assert_eq!(
            set_diff("log.timestamps", &Value::Switch(true)),
            "+    timestamps: true\n"
        );
        assert!(
            set(FILE, &path("log.timestamps"), &Value::Switch(true))
                .unwrap()
                .contains("# for now\n    timestamps: true\n")
        );
        assert_eq!(
            set_diff("paths.sources", &text("/s")),
            "+paths:\n+    sources: /s\n"
        );
        assert_eq!(
            set_diff("other_tool.x", &text("y")),
            "-other_tool: {keep: [me, too]}\n+other_tool: {keep: [me, too], x: \"y\"}\n"
        );
        assert_eq!(set("", &path("qemu"), &text("q")).unwrap(), "qemu: q\n");
        assert_eq!(
            set("# only this", &path("qemu"), &text("q")).unwrap(),
            "# only this\nqemu: q\n"
        );
        assert_eq!(
            set("log:\nqemu: x\n", &path("log.level"), &text("warn")).unwrap(),
            "log:\n    level: warn\nqemu: x\n"
        );
    }

    #[test]
    fn items_are_added_and_removed_by_line() {
        assert_eq!(
            set_diff(
                "unikraft.manifests",
                &list(&["https://one", "https://two", "https://3"])
            ),
            "+    - https://3\n"
        );
        assert_eq!(
            set_diff("unikraft.manifests", &list(&["https://two"])),
            "-    - https://one  # first\n"
        );
        let anew = set(FILE, &path("unikraft.manifests"), &list(&["x", "1"])).unwrap();
        assert!(anew.ends_with("    manifests: [x, \"1\"]\n"), "{anew}");
        let none = set(FILE, &path("unikraft.manifests"), &list(&[])).unwrap();
        assert!(none.ends_with("    manifests: []\n"), "{none}");
    }

    #[test]
    fn line_breaks_are_preserved() {
        let edited = set(
            "a: 1 # x\r\nlog:\r\n  level: info\r\n",
            &path("log.type"),
            &text("json"),
        );
        assert_eq!(
            edited.unwrap(),
            "a: 1 # x\r\nlog:\r\n  level: info\r\n  type: json\r\n"
        );
    }

    proptest! {
        #[test]
        fn edits_are_exact_or_rejected(
            file in "(#?[a-c]{1,2}:?( (x|\"y\"|\\[1, 2\\]|\\{a: b\\}|~|\\||\u{e9}))?( # z)?\n( {2,4}[a-c]: ?[a-c]?\n| *- [a-c]\n)*){0,4}",
            name in "[a-c](\\.[a-c])?",
            value in "\\PC{0,5}",
        ) {
            let value = text(&value);
            if let Ok(edited) = set(&file, &path(&name), &value) {
                let root = document::parse(&edited).unwrap().unwrap();
                let found = root.find(&path(&name)).unwrap();
                prop_assert_eq!(found.node.plain(), json(&value));
                let without = unset(&edited, &path(&name));
                if let Ok(Some(without)) = without {
                    let root = document::parse(&without).unwrap();
                    prop_assert!(root.is_none_or(|root| root.find(&path(&name)).is_none()));
                }
            }
        }

        #[test]
        fn arbitrary_text_never_panics(file in "[a: \n#\\-\\[\\]{}\"'?&*|>\t\u{e9}]{0,40}") {
            let _ = set(&file, &path("a.b"), &text("c"));
            let _ = set(&file, &path("a"), &list(&["c", "d"]));
            let _ = unset(&file, &path("a"));
        }
    }

    #[test]
    fn hosts_with_dots_are_one_key() {
        let path = ["auth".into(), "ghcr.io:443".into(), "user".into()];
        assert_eq!(
            set("", &path, &text("me")).unwrap(),
            "auth:\n    ghcr.io:443:\n        user: me\n"
        );
    }

    #[test]
    fn ambiguous_strings_are_quoted() {
        for word in [
            "yes", "NO", "1.0", "~", "", "a: b", "# c", "- d", "{e", "ü", "a\nb", "null",
        ] {
            let edited = set("", &path("qemu"), &text(word)).unwrap();
            let root = document::parse(&edited).unwrap().unwrap();
            assert_eq!(root.plain()["qemu"], word, "{edited}");
            assert!(edited.starts_with("qemu: \""), "{edited}");
        }
    }

    #[test]
    fn removing_an_entry_keeps_other_lines() {
        let without = |name| unset(FILE, &path(name)).unwrap().unwrap();
        assert_eq!(
            diff(FILE, &without("log.level")),
            "-    level: \"debug\"   # for now\n"
        );
        assert_eq!(
            diff(FILE, &without("unikraft.manifests")),
            "-    manifests:\n-    - https://one  # first\n-    - https://two\n"
        );
        assert_eq!(
            diff(FILE, &without("other_tool.keep")),
            "-other_tool: {keep: [me, too]}\n+other_tool: {}\n"
        );
        assert_eq!(unset(FILE, &path("qemu")).unwrap(), None);
        assert_eq!(
            unset("a: {x: 1, b: 2, c: 3}\n", &path("a.b"))
                .unwrap()
                .unwrap(),
            "a: {x: 1, c: 3}\n"
        );
    }

    #[test]
    fn setting_below_a_scalar_is_rejected() {
        let problems = set("log: loud\n", &path("log.level"), &text("warn")).unwrap_err();
        assert_eq!(problems[0].message, "`log` cannot be `loud`");
        assert_eq!(
            line_and_column("log: loud\n", problems[0].span.unwrap()),
            (1, 6)
        );
    }

    #[test]
    fn unsafe_edits_are_rejected() {
        for strange in [
            "? qemu\n: x\n",
            "{qemu: x}\n",
            "---\nqemu: x\n...\n",
            "qemu: |\n  x\n  y\nlog: {}\n",
        ] {
            match set(strange, &path("log.level"), &text("warn")) {
                Ok(edited) => {
                    let root = document::parse(&edited).unwrap().unwrap();
                    assert_eq!(root.plain()["log"]["level"], "warn", "{edited}");
                }
                Err(problems) => assert_eq!(problems.len(), 1, "{strange}"),
            }
        }
    }
}
