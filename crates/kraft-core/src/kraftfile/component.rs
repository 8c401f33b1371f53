//! The core, libraries, template and runtime: short and long forms of their sources.

use crate::problem::{Problem, Span};

use super::model::{Component, KconfigOption, Runtime, RuntimeKernel, Spec};
use super::shape::{RUNTIME, Record, TEMPLATE};
use crate::document::located::Located;
use crate::document::node::{Node, Value};
use crate::document::problems::Problems;

/// Lowers the core or a library.
pub(super) fn component(
    node: &Node,
    record: &'static Record,
    spec: Spec,
    problems: &mut Problems,
) -> Component {
    let Value::Map(_) = node.value else {
        let short = node.text();
        let (source, version) = match &short {
            Some(text) if spec < Spec::V07 && is_source(text) => located_source(text),
            _ => (None, short.clone()),
        };
        return Component {
            source,
            version,
            kconfig: Vec::new(),
            short,
        };
    };
    let written = record.get(node, "source").and_then(Node::text);
    let (source, from_url) = match &written {
        Some(text) if is_url(text) => located_source(text),
        _ => (written, None),
    };
    Component {
        source,
        version: record
            .get(node, "version")
            .and_then(Node::text)
            .or(from_url),
        kconfig: kconfig(record.get(node, "kconfig"), problems),
        short: None,
    }
}

/// Lowers a template: a scalar is always its source.
pub(super) fn template(node: &Node, problems: &mut Problems) -> Component {
    let Some(text) = node.text() else {
        return component(node, &TEMPLATE, Spec::NEWEST, problems);
    };
    let (source, version) = located_source(&text);
    Component {
        source,
        version,
        kconfig: Vec::new(),
        short: Some(text),
    }
}

/// Returns whether a scalar is a source rather than a version.
fn is_source(text: &str) -> bool {
    is_url(text)
        || text.starts_with(['/', '.', '~'])
        || (text.starts_with("git@") && text.contains(':'))
}

/// Returns whether the text has a scheme and a host.
fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty()
            && !rest.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

/// Extracts the version from a source: `?branch=`, `?tag=`, `?version=` or a trailing `@VERSION`.
///
/// With a query the source is kept unchanged, since the download reads the query too.
fn located_source(text: &Located<String>) -> (Option<Located<String>>, Option<Located<String>>) {
    let at = |value: &str| Some(Located::new(value.to_owned(), text.span));
    if !is_url(text) {
        return (Some(text.clone()), None);
    }
    if let Some((_, query)) = text.split_once('?') {
        let version = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| matches!(*key, "branch" | "tag" | "version"))
            .and_then(|(_, value)| at(value));
        return (Some(text.clone()), version);
    }
    // An `@` before the path separates user and host.
    let path = text
        .find("://")
        .and_then(|scheme| text.get(scheme + 3..))
        .and_then(|rest| rest.split_once('/'))
        .map(|(_, path)| path);
    match path.and_then(|path| path.rsplit_once('@')) {
        Some((_, version)) if !version.is_empty() => {
            let source = text.strip_suffix(version).and_then(|t| t.strip_suffix('@'));
            (source.and_then(at), at(version))
        }
        _ => (Some(text.clone()), None),
    }
}

/// Lowers Kconfig options.
pub(super) fn kconfig(node: Option<&Node>, problems: &mut Problems) -> Vec<KconfigOption> {
    let Some(node) = node else { return Vec::new() };
    let mut options = Vec::new();
    for entry in node.entries() {
        if let Some(value) = entry.value.text() {
            let word = entry
                .value
                .scalar()
                .and_then(crate::document::node::Scalar::as_bool);
            let value = match word {
                Some(true) => Located::new("y".to_owned(), value.span),
                Some(false) => Located::new("n".to_owned(), value.span),
                None => value,
            };
            options.push((entry.key.clone(), value));
        }
    }
    for item in node.items().iter().filter_map(Node::text) {
        match item.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => options.push((
                Located::new(key.to_owned(), item.span),
                Located::new(value.to_owned(), item.span),
            )),
            _ => {
                let problem = Problem::error("a kconfig option must be a key and a value");
                problems.push(problem.at(item.span).label("expected `KEY=VALUE`"));
            }
        }
    }
    for (key, _) in &options {
        if key.is_empty() || key.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let problem = Problem::error("the name of a kconfig option must not contain blanks");
            problems.push(problem.at(key.span));
        }
    }
    options
}

/// Lowers a runtime, in short or long form.
pub(super) fn runtime(node: &Node, problems: &mut Problems) -> Option<Runtime> {
    if let Some(text) = node.text() {
        return Some(Runtime {
            kernel: reference(&text, problems)?,
            kconfig: Vec::new(),
        });
    }
    let source = RUNTIME.get(node, "source").and_then(Node::text)?;
    let written = RUNTIME.get(node, "version").and_then(Node::text);
    let kernel = match (reference(&source, problems)?, written) {
        (
            RuntimeKernel::Package {
                name,
                version: None,
            },
            version,
        ) => RuntimeKernel::Package { name, version },
        (kernel, None) => kernel,
        (_, Some(version)) => {
            let problem = Problem::error("the runtime has two versions: keep one").at(version.span);
            problems.push(
                problem
                    .label("the first version")
                    .related(source.span, "the second version"),
            );
            return None;
        }
    };
    Some(Runtime {
        kernel,
        kconfig: kconfig(RUNTIME.get(node, "kconfig"), problems),
    })
}

/// Splits `[oci://]NAME[:TAG][@DIGEST]` or `kernel://PATH`.
fn reference(text: &Located<String>, problems: &mut Problems) -> Option<RuntimeKernel> {
    let at = |value: &str| Located::new(value.to_owned(), text.span);
    if let Some(path) = text.strip_prefix("kernel://") {
        if path.is_empty() {
            return refuse("expected a path after `kernel://`", text.span, problems);
        }
        return Some(RuntimeKernel::File(at(path)));
    }
    let rest = text.strip_prefix("oci://").unwrap_or(text);
    let (name, version) = match rest.split_once('@') {
        Some((name, digest)) => (split_tag(name).0, Some(digest)),
        None => split_tag(rest),
    };
    let blank = |t: &str| t.is_empty() || t.chars().any(|c| c.is_whitespace() || c.is_control());
    if blank(name) || name.contains("://") {
        return refuse("expected a name such as `base:latest`", text.span, problems);
    }
    if version.is_some_and(blank) {
        return refuse(
            "expected a tag or digest after the name",
            text.span,
            problems,
        );
    }
    Some(RuntimeKernel::Package {
        name: at(name),
        version: version.map(at),
    })
}

/// Splits at the `:` of a tag, not at that of a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    }
}

fn refuse<T>(label: &str, span: Span, problems: &mut Problems) -> Option<T> {
    let problem = Problem::error("this is not a valid runtime reference").at(span);
    problems.push(problem.label(label));
    None
}
