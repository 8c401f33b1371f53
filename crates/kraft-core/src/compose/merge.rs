//! Merges Compose files, and a service with the one that it extends, by the rules of the Compose
//! specification ("Merge"): mappings key by key, lists one after the other, other values by
//! replacing.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::located::Located;
use crate::document::node::{Entry, Node, Scalar, Value};

/// Returns `below` with `over` merged into it; `key` is where they are.
pub(super) fn merge(below: Node, over: Node, key: &str) -> Node {
    if over.is_null() {
        return below;
    }
    let (below, over) = (normal(below, key), normal(over, key));
    let span = over.span;
    let value = match (below.value, over.value) {
        (_, over @ (Value::Scalar(_) | Value::List(_))) if replaces(key) => over,
        (Value::Map(below), Value::Map(over)) => Value::Map(maps(below, over, key)),
        (Value::List(below), Value::List(over)) => Value::List(lists(below, over, key)),
        (_, over) => over,
    };
    Node { span, value }
}

/// Returns whether a value replaces another one although both are lists.
fn replaces(key: &str) -> bool {
    matches!(key, "command" | "entrypoint" | "test")
}

/// Returns whether the keys of a mapping are names that the author chose.
fn has_names(key: &str) -> bool {
    matches!(
        key,
        "services"
            | "volumes"
            | "networks"
            | "configs"
            | "secrets"
            | "environment"
            | "labels"
            | "args"
            | "annotations"
            | "depends_on"
            | "driver_opts"
    )
}

fn maps(below: Vec<Entry>, over: Vec<Entry>, key: &str) -> Vec<Entry> {
    let places: BTreeMap<String, usize> = below
        .iter()
        .enumerate()
        .map(|(at, entry)| (entry.key.value.clone(), at))
        .collect();
    let mut all: Vec<Option<Entry>> = below.into_iter().map(Some).collect();
    for entry in over {
        let at = places.get(&entry.key.value);
        match at.and_then(|at| all.get_mut(*at)) {
            Some(place) => {
                let name = entry.key.value.clone();
                let inner = if has_names(key) { "" } else { name.as_str() };
                let value = match place.take() {
                    Some(old) => merge(old.value, entry.value, inner),
                    None => entry.value,
                };
                let key = entry.key;
                *place = Some(Entry { key, value });
            }
            None => all.push(Some(entry)),
        }
    }
    all.into_iter().flatten().collect()
}

fn lists(mut below: Vec<Node>, over: Vec<Node>, key: &str) -> Vec<Node> {
    let new: BTreeSet<String> = over.iter().filter_map(|item| identity(item, key)).collect();
    below.retain(|old| identity(old, key).is_none_or(|old| !new.contains(&old)));
    below.extend(over);
    below
}

/// Returns what an item of a list is replaced by: its place in the service, or its text.
fn identity(item: &Node, key: &str) -> Option<String> {
    match key {
        "volumes" => target(item),
        "configs" | "secrets" => text_of(item).or_else(|| field(item, "source")),
        _ => text_of(item),
    }
}

fn text_of(node: &Node) -> Option<String> {
    node.text().map(|text| text.value)
}

fn field(node: &Node, name: &str) -> Option<String> {
    let mut entries = node.entries().iter();
    let entry = entries.find(|entry| entry.key.value == name)?;
    text_of(&entry.value)
}

/// Returns the path inside the service where a volume is mounted.
fn target(node: &Node) -> Option<String> {
    match text_of(node) {
        Some(text) => {
            let path = text.split(':').nth(1).unwrap_or(&text);
            Some(path.to_owned())
        }
        None => ["target", "dst", "destination"]
            .iter()
            .find_map(|name| field(node, name)),
    }
}

/// Returns a value in the form that can be merged: of variables, labels, networks and dependencies
/// the mapping, of a build and files of variables the long form.
pub(super) fn normal(node: Node, key: &str) -> Node {
    let span = node.span;
    let value = match (key, node.value) {
        (
            "environment" | "labels" | "args" | "networks" | "depends_on" | "annotations",
            Value::List(items),
        ) => {
            let pairs = matches!(key, "environment" | "labels" | "args" | "annotations");
            Value::Map(
                items
                    .into_iter()
                    .filter_map(|it| pair(&it, pairs))
                    .collect(),
            )
        }
        ("build", Value::Scalar(scalar)) => Value::Map(vec![Entry {
            key: Located::new("context".to_owned(), span),
            value: Node {
                span,
                value: Value::Scalar(scalar),
            },
        }]),
        ("env_file" | "dns" | "tmpfs", Value::Scalar(scalar)) => Value::List(vec![Node {
            span,
            value: Value::Scalar(scalar),
        }]),
        (_, value) => value,
    };
    Node { span, value }
}

/// Returns the entry that an item of a list stands for: `NAME=VALUE`, or the key alone.
fn pair(item: &Node, pairs: bool) -> Option<Entry> {
    let text = item.text()?;
    let (name, value) = match text.value.split_once('=').filter(|_| pairs) {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.value, None),
    };
    let scalar = Scalar {
        plain: value.is_none(),
        text: value.unwrap_or_default(),
    };
    Some(Entry {
        key: Located::new(name, text.span),
        value: Node {
            span: item.span,
            value: Value::Scalar(scalar),
        },
    })
}
