//! Converts a YAML tree to a [`Kraftfile`]; short and long forms become the same values.
//!
//! The tree has been validated against the table of shapes, so values of the wrong shape are
//! ignored here; this module only reports what the shapes cannot express.

use std::collections::HashMap;

use crate::problem::{Problem, Severity};
use crate::shell_words;

use super::model::{EnvVar, Filesystem, Kraftfile, Library, Spec};
use super::shape::{COMPONENT, PROJECT, is_extension};
use super::{component, filesystem, target};
use crate::document::located::Located;
use crate::document::node::{Entry, Node, Value};
use crate::document::problems::Problems;

/// Converts a tree to a project.
pub(super) fn lower(root: &Node, spec: Spec, problems: &mut Problems) -> Kraftfile {
    let get = |name| PROJECT.get(root, name);
    let name = get("name").and_then(Node::text);
    if let Some(name) = &name {
        file_name(name, "the name of the project", problems);
    }
    let targets = get("targets").map(Node::items).unwrap_or_default();
    Kraftfile {
        spec,
        name,
        outdir: get("outdir").and_then(Node::text),
        unikraft: get("unikraft").map(|n| component::component(n, &COMPONENT, spec, problems)),
        libraries: libraries(get("libraries"), spec, problems),
        targets: target::targets(targets, problems),
        template: get("template").map(|n| component::template(n, problems)),
        runtime: get("runtime").and_then(|n| component::runtime(n, problems)),
        rootfs: get("rootfs").map(|n| filesystem::filesystem(n, problems)),
        roms: get("roms").map(|n| roms(n, problems)).unwrap_or_default(),
        volumes: get("volumes")
            .map(|n| filesystem::volumes(n, problems))
            .unwrap_or_default(),
        cmd: get("cmd").map(|n| command(n, problems)),
        env: get("env").map(|n| env(n, problems)).unwrap_or_default(),
        labels: get("labels")
            .map(|n| labels(n, spec, problems))
            .unwrap_or_default(),
        extensions: extensions(root),
    }
}

fn roms(node: &Node, problems: &mut Problems) -> Vec<Filesystem> {
    let items = node.items();
    if !items.is_empty() {
        let problem = Problem::warning("`roms` has no effect")
            .at(node.span)
            .help("put the files into `rootfs`, or mount them with `volumes`");
        problems.push(problem);
    }
    let lowered = items.iter().map(|n| filesystem::filesystem(n, problems));
    lowered.collect()
}

fn libraries(node: Option<&Node>, spec: Spec, problems: &mut Problems) -> Vec<Library> {
    let entries = node.map(Node::entries).unwrap_or_default();
    let mut libraries = Vec::new();
    for Entry { key, value } in entries.iter().filter(|e| !is_extension(&e.key.value)) {
        file_name(key, "the name of a library", problems);
        libraries.push(Library {
            name: key.clone(),
            component: component::component(value, &COMPONENT, spec, problems),
        });
    }
    libraries
}

/// Rejects invalid file names: kernels and sources are stored under these names.
pub(super) fn file_name(name: &Located<String>, what: &str, problems: &mut Problems) {
    let text = name.value.as_str();
    let why = if text.is_empty() {
        "must not be empty"
    } else if text == "." || text == ".." {
        "must not be `.` or `..`"
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
    problems.push(problem.label("files are named after it"));
}

/// Splits a string as a POSIX shell does, in every version of the format; a list is used unchanged.
pub(super) fn command(node: &Node, problems: &mut Problems) -> Vec<Located<String>> {
    let Some(line) = node.text() else {
        return node.items().iter().filter_map(Node::text).collect();
    };
    match shell_words::split(&line) {
        Ok(words) => words
            .into_iter()
            .map(|word| Located::new(word, line.span))
            .collect(),
        Err(quote) => {
            let problem = Problem::error(format!(
                "the quote `{quote}` in this command is never closed"
            ));
            problems.push(problem.at(line.span));
            Vec::new()
        }
    }
}

/// Splits `KEY=VALUE`; both halves get the position of the whole text.
fn pair(text: &Located<String>) -> (Located<String>, Option<Located<String>>) {
    match text.value.split_once('=') {
        Some((key, value)) => (
            Located::new(key.to_owned(), text.span),
            Some(Located::new(value.to_owned(), text.span)),
        ),
        None => (text.clone(), None),
    }
}

fn env(node: &Node, problems: &mut Problems) -> Vec<EnvVar> {
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
            problems.push(problem.at(name.span).label("expected `KEY=VALUE` or `KEY`"));
            continue;
        }
        let var = EnvVar { name, value };
        if let Some(first) = places.get(&var.name.value).and_then(|at| vars.get_mut(*at)) {
            let problem = Problem::warning(format!("`{}` is set twice", var.name.value))
                .at(var.name.span)
                .label("this value is used");
            problems.push(problem.related(first.name.span, "first set in this place"));
            *first = var;
            continue;
        }
        places.insert(var.name.value.clone(), vars.len());
        vars.push(var);
    }
    vars
}

fn labels(
    node: &Node,
    spec: Spec,
    problems: &mut Problems,
) -> Vec<(Located<String>, Located<String>)> {
    if matches!(node.value, Value::List(_)) && spec < Spec::V07 {
        let problem = Problem::error("`labels` must be a mapping, found a list").at(node.span);
        problems.push(
            problem
                .label("expected a mapping")
                .help("write `key: value` on separate lines"),
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
            let problem = Problem::error("this is not a valid label name").at(key.span);
            problems.push(Problem {
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
