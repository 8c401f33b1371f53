//! The tags `!reset` and `!override` of the Compose specification ("Merge"): a file takes a value out of
//! those below it, or replaces it instead of merging.

use std::collections::BTreeMap;

use super::merge::normal;
use crate::document::node::{Node, Value};

/// The tag of a value that is taken out of the files below.
pub(super) const RESET: &str = "!reset";
/// The tag of a value that replaces the one of the files below.
pub(super) const OVERRIDE: &str = "!override";

/// The keys that lead to a value.
pub(super) type Path = Vec<String>;

/// Takes the values with the tag [`RESET`] out of a file, and returns the places of all tagged ones.
/// `tags` are those of the text, by the positions of their values.
pub(super) fn take(root: &mut Node, tags: &BTreeMap<usize, &'static str>) -> Vec<Path> {
    let mut places = Vec::new();
    if !tags.is_empty() {
        below(root, tags, &mut Vec::new(), &mut places);
    }
    places
}

fn below(
    node: &mut Node,
    tags: &BTreeMap<usize, &'static str>,
    path: &mut Path,
    places: &mut Vec<Path>,
) {
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    entries.retain_mut(|entry| {
        path.push(entry.key.value.clone());
        let tag = tags.get(&entry.value.span.start);
        if tag.is_some() {
            places.push(path.clone());
        }
        let stays = tag != Some(&RESET);
        if stays && tag.is_none() {
            below(&mut entry.value, tags, path, places);
        }
        path.pop();
        stays
    });
}

/// Takes the value at a place out of a tree.
pub(super) fn cut(node: &mut Node, path: &[String]) {
    let (Some((first, rest)), Value::Map(entries)) = (path.split_first(), &mut node.value) else {
        return;
    };
    if rest.is_empty() {
        entries.retain(|entry| entry.key.value != *first);
        return;
    }
    let Some(entry) = entries.iter_mut().find(|it| it.key.value == *first) else {
        return;
    };
    // Variables, labels and networks may be lists there.
    let span = entry.value.span;
    let value = std::mem::replace(&mut entry.value.value, Value::List(Vec::new()));
    entry.value = normal(Node { span, value }, first);
    cut(&mut entry.value, rest);
}

/// Returns the places below a key of a file, without that key.
pub(super) fn within<'p>(
    places: &'p [Path],
    keys: &'p [&str],
) -> impl Iterator<Item = &'p [String]> {
    places.iter().filter_map(move |place| {
        let (head, tail) = place.split_at_checked(keys.len())?;
        (head == keys).then_some(tail)
    })
}
