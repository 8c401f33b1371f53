//! Keys of a Compose file that have no effect where the project runs.

use crate::document::located::Located;
use crate::document::node::{Node, Value};
use crate::document::shape::{Field, Record, Shape};

use super::Place;
use super::shape::{FILE, IDLE, LOCAL};

/// A key without an effect.
pub(super) struct Idle {
    /// The key.
    pub(super) key: Located<String>,
    /// The key with what it belongs to, unless that is a service: `depends_on.restart`.
    pub(super) path: String,
    /// What to do instead.
    pub(super) help: &'static str,
}

/// Returns the keys of a file that have no effect in a place.
pub(super) fn idle(root: &Node, place: Place) -> Vec<Idle> {
    let mut found = Vec::new();
    record(root, &FILE, place, &mut found);
    found
}

fn record(node: &Node, table: &'static Record, place: Place, found: &mut Vec<Idle>) {
    for entry in node.entries() {
        let Some(field) = table.field(&entry.key.value) else {
            continue;
        };
        let is_host = || entry.value.text().is_some_and(|mode| mode.value == "host");
        if place == Place::Host && field.name == "network_mode" && is_host() {
            found.push(Idle {
                path: "network_mode: host".to_owned(),
                key: entry.key.clone(),
                help: field.doc,
            });
        }
        if has_effect(table, field, place) {
            value(&entry.value, &field.shape, place, found);
        } else if !entry.value.is_null() {
            let key = &entry.key.value;
            found.push(Idle {
                path: match table.name {
                    "compose" | "service" => key.clone(),
                    inner => format!("{inner}.{key}"),
                },
                key: entry.key.clone(),
                help: field.doc,
            });
        }
    }
}

fn value(node: &Node, shape: &'static Shape, place: Place, found: &mut Vec<Idle>) {
    match (shape, &node.value) {
        (Shape::Record(table), Value::Map(_)) => record(node, table, place, found),
        (Shape::Map(shape), Value::Map(entries)) => {
            for entry in entries {
                value(&entry.value, shape, place, found);
            }
        }
        (Shape::List(shape), Value::List(items)) => {
            for item in items {
                value(item, shape, place, found);
            }
        }
        (Shape::Either(shapes), _) => {
            for shape in *shapes {
                value(node, shape, place, found);
            }
        }
        _ => {}
    }
}

fn has_effect(table: &Record, field: &Field, place: Place) -> bool {
    match (table.name, field.name) {
        ("build", "cache_from" | "cache_to" | "secrets" | "ssh" | "platforms" | "no_cache") => {
            false
        }
        ("compose", "networks" | "configs" | "secrets") => place == Place::Host,
        _ if field.doc == LOCAL => place == Place::Host,
        _ => field.doc != IDLE,
    }
}
