//! Filesystems and volumes: short and long forms.

use crate::problem::Problem;

use super::model::{Filesystem, FilesystemFormat, Volume};
use super::shape::{FILESYSTEM, SOURCE, VOLUME};
use crate::document::located::Located;
use crate::document::node::{Node, Value};
use crate::document::problems::Problems;

/// Lowers a root filesystem or a ROM.
pub(super) fn filesystem(node: &Node, problems: &mut Problems) -> Filesystem {
    let mut filesystem = Filesystem {
        path: node.text(),
        dockerfile: None,
        kind: None,
        format: None,
    };
    let Value::Map(_) = node.value else {
        return filesystem;
    };
    let source = FILESYSTEM.get(node, "source");
    filesystem.path = source.and_then(Node::text);
    filesystem.format = FILESYSTEM.get(node, "format").and_then(|n| {
        let format = match n.text()?.value.as_str() {
            "cpio" => FilesystemFormat::Cpio,
            "erofs" => FilesystemFormat::Erofs,
            _ => return None,
        };
        if format == FilesystemFormat::Erofs {
            let problem = Problem::warning("`format: erofs` has no effect")
                .at(n.span)
                .help("filesystems are packed as CPIO archives, which every kernel reads");
            problems.push(problem);
        }
        Some(Located::new(format, n.span))
    });
    let Some(source) = source.filter(|n| matches!(n.value, Value::Map(_))) else {
        return filesystem;
    };
    filesystem.path = SOURCE.get(source, "path").and_then(Node::text);
    filesystem.dockerfile = SOURCE.get(source, "dockerfile").and_then(Node::text);
    filesystem.kind = SOURCE.get(source, "type").and_then(Node::text);
    if filesystem.path.is_none() && filesystem.dockerfile.is_none() {
        let problem = Problem::error("this source has neither `path` nor `dockerfile`");
        problems.push(problem.at(source.span));
    }
    if let Some(entry) = node.entries().iter().find(|e| e.key.value == "type") {
        let problem = Problem::error("`type` beside a `source` in detail is ambiguous")
            .at(entry.key.span)
            .help("write `format` for how it is packed, or move `type` into `source`");
        problems.push(problem);
    }
    filesystem
}

/// Lowers a single volume or a list of volumes.
pub(super) fn volumes(node: &Node, problems: &mut Problems) -> Vec<Volume> {
    let nodes = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(node),
    };
    nodes.iter().filter_map(|n| volume(n, problems)).collect()
}

fn volume(node: &Node, problems: &mut Problems) -> Option<Volume> {
    if let Some(text) = node.text() {
        return short_volume(&text, problems);
    }
    let source = VOLUME.get(node, "source").and_then(Node::text)?;
    let flag = VOLUME
        .get(node, "readonly")
        .and_then(Node::scalar)
        .and_then(crate::document::node::Scalar::as_bool);
    let mode = VOLUME.get(node, "mode").and_then(Node::text);
    let by_mode = mode.as_ref().and_then(|mode| read_only_by_mode(mode));
    if let (Some(mode), Some(flag), Some(by_mode)) = (&mode, flag, by_mode)
        && flag != by_mode
    {
        let problem = Problem::error("`mode` and `readonly` contradict each other");
        problems.push(problem.at(mode.span));
    }
    let destination = VOLUME.get(node, "destination").and_then(Node::text);
    let destination = destination.unwrap_or_else(|| Located::new("/".to_owned(), source.span));
    absolute(&destination, problems);
    Some(Volume {
        destination,
        read_only: flag.or(by_mode).unwrap_or(false),
        driver: VOLUME.get(node, "driver").and_then(Node::text),
        source,
    })
}

/// Parses `ro`, `rw` or an octal mode such as `0555`, which is read-only without any write bit.
fn read_only_by_mode(mode: &str) -> Option<bool> {
    match mode {
        "ro" => Some(true),
        "rw" => Some(false),
        octal => {
            let octal = octal.strip_prefix("0o").unwrap_or(octal);
            u32::from_str_radix(octal, 8)
                .ok()
                .map(|bits| bits & 0o222 == 0)
        }
    }
}

fn short_volume(text: &Located<String>, problems: &mut Problems) -> Option<Volume> {
    let at = |value: &str| Located::new(value.to_owned(), text.span);
    let mut parts = text.split(':');
    let (source, destination, mode) = (parts.next()?, parts.next(), parts.next());
    let read_only = match mode {
        None | Some("rw") => Some(false),
        Some("ro") => Some(true),
        Some(_) => None,
    };
    let complete = !source.is_empty() && destination != Some("") && parts.next().is_none();
    let Some(read_only) = read_only.filter(|_| complete) else {
        let problem = Problem::error("this is not a valid volume").at(text.span);
        problems.push(problem.label("expected `SRC`, `SRC:DST`, `SRC:DST:ro` or `SRC:DST:rw`"));
        return None;
    };
    let destination = at(destination.unwrap_or("/"));
    absolute(&destination, problems);
    Some(Volume {
        source: at(source),
        destination,
        read_only,
        driver: None,
    })
}

fn absolute(destination: &Located<String>, problems: &mut Problems) {
    if !destination.starts_with('/') {
        let problem = Problem::error("the destination of a volume must begin with `/`");
        problems.push(problem.at(destination.span));
    }
}
