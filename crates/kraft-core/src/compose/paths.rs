//! Paths in Compose files, which are relative to the directory of their own file.

use crate::document::located::Located;
use crate::document::node::{Entry, Node, Scalar, Value};
use crate::problem::Span;

fn scalar(text: &str, span: Span) -> Node {
    Node {
        span,
        value: Value::Scalar(Scalar {
            text: text.to_owned(),
            plain: false,
        }),
    }
}

/// Returns a path relative to a directory; an absolute one stays as it is.
pub(super) fn join(dir: &str, path: &str) -> String {
    if dir.is_empty() || path.starts_with(['/', '~']) {
        return path.to_owned();
    }
    format!("{dir}/{}", path.strip_prefix("./").unwrap_or(path))
}

/// Makes the paths of a file relative to the directory of the project.
pub(super) fn rebase(root: &mut Node, dir: &str) {
    if dir.is_empty() {
        return;
    }
    each(root, "services", |service| {
        with(service, "build", |build| {
            path(build, dir);
            let has_context = build.entries().iter().any(|it| it.key.value == "context");
            let span = build.span;
            match &mut build.value {
                Value::Map(entries) if !has_context => entries.push(Entry {
                    key: Located::new("context".to_owned(), span),
                    value: scalar(dir, span),
                }),
                _ => with(build, "context", |context| path(context, dir)),
            }
        });
        with(service, "env_file", |files| {
            path(files, dir);
            items(files, |file| {
                path(file, dir);
                with(file, "path", |file| path(file, dir));
            });
        });
        with(service, "develop", |develop| {
            with(develop, "watch", |rules| {
                items(rules, |rule| with(rule, "path", |file| path(file, dir)));
            });
        });
        with(service, "volumes", |volumes| {
            items(volumes, |volume| {
                if let Value::Scalar(scalar) = &mut volume.value
                    && scalar.text.starts_with('.')
                {
                    scalar.text = join(dir, &scalar.text);
                    if !scalar.text.starts_with(['/', '.']) {
                        scalar.text.insert_str(0, "./");
                    }
                }
                let is_bind = volume.entries().iter().any(|entry| {
                    entry.key.value == "type"
                        && entry.value.text().is_some_and(|kind| kind.value == "bind")
                });
                if is_bind {
                    with(volume, "source", |source| path(source, dir));
                    with(volume, "src", |source| path(source, dir));
                }
            });
        });
    });
    for key in ["configs", "secrets"] {
        each(root, key, |source| {
            with(source, "file", |file| path(file, dir));
        });
    }
}

fn path(node: &mut Node, dir: &str) {
    if let Value::Scalar(scalar) = &mut node.value
        && !scalar.text.is_empty()
        && !scalar.text.contains("://")
    {
        scalar.text = join(dir, &scalar.text);
    }
}

fn with(node: &mut Node, key: &str, change: impl FnOnce(&mut Node)) {
    if let Value::Map(entries) = &mut node.value
        && let Some(entry) = entries.iter_mut().find(|entry| entry.key.value == key)
    {
        change(&mut entry.value);
    }
}

fn each(root: &mut Node, key: &str, mut change: impl FnMut(&mut Node)) {
    with(root, key, |node| {
        if let Value::Map(entries) = &mut node.value {
            for entry in entries {
                change(&mut entry.value);
            }
        }
    });
}

fn items(node: &mut Node, change: impl FnMut(&mut Node)) {
    if let Value::List(items) = &mut node.value {
        items.iter_mut().for_each(change);
    }
}
