//! Tree → [`Kraftfile`]: every short and long form becomes the same values.
//!
//! The tree has been held against the table of shapes before, so what is
//! not of the right shape is passed over here without another word; this room
//! only reports what the shapes cannot say.

use std::collections::HashMap;

use crate::problem::{Problem, Severity};
use crate::words;

use super::model::{EnvVar, Kraftfile, Library, Spec};
use super::shape::{COMPONENT, PROJECT, is_extension};
use super::{component, filesystem, target};
use crate::document::faults::Faults;
use crate::document::located::Located;
use crate::document::node::{Entry, Node, Value};

/// Turns a tree into a project.
pub(super) fn lower(root: &Node, spec: Spec, faults: &mut Faults) -> Kraftfile {
    let get = |name| PROJECT.get(root, name);
    let name = get("name").and_then(Node::text);
    if let Some(name) = &name {
        file_name(name, "the name of the project", faults);
    }
    let targets = get("targets").map(Node::items).unwrap_or_default();
    Kraftfile {
        spec,
        name,
        outdir: get("outdir").and_then(Node::text),
        unikraft: get("unikraft").map(|n| component::component(n, &COMPONENT, spec, faults)),
        libraries: libraries(get("libraries"), spec, faults),
        targets: target::targets(targets, faults),
        template: get("template").map(|n| component::template(n, faults)),
        runtime: get("runtime").and_then(|n| component::runtime(n, faults)),
        rootfs: get("rootfs").map(|n| filesystem::filesystem(n, faults)),
        roms: get("roms")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(|n| filesystem::filesystem(n, faults))
            .collect(),
        volumes: get("volumes")
            .map(|n| filesystem::volumes(n, faults))
            .unwrap_or_default(),
        cmd: get("cmd").map(|n| command(n, faults)),
        env: get("env").map(|n| env(n, faults)).unwrap_or_default(),
        labels: get("labels")
            .map(|n| labels(n, spec, faults))
            .unwrap_or_default(),
        extensions: extensions(root),
    }
}

fn libraries(node: Option<&Node>, spec: Spec, faults: &mut Faults) -> Vec<Library> {
    let entries = node.map(Node::entries).unwrap_or_default();
    let mut libraries = Vec::new();
    for Entry { key, value } in entries.iter().filter(|e| !is_extension(&e.key.value)) {
        file_name(key, "the name of a library", faults);
        libraries.push(Library {
            name: key.clone(),
            component: component::component(value, &COMPONENT, spec, faults),
        });
    }
    libraries
}

/// Refuses what cannot be one component of a path: kernels and sources are filed under these names.
pub(super) fn file_name(name: &Located<String>, what: &str, faults: &mut Faults) {
    let text = name.value.as_str();
    let why = if text.is_empty() {
        "must not be empty"
    } else if text == "." || text == ".." {
        "must not be a step between directories"
    } else if text.contains('/') {
        "must not contain `/`"
    } else if text.chars().any(char::is_control) {
        "must not contain control characters"
    } else if text.len() > 128 {
        "must not be longer than 128 bytes"
    } else {
        return;
    };
    let problem = Problem::error(format!("{what} {why}")).at(name.span);
    faults.push(problem.label("files are named after it"));
}

/// Splits a string into the words a POSIX shell would see, in every version of the format; takes a
/// list as it is.
pub(super) fn command(node: &Node, faults: &mut Faults) -> Vec<Located<String>> {
    let Some(line) = node.text() else {
        return node.items().iter().filter_map(Node::text).collect();
    };
    match words::split(&line) {
        Ok(words) => words
            .into_iter()
            .map(|word| Located::new(word, line.span))
            .collect(),
        Err(quote) => {
            let problem = Problem::error(format!(
                "the quote `{quote}` in this command is never closed"
            ));
            faults.push(problem.at(line.span));
            Vec::new()
        }
    }
}

/// Splits `KEY=VALUE`; both halves keep the place of the whole.
fn pair(text: &Located<String>) -> (Located<String>, Option<Located<String>>) {
    match text.value.split_once('=') {
        Some((key, value)) => (
            Located::new(key.to_owned(), text.span),
            Some(Located::new(value.to_owned(), text.span)),
        ),
        None => (text.clone(), None),
    }
}

fn env(node: &Node, faults: &mut Faults) -> Vec<EnvVar> {
    let mut vars: Vec<EnvVar> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let listed = node.items().iter().filter_map(Node::text);
    let mapped = node
        .entries()
        .iter()
        .map(|e| (e.key.clone(), e.value.text()));
    for (name, value) in listed.map(|text| pair(&text)).chain(mapped) {
        if name.is_empty() || name.contains(['=', '\0']) {
            let problem = Problem::error("an environment variable needs a name without `=`");
            faults.push(problem.at(name.span).label("expected `KEY=VALUE` or `KEY`"));
            continue;
        }
        let var = EnvVar { name, value };
        if let Some(first) = places.get(&var.name.value).and_then(|at| vars.get_mut(*at)) {
            let problem = Problem::warning(format!("`{}` is set twice", var.name.value))
                .at(var.name.span)
                .label("this one counts");
            faults.push(problem.related(first.name.span, "first here"));
            *first = var;
            continue;
        }
        places.insert(var.name.value.clone(), vars.len());
        vars.push(var);
    }
    vars
}

fn labels(node: &Node, spec: Spec, faults: &mut Faults) -> Vec<(Located<String>, Located<String>)> {
    if matches!(node.value, Value::List(_)) && spec < Spec::V07 {
        let problem = Problem::error("`labels` must be a mapping, found a list").at(node.span);
        faults.push(
            problem
                .label("expected a mapping")
                .help("write `key: value` on a line each"),
        );
        return Vec::new();
    }
    let listed = node.items().iter().filter_map(Node::text).map(|t| pair(&t));
    let mapped = node
        .entries()
        .iter()
        .map(|e| (e.key.clone(), e.value.text()));
    let mut labels = Vec::new();
    for (key, value) in listed.chain(mapped) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
        if key.is_empty() || !key.chars().all(allowed) {
            let severity = if spec < Spec::V07 {
                Severity::Warning
            } else {
                Severity::Error
            };
            let problem = Problem::error("this is no name for a label").at(key.span);
            faults.push(Problem {
                severity,
                ..problem.label("expected letters, digits, `.`, `_`, `/` and `-`")
            });
        }
        let empty = Located::new(String::new(), key.span);
        labels.push((key, value.unwrap_or(empty)));
    }
    labels
}

fn extensions(root: &Node) -> Vec<(String, serde_json::Value)> {
    let mut found = Vec::new();
    for Entry { key, value } in root.entries() {
        if key.value == "extensions" {
            found.extend(
                value
                    .entries()
                    .iter()
                    .map(|e| (e.key.value.clone(), e.value.to_json())),
            );
        } else if is_extension(&key.value) {
            found.push((key.value.clone(), value.to_json()));
        }
    }
    found
}
